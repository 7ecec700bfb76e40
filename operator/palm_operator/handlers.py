"""The whole kopf surface: it logs in, watches, and puts keys into the work queue.

Nothing here changes state, so kopf writes no annotation and no finalizer. A lost watch event costs
one resync period, not a stuck Portfolio.
"""

from collections.abc import Mapping
from typing import Any

import kopf

from palm_operator.access import access
from palm_operator.api import GROUP, PLURAL, VERSION
from palm_operator.names import LABEL_PORTFOLIO_UID
from palm_operator.observed import is_owned
from palm_operator.queue import Key, WorkQueue

_WATCH_SECONDS = 300


def registry(queue: WorkQueue) -> kopf.OperatorRegistry:
    """Return the handlers that feed a queue."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers, id="login")
    async def login(**_: Any) -> kopf.ConnectionInfo:
        found = await access()
        return kopf.ConnectionInfo(
            server=found.server,
            ca_path=found.ca_path,
            insecure=not found.verify,
            certificate_path=found.certificate_path,
            private_key_path=found.private_key_path,
            scheme="Bearer" if found.token else None,
            token=found.token,
        )

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers, id="portfolio")
    async def portfolio(namespace: str, name: str, **_: Any) -> None:
        queue.add((namespace, name))

    ours = {LABEL_PORTFOLIO_UID: kopf.PRESENT}

    @kopf.on.event("batch", "v1", "jobs", registry=handlers, id="job", labels=ours)
    async def job(body: Mapping[str, Any], **_: Any) -> None:
        _add_owner(queue, body)

    @kopf.on.event(
        "serving.kserve.io",
        "v1beta1",
        "inferenceservices",
        registry=handlers,
        id="inferenceservice",
        labels=ours,
    )
    async def service(body: Mapping[str, Any], **_: Any) -> None:
        _add_owner(queue, body)

    return handlers


def kopf_settings(*, scans: bool) -> kopf.OperatorSettings:
    """Return kopf's settings.

    Args:
        scans: Whether to watch for CRDs and namespaces that appear later.
    """
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = not scans
    settings.watching.server_timeout = _WATCH_SECONDS
    return settings


def _add_owner(queue: WorkQueue, body: Mapping[str, Any]) -> None:
    key = owner_of(body)
    if key is not None:
        queue.add(key)


def owner_of(body: Mapping[str, Any]) -> Key | None:
    """Return the Portfolio that controls an object."""
    metadata = body["metadata"]
    uid = (metadata.get("labels") or {}).get(LABEL_PORTFOLIO_UID, "")
    if not is_owned(body, uid):
        return None
    owner = next(o for o in metadata["ownerReferences"] if o.get("uid") == uid)
    return metadata["namespace"], owner["name"]
