"""CEL rules for the CRD: what JSON schema cannot say, refused by the API server itself.

Every message says what the rule is; the API server puts the field and the value before it. Rules
about several fields name their values themselves.
"""

from typing import Any

_NUMBER = r"(0|[1-9][0-9]{0,8})(\.[0-9]{1,12}|/[1-9][0-9]{0,8})?"
DECIMAL = rf"^{_NUMBER}$"
SIGNED_DECIMAL = rf"^-?{_NUMBER}$"
NUMBER_LENGTH = 32
DURATION = r"^([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,5}s)?$"

OBJECT_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
LABEL_KEY = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
LABEL_VALUE = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"


def rule(
    expression: str, message: str = "", *, says: str = "", field: str = "", reason: str = ""
) -> dict[str, Any]:
    """Return one entry of ``x-kubernetes-validations``.

    Args:
        expression: CEL over ``self``; true means accepted.
        message: The rule in words.
        says: CEL that makes the message, for one that names values.
        field: Path below ``self`` of the field at fault, such as ``.uri``.
        reason: Why the API server refuses; FieldValueInvalid when empty.
    """
    entry = {"rule": expression, "message": message or "breaks a rule of Portfolios"}
    if says:
        entry["messageExpression"] = says
    if field:
        entry["fieldPath"] = field
    if reason:
        entry["reason"] = reason
    return entry


def rules(*entries: dict[str, Any]) -> dict[str, Any]:
    """Return ``json_schema_extra`` that carries these rules into the CRD."""
    return {"x-kubernetes-validations": list(entries)}


def number(text: str) -> str:
    """Return CEL for the value of a decimal or fraction that the CEL expression ``text`` holds."""
    return (
        f"({text}.contains('/') ? double({text}.split('/')[0]) / double({text}.split('/')[1])"
        f" : double({text}))"
    )


def number_rule(condition: str, message: str, *, signed: bool = False) -> dict[str, Any]:
    """Return a rule about a number in text; ``condition`` writes ``{}`` for its value.

    Text that is no number is the pattern's to refuse, and not evaluated here.
    """
    pattern = SIGNED_DECIMAL if signed else DECIMAL
    return rule(f"!self.matches(r'{pattern}') || {condition.format(number('self'))}", message)


def uri_rules(uri: str = "self", field: str = "") -> tuple[dict[str, Any], ...]:
    """Return the rules of ``s3://`` and ``hf://`` locations.

    Args:
        uri: CEL expression of the location.
        field: Its path below ``self``, when the rule stands on its parent.
    """
    value = f"'\"' + {uri} + '\" '" if field else "''"
    return (
        rule(
            f"!{uri}.startsWith('s3://') || "
            rf"{uri}.matches(r'^s3://[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9](/[^/\s]+)+$')",
            says=f"{value} + 'must be s3://bucket/key: a bucket name of 3 to 63 lower-case letters,"
            " digits, dots and hyphens, then a key without empty segments'",
            field=field,
        ),
        rule(
            f"!{uri}.startsWith('s3://') || !{uri}.contains('..')",
            says=f"{value} + 'must not contain \"..\": S3 keys have no parent folders'",
            field=field,
        ),
        rule(
            f"!{uri}.startsWith('hf://') || "
            f"{uri}.matches(r'^hf://[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*"
            f"@[A-Za-z0-9][A-Za-z0-9._-]*$')",
            says=f"{value} + 'must be hf://organization/name@revision: the revision pins what the"
            " policies were made from'",
            field=field,
        ),
        rule(
            f"!{uri}.startsWith('hf://') || !{uri}.matches(r'@(main|master|HEAD)$')",
            says=f"{value} + 'must name a commit or tag after @: a branch moves'",
            field=field,
        ),
    )


def prompt_rules() -> tuple[dict[str, Any], ...]:
    """Return the rules of where prompts lie; they stand on the ``PromptSource``."""
    s3 = [rule_ for rule_ in uri_rules("self.uri", ".uri") if "hf://" not in rule_["rule"]]
    return (
        *s3,
        rule(
            "!self.uri.startsWith('hf://') || "
            "self.uri.matches(r'^hf://datasets/[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9]"
            r"[A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9._-]*(/[^/\s]+)+$')",
            says="'\"' + self.uri + '\" must be hf://datasets/organization/name@revision/path of a "
            "file: the revision pins what the policies were made from'",
            field=".uri",
        ),
        rule(
            r"!self.uri.startsWith('hf://') || !self.uri.matches(r'@(main|master|HEAD)/')",
            says="'\"' + self.uri + '\" must name a commit or tag after @: a branch moves'",
            field=".uri",
        ),
    )


def digits(value: str, maximum: int) -> str:
    """Return CEL for the decimal text of an integer from 0 to ``maximum``, for messages.

    ``string(int)`` has no bounded size in the API server's cost estimate, which refuses it in a
    ``messageExpression``; a part of a constant has.
    """
    places = [10**place for place in reversed(range(len(str(maximum))))]
    return " + ".join(
        f"'0123456789'.substring({value} / {place} % 10, {value} / {place} % 10 + 1)"
        if place == 1
        else f"({value} < {place} ? '' : "
        f"'0123456789'.substring({value} / {place} % 10, {value} / {place} % 10 + 1))"
        for place in places
    )


def keys_rule(*, reserved: bool) -> tuple[dict[str, Any], ...]:
    """Return the rules of the keys of a label-like map.

    Args:
        reserved: Refuse the keys that the operator and Kueue own.
    """
    qualified = rule(
        f"self.all(k, k.matches(r'{LABEL_KEY}'))",
        "every key must be a qualified name such as team or example.com/team",
    )
    if not reserved:
        return (qualified,)
    return (
        qualified,
        rule(
            "self.all(k, !k.contains('palm-operator.dev/'))",
            "must not have keys of palm-operator.dev/: the operator owns them",
        ),
        rule(
            "self.all(k, !k.contains('kueue.x-k8s.io/'))",
            "must not have keys of kueue.x-k8s.io/: training.queueName names the queue",
        ),
    )
