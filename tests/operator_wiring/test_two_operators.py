"""More than one operator on a real API server: one acts, and each only for its own."""

import json
import time

import pytest

from operators import Operator, operator_environment

pytestmark = pytest.mark.cluster

SYSTEM = "palm-system"
LEASE = "palm-system-palm-operator"


@pytest.fixture
def pair(environment, tmp_path):
    """Two candidates for one Lease, with the chart's rights."""
    settings = {**environment, "PALM_LEASE": f"{SYSTEM}/{LEASE}"}
    made = [Operator(settings, tmp_path / f"operator-{i}.log") for i in range(2)]
    yield made
    for operator in made:
        operator.resume()
        operator.end()
        print(operator.log.read_text() if operator.log.exists() else "not started")


def holder(tenant) -> str:
    try:
        lease = json.loads(tenant.kubectl("get", "lease", LEASE, "-n", SYSTEM, "-o", "json"))
    except Exception:
        return ""
    return lease["spec"].get("holderIdentity", "")


def until(holds, *, seconds=120) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.2)


def lead(tenant, before: str = "") -> str:
    until(lambda: holder(tenant) not in ("", before))
    return holder(tenant)


def begin(operator) -> None:
    operator.start()
    until(lambda: "is a candidate" in operator.log.read_text())


def wrote(operator) -> bool:
    return "created Job" in operator.log.read_text()


def test_a_paused_leader_is_replaced_writes_nothing_and_waits_afterwards(pair, tenant):
    one, other = pair
    begin(one)
    first = lead(tenant)
    begin(other)
    tenant.apply(seconds=1)
    until(lambda: wrote(one))
    assert not wrote(other)

    one.pause()
    second = lead(tenant, before=first)
    tenant.eventually(lambda: "5/5" in json.dumps(tenant.portfolio.get("status", {})))
    before = tenant.objects("jobs")
    written = one.log.read_text()
    one.resume()
    until(lambda: "leads no more" in one.log.read_text().removeprefix(written))
    time.sleep(5)
    assert holder(tenant) == second
    after = one.log.read_text().removeprefix(written)
    assert "created" not in after
    assert "applied" not in after
    assert {j["metadata"]["uid"] for j in before} == {
        j["metadata"]["uid"] for j in tenant.objects("jobs")
    }

    other.kill()
    killed = time.monotonic()
    lead(tenant, before=second)
    print(f"replaced after {time.monotonic() - killed:.1f} s")


def test_a_leader_that_is_told_to_stop_hands_over_at_once(pair, tenant):
    one, other = pair
    begin(one)
    first = lead(tenant)
    begin(other)
    one.end()
    ended = time.monotonic()
    lead(tenant, before=first)
    print(f"handed over {time.monotonic() - ended:.1f} s after the end")


def test_each_class_has_its_operator_and_its_route_tables(operator, tenant, environment, tmp_path):
    """Both installs protect their route tables, and neither is in the other's way."""
    team = operator_environment(
        tenant.cluster, tmp_path, namespace=f"{tenant.namespace}-team", protect=True,
        values=("operatorClass=team", f"watchNamespaces={{{tenant.namespace}}}"),
        PALM_OPERATOR_CLASS="team", PALM_WATCH_NAMESPACES=tenant.namespace,
        **{k: environment[k] for k in environment if k.endswith("_IMAGE")},
        PALM_RESYNC_SECONDS="2",
    )  # fmt: skip
    tenant.apply(operatorClass="team")
    time.sleep(5)
    assert "status" not in tenant.portfolio  # nobody of its class is there
    other = Operator(team, tmp_path / "team.log")
    other.start()
    try:
        tenant.eventually(lambda: tenant.condition("Published").get("reason") == "WaitingForKServe")
        tables = {c["metadata"]["name"]: c for c in tenant.objects("configmaps")}
        labels = tables["assistant-routes"]["metadata"]["labels"]
        assert labels["palm-operator.dev/operator-class"] == "team"
        assert wrote(other)
        assert tenant.namespace not in operator.log.read_text()
        patch = json.dumps({"data": {"routes.json": "{}"}})
        with pytest.raises(Exception, match="written by palm-operator alone"):
            tenant.kubectl("patch", "configmap", "assistant-routes", "--type=merge", "-p", patch)
        with pytest.raises(Exception, match="is immutable"):
            tenant.kubectl("patch", "pfo", "assistant", "--type=json", "-p",
                           '[{"op": "remove", "path": "/spec/operatorClass"}]')  # fmt: skip
    finally:
        other.end()
        print(other.log.read_text())
        tenant.kubectl("delete", "validatingadmissionpolicybinding", "--all-namespaces=false",
                       "-l", f"app.kubernetes.io/instance={tenant.namespace}-team")  # fmt: skip
