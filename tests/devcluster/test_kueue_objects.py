"""The objects of Kueue as the embedded cluster applies them."""

import json
from pathlib import Path

import pytest

from controller_objects import assert_called_on_loopback, hooks, of_kind
from palm_devcluster.addons import ensure_files
from palm_devcluster.components import KUEUE_MANIFESTS
from palm_devcluster.documents import read_documents, webhook_names
from palm_devcluster.kueue import manifests

SERVER = "https://127.0.0.1:9"


@pytest.fixture(scope="module")
def documents():
    (folder,) = ensure_files([KUEUE_MANIFESTS], print)
    return read_documents(folder)


@pytest.fixture(scope="module")
def objects(documents):
    return manifests.control_objects(documents, webhooks=SERVER, ca="Q0E=")


def test_only_jobs_job_sets_and_kueues_own_kinds_are_checked(objects):
    checked = {r for hook in hooks(objects) for rule in hook["rules"] for r in rule["resources"]}
    assert checked == {
        "jobs", "jobsets", "clusterqueues", "resourceflavors", "workloads", "cohorts",
        "workloads/status",
    }  # fmt: skip


def test_every_webhook_is_called_on_loopback_with_the_clusters_authority(objects):
    assert_called_on_loopback(objects, SERVER)


def test_the_controller_has_the_rights_that_kueue_ships_and_no_others(objects, documents):
    (role,), (shipped,) = of_kind(objects, "ClusterRole"), of_kind(documents, "ClusterRole")
    assert role["rules"] == shipped["rules"]
    (account,) = of_kind(objects, "ServiceAccount")
    for binding in of_kind(objects, "ClusterRoleBinding") + of_kind(objects, "RoleBinding"):
        (subject,) = binding["subjects"]
        assert subject["name"] == account["metadata"]["name"]
        assert subject["namespace"] == account["metadata"]["namespace"] == "kueue-system"
        assert binding["roleRef"]["name"].startswith("kueue-manager-")


def test_what_is_taken_away_is_what_was_applied(objects, documents):
    assert webhook_names(documents, manifests.PREFIX) == webhook_names(objects)


def test_it_listens_on_loopback_only_and_queues_jobs_and_job_sets_only():
    made = manifests.configuration(webhooks=1, health=2, certificates=Path("/c"))
    assert made["webhook"] == {"host": "127.0.0.1", "port": 1, "certDir": "/c"}
    assert made["health"]["healthProbeBindAddress"] == "127.0.0.1:2"
    assert made["metrics"]["bindAddress"] == "0"
    assert made["featureGates"]["VisibilityOnDemand"] is False
    assert made["integrations"]["frameworks"] == ["batch/job", "jobset.x-k8s.io/jobset"]


def test_documents_are_not_changed_in_place(documents):
    before = json.dumps(documents)
    manifests.control_objects(documents, webhooks=SERVER, ca="")
    assert json.dumps(documents) == before
