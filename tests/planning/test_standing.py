"""When a policy is served: from an InferenceService, its Pods and an answer, nothing else."""

from copy import deepcopy
from typing import Any

import pytest

from palm_operator import names
from palm_operator.serving.observed_services import service_url
from palm_operator.serving.server_pods import ServerPod, server_pod
from palm_operator.serving.standing import Answer, question, standing

URL = "http://a-w0-predictor.ml.svc.cluster.local"
READY: dict[str, Any] = {
    "conditions": [
        {"type": "PredictorReady", "status": "True"},
        {"type": "Ready", "status": "True"},
    ],
    "modelStatus": {"transitionStatus": "UpToDate"},
    "address": {"url": URL},
}
NEW, OLD = "c0ffee", "0ldc0de"


def service(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "a-w0",
            "namespace": "ml",
            "labels": {names.LABEL_POLICY: "w0", names.LABEL_CONTENT: NEW},
        },
        "spec": {"predictor": {"minReplicas": 1}},
        "status": {**deepcopy(READY), **status},
    }


def pod(content: str = NEW, **more: Any) -> ServerPod:
    return ServerPod(more.pop("uid", content), "a-w0", content, **{"ready": True, **more})


def judged(body: dict[str, Any], *pods: ServerPod, good: bool | None = True) -> Any:
    asked = question(body, pods, url=URL)
    answer = None if asked is None or good is None else Answer(asked, good, "it is silent")
    return standing(body, pods, answer, url=URL)


def conditions(**said: str) -> list[dict[str, str]]:
    return [{"type": kind, "status": status} for kind, status in said.items()]


def test_ready_up_to_date_current_and_answering_is_serving():
    found = judged(service(), pod())
    assert (found.state, found.answers) == ("Serving", True)


def test_the_generation_that_kserve_reports_is_not_believed():
    """It is the Deployment's counter (kserve#6081)."""
    body = service(observedGeneration=1)
    body["metadata"]["generation"] = 7
    assert judged(body, pod()).state == "Serving"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"conditions": []}, "NotSeen"),
        ({"conditions": conditions(PredictorReady="False", Ready="False")}, "NotReady"),
        ({"conditions": conditions(PredictorReady="Unknown", Ready="Unknown")}, "NotReady"),
        ({"modelStatus": {"transitionStatus": "InProgress"}}, "ModelNotUpToDate"),
        ({"modelStatus": {}}, "ModelNotUpToDate"),
    ],
)
def test_what_is_not_finished_is_starting(status, reason):
    found = judged(service(**status), pod())
    assert (found.state, found.reason) == ("Starting", reason)


def test_ready_pods_of_an_older_content_answer_but_are_not_what_is_asked_for():
    found = judged(service(), pod(OLD))
    assert (found.state, found.reason, found.answers) == ("Starting", "PodsNotCurrent", True)


def test_new_pods_that_crash_are_seen_although_kserve_says_ready():
    """kserve#1859: Available is True as long as the old Pod runs."""
    crashing = pod(ready=False, trouble="container x ended with exit code 1: no memory")
    found = judged(service(), pod(OLD), crashing)
    assert (found.state, found.reason, found.answers) == ("Failing", "PodFailing", True)
    assert "no memory" in found.message


def test_trouble_of_older_pods_is_no_trouble():
    assert judged(service(), pod(), pod(OLD, ready=False, trouble="old")).state == "Serving"


def test_ready_without_an_answer_is_not_yet_serving_and_a_bad_answer_is_failing():
    asked = judged(service(), pod(), good=None)
    assert (asked.state, asked.reason, asked.answers) == ("Starting", "Asking", False)
    silent = judged(service(), pod(), good=False)
    assert (silent.state, silent.reason, silent.answers) == ("Failing", "NotAnswering", False)


def test_a_restarted_pod_must_answer_again_and_counts_as_answering_meanwhile():
    before = question(service(), [pod()], url=URL)
    assert before is not None
    after = [pod(restarts=1)]
    assert question(service(), after, url=URL) != before
    found = standing(service(), after, Answer(before, True), url=URL)
    assert (found.state, found.reason, found.answers) == ("Starting", "Asking", True)


def test_nothing_is_asked_where_nothing_could_answer():
    body = service(conditions=conditions(Ready="False"))
    assert question(body, [pod(ready=False)], url=URL) is None
    assert question(service(), [pod()], url=None) is None
    assert judged(body, pod(ready=False)).answers is False


def test_what_answers_counts_as_answering_while_kserve_hesitates():
    """kserve#5443: Ready is Unknown in the middle of a rollout."""
    found = judged(service(conditions=conditions(PredictorReady="Unknown", Ready="Unknown")), pod())
    assert (found.state, found.reason, found.answers) == ("Starting", "NotReady", True)


def test_a_pod_that_no_node_takes_is_told():
    unschedulable = {
        "metadata": {"uid": "u", "labels": {names.LABEL_CONTENT: NEW}},
        "status": {
            "conditions": [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "Unschedulable",
                    "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
                }
            ]
        },
    }
    body = service(conditions=conditions(Ready="False"))
    found = judged(body, server_pod(unschedulable))
    assert (found.state, found.reason) == ("Failing", "PodFailing")
    assert "Insufficient nvidia.com/gpu" in found.message


@pytest.mark.parametrize(
    ("model", "state", "reason", "told"),
    [
        (
            {
                "transitionStatus": "InvalidSpec",
                "lastFailureInfo": {"reason": "NoSupportingRuntime", "message": "No runtime found"},
            },
            "Stuck",
            "NoSupportingRuntime",
            "No runtime found",
        ),
        (
            {
                "transitionStatus": "BlockedByFailedLoad",
                "lastFailureInfo": {
                    "reason": "ModelLoadFailed",
                    "message": "Traceback\n  x\nthere is nothing at s3://b/m\n",
                    "exitCode": 1,
                },
            },
            "Failing",
            "ModelLoadFailed",
            "exit code 1: there is nothing at s3://b/m",
        ),
        (
            {"transitionStatus": "BlockedByFailedLoad", "lastFailureInfo": {"reason": "a b\n"}},
            "Failing",
            "ModelLoadFailed",
            "no message",
        ),
    ],
)
def test_what_kserve_says_of_a_failed_model_is_passed_on(model, state, reason, told):
    body = service(conditions=conditions(Ready="False"), modelStatus=model)
    found = judged(body)
    assert (found.state, found.reason) == (state, reason)
    assert told in found.message


def test_an_old_failure_is_not_held_against_a_model_that_is_up_to_date():
    model = {"transitionStatus": "UpToDate", "lastFailureInfo": {"reason": "ModelLoadFailed"}}
    assert judged(service(modelStatus=model), pod()).state == "Serving"


def test_a_refused_pod_is_told_with_its_reason():
    failed = {"type": "PredictorReady", "status": "False", "reason": "FailedCreate",
              "message": "pods x is forbidden: exceeded quota"}  # fmt: skip
    body = service(conditions=[failed, *conditions(Ready="False")])
    found = judged(body)
    assert found.state == "Failing"
    assert "exceeded quota" in found.message


def test_scaled_to_none_needs_no_pod_but_an_answer():
    body = service()
    body["spec"]["predictor"]["minReplicas"] = 0
    assert judged(body, good=None).state == "Starting"
    assert judged(body).state == "Serving"


def test_a_pod_is_read_with_its_restarts_and_what_troubles_it():
    body = {
        "metadata": {
            "uid": "u",
            "labels": {names.LABEL_INFERENCE_SERVICE: "a-w0", names.LABEL_CONTENT: NEW},
        },
        "status": {
            "conditions": [{"type": "Ready", "status": "False"}],
            "initContainerStatuses": [
                {
                    "name": "storage-initializer",
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                    "lastState": {"terminated": {"exitCode": 1, "message": "a\nno such bucket\n"}},
                }
            ],
            "containerStatuses": [{"name": "x", "restartCount": 2, "state": {"running": {}}}],
        },
    }
    found = server_pod(body)
    assert (found.service, found.content, found.ready, found.restarts) == ("a-w0", NEW, False, 2)
    trouble = "container storage-initializer ended with exit code 1: no such bucket"
    assert found.trouble == trouble
    # In the middle of its next attempt the trouble is the same; once it is ready there is none.
    init = body["status"]["initContainerStatuses"][0]
    init["state"] = {"running": {}}
    assert server_pod(body).trouble == trouble
    init["ready"] = True
    assert server_pod(body).trouble == ""


def test_an_image_that_cannot_be_pulled_is_told():
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    body = {
        "metadata": {"uid": "u"},
        "status": {"containerStatuses": [{"name": "x", "state": {"waiting": waiting}}]},
    }
    assert server_pod(body).trouble == "container x: ImagePullBackOff: no such image"


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (URL, URL),
        (f"{URL}:8080/", f"{URL}:8080"),
        ("http://a-w0.ml.svc.cluster.local", "http://a-w0.ml.svc.cluster.local"),
        ("http://169.254.169.254/latest", None),
        ("http://a-w0-predictor.other.svc.cluster.local", None),
        ("http://a-w0-predictor.ml.svc.evil@169.254.169.254/", None),
        ("http://a-w0-predictor.ml.svcevil.example", None),
        (None, None),
    ],
)
def test_only_the_services_own_address_is_called(address, url):
    """Whoever may write an InferenceService's status could name any other."""
    assert service_url(service(address={"url": address}), "") == url


def test_a_template_says_where_users_go():
    template = "https://llm.example/{namespace}/{name}/"
    assert service_url(service(), template) == "https://llm.example/ml/a-w0"
