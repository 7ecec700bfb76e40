"""What is asked of the images for one Portfolio: requests, digests, and the units of rewards."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from palm import artifacts
from palm.contract import (
    BASE_POLICY,
    AffineMap,
    EvaluationRequest,
    PolicyResult,
    StorageLocation,
    TrainingRequest,
    digest_of,
)
from palm.errors import InvalidResult
from palm.evaluations import ErrorUnits, MixedPolicy
from palm.objective import utilities
from palm.policies import (
    determining,
    evaluation_digest,
    mixture_digest,
    policy_digest,
    policy_name,
)
from palm.rational import parse_decimal
from palm_operator.api.portfolio import Portfolio, PortfolioSpec
from palm_operator.api.rewards import Reward
from palm_operator.names import Step


@dataclass(frozen=True)
class Place:
    """A weight vector of the grid, and the same wish in training units."""

    index: int
    """Position in the grid."""
    weights: tuple[float, ...]
    training_weights: tuple[float, ...]


@dataclass(frozen=True)
class Policy:
    """One oracle call: a weight vector of the grid whose policy's digest is known."""

    index: int
    name: str
    digest: str
    evaluation_digest: str
    weights: tuple[float, ...]
    """Weight vector of the grid, over normalized objectives."""
    training_weights: tuple[float, ...]
    """The same wish in training units."""
    mixture: tuple[MixedPolicy, ...] = ()
    """The trained policies that it is mixed of at decoding; empty: it is trained itself."""

    def is_trained(self, trained: frozenset[str]) -> bool:
        """Say whether it can be evaluated, given the digests of the policies that are trained."""
        if self.mixture:
            return all(part.policy_digest in trained for part in self.mixture)
        return self.digest in trained

    @property
    def oracle_call(self) -> tuple[Step, str]:
        """Return step and digest of what answers its weight vector: a mixture is only evaluated."""
        if self.mixture:
            return Step.EVALUATE, self.evaluation_digest
        return Step.TRAIN, self.digest

    @property
    def is_extreme(self) -> bool:
        """Say whether the policy was trained for one reward alone."""
        return max(self.weights) == 1.0

    @property
    def record_key(self) -> str:
        """Return the key of its commit marker; a mixture has none."""
        return artifacts.training_record(self.digest)

    @property
    def result_key(self) -> str:
        """Return the key of its result file."""
        return artifacts.evaluation_result(self.digest, self.evaluation_digest)


def revision_of(spec: PortfolioSpec) -> str:
    """Return eight digits of the digest of everything that determines the policies.

    Search and pruning only choose among policies: they are not part of it.
    """
    return _determinants(spec)[:8]


def affine_maps(
    spec: PortfolioSpec, base_result: PolicyResult | None
) -> tuple[AffineMap, ...] | None:
    """Return the map of each raw reward into training units; None until all are known.

    Raises:
        InvalidResult: A reward without a range is constant on the base policy.
    """
    maps = []
    for index, reward in enumerate(spec.rewards):
        if reward.range is not None:
            low, high = parse_decimal(reward.range.min), parse_decimal(reward.range.max)
            maps.append(AffineMap(offset=float(low), scale=float(high - low)))
        elif base_result is None:
            return None
        else:
            estimate = base_result.rewards[index]
            if not estimate.standard_deviation > 0:
                raise InvalidResult(
                    f"reward {reward.name!r} is {estimate.mean:.6g} for every response of the base "
                    "policy, so it has no scale; state spec.rewards[].range, or choose prompts on "
                    "which it varies"
                )
            maps.append(AffineMap(offset=estimate.mean, scale=estimate.standard_deviation))
    return tuple(maps)


def training_utilities(
    spec: PortfolioSpec, maps: tuple[AffineMap, ...], results: list[PolicyResult]
) -> NDArray[np.float64]:
    """Return u = r - β·KL in training units, shape ``(results, d)``, higher is better."""
    means = np.array([[estimate.mean for estimate in r.rewards] for r in results])
    divergence = np.array([r.divergence.mean for r in results])
    offset = np.array([m.offset for m in maps])
    scale = np.array([m.scale for m in maps])
    beta = divergence_coefficient(spec)
    return utilities(rewards=(means - offset) / scale, regularizer=beta * divergence)


def divergence_coefficient(spec: PortfolioSpec) -> float:
    """Return β as policies are judged by it: 0 where greedy decoding leaves the KL term out."""
    if spec.evaluation.decoding == "Greedy":
        return 0.0
    return float(parse_decimal(spec.training.kl_coefficient))


def storage_location(spec: PortfolioSpec) -> StorageLocation:
    """Return where the Portfolio's artefacts live."""
    s3 = spec.storage.s3
    return StorageLocation(
        bucket=s3.bucket, prefix=s3.prefix, endpoint=s3.endpoint, region=s3.region
    )


def base_evaluation(portfolio: Portfolio) -> EvaluationRequest:
    """Return the evaluation of the base policy: affine maps, KL reference, everybody's zero."""
    return _evaluation(portfolio, policy=BASE_POLICY, digest=None)


def policy_evaluation(
    portfolio: Portfolio, policy: Policy, maps: tuple[AffineMap, ...] | None = None
) -> EvaluationRequest:
    """Return the evaluation of a trained policy.

    Args:
        portfolio: Whose policy it is.
        policy: The policy; its digest covers the maps.
        maps: Raw reward to training units, in which a precision is asked for.
    """
    request = _evaluation(
        portfolio, policy=policy.name, digest=policy.digest, mixture=policy.mixture
    )
    if maps is None or request.settings.precision is None:
        return request
    beta = divergence_coefficient(portfolio.spec)
    units = ErrorUnits(rewards=tuple(m.scale for m in maps), divergence=1 / beta if beta else None)
    return request.model_copy(update={"units": units})


def policy_training(
    portfolio: Portfolio, maps: tuple[AffineMap, ...], policy: Policy
) -> TrainingRequest:
    """Return the oracle call of a policy."""
    spec = portfolio.spec
    return TrainingRequest(
        policy=policy.name,
        policy_digest=policy.digest,
        base_model=spec.base_model.uri,
        prompts=spec.prompts.train,
        rewards=tuple(reward.function() for reward in spec.rewards),
        affine_maps=maps,
        weights=policy.training_weights,
        settings=spec.training.settings(),
        execution=spec.training.execution(),
        storage=storage_location(spec),
    )


def policies_at(
    portfolio: Portfolio, maps: tuple[AffineMap, ...], places: Iterable[Place]
) -> tuple[Policy, ...]:
    """Return the policies of some weight vectors.

    Args:
        portfolio: Whose policies they are.
        maps: Raw reward to training units, length d.
        places: Which weight vectors.
    """
    source = _Source(_determinants(portfolio.spec), portfolio)
    return tuple(_policy(source, maps, place) for place in places)


def mixtures_at(
    portfolio: Portfolio, extremes: tuple[Policy, ...], places: Iterable[Place]
) -> tuple[Policy, ...]:
    """Return the policies of some weight vectors, mixed of the extreme ones at decoding.

    Args:
        portfolio: Whose policies they are.
        extremes: The policies of e_1…e_d, in this order.
        places: Which weight vectors; no unit vectors.
    """
    source = _Source(_determinants(portfolio.spec), portfolio)
    digests = tuple(policy.digest for policy in extremes)
    return tuple(_mixed(source, digests, place) for place in places)


@dataclass(frozen=True)
class _Source:
    """A Portfolio, compared by what determines its policies."""

    digest: str
    portfolio: Portfolio = field(compare=False)


@lru_cache(maxsize=65_536)
def _policy(source: _Source, maps: tuple[AffineMap, ...], place: Place) -> Policy:
    """Digests of a large grid take a second; every pass asks for all of them."""
    spec = source.portfolio.spec
    digest = policy_digest(
        base_model=spec.base_model.uri,
        prompts=spec.prompts.train,
        rewards=[reward.function() for reward in spec.rewards],
        affine_maps=maps,
        weights=place.training_weights,
        settings=spec.training.settings(),
    )
    return _identified(source, place, digest)


@lru_cache(maxsize=65_536)
def _mixed(source: _Source, extremes: tuple[str, ...], place: Place) -> Policy:
    mixture = tuple(
        MixedPolicy(policy_digest=digest, weight=weight)
        for digest, weight in zip(extremes, place.training_weights, strict=True)
        if weight > 0
    )
    return _identified(source, place, mixture_digest(mixture), mixture)


def _identified(
    source: _Source, place: Place, digest: str, mixture: tuple[MixedPolicy, ...] = ()
) -> Policy:
    name = policy_name(place.index, digest)
    request = _evaluation(source.portfolio, policy=name, digest=digest, mixture=mixture)
    return Policy(
        index=place.index,
        name=name,
        digest=digest,
        evaluation_digest=request.evaluation_digest,
        weights=place.weights,
        training_weights=place.training_weights,
        mixture=mixture,
    )


def _determinants(spec: PortfolioSpec) -> str:
    return digest_of(
        {
            "baseModel": spec.base_model.uri,
            "prompts": {
                "train": determining(spec.prompts.train),
                "evaluation": determining(spec.prompts.evaluation),
            },
            "rewards": [_reward_determinants(reward) for reward in spec.rewards],
            "grid": spec.grid.model_dump(mode="json", by_alias=True, exclude_none=True),
            # Left out where it says what was always done: revisions go on.
            **({"oracle": spec.oracle.type} if spec.oracle.type != "FineTune" else {}),
            "training": determining(spec.training.settings()),
            "evaluation": determining(
                spec.evaluation.settings(spec.training.max_completion_tokens)
            ),
        }
    )


def _reward_determinants(reward: Reward) -> dict[str, object]:
    bounds = reward.range.model_dump(mode="json", by_alias=True) if reward.range else None
    return {**determining(reward.function()), "range": bounds}


def _evaluation(
    portfolio: Portfolio,
    *,
    policy: str,
    digest: str | None,
    mixture: tuple[MixedPolicy, ...] = (),
) -> EvaluationRequest:
    spec = portfolio.spec
    rewards = tuple(reward.function() for reward in spec.rewards)
    adapter = spec.training.settings().adapter if digest else None
    settings = spec.evaluation.settings(spec.training.max_completion_tokens)
    return EvaluationRequest(
        policy=policy,
        policy_digest=digest,
        evaluation_digest=evaluation_digest(
            base_model=spec.base_model.uri,
            policy_digest=digest,
            adapter=adapter,
            prompts=spec.prompts.evaluation,
            rewards=rewards,
            settings=settings,
        ),
        base_model=spec.base_model.uri,
        adapter=adapter,
        mixture=mixture or None,
        prompts=spec.prompts.evaluation,
        rewards=rewards,
        settings=settings,
        storage=storage_location(spec),
    )
