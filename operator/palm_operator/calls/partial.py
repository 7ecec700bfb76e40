"""When a portfolio over what is trained is published although oracle calls failed. Pure."""

from palm_operator.api.portfolio import Portfolio
from palm_operator.calls.search import Fate, Search
from palm_operator.calls.tasks import State, Task
from palm_operator.calls.work import Work
from palm_operator.observed import Observed
from palm_operator.said import progress


def is_allowed(
    portfolio: Portfolio,
    work: Work,
    search: Search,
    tasks: tuple[Task, ...],
    observed: Observed,
) -> bool:
    """Say whether to publish the best of what is trained.

    The user allows it, an oracle call failed, nothing more can be trained, and the policies of the
    single rewards are there: without them weights mean nothing.
    """
    base = [task for task in tasks if task.policy is None]
    return (
        portfolio.spec.failure_policy.on_oracle_failure == "AllowPartial"
        and not work.problem
        and search.is_calibrated
        and not search.is_certified
        and search.count(Fate.FAILED) > 0
        and all(task.state is State.DONE for task in base)
        and progress.is_stuck(tasks, observed)
    )
