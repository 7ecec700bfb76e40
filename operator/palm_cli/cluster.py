"""The cluster as a person's command sees it: a few reads and a watch, with that person's rights.

Who may not read something is told which verb that needs, who mistypes a name which are near.
"""

import difflib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from palm_cli.access import ANSWER_SECONDS, Access, Where, access
from palm_cli.failures import Unavailable
from palm_cli.inputs import shown_name
from palm_operator import names
from palm_operator.api.portfolio import GROUP, PLURAL, VERSION

if TYPE_CHECKING:
    import httpx2

Object = dict[str, Any]
FIELD_MANAGER = "palm-cli"

_WATCH_SECONDS = 60  # a connection that died silently is noticed after it
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 10.0
_SHOWN = 5
_PORTFOLIOS = (f"apis/{GROUP}/{VERSION}", PLURAL, f"{PLURAL}.{GROUP}")
_CONFIG_MAPS = ("api/v1", "configmaps", "configmaps")
_JOBS = ("apis/batch/v1", "jobs", "jobs.batch")
_SERVING = "serving.kserve.io"
_SERVERS = {
    "InferenceService": ("v1beta1", "inferenceservices"),
    "LLMInferenceService": ("v1alpha1", "llminferenceservices"),
}
Kind = tuple[str, str, str]


@dataclass(frozen=True)
class Change:
    """The object as it is now, or why that is not known at the moment."""

    body: Object | None = None
    """None with no trouble: it was deleted."""
    trouble: str = ""


class NotAnswering(Unavailable):
    """The API server cannot be reached at the moment."""


class Forbidden(Unavailable):
    """The API server knows the person and refuses; the message names the verb that is needed."""


class Uninstalled(Unavailable):
    """The cluster does not have this kind of object at all."""


class Absent(Unavailable):
    """There is no such object."""


class Cluster:
    """One API server, asked with the person's own credentials."""

    def __init__(self, entry: Access) -> None:
        self.host, self.namespace = entry.host, entry.namespace
        self.lent = entry.client
        """Makes a client for somebody else, who asks this host and closes it."""
        self._client = entry.client()

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def portfolio(self, name: str) -> Object:
        """Return a Portfolio.

        Raises:
            Unavailable: There is none of that name, it may not be read, or nobody answers.
        """
        found = self._found(_PORTFOLIOS, name)
        if found is None:
            raise Absent(self._no_portfolio(name))
        return found

    def route_table(self, name: str) -> Object | None:
        """Return the ConfigMap that holds a Portfolio's route table; None where there is none."""
        return self._found(_CONFIG_MAPS, names.route_table_name(name))

    def jobs(self, uid: str) -> list[Object]:
        """Return the Jobs of a Portfolio."""
        selector = f"{names.LABEL_PORTFOLIO_UID}={uid}"
        return self._listed(_JOBS, self.namespace, labelSelector=selector)

    def portfolios(self, *, everywhere: bool) -> list[Object]:
        """Return the Portfolios of the namespace, or of the whole cluster."""
        return self._listed(_PORTFOLIOS, "" if everywhere else self.namespace)

    def servers(self, namespace: str, uid: str) -> list[Object]:
        """Return KServe's objects that carry a Portfolio's label; none where KServe is not."""
        found: list[Object] = []
        for kind, (version, plural) in _SERVERS.items():
            resource = (f"apis/{_SERVING}/{version}", plural, f"{plural}.{_SERVING}")
            selector = f"{names.LABEL_PORTFOLIO_UID}={uid}"
            try:
                listed = self._listed(resource, namespace, labelSelector=selector)
            except Uninstalled:
                continue
            found += [{**body, "kind": kind} for body in listed]  # a list's entries do not say it
        return found

    def patch_portfolio(self, name: str, patch: Object) -> None:
        """Change a Portfolio's spec as the person, by a JSON merge patch.

        Raises:
            Unavailable: It may not be changed, has changed meanwhile, or a rule refuses it.
        """
        import httpx2

        prefix, plural, resource = _PORTFOLIOS
        url = f"{self.host}/{prefix}/namespaces/{self.namespace}/{plural}/{name}"
        try:
            answer = self._client.patch(
                url,
                params={"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"},
                json=patch,
                headers={"content-type": "application/merge-patch+json"},
            )
            answer.raise_for_status()
        except httpx2.HTTPStatusError as error:
            if error.response.status_code == 409:
                raise Unavailable(
                    f"Portfolio {self.namespace}/{shown_name(name)} was changed meanwhile; nothing "
                    "was done: look at it and try again"
                ) from None
            raise self._refused(error.response, "patch", resource, self.namespace) from None
        except httpx2.TransportError as error:
            raise self._silent(error) from None

    def follow(self, name: str) -> Iterator[Change]:
        """Yield a Portfolio as it is and whenever it changes, by a watch, until it is deleted.

        Raises:
            Unavailable: It is not there to begin with, or may not be watched.
        """
        body, pause = self.portfolio(name), _FIRST_PAUSE_SECONDS
        yield Change(body)
        version = str(body["metadata"]["resourceVersion"])
        while True:
            began = time.monotonic()
            try:
                for kind, body in self._events(name, version):
                    pause = _FIRST_PAUSE_SECONDS
                    if kind == "ERROR":  # the version is forgotten, most likely
                        raise NotAnswering(str(body.get("message") or "the watch failed"))
                    version = str(body["metadata"]["resourceVersion"])
                    if kind == "DELETED":
                        yield Change()
                        return
                    if kind in ("ADDED", "MODIFIED"):
                        yield Change(body)
                # Whoever ends watches at once is not asked at once again.
                time.sleep(max(_FIRST_PAUSE_SECONDS - (time.monotonic() - began), 0))
            except NotAnswering as error:
                yield Change(trouble=str(error))
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                try:
                    found = self._found(_PORTFOLIOS, name)
                except NotAnswering:
                    continue
                if found is None:
                    yield Change()
                    return
                version = str(found["metadata"]["resourceVersion"])
                yield Change(found)

    def _found(self, kind: Kind, name: str) -> Object | None:
        try:
            return self._asked(kind, self.namespace, name, verb="get")
        except Absent:
            return None

    def _listed(self, kind: Kind, namespace: str, **query: str) -> list[Object]:
        found = self._asked(kind, namespace, "", verb="list", **query)
        return list(found.get("items") or [])

    def _asked(self, kind: Kind, namespace: str, name: str, *, verb: str, **query: str) -> Object:
        import httpx2

        prefix, plural, resource = kind
        scope = f"namespaces/{namespace}/" if namespace else ""
        url = f"{self.host}/{prefix}/{scope}{plural}{f'/{name}' if name else ''}"
        try:
            answer = self._client.get(url, params=query)
            answer.raise_for_status()
            found: Object = answer.json()
        except httpx2.HTTPStatusError as error:
            raise self._refused(error.response, verb, resource, namespace) from None
        except (httpx2.TransportError, ValueError) as error:
            raise self._silent(error) from None
        return found

    def _events(self, name: str, version: str) -> Iterator[tuple[str, Object]]:
        import httpx2

        prefix, plural, resource = _PORTFOLIOS
        query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        url = f"{self.host}/{prefix}/namespaces/{self.namespace}/{plural}"
        patience = httpx2.Timeout(ANSWER_SECONDS, read=_WATCH_SECONDS + ANSWER_SECONDS)
        try:
            with self._client.stream("GET", url, params=query, timeout=patience) as answer:
                if answer.is_error:
                    answer.read()
                    raise self._refused(answer, "watch", resource, self.namespace)
                for line in answer.iter_lines():
                    event = json.loads(line)
                    yield event["type"], event["object"]
        except (httpx2.TransportError, ValueError, LookupError, TypeError) as error:
            raise self._silent(error) from None

    def _silent(self, error: Exception) -> NotAnswering:
        return NotAnswering(f"the API server {self.host} does not answer: {error}")

    def _refused(
        self, answer: "httpx2.Response", verb: str, resource: str, namespace: str
    ) -> Unavailable:
        where = f"namespace {namespace}" if namespace else "all namespaces"
        said = _message(answer)
        if answer.status_code == 401:
            return Unavailable(
                f"the API server {self.host} does not know who asks (401): log in again, or choose "
                "another --context"
            )
        if answer.status_code == 403:
            return Forbidden(f"{said}; needed is the verb {verb} on {resource} in {where}")
        if answer.status_code == 404 and said:
            return Absent(said)
        if answer.status_code == 404:
            return Uninstalled(
                f"the cluster {self.host} has no {resource}: palm-operator's CRD is not installed "
                "there"
            )
        if answer.status_code >= 500 or answer.status_code == 429:
            return NotAnswering(f"the API server answers {answer.status_code}: {said}")
        return Unavailable(f"the API server refuses ({answer.status_code}): {said}")

    def _no_portfolio(self, name: str) -> str:
        """Return what to say of a name that nobody has, with those that are near."""
        here = f"there is no Portfolio {shown_name(name)} in namespace {self.namespace}"
        try:
            found = self._listed(_PORTFOLIOS, self.namespace)
            everywhere = found or self._listed(_PORTFOLIOS, "")
        except Unavailable:
            return here
        known = [body["metadata"]["name"] for body in found]
        if not found and everywhere:
            others = [f"{b['metadata']['namespace']}/{b['metadata']['name']}" for b in everywhere]
            return f"{here}; elsewhere there {_are(others, name)}"
        return f"{here}; there {_are(known, name)}" if known else f"{here}; there is none at all"


def connected(where: Where) -> Cluster:
    """Return the cluster that is meant.

    Raises:
        Unavailable: There is no kubeconfig, or it cannot be used.
    """
    return Cluster(access(where))


def _message(answer: "httpx2.Response") -> str:
    """Return what a Kubernetes Status says; empty for any other answer."""
    try:
        said: Mapping[str, Any] = answer.json()
        return shown_name(str(said["message"])) if said.get("kind") == "Status" else ""
    except (ValueError, LookupError, AttributeError, TypeError):
        return ""


def _are(known: list[str], name: str) -> str:
    near = difflib.get_close_matches(name, known, n=_SHOWN, cutoff=0.5)
    shown = near or known[:_SHOWN]
    more = f" and {len(known) - len(shown)} more" if len(known) > len(shown) else ""
    return f"{'is' if len(known) == 1 else 'are'} {', '.join(shown)}{more}"
