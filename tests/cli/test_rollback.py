"""`palm rollback`: which deployment, and what is written for it."""

from typing import Any

import pytest

from palm_cli.failures import InvalidInput, NotGranted
from palm_cli.rollback import back_to, described, git_owner, undone
from palm_operator.api.serving import Pin
from palm_operator.api.status import PortfolioStatus


def entry(number: int, revision: str, sha: str) -> dict[str, Any]:
    return {
        "number": number,
        "revision": revision,
        "deployed": f"2026-01-0{number}T00:00:00Z",
        "reason": "Revision",
        "generation": number,
        "size": 3,
        "epsilon": "0.03",
        "delta": "0.02",
        "manifest": {"uri": f"s3://palm/{sha}", "sha256": sha * 64},
    }


def status(*entries: dict[str, Any]) -> PortfolioStatus:
    last = entries[-1]
    return PortfolioStatus.model_validate(
        {
            "revisions": list(entries),
            "portfolio": {
                "revision": last["revision"],
                "since": last["deployed"],
                "size": 3,
                "policies": [],
                "guarantee": {"epsilon": "0", "delta": "0", "scope": "Grid", "proven": True},
                "manifest": last["manifest"],
            },
        }
    )


HISTORY = status(
    entry(1, "aaaaaaaa", "1"), entry(2, "bbbbbbbb", "2"), entry(3, "bbbbbbbb", "3"),
    entry(4, "aaaaaaaa", "1"), entry(5, "cccccccc", "5"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("revision", "number"), [("", 4), ("aaaaaaaa", 4), ("bbbbbbbb", 3), ("2", 2), ("5", 5)]
)
def test_the_deployment_that_is_meant(revision: str, number: int) -> None:
    found = back_to(HISTORY, None, revision).target
    assert found is not None
    assert found.number == number


def test_without_a_revision_it_is_the_last_that_is_not_the_present_one() -> None:
    again = status(entry(1, "aaaaaaaa", "1"), entry(2, "bbbbbbbb", "2"), entry(3, "bbbbbbbb", "2"))
    found = back_to(again, None, "")
    assert found.after == Pin(revision="aaaaaaaa", sha256="1" * 64)


def test_the_change_is_of_the_pin_alone_and_of_the_version_that_was_seen() -> None:
    way = back_to(HISTORY, None, "")
    assert way.changes
    assert way.patch("17") == {
        "metadata": {"resourceVersion": "17"},
        "spec": {"serving": {"pin": {"revision": "aaaaaaaa", "sha256": "1" * 64}}},
    }
    assert way.lines == [
        "spec:",
        "  serving:",
        "    pin:",
        '      revision: "aaaaaaaa"',
        f"      sha256: {'1' * 64}",
    ]
    assert "+   pin:" in way.difference
    assert not any(line.startswith("-") for line in way.difference)


def test_a_pin_that_is_there_is_replaced_or_removed() -> None:
    pin = Pin(revision="aaaaaaaa", sha256="1" * 64)
    assert not back_to(HISTORY, pin, "").changes
    other = back_to(HISTORY, pin, "bbbbbbbb")
    assert "-   pin:" in other.difference
    assert other.after is not None
    gone = undone(pin)
    assert gone.changes
    assert gone.patch("1")["spec"] == {"serving": {"pin": None}}
    assert not undone(None).changes


def test_nothing_to_go_back_to_is_said() -> None:
    with pytest.raises(NotGranted, match="nothing was deployed yet"):
        back_to(PortfolioStatus(), None, "")
    with pytest.raises(NotGranted, match="only one portfolio was ever deployed"):
        back_to(status(entry(1, "aaaaaaaa", "1")), None, "")
    with pytest.raises(InvalidInput, match=r"number 5 \(revision cccccccc\), number 4"):
        back_to(HISTORY, None, "dddddddd")


def test_a_deployment_is_described_with_what_it_guarantees() -> None:
    text = described(HISTORY.revisions[0])
    assert "number 1" in text
    assert "3 policies, epsilon=0.03, delta=0.02, deployed 2026-01-01T00:00:00Z" in text


@pytest.mark.parametrize(
    ("manager", "tool"),
    [
        ("argocd-controller", "Argo CD"),
        ("kustomize-controller", "Flux"),
        ("helm-controller", "Flux"),
        ("kubectl-client-side-apply", None),
    ],
)
def test_gitops_tools_are_known_by_their_field_managers(manager: str, tool: str | None) -> None:
    assert git_owner({"managedFields": [{"manager": manager}]}) == tool
    assert git_owner({}) is None
