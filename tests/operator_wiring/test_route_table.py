"""The route table on a real API server: the Portfolio's own, protected, and followed by a gateway.

Operator and gateway are processes with the chart's rights. KServe's controller is not there, so no
policy answers; the gateway in front of policies that do is in tests/serving.
"""

import json
import time
from collections.abc import Iterator

import pytest
from openai import InternalServerError

from gateways import GatewayProcess, gateway_account
from palm.route_table import parse_route_table, sha256_of
from palm_operator import names

pytestmark = pytest.mark.cluster

SYSTEM = "palm-system"
ACCOUNT = gateway_account(SYSTEM)


@pytest.fixture
def gateway(operator, tenant, tmp_path) -> Iterator[GatewayProcess]:
    with GatewayProcess(tenant.cluster, tenant.namespace, tmp_path, system=SYSTEM) as made:
        yield made
    assert "secret" not in made.log


def config_map(tenant):
    found = [c for c in tenant.objects("configmaps") if c["metadata"]["name"] == "assistant-routes"]
    return found[0] if found else None


def table_of(tenant):
    body = config_map(tenant)
    return parse_route_table(body["data"]["routes.json"]) if body else None


def publish(tenant) -> None:
    """As far as it comes without KServe's controller: the table is there, and nobody answers."""
    tenant.apply()
    tenant.eventually(lambda: tenant.condition("Published").get("reason") == "WaitingForKServe")
    tenant.eventually(lambda: table_of(tenant) is not None)


def test_a_portfolio_has_a_table_of_its_own_that_the_gateway_follows(gateway, tenant):
    publish(tenant)
    body, table = config_map(tenant), table_of(tenant)
    (owner,) = body["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("Portfolio", tenant.portfolio["metadata"]["uid"])
    assert body["metadata"]["annotations"][names.ANNOTATION_SHA256] == sha256_of(
        body["data"]["routes.json"]
    )
    shown = tenant.kubectl(
        "get", "configmap", "assistant-routes", "--show-managed-fields", "-o", "json"
    )
    managers = {m["manager"] for m in json.loads(shown)["metadata"]["managedFields"]}
    assert managers == {"palm-operator"}
    tenant.eventually(lambda: [m.id for m in gateway.client.models.list()] == [table.key])
    assert not gateway.client.models.retrieve(table.key).palm["ready"]
    with pytest.raises(InternalServerError) as refused:
        gateway.chat(steps=1)
    assert refused.value.status_code == 503

    # What a person deletes is made anew; what goes with the Portfolio is gone for good.
    tenant.kubectl("delete", "configmap", "assistant-routes")
    tenant.eventually(lambda: table_of(tenant) == table)
    tenant.eventually(lambda: [m.id for m in gateway.client.models.list()] == [table.key])
    tenant.kubectl("delete", "pfo", "assistant", "--timeout=60s")
    deadline = time.monotonic() + 60
    while config_map(tenant) is not None or gateway.client.models.list().data:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_nobody_but_the_operator_writes_a_route_table(operator, tenant):
    publish(tenant)
    forged = config_map(tenant)
    forged["metadata"] = {
        key: forged["metadata"][key] for key in ("labels", "annotations", "ownerReferences")
    } | {"name": "forged-routes"}
    with pytest.raises(Exception, match="written by palm-operator alone"):
        tenant.kubectl("create", "-f", "-", stdin=json.dumps(forged))
    patch = json.dumps({"data": {"routes.json": "{}"}})
    with pytest.raises(Exception, match="written by palm-operator alone"):
        tenant.kubectl("patch", "configmap", "assistant-routes", "--type=merge", "-p", patch)
    with pytest.raises(Exception, match="written by palm-operator alone"):
        tenant.kubectl("label", "configmap", "assistant-routes", f"{names.LABEL_COMPONENT}-")


def test_the_operator_writes_no_other_config_map(operator, tenant):
    tenant.kubectl("create", "configmap", "precious", "--from-literal=a=b")
    operator_account = "--as=system:serviceaccount:palm-system:palm-system-palm-operator"
    with pytest.raises(Exception, match="no ConfigMap but route tables"):
        tenant.kubectl(operator_account, "create", "configmap", "mine", "--from-literal=a=b")
    patch = json.dumps({"data": {"a": "c"}})
    with pytest.raises(Exception, match="no ConfigMap but route tables"):
        tenant.kubectl(operator_account, "patch", "configmap", "precious", "--type=merge",
                       "-p", patch)  # fmt: skip
    labelled = {"metadata": {"labels": {names.LABEL_COMPONENT: names.ROUTE_TABLE}}}
    with pytest.raises(Exception, match="no ConfigMap but route tables"):
        tenant.kubectl(operator_account, "patch", "configmap", "precious", "--type=merge",
                       "-p", json.dumps(labelled))  # fmt: skip


def test_a_config_map_of_that_name_that_is_not_ours_stays_as_it_is(operator, tenant):
    tenant.kubectl("create", "configmap", "assistant-routes", "--from-literal=mine=yes")
    tenant.apply()
    tenant.eventually(lambda: tenant.condition("Published").get("reason") == "NameConflict")
    assert config_map(tenant)["data"] == {"mine": "yes"}
    assert "assistant-routes" in tenant.condition("Published")["message"]


def test_the_gateways_account_lists_and_watches_config_maps_and_nothing_else(gateway, tenant):
    account = f"--as=system:serviceaccount:{SYSTEM}:{ACCOUNT}"
    nobody = f"--as=system:serviceaccount:{SYSTEM}:nobody"

    def rights(whose, namespace):
        listed = tenant.kubectl("auth", "can-i", "--list", whose, "-n", namespace)
        return {" ".join(line.split()) for line in listed.splitlines()}

    assert rights(account, tenant.namespace) - rights(nobody, tenant.namespace) == {
        "configmaps [] [] [list watch]"
    }
    for elsewhere in ("default", SYSTEM, "kube-system"):
        assert rights(account, elsewhere) == rights(nobody, elsewhere)
