"""retentionPolicy: Delete on a real cluster: what goes, what stays, and how nothing gets stuck."""

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from operators import Operator
from palm_operator.names import FINALIZER

pytestmark = pytest.mark.cluster

DOCS = Path(__file__).resolve().parents[2] / "docs" / "life.md"
COARSE = {"strategy": "PALM", "mu": "1", "alpha": "1"}


def published(tenant) -> bool:
    return tenant.condition("Published").get("reason") == "WaitingForKServe"


def finalizers(tenant) -> list[str]:
    return tenant.portfolio.get("metadata", {}).get("finalizers", [])


def other_portfolio(tenant, *, name: str = "other", **spec) -> dict:
    """A second Portfolio of the namespace, on the same prefix."""
    body = json.loads(json.dumps(tenant.portfolio))
    body["metadata"] = {"name": name, "namespace": tenant.namespace}
    body.pop("status", None)
    body["spec"] |= {"retentionPolicy": "Retain", **spec}
    return body


def policies(tenant) -> set[str]:
    return {name.split("/")[0] for name in tenant.store.list("policies")}


def gone(tenant) -> bool:
    return not tenant.portfolio


def test_a_purge_leaves_what_others_use_and_survives_a_kill(operator, tenant):
    tenant.seed()
    tenant.apply(retentionPolicy="Delete")
    tenant.eventually(lambda: finalizers(tenant) == [FINALIZER])
    tenant.eventually(lambda: published(tenant))
    in_git = tenant.portfolio["metadata"]["annotations"]
    in_git = in_git["kubectl.kubernetes.io/last-applied-configuration"]
    tenant.kubectl("diff", "-f", "-", stdin=in_git)  # a difference is an error
    tenant.kubectl("apply", "-f", "-", stdin=json.dumps(other_portfolio(tenant, grid=COARSE)))

    def other() -> dict:
        return json.loads(tenant.kubectl("get", "pfo", "other", "-o", "json"))

    tenant.eventually(lambda: other().get("status", {}).get("portfolio"))
    assert "finalizers" not in other()["metadata"]
    manifest = other()["status"]["portfolio"]["manifest"]
    mine, used = policies(tenant), tenant.store.list("portfolios")
    for i in range(60):  # a large model
        for digest in mine:
            tenant.store.write(f"policies/{digest}/model/part-{i}", b"weights")

    def parts() -> int:
        return sum(len(tenant.store.list(f"policies/{digest}")) for digest in mine)

    before, all_of_it = len(operator.log.read_text()), parts()
    tenant.kubectl("delete", "pfo", "assistant", "--wait=false")
    deadline = time.monotonic() + 120
    while "purged s3://" not in operator.log.read_text()[before:]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    operator.kill()
    left = parts()
    assert finalizers(tenant) == [FINALIZER]
    operator.start()
    tenant.eventually(lambda: gone(tenant))
    assert parts() < left < all_of_it  # it was killed in the midst of it

    assert len(policies(tenant)) == 3 < len(mine) == 5
    assert not tenant.store.list(f"portfolios/{tenant.namespace}/assistant")
    assert {name for name in used if "/other/" in name} == set(tenant.store.list("portfolios"))
    events = [e for e in tenant.objects("events") if e["reason"] == "Purged"]
    assert [e for e in events if "other Portfolios use them" in e["message"]]
    # Nothing of the other is made again, and nothing of it has changed.
    time.sleep(5)
    assert other()["status"]["portfolio"]["manifest"] == manifest
    assert tenant.objects("jobs") == []


def test_jobs_end_before_the_purge_and_what_was_begun_goes_too(operator, tenant):
    tenant.seed()
    before = policies(tenant)
    tenant.apply(retentionPolicy="Delete", seconds=60, training={"seed": 7})
    tenant.eventually(lambda: [p for p in tenant.objects("pods")
                               if p["status"].get("phase") == "Running"])  # fmt: skip
    digest = tenant.objects("jobs")[0]["metadata"]["labels"]["palm-operator.dev/digest"]
    tenant.store.write(f"policies/{digest}/checkpoints/1/optimizer.bin", b"half a policy")
    tenant.kubectl("delete", "pfo", "assistant", "--wait=false")
    tenant.eventually(lambda: gone(tenant))
    assert (tenant.objects("jobs"), tenant.objects("pods")) == ([], [])
    assert "WaitingForJobs" in {e["reason"] for e in tenant.objects("events")}
    assert policies(tenant) == before  # another's, or nobody's: it used none of them
    assert (tenant.store.list("base"), tenant.store.list("portfolios")) == ({}, {})


def test_retain_takes_the_finalizer_away(operator, tenant):
    tenant.apply(retentionPolicy="Delete", seconds=60)
    tenant.eventually(lambda: finalizers(tenant))
    retain = json.dumps({"spec": {"retentionPolicy": "Retain"}})
    tenant.kubectl("patch", "pfo", "assistant", "--type=merge", "-p", retain)
    tenant.eventually(lambda: not finalizers(tenant))
    shown = tenant.kubectl("get", "pfo", "assistant", "--show-managed-fields", "-o", "json")
    ours = [f for f in json.loads(shown)["metadata"]["managedFields"]
            if f["manager"] == "palm-operator"]  # fmt: skip
    assert {f.get("subresource") for f in ours} <= {"status"}


def test_without_s3_a_deleted_portfolio_says_how_it_gets_free(environment, tenant, tmp_path):
    settings = {**environment, "PALM_STORAGE_ENDPOINTS": '["*"]'}
    operator = Operator(settings, tmp_path / "operator.log")
    operator.start()
    try:
        tenant.apply(retentionPolicy="Delete")
        tenant.kubectl("delete", "pfo", "assistant", "--timeout=60s")
        body = portfolio_on(tenant, "http://127.0.0.1:9")
        tenant.kubectl("apply", "-f", "-", stdin=json.dumps(body))
        tenant.eventually(lambda: finalizers(tenant))
        tenant.kubectl("delete", "pfo", "assistant", "--wait=false")
        tenant.eventually(lambda: tenant.condition("Purged").get("reason") == "StorageUnavailable")
        message = tenant.condition("Purged")["message"]
        time.sleep(5)
        # Before it was deleted, a pass may have found S3 away as well.
        events = [e for e in tenant.objects("events") if e["message"] == message]
        assert len(events) == 1
        assert events[0]["type"] == "Warning"
        way_out = re.search(r"kubectl (patch .*) -p '(.*)'", message)
        assert way_out
        tenant.kubectl(*way_out[1].split(), "-p", way_out[2])
        tenant.eventually(lambda: gone(tenant), seconds=180)
    finally:
        operator.end()
        print(operator.log.read_text())


def portfolio_on(tenant, endpoint: str) -> dict:
    """The Portfolio that was applied, at another endpoint."""
    tenant.apply(retentionPolicy="Delete", suspend=True)
    body = other_portfolio(tenant, name="assistant", retentionPolicy="Delete")
    tenant.kubectl("delete", "pfo", "assistant", "--timeout=60s")
    body["spec"]["storage"]["s3"]["endpoint"] = endpoint
    return body


def test_a_namespace_without_its_operator_is_freed_by_one_line(operator, tenant, cluster, tmp_path):
    tenant.apply(retentionPolicy="Delete", suspend=True)
    tenant.eventually(lambda: finalizers(tenant))
    operator.end()
    copied = f"{tenant.namespace}-copy"
    for namespace, policy in ((copied, "Delete"), (f"{copied}-retained", "Retain")):
        tenant.kubectl("create", "namespace", namespace)
        body = other_portfolio(tenant, name="assistant", retentionPolicy=policy)
        body["metadata"] |= {"namespace": namespace}
        if policy == "Delete":
            body["metadata"]["finalizers"] = [FINALIZER]
        run = ("apply", "-n", namespace, "-f", "-")
        subprocess.run([str(cluster.kubectl), *run], input=json.dumps(body), text=True, check=True,
                       env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig)})  # fmt: skip
        tenant.kubectl("delete", "namespace", namespace, "--wait=false")

    def there(namespace: str) -> bool:
        return bool(tenant.kubectl("get", "namespace", namespace, "--ignore-not-found"))

    tenant.eventually(lambda: not there(f"{copied}-retained"))
    assert there(copied)  # only Delete holds a namespace
    (line,) = re.findall(r"^\$ (kubectl get pfo .*finalizers.*)$", DOCS.read_text(), re.MULTILINE)
    done = subprocess.run(
        ["bash", "-c", line],
        env={
            **os.environ,
            "KUBECONFIG": str(cluster.kubeconfig),
            "NAMESPACE": copied,
            "PATH": f"{Path(cluster.kubectl).parent}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    tenant.eventually(lambda: not there(copied))


def test_the_operator_may_change_nothing_else_of_a_portfolio(operator, tenant):
    tenant.apply(suspend=True)
    accounts = tenant.kubectl("get", "serviceaccounts", "-n", "palm-system", "-o", "name")
    account = next(n.split("/")[1] for n in accounts.split() if "palm" in n)

    def patch(content: dict) -> str:
        return tenant.kubectl("patch", "pfo", "assistant", "--type=merge", "-p",
                              json.dumps(content), "--dry-run=server",
                              f"--as=system:serviceaccount:palm-system:{account}")  # fmt: skip

    assert "patched" in patch({"metadata": {"finalizers": [FINALIZER]}})
    for content in (
        {"spec": {"suspend": False}},
        {"metadata": {"labels": {"team": "ml"}}},
        {"metadata": {"annotations": {"palm-operator.dev/paused": "true"}}},
        {"metadata": {"finalizers": ["example.com/theirs"]}},
    ):
        with pytest.raises(Exception, match="nothing of a Portfolio but its own finalizer"):
            patch(content)


def recorded(tenant) -> list[str]:
    folder = f"records/{tenant.namespace}/assistant"
    entries = [
        json.loads(tenant.store.read(f"{folder}/{name}", max_bytes=2**20))
        for name in sorted(tenant.store.list(folder))
    ]
    return [event["type"] for entry in entries for event in entry["events"]]


def test_what_an_earlier_spec_made_goes_also_where_the_present_one_is_refused(operator, tenant):
    tenant.seed()
    tenant.apply()
    tenant.eventually(lambda: published(tenant))
    assert policies(tenant)
    refused = {"retentionPolicy": "Delete", "search": {"mode": "Grid", "maxOracleCalls": 2}}
    patch = json.dumps({"spec": refused})
    tenant.kubectl("patch", "pfo", "assistant", "--type=merge", "-p", patch)
    tenant.eventually(lambda: finalizers(tenant) == [FINALIZER], through_stalls=True)
    tenant.kubectl("delete", "pfo", "assistant", "--wait=false")
    tenant.eventually(lambda: gone(tenant), through_stalls=True)
    assert not policies(tenant)


def test_an_end_is_recorded_also_where_another_of_the_name_takes_its_place(operator, tenant):
    tenant.seed()
    tenant.apply()
    tenant.eventually(lambda: published(tenant))
    operator.pause()
    tenant.kubectl("delete", "pfo", "assistant")
    tenant.kubectl("create", "-f", "-", stdin=json.dumps(tenant.body()))
    operator.resume()
    tenant.eventually(lambda: recorded(tenant).count("Created") == 2)
    kinds = [kind for kind in recorded(tenant) if kind in ("Created", "Deleted")]
    assert kinds == ["Created", "Deleted", "Created"]
