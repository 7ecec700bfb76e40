"""What policies say to the same prompts, side by side (the paper's Table 2). Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import ConfigDict, Field, ValidationError

from palm import artifacts
from palm.contract import BASE_POLICY, EvaluationSettings, Model, PromptSource
from palm.evaluations import SamplesFile, ShownResponse
from palm.policies import evaluation_digest
from palm_cli.failures import InvalidInput
from palm_cli.inputs import shown_name
from palm_operator.api.rewards import Reward
from palm_operator.deciding.manifest_file import Evaluated, ManifestFile, parsed_manifest

MAX_BYTES = 1 << 20
"""Largest samples file that is read; the evaluator writes less than half of it."""
MOST_POLICIES = 100
_KNOWN_SHOWN = 20


class _Part(Model):
    model_config = ConfigDict(extra="ignore")


class _Prompts(_Part):
    evaluation: PromptSource


class _Judged(_Part):
    """What the base policy was evaluated on, and with."""

    base_model: str
    prompts: _Prompts
    rewards: tuple[Reward, ...]
    evaluation: EvaluationSettings


class _Inputs(_Part):
    inputs: _Judged


class _Mixtures(_Part):
    policies: tuple[Evaluated, ...] = Field(max_length=10_000)


class _Mixed(_Part):
    oracle: _Mixtures | None = None


@dataclass(frozen=True)
class Sampled:
    """A policy that was evaluated.

    Attributes:
        name: Of the policy.
        weights: Its weight vector; empty: it is the base policy.
        digest: Of the policy; None: it is the base policy.
        evaluation_digest: Of its evaluation; None: the manifest does not say enough to know it.
        usage: Share of preferences that it serves; None: it is not in the portfolio.
    """

    name: str
    weights: tuple[float, ...]
    digest: str | None
    evaluation_digest: str | None
    usage: float | None = None

    @property
    def key(self) -> str | None:
        """Return the key of its samples, below the storage's prefix."""
        if self.evaluation_digest is None:
            return None
        return artifacts.evaluation_samples(self.digest, self.evaluation_digest)


@dataclass(frozen=True)
class Column:
    """What one policy said.

    Attributes:
        policy: Which.
        rewards: Names, in the order of each response's rewards.
        responses: The first response to each of the first prompts.
        missing: Why there are none; empty: there are.
        is_unread: Whether that is because S3 refuses to tell.
    """

    policy: Sampled
    rewards: tuple[str, ...] = ()
    responses: tuple[ShownResponse, ...] = ()
    missing: str = ""
    is_unread: bool = False


@dataclass(frozen=True)
class Row:
    """One prompt, and who said what to it; whoever was not asked is left out."""

    prompt: str
    said: tuple[tuple[Column, ShownResponse], ...]


@dataclass(frozen=True)
class Compared:
    """A portfolio's policies, side by side."""

    namespace: str
    name: str
    revision: str
    rewards: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def rows(self) -> list[Row]:
        """Return a row per prompt, in the order in which policies were asked."""
        return side_by_side(self.columns)

    @property
    def missing(self) -> list[Column]:
        """Return those of whom nothing can be shown."""
        return [column for column in self.columns if column.missing]


def asked(content: bytes, *, names: Sequence[str] = (), every: bool = False) -> list[Sampled]:
    """Return the policies to show: the base policy, then those of the portfolio by weights.

    Args:
        content: The manifest.
        names: Only these, in this order; empty: see ``every``.
        every: All that were evaluated, also those that do not survive or were only mixed.

    Raises:
        InvalidResult: It is no manifest.
        InvalidInput: A name is unknown, or there are too many.
    """
    manifest = parsed_manifest(content)
    known = [_base(content), *_evaluated(manifest, content)]
    if names:
        found = _named(known, names)
    else:
        found = [p for p in known if every or p.digest is None or p.usage is not None]
    if len(found) > MOST_POLICIES:
        raise InvalidInput(
            f"{len(found)} policies would be shown; at most {MOST_POLICIES} can be: choose some "
            "with --policies"
        )
    return found


def column(policy: Sampled, content: bytes | None) -> Column:
    """Return what a policy said.

    Args:
        policy: Which.
        content: Its samples as they lie in S3; None: they are not there.
    """
    if policy.key is None:
        return Column(policy, missing="the manifest does not say how it was evaluated")
    if content is None:
        return Column(policy, missing=f"{policy.key} is not there")
    try:
        file = SamplesFile.model_validate_json(content)
    except ValidationError:
        return Column(policy, missing=f"{policy.key} is no samples file")
    if file.evaluation_digest != policy.evaluation_digest:
        return Column(policy, missing=f"{policy.key} is of another evaluation")
    if any(len(response.rewards) != len(file.rewards) for response in file.responses):
        return Column(policy, missing=f"{policy.key} has a response without all rewards")
    if not file.responses:
        return Column(policy, missing=f"{policy.key} has no responses")
    return Column(policy, file.rewards, file.responses)


def side_by_side(columns: Sequence[Column]) -> list[Row]:
    """Return who said what to each prompt; one that is there twice is two prompts."""
    found: dict[tuple[str, int], list[tuple[Column, ShownResponse]]] = {}
    for each in columns:
        times: Counter[str] = Counter()
        for response in each.responses:
            key = (response.prompt, times[response.prompt])
            times[response.prompt] += 1
            found.setdefault(key, []).append((each, response))
    return [Row(prompt, tuple(said)) for (prompt, _), said in found.items()]


def _base(content: bytes) -> Sampled:
    """Return the base policy, whose evaluation no manifest names: its digest is of the inputs."""
    try:
        of = _Inputs.model_validate_json(content).inputs
        digest = evaluation_digest(
            base_model=of.base_model,
            policy_digest=None,
            adapter=None,
            prompts=of.prompts.evaluation,
            rewards=[reward.function() for reward in of.rewards],
            settings=of.evaluation,
        )
    except ValueError:
        return Sampled(BASE_POLICY, (), None, None)  # of a version that knows other inputs
    return Sampled(BASE_POLICY, (), None, digest)


def _evaluated(manifest: ManifestFile, content: bytes) -> Iterator[Sampled]:
    """Yield the portfolio's policies first, then the others, each by weights."""
    usage = dict(zip(manifest.cover.policies, manifest.cover.usage, strict=True))
    entries = {p.name: p for p in (*_mixtures(content), *manifest.policies)}
    for policy in sorted(entries.values(), key=lambda p: (p.name not in usage, p.index)):
        yield Sampled(
            policy.name,
            policy.weights,
            policy.policy_digest,
            policy.evaluation_digest,
            usage.get(policy.name),
        )


def _mixtures(content: bytes) -> tuple[Evaluated, ...]:
    try:
        mixed = _Mixed.model_validate_json(content).oracle
    except ValidationError:
        return ()
    return mixed.policies if mixed else ()


def _named(known: Sequence[Sampled], names: Sequence[str]) -> list[Sampled]:
    by_name = {policy.name: policy for policy in known}
    for name in names:
        if name not in by_name:
            listed = list(by_name)
            more = f" and {len(listed) - _KNOWN_SHOWN} more" if len(listed) > _KNOWN_SHOWN else ""
            raise InvalidInput(
                f"--policies names {shown_name(name)}, which the manifest has not; it has "
                f"{', '.join(listed[:_KNOWN_SHOWN])}{more}"
            )
    return [by_name[name] for name in dict.fromkeys(names)]
