"""``palm validate`` lists all that is wrong, as the API server and the operator would say it."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.invoke import palm
from crd.mutations import WRONG, Wrong, mutated

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
VALID: dict[str, Any] = yaml.safe_load((ROOT / "examples" / "arithmetic.yaml").read_text())


def written(folder: Path, *documents: Any) -> Path:
    file = folder / "portfolios.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    return file


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_valid(example: Path) -> None:
    ran = palm("validate", "-f", example)
    assert ran.code == 0, ran.out
    assert ran.out.rstrip().endswith("is valid")


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_every_wrong_portfolio_has_exit_code_1_and_a_message(wrong: Wrong, tmp_path: Path) -> None:
    file = written(tmp_path, VALID, mutated(VALID, wrong))
    ran = palm("validate", "-f", file)
    assert ran.code == 1
    first, second, *_ = ran.out.splitlines()
    assert first == f"{file}: document 1: Portfolio arithmetic is valid"
    field = "apiVersion" if wrong.field == "Portfolio" else wrong.field.partition("[cpu]")[0]
    assert second.startswith(f"{file}: document 2: Portfolio")
    assert field in ran.out


def test_all_faults_of_all_documents_of_all_files_are_listed(tmp_path: Path) -> None:
    schema, rules = copy.deepcopy(VALID), copy.deepcopy(VALID)
    schema["spec"]["grid"]["mu"] = 0.5
    schema["spec"]["training"]["parallelism"] = 0
    schema["spec"]["treining"] = {}
    rules["metadata"]["name"] = "a" * 41
    rules["spec"]["grid"]["mu"] = "0"
    rules["spec"]["pruning"] = {"mu": "1"}
    file = written(tmp_path, {"kind": "Secret"}, schema, rules)
    ran = palm("validate", "-f", file, "-f", EXAMPLES[0], "-o", "json")
    assert ran.code == 1
    assert not ran.answer["valid"]
    found = {(p["file"], p["document"]): p["faults"] for p in ran.answer["portfolios"]}
    assert list(found) == [(str(file), 2), (str(file), 3), (str(EXAMPLES[0]), 1)]
    first, second, third = ([(f["field"], f["value"]) for f in faults] for faults in found.values())
    assert set(first) == {
        ("spec.grid.mu", 0.5), ("spec.training.parallelism", 0), ("spec.treining", None)
    }  # fmt: skip
    assert [field for field, _ in second] == ["metadata.name", "spec.grid.mu", "spec.pruning.mu"]
    assert third == []


def test_a_grid_over_a_limit_is_refused_with_its_count(tmp_path: Path) -> None:
    large = copy.deepcopy(VALID)
    large["spec"]["grid"] = {"mu": "1/1000", "alpha": "1/1000000"}  # 2·⌈ln 10⁶ / ln 1.001⌉ + 3
    ran = palm("validate", "-f", written(tmp_path, large))
    assert ran.code == 1
    assert "spec.grid: the grid of mu=1/1000, alpha=1/1000000 over 2 rewards has 27649" in ran.out
    assert "at most 10000 are handled" in ran.out


def test_a_namespace_that_leaves_no_room_is_told_only_where_it_is_known(tmp_path: Path) -> None:
    file = written(tmp_path, VALID)
    assert palm("validate", "-f", file).code == 0
    ran = palm("validate", "-f", file, "-n", "n" * 45)
    assert ran.code == 1
    assert "metadata.namespace: namespace 'nnn" in ran.out
    assert "KServe allows 52" in ran.out
    named = copy.deepcopy(VALID)
    named["metadata"]["namespace"] = "ml"
    assert palm("validate", "-f", written(tmp_path, named), "-n", "n" * 45).code == 0


def test_a_file_without_a_portfolio_is_wrong_input(tmp_path: Path) -> None:
    ran = palm("validate", "-f", written(tmp_path, {"kind": "Secret"}))
    assert ran.code == 2
    assert "has no object of kind Portfolio" in ran.err
