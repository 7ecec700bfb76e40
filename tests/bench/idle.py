"""``make bench-idle``: what an operator costs whose Portfolios are all served and nobody touches.

On an embedded cluster of its own, fifty Portfolios are trained, pruned and served (by quick fakes);
then one operator with leader election looks after them for a while. What it wrote is counted from
the API server's own audit log, what it asked of S3 from the S3 server's access log. Prints one
``name: value`` per line. Exit code 1 when it wrote anything, or asked S3 more than once per
Portfolio and resync.
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

from faults.api import PORTFOLIOS  # noqa: E402
from faults.lab import SYSTEM, Lab, Tenant, end_tidily, lab  # noqa: E402

_PORTFOLIOS = 50
_MINUTES = 10.0
_RESYNC = 300.0
_NAMESPACE = "idle"
_PATIENCE = 1800.0
_STILL = 20.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--portfolios", type=int, default=_PORTFOLIOS)
    parser.add_argument("--minutes", type=float, default=_MINUTES)
    parser.add_argument("--resync", type=float, default=_RESYNC, help="PALM_RESYNC_SECONDS (300)")
    options = parser.parse_args()
    end_tidily()
    with lab() as place:
        began = time.monotonic()
        operator = place.operator(
            _NAMESPACE,
            PALM_RESYNC_SECONDS=str(options.resync),
            PALM_LEASE=f"{SYSTEM}/palm-operator",
        )
        tenants = _served(place, operator.start, options.portfolios)
        print(f"portfolios: {len(tenants)}", flush=True)
        print(f"seconds_to_ready: {time.monotonic() - began:.0f}", flush=True)
        _still(place)
        changes, requests = _changes(place), _requests(place)
        ends = time.monotonic() + 60 * options.minutes
        while time.monotonic() < ends:
            assert operator.exit_code is None, place.log_of(_NAMESPACE).read_text()[-2000:]
            time.sleep(1)
        changes, asked = _changes(place) - changes, _requests(place) - requests
        operator.end()
    leases = sum(count for (_, resource), count in changes.items() if resource == "leases")
    writes = sum(changes.values()) - leases
    resyncs = 60 * options.minutes / options.resync
    each = asked / (len(tenants) * resyncs)
    print(f"minutes: {options.minutes:g}")
    print(f"resyncs: {resyncs:g}")
    print(f"api_writes: {writes}")
    print(f"lease_renewals: {leases}")
    print(f"s3_requests: {asked}")
    print(f"s3_requests_per_portfolio_and_resync: {each:.2f}")
    for (verb, resource), count in sorted(changes.items()):
        if resource != "leases":
            print(f"api_writes_{verb}_{resource}: {count}")
    # A resync is jittered by a tenth: one more or less may fall into the time.
    return 0 if not writes and asked <= len(tenants) * (resyncs * 1.1 + 1) else 1


def _served(place: Lab, start: object, count: int) -> list[Tenant]:
    """Return Portfolios that are served, all in one namespace and of one set of policies each."""
    first = place.tenant(_NAMESPACE)
    tenants = [Tenant(place, _NAMESPACE, f"idle-{i:03d}") for i in range(count)]
    start()  # type: ignore[operator]
    for tenant in tenants:
        tenant.apply()
    deadline = time.monotonic() + _PATIENCE
    while True:
        bodies = place.api.items(PORTFOLIOS.format(first.namespace))
        ready = sum(_is_ready(body) for body in bodies)
        if ready == count:
            return tenants
        assert time.monotonic() < deadline, f"{ready} of {count} Portfolios are Ready"
        time.sleep(1)


def _is_ready(body: dict[str, object]) -> bool:
    conditions = body.get("status", {}).get("conditions", [])  # type: ignore[attr-defined]
    said = {c["type"]: c["status"] for c in conditions}
    return said.get("Ready") == "True" and said.get("Progressing") == "False"


def _still(place: Lab) -> None:
    """Wait until nothing but the Lease was written for a while: the last events, say."""
    seen, since = _changes(place), time.monotonic()
    while time.monotonic() - since < _STILL:
        time.sleep(1)
        now = _changes(place)
        if _without_leases(now) != _without_leases(seen):
            seen, since = now, time.monotonic()


def _without_leases(changes: Counter[tuple[str, str]]) -> int:
    return sum(n for (_, resource), n in changes.items() if resource != "leases")


def _changes(place: Lab) -> Counter[tuple[str, str]]:
    """Return what the operator has changed so far, by verb and resource."""
    return Counter((c["verb"], c["objectRef"]["resource"]) for c in place.changes())


def _requests(place: Lab) -> int:
    """Return how many requests the S3 server has answered so far."""
    with place.cluster.s3_requests.open() as lines:
        return sum(1 for _ in lines)


if __name__ == "__main__":
    sys.exit(main())
