"""Random walks on the real API server: what a person, a crash and a bad disk do, in any order.

``make random-walks`` takes a few after those in the simulated world, side by side in namespaces of
their own. Prints what was done in each; exit code 1 when a law was broken.
"""

import argparse
import random
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]

from builders import observed_in
from faults.api import Object
from faults.lab import STOPPING, Lab, Tenant, end_tidily, lab
from palm_operator import names
from palm_operator.api.portfolio import parse_portfolio
from palm_operator.calls.work import work_for
from palm_operator.deciding.decision import decide
from palm_operator.objects import is_owned
from palm_store import InMemoryStore, S3Store

_PATIENCE = 300.0
_EDITS: tuple[dict[str, Any], ...] = (
    {"training": {"seed": 1, "parallelism": 2}},
    {"training": {"seed": 1, "parallelism": 3}},
    {"training": {"seed": 2, "parallelism": 3}},
    {"pruning": {"mu": "0.4"}},
    {"pruning": {"mu": "0.05"}},
    {"search": {"mode": "Adaptive"}},
    {"search": {"mode": "Grid"}},
    {"prompts": {"train": {"uri": "s3://data/train.jsonl"},
                 "evaluation": {"uri": "s3://data/test.jsonl", "limit": 5}}},
)  # fmt: skip
_MOST_AT_ONCE = 3


@dataclass
class ClusterWalk:
    """One Portfolio, one operator, and a seeded sequence of mishaps."""

    lab: Lab
    namespace: str
    seed: int
    said: list[str] = field(default_factory=list)
    spec: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.tenant: Tenant = self.lab.tenant(self.namespace)
        self.operator = self.lab.operator(self.namespace, PALM_RESYNC_SECONDS="5")

    def walked(self, steps: int) -> None:
        """Take steps, check the laws after each, and see all come to rest.

        Raises:
            AssertionError: A law is broken; what was done before is in ``said``.
        """
        self.operator.start()
        try:
            self._edit()
            for _ in range(steps):
                assert not STOPPING.is_set(), "interrupted"
                step = self.random.choice(
                    (self._edit, self._edit, self._kill, self._delete_job, self._delete_service,
                     self._spoil, self._wait)
                )  # fmt: skip
                step()
                time.sleep(self.random.uniform(0.0, 1.5))
                self._check()
            self._come_to_rest()
        finally:
            self.operator.end()

    # What happens.

    def _edit(self) -> None:
        self.spec |= self.random.choice(_EDITS)
        self._note(f"edit {self.spec}")
        self.tenant.apply(**{key: dict(value) for key, value in self.spec.items()})

    def _kill(self) -> None:
        self._note("kill the operator")
        self.operator.end()
        self.operator.start()

    def _delete_job(self) -> None:
        self._delete("jobs", "/apis/batch/v1")

    def _delete_service(self) -> None:
        self._delete("inferenceservices", "/apis/serving.kserve.io/v1beta1")

    def _delete(self, kind: str, group: str) -> None:
        found = sorted(body["metadata"]["name"] for body in self.tenant.objects(kind))
        if found:
            name = self.random.choice(found)
            self._note(f"delete {kind}/{name}")
            self.lab.api.delete(f"{group}/namespaces/{self.namespace}/{kind}/{name}")

    def _spoil(self) -> None:
        store = S3Store(self.tenant.location)
        results = sorted(key for key in store.list("") if "/evaluations/" in key)
        if results:
            key = self.random.choice(results)
            self._note(f"spoil {key}")
            store.write(key, b'{"policy": "cut o')

    def _wait(self) -> None:
        self._note("wait")
        time.sleep(self.random.uniform(1.0, 3.0))

    def _note(self, what: str) -> None:
        self.said.append(what)

    # The laws.

    def _check(self) -> None:
        portfolio, jobs = self.tenant.portfolio, self.tenant.objects("jobs")
        told = f"after {self.said}"
        running = Counter(
            (labels[names.LABEL_STEP], labels[names.LABEL_DIGEST])
            for body in jobs
            if _is_running(body) and (labels := body["metadata"]["labels"])
        )
        assert not running or max(running.values()) == 1, f"made twice at once: {running}; {told}"
        assert running.total() <= _MOST_AT_ONCE, f"{running.total()} Jobs at once; {told}"
        uid = portfolio["metadata"]["uid"]
        for body in (*jobs, *self.tenant.objects("inferenceservices")):
            assert is_owned(body, uid), f"{body['metadata']['name']} has no owner; {told}"
        for entry in portfolio["metadata"].get("managedFields", []):
            if entry["manager"] == names.FIELD_MANAGER:
                assert entry.get("subresource") == "status", f"the operator writes more; {told}"
        _check_status(portfolio, told)

    def _come_to_rest(self) -> None:
        self.spec["training"] = {"seed": 1, "parallelism": 3}
        self._kill()  # what it has read it believes until it ends: nobody writes results twice
        self._note("at rest")
        self.tenant.apply(**{key: dict(value) for key, value in self.spec.items()})
        deadline = time.monotonic() + _PATIENCE
        while not (self.tenant.is_settled() and self._is_as_decided()):
            status = self.tenant.portfolio.get("status")
            assert time.monotonic() < deadline, f"never at rest: {status}; after {self.said}"
            assert not STOPPING.is_set(), "interrupted"
            self._check()
            time.sleep(0.5)

    def _is_as_decided(self) -> bool:
        """Say whether what is reported is what the pure core makes of the objects in S3."""
        store = InMemoryStore()
        store.objects = self.tenant.stored()
        portfolio = parse_portfolio(self.tenant.portfolio)
        evidence = observed_in(portfolio, store).evidence
        work = work_for(portfolio, evidence)
        if not work.is_determined or evidence.invalid:
            return False
        served = frozenset(p.name for p in portfolio.status.portfolio.policies)
        preferred = frozenset(p.digest for p in work.policies if p.name in served)
        decision = decide(portfolio, work, evidence, preferred=preferred)
        return served == {p.name for p in decision.survivors}


def _is_running(job: Object) -> bool:
    over = (job.get("status") or {}).get("conditions") or []
    is_over = any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in over)
    return not is_over and "deletionTimestamp" not in job["metadata"]


def _check_status(portfolio: Object, told: str) -> None:
    status = portfolio.get("status") or {}
    kinds = [c["type"] for c in status.get("conditions") or []]
    assert len(kinds) == len(set(kinds)), f"{kinds}; {told}"
    assert not {"Reconciling", "Stalled"} <= set(kinds), f"both at once; {told}"
    assert status.get("observedGeneration", 0) <= portfolio["metadata"]["generation"], told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--walks", type=int, default=4)
    parser.add_argument("--steps", type=int, default=40, help="of each walk (40)")
    parser.add_argument("--seed", type=int, default=0, help="of the first walk (0)")
    options = parser.parse_args()
    end_tidily()
    with lab() as place:

        def walk(seed: int) -> bool:
            taken = ClusterWalk(place, f"walk-{seed:05d}", seed)
            try:
                taken.walked(options.steps)
            except Exception as error:
                print(f"walk {seed}: {type(error).__name__}: {error}", flush=True)
                return False
            print(f"walk {seed}: {'; '.join(taken.said)}", flush=True)
            return True

        seeds = range(options.seed, options.seed + options.walks)
        with ThreadPoolExecutor(options.walks) as pool:
            well = sum(pool.map(walk, seeds))
    steps = options.steps * options.walks
    print(f"walks on a cluster: {options.walks} of {steps} steps, {well} kept every law")
    return 0 if well == options.walks else 1


if __name__ == "__main__":
    sys.exit(main())
