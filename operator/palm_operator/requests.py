"""What is asked of the images for one Portfolio: requests, digests, and the units of rewards."""

from dataclasses import dataclass
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
from palm.errors import InvalidPortfolio, InvalidResult
from palm.grid import construct_grid, grid_size
from palm.objective import utilities
from palm.policies import evaluation_digest, policy_digest, policy_name
from palm.rational import parse_decimal
from palm_operator.api import Portfolio, PortfolioSpec


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

    @property
    def is_extreme(self) -> bool:
        """Say whether the policy was trained for one reward alone."""
        return max(self.weights) == 1.0

    @property
    def record_key(self) -> str:
        """Return the key of its commit marker."""
        return artifacts.training_record(self.digest)

    @property
    def result_key(self) -> str:
        """Return the key of its result file."""
        return artifacts.evaluation_result(self.digest, self.evaluation_digest)


def revision_of(spec: PortfolioSpec) -> str:
    """Return eight digits of the digest of everything that determines the policies."""
    return digest_of(
        {
            "baseModel": spec.base_model.uri,
            "prompts": spec.prompts.model_dump(mode="json", by_alias=True),
            "rewards": [r.model_dump(mode="json", by_alias=True) for r in spec.rewards],
            "grid": spec.grid.model_dump(mode="json", by_alias=True),
            "training": spec.training.settings().model_dump(mode="json", by_alias=True),
            "evaluation": spec.evaluation.settings(spec.training.max_completion_tokens).model_dump(
                mode="json", by_alias=True
            ),
        }
    )[:8]


def weight_vectors(spec: PortfolioSpec) -> tuple[tuple[float, ...], ...]:
    """Return the grid.

    Raises:
        InvalidPortfolio: It is larger than ``search.maxOracleCalls``, or cannot be built.
    """
    dimension, limit = len(spec.rewards), spec.search.max_oracle_calls
    try:
        mu, alpha = parse_decimal(spec.grid.mu), parse_decimal(spec.grid.alpha)
        count = grid_size(mu, alpha, dimension)
    except ValueError as error:
        raise InvalidPortfolio(f"spec.grid: {error}") from None
    if count > limit:
        raise InvalidPortfolio(
            f"the grid of mu={spec.grid.mu}, alpha={spec.grid.alpha} over {dimension} rewards has "
            f"{count} weight vectors, one oracle call each; spec.search.maxOracleCalls is {limit}: "
            "raise it, or choose larger mu or alpha"
        )
    return _grid(spec.grid.mu, spec.grid.alpha, dimension)


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
    beta = float(parse_decimal(spec.training.kl_coefficient))
    return utilities(rewards=(means - offset) / scale, regularizer=beta * divergence)


def storage_location(spec: PortfolioSpec) -> StorageLocation:
    """Return where the Portfolio's artefacts live."""
    s3 = spec.storage.s3
    return StorageLocation(
        bucket=s3.bucket, prefix=s3.prefix, endpoint=s3.endpoint, region=s3.region
    )


def base_evaluation(portfolio: Portfolio) -> EvaluationRequest:
    """Return the evaluation of the base policy: affine maps, KL reference, everybody's zero."""
    return _evaluation(portfolio, policy=BASE_POLICY, digest=None)


def policy_evaluation(portfolio: Portfolio, policy: Policy) -> EvaluationRequest:
    """Return the evaluation of a trained policy."""
    return _evaluation(portfolio, policy=policy.name, digest=policy.digest)


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
        storage=storage_location(spec),
    )


def policy_at(
    portfolio: Portfolio,
    maps: tuple[AffineMap, ...],
    *,
    index: int,
    weights: tuple[float, ...],
    trained_at: tuple[float, ...],
) -> Policy:
    """Return the policy of one weight vector.

    Args:
        portfolio: Whose policy it is.
        maps: Raw reward to training units, length d.
        index: Position in the grid.
        weights: Weight vector of the grid, length d.
        trained_at: The same wish in training units, length d.
    """
    spec = portfolio.spec
    digest = policy_digest(
        base_model=spec.base_model.uri,
        prompts=spec.prompts.train,
        rewards=[reward.function() for reward in spec.rewards],
        affine_maps=maps,
        weights=trained_at,
        settings=spec.training.settings(),
    )
    name = policy_name(index, digest)
    return Policy(
        index=index,
        name=name,
        digest=digest,
        evaluation_digest=_evaluation(portfolio, policy=name, digest=digest).evaluation_digest,
        weights=weights,
        training_weights=trained_at,
    )


def _evaluation(portfolio: Portfolio, *, policy: str, digest: str | None) -> EvaluationRequest:
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
        prompts=spec.prompts.evaluation,
        rewards=rewards,
        settings=settings,
        storage=storage_location(spec),
    )


@lru_cache(maxsize=32)
def _grid(mu: str, alpha: str, dimension: int) -> tuple[tuple[float, ...], ...]:
    rows = construct_grid(parse_decimal(mu), parse_decimal(alpha), dimension=dimension)
    return tuple(tuple(row) for row in rows.tolist())
