"""The objects of JobSet as the embedded cluster applies them."""

import json
from pathlib import Path

import pytest

from controller_objects import assert_called_on_loopback, hooks, of_kind
from palm_devcluster.addons import ensure_files
from palm_devcluster.components import CRD_MODULES, JOBSET_MANIFESTS
from palm_devcluster.documents import read_documents, webhook_names
from palm_devcluster.jobset import manifests

SERVER = "https://127.0.0.1:9"


@pytest.fixture(scope="module")
def documents():
    (folder,) = ensure_files([JOBSET_MANIFESTS], print)
    return read_documents(folder)


@pytest.fixture(scope="module")
def objects(documents):
    return manifests.control_objects(documents, webhooks=SERVER, ca="Q0E=")


def test_only_job_sets_are_checked_on_loopback_with_the_clusters_authority(objects):
    assert {hook["name"] for hook in hooks(objects)} == {"mjobset.kb.io", "vjobset.kb.io"}
    assert_called_on_loopback(objects, SERVER)


def test_the_controller_has_the_rights_that_jobset_ships_and_no_others(objects, documents):
    (role,), (shipped,) = of_kind(objects, "ClusterRole"), of_kind(documents, "ClusterRole")
    assert role["rules"] == shipped["rules"]
    (account,) = of_kind(objects, "ServiceAccount")
    (binding,) = of_kind(objects, "ClusterRoleBinding")
    (subject,) = binding["subjects"]
    assert subject["name"] == account["metadata"]["name"] == "jobset-controller-manager"
    assert subject["namespace"] == account["metadata"]["namespace"] == "jobset-system"
    assert binding["roleRef"]["name"] == role["metadata"]["name"]


def test_what_is_taken_away_is_what_was_applied(objects, documents):
    assert webhook_names(documents, manifests.PREFIX) == webhook_names(objects)


def test_it_listens_on_loopback_only():
    made = manifests.configuration(webhooks=1, health=2, certificates=Path("/c"))
    assert made["webhook"] == {"host": "127.0.0.1", "port": 1, "certDir": "/c"}
    assert made["health"]["healthProbeBindAddress"] == "127.0.0.1:2"
    assert made["metrics"]["bindAddress"] == "0"


def test_documents_are_not_changed_in_place(documents):
    before = json.dumps(documents)
    manifests.control_objects(documents, webhooks=SERVER, ca="")
    assert json.dumps(documents) == before


def test_the_crd_is_there_without_the_controller():
    folders = ensure_files(CRD_MODULES, print)
    names = [d["metadata"]["name"] for folder in folders for d in read_documents(folder)]
    assert "jobsets.jobset.x-k8s.io" in names
