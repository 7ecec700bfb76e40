"""The examples and counterexamples of docs/algorithm.md."""

import doctest
from pathlib import Path

ALGORITHM = Path(__file__).parents[2] / "docs" / "algorithm.md"


def test_every_example_of_the_documentation_says_what_comes_out() -> None:
    outcome = doctest.testfile(str(ALGORITHM), module_relative=False, encoding="utf-8")
    assert outcome.failed == 0
    assert outcome.attempted > 60
