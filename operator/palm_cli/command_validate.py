"""``palm validate``: what the API server and the operator would refuse, all of it, offline."""

from typing import Annotated, Any

import typer

from palm_cli.failures import FAULTS, InvalidInput, failures
from palm_cli.faults import Fault, faults
from palm_cli.inputs import shown_name
from palm_cli.options import Output
from palm_cli.output import print_json
from palm_cli.portfolio_file import documents
from palm_operator.api.portfolio import KIND

NAME = "validate"
HELP = """Say whether the API server and the operator would take these Portfolios, without either.

Every fault of every document is listed, with file, document, field, value and rule; exit code 1
where there is one. Schema and rules are those of the CRD; a grid that is too large is refused with
its count, a namespace whose name leaves KServe no room with the room it leaves. Objects of other
kinds are passed over. Rules about a change, such as what is immutable, are the API server's alone.

```
palm validate -f portfolio.yaml
palm validate -f portfolio.yaml -f portfolio.yaml --namespace ml -o json
```
"""

Files = Annotated[
    list[str], typer.Option("--filename", "-f", help="Portfolios (YAML), - for stdin; repeatable.")
]
Namespace = Annotated[
    str, typer.Option("--namespace", "-n", help="Of Portfolios that name none themselves.")
]


def run(filename: Files, namespace: Namespace = "", output: Output = "table") -> None:
    """Run the command."""
    with failures():
        found = [entry for source in filename for entry in _checked(source, namespace)]
        wrong = sum(bool(entry["faults"]) for entry in found)
        if output == "json":
            print_json({"portfolios": found, "valid": not wrong})
        else:
            _print(found)
    if wrong:
        raise typer.Exit(FAULTS)


def _checked(source: str, namespace: str) -> list[dict[str, Any]]:
    """Return the Portfolios of a file, each with its faults.

    Raises:
        InvalidInput: The file cannot be read, is not YAML, or has no Portfolio.
    """
    found = [
        {
            "file": shown_name(source),
            "document": number,
            "name": _name(document),
            "faults": [_entry(fault) for fault in faults(document, namespace=namespace)],
        }
        for number, document in enumerate(documents(source), start=1)
        if isinstance(document, dict) and document.get("kind") == KIND
    ]
    if not found:
        raise InvalidInput(f"{shown_name(source)} has no object of kind {KIND}; it must have one")
    return found


def _name(document: dict[str, Any]) -> str:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return shown_name(name) if isinstance(name, str) else ""


def _entry(fault: Fault) -> dict[str, Any]:
    return {
        "field": fault.field,
        "value": fault.value if fault.has_value else None,
        "rule": fault.rule,
        "message": fault.sentence,
    }


def _print(found: list[dict[str, Any]]) -> None:
    for entry in found:
        where = f"{entry['file']}: document {entry['document']}"
        named = f"{KIND} {entry['name']}" if entry["name"] else KIND
        if not entry["faults"]:
            print(f"{where}: {named} is valid")
        for fault in entry["faults"]:
            print(f"{where}: {named}: {fault['message']}")
