import ipaddress
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from palm_devcluster.addons import AddonError
from palm_devcluster.build import find_binaries
from palm_devcluster.cluster import EmbeddedCluster
from palm_devcluster.pki import Pki
from palm_devcluster.probes import https_probe
from palm_devcluster.processes import ComponentError

pytestmark = pytest.mark.cluster

ALL = {
    "etcd",
    "s3",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "node",
    "service-proxy",
    "kserve",
}


def processes_of(root):
    """Every process that belongs to a cluster: it was started with a path below its folder."""
    found = []
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline())
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if str(root) in words and process.pid != os.getpid():
            found.append(process)
    return found


def eventually(check, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.2)
    return found


def pids(cluster):
    return {component.name: component.pid for component in cluster.status()}


def command(*words):
    return subprocess.run(
        [str(Path(sys.executable).with_name("palm-devcluster")), *words],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def s3(cluster):
    cluster.create_bucket("tests")
    access = cluster.s3
    client = boto3.client(
        "s3",
        endpoint_url=access.endpoint,
        aws_access_key_id=access.access_key,
        aws_secret_access_key=access.secret_key,
        region_name=access.region,
        config=Config(s3={"addressing_style": "path"}),
    )
    yield client
    client.close()


def test_every_component_is_healthy_after_up(cluster):
    assert {component.name: component.state for component in cluster.status()} == dict.fromkeys(
        ALL, "running"
    )


def test_up_leaves_a_healthy_cluster_as_it_is(cluster):
    before, said = pids(cluster), []
    cluster.up(progress=said.append)
    assert pids(cluster) == before
    assert "nothing to do" in said[-1]


def test_the_server_calls_itself_the_version_it_is(kubectl):
    version = json.loads(kubectl("version", "-o", "json"))
    assert version["serverVersion"]["gitVersion"] == "v1.36.4"
    assert version["clientVersion"]["gitVersion"] == "v1.36.4"


def test_everything_listens_on_loopback_only(cluster):
    listening = {
        connection.laddr
        for process in processes_of(cluster.root)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {ipaddress.ip_address(address.ip).is_loopback for address in listening} == {True}
    ports = {port for component in cluster.status() for port in component.ports}
    assert ports <= {address.port for address in listening}


def test_secrets_of_the_cluster_are_readable_by_their_owner_only(cluster):
    assert cluster.root.stat().st_mode & 0o077 == 0
    files = [cluster.kubeconfig, *cluster.root.glob("pki/*"), *cluster.root.glob("*.json")]
    assert {file.stat().st_mode & 0o077 for file in files} == {0}


def test_a_service_account_without_rights_is_refused(kubectl, namespace):
    caller = f"--as=system:serviceaccount:{namespace}:default"
    with pytest.raises(AddonError, match="Forbidden"):
        kubectl("get", "pods", "-n", namespace, caller)


def test_the_token_of_a_service_account_is_its_identity_and_no_more(cluster, kubectl, namespace):
    token = kubectl("create", "token", "default", "-n", namespace).strip()
    config = json.loads(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]
    ca = cluster.root / "pki" / "ca.crt"
    plain = ["--kubeconfig=/dev/null", f"--server={config['server']}", f"--token={token}"]
    asked = subprocess.run(
        [str(cluster.kubectl), *plain, f"--certificate-authority={ca}", "get", "secrets", "-v=6"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KUBECACHEDIR": str(cluster.root / "kubectl-cache")},
    )
    assert asked.returncode != 0
    assert f'User "system:serviceaccount:{namespace}:default" cannot list' in asked.stderr


def test_nobody_without_credentials_gets_in(cluster):
    ports = {component.name: component.ports[0] for component in cluster.status()}
    pki = Pki(cluster.root / "pki")
    refused = https_probe(pki, ports["kube-apiserver"], "/api/v1/secrets")()
    assert refused is not None
    assert "answers 403" in refused
    assert "system:anonymous" in refused
    assert https_probe(pki, ports["etcd"], "/health")() is not None


def test_the_garbage_collector_removes_what_lost_its_owner(kubectl, namespace):
    kubectl("create", "configmap", "owner", "-n", namespace)
    owner = json.loads(kubectl("get", "configmap", "owner", "-n", namespace, "-o", "json"))
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
    }
    child = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "child", "namespace": namespace, "ownerReferences": [reference]},
    }
    kubectl("create", "-f", "-", stdin=json.dumps(child))
    kubectl("delete", "configmap", "owner", "-n", namespace)
    eventually(
        lambda: not kubectl("get", "configmap", "child", "-n", namespace, "--ignore-not-found")
    )


def test_a_job_runs_to_its_end_on_the_process_node(kubectl, namespace):
    kubectl("create", "job", "hello", "-n", namespace, "--image=shell", "--", "echo", "it ran")
    kubectl("wait", "--for=condition=Complete", "job/hello", "-n", namespace, "--timeout=60s")
    assert kubectl("logs", "job/hello", "-n", namespace) == "it ran\n"


def test_the_crds_of_kserve_and_kueue_are_served_and_validate(kubectl, namespace):
    served = kubectl("api-resources", "-o", "name")
    assert "inferenceservices.serving.kserve.io" in served
    assert "localqueues.kueue.x-k8s.io" in served
    wrong = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "wrong", "namespace": namespace},
        "spec": {"predictor": {"minReplicas": "many"}},
    }
    with pytest.raises(AddonError, match=r"minReplicas"):
        kubectl("create", "-f", "-", stdin=json.dumps(wrong))


def test_s3_returns_what_was_put(s3):
    key = f"a/b/{uuid.uuid4().hex}"
    s3.put_object(Bucket="tests", Key=key, Body=b"policy")
    assert s3.get_object(Bucket="tests", Key=key)["Body"].read() == b"policy"
    assert [item["Key"] for item in s3.list_objects_v2(Bucket="tests", Prefix=key)["Contents"]] == [
        key
    ]


def test_s3_keeps_the_first_of_two_conditional_writes(s3):
    key = uuid.uuid4().hex
    s3.put_object(Bucket="tests", Key=key, Body=b"first", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket="tests", Key=key, Body=b"second", IfNoneMatch="*")
    assert s3.get_object(Bucket="tests", Key=key)["Body"].read() == b"first"


def test_creating_a_bucket_twice_changes_nothing(cluster):
    cluster.create_bucket("twice")
    cluster.create_bucket("twice")


@pytest.mark.parametrize(
    "name", ["kube-scheduler", "kube-controller-manager", "node", "service-proxy", "kserve"]
)
def test_a_killed_component_is_named_and_up_repairs_it(cluster, name):
    before = pids(cluster)
    os.kill(before[name], signal.SIGKILL)
    eventually(lambda: pids(cluster)[name] is None)
    states = {component.name: component.state for component in cluster.status()}
    assert states == {**dict.fromkeys(ALL, "running"), name: "dead"}
    cluster.up()
    after = pids(cluster)
    assert {component.state for component in cluster.status()} == {"running"}
    assert {other for other in ALL if before[other] != after[other]} == {name}


def test_a_component_that_hangs_is_unhealthy_and_up_replaces_it(cluster):
    before = pids(cluster)["kube-scheduler"]
    os.kill(before, signal.SIGSTOP)
    states = {component.name: component.state for component in cluster.status()}
    assert states["kube-scheduler"] == "unhealthy"
    cluster.up()
    assert pids(cluster)["kube-scheduler"] not in (before, None)


def test_up_without_kserve_takes_its_webhooks_away_and_up_with_it_brings_them_back(
    cluster, kubectl, namespace
):
    def service(name):
        predictor = {"model": {"modelFormat": {"name": "none"}, "storageUri": "s3://b/m"}}
        return json.dumps(
            {
                "apiVersion": "serving.kserve.io/v1beta1",
                "kind": "InferenceService",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"predictor": predictor},
            }
        )

    with pytest.raises(AddonError, match="invalid"):
        kubectl("create", "-f", "-", stdin=service("9lives"))
    EmbeddedCluster(cluster.root, kserve=False).up(progress=lambda _: None)
    assert set(pids(cluster)) == ALL - {"kserve"}
    kubectl("create", "-f", "-", stdin=service("9lives"))
    kubectl("delete", "isvc", "9lives", "-n", namespace)
    cluster.up(progress=lambda _: None)
    assert set(pids(cluster)) == ALL
    with pytest.raises(AddonError, match="invalid"):
        kubectl("create", "-f", "-", stdin=service("9lives"))


def test_the_command_prints_what_a_shell_and_a_program_need(cluster):
    root = ("--root", str(cluster.root))
    assert command("kubeconfig", *root).stdout.strip() == str(cluster.kubeconfig)
    assert f"export KUBECONFIG='{cluster.kubeconfig}'" in command("env", *root).stdout
    listed = json.loads(command("status", "-o", "json", *root).stdout)
    assert {component["name"] for component in listed} == ALL
    assert cluster.s3.secret_key not in command("status", *root).stdout
    assert command("logs", "kube-apiserver", "-n", "1", *root).stdout.count("\n") == 1
    wrong = command("logs", "kubelet", *root)
    assert (wrong.returncode, "no component is called 'kubelet'" in wrong.stderr) == (1, True)


def test_down_leaves_no_process_and_up_continues_with_the_same_data(tmp_path):
    other = EmbeddedCluster(tmp_path / "other")
    root = ("--root", str(other.root))
    try:
        assert command("up", *root).returncode == 0
        kubectl = [str(other.kubectl), f"--kubeconfig={other.kubeconfig}"]
        subprocess.run([*kubectl, "create", "configmap", "kept"], check=True)
        create = [*kubectl, "create", "job", "long", "--image=shell", "--", "sleep", "1000.125"]
        eventually(lambda: subprocess.run(create, check=False).returncode == 0)
        eventually(lambda: [p for p in psutil.process_iter() if "1000.125" in command_line(p)])
        stopped = command("down", *root)
        assert stopped.returncode == 0, stopped.stderr
        assert processes_of(other.root) == []
        assert not [p for p in psutil.process_iter() if "1000.125" in command_line(p)]
        assert command("status", *root).returncode == 1
        assert command("up", *root).returncode == 0
        subprocess.run([*kubectl, "get", "configmap", "kept"], check=True)
    finally:
        other.down(purge=True)
    assert not other.root.exists()
    assert processes_of(other.root) == []


def command_line(process):
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def test_up_names_the_component_that_fails(tmp_path, monkeypatch, cluster):
    programs = tmp_path / "bin"
    programs.mkdir()
    broken = programs / "etcd"
    broken.write_text("#!/bin/sh\necho the disk is full >&2\nexit 7\n")
    broken.chmod(0o755)
    for name, path in find_binaries().items():
        if name != "etcd":
            (programs / name).symlink_to(path)
    monkeypatch.setenv("PALM_DEVCLUSTER_BIN", str(programs))
    other = EmbeddedCluster(tmp_path / "other")
    try:
        with pytest.raises(ComponentError, match=r"etcd ended with code 7(.|\n)*the disk is full"):
            other.up()
        failed = command("up", "--root", str(other.root))
        assert failed.returncode == 1
        assert "error: etcd ended with code 7" in failed.stderr
    finally:
        other.down(purge=True)
    assert processes_of(other.root) == []
