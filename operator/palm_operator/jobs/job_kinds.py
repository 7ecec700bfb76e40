"""What an oracle call is run by: a Job, or a JobSet where several nodes train one policy. Pure."""

from typing import Literal

from palm_operator import names
from palm_operator.api.portfolio import Portfolio
from palm_operator.names import Step

JobKind = Literal["Job", "JobSet"]


def nodes_of(portfolio: Portfolio, step: Step) -> int:
    """Return on how many nodes a step runs; an evaluation always on one."""
    return portfolio.spec.training.nodes if step is Step.TRAIN else 1


def kind_of(portfolio: Portfolio, step: Step) -> JobKind:
    """Return the kind of object that runs a step."""
    return "JobSet" if nodes_of(portfolio, step) > 1 else "Job"


def name_of(portfolio: Portfolio, step: Step, policy: str, attempt: int = 1) -> str:
    """Return the name of the object that runs a step for a policy."""
    is_set = kind_of(portfolio, step) == "JobSet"
    limit = names.JOB_SET_NAME_LIMIT if is_set else names.JOB_NAME_LIMIT
    return names.job_name(portfolio.metadata.name, step, policy, attempt, limit=limit)


def logs_command(kind: JobKind, name: str) -> str:
    """Return what shows the logs of a Job, or of all nodes of a JobSet."""
    if kind == "Job":
        return f"kubectl logs job/{name}"
    return f"kubectl logs --prefix -l {names.LABEL_JOB_SET}={name}"
