"""A Portfolio from a YAML file: read with suspicion, held against the CRD's schema and rules."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from palm_cli.failures import InvalidInput
from palm_cli.faults import schema_faults
from palm_cli.inputs import MEBIBYTE, read_text, shown, shown_name
from palm_operator.api.portfolio import KIND, PortfolioSpec

BYTES_LIMIT = MEBIBYTE
"""What a Kubernetes object may have at most; etcd takes 1.5 MiB."""
_NODES_LIMIT = 100_000
_DEPTH_LIMIT = 64


@dataclass(frozen=True)
class PortfolioFile:
    """A Portfolio that the API server would accept, as far as that can be said without one."""

    source: str
    name: str
    annotations: Mapping[str, str]
    spec: PortfolioSpec


def read_portfolio(source: str) -> PortfolioFile:
    """Read the one Portfolio of a YAML or JSON file; other kinds of objects in it are passed over.

    Raises:
        InvalidInput: It cannot be read, is not one Portfolio, or breaks a rule of the CRD: names
            the field, its value and the rule.
    """
    portfolio = _the_portfolio(documents(source), source)
    found = list(schema_faults(portfolio))
    if found:
        more = f" (and {len(found) - 1} more: palm validate)" if len(found) > 1 else ""
        raise InvalidInput(f"{shown_name(source)}: {found[0].sentence}{more}")
    metadata = portfolio["metadata"]
    parsed = PortfolioSpec.model_validate(portfolio["spec"])
    annotations = metadata.get("annotations")
    return PortfolioFile(
        source=source,
        name=metadata["name"],
        annotations=annotations if isinstance(annotations, dict) else {},
        spec=parsed,
    )


def documents(source: str) -> list[Any]:
    """Return the documents of a YAML or JSON file.

    Raises:
        InvalidInput: It cannot be read, is not YAML, or explodes.
    """
    text = read_text(source, limit=BYTES_LIMIT)
    try:
        return [_plain(document, source) for document in yaml.safe_load_all(text)]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InvalidInput(
            f"{shown_name(source)}: {where}{error.problem or 'not YAML'}; the file must be YAML"
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{shown_name(source)}: the file must be YAML: {error}") from None


def _plain(document: Any, source: str) -> Any:
    """Return a document without nulls, as the API server reads it; refuse one that explodes.

    A few aliases of aliases are a tree of billions of nodes when it is walked.
    """
    left = _NODES_LIMIT

    def walk(value: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or depth > _DEPTH_LIMIT:
            raise InvalidInput(
                f"{shown_name(source)} has more than {_NODES_LIMIT} values, or is nested more than "
                f"{_DEPTH_LIMIT} deep"
            )
        if isinstance(value, dict):
            return {
                str(key): walk(entry, depth + 1)
                for key, entry in value.items()
                if entry is not None
            }
        return [walk(entry, depth + 1) for entry in value] if isinstance(value, list) else value

    return walk(document, 0)


def _the_portfolio(documents: list[Any], source: str) -> dict[str, Any]:
    objects = [value for value in documents if isinstance(value, dict)]
    found = [value for value in objects if value.get("kind") == KIND]
    if len(found) != 1:
        kinds = ", ".join(shown(value.get("kind")) for value in objects) or "nothing"
        raise InvalidInput(
            f"{shown_name(source)} has {len(found)} objects of kind {KIND} (kinds: {kinds}); "
            "it must have one"
        )
    return found[0]
