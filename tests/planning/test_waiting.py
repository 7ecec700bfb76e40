"""Jobs that do not run: who says why, when it is for a person, and when it has been too long."""

from dataclasses import replace
from datetime import timedelta

import pytest

from builders import NOW, UID, World, make_portfolio, portfolio_body
from palm_operator.jobs.job_pods import Hindrance, JobPod, job_pod
from palm_operator.jobs.job_standing import Surroundings, refused_pods, stand, with_deadlines
from palm_operator.jobs.observed_jobs import job
from palm_operator.jobs.queue_standing import hindrance
from palm_operator.names import ANNOTATION_RESUMED
from palm_operator.observed import Observed
from palm_operator.refusals import Refusal, refusal
from palm_operator.times import stamp

STAMP = stamp(NOW)


def pod(**status):
    return {
        "metadata": {
            "creationTimestamp": STAMP,
            "ownerReferences": [{"uid": "j", "controller": True}],
        },
        "status": {"phase": "Pending", **status},
    }


def waiting(reason, message="because"):
    state = {"waiting": {"reason": reason, "message": message}}
    return pod(containerStatuses=[{"name": "trainer", "image": "mine:1", "state": state}])


UNSCHEDULABLE = pod(
    conditions=[
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
        }
    ]
)


@pytest.mark.parametrize(
    ("body", "reason", "is_final", "part"),
    [
        (UNSCHEDULABLE, "Unschedulable", False, "Insufficient nvidia.com/gpu"),
        (waiting("ErrImagePull"), "ImageUnavailable", False, "'mine:1': ErrImagePull: because"),
        (waiting("ImagePullBackOff"), "ImageUnavailable", False, "ImagePullBackOff"),
        (waiting("ErrImageNeverPull"), "ImageUnavailable", True, "ErrImageNeverPull"),
        (waiting("InvalidImageName"), "ImageUnavailable", True, "InvalidImageName"),
        (
            waiting("CreateContainerConfigError", 'secret "palm-s3" not found'),
            "ContainerNotCreated", False, 'secret "palm-s3" not found',
        ),
    ],
)  # fmt: skip
def test_a_pod_says_why_it_does_not_start(body, reason, is_final, part):
    found = job_pod(body)
    assert found.job_uid == "j"
    assert (found.hindrance.reason, found.hindrance.is_final) == (reason, is_final)
    assert part in found.hindrance.message


def test_a_pod_that_is_being_made_is_not_hindered():
    assert job_pod(waiting("ContainerCreating")).hindrance is None


def test_a_pod_says_how_it_ended():
    ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "a\nlast\n"}}
    disruption = {"type": "DisruptionTarget", "status": "True"}
    body = pod(phase="Failed", containerStatuses=[{"state": ended}], conditions=[disruption])
    ending = job_pod(body).ending
    assert (ending.exit_code, ending.reason, ending.message) == (137, "OOMKilled", "last")
    assert ending.is_disruption


def workload(reason="Pending", message="", **rest):
    condition = {"type": "QuotaReserved", "status": "False", "reason": reason, "message": message}
    return {"metadata": {}, "spec": {}, "status": {"conditions": [condition]}, **rest}


@pytest.mark.parametrize(
    ("body", "reason", "is_final"),
    [
        # As Kueue v0.19 writes them with UnadmittedWorkloadsObservability …
        (workload("WaitingForQuota", "3 more needed"), "WaitingForQuota", False),
        (workload("ExceedsMaxQuota", "too much"), "ExceedsMaxQuota", True),
        (workload("Misconfigured", "LocalQueue x doesn't exist"), "Misconfigured", True),
        (workload("NoMatchingFlavor", "no flavor"), "NoMatchingFlavor", False),
        # … and without.
        (
            workload("Pending", "couldn't assign flavors to pod set main: insufficient unused "
                     "quota for cpu in flavor default, 1 more needed"),
            "WaitingForQuota", False,
        ),
        (
            workload("Pending", "couldn't assign flavors to pod set main: insufficient quota for "
                     "cpu in flavor default, previously considered podsets requests (0) + current "
                     "podset request (5) > maximum capacity (1)"),
            "ExceedsMaxQuota", True,
        ),
        (workload("Inadmissible", "LocalQueue x doesn't exist"), "Misconfigured", True),
        (workload("Inadmissible", "ClusterQueue x is inactive"), "Misconfigured", True),
        ({"metadata": {}, "status": {}}, "WaitingForQuota", False),
        (workload(spec={"active": False}), "Deactivated", True),
    ],
)  # fmt: skip
def test_a_workload_says_why_it_is_not_admitted(body, reason, is_final):
    found = hindrance(body)
    assert (found.reason, found.is_final) == (reason, is_final)


def test_an_admitted_workload_waits_for_nothing():
    admitted = {"type": "Admitted", "status": "True"}
    assert hindrance({"metadata": {}, "status": {"conditions": [admitted]}}) is None


def test_admission_checks_are_named():
    reserved = {"type": "QuotaReserved", "status": "True"}
    checks = [{"name": "capacity", "state": "Pending"}]
    found = hindrance(
        {"metadata": {}, "status": {"conditions": [reserved], "admissionChecks": checks}}
    )
    assert found.reason == "WaitingForAdmissionCheck"
    assert "capacity" in found.message
    checks[0] |= {"state": "Rejected", "message": "no"}
    found = hindrance(
        {"metadata": {}, "status": {"conditions": [reserved], "admissionChecks": checks}}
    )
    assert (found.reason, found.is_final) == ("Rejected", True)


@pytest.mark.parametrize(
    ("status", "message", "reason", "is_final"),
    [
        (403, 'jobs.batch "x" is forbidden: exceeded quota: q, requested: count/jobs.batch=1, '
         "used: count/jobs.batch=2, limited: count/jobs.batch=2", "QuotaExceeded", False),
        (500, 'Internal error occurred: failed calling webhook "mjob.kb.io": failed to call '
         "webhook: connection refused", "WebhookUnavailable", False),
        (403, "jobs.batch is forbidden: unable to create new content in namespace ml because it "
         "is being terminated", "NamespaceTerminating", False),
        (403, 'admission webhook "p.example" denied the request: no', "AdmissionDenied", False),
        (403, "pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot",
         "PodSecurityViolated", False),
        (422, 'Job.batch "x" is invalid: spec.template: bad', "JobInvalid", True),
        (403, 'jobs is forbidden: User "y" cannot create resource', "Forbidden", False),
        (503, "the server is currently unable", "ClusterRefused", False),
        (None, "TimeoutError: ", "ClusterRefused", False),
    ],
)  # fmt: skip
def test_a_refusal_is_told_apart_by_what_the_api_server_says(status, message, reason, is_final):
    found = refusal(status, message)
    assert (found.reason, found.is_final) == (reason, is_final)
    assert found.remedy


def body_of(**rest):
    metadata = {"name": "a", "uid": "j", "creationTimestamp": STAMP}
    return {"metadata": metadata, "spec": {}, "status": {}, **rest}


def test_a_job_without_a_pod_is_explained_by_the_job_controllers_event():
    event = {
        "involvedObject": {"uid": "j"},
        "lastTimestamp": STAMP,
        "message": 'Error creating: pods "a-" is forbidden: exceeded quota: q, requested: cpu=1',
    }
    (stands,) = stand(
        [job(body_of(), portfolio_uid=UID)], Surroundings(refused_pods=refused_pods([event]))
    )
    assert stands.hindrance.reason == "QuotaExceeded"


def test_a_queued_job_without_a_workload_says_that_nobody_watches_its_queue():
    queued = body_of(spec={"suspend": True})
    queued["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "gpus"}
    (stands,) = stand([job(queued, portfolio_uid=UID)], Surroundings(workloads={}))
    assert stands.hindrance.reason == "QueueNotWatched"
    assert "gpus" in stands.hindrance.message
    young = Surroundings(workloads={}, patient_with=frozenset({"j"}))
    (stands,) = stand([job(queued, portfolio_uid=UID)], young)
    assert stands.hindrance is None


def test_a_new_pod_starts_the_clock_anew():
    """Who was disrupted after hours of work has not waited for hours."""
    later = NOW + timedelta(hours=5)
    (stands,) = stand([job(body_of(), portfolio_uid=UID)], Surroundings(pods=[JobPod("j", later)]))
    assert stands.waiting_since == later


def test_a_workload_that_is_active_again_starts_the_clock_anew():
    """Who was suspended for a week before its turn came has not waited for a week."""
    later = NOW + timedelta(days=7)
    conditions = [
        {"type": "QuotaReserved", "status": "False", "lastTransitionTime": STAMP},
        {"type": "Requeued", "status": "True", "lastTransitionTime": stamp(later)},
    ]
    around = Surroundings(workloads={"j": {"metadata": {}, "status": {"conditions": conditions}}})
    (stands,) = stand([job(body_of(spec={"suspend": True}), portfolio_uid=UID)], around)
    assert stands.waiting_since == later


@pytest.mark.parametrize(
    ("text", "since"),
    [(stamp(NOW + timedelta(days=7)), NOW + timedelta(days=7)), ("soon", NOW), ("", NOW)],
)
def test_a_job_waits_from_when_the_operator_resumed_it(text, since):
    body = body_of(spec={"suspend": True})
    body["metadata"]["annotations"] = {ANNOTATION_RESUMED: text}
    assert job(body, portfolio_uid=UID).waiting_since == since


WEEK = timedelta(days=7)


@pytest.mark.parametrize(
    ("spec", "conditions", "workload_conditions", "has_waited"),
    [
        # Resumed, and the Job controller has not taken it up yet.
        ({"suspend": False}, [("Suspended", "True", "JobSuspended")], None, False),
        ({"suspend": False}, [], None, True),
        # Its Workload is active again, and Kueue has not put it back into its queue yet.
        ({"suspend": True}, [("Suspended", "True", "JobSuspended")],
         [("Evicted", "True", "Deactivated"), ("Requeued", "False", "Deactivated")], False),
        ({"suspend": True}, [("Suspended", "True", "JobSuspended")],
         [("QuotaReserved", "False", "Pending")], True),
    ],
)  # fmt: skip
def test_nobody_is_overdue_in_the_moment_of_being_resumed(
    spec, conditions, workload_conditions, has_waited
):
    def listed(found):
        return [{"type": t, "status": s, "reason": r, "lastTransitionTime": STAMP}
                for t, s, r in found]  # fmt: skip

    workloads = None
    if workload_conditions is not None:
        status = {"conditions": listed(workload_conditions)}
        workloads = {"j": {"metadata": {}, "spec": {"active": True}, "status": status}}
    body = body_of(spec=spec, status={"conditions": listed(conditions)})
    seen = stand([job(body, portfolio_uid=UID)], Surroundings(workloads=workloads))
    portfolio = make_portfolio(training={"pendingDeadlineSeconds": 600})
    (found,) = with_deadlines(portfolio, Observed(jobs=seen), now=NOW + WEEK).jobs
    assert (found.overdue_after == 600) is has_waited


def begun(**spec) -> World:
    """A world whose first Jobs were made and wait for a place."""
    world = World(body=portfolio_body(**spec))
    world.step()
    for made in world.jobs.values():
        made["status"] = {"active": 1}
    return world


def hinder(world, found: Hindrance) -> None:
    uids = [world.jobs[name]["metadata"]["uid"] for name in world.unfinished]
    world.around = Surroundings(pods=[JobPod(uid, NOW, hindrance=found) for uid in uids])


def conditions(world):
    return {c["type"]: c for c in world.body["status"]["conditions"]}


def test_where_every_job_waits_the_reason_is_theirs():
    world = begun()
    hinder(world, Hindrance("Unschedulable", "0/3 nodes are available"))
    world.step()
    said = conditions(world)
    for kind, status in (("Trained", "False"), ("Progressing", "True"), ("Reconciling", "True")):
        assert (said[kind]["status"], said[kind]["reason"]) == (status, "Unschedulable")
    for part in ("0/3 nodes are available", "base policy", "spec.evaluation.template"):
        assert part in said["Trained"]["message"]
    assert "Stalled" not in said


def test_what_only_a_person_can_change_is_stalled():
    world = begun()
    hinder(world, Hindrance("ExceedsMaxQuota", "request 5 > maximum capacity 1", is_final=True))
    world.step()
    said = conditions(world)
    assert said["Stalled"]["reason"] == "ExceedsMaxQuota"
    assert "Reconciling" not in said
    assert "lower the resources" in said["Stalled"]["message"].lower()


def test_another_image_replaces_a_job_that_never_ran():
    world = begun()
    hinder(world, Hindrance("ImageUnavailable", "image 'x'", is_final=True))
    (name,) = world.jobs
    assert world.step().deletes == ()
    world.body["spec"]["evaluation"] = {"template": {"image": "right:1"}}
    assert [j.name for j in world.step().deletes] == [name]
    world.around = Surroundings()
    (made,) = world.step().creates
    assert made["metadata"]["name"] == name
    assert made["spec"]["template"]["spec"]["containers"][0]["image"] == "right:1"


def test_a_job_that_waits_longer_than_it_may_has_failed_and_still_goes_on_when_it_can():
    world = begun(training={"pendingDeadlineSeconds": 600})
    (name,) = world.jobs
    hinder(world, Hindrance("WaitingForQuota", "insufficient unused quota"))
    plan = world.step()
    assert 0 < plan.again_in <= 60
    assert "Stalled" not in conditions(world)
    made = NOW + timedelta(minutes=1)  # the end of the step that made it
    world.now = made + timedelta(seconds=599)
    assert world.planned().again_in == pytest.approx(1.0)
    world.now = made + timedelta(seconds=601)
    world.step()
    said = conditions(world)
    assert said["Stalled"]["reason"] == "EvaluationNeverStarted"
    for part in ("pendingDeadlineSeconds (600 s)", "insufficient unused quota", "by itself"):
        assert part in said["Stalled"]["message"]
    assert name in world.jobs
    world.jobs[name]["status"] = {"active": 1, "ready": 1}
    world.around = Surroundings()
    world.step()
    assert "Stalled" not in conditions(world)


def test_looks_at_waiting_jobs_get_rarer():
    world = begun()
    hinder(world, Hindrance("Unschedulable", "no"))
    looks = []
    for seconds in (0, 20, 60, 600, 6000):
        world.now = NOW + timedelta(seconds=seconds)
        looks.append(world.planned().again_in)
    assert looks == sorted(looks)
    assert looks[0] >= 3
    assert looks[-1] == 60


class TestRefusedJobs:
    """The API server does not take a Job: quota, a webhook that is down, a template it refuses."""

    QUOTA = Refusal("QuotaExceeded", "exceeded quota: q", "raise the ResourceQuota")

    def refused(self, why: Refusal) -> World:
        world = World(body=portfolio_body())
        (job,) = world.planned().creates
        world.job_refusals = {job["metadata"]["name"]: why}
        world.step()
        return world

    def test_it_is_wanted_still_and_said_with_what_to_do(self):
        world = self.refused(self.QUOTA)
        said = conditions(world)
        for kind, status in (("Trained", "False"), ("Progressing", "True"),
                             ("Reconciling", "True")):  # fmt: skip
            assert (said[kind]["status"], said[kind]["reason"]) == (status, "QuotaExceeded")
        message = said["Trained"]["message"]
        for part in ("base policy", "exceeded quota: q", "tried again", "Raise the ResourceQuota"):
            assert part in message
        assert len(world.planned().creates) == 1
        world.job_refusals = {}
        world.run()
        assert conditions(world)["Ready"]["status"] == "True"

    def test_what_to_do_is_said_however_much_a_webhook_says(self):
        world = self.refused(Refusal("AdmissionDenied", "x" * 40_000, "satisfy that policy"))
        message = conditions(world)["Trained"]["message"]
        assert message.endswith("Satisfy that policy")
        assert len(message) < 1000

    def test_a_second_pass_says_nothing_new(self):
        world = self.refused(self.QUOTA)
        plan = world.planned()
        assert plan.status == world.portfolio.status
        assert plan.events == ()

    def test_one_that_would_be_refused_for_ever_is_stalled(self):
        world = self.refused(replace(self.QUOTA, reason="JobInvalid", is_final=True))
        assert conditions(world)["Stalled"]["reason"] == "JobInvalid"
