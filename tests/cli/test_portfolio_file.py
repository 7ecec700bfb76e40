"""Portfolios are refused without a cluster as the API server refuses them."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from crd.mutations import WRONG, Wrong, mutated
from palm_cli.failures import InvalidInput
from palm_cli.portfolio_file import read_portfolio

ROOT = Path(__file__).resolve().parents[2]
NOT_QUOTED = ('"number"', "Required value", "key", "limits", "requests")
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


@pytest.fixture
def valid() -> dict[str, Any]:
    """The demo's Portfolio, to be made wrong."""
    text = (ROOT / "examples" / "arithmetic.yaml").read_text(encoding="utf-8")
    return copy.deepcopy(yaml.safe_load(text))


def refusal(portfolio: Any, folder: Path) -> str:
    file = folder / "portfolio.yaml"
    file.write_text(portfolio if isinstance(portfolio, str) else yaml.safe_dump(portfolio))
    with pytest.raises(InvalidInput) as refused:
        read_portfolio(str(file))
    assert str(refused.value).startswith(str(file))
    return str(refused.value)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_accepted(example: Path) -> None:
    assert read_portfolio(str(example)).spec.rewards


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_what_the_api_server_refuses_is_refused_with_field_and_value(
    valid: dict[str, Any], wrong: Wrong, tmp_path: Path
) -> None:
    said = refusal(mutated(valid, wrong), tmp_path)
    field = "apiVersion" if wrong.field == "Portfolio" else wrong.field
    assert field in said.replace("limits.cpu", "limits[cpu]")
    if wrong.value not in NOT_QUOTED:
        assert wrong.value.strip('"') in said


def test_a_list_that_is_a_map_has_each_key_once(valid: dict[str, Any], tmp_path: Path) -> None:
    valid["spec"]["training"]["template"]["env"] = [{"name": "A"}, {"name": "B"}, {"name": "A"}]
    assert "spec.training.template.env[2]" in refusal(valid, tmp_path)


def test_nulls_say_nothing(valid: dict[str, Any], tmp_path: Path) -> None:
    valid["spec"]["training"]["queueName"] = None
    valid["spec"]["serving"] = None
    file = tmp_path / "portfolio.yaml"
    file.write_text(yaml.safe_dump(valid))
    assert read_portfolio(str(file)).spec.serving.mode == "PerPolicy"


def test_the_portfolio_among_other_objects_is_found(valid: dict[str, Any], tmp_path: Path) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
    file = tmp_path / "all.yaml"
    file.write_text(yaml.safe_dump_all([secret, valid]))
    assert read_portfolio(str(file)).name == "arithmetic"
    file.write_text(yaml.safe_dump_all([valid, valid]))
    with pytest.raises(InvalidInput, match="has 2 objects of kind Portfolio"):
        read_portfolio(str(file))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "has 0 objects of kind Portfolio"),
        ("kind: [", "line 1, column 8"),
        ("a: 1\n\tb: 2", "the file must be YAML"),
        ("!!python/object/apply:os.system ['true']", "the file must be YAML"),
        ("kind: Portfolio\napiVersion: palm-operator.dev/v1alpha1", "metadata is null"),
        ("kind: Deployment", 'kinds: "Deployment"'),
        ("when: 2026-99-99", "the file must be YAML"),
        ("[" * 3000, "the file must be YAML|nested"),
    ],
    ids=["empty", "open", "tab", "python", "bare", "foreign", "date", "deep"],
)
def test_what_is_no_portfolio_is_refused(text: str, rule: str, tmp_path: Path) -> None:
    assert re.search(rule, refusal(text, tmp_path))


def test_aliases_that_explode_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    assert "more than 100000 values" in refusal("\n".join(lines), tmp_path)
