"""The spec changes while Jobs run, and back again."""

import pytest

pytestmark = pytest.mark.cluster


def test_a_grid_is_edited_and_taken_back_while_jobs_run(operator, tenant, seen):
    tenant.apply(seconds=1)
    seen.trained()
    first, revision = seen.jobs(), tenant.portfolio["status"]["revision"]
    size = tenant.portfolio["status"]["portfolio"]["size"]

    tenant.apply(seconds=3, grid={"mu": "0.5"})
    seen.until(lambda: len(seen.jobs()) > len(first))
    status = tenant.portfolio["status"]
    assert status["revision"] != revision
    assert status["portfolio"]["revision"] == revision
    assert first.items() <= seen.jobs().items()  # what both need is not trained again

    tenant.apply(seconds=1)
    seen.until(lambda: tenant.portfolio["status"]["revision"] == revision)
    seen.until(lambda: not tenant.unfinished())
    seen.trained()
    made = seen.jobs()
    assert first.items() <= made.items()

    tenant.apply(seconds=1, pruning={"mu": "0.4"})
    seen.until(lambda: tenant.portfolio["status"]["portfolio"]["size"] < size)
    assert seen.jobs() == made
