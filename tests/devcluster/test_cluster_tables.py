import dataclasses
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from palm_devcluster import components, processes, state
from palm_devcluster.build import (
    GIVEN_FOLDERS,
    _source,
    ensure_binaries,
    find_binaries,
    last_lines,
)
from palm_devcluster.cluster import EmbeddedCluster
from palm_devcluster.golang import BuildError, Go
from palm_devcluster.images import InvalidImageTable, image_name, load_images
from palm_devcluster.paths import ClusterPaths
from palm_devcluster.pki import ensure_pki
from palm_devcluster.processes import ComponentError, Daemon
from palm_devcluster.s3 import S3Access


@pytest.mark.parametrize(
    "image",
    [
        "palm-trainer",
        "palm-trainer:0.1.0",
        "ghcr.io/palm/palm-trainer:0.1.0",
        "localhost:5000/palm-trainer",
        "localhost:5000/a/b/palm-trainer:v1@sha256:0123",
        "palm-trainer@sha256:0123",
    ],
)
def test_only_the_last_part_of_an_image_name_counts(image):
    assert image_name(image) == "palm-trainer"


def test_the_built_in_table_knows_our_images_those_of_kserve_and_a_shell():
    table = load_images()
    assert table.entrypoint("shell") == ()
    assert table.entrypoint("nginx:1") is None
    kserve = ("storage-initializer", "huggingfaceserver")
    for name in ("palm-operator", "palm-trainer", "palm-evaluator", *kserve):
        command = table.entrypoint(f"ghcr.io/palm/{name}:0.1.0")
        assert command is not None
        assert Path(command[0]).is_absolute()
        assert Path(command[0]).name == (name if name.startswith("palm-") else "python")


def test_another_table_replaces_the_built_in_one(tmp_path, monkeypatch):
    file = tmp_path / "images.yaml"
    file.write_text("images: {mine: [/bin/echo, hello]}")
    monkeypatch.setenv("PALM_DEVCLUSTER_IMAGES", str(file))
    assert load_images().commands == {"mine": ("/bin/echo", "hello")}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "must be a mapping with the key 'images'"),
        ("images: {a: sh -c true}", "image 'a' in .* is 'sh -c true'; it must be a list"),
        ("images: {a: [1]}", "it must be a list of strings"),
        ("images: {", "cannot be read"),
    ],
)
def test_a_wrong_table_is_refused_with_file_image_and_rule(tmp_path, text, told):
    file = tmp_path / "images.yaml"
    file.write_text(text)
    with pytest.raises(InvalidImageTable, match=told) as raised:
        load_images(file)
    assert str(file) in str(raised.value)


def test_kubernetes_is_stamped_with_its_version_in_both_places():
    flags = components.KUBERNETES.ldflags
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        assert f"-X {package}.gitVersion=v1.36.4" in flags
        assert f"-X {package}.gitMinor=36" in flags


ALL = (*components.COMPONENTS, *components.OPTIONAL)


@pytest.mark.parametrize("component", ALL, ids=lambda component: component.name)
def test_a_wrapper_pins_the_version_that_the_table_names(component):
    text = (component.module / "go.mod").read_text()
    pinned = [line for line in text.splitlines() if line.strip().endswith(f"v{component.version}")]
    pinned += [line for line in text.splitlines() if f"v{component.version} //" in line]
    assert pinned


def test_the_cache_key_changes_with_whatever_changes_the_programs():
    etcd = components.ETCD
    assert etcd.cache_key == dataclasses.replace(etcd).cache_key
    assert etcd.cache_key.startswith("etcd-3.6.14-")
    changes: list[dict[str, Any]] = [
        {"stamps": (("a", "b"),)},
        {"packages": ("x",)},
        {"version": "3.6.15"},
        {"edit": components.EditedMain("main.go", "a", "b")},
    ]
    for other in changes:
        assert dataclasses.replace(etcd, **other).cache_key != etcd.cache_key


def test_a_program_is_built_from_an_edited_copy_and_only_where_the_change_fits(tmp_path):
    go = tmp_path / "go"
    go.write_text(f"#!/bin/sh\necho {tmp_path}\n")  # `go list -f {{.Dir}}`
    go.chmod(0o755)
    source = tmp_path / "main.go"
    source.write_text("Port: options.webhookPort,")
    (tmp_path / "edited").mkdir()
    made = _source(components.KSERVE, Go(go, {}), tmp_path / "edited")
    assert made.packages == ("./edited",)
    (replaced,) = json.loads(Path(made.flags[1]).read_text())["Replace"].values()
    assert 'Host: "127.0.0.1"' in Path(replaced).read_text()
    source.write_text("another version of it")
    with pytest.raises(BuildError, match=r"main\.go must hold .* exactly once"):
        _source(components.KSERVE, Go(go, {}), tmp_path / "edited")


def test_given_programs_come_before_built_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("PALM_CACHE", str(tmp_path / "cache"))
    given = [tmp_path / name for name in GIVEN_FOLDERS]
    for folder, name in zip(given, GIVEN_FOLDERS, strict=True):
        folder.mkdir()
        monkeypatch.setenv(name, str(folder))
    for folder, program in [(given[0], "etcd"), (given[1], "etcd"), (given[1], "kubectl")]:
        (folder / program).touch(mode=0o755)
    assert find_binaries() == {"etcd": given[0] / "etcd", "kubectl": given[1] / "kubectl"}


def test_nothing_is_built_where_every_program_is_given(tmp_path, monkeypatch):
    monkeypatch.setenv("PALM_DEVCLUSTER_BIN", str(tmp_path))
    for component in components.COMPONENTS:
        for program in component.binaries:
            (tmp_path / program).touch(mode=0o755)
    said: list[str] = []
    made = ensure_binaries(said.append)
    assert all(made[p] == tmp_path / p for c in components.COMPONENTS for p in c.binaries)
    assert said == []


@pytest.mark.parametrize("component", components.OPTIONAL, ids=lambda component: component.name)
def test_controllers_of_queues_and_sets_are_built_only_where_asked_for(
    component, tmp_path, monkeypatch
):
    assert component not in components.COMPONENTS
    monkeypatch.setenv("PALM_DEVCLUSTER_BIN", str(tmp_path))
    (tmp_path / component.name).touch(mode=0o755)
    assert find_binaries()[component.name] == tmp_path / component.name


def test_ports_are_remembered_while_they_are_free():
    first = state.choose_ports(None, frozenset())
    assert state.choose_ports(first, frozenset()) == first
    assert len(set(dataclasses.astuple(first))) == 14


def test_a_cluster_of_an_older_version_keeps_its_ports_and_gets_the_new_ones(tmp_path):
    first = state.choose_ports(None, frozenset())
    known = {k: v for k, v in dataclasses.asdict(first).items() if k in ("etcd", "etcd_peer",
             "apiserver", "controller_manager", "scheduler", "s3", "node")}  # fmt: skip
    (tmp_path / "state.json").write_text(json.dumps({"ports": known}))
    chosen = state.choose_ports(state.load_ports(tmp_path / "state.json"), frozenset())
    assert dataclasses.asdict(chosen).items() >= known.items()
    assert 0 not in dataclasses.astuple(chosen)


def test_a_port_that_another_program_took_is_chosen_anew():
    first = state.choose_ports(None, frozenset())
    with socket.socket() as other:
        other.bind(("127.0.0.1", first.s3))
        other.listen()
        changed = state.choose_ports(first, frozenset())
        assert changed == dataclasses.replace(first, s3=changed.s3)
        assert changed.s3 != first.s3
        assert state.choose_ports(first, frozenset({"s3"})) == first


def test_keys_are_private_and_certificates_last(tmp_path):
    pki = ensure_pki(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert {file.stat().st_mode & 0o777 for file in tmp_path.glob("*.key")} == {0o600}
    ensure_pki(tmp_path)
    assert before == {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    pki.key("admin").unlink()
    ensure_pki(tmp_path)
    assert pki.ca.read_bytes() != before["ca.crt"]
    assert pki.service_account_key.read_bytes() == before["service-account.key"]


def test_the_secret_key_is_not_printed():
    assert "hidden" not in repr(S3Access("http://127.0.0.1:1", "key", "hidden"))


@pytest.fixture
def paths(tmp_path):
    made = ClusterPaths(tmp_path / "cluster")
    made.make_folders()
    return made


def daemon(*argv, probe=lambda: "nothing listens", **more):
    return Daemon("etcd", argv, probe, **more)


def test_a_component_that_ends_is_named_with_its_code_and_last_lines(paths):
    failing = daemon("/bin/sh", "-c", "seq 30; echo address in use >&2; exit 3")
    processes.start(paths, failing)
    with pytest.raises(ComponentError, match="etcd ended with code 3") as raised:
        processes.wait_healthy(paths, failing)
    lines = str(raised.value).splitlines()
    assert str(paths.log_of("etcd")) in lines[0]
    assert [line.strip() for line in lines[1:]] == [*map(str, range(12, 31)), "address in use"]


def test_a_component_that_does_not_answer_is_named_with_the_reason(paths):
    silent = daemon("/bin/sleep", "60", deadline_s=0.2)
    processes.start(paths, silent)
    try:
        with pytest.raises(ComponentError, match=r"not healthy after 0 s: nothing listens"):
            processes.wait_healthy(paths, silent)
    finally:
        assert processes.stop(paths, "etcd", 5.0)


def test_a_process_that_ignores_sigterm_is_killed(paths):
    script = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    log = paths.log_of("etcd")
    stubborn = daemon(
        "/bin/sh", "-c", script, probe=lambda: None if log.read_text() else "not ready"
    )
    record = processes.start(paths, stubborn)
    processes.wait_healthy(paths, stubborn)
    assert processes.stop(paths, "etcd", 0.3)
    assert not processes.is_alive(record)


def test_a_foreign_process_with_a_recorded_pid_is_left_alone(paths):
    record = processes.start(paths, daemon("/bin/sleep", "60"))
    file = paths.run / "etcd.json"
    stolen = json.loads(file.read_text()) | {"started": record.started - 1}
    try:
        file.write_text(json.dumps(stolen))
        assert not processes.stop(paths, "etcd", 1.0)
        assert processes.is_alive(record)
    finally:
        file.write_text(json.dumps(dataclasses.asdict(record)))
        assert processes.stop(paths, "etcd", 5.0)


def test_a_changed_file_changes_the_fingerprint(tmp_path):
    file = tmp_path / "table"
    file.write_text("one")
    before = daemon("/bin/true", files=(file,)).fingerprint
    file.write_text("two")
    assert daemon("/bin/true", files=(file,)).fingerprint != before


def test_a_missing_log_is_said(tmp_path):
    assert "no log" in last_lines(tmp_path / "none.log")


def test_a_folder_with_other_files_is_refused_and_never_purged(tmp_path):
    (tmp_path / "logs").mkdir()
    with pytest.raises(ComponentError, match="holds other files"):
        EmbeddedCluster(tmp_path).up()
    EmbeddedCluster(tmp_path).down(purge=True)
    assert [file.name for file in tmp_path.iterdir()] == ["logs"]


def test_purge_removes_the_clusters_own_files_only(paths):
    (paths.root / "notes.txt").touch()
    locked = paths.node / "volume"
    locked.mkdir()
    (locked / "file").touch()
    locked.chmod(0o500)
    paths.remove()
    assert [file.name for file in paths.root.iterdir()] == ["notes.txt"]
