"""The quick cluster of the wiring tests, with Kueue's own controller in it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from operator_wiring.conftest import Tenant, quick_cluster
from operator_wiring.conftest import environment as environment
from operator_wiring.conftest import kubectl as kubectl
from operator_wiring.conftest import operator as operator
from operator_wiring.conftest import tenant as tenant
from palm_devcluster.cluster import EmbeddedCluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCluster]:
    with quick_cluster(tmp_path_factory.mktemp("scenarios"), kueue=True) as made:
        yield made


class Seen:
    """What a person would look up of a Portfolio, and wait for whatever it says meanwhile."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant

    def until(self, holds: Callable[[], Any], seconds: float = 120) -> Any:
        return self.tenant.eventually(holds, seconds=seconds, through_stalls=True)

    def says(self, kind: str, reason: str) -> dict[str, Any]:
        """Wait until a condition has a reason; the condition."""
        self.until(lambda: self.tenant.condition(kind).get("reason") == reason)
        return self.tenant.condition(kind)

    def trained(self) -> None:
        """Wait until all is trained and decided."""
        self.says("Trained", "AllTrained")
        self.until(lambda: self.tenant.portfolio["status"].get("portfolio"))

    def jobs(self) -> dict[str, str]:
        """Every Job that there is, with its uid."""
        jobs = self.tenant.objects("jobs")
        return {j["metadata"]["name"]: j["metadata"]["uid"] for j in jobs}

    def events(self, reason: str) -> list[dict[str, Any]]:
        return [e for e in self.tenant.objects("events") if e["reason"] == reason]


@pytest.fixture
def seen(tenant: Tenant) -> Seen:
    return Seen(tenant)
