"""The generated CRD, without a cluster: structural, bounded, and the same as the files."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from palm.contract import Model
from palm_operator.api.crd import custom_resource_definition, structural_schema

ROOT = Path(__file__).resolve().parents[2]
VERSION = custom_resource_definition()["spec"]["versions"][0]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}[*]")


NODES = list(nodes(SCHEMA))


def test_every_node_is_structural() -> None:
    for path, node in NODES:
        assert not {"$ref", "$defs", "const", "oneOf", "allOf", "not", "title", "nullable"} & set(
            node
        ), path
        if node.get("x-kubernetes-int-or-string"):
            assert node["anyOf"] == [{"type": "integer"}, {"type": "string"}], path
        else:
            assert isinstance(node["type"], str), path
            assert "anyOf" not in node, path
        assert not ("properties" in node and "additionalProperties" in node), path
        for bound in ("exclusiveMinimum", "exclusiveMaximum"):
            assert isinstance(node.get(bound, True), bool), path


def test_everything_that_can_grow_is_bounded() -> None:
    for path, node in NODES:
        kind = node.get("type")
        if path.startswith((".spec", ".status")):
            if kind == "array":
                assert "maxItems" in node, path
            if "additionalProperties" in node:
                assert "maxProperties" in node, path
            if kind == "string":
                assert {"maxLength", "enum"} & set(node) or "{32}" in node.get("pattern", ""), path


def test_every_field_of_the_spec_is_explained() -> None:
    self_explaining = {"algorithm", "seed", "type", "rank", "limit"}
    for path, node in NODES:
        if path in (".spec", ".status") or (path.count(".") == 2 and path.startswith(".spec")):
            assert node.get("description") or path.split(".")[-1] in self_explaining, path


def test_every_rule_says_what_it_wants() -> None:
    for path, node in NODES:
        for rule in node.get("x-kubernetes-validations", []):
            assert rule.get("messageExpression") or "breaks a rule" not in rule["message"], path


def test_patterns_are_plain() -> None:
    # The API server's RE2 and pydantic's Rust engine have no look-around; $ is the end in both.
    for path, node in NODES:
        if "pattern" in node:
            re.compile(node["pattern"])
            assert "(?" not in node["pattern"], path
            assert node["pattern"].startswith("^"), path


def test_status_is_a_subresource_and_columns_show_what_people_ask() -> None:
    assert VERSION["subresources"] == {"status": {}}
    columns = {column["name"]: column for column in VERSION["additionalPrinterColumns"]}
    narrow = [name for name, column in columns.items() if not column.get("priority")]
    assert narrow == ["Ready", "Policies", "Oracle Calls", "Epsilon", "Revision", "Age"]


@pytest.mark.parametrize("folder", ["crds", "charts/palm-operator/crds"])
def test_the_written_file_is_the_generated_one(folder: str) -> None:
    file = ROOT / folder / "portfolios.palm-operator.dev.yaml"
    written = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert written == custom_resource_definition(), "stale: run `make generate`"


def test_a_union_of_models_is_refused_by_name() -> None:
    class Left(Model):
        kind: Literal["left"]

    class Right(Model):
        kind: Literal["right"]

    class Both(Model):
        side: Left | Right

    with pytest.raises(ValueError, match=r"Both\.side is a union"):
        structural_schema(Both)


def test_what_has_no_type_is_refused_by_name() -> None:
    class Loose(Model):
        anything: Any

    with pytest.raises(ValueError, match=r"Loose\.anything has no type"):
        structural_schema(Loose)
