"""Whether what a portfolio is decided from was all made of the same contents. Pure.

Digests are of what the spec names, not of what lies behind it: an object of S3 may be replaced, and
a branch of a repository moves on. Every result says what its evaluation, and the training before
it, read; policies that were judged on different prompts cannot be compared.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from palm.evaluations import MadeFrom, PolicyResult
from palm_operator.api.portfolio import PortfolioSpec

_SHOWN, _DIGITS = 3, 12


@dataclass(frozen=True)
class Named:
    """A result, whose it is (for people), and its key in S3."""

    whose: str
    key: str
    result: PolicyResult


@dataclass(frozen=True)
class _Reading:
    """What one evaluation or training found behind one name."""

    what: str
    sha256: str
    by: str
    key: str
    """Of the result that says so."""


def unequal_inputs(spec: PortfolioSpec, results: Iterable[Named]) -> str | None:
    """Say which input had different contents, and for whom; None where none had.

    Args:
        spec: What the inputs are named in.
        results: What is compared.
    """
    found: dict[str, dict[str, list[_Reading]]] = {}
    for named in results:
        for reading in _of_result(spec, named):
            found.setdefault(reading.what, {}).setdefault(reading.sha256, []).append(reading)
    for what, contents in found.items():
        if len(contents) > 1:
            return _sentence(what, contents)
    return None


def _of_result(spec: PortfolioSpec, named: Named) -> Iterator[_Reading]:
    provenance = named.result.provenance
    if provenance is None:  # of an image that did not say
        return
    yield from _of(spec, provenance, spec.prompts.evaluation.uri, "evaluation", named)
    if provenance.training is not None:
        yield from _of(spec, provenance.training, spec.prompts.train.uri, "training", named)


def _of(
    spec: PortfolioSpec, made: MadeFrom, prompts: str, step: str, named: Named
) -> Iterator[_Reading]:
    """Yield what was read, under the names that the spec has for it: results are tenants' data."""
    by, key = f"the {step} of {named.whose}", named.key
    yield _Reading(f"the base model {spec.base_model.uri}", made.base_model.sha256, by, key)
    # Their limits differ: the same file is not the same prompts.
    yield _Reading(f"the {step} prompts {prompts}", made.prompts.sha256, by, key)
    models = {reward.name: reward.model.uri for reward in spec.rewards if reward.model}
    for reward in made.rewards:
        if reward.source is not None and reward.name in models:
            what = f"the reward model {models[reward.name]} of {reward.name!r}"
            yield _Reading(what, reward.source.sha256, by, key)


def _sentence(what: str, contents: dict[str, list[_Reading]]) -> str:
    """Return the complaint, with what is to be made again where most are right."""
    groups = sorted(contents.items(), key=lambda item: -len(item[1]))
    shown = "; ".join(
        f"SHA-256 {sha256[:_DIGITS]}… for {_listed([reading.by for reading in readings])}"
        for sha256, readings in groups[:_SHOWN]
    )
    odd = list(dict.fromkeys(reading.key for _, readings in groups[1:] for reading in readings))
    return (
        f"{what} had different contents: {shown}. What was made of different contents cannot be "
        "compared, so no Job is started and nothing new is published; what serves goes on. Give "
        "the changed content a URI of its own; or put the first of these contents back and "
        f"delete what was made of another: {_listed(odd)} below the storage prefix, for a "
        "training the whole folder of its policy"
    )


def _listed(items: list[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more
