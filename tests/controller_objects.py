"""What tests look for among the objects of a controller of the embedded cluster."""

from typing import Any


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [o for o in objects if o["kind"] == kind]


def hooks(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every webhook of every configuration."""
    found = of_kind(objects, "MutatingWebhookConfiguration")
    found += of_kind(objects, "ValidatingWebhookConfiguration")
    return [hook for configuration in found for hook in configuration["webhooks"]]


def assert_called_on_loopback(objects: list[dict[str, Any]], server: str) -> None:
    for hook in hooks(objects):
        assert set(hook["clientConfig"]) == {"url", "caBundle"}
        assert hook["clientConfig"]["url"].startswith(f"{server}/")
        assert hook["failurePolicy"] == "Fail"
