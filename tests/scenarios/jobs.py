"""Jobs that are refused, do not run, fail, or are taken away by others."""

import json
import time

import pytest

pytestmark = pytest.mark.cluster


def quota(tenant, jobs: int) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "few"},
        "spec": {"hard": {"count/jobs.batch": str(jobs)}},
    }
    tenant.kubectl("apply", "-f", "-", stdin=json.dumps(body))


def test_a_refused_quota_is_told_and_jobs_stay_wanted(operator, tenant, seen):
    quota(tenant, 0)
    tenant.apply()
    said = seen.says("Progressing", "QuotaExceeded")
    assert "policy w" in said["message"] or "the base policy" in said["message"]
    assert "exceeded quota" in said["message"]
    tries = operator.log.read_text().count("exceeded quota")
    time.sleep(10)
    assert operator.log.read_text().count("exceeded quota") - tries <= 6  # no hot loop
    quota(tenant, 100)
    seen.trained()


@pytest.mark.parametrize(
    ("template", "reason", "part"),
    [
        ({"image": "no-such-image"}, "ImageUnavailable", "no-such-image"),
        ({"nodeSelector": {"gpu": "yes"}}, "Unschedulable", "no node takes its Pod"),
        (
            {"resources": {"requests": {"cpu": "4000"}}},
            "Unschedulable",
            "Add a node that fits, or change resources",
        ),
    ],
)
def test_a_job_that_cannot_run_is_explained_and_mended_by_the_spec(
    operator, tenant, seen, template, reason, part
):
    small = {"resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}}
    tenant.apply(training={"template": {**small, **template}})
    said = seen.says("Trained", reason)
    assert part in said["message"]
    assert "(weights " in said["message"]
    tenant.apply(training={"template": small})
    seen.trained()


def test_a_wrong_request_fails_at_once_and_a_disruption_costs_no_retry(operator, tenant, seen):
    """Exit code 42 for one weight vector; another's Pod is evicted although it may not fail."""
    tenant.apply(seconds=3, failures="w02", training={"backoffLimit": 0})
    pod = seen.until(lambda: [p for p in tenant.running() if "-w00-" in p["metadata"]["name"]])[0]
    name = pod["metadata"]["name"]
    eviction = {
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": name, "namespace": tenant.namespace},
    }  # fmt: skip
    path = f"/api/v1/namespaces/{tenant.namespace}/pods/{name}/eviction"
    tenant.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    said = seen.says("Trained", "OracleCallInvalidRequest")
    assert "policy w02-" in said["message"]
    assert "exit code 42" in said["message"]
    assert "what is deployed stays" in said["message"]
    seen.until(lambda: tenant.portfolio["status"]["oracleCalls"]["succeeded"] == 4)
    assert tenant.portfolio["status"]["oracleCalls"]["failed"] == 1
    assert tenant.condition("Ready")["status"] == "False"
    owners = [p["metadata"]["labels"]["batch.kubernetes.io/job-name"]
              for p in tenant.objects("pods") if "-w02-" in p["metadata"]["name"]]  # fmt: skip
    assert len(owners) <= 1


def test_without_some_weight_vectors_nothing_is_published_unless_it_may(operator, tenant, seen):
    tenant.apply(failures="w01,w03")
    seen.says("Trained", "OracleCallInvalidRequest")
    seen.until(lambda: not tenant.unfinished())
    assert "portfolio" not in tenant.portfolio["status"]
    tenant.apply(failures="w01,w03", failurePolicy={"onOracleFailure": "AllowPartial"})
    seen.until(lambda: tenant.portfolio["status"].get("portfolio"))
    said = seen.says("GuaranteeHeld", "PartialPortfolio")
    assert said["status"] == "False"
    uncovered = tenant.portfolio["status"]["portfolio"]["uncovered"]
    assert uncovered == {"count": 2, "weights": ["0.3333, 0.6667", "0.6667, 0.3333"]}


def test_finished_jobs_that_are_deleted_train_nothing_again(operator, tenant, seen):
    tenant.apply()
    seen.trained()
    tenant.kubectl("delete", "jobs", "--all")
    time.sleep(7)  # several resyncs
    assert seen.jobs() == {}
    assert tenant.condition("Trained")["reason"] == "AllTrained"


def test_a_running_job_that_is_deleted_is_made_again(operator, tenant, seen):
    tenant.apply(seconds=3)
    lost = seen.until(lambda: tenant.unfinished() and seen.jobs())
    name, uid = next(iter(lost.items()))
    tenant.kubectl("delete", "job", name)
    seen.until(lambda: seen.jobs().get(name) not in (None, uid))
    seen.trained()


def test_a_job_of_somebody_elses_is_never_adopted(operator, tenant, seen):
    tenant.apply()
    seen.trained()
    name = next(n for n in seen.jobs() if "w02" in n)
    tenant.kubectl("delete", "pfo", "assistant", "--timeout=60s")
    seen.until(lambda: not seen.jobs())
    for key in tenant.store.list(""):
        tenant.store.delete(key)
    operator.kill()  # it remembers what it read: results are never changed
    operator.start()
    tenant.kubectl("create", "job", name, "--image=fake-image", "--", "sleep", "1")
    foreign = seen.jobs()[name]
    tenant.apply()
    said = seen.says("Stalled", "NameConflict")
    assert name in said["message"]
    assert "not touched" in said["message"]
    assert seen.jobs()[name] == foreign
