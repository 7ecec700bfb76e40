"""Several nodes that train one policy: the Job of one node, spread as a JobSet. Pure.

One ReplicatedJob of one indexed Job, whose Pods are the nodes. The others of a training cannot go
on without one: no Pod is made anew alone, the whole set is, and goes on from its last checkpoint.
What is retried and what is not is the contract of the single Job; JobSet v0.12 reads it from the
Job's own words (``pkg/controllers/failure_policy.go``).
"""

from copy import deepcopy
from typing import Any, Literal

from palm.exit_codes import NOT_RETRIED, ExitCode
from palm.nodes import MAIN_ADDRESS_VARIABLE, MAIN_PORT

API_VERSION = "jobset.x-k8s.io/v1alpha2"
KIND: Literal["JobSet"] = "JobSet"
REPLICATED_JOB = "n"
"""Short: it is part of every Pod's name."""

_DISRUPTED, _INTERRUPTED, _HOPELESS = range(3)
"""Positions of the rules of the Pod failure policy; a failed Job names its rule by them."""


def job_set(job: dict[str, Any], nodes: int) -> dict[str, Any]:
    """Return the JobSet that runs a Job's Pod on several nodes.

    Args:
        job: A Job of one Pod, as the API server would take it.
        nodes: How many Pods, at least 2.
    """
    metadata, spec = job["metadata"], deepcopy(job["spec"])
    retries, pod = spec.pop("backoffLimit"), spec["template"]["spec"]
    (container,) = pod["containers"]
    address = {"name": MAIN_ADDRESS_VARIABLE, "value": main_address(metadata["name"])}
    container["env"] = [v for v in container["env"] if v["name"] != address["name"]] + [address]
    spec |= {
        "completionMode": "Indexed",
        "completions": nodes,
        "parallelism": nodes,
        "backoffLimit": 0,
        "podFailurePolicy": _pod_failure_policy(container["name"]),
    }
    # The labels of the set and of its Pods are not those of the Job between them: whoever lists a
    # Portfolio's Jobs by label means those that the Portfolio controls.
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": metadata,
        "spec": {
            "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
            "failurePolicy": _failure_policy(retries),
            "replicatedJobs": [
                {"name": REPLICATED_JOB, "replicas": 1, "template": {"spec": spec}},
            ],
        },
    }


def main_address(name: str) -> str:
    """Return host and port where the first of a JobSet's nodes is met, inside its namespace."""
    return f"{name}-{REPLICATED_JOB}-0-0.{name}:{MAIN_PORT}"


def _pod_failure_policy(container: str) -> dict[str, Any]:
    def codes(*values: int) -> dict[str, Any]:
        return {"containerName": container, "operator": "In", "values": sorted(map(int, values))}

    disrupted = [{"type": "DisruptionTarget", "status": "True"}]
    return {
        "rules": [
            {"action": "FailJob", "onPodConditions": disrupted},
            # The nodes that were not taken away end like this, with a checkpoint, when one is.
            {"action": "FailJob", "onExitCodes": codes(ExitCode.INTERRUPTED)},
            {"action": "FailJob", "onExitCodes": codes(*NOT_RETRIED)},
        ]
    }


def _failure_policy(retries: int) -> dict[str, Any]:
    def rule(name: str, action: str, reason: str, *positions: int) -> dict[str, Any]:
        patterns = [f"rule at index {position}$" for position in positions]
        message = {"onJobFailureMessagePatterns": patterns} if patterns else {}
        return {"name": name, "action": action, "onJobFailureReasons": [reason], **message}

    again, policy = "RestartJobSetAndIgnoreMaxRestarts", "PodFailurePolicy"
    return {
        "maxRestarts": retries,
        "restartStrategy": "Recreate",
        "rules": [
            # First: a JobSet that is too old for patterns drops them, and would restart for ever.
            rule("hopeless", "FailJobSet", policy, _HOPELESS),
            rule("takenAway", again, policy, _DISRUPTED, _INTERRUPTED),
            rule("tooLong", "FailJobSet", "DeadlineExceeded"),
        ],
    }
