"""Everything that is wrong with a Portfolio, as the API server and the operator say it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from palm.errors import InvalidPortfolio
from palm.policies import policy_name
from palm_cli.inputs import ABSENT, complaints, shown
from palm_cli.portfolio_rules import broken_rules
from palm_operator.api.portfolio import API_VERSION, KIND, PortfolioSpec
from palm_operator.calls.grids import GridRefused, weight_vectors
from palm_operator.names import inference_service_name


@dataclass(frozen=True)
class Fault:
    """One rule that does not hold: of which field, with which value, what it says."""

    field: str
    value: Any
    rule: str
    has_value: bool = True
    """Whether the value is to be shown; a rule about several fields names them itself."""

    @property
    def sentence(self) -> str:
        """Return field, value and rule in one line."""
        is_part = isinstance(self.value, str | int) and str(self.value) in self.rule
        if not self.has_value or is_part:
            return f"{self.field}: {self.rule}"
        return f"{self.field} is {shown(self.value)}: {self.rule}"


def faults(document: Mapping[str, Any], *, namespace: str) -> Iterator[Fault]:
    """Yield what the API server or the operator would refuse of an object of kind Portfolio.

    Args:
        document: The object, without nulls.
        namespace: Where it is applied when it names none itself.
    """
    found = list(schema_faults(document))
    yield from found
    if not found:
        yield from _refused(document, namespace)


def schema_faults(document: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what schema and rules of the CRD refuse of an object of kind Portfolio.

    Rules are about fields of the right types: they are looked at once the schema holds.
    """
    if document.get("apiVersion") != API_VERSION:
        yield Fault("apiVersion", document.get("apiVersion"), f"a {KIND} has {API_VERSION}")
        return
    parts = {key: document.get(key) for key in ("metadata", "spec")}
    misplaced = [key for key, value in parts.items() if not isinstance(value, dict)]
    if misplaced:
        yield from (Fault(key, parts[key], "it must be a map") for key in misplaced)
        return
    name = (parts["metadata"] or {}).get("name")
    if not isinstance(name, str):
        yield Fault("metadata.name", name, "it must be a name")
    try:
        parsed = PortfolioSpec.model_validate(parts["spec"])
    except ValidationError as error:
        for field, value, rule in complaints(error, root="spec"):
            yield Fault(field, value, rule, has_value=value is not ABSENT)
        return
    if not isinstance(name, str):
        return
    filled = {
        "metadata": {"name": name},
        "spec": parsed.model_dump(by_alias=True, exclude_none=True),
    }
    for broken in broken_rules(filled):
        is_group = isinstance(broken.value, dict | list)
        yield Fault(broken.field, broken.value, broken.message, has_value=not is_group)


def _refused(document: Mapping[str, Any], namespace: str) -> Iterator[Fault]:
    """Yield what the operator refuses of what the API server takes: grids and names."""
    metadata, spec = document["metadata"], PortfolioSpec.model_validate(document["spec"])
    namespace = str(metadata.get("namespace") or namespace)
    try:
        count = len(weight_vectors(spec))
    except GridRefused as error:
        yield Fault("spec.grid", spec.grid.model_dump(exclude_none=True), str(error), False)
        return
    if not namespace or spec.serving.mode == "None":
        return
    try:
        inference_service_name(metadata["name"], namespace, policy_name(count - 1, "0" * 32))
    except InvalidPortfolio as error:
        yield Fault("metadata.namespace", namespace, str(error))
