"""The objects of KServe as the embedded cluster applies them."""

import json

import pytest

from controller_objects import assert_called_on_loopback, hooks, of_kind
from palm_devcluster.addons import ensure_files
from palm_devcluster.components import KSERVE_MANIFESTS
from palm_devcluster.documents import read_documents
from palm_devcluster.kserve import manifests


@pytest.fixture(scope="module")
def documents():
    (folder,) = ensure_files([KSERVE_MANIFESTS], print)
    return read_documents(folder)


@pytest.fixture(scope="module")
def objects(documents):
    return manifests.control_objects(documents, webhooks="https://127.0.0.1:9", ca="Q0E=")


def test_every_webhook_is_called_on_loopback_with_the_clusters_authority(objects):
    assert len(hooks(objects)) == 7
    assert_called_on_loopback(objects, "https://127.0.0.1:9")


def test_the_configuration_is_kserves_own_but_for_mode_ingress_and_image(objects, documents):
    (changed,), (shipped,) = of_kind(objects, "ConfigMap"), of_kind(documents, "ConfigMap")
    assert json.loads(changed["data"]["deploy"])["defaultDeploymentMode"] == "Standard"
    assert json.loads(changed["data"]["ingress"])["disableIngressCreation"] is True
    same = set(shipped["data"]) - {"_example", "deploy", "ingress", "storageInitializer"}
    assert {k: changed["data"][k] for k in same} == {k: shipped["data"][k] for k in same}


def test_the_controller_has_the_rights_that_kserve_ships_and_no_others(objects, documents):
    assert of_kind(objects, "ClusterRole") == of_kind(documents, "ClusterRole")
    (binding,) = of_kind(objects, "ClusterRoleBinding")
    account = {"kind": "ServiceAccount", "name": manifests.ACCOUNT, "namespace": "kserve"}
    assert binding["subjects"] == [account]


def test_documents_are_not_changed_in_place(documents):
    before = json.dumps(documents)
    manifests.control_objects(documents, webhooks="https://127.0.0.1:1", ca="")
    assert json.dumps(documents) == before
