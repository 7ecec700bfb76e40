"""What the Portfolio says and does while its policies are put into service."""

import pytest

from builders import World, portfolio_body
from palm_operator import names
from palm_operator.api.portfolio import parse_portfolio
from palm_operator.serving.inference_services import as_it_runs, inference_service


@pytest.fixture
def served() -> World:
    """A Portfolio all of whose policies are served."""
    made = World(body=portfolio_body())
    made.run()
    assert made.condition("Published")["status"] == "True"
    return made


def refreshed(made: World) -> set[str]:
    """Train another revision and publish it; the names of the services before."""
    before = set(made.services)
    made.body["spec"]["training"] = {"seed": 7, "parallelism": 9}
    for _ in range(20):
        made.step()
        for name in made.unfinished:
            made.finish(name)
        if set(made.services) != before:
            return before
    raise AssertionError("nothing was published")


def policies(made: World) -> dict[str, dict]:
    return {p["service"]: p for p in made.body["status"]["portfolio"]["policies"]}


def published(made: World) -> dict:
    made.step()
    return made.condition("Published")


def blocked(made: World, name: str, transition: str, **failure) -> None:
    made.services[name]["status"] = {
        "conditions": [{"type": "Ready", "status": "False"}],
        "modelStatus": {"transitionStatus": transition, "lastFailureInfo": failure},
    }
    made.pods[name] = []


def test_published_needs_an_answer_from_every_policy(served):
    silent = next(iter(served.services))
    served.silent = {silent}
    said = published(served)
    assert (said["status"], said["reason"]) == ("False", "NotAnswering")
    policy = policies(served)[silent]
    assert policy["name"] in said["message"]
    assert "asked again" in said["message"]
    assert policy["ready"] is False
    ready = served.condition("Ready")
    assert (ready["status"], f"{policy['name']}: " in ready["message"]) == ("False", True)


def test_a_policy_without_a_runtime_is_named_with_its_weights_and_stalls(served):
    name = next(iter(served.services))
    blocked(served, name, "InvalidSpec", reason="NoSupportingRuntime", message="No runtime found")
    said = published(served)
    assert (said["status"], said["reason"]) == ("False", "NoSupportingRuntime")
    annotations = served.services[name]["metadata"]["annotations"]
    assert annotations[names.ANNOTATION_WEIGHTS] in said["message"]
    assert f"kubectl describe inferenceservice {name}" in said["message"]
    assert served.condition("Stalled")["reason"] == "NoSupportingRuntime"


def test_a_model_that_cannot_be_loaded_is_tried_again_and_does_not_stall(served):
    name = next(iter(served.services))
    blocked(served, name, "BlockedByFailedLoad", message="s3://b/m: nothing there", exitCode=1)
    said = published(served)
    assert said["reason"] == "ModelLoadFailed"
    assert "exit code 1: s3://b/m: nothing there" in said["message"]
    assert f"kubectl logs deployment/{name}-predictor" in said["message"]
    assert served.condition("Reconciling")["status"] == "True"


def test_a_refused_service_is_named_and_the_last_good_portfolio_serves(served):
    before = refreshed(served)
    served.step()
    made = next(iter(set(served.services) - before))
    served.refusals = {made: "failed calling webhook: connection refused"}
    said = published(served)
    assert (said["status"], said["reason"]) == ("False", "Refused")
    assert "connection refused; it is applied again" in said["message"]
    old = served.body["status"]["portfolio"]["revision"]
    assert f"the portfolio of revision {old} keeps serving" in said["message"]
    assert served.condition("Ready")["status"] == "True"
    assert before <= set(served.services)


def test_a_failing_refresh_keeps_the_last_good_portfolio(served):
    before = refreshed(served)
    served.serve()
    failing = next(iter(set(served.services) - before))
    blocked(served, failing, "BlockedByFailedLoad", message="crash")
    said = published(served)
    assert said["status"] == "False"
    assert "keeps serving" in said["message"]
    assert served.condition("Ready")["status"] == "True"
    assert set(policies(served)) == before
    served.serve()
    assert published(served)["status"] == "True"
    assert set(policies(served)) == set(served.services) - before


def test_a_changed_server_counts_as_served_until_its_successor_answers(served):
    served.body["spec"]["serving"] = {"template": {"image": "other:2"}}
    assert len(served.step().applies) == len(served.services)
    said = published(served)  # the Pods are still those of before
    assert (said["status"], said["reason"]) == ("False", "WaitingForKServe")
    assert "served as they were before" in said["message"]
    assert served.condition("Ready")["status"] == "True"
    served.serve()
    assert published(served)["status"] == "True"


def test_a_revision_that_leaves_a_policy_as_it_is_leaves_its_service_alone(served):
    body = served.body["spec"]
    body["search"] = {"maxOracleCalls": 5}
    body["evaluation"] = {"samplesPerPrompt": 8}  # another revision, the same policies
    before = {n: s["metadata"]["labels"] for n, s in served.services.items()}
    made = set(served.created)
    for _ in range(4):
        served.run()
    assert set(served.created) > made
    assert {n: s["metadata"]["labels"] for n, s in served.services.items()} == before
    assert served.body["status"]["portfolio"]["revision"] not in {
        labels[names.LABEL_REVISION] for labels in before.values()
    }


def test_content_changes_with_what_pods_are_made_of_and_with_nothing_else(served):
    work, portfolio = served.work, served.portfolio
    first, second, *_ = work.policies
    of = lambda p, policy=first: inference_service(p, work, policy)["metadata"]["labels"][  # noqa: E731
        names.LABEL_CONTENT
    ]
    base = of(portfolio)
    assert of(portfolio, second) != base
    for serving in (
        {"minReplicas": 2},
        {"strategy": "Recreate"},
        {"runtime": "mine"},
        {"template": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}},
        {"template": {"envFromSecrets": ["hub"]}},
        {"template": {"labels": {"team": "a"}}},
    ):
        assert of(parse_portfolio(portfolio_body(serving=serving))) != base
    assert of(parse_portfolio(portfolio_body(serving={"maxPolicies": 3}))) == base
    assert of(parse_portfolio(portfolio_body(pruning={"mu": "0.2"}))) == base


def test_a_service_keeps_the_revision_that_put_it_into_service(served):
    manifest = inference_service(served.portfolio, served.work, served.work.policies[0])
    live = {"metadata": {"labels": {**manifest["metadata"]["labels"],
                                    names.LABEL_REVISION: "0ld"}}}  # fmt: skip
    assert as_it_runs(manifest, live)["metadata"]["labels"][names.LABEL_REVISION] == "0ld"
    live["metadata"]["labels"][names.LABEL_CONTENT] = "other"
    assert as_it_runs(manifest, live) == manifest
    assert as_it_runs(manifest, None) == manifest


def test_an_auditor_finds_portfolio_revision_policy_weights_and_digest(served):
    for name, body in served.services.items():
        labels, annotations = body["metadata"]["labels"], body["metadata"]["annotations"]
        policy = next(p for p in served.work.policies if p.name == labels[names.LABEL_POLICY])
        assert name.endswith(policy.name)
        assert labels[names.LABEL_PORTFOLIO] == "assistant"
        assert labels[names.LABEL_REVISION] == served.work.revision
        assert annotations[names.ANNOTATION_POLICY_DIGEST] == policy.digest
        assert annotations[names.ANNOTATION_EVALUATION_DIGEST] == policy.evaluation_digest
        assert annotations[names.ANNOTATION_WEIGHTS]


def test_scale_to_zero_is_knatives(served):
    body = portfolio_body(serving={"deploymentMode": "Knative", "minReplicas": 0})
    made = inference_service(parse_portfolio(body), served.work, served.work.policies[0])
    predictor = made["spec"]["predictor"]
    assert predictor["minReplicas"] == 0
    assert "deploymentStrategy" not in predictor
    mode = made["metadata"]["annotations"]["serving.kserve.io/deploymentMode"]
    assert mode == "Knative"


@pytest.mark.parametrize(
    ("uri", "kserve"),
    [
        ("hf://org/model@abc", "hf://org/model:abc"),
        ("s3://b/model", "s3://b/model/"),
        ("s3://b/model/", "s3://b/model/"),
    ],
)
def test_a_base_model_is_named_as_kserve_reads_it(uri, kserve):
    made = World(body=portfolio_body(baseModel={"uri": uri}))
    made.run()
    service = next(iter(made.services.values()))
    assert service["spec"]["predictor"]["storageUris"][0]["uri"] == kserve
