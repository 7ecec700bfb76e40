"""``/v1/models``: the portfolios, as OpenAI's clients read them. Pure."""

from typing import Any

from palm_gateway.tables import Route, Tables


def models_document(tables: Tables, model: str | None) -> dict[str, Any]:
    """Return the list of models, or one of them.

    Raises:
        UnknownModel: There is no portfolio of that name, or more than one.
    """
    if model is not None:
        return _entry(tables.find(model))
    return {"object": "list", "data": [_entry(route) for route in tables.by_key.values()]}


def _entry(route: Route) -> dict[str, Any]:
    table = route.table
    return {
        "id": table.key,
        "object": "model",
        "created": route.created,
        "owned_by": "palm-operator",
        "palm": {
            "revision": table.revision,
            "rewards": list(table.rewards),
            "policies": len(table.policies),
            "ready": sum(policy.ready for policy in table.policies),
        },
    }
