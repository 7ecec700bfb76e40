"""The chart on a real API server: Pod Security, and what the operator may and may not do."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.cluster

CHART = Path(__file__).resolve().parents[2] / "charts" / "palm-operator"
ELSEWHERE = "default"  # any namespace but the release's


@pytest.fixture
def release(helm: Any, kubectl: Any, namespace: str) -> Iterator[str]:
    """The operator's release in a namespace with Pod Security "restricted"."""
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    installed(helm, namespace, "palm-operator")
    yield namespace
    removed = helm("uninstall", "palm-operator", "-n", namespace)
    assert removed.returncode == 0, removed.stderr


def install(helm: Any, namespace: str, name: str, *settings: str, verb: str = "install") -> Any:
    """Install or upgrade a release whose Pods are admitted and never scheduled."""
    values = [part for setting in settings for part in ("--set", setting)]
    nowhere = ("--set-string", "nodeSelector.palm-operator\\.dev/nowhere=true")
    return helm(verb, name, str(CHART), "-n", namespace, *nowhere, *values)


def installed(helm: Any, namespace: str, name: str, *settings: str) -> None:
    done = install(helm, namespace, name, *settings)
    assert done.returncode == 0, done.stderr


def eventually(question: Any, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.2)
    return answer


def allowed(kubectl: Any, release: str, verb: str, resource: str, namespace: str) -> bool:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{release}:palm-operator",
            "groups": ["system:serviceaccounts", "system:authenticated"],
            "resourceAttributes": attributes(verb, resource, namespace),
        },
    }
    answer = kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review))
    return bool(json.loads(answer)["status"]["allowed"])


def attributes(verb: str, resource: str, namespace: str) -> dict[str, str]:
    name, _, subresource = resource.partition("/")
    name, _, group = name.partition(".")
    return {
        "verb": verb,
        "group": group,
        "resource": name,
        "subresource": subresource,
        "namespace": namespace,
    }


PORTFOLIOS = "portfolios.palm-operator.dev"
SERVICES = "inferenceservices.serving.kserve.io"
JOB_SETS = "jobsets.jobset.x-k8s.io"
ALLOWED = [
    *((verb, PORTFOLIOS) for verb in ("get", "list", "watch", "patch")),
    *((verb, f"{PORTFOLIOS}/status") for verb in ("get", "patch", "update")),
    ("update", f"{PORTFOLIOS}/finalizers"),
    *((verb, "jobs.batch") for verb in ("get", "list", "watch", "create", "patch", "delete")),
    *((verb, JOB_SETS) for verb in ("get", "list", "watch", "create", "patch", "delete")),
    *((verb, "workloads.kueue.x-k8s.io") for verb in ("list", "patch")),
    *((verb, "pods") for verb in ("get", "list", "watch")),
    *((verb, SERVICES) for verb in ("get", "list", "watch", "create", "patch", "delete")),
    *((verb, "customresourcedefinitions.apiextensions.k8s.io") for verb in ("get", "list")),
    *((verb, "namespaces") for verb in ("list", "watch")),
    *((verb, "configmaps") for verb in ("get", "create", "patch")),
    *((verb, "events") for verb in ("create", "patch")),
]
DENIED = [
    *((verb, "secrets") for verb in ("get", "list", "watch", "create", "update", "delete")),
    *((verb, PORTFOLIOS) for verb in ("create", "update", "delete")),
    *((verb, "jobs.batch") for verb in ("update", "deletecollection")),
    *((verb, JOB_SETS) for verb in ("update", "deletecollection")),
    *((verb, "workloads.kueue.x-k8s.io") for verb in ("create", "update", "delete")),
    *((verb, "pods") for verb in ("create", "delete")),
    ("get", "pods/log"),
    ("create", "pods/exec"),
    *((verb, "configmaps") for verb in ("list", "watch", "update", "delete")),
    ("create", "serviceaccounts/token"),
    ("update", SERVICES),
    ("create", "deployments.apps"),
    ("delete", "namespaces"),
    ("patch", "customresourcedefinitions.apiextensions.k8s.io"),
    ("create", "clusterrolebindings.rbac.authorization.k8s.io"),
    ("impersonate", "users"),
    *((verb, "leases.coordination.k8s.io") for verb in ("list", "watch", "patch", "delete")),
]


def test_the_operator_may_do_what_it_needs_and_nothing_else(kubectl: Any, release: str) -> None:
    for verb, resource in ALLOWED:
        assert allowed(kubectl, release, verb, resource, ELSEWHERE), f"{verb} {resource}"
    for verb, resource in DENIED:
        for namespace in (ELSEWHERE, release):
            assert not allowed(kubectl, release, verb, resource, namespace), f"{verb} {resource}"


def test_can_i_agrees(kubectl: Any, release: str) -> None:
    account = f"--as=system:serviceaccount:{release}:palm-operator"
    listed = kubectl("auth", "can-i", "--list", account, "-n", ELSEWHERE)
    assert PORTFOLIOS in listed
    assert "secrets" not in listed


def test_pod_security_restricted_accepts_the_operator(kubectl: Any, release: str) -> None:
    def pods() -> Any:
        listed = kubectl("get", "pods", "-n", release, "-o", "json")
        return json.loads(listed)["items"]

    (pod,) = eventually(pods)
    assert pod["spec"]["serviceAccountName"] == "palm-operator"
    events = json.loads(kubectl("get", "events", "-n", release, "-o", "json"))["items"]
    assert not [event for event in events if "violates PodSecurity" in event["message"]]


def test_viewers_of_a_namespace_see_portfolios_and_editors_make_them(
    kubectl: Any, release: str
) -> None:
    def grants(role: str) -> Any:
        aggregated = json.loads(kubectl("get", "clusterrole", role, "-o", "json"))
        return {
            verb
            for rule in aggregated["rules"] or []
            if "palm-operator.dev" in rule.get("apiGroups", [])
            for verb in rule["verbs"]
        }

    assert eventually(lambda: grants("view")) == {"get", "list", "watch"}
    assert {"create", "patch", "delete"} <= eventually(lambda: grants("edit"))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([], []),
        ([], ["watchNamespaces={default}"]),
        (["watchNamespaces={default}"], []),
        (["watchNamespaces={default}"], ["watchNamespaces={default}"]),
    ],
    ids=["both everywhere", "one beside everywhere", "everywhere beside one", "both in one"],
)
def test_two_releases_never_look_after_the_same_portfolios(
    helm: Any, namespace: str, first: list[str], second: list[str]
) -> None:
    installed(helm, namespace, "first", *first)
    try:
        refused = install(helm, namespace, "second", *second)
        assert refused.returncode != 0
        assert (
            f"release first in namespace {namespace} looks after the Portfolios" in refused.stderr
        )
        assert "operatorClass" in refused.stderr
        again = install(helm, namespace, "first", *first, verb="upgrade")
        assert again.returncode == 0, again.stderr
        installed(helm, namespace, "second", "operatorClass=blue", *second)
        helm("uninstall", "second", "-n", namespace)
    finally:
        helm("uninstall", "first", "-n", namespace)
