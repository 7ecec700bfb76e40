"""Lives of a Portfolio under an operator that is killed, and what is left at their ends."""

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import records
from faults.api import Object
from faults.lab import STOPPING, Lab, Tenant
from faults.points import KILLED, Point, died_at
from palm.artifacts import record_folder

PATIENCE = 900.0
_POLL = 0.25
_STILL = 1.5
_LONG_ENOUGH = 8.0  # seconds of a training that is to be suspended
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
_CONTENT = re.compile(r'("palm-operator.dev/(?:content|sha256)": )"[0-9a-f]+"')
# Written by the API server and by whoever serves.
_NOT_OURS = ("uid", "resourceVersion", "managedFields", "creationTimestamp", "generation")


class Unfinished(Exception):
    """A life did not get where it should; the message says how far it got."""


@dataclass
class EndState:
    """What is left, said alike in every namespace."""

    jobs: dict[str, int] = field(default_factory=dict)
    """How often each Job was created."""
    objects: dict[str, str] = field(default_factory=dict)
    """Digest of each object in S3."""
    status: Object = field(default_factory=dict)
    children: dict[str, Any] = field(default_factory=dict)
    """InferenceServices and the route table."""

    def differences(self, other: "EndState") -> list[str]:
        """Return in what another end state is not this one."""
        found = []
        for part in ("jobs", "objects", "status", "children"):
            mine, theirs = _flat(getattr(self, part)), _flat(getattr(other, part))
            found += [
                f"{part}: {key} is {theirs.get(key)!r}, not {mine.get(key)!r}"
                for key in sorted({*mine, *theirs})
                if mine.get(key) != theirs.get(key)
            ]
        return found


@dataclass
class Life:
    """One Portfolio, one operator, and the points at which the operator dies, once at each."""

    lab: Lab
    namespace: str
    points: tuple[Point, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)
    story: Callable[["Life"], None] = field(default_factory=lambda: refreshed)
    """What a person does, and waits for."""

    def __post_init__(self) -> None:
        self._uid = ""
        self.tenant: Tenant = self.lab.tenant(self.namespace)
        self.operator = self.lab.operator(self.namespace, recorded=True, **self.settings)

    def lived(self) -> EndState:
        """Live the whole life; return what is left of it.

        Raises:
            Unfinished: It got stuck, or the operator ended by itself.
        """
        self.operator.start(self.points)
        try:
            self.story(self)
        finally:
            self.operator.end()
        return self.end_state()

    @property
    def missed(self) -> list[Point]:
        """The points that the operator has not come to."""
        met = died_at(self.lab.record_of(self.namespace))
        return [point for point in self.points if point not in met]

    def end_state(self) -> EndState:
        """Return what there is now."""
        tenant, uid = self.tenant, self._uid
        stored = tenant.stored()
        digests = {
            hashlib.sha256(content).hexdigest(): hashlib.sha256(
                self._said_alike(content.decode(), uid).encode()
            ).hexdigest()
            for content in stored.values()
        }

        def alike(text: str) -> str:
            text = self._said_alike(text, uid)
            for digest, other in digests.items():
                text = text.replace(digest, other)
            # What was purged cannot be said alike; that it is gone is.
            return text if tenant.portfolio else _DIGEST.sub("PURGED", text)

        children = {
            f"{kind}/{body['metadata']['name']}": _ours(body)
            for kind in ("inferenceservices", "configmaps")
            for body in tenant.objects(kind)
            if "kube-root-ca" not in body["metadata"]["name"]
        }
        folder = record_folder(self.namespace, "assistant")
        records.assert_chained(stored, folder)
        tells = "\n".join(sorted(alike(event) for event in records.told(stored, folder)))
        objects = {k: c.decode() for k, c in stored.items() if not k.startswith(folder)}
        # Into which entries events are divided depends on when the operator died.
        status = {k: v for k, v in tenant.portfolio.get("status", {}).items() if k != "record"}
        return EndState(
            jobs=dict(tenant.jobs_created()),
            objects={
                alike(key): hashlib.sha256(alike(content).encode()).hexdigest()
                for key, content in {**objects, folder: tells}.items()
            },
            status=json.loads(alike(json.dumps(status))),
            children=json.loads(alike(json.dumps(children))),
        )

    def _said_alike(self, text: str, uid: str) -> str:
        text = text.replace(self.namespace, "NAMESPACE").replace(uid, "UID")
        return _CONTENT.sub(r'\1"CONTENT"', _TIME.sub("TIME", text))

    def apply(self, **given: Any) -> None:
        """Apply the Portfolio; what is left may name it by the uid that it gets."""
        self.tenant.apply(**given)
        self._uid = self._uid or self.tenant.portfolio["metadata"]["uid"]

    def trains(self) -> bool:
        """Say whether the base policy is evaluated and both extreme policies train."""
        calls = self.tenant.portfolio.get("status", {}).get("oracleCalls") or {}
        jobs = self.tenant.objects("jobs")
        complete = sum(bool(job["status"].get("succeeded")) for job in jobs)
        return calls.get("running") == 2 and len(jobs) == 3 and complete == 1

    def is_suspended(self) -> bool:
        """Say whether no Job runs, and the Portfolio says why."""
        jobs = [job for job in self.tenant.objects("jobs") if not job["status"].get("succeeded")]
        said = self.tenant.condition("Progressing").get("reason")
        return said == "Suspended" and all(job["spec"].get("suspend") for job in jobs)

    def is_recorded(self) -> bool:
        """Say whether what is deployed is recorded: who deletes earlier may be quicker."""
        folder = record_folder(self.namespace, "assistant")
        return any('"Deployed"' in event for event in records.told(self.tenant.stored(), folder))

    def is_gone(self) -> bool:
        """Say whether the Portfolio and everything that it owned are gone."""
        kinds = ("jobs", "inferenceservices")
        return not self.tenant.portfolio and not any(map(self.tenant.objects, kinds))

    def until_still(self) -> None:
        """Wait until nothing was written for a moment; the last point may be met only now."""
        seen, since = "", time.monotonic()

        def is_still() -> bool:
            nonlocal seen, since
            version = self.tenant.portfolio["metadata"]["resourceVersion"]
            if version != seen or not self.tenant.is_settled():
                seen, since = version, time.monotonic()
            return time.monotonic() - since > _STILL

        self.until(is_still, "is still")

    def until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            self._supervise()
            if STOPPING.is_set():
                raise Unfinished("interrupted")
            if holds():
                return
            if time.monotonic() > deadline:
                said = json.dumps(self.tenant.portfolio.get("status", {}).get("conditions"))
                raise Unfinished(f"not within {PATIENCE:.0f} s: {what}; the status says {said}")
            time.sleep(_POLL)

    def _supervise(self) -> None:
        """Start the operator again where it met a point."""
        code = self.operator.exit_code
        if code is None:
            return
        if code != KILLED:
            raise Unfinished(f"the operator ended by itself with exit code {code}")
        self.operator.start(self.missed)


def refreshed(life: Life) -> None:
    """The spec is edited while Jobs run, is served, and is refreshed without a gap."""
    life.apply(training={"seed": 1, "parallelism": 3}, training_seconds=3600)  # it never ends
    life.until(life.trains, "trains the first spec")
    for seed in (2, 3):
        life.apply(training={"seed": seed, "parallelism": 2})
        life.until(life.tenant.is_settled, f"serves the spec with seed {seed}")
    life.until_still()


def purged(life: Life) -> None:
    """It is suspended while Jobs run, resumed, served, and deleted with what it has in S3."""
    spec = {"training": {"seed": 1, "parallelism": 3}, "retentionPolicy": "Delete"}
    life.apply(**spec, training_seconds=_LONG_ENOUGH)
    life.until(life.trains, "trains")
    life.apply(**spec, training_seconds=_LONG_ENOUGH, suspend=True)
    life.until(life.is_suspended, "is suspended")
    life.apply(**spec, training_seconds=_LONG_ENOUGH, suspend=False)
    life.until(life.tenant.is_settled, "serves")
    life.until(life.is_recorded, "has recorded what is deployed")
    life.tenant.delete()
    life.until(life.is_gone, "is gone")


def _ours(body: Object) -> Object:
    kept = {k: v for k, v in body["metadata"].items() if k not in _NOT_OURS}
    return {"metadata": kept, "spec": body.get("spec"), "data": body.get("data")}


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Return the leaves of a document by their paths."""
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = ((str(i), v) for i, v in enumerate(value))  # type: ignore[assignment]
    else:
        return {path: value}
    return {k: v for key, part in pairs for k, v in _flat(part, f"{path}/{key}").items()}
