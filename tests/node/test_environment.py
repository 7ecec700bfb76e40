"""Environments, quantities and the downward API, from specs alone."""

from pathlib import Path
from typing import Any

import pytest

from palm_devcluster.node.addresses import pod_address
from palm_devcluster.node.environment import (
    base_environment,
    container_environment,
    container_launch,
    expand,
)
from palm_devcluster.node.fields import ConfigError, field_value
from palm_devcluster.node.paths import Mount
from palm_devcluster.node.quantity import in_units, parse_quantity
from palm_devcluster.node.sources import Sources

POD: dict[str, Any] = {
    "metadata": {
        "name": "p",
        "namespace": "n",
        "uid": "u",
        "labels": {"app.kubernetes.io/name": "x", "b": 'quote"d'},
    },
    "spec": {"nodeName": "palm-node", "serviceAccountName": "robot", "containers": []},
}
SOURCES = Sources({("configmap", "c"): {"k": b"v", "n": b"1"}, ("secret", "s"): {"k": b"\xff"}})


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)", "x1y2"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$$(A)", "$(A)"),
        ("$$", "$"),
        ("$A ${A}", "$A ${A}"),
        ("$(cat file)", "$(cat file)"),
    ],
)
def test_expansion(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expanded


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "p"),
        ("metadata.labels['app.kubernetes.io/name']", "x"),
        ("metadata.labels['none']", ""),
        ("metadata.labels", 'app.kubernetes.io/name="x"\nb="quote\\"d"'),
        ("spec.serviceAccountName", "robot"),
        ("status.podIP", pod_address(POD)),
    ],
)
def test_fields(path: str, value: str) -> None:
    assert field_value(POD, path) == value


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(ConfigError, match=r"spec\.secrets"):
        field_value(POD, "spec.secrets")


@pytest.mark.parametrize(
    ("quantity", "divisor", "value"),
    [
        ("1Gi", "1Mi", "1024"),
        ("500m", "1", "1"),
        ("500m", "1m", "500"),
        ("1e3", "0", "1000"),
        ("1.5", "1", "2"),
    ],
)
def test_quantities_in_units(quantity: str, divisor: str, value: str) -> None:
    assert in_units(quantity, divisor) == value


def test_a_wrong_quantity_is_named() -> None:
    with pytest.raises(ValueError, match="12 GB"):
        parse_quantity("12 GB")


def environment(**container: Any) -> dict[str, str]:
    return container_environment(
        POD, {"name": "c", **container}, {"BASE": "b"}, SOURCES, {"cpu": "4"}
    )


def test_later_entries_win_and_see_earlier_ones() -> None:
    env = environment(
        envFrom=[{"configMapRef": {"name": "c"}, "prefix": "P_"}],
        env=[{"name": "P_k", "value": "$(P_k)+$(BASE)"}, {"name": "EMPTY"}],
    )
    assert env == {"BASE": "b", "P_k": "v+b", "P_n": "1", "EMPTY": ""}


def test_an_unset_limit_is_what_the_node_can_allocate() -> None:
    reference = {"resourceFieldRef": {"resource": "limits.cpu"}}
    assert environment(env=[{"name": "CPUS", "valueFrom": reference}])["CPUS"] == "4"


@pytest.mark.parametrize("kind", ["configMapKeyRef", "secretKeyRef"])
def test_optional_references_may_be_missing(kind: str) -> None:
    reference = {"name": "absent", "key": "k", "optional": True}
    assert environment(env=[{"name": "X", "valueFrom": {kind: reference}}]) == {"BASE": "b"}


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ({"configMapKeyRef": {"name": "absent", "key": "k"}}, 'configmap "absent" not found'),
        ({"configMapKeyRef": {"name": "c", "key": "x"}}, 'key "x" not found in configmap "c"'),
        ({"secretKeyRef": {"name": "s", "key": "k"}}, "not UTF-8"),
    ],
)
def test_what_is_missing_is_named(reference: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        environment(env=[{"name": "X", "valueFrom": reference}])


def test_the_hosts_environment_stays_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the host")
    server = "https://127.0.0.1:6443"
    env = base_environment(POD, home=Path("/h"), temporary=Path("/t"), api_server=server)
    assert "AWS_SECRET_ACCESS_KEY" not in env
    assert (env["HOME"], env["KUBERNETES_SERVICE_PORT"], env["HOSTNAME"]) == ("/h", "6443", "p")


def test_a_command_replaces_the_entrypoint_and_args_follow_it() -> None:
    container = {"image": "i", "args": ["$(X)"]}
    env = {"X": "1"}
    assert container_launch(container, ["run"], env, [], Path("/h")).argv == ("run", "1")
    container["command"] = ["other"]
    assert container_launch(container, ["run"], env, [], Path("/h")).argv == ("other", "1")


def test_no_command_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="'i' has no entrypoint"):
        container_launch({"image": "i"}, [], {}, [], Path("/h"))


def test_the_nodes_own_paths_are_not_translated_though_a_container_mounts_a_folder_above() -> None:
    mounts = [Mount("/tmp", "/node/volumes/tmp")]
    container = {"image": "i", "args": ["/tmp/mine", "$(HOME)/x"]}
    env = {"HOME": "/tmp/node/home"}
    launch = container_launch(container, ["/tmp/bin/run"], env, mounts, Path("/tmp/node/home"))
    assert launch.argv == ("/tmp/bin/run", "/node/volumes/tmp/mine", "/tmp/node/home/x")
    assert launch.env == env
    assert launch.cwd == "/tmp/node/home"


def test_values_that_the_pod_sets_are_translated() -> None:
    container = {"image": "i", "env": [{"name": "CACHE", "value": "/tmp/cache"}]}
    mounts = [Mount("/tmp", "/node/volumes/tmp")]
    env = container_environment({}, container, {"HOME": "/tmp/h"}, Sources({}), {}, mounts)
    assert env == {"HOME": "/tmp/h", "CACHE": "/node/volumes/tmp/cache"}
