"""PALM_MAX_POLICIES_IN_ALL on a real API server: who finds no room waits for it."""

import json
import uuid
from collections.abc import Iterator

import pytest

from operator_wiring.answering import SERVING, answered, deployed, until
from operator_wiring.conftest import furnished
from operators import Operator

pytestmark = pytest.mark.cluster

TOTAL = 5  # the cover of each has four


@pytest.fixture
def limited(environment, tmp_path) -> Iterator[Operator]:
    with answered(environment, tmp_path, PALM_MAX_POLICIES_IN_ALL=str(TOTAL)) as made:
        yield made


@pytest.fixture
def neighbour(cluster, tenant, kubectl):
    name = f"test-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    yield furnished(cluster, name)
    kubectl("delete", "namespace", name, "--wait=false")


def is_held(tenant) -> bool:
    return tenant.condition("Published").get("reason") == "TooManyPolicies"


def test_two_that_do_not_fit_together_are_published_one_after_the_other(
    limited, tenant, neighbour
) -> None:
    both = (tenant, neighbour)
    for each in both:
        each.seed(serving=SERVING)
        each.apply(serving=SERVING)
    for each in both:
        until(each, lambda _, each=each: is_held(each) or deployed(1, 4)(each.portfolio["status"]))
    (held,) = [each for each in both if is_held(each)]
    (first,) = [each for each in both if each is not held]
    until(first, deployed(1, 4))
    message = held.condition("Published")["message"]
    assert f"(PALM_MAX_POLICIES_IN_ALL) is {TOTAL}, of which other Portfolios have 4" in message
    assert "the best 1 policy is within epsilon=" in message
    assert held.objects("inferenceservices") == []

    # One more would fit; what fits is the best one.
    held.apply(serving={**SERVING, "onExceeded": "BestEffort"})
    until(held, deployed(1, 1))
    assert len(held.objects("inferenceservices")) + len(first.objects("inferenceservices")) == TOTAL

    # Room again: the whole cover.
    first.kubectl("delete", "pfo", "assistant")
    until(held, deployed(2, 4))
    assert "PALM_MAX_POLICIES_IN_ALL" not in json.dumps(held.portfolio["status"])
