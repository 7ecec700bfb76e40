"""GitOps tools and the operator on a real API server: they never meet."""

import json

import pytest

pytestmark = pytest.mark.cluster


def manifest(tenant) -> dict:
    """What is in Git: the Portfolio as it was applied."""
    applied = tenant.portfolio["metadata"]["annotations"]
    in_git: dict = json.loads(applied["kubectl.kubernetes.io/last-applied-configuration"])
    in_git["metadata"].pop("annotations")  # kubectl wrote an empty one there
    return in_git


def test_what_is_in_git_stays_as_it_is(operator, tenant):
    tenant.apply()
    in_git = json.dumps(manifest(tenant))
    managers = ("kustomize-controller", "argocd-controller")

    def applied() -> None:
        """As Flux and Argo CD do, though without their force; a difference is an error."""
        server_side = ("--server-side", "-f", "-")
        for manager in managers:
            tenant.kubectl("apply", f"--field-manager={manager}", *server_side, stdin=in_git)
        tenant.kubectl("diff", "-f", "-", stdin=in_git)
        tenant.kubectl("diff", f"--field-manager={managers[0]}", *server_side, stdin=in_git)

    applied()
    before = tenant.portfolio  # kubectl's own annotation went when it changed to server-side apply
    tenant.eventually(lambda: tenant.condition("Published").get("reason") == "WaitingForKServe")
    applied()
    after = tenant.portfolio
    assert after["spec"] == before["spec"]
    for field in ("labels", "annotations", "finalizers", "generation"):
        assert after["metadata"].get(field) == before["metadata"].get(field)
    shown = tenant.kubectl("get", "pfo", "assistant", "--show-managed-fields", "-o", "json")
    fields = json.loads(shown)["metadata"]["managedFields"]
    ours = [f for f in fields if f["manager"] == "palm-operator"]
    assert [(f["subresource"], list(f["fieldsV1"])) for f in ours] == [("status", ["f:status"])]
    assert set(managers) <= {f["manager"] for f in fields}
