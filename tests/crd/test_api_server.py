"""The CRD in a real API server: what it accepts, fills in, refuses and says."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from crd.mutations import WRONG, Wrong, mutated
from palm_operator.api.portfolio import Portfolio, PortfolioSpec, parse_portfolio

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def as_stored(spec: Any) -> Any:
    """What pydantic makes of a spec, written as the API server writes it."""
    return PortfolioSpec.model_validate(spec).model_dump(by_alias=True, exclude_none=True)


def created(crd: Any, namespace: str, portfolio: dict[str, Any]) -> Any:
    done = crd("create", "-n", namespace, "-f", "-", "-o", "json", manifest=portfolio)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def stored(crd: Any, namespace: str) -> Any:
    return json.loads(crd("get", "pfo", "minimal", "-n", namespace, "-o", "json").stdout)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_accepted_and_gets_pydantics_defaults(
    crd: Any, namespace: str, example: Path
) -> None:
    dry = crd("create", "-n", namespace, "-f", str(example), "--dry-run=server")
    assert dry.returncode == 0, dry.stderr
    portfolio = yaml.safe_load(example.read_text(encoding="utf-8"))
    stored = created(crd, namespace, portfolio)
    assert stored["spec"] == as_stored(portfolio["spec"])
    assert isinstance(parse_portfolio(stored), Portfolio)


def test_the_server_fills_the_defaults_that_pydantic_has(
    crd: Any, namespace: str, minimal: dict[str, Any]
) -> None:
    assert created(crd, namespace, minimal)["spec"] == as_stored(minimal["spec"])


def test_a_half_filled_section_gets_the_rest_of_its_defaults(
    crd: Any, namespace: str, minimal: dict[str, Any]
) -> None:
    minimal["spec"]["training"] = {"adapter": {"type": "Full"}, "seed": 7}
    stored = created(crd, namespace, minimal)
    assert stored["spec"] == as_stored(minimal["spec"])
    assert stored["spec"]["training"]["adapter"] == {"type": "Full", "rank": 16}


@pytest.mark.parametrize(
    "grid",
    [
        {"mu": "8/30", "alpha": "0.2", "spacing": "Even"},
        {"strategy": "Uniform", "size": 21},
        {"strategy": "Random", "size": 10000, "seed": 3},
        {"strategy": "Explicit", "weights": [["1/3", "2/3"], ["0.333333", "0.666667"]] * 128},
    ],
)
def test_every_strategy_takes_its_own_fields(
    crd: Any, namespace: str, minimal: dict[str, Any], grid: dict[str, Any]
) -> None:
    minimal["spec"]["grid"] = grid
    stored = created(crd, namespace, minimal)
    assert stored["spec"] == as_stored(minimal["spec"])


def test_null_says_nothing(crd: Any, namespace: str, minimal: dict[str, Any]) -> None:
    minimal["spec"]["rewards"][0]["model"] = None
    minimal["spec"]["training"] = {"queueName": None, "parallelism": None}
    stored = created(crd, namespace, minimal)
    assert "model" not in stored["spec"]["rewards"][0]
    assert "queueName" not in stored["spec"]["training"]
    assert stored["spec"]["training"]["parallelism"] == 4


def test_the_largest_portfolio_is_within_the_budget_of_the_rules(
    crd: Any, namespace: str, minimal: dict[str, Any]
) -> None:
    template = {
        "labels": {f"example.com/key-{i}": "v" * 63 for i in range(32)},
        "annotations": {f"example.com/key-{i}": "v" * 4096 for i in range(32)},
        "nodeSelector": {f"example.com/key-{i}": "v" * 63 for i in range(32)},
        "env": [{"name": f"NAME_{i}", "value": "v" * 100} for i in range(64)],
        "tolerations": [{"key": f"k{i}", "value": "v", "operator": "Equal"} for i in range(32)],
        "resources": {
            "requests": {f"example.com/r{i}": i for i in range(16)},
            "limits": {f"example.com/r{i}": "16Gi" for i in range(16)},
        },
    }
    uri = "s3://models/" + "m" * 1000
    minimal["spec"] |= {
        "baseModel": {"uri": uri},
        "rewards": [
            {"name": f"{'r' * 30}{i}", "model": {"uri": uri}, "range": {"min": "-1/3", "max": "2"}}
            for i in range(8)
        ],
        **{section: {"template": template} for section in ("training", "evaluation", "serving")},
    }
    assert created(crd, namespace, minimal)["spec"] == as_stored(minimal["spec"])


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_a_wrong_portfolio_is_refused_with_field_value_and_rule(
    crd: Any, namespace: str, valid: dict[str, Any], wrong: Wrong
) -> None:
    refused = crd("create", "-n", namespace, "-f", "-", manifest=mutated(valid, wrong))
    assert refused.returncode != 0
    for part in (wrong.field, wrong.value, wrong.rule):
        assert part in refused.stderr


def test_the_mode_that_kserve_does_not_change_is_not_changed_here(
    crd: Any, namespace: str, minimal: dict[str, Any]
) -> None:
    created(crd, namespace, minimal)
    patch = ("patch", "-n", namespace, "pfo/minimal", "--type=merge", "-p")
    mode = crd(*patch, json.dumps({"spec": {"serving": {"deploymentMode": "Knative"}}}))
    assert mode.returncode != 0
    assert "spec.serving.deploymentMode" in mode.stderr
    assert "is immutable" in mode.stderr
    other = crd(*patch, json.dumps({"spec": {"serving": {"minReplicas": 2}}}))
    assert other.returncode == 0, other.stderr


def test_an_unknown_field_is_refused_by_strict_and_pruned_by_lenient_validation(
    crd: Any, namespace: str, valid: dict[str, Any]
) -> None:
    valid["spec"]["grid"]["nu"] = "0.5"
    strict = crd("create", "-n", namespace, "-f", "-", manifest=valid)
    assert 'unknown field "spec.grid.nu"' in strict.stderr
    lenient = crd(
        "create", "-n", namespace, "-f", "-", "--validate=ignore", "-o", "json", manifest=valid
    )
    assert lenient.returncode == 0, lenient.stderr
    assert "nu" not in json.loads(lenient.stdout)["spec"]["grid"]


def test_explain_teaches(crd: Any) -> None:
    explained = crd("explain", "portfolio.spec.grid.mu")
    assert "consecutive levels have ratio 1 + μ" in " ".join(explained.stdout.split())


def test_status_is_written_through_its_subresource_only(
    crd: Any, namespace: str, minimal: dict[str, Any]
) -> None:
    minimal["status"] = {"revision": "forged"}
    stored = created(crd, namespace, minimal)
    assert "status" not in stored
    patch = json.dumps({"status": {"revision": "7c1f09a2"}, "spec": {"grid": {"mu": "1"}}})
    written = crd(
        "patch", "-n", namespace, "pfo/minimal", "--subresource=status", "--type=merge",
        "-p", patch, "-o", "json",
    )  # fmt: skip
    assert written.returncode == 0, written.stderr
    after = json.loads(written.stdout)
    assert after["status"]["revision"] == "7c1f09a2"
    assert after["spec"]["grid"]["mu"] == "8/30"
    assert after["metadata"]["generation"] == 1


def test_the_columns_show_the_status(crd: Any, namespace: str, minimal: dict[str, Any]) -> None:
    created(crd, namespace, minimal)
    status = {
        "observedGeneration": 1,
        "revision": "7c1f09a2",
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Serving",
                "message": "3 policies serve",
                "observedGeneration": 1,
                "lastTransitionTime": "2026-11-24T00:00:00Z",
            }
        ],
        "oracleCalls": {"planned": 17, "succeeded": 5, "summary": "5/17"},
        "portfolio": {
            "revision": "7c1f09a2",
            "size": 3,
            "policies": [],
            "guarantee": {"epsilon": "0.031", "delta": "0.019", "scope": "Grid", "proven": True},
            "manifest": {"uri": "s3://palm/portfolios/portfolio.json", "sha256": "0" * 64},
        },
        "pending": {"revision": "0badcafe", "phase": "Training"},
    }
    patch = json.dumps({"status": status})
    crd(
        "patch", "-n", namespace, "pfo/minimal", "--subresource=status", "--type=merge", "-p", patch
    )
    for listing in ("pfo", "portfolios", "palm"):
        heading, line = crd("get", "-n", namespace, listing, "-o", "wide").stdout.splitlines()
        titles = ("READY", "POLICIES", "ORACLE CALLS", "EPSILON", "REVISION", "PENDING", "REASON")
        assert all(title in heading for title in titles)
        assert line.split()[:8] == [
            "minimal", "True", "3", "5/17", "0.031", "7c1f09a2", "Training", "Serving",
        ]  # fmt: skip


@pytest.mark.parametrize("field", ["bucket", "prefix"])
def test_where_a_portfolio_keeps_its_results_is_immutable(
    crd: Any, namespace: str, minimal: dict[str, Any], field: str
) -> None:
    created(crd, namespace, minimal)
    minimal["spec"]["storage"]["s3"][field] = "elsewhere"
    refused = crd("replace", "-n", namespace, "-f", "-", manifest=minimal)
    assert refused.returncode != 0
    assert f"spec.storage.s3.{field}" in refused.stderr
    assert '"elsewhere" was' in refused.stderr
    assert "is immutable" in refused.stderr


def test_two_managers_apply_one_portfolio_without_force(
    crd: Any, namespace: str, minimal: dict[str, Any]
) -> None:
    """Also after a client-side apply, as when a team moves from kubectl to a GitOps tool."""
    applied = crd("apply", "-n", namespace, "-f", "-", manifest=minimal)
    assert applied.returncode == 0, applied.stderr
    for manager in ("kustomize-controller", "argocd-controller", "kustomize-controller"):
        server_side = ("--server-side", f"--field-manager={manager}", "-f", "-")
        applied = crd("apply", "-n", namespace, *server_side, manifest=minimal)
        assert applied.returncode == 0, applied.stderr
    assert stored(crd, namespace)["spec"] == as_stored(minimal["spec"])


def test_rewards_keep_the_order_of_the_last_apply(
    crd: Any, namespace: str, minimal: dict[str, Any]
) -> None:
    """Their order is the order of every weight vector's coordinates."""
    rewards = minimal["spec"]["rewards"]
    third = {"name": "accuracy", "verifiable": {"type": "ArithmeticSteps"}}
    for order in (
        rewards,
        rewards[::-1],
        [third, *rewards],
        [*rewards, third],
        [rewards[1], third],
    ):
        minimal["spec"]["rewards"] = order
        applied = crd("apply", "-n", namespace, "--server-side", "-f", "-", manifest=minimal)
        assert applied.returncode == 0, applied.stderr
        names = [reward["name"] for reward in stored(crd, namespace)["spec"]["rewards"]]
        assert names == [reward["name"] for reward in order]
