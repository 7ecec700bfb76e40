"""Pods on the real cluster: exit codes, logs, environment, volumes, restarts."""

import json

import pytest

from node.lab import Pods, eventually, shell

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize(
    ("script", "code", "reason"),
    [("exit 0", 0, "Completed"), ("exit 3", 3, "Error"), ("kill -9 $$$$", 137, "Error")],
)
def test_the_exit_code_is_the_true_one(pods: Pods, script: str, code: int, reason: str) -> None:
    pods.create(f"exit-{code}", shell(script), restartPolicy="Never")
    ended = pods.ended(f"exit-{code}")
    assert (ended["exitCode"], ended["reason"]) == (code, reason)


def test_a_command_that_does_not_exist_is_named(pods: Pods) -> None:
    container = {"name": "main", "image": "shell", "command": ["no-such-program"]}
    pods.create("absent", container, restartPolicy="Never")
    ended = pods.ended("absent")
    assert ended["reason"] == "StartError"
    assert "No such file" in ended["message"]


def test_an_unknown_image_is_named_with_the_table(pods: Pods) -> None:
    pods.create("unknown", {"name": "main", "image": "nobody/knows:1"})
    state = pods.until("unknown", _waits_for_image)["status"]["containerStatuses"][0]["state"]
    assert "nobody/knows:1" in state["waiting"]["message"]
    assert "images.yaml" in state["waiting"]["message"]


def _waits_for_image(pod: dict) -> bool:
    states = [status["state"] for status in pod["status"].get("containerStatuses", [])]
    return any("Image" in state.get("waiting", {}).get("reason", "") for state in states)


def test_logs_can_be_read_cut_and_followed(pods: Pods) -> None:
    script = "echo one; echo two; until [ -e go ]; do sleep 0.05; done; echo three; exit 1"
    pods.create("talker", shell(script), restartPolicy="Never", terminationGracePeriodSeconds=0)
    pods.running("talker")
    eventually(lambda: pods.logs("talker"), lambda text: text == "one\ntwo\n")
    assert pods.logs("talker", "--tail=1") == "two\n"
    stamped = pods.logs("talker", "--timestamps", "--tail=1")
    assert stamped[-6:] == "Z two\n"
    assert pods.logs("talker", "--limit-bytes=5") == "one\nt"


def test_following_a_log_ends_with_the_container(pods: Pods) -> None:
    pods.create(
        "counter", shell("for i in 1 2 3; do echo $i; sleep 0.2; done"), restartPolicy="Never"
    )
    pods.until("counter", lambda pod: pod["status"].get("phase") != "Pending")
    assert pods.logs("counter", "-f") == "1\n2\n3\n"


def test_a_failed_container_restarts_and_keeps_its_previous_log(pods: Pods) -> None:
    script = "echo run >> runs; wc -l < runs; test $(wc -l < runs) = 2"
    pods.create("again", shell(script), restartPolicy="OnFailure")
    pods.ended("again")
    assert pods.get("again")["status"]["containerStatuses"][0]["restartCount"] == 1
    assert (pods.logs("again"), pods.logs("again", "-p")) == ("2\n", "1\n")


def test_environment_comes_from_fields_configmaps_and_secrets(pods: Pods) -> None:
    pods("create", "configmap", "settings", "--from-literal=color=green")
    pods("create", "secret", "generic", "hidden", "--from-literal=password=swordfish")
    password = {"secretKeyRef": {"name": "hidden", "key": "password"}}
    names = {"fieldRef": {"fieldPath": "metadata.name"}}
    limit = {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}
    container = shell(
        "echo $NAME $CFG_color $PASSWORD $JOINED $LIMIT; env | grep -c SECRET_OF_THE_HOST",
        envFrom=[{"configMapRef": {"name": "settings"}, "prefix": "CFG_"}],
        env=[
            {"name": "NAME", "valueFrom": names},
            {"name": "PASSWORD", "valueFrom": password},
            {"name": "JOINED", "value": "$(NAME)-$(CFG_color)"},
            {"name": "LIMIT", "valueFrom": limit},
        ],
        resources={"limits": {"memory": "256Mi"}},
    )
    pods.create("env", container, restartPolicy="Never")
    pods.ended("env")
    assert pods.logs("env") == "env green swordfish env-green 256\n0\n"


def test_a_missing_configmap_is_named_until_it_exists(pods: Pods) -> None:
    container = shell("echo $color", envFrom=[{"configMapRef": {"name": "late"}}])
    pods.create("patient", container, restartPolicy="Never")
    pod = pods.until("patient", lambda pod: "CreateContainerConfigError" in json.dumps(pod))
    waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"]
    assert 'configmap "late" not found' in waiting["message"]
    pods("create", "configmap", "late", "--from-literal=color=blue")
    assert pods.ended("patient")["exitCode"] == 0
    assert pods.logs("patient") == "blue\n"


def test_volumes_are_folders_behind_their_mount_paths(pods: Pods) -> None:
    pods("create", "configmap", "files", "--from-literal=a.txt=alpha", "--from-literal=b.txt=beta")
    mounts = [
        {"name": "work", "mountPath": "/scratch"},
        {"name": "files", "mountPath": "/etc/files"},
        {"name": "files", "mountPath": "/one.txt", "subPath": "renamed.txt"},
        {"name": "about", "mountPath": "/etc/about"},
    ]
    first = shell(
        "pwd > /scratch/log; cat /etc/files/renamed.txt >> /scratch/log", volumeMounts=mounts
    )
    second = shell(
        "cat /one.txt /etc/about/labels; tail -n1 $LOG",
        volumeMounts=mounts,
        env=[{"name": "LOG", "value": "/scratch/log"}],
    )
    item = {"path": "labels", "fieldRef": {"fieldPath": "metadata.namespace"}}
    pods.create(
        "volumes",
        second,
        initContainers=[{**first, "name": "first"}],
        restartPolicy="Never",
        volumes=[
            {"name": "work", "emptyDir": {}},
            {
                "name": "files",
                "configMap": {"name": "files", "items": [{"key": "a.txt", "path": "renamed.txt"}]},
            },
            {"name": "about", "downwardAPI": {"items": [item]}},
        ],
    )
    assert pods.ended("volumes")["exitCode"] == 0
    assert pods.logs("volumes") == f"alpha{pods.namespace}alpha"


WHOAMI = """
import json, os, ssl, urllib.request
root = "/var/run/secrets/kubernetes.io/serviceaccount"
body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
request = urllib.request.Request(
    f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
    "/apis/authentication.k8s.io/v1/selfsubjectreviews", json.dumps(body).encode(),
    {"Authorization": "Bearer " + open(root + "/token").read(), "Content-Type": "application/json"})
tls = ssl.create_default_context(cafile=root + "/ca.crt")
print(json.load(urllib.request.urlopen(request, context=tls))["status"]["userInfo"]["username"])
print(os.path.exists(os.environ["KUBECONFIG"]))
"""


def test_the_projected_token_is_the_service_accounts(pods: Pods) -> None:
    container = {"name": "main", "image": "shell", "command": ["python", "-c", WHOAMI]}
    pods.create("whoami", container, restartPolicy="Never")
    pods.ended("whoami")
    assert pods.logs("whoami") == f"system:serviceaccount:{pods.namespace}:default\nTrue\n"


def test_init_containers_run_one_after_another(pods: Pods) -> None:
    mount = {"volumeMounts": [{"name": "w", "mountPath": "/w"}]}
    inits = [
        {**shell(f"sleep 0.{3 - n}; echo {n} >> /w/order", **mount), "name": f"i{n}"}
        for n in (1, 2)
    ]
    volumes = [{"name": "w", "emptyDir": {}}]
    main = shell("cat /w/order", **mount)
    pods.create("order", main, initContainers=inits, volumes=volumes, restartPolicy="Never")
    assert pods.ended("order")["exitCode"] == 0
    assert pods.logs("order", "-c", "main") == "1\n2\n"


def test_a_container_over_its_memory_limit_is_killed(pods: Pods) -> None:
    container = {
        "name": "main",
        "image": "shell",
        "command": ["python", "-c", "import time; x = bytearray(200 << 20); time.sleep(60)"],
        "resources": {"limits": {"memory": "100Mi"}},
    }
    pods.create("hungry", container, restartPolicy="Never")
    ended = pods.ended("hungry")
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")
    assert "100Mi" in ended["message"]


def test_the_last_words_of_a_container_reach_its_status(pods: Pods) -> None:
    pods.create("words", shell("echo bye > /dev/termination-log; exit 1"), restartPolicy="Never")
    fallback = shell("echo from the log; exit 1", terminationMessagePolicy="FallbackToLogsOnError")
    pods.create("fallback", fallback, restartPolicy="Never")
    assert pods.ended("words")["message"] == "bye\n"
    assert pods.ended("fallback")["message"] == "from the log\n"


def test_a_pod_past_its_deadline_fails(pods: Pods) -> None:
    pods.create("late", shell("sleep 60"), restartPolicy="Never")
    pods.running("late")
    pods("patch", "pod", "late", "-p", '{"spec": {"activeDeadlineSeconds": 1}}')
    assert pods.ended("late")["exitCode"] == 143
    assert pods.get("late")["status"]["reason"] == "DeadlineExceeded"
