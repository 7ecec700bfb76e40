"""The pruning decision and its ledger: what is deployed, from which inputs, how far from optimal.

The ledger is canonical JSON without times, so that an unchanged decision is an unchanged object.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palm import artifacts
from palm.contract import Calibration, PolicyResult, canonical_json
from palm.objective import Normalization
from palm.pruning import Pruning, prune
from palm.rational import parse_decimal
from palm.usage import policy_usage
from palm_operator import names
from palm_operator.api import Portfolio
from palm_operator.requests import Policy, storage_location, training_utilities
from palm_operator.work import Work


@dataclass(frozen=True, eq=False)
class Decision:
    """A portfolio: which policies survive, and everything that is claimed about them."""

    pruning: Pruning
    survivors: tuple[Policy, ...]
    usage: tuple[float, ...]
    """Share of uniformly distributed preferences each survivor serves best."""
    utilities: NDArray[np.float64]
    """Normalized utilities of all policies, shape (policies, d)."""


def decide(
    portfolio: Portfolio,
    work: Work,
    calibration: Calibration,
    results: Mapping[str, PolicyResult],
    *,
    preferred: frozenset[str] = frozenset(),
) -> Decision:
    """Prune the policies of a grid whose results are all in.

    Args:
        portfolio: Whose policies they are.
        work: The determined work: one policy per weight vector.
        calibration: The frozen units in which weights are meant.
        results: Valid results by evaluation digest; every policy has one.
        preferred: Digests of policies to keep where it costs nothing.
    """
    in_order = [results[policy.evaluation_digest] for policy in work.policies]
    raw = training_utilities(portfolio.spec, work.affine_maps or (), in_order)
    normalization = Normalization(
        offset=np.array(calibration.offset), scale=np.array(calibration.scale)
    )
    normalized = normalization.apply(raw)
    settings = portfolio.spec.pruning
    pruning = _pruned(
        work.grid,
        tuple(tuple(row) for row in normalized.tolist()),
        settings.mu,
        settings.alpha,
        settings.solver,
        tuple(i for i, policy in enumerate(work.policies) if policy.digest in preferred),
    )
    return Decision(
        pruning=pruning,
        survivors=tuple(work.policies[index] for index in pruning.indices),
        usage=tuple(policy_usage(normalized[list(pruning.indices)]).tolist()),
        utilities=normalized,
    )


def ledger(
    portfolio: Portfolio, work: Work, decision: Decision, results: Mapping[str, PolicyResult]
) -> bytes:
    """Return the manifest: every weight vector, result, digest and decision, in canonical JSON."""
    spec, pruning = portfolio.spec, decision.pruning
    calibration = work.calibration
    document = {
        "schemaVersion": 1,
        "portfolio": {
            "namespace": portfolio.metadata.namespace,
            "name": portfolio.metadata.name,
            "revision": work.revision,
        },
        "inputs": _inputs(portfolio),
        "affineMaps": [m.model_dump(mode="json", by_alias=True) for m in work.affine_maps or ()],
        "base": _result_summary(results[work.base.evaluation_digest]),
        "calibration": calibration.model_dump(mode="json", by_alias=True) if calibration else None,
        "policies": [
            _policy_entry(portfolio, decision, policy, results[policy.evaluation_digest])
            for policy in work.policies
        ],
        "cover": {
            "policies": [policy.name for policy in decision.survivors],
            "usage": list(decision.usage),
            "solver": pruning.solver,
            "proven": pruning.proven,
            "optimum": pruning.optimum.tolist(),
        },
        "guarantee": {
            "scope": "Grid",
            "epsilon": pruning.epsilon,
            "delta": pruning.delta,
            "assumes": "the best policy observed at a weight vector is optimal there",
            "tolerances": {"mu": spec.pruning.mu, "alpha": spec.pruning.alpha},
        },
    }
    return canonical_json(document).encode()


def ledger_sha256(content: bytes) -> str:
    """Return the full SHA-256 of a ledger, as ``sha256sum`` prints it."""
    return hashlib.sha256(content).hexdigest()


def _inputs(portfolio: Portfolio) -> dict[str, Any]:
    spec = portfolio.spec
    parts = {
        "prompts": spec.prompts,
        "grid": spec.grid,
        "pruning": spec.pruning,
        "training": spec.training.settings(),
        "evaluation": spec.evaluation.settings(spec.training.max_completion_tokens),
        "storage": storage_location(spec),
    }
    return {
        "baseModel": spec.base_model.uri,
        "rewards": [r.model_dump(mode="json", by_alias=True) for r in spec.rewards],
        **{name: part.model_dump(mode="json", by_alias=True) for name, part in parts.items()},
    }


def _policy_entry(
    portfolio: Portfolio, decision: Decision, policy: Policy, result: PolicyResult
) -> dict[str, Any]:
    regret = decision.pruning.oracle_regret
    location = storage_location(portfolio.spec)
    return {
        "name": policy.name,
        "weights": list(policy.weights),
        "trainingWeights": list(policy.training_weights),
        "policyDigest": policy.digest,
        "evaluationDigest": policy.evaluation_digest,
        "model": artifacts.uri(location, artifacts.model_folder(policy.digest)),
        "job": names.job_name(portfolio.metadata.name, names.Step.TRAIN, policy.name),
        "survives": policy.index in decision.pruning.indices,
        "utilities": decision.utilities[policy.index].tolist(),
        "oracleRegret": None if regret is None else float(regret[policy.index]),
        **_result_summary(result),
    }


def _result_summary(result: PolicyResult) -> dict[str, Any]:
    return {
        "engine": result.engine,
        "prompts": result.prompts,
        "samples": result.samples,
        "rewards": [r.model_dump(mode="json", by_alias=True) for r in result.rewards],
        "divergence": result.divergence.model_dump(mode="json", by_alias=True),
        "meanResponseTokens": result.mean_response_tokens,
    }


@lru_cache(maxsize=64)
def _pruned(
    grid: tuple[tuple[float, ...], ...],
    utilities: tuple[tuple[float, ...], ...],
    mu: str,
    alpha: str,
    solver: Any,
    preferred: tuple[int, ...],
) -> Pruning:
    """An exact cover may take seconds; a resync must not pay for it again."""
    return prune(
        weights=np.array(grid),
        utilities=np.array(utilities),
        mu=float(parse_decimal(mu)),
        alpha=float(parse_decimal(alpha)),
        solver=solver,
        preferred=preferred,
        trained_at=range(len(grid)),
    )
