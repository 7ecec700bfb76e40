"""Tenants who share one operator, its identity and one bucket."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from operator_wiring.conftest import BUCKET, Tenant
from operators import Operator
from palm_devcluster.addons import AddonError

pytestmark = pytest.mark.cluster


@pytest.fixture
def operator(environment: dict[str, str], tmp_path: Path) -> Iterator[Operator]:
    """An operator whose administrator gives every namespace a prefix of its own."""
    locations = json.dumps([f"{BUCKET}/{{namespace}}"])
    made = Operator({**environment, "PALM_STORAGE_LOCATIONS": locations}, tmp_path / "operator.log")
    made.start()
    yield made
    made.end()
    print(made.log.read_text())


def test_all_of_a_portfolio_passes_restricted_pod_security(operator, tenant, seen):
    tenant.kubectl(
        "label", "namespace", tenant.namespace, "pod-security.kubernetes.io/enforce=restricted"
    )
    tenant.apply()
    seen.trained()


def test_what_lies_below_anothers_prefix_is_neither_read_nor_written(operator, tenant, seen):
    other = Tenant(tenant.cluster, f"{tenant.namespace}-other")
    other.seed()
    before = other.store.list("")
    theirs = other.location.prefix
    body = tenant.body()
    body["spec"]["storage"]["s3"]["prefix"] = theirs
    tenant.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    said = seen.says("Accepted", "StorageNotAllowed")
    assert f"'{BUCKET}/{theirs}'" in said["message"]
    assert f"'{BUCKET}/{tenant.namespace}'" in said["message"]
    assert not tenant.objects("jobs")
    assert not tenant.portfolio["status"].get("portfolio")
    assert other.store.list("") == before


def test_secrets_and_accounts_are_those_of_the_portfolios_namespace(operator, tenant):
    body = tenant.body()
    secret = {"name": "palm-s3", "namespace": "palm-system"}
    body["spec"]["storage"]["s3"]["credentialsSecret"] = secret
    with pytest.raises(AddonError, match=r"unknown field .*credentialsSecret\.namespace"):
        tenant.kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(body))
