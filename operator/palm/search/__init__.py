"""Which weight vectors to train next, so that few oracle calls certify a cover of all of them.

``next_weights`` and ``next_batch`` are pure functions of what is known so far; nothing is
remembered between calls. ``run_search`` folds them over an oracle.
"""

from palm.search.batch import SearchStep, next_batch
from palm.search.known import Known, Target
from palm.search.mode import next_weights
from palm.search.next import Proposal, SearchMode
from palm.search.run import SearchRun, run_search

__all__ = [
    "Known",
    "Proposal",
    "SearchMode",
    "SearchRun",
    "SearchStep",
    "Target",
    "next_batch",
    "next_weights",
    "run_search",
]
