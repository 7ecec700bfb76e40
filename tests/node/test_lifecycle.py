"""Pods under the cluster's controllers: Jobs, Deployments, the scheduler, deletion, recovery."""

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from node.lab import Json, Pods, eventually, shell

pytestmark = pytest.mark.cluster


def job(name: str, script: str, **spec: Any) -> Json:
    template = {"spec": {"containers": [shell(script)], "restartPolicy": "Never"}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": template, **spec},
    }


def conditions(document: Json) -> dict[str, Json]:
    return {entry["type"]: entry for entry in document["status"].get("conditions", [])}


def test_a_job_gives_up_at_its_backoff_limit(pods: Pods) -> None:
    pods.apply(job("doomed", "exit 1", backoffLimit=0))
    done = pods.until("doomed", lambda job: "Failed" in conditions(job), kind="job")
    assert conditions(done)["Failed"]["reason"] == "BackoffLimitExceeded"
    assert done["status"]["failed"] == 1


def test_a_pod_failure_policy_sees_the_true_exit_code(pods: Pods) -> None:
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}
    pods.apply(job("fatal", "exit 42", backoffLimit=6, podFailurePolicy={"rules": [rule]}))
    done = pods.until("fatal", lambda job: "Failed" in conditions(job), kind="job")
    assert conditions(done)["Failed"]["reason"] == "PodFailurePolicy"
    assert "exit code 42" in conditions(done)["Failed"]["message"]


def test_the_scheduler_counts_gpus(pods: Pods) -> None:
    gpu = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
    wait = "until [ -e /go/go ]; do sleep 0.05; done"
    mount = {"volumeMounts": [{"name": "go", "mountPath": "/go"}]}
    for number in range(3):
        pods.create(
            f"gpu-{number}",
            shell(wait, **gpu, **mount),
            restartPolicy="Never",
            volumes=[{"name": "go", "emptyDir": {}}],
        )
    waiting = eventually(lambda: _phases(pods), lambda phases: phases.count("Running") == 2)
    third = f"gpu-{waiting.index('Pending')}"
    refused = pods.until(third, lambda pod: "PodScheduled" in conditions(pod))
    assert "Insufficient nvidia.com/gpu" in conditions(refused)["PodScheduled"]["message"]
    pods("delete", "pod", f"gpu-{waiting.index('Running')}")
    pods.running(third)
    pods("delete", "pods", "--all", "--now")


def _phases(pods: Pods) -> list[str]:
    return [pods.get(f"gpu-{number}")["status"]["phase"] for number in range(3)]


def test_a_deleted_pod_gets_sigterm_and_its_grace(pods: Pods) -> None:
    script = "trap 'echo asked to stop; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    pods.create("polite", shell(script), terminationGracePeriodSeconds=20)
    pods.running("polite")
    eventually(lambda: pods.logs("polite"), bool)
    with ThreadPoolExecutor() as threads:
        follower = threads.submit(pods.logs, "polite", "-f")
        begin = time.monotonic()
        pods("delete", "pod", "polite")
        assert time.monotonic() - begin < 10
        assert follower.result(timeout=10) == "up\nasked to stop\n"


def test_a_pod_that_ignores_sigterm_is_killed_with_its_children(pods: Pods) -> None:
    script = "trap 'echo no' TERM; sleep 1000 & while :; do sleep 0.1; done"
    pods.create("stubborn", shell(script), terminationGracePeriodSeconds=1)
    uid = pods.running("stubborn")["metadata"]["uid"]
    child = eventually(lambda: _children_of(uid), bool)
    begin = time.monotonic()
    pods("delete", "pod", "stubborn")
    assert 0.5 < time.monotonic() - begin < 10
    assert not any(Path(f"/proc/{pid}").exists() for pid in child)


def _children_of(uid: str) -> list[int]:
    """Processes whose environment names the Pod's folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"/{uid}/home/".encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found if len(found) > 1 else []


def deployment(version: str) -> Json:
    probe = {"exec": {"command": ["test", "-e", "ready"]}, "periodSeconds": 1}
    container = shell(
        "echo $VERSION; sleep 0.5; touch ready; exec sleep 1000",
        env=[{"name": "VERSION", "value": version}],
        readinessProbe=probe,
    )
    labels = {"app": "web"}
    pod = {"containers": [container], "terminationGracePeriodSeconds": 1}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def test_a_deployment_rolls_over_behind_its_readiness_probe(pods: Pods) -> None:
    for version in ("1", "2"):
        pods("apply", "-f", "-", stdin=json.dumps(deployment(version)))
        pods("rollout", "status", "deployment/web", "--timeout=30s")
    living = eventually(lambda: pods.list("pod", "app=web"), lambda found: len(found) == 2)
    assert {pods.logs(pod["metadata"]["name"]) for pod in living} == {"2\n"}
    pods("delete", "deployment", "web")


def test_a_failing_liveness_probe_restarts_the_container(pods: Pods) -> None:
    probe = {
        "exec": {"command": ["test", "-e", "alive"]},
        "periodSeconds": 1,
        "failureThreshold": 1,
    }
    script = "touch alive; sleep 0.3; rm -f alive; exec sleep 1000"
    pods.create("fragile", shell(script, livenessProbe={**probe, "initialDelaySeconds": 1}))
    pod = pods.until(
        "fragile", lambda pod: pod["status"].get("containerStatuses", [{}])[0].get("restartCount")
    )
    last = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert last["exitCode"] == 143
    pods("delete", "pod", "fragile", "--now")


def test_a_pod_survives_the_death_of_the_agent(pods: Pods, node_agent: Any) -> None:
    script = "echo run >> /w/runs; until [ -e /w/go ]; do sleep 0.05; done; cat /w/runs; exit 7"
    mount = {"volumeMounts": [{"name": "w", "mountPath": "/w"}]}
    volumes = [{"name": "w", "emptyDir": {}}]
    for name in ("while-away", "after"):
        pods.create(name, shell(script, **mount), restartPolicy="Never", volumes=volumes)
    uids = {name: pods.running(name)["metadata"]["uid"] for name in ("while-away", "after")}
    folders = {name: node_agent.root / "pods" / uid / "volumes" / "w" for name, uid in uids.items()}
    for folder in folders.values():
        eventually(lambda folder=folder: (folder / "runs").exists(), bool)
    os.kill(node_agent.pid, signal.SIGKILL)
    (folders["while-away"] / "go").touch()
    record = folders["while-away"].parents[1] / "containers" / "main" / "0" / "exit.json"
    eventually(record.exists, bool)
    node_agent.restart()
    (folders["after"] / "go").touch()
    for name in uids:
        assert pods.ended(name)["exitCode"] == 7
        assert pods.logs(name) == "run\n"


def test_what_the_node_cannot_do_is_said(pods: Pods) -> None:
    pods.create("closed", shell("exec sleep 1000"))
    pods.running("closed")
    with pytest.raises(Exception, match="logs only"):
        pods("exec", "closed", "--", "true")
    pods("delete", "pod", "closed", "--now")
