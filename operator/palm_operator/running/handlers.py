"""The whole kopf surface: it logs in, watches, and puts keys into the work queue.

Nothing here changes state, so kopf writes no annotation and no finalizer. A lost watch event costs
one resync period, not a stuck Portfolio.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import repeat
from typing import Any

import kopf

from palm_operator.api.portfolio import GROUP, PLURAL, VERSION
from palm_operator.names import LABEL_PORTFOLIO, LABEL_PORTFOLIO_UID, LABEL_STEP
from palm_operator.objects import is_owned
from palm_operator.running.access import access
from palm_operator.running.queue import Key, WorkQueue

_WATCH_SECONDS = 300
_JOBS = ("batch", "v1", "jobs")
_JOB_SETS = ("jobset.x-k8s.io", "v1alpha2", "jobsets")
_CHILDREN = (
    _JOBS,
    _JOB_SETS,
    ("serving.kserve.io", "v1beta1", "inferenceservices"),
    ("serving.kserve.io", "v1alpha1", "llminferenceservices"),
)
"""What a Portfolio controls: group, version and plural."""


class Patience:
    """Seconds between tries of a request of kopf's, for ever.

    kopf's own give up after a minute, and the operator ends: as often as the API server is away for
    longer, each time later to come back (``CrashLoopBackOff``).
    """

    def __iter__(self) -> Iterator[float]:
        """Yield ever longer pauses, up to ten seconds."""
        yield from (1, 1, 2, 3, 5, 8)
        yield from repeat(10)


def registry(
    queue: WorkQueue, cares_for: Callable[[Mapping[str, Any]], bool]
) -> kopf.OperatorRegistry:
    """Return the handlers that feed a queue.

    Args:
        queue: What they feed.
        cares_for: Whether a Portfolio is this operator's.
    """
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
    async def portfolio(namespace: str, name: str, body: Mapping[str, Any], **_: Any) -> None:
        if cares_for(body):
            queue.add((namespace, name))

    ours = {LABEL_PORTFOLIO_UID: kopf.PRESENT}

    async def child(body: Mapping[str, Any], **_: Any) -> None:
        _add_owner(queue, body)

    for kind in _CHILDREN:
        kopf.on.event(*kind, registry=handlers, id=kind[-1], labels=ours)(child)

    # Of a Deployment's new Pods that crash, KServe says nothing while old ones run.
    servers = {**ours, LABEL_STEP: kopf.ABSENT}

    @kopf.on.event("v1", "pods", registry=handlers, id="server", labels=servers)
    async def server(namespace: str, labels: Mapping[str, str], **_: Any) -> None:
        queue.add((namespace, labels.get(LABEL_PORTFOLIO, "")))

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
    settings.networking.error_backoffs = Patience()
    # Filtered by the server: a cluster has many Pods and Jobs that are none of ours.
    settings.watching.label_selectors["v1", "pods"] = f"{LABEL_PORTFOLIO_UID},!{LABEL_STEP}"
    settings.watching.label_selectors[_JOBS] = LABEL_PORTFOLIO_UID
    settings.watching.label_selectors[_JOB_SETS] = LABEL_PORTFOLIO_UID
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
