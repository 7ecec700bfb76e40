"""Published policies on KServe's own controller: what a user, an auditor and a Portfolio see."""

import json
import os
import re
import signal
import threading
import time

import openai
import pytest

from palm import artifacts
from palm_devcluster.addons import AddonError
from palm_operator import names
from serving_world import ask, pid_of

pytestmark = [pytest.mark.cluster, pytest.mark.model]


def names_a_policy(served, message):
    return any(f"policy {p['name']} (weights " in message for p in served.policies)


def test_every_policy_answers_under_its_url_and_kserve_says_ready(served):
    policies = served.policies
    assert len(policies) == 2
    listed = served.kubectl("get", "isvc", "--no-headers").split("\n")[:-1]
    assert {line.split()[0]: line.split()[2] for line in listed} == {
        policy["service"]: "True" for policy in policies
    }
    for policy in policies:
        assert policy["ready"]
        with openai.OpenAI(base_url=f"{policy['url']}/v1", api_key="none") as client:
            assert policy["name"] in {model.id for model in client.models.list()}
            messages = [{"role": "user", "content": "What is 2 + 3?"}]
            stream = client.chat.completions.create(
                model=policy["name"], messages=messages, max_tokens=4, stream=True
            )
            assert [chunk.model for chunk in stream][-1] == policy["name"]
            with pytest.raises(openai.APIStatusError):
                client.chat.completions.create(model="another", messages=messages)
    assert served.condition("Ready")["reason"] == "Serving"
    assert served.condition("Published")["message"] == "all 2 policies answer"


def test_an_auditor_traces_a_pod_to_policy_weights_digest_and_revision(served):
    revision = served.portfolio["status"]["portfolio"]["revision"]
    selector = f"{names.LABEL_PORTFOLIO}=assistant,{names.LABEL_REVISION}={revision}"
    pods = served.objects("pods", "-l", selector)
    assert len(pods) == 2
    uri = served.portfolio["status"]["portfolio"]["manifest"]["uri"]
    ledger = json.loads(served.store.read(uri.split("/runs/", 1)[1], max_bytes=1 << 23) or b"")
    entries = {entry["name"]: entry for entry in ledger["policies"]}
    for pod in pods:
        labels, annotations = pod["metadata"]["labels"], pod["metadata"]["annotations"]
        entry = entries[labels[names.LABEL_POLICY]]
        assert entry["survives"]
        assert annotations[names.ANNOTATION_POLICY_DIGEST] == entry["policyDigest"]
        weights = [float(w) for w in annotations[names.ANNOTATION_WEIGHTS].split(", ")]
        assert weights == pytest.approx(entry["weights"], abs=1e-4)


def test_only_fields_of_ours_are_ours_and_an_idle_operator_writes_nothing(served):
    (service, *_) = served.objects("isvc", "--show-managed-fields")
    owned = {entry["manager"]: entry for entry in service["metadata"]["managedFields"]}
    fields = owned["palm-operator"]["fieldsV1"]["f:spec"]["f:predictor"]
    assert "f:resources" not in fields
    assert "finalizers" in service["metadata"]
    assert "f:finalizers" not in owned["palm-operator"]["fieldsV1"]["f:metadata"]

    def versions():
        kinds = ("pfo", "isvc", "deployments", "events")
        return {
            (kind, o["metadata"]["name"]): o["metadata"]["resourceVersion"]
            for kind in kinds
            for o in served.objects(kind)
        }

    time.sleep(1)
    before = versions()
    time.sleep(3)
    assert versions() == before


def test_a_restarted_operator_never_takes_ready_back(served, operator):
    moved = served.condition("Ready")["lastTransitionTime"]
    operator.kill()
    operator.start()
    asked = operator.log.read_text().count("is under way")
    time.sleep(6)
    ready = served.condition("Ready")
    assert (ready["status"], ready["lastTransitionTime"]) == ("True", moved)
    assert operator.log.read_text().count("is under way") == asked


def test_new_servers_that_crash_are_told_while_the_old_ones_serve(served):
    before = {p["service"]: p["url"] for p in served.policies}
    served.apply(template={"env": [{"name": "PYTHONHOME", "value": "/nonexistent"}]})
    said = served.eventually(lambda: served.says("Published", "False", "PodFailing")()
                             and served.condition("Published"))  # fmt: skip
    assert names_a_policy(served, said["message"])
    assert "ended with exit code 1" in said["message"]
    assert "are served as they were before" in said["message"]
    assert served.condition("Ready")["status"] == "True"
    for policy in served.policies:
        assert ask(policy) == 200
    served.eventually(
        lambda: all("ended with exit code 1" in p.get("message", "") for p in served.policies)
    )
    served.apply()
    served.published()
    assert {p["service"]: p["url"] for p in served.policies} == before


def test_a_missing_runtime_stalls_with_its_reason_and_the_old_servers_serve(served):
    served.apply(runtime="no-such-runtime")
    served.eventually(served.says("Published", "False", "RuntimeNotRecognized"))
    said = served.condition("Published")["message"]
    assert names_a_policy(served, said)
    assert "Waiting for runtime to become available" in said
    assert "mend it: `kubectl describe inferenceservice" in said
    assert served.condition("Stalled")["reason"] == "RuntimeNotRecognized"
    assert all(ask(policy) == 200 for policy in served.policies)
    assert served.condition("Ready")["status"] == "True"
    served.apply()
    served.published()
    assert not served.condition("Stalled")


def test_kserve_down_refuses_changes_and_takes_nothing_from_what_serves(served, cluster):
    os.kill(pid_of(cluster, "kserve"), signal.SIGKILL)
    served.apply(template={"env": [{"name": "CHANGED", "value": "1"}]})
    served.eventually(served.says("Published", "False", "Refused"))
    said = served.condition("Published")["message"]
    assert names_a_policy(served, said)
    assert "failed calling webhook" in said
    assert "applied again" in said
    assert served.condition("Ready")["status"] == "True"
    assert all(ask(policy) == 200 for policy in served.policies)
    with pytest.raises(AddonError, match="failed calling webhook"):
        served.kubectl("annotate", "isvc", served.policies[0]["service"], "x=y")
    served.apply()
    cluster.up(progress=lambda _: None)
    served.published()


def test_kserves_controller_that_is_silent_is_named_while_the_old_servers_serve(served, cluster):
    """Its webhooks are gone too, as where it was uninstalled: objects are taken, and lie there."""
    before = {p["service"]: p["url"] for p in served.policies}
    os.kill(pid_of(cluster, "kserve"), signal.SIGKILL)
    kinds = "mutatingwebhookconfigurations,validatingwebhookconfigurations"
    hooks = served.kubectl("get", kinds, "-o", "name").split()
    served.kubectl("delete", *[hook for hook in hooks if "kserve" in hook])
    try:
        served.apply(seed=7)
        served.eventually(
            lambda: "does it run?" in served.condition("Published").get("message", "")
        )
        said = served.condition("Published")
        assert said["status"] == "False"
        assert re.match(
            r"0 of 2 policies answer; w\d\d-\w{6}: KServe's controller", said["message"]
        )
        assert said["message"].endswith("keeps serving")
        assert served.condition("Ready")["status"] == "True"
        assert {p["service"]: p["url"] for p in served.policies} == before
        assert all(ask(policy) == 200 for policy in served.policies)
        served.apply()
        served.published()
    finally:
        cluster.up(progress=lambda _: None)
    served.eventually(
        lambda: before.keys() == {s["metadata"]["name"] for s in served.objects("isvc")}
    )
    assert all(ask(policy) == 200 for policy in served.policies)


def test_a_model_that_is_gone_from_s3_is_named_and_its_return_is_noticed(served):
    lost, other = served.policies
    labels = {s["metadata"]["name"]: s["metadata"]["annotations"] for s in served.objects("isvc")}
    digest = labels[lost["service"]][names.ANNOTATION_POLICY_DIGEST]
    folder = artifacts.model_folder(digest)
    files = {name: served.store.read(f"{folder}/{name}", max_bytes=1 << 24)
             for name in served.store.list(folder)}  # fmt: skip
    for name in files:
        served.store.delete(f"{folder}/{name}")
    served.kubectl("delete", "pod", "-l", f"{names.LABEL_POLICY}={lost['name']}")
    served.eventually(lambda: "cannot be downloaded" in served.condition("Published")["message"])
    said = served.condition("Published")
    assert f"policy {lost['name']} (weights" in said["message"]
    assert f"s3://serving/runs/{folder}" in said["message"]
    assert said["reason"] in ("ModelLoadFailed", "PodFailing")
    shown = {policy["name"]: policy for policy in served.policies}
    assert (shown[lost["name"]]["ready"], shown[other["name"]]["ready"]) == (False, True)
    assert served.condition("Ready")["status"] == "False"
    assert ask(other) == 200
    for name, content in files.items():
        served.store.write(f"{folder}/{name}", content or b"")
    served.published()
    assert ask(lost) == 200


def test_a_refresh_switches_without_a_failed_request_and_retires_the_old(served):
    """A client that follows the status, as a gateway does, sees no gap."""
    old = {policy["service"] for policy in served.policies}
    codes, stop = [], threading.Event()

    def follow() -> None:
        while not stop.is_set():
            codes.append(ask(served.policies[0]))

    client = threading.Thread(target=follow)
    client.start()
    try:
        served.apply(seed=7)
        served.eventually(lambda: old.isdisjoint(p["service"] for p in served.policies))
        served.published()
        served.eventually(
            lambda: old.isdisjoint(s["metadata"]["name"] for s in served.objects("isvc"))
        )
    finally:
        stop.set()
        client.join()
    assert len(codes) > 20
    assert set(codes) == {200}
    assert served.portfolio["status"].get("pending") is None


def test_a_deleted_portfolio_takes_its_servers(served):
    """Last in the module: nothing is served after it."""
    served.kubectl("delete", "pfo", "assistant", "--timeout=60s")
    kinds = ("isvc", "deployments", "services", "pods")
    served.eventually(lambda: not any(served.objects(kind) for kind in kinds))
