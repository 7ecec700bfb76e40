"""What is said of Jobs that do not run yet, and of Jobs that were not taken. Pure."""

from collections.abc import Mapping, Sequence

from palm_operator.calls.tasks import State, Task
from palm_operator.jobs.job_pods import Hindrance
from palm_operator.refusals import NO_JOB_SETS, Refusal, refusal
from palm_operator.said.status import FOREIGN_LIMIT, Said, shortened

_TEXTS = {
    "Unschedulable": "no node takes its Pod: {}",
    "ImageUnavailable": "{}",
    "ContainerNotCreated": "its container cannot be made: {}",
    "WaitingForQuota": "Kueue: {}",
    "ExceedsMaxQuota": "it can never be admitted by Kueue: {}",
    "Misconfigured": "Kueue cannot admit it: {}",
}
_REMEDIES = {
    "Unschedulable": "add a node that fits, or change resources, nodeSelector or tolerations of "
    "spec.{section}.template",
    "ImageUnavailable": "correct spec.{section}.template.image, or give its imagePullSecrets",
    "ContainerNotCreated": "make the Secret or ConfigMap that is named, or correct the name in the "
    "spec",
    "ExceedsMaxQuota": "lower the resources of spec.{section}.template, or raise the quota of the "
    "ClusterQueue",
    "Misconfigured": "make the LocalQueue and ClusterQueue, or correct spec.training.queueName",
    "QueueNotWatched": "see that Kueue's controller runs and manages this namespace",
    "JobSetNotWatched": "see that JobSet's controller runs (namespace jobset-system)",
    "NoMatchingFlavor": "change nodeSelector or tolerations of spec.{section}.template, or the "
    "ClusterQueue's flavors",
    "Deactivated": "set spec.active of its Workload, or delete the Job to queue it anew",
    "Rejected": "see that admission check",
}


def hindrance_text(hindrance: Hindrance) -> str:
    """Return what keeps a Job from running, for people."""
    if hindrance.reason in _TEXTS:
        return _TEXTS[hindrance.reason].format(hindrance.message)
    return hindrance.message


def remedy(hindrance: Hindrance | None, section: str) -> str:
    """Return what a person can do about it; empty where waiting is all there is to do."""
    if hindrance is None:
        return ""
    known = _REMEDIES.get(hindrance.reason)
    if known is None and hindrance.reason not in ("WaitingForQuota", "Suspended"):
        found = refusal(None, hindrance.message)
        known = found.remedy if found.reason == hindrance.reason else None
    return known.format(section=section) if known else ""


def held_up_said(tasks: Sequence[Task]) -> Said | None:
    """Return what is said of the first Job that only a person can bring to run; None: none."""
    held = [t for t in _waiting(tasks) if t.job is not None and t.job.is_held_up]
    return _waits(held) if held else None


def waiting_said(tasks: Sequence[Task]) -> Said | None:
    """Return what is said where every Job that is under way waits; None where one runs."""
    under_way = [t for t in tasks if t.state is State.RUNNING]
    waiting = _waiting(tasks)
    return _waits(waiting) if waiting and len(waiting) == len(under_way) else None


def waiting_text(tasks: Sequence[Task]) -> str:
    """Return a clause on the Jobs that wait, for where others run; empty where none waits."""
    waiting = _waiting(tasks)
    if not waiting:
        return ""
    first = waiting[0].job
    why = hindrance_text(first.hindrance) if first and first.hindrance else ""
    return f"; {len(waiting)} of them wait to run ({why})"


def refused_said(tasks: Sequence[Task], refusals: Mapping[str, Refusal]) -> Said | None:
    """Return what is said where the API server does not take Jobs just now; None: it does."""
    refused = [t for t in tasks if t.name in refusals and t.state is State.STARTABLE]
    if not refused:
        return None
    first = refused[0]
    why = refusals[first.name]
    more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
    happens = (
        "It is tried again every two minutes"
        if why is NO_JOB_SETS
        else "It would be refused for ever"
        if why.is_final
        else "It is tried again with growing pauses, at most two minutes, and when a Job ends; "
        "what runs goes on"
    )
    said, do = (
        shortened(why.message.rstrip("."), FOREIGN_LIMIT),
        f"{why.remedy[:1].upper()}{why.remedy[1:]}",
    )
    return Said(
        "False",
        why.reason,
        f"{first.kind} {first.name} for the {first.what} of {first.whose}{more} was refused by the "
        f"API server: {said}. {happens}. {do}",
    )


def _waiting(tasks: Sequence[Task]) -> list[Task]:
    return [t for t in tasks if t.state is State.RUNNING and t.job and t.job.hindrance]


def _waits(waiting: Sequence[Task]) -> Said:
    task = waiting[0]
    job, hindrance = task.job, task.job.hindrance if task.job else None
    if job is None or hindrance is None:
        raise ValueError(f"the {task.what} of {task.subject} does not wait")
    more = f"; {len(waiting) - 1} more wait to run" if len(waiting) > 1 else ""
    do = remedy(hindrance, task.section)
    advice = f". {do[:1].upper()}{do[1:]}" if do else "; it runs as soon as it can"
    if "template" in do:
        advice += f": a changed template replaces a {job.kind} that has not run"
    return Said(
        "False",
        hindrance.reason,
        f"{job.kind} {job.name} for the {task.what} of {task.whose} does not run yet: "
        f"{hindrance_text(hindrance)}{advice}{more}",
    )
