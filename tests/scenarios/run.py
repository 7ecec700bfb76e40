"""``make scenarios``: sixteen ways in which a year on a cluster goes wrong, and what must hold.

Each scenario is one test or several, on embedded clusters (one of them with Kueue's own
controller). Prints what becomes of each, which are not run and why, and, last, one line with the
sums. Exit code 1 when one fails.
"""

import argparse
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
_WORD = {True: "[green]passed[/]", False: "[red]FAILED[/]", None: "[yellow]not run[/]"}


@dataclass(frozen=True)
class Scenario:
    """What is done and must hold.

    ``tests`` are files or single tests, below tests/; ``left`` says what of it is not run, and why.
    """

    number: int
    what: str
    tests: tuple[str, ...] = ()
    left: str = ""


SCENARIOS = (
    Scenario(1, "spec edits while Jobs run, and back", ("scenarios/edits.py",)),
    Scenario(
        2,
        "operator killed anywhere",
        (
            "faults/test_kill_points.py",
            "operator_wiring/test_life_of_a_portfolio.py::test_a_killed_operator_continues_without_a_second_job",
        ),
        "every point: `make kill-matrix`",
    ),
    Scenario(3, "S3 away, then wrong data", ("scenarios/storage.py",)),
    Scenario(
        4,
        "preemption, eviction, exit code 42",
        (
            "scenarios/queues.py::test_a_preempted_job_goes_on_as_the_same_job",
            "scenarios/jobs.py::test_a_wrong_request_fails_at_once_and_a_disruption_costs_no_retry",
        ),
        "the out-of-memory killer: Pods of the process node have no memory limit",
    ),
    Scenario(
        5,
        "quota exhausted, impossible requests",
        (
            "scenarios/jobs.py::test_a_refused_quota_is_told_and_jobs_stay_wanted",
            "scenarios/jobs.py::test_a_job_that_cannot_run_is_explained_and_mended_by_the_spec",
            "scenarios/queues.py::test_jobs_wait_for_quota_in_turn_and_all_run",
            "scenarios/queues.py::test_what_can_never_be_admitted_stalls_until_the_quota_is_raised",
            "scenarios/queues.py::test_a_queue_that_is_not_there_is_named_and_its_arrival_is_noticed",
            "scenarios/queues.py::test_a_suspended_portfolio_leaves_its_queue_and_takes_its_place_again",
        ),
    ),
    Scenario(
        6,
        "deleted while it works, namespace deleted, operator gone first",
        ("operator_wiring/test_deletion.py",),
    ),
    Scenario(
        7,
        "names: too long, colliding, taken",
        (
            "scenarios/jobs.py::test_a_job_of_somebody_elses_is_never_adopted",
            "operator_wiring/test_route_table.py::test_a_config_map_of_that_name_that_is_not_ours_stays_as_it_is",
            "cli/test_validate.py::test_a_namespace_that_leaves_no_room_is_told_only_where_it_is_known",
        ),
    ),
    Scenario(
        8,
        "GitOps: applied, compared, reverted",
        ("operator_wiring/test_gitops.py",),
        "24 hours, and Argo CD and Flux themselves: their health checks run on recorded objects",
    ),
    Scenario(
        9,
        "two operators",
        ("operator_wiring/test_two_operators.py", "chart/test_replicas.py"),
    ),
    Scenario(
        10,
        "webhooks and API server in trouble",
        (
            "scenarios/queues.py::test_while_kueues_webhook_is_down_jobs_stay_wanted",
            "serving/test_kserve.py",
        ),
        "429, 410, 500 and silent watches: `make wrong-watches`",
    ),
    Scenario(
        11,
        "finished Jobs deleted",
        ("scenarios/jobs.py::test_finished_jobs_that_are_deleted_train_nothing_again",),
    ),
    Scenario(
        12,
        "children deleted or changed by others",
        (
            "scenarios/jobs.py::test_a_running_job_that_is_deleted_is_made_again",
            "operator_wiring/test_route_table.py::test_nobody_but_the_operator_writes_a_route_table",
        ),
    ),
    Scenario(13, "upgrade with Jobs in flight", (), "there is no second version to upgrade from"),
    Scenario(
        14,
        "a grid too large",
        (
            "cli/test_validate.py::test_a_grid_over_a_limit_is_refused_with_its_count",
            "cli/test_plan.py",
        ),
    ),
    Scenario(
        15,
        "some weight vectors fail for good",
        ("scenarios/jobs.py::test_without_some_weight_vectors_nothing_is_published_unless_it_may",),
    ),
    Scenario(
        16,
        "tenants who share an operator and a bucket",
        ("scenarios/tenants.py",),
    ),
)


def main() -> int:
    """Run what is asked for; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("numbers", nargs="*", type=int, help="of scenarios; all without")
    numbers = parser.parse_args().numbers
    if unknown := set(numbers) - {scenario.number for scenario in SCENARIOS}:
        parser.error(f"there is no scenario {min(unknown)}: they are 1 to {len(SCENARIOS)}")
    wanted = [s for s in SCENARIOS if s.tests and (not numbers or s.number in numbers)]
    tests = sorted({test for scenario in wanted for test in scenario.tests})
    ended = outcomes(tests) if tests else {}  # pytest without arguments would run everything
    found = {s.number: passed(s, ended) if s in wanted else None for s in SCENARIOS}
    Console().print(table(found))
    ran = [result for result in found.values() if result is not None]
    print(
        f"scenarios: {len(SCENARIOS)} listed, {sum(ran)} passed, {len(SCENARIOS) - len(ran)} "
        f"not run{f', {len(ran) - sum(ran)} failed' if not all(ran) else ''}"
    )
    return 0 if ran and all(ran) else 1


def outcomes(tests: list[str]) -> dict[str, bool]:
    """Run tests; return of each, by file and name, whether it passed. Skipped is not passed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        paths = [str(ROOT / "tests" / test) for test in tests]
        pytest.main([f"--rootdir={ROOT}", f"--junitxml={report}", "-o", "junit_family=xunit1",
                     *paths])  # fmt: skip
        return dict(_cases(ElementTree.parse(report)))


def _cases(report: "ElementTree.ElementTree[ElementTree.Element]") -> Iterator[tuple[str, bool]]:
    for case in report.iter("testcase"):
        file = str(case.get("file", "")).removeprefix("tests/")
        missed = any(part.tag in ("failure", "error", "skipped") for part in case)
        yield f"{file}::{case.get('name')}", not missed


def passed(scenario: Scenario, ended: dict[str, bool]) -> bool:
    """Say whether all tests of a scenario ran and passed."""
    for test in scenario.tests:
        own = (f"{test}[", f"{test}::")
        results = [good for name, good in ended.items() if f"{name}[".startswith(own)]
        if not results or not all(results):
            return False
    return True


def table(found: dict[int, bool | None]) -> Table:
    """Return what became of each, for people."""
    made = Table("", "scenario", "", "left out")
    for scenario in SCENARIOS:
        word = _WORD[found[scenario.number]]
        made.add_row(str(scenario.number), scenario.what, word, scenario.left)
    return made


if __name__ == "__main__":
    sys.exit(main())
