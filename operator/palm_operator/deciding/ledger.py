"""The manifest of a portfolio: what is deployed, from which inputs, by which decisions. Pure.

It is canonical JSON without times and without the order in which Jobs finished, so that an
unchanged decision is an unchanged object.
"""

from typing import Any

from palm import artifacts
from palm.certificate import Certificate
from palm.contract import Model, PolicyResult, canonical_json
from palm.objective import scalarize
from palm_operator import names
from palm_operator.api.portfolio import Portfolio
from palm_operator.calls.evidence import Evidence
from palm_operator.calls.requests import Policy, storage_location
from palm_operator.calls.search import Fate, Search
from palm_operator.calls.work import Work
from palm_operator.deciding.decision import Decision
from palm_operator.deciding.guarantee import Guaranteed
from palm_operator.jobs.job_kinds import name_of

SCHEMA_VERSION = 2


def ledger(
    portfolio: Portfolio,
    work: Work,
    search: Search,
    decision: Decision,
    evidence: Evidence,
    *,
    mixed: Decision | None = None,
) -> bytes:
    """Return the manifest: every weight vector, result, digest and decision, in canonical JSON.

    Args:
        portfolio: Whose manifest it is.
        work: The policies that were chosen from.
        search: Which of them were asked for.
        decision: The portfolio.
        evidence: What S3 says.
        mixed: The cover by mixtures whose weight vectors its policies were fine-tuned for.
    """
    results, pruning = evidence.results, decision.pruning
    document = {
        "schemaVersion": SCHEMA_VERSION,
        "portfolio": {
            "namespace": portfolio.metadata.namespace,
            "name": portfolio.metadata.name,
            "revision": work.revision,
        },
        "inputs": inputs_of(portfolio),
        "affineMaps": [_json(m) for m in work.affine_maps or ()],
        "base": _result_summary(results[work.base.evaluation_digest]),
        "calibration": _json(work.calibration) if work.calibration else None,
        "search": _search(portfolio, work, search, decision),
        "policies": [
            _policy_entry(portfolio, decision, row, results[policy.evaluation_digest])
            for row, policy in enumerate(decision.outcomes.policies)
        ],
        "cover": {
            "policies": [policy.name for policy in decision.survivors],
            "usage": list(decision.usage),
            "solver": pruning.solver,
            "proven": pruning.proven,
            "optimum": pruning.optimum.tolist(),
            **_uncovered(work, pruning.uncovered),
            **_limit(decision),
        },
        "guarantee": _guarantee(portfolio, decision),
        **({"oracle": _mixed(portfolio, mixed, evidence)} if mixed else {}),
    }
    return canonical_json(document).encode()


def _mixed(portfolio: Portfolio, decision: Decision, evidence: Evidence) -> dict[str, Any]:
    """Return what was decided of policies that are mixed at decoding; none of them is served."""
    pruning, policies = decision.pruning, decision.outcomes.policies
    return {
        "type": portfolio.spec.oracle.type,
        "policies": [
            _policy_entry(portfolio, decision, row, evidence.results[policy.evaluation_digest])
            for row, policy in enumerate(policies)
        ],
        "cover": {
            "policies": [policy.name for policy in decision.survivors],
            "usage": list(decision.usage),
            "solver": pruning.solver,
            "proven": pruning.proven,
            **_limit(decision),
        },
        "guarantee": _guarantee(portfolio, decision),
    }


def _uncovered(work: Work, indices: tuple[int, ...]) -> dict[str, Any]:
    """Name the weight vectors that are not certified to be covered; nothing where all are."""
    listed = [{"index": index, "weights": list(work.grid[index])} for index in indices]
    return {"uncovered": listed} if listed else {}


def _json(model: Model) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def inputs_of(portfolio: Portfolio) -> dict[str, Any]:
    """Return what policies, search and pruning are made from."""
    spec = portfolio.spec
    parts = {
        "prompts": spec.prompts,
        "grid": spec.grid,
        "search": spec.search,
        "pruning": spec.pruning,
        "training": spec.training.settings(),
        "evaluation": spec.evaluation.settings(spec.training.max_completion_tokens),
        "storage": storage_location(spec),
    }
    return {
        "baseModel": spec.base_model.uri,
        "rewards": [_json(r) for r in spec.rewards],
        **{name: _json(part) for name, part in parts.items()},
        # Left out where it says what was always done: manifests go on.
        **({"oracle": _json(spec.oracle)} if spec.oracle.type != "FineTune" else {}),
    }


def _search(portfolio: Portfolio, work: Work, search: Search, decision: Decision) -> dict[str, Any]:
    """Say which oracle calls were made, and what is known where none was."""
    outcomes, pruning = decision.outcomes, decision.pruning
    observed = scalarize(weights=work.weights, utilities=outcomes.utilities)
    best, served = observed.max(axis=1), observed[:, list(pruning.indices)].max(axis=1)
    evaluated = set(outcomes.by_index)
    return {
        "mode": search.mode,
        "weightVectors": len(work.grid),
        "oracleCalls": [policy.name for policy in outcomes.policies],
        "target": {"mu": portfolio.spec.pruning.mu, "alpha": portfolio.spec.pruning.alpha},
        "untrained": [
            {
                "index": policy.index,
                "name": policy.name,
                "weights": list(policy.weights),
                "policyDigest": policy.digest,
                "failed": search.fates.get(policy.index) is Fate.FAILED,
                "lowerBound": float(best[policy.index]),
                "upperBound": float(pruning.optimum[policy.index]),
                "portfolio": float(served[policy.index]),
            }
            for policy in work.policies
            if policy.index not in evaluated
        ],
    }


def _limit(decision: Decision) -> dict[str, Any]:
    """Say, of a best effort, what it is instead of."""
    limit = decision.limit
    if limit is None:
        return {}
    return {
        "limit": {
            "maxPolicies": limit.most,
            "smallestCover": limit.cover,
            "measure": limit.measure,
            "tolerance": limit.tolerance,
        }
    }


def _guarantee(portfolio: Portfolio, decision: Decision) -> dict[str, Any]:
    found, pruning = decision.guaranteed, decision.pruning
    grid = {"scope": "Grid", "epsilon": pruning.epsilon, "delta": pruning.delta}
    claimed = grid if found.certificate is None else _certificate(found.certificate)
    return {
        **claimed,
        "confidence": found.confidence if _has_confidence(found) else None,
        "measured": None if found.measured is None else _certificate(found.measured),
        "grid": grid,
        "tolerances": {"mu": portfolio.spec.pruning.mu, "alpha": portfolio.spec.pruning.alpha},
        "assumes": [
            _assumed(decision),
            "the evaluation prompts are a sample of what the policies are used for"
            if _has_confidence(found)
            else "measured rewards are the true ones",
        ],
    }


def _assumed(decision: Decision) -> str:
    if any(policy.mixture for policy in decision.outcomes.policies):
        return (
            "the best policy observed at a weight vector is within tau of optimal there, a mixture "
            "at decoding where one was asked for"
        )
    return (
        "the best policy observed at a weight vector that was trained for is within tau of "
        "optimal there"
    )


def _has_confidence(found: Guaranteed) -> bool:
    return found.certificate is not None and found.eta is not None


def _certificate(certificate: Certificate) -> dict[str, Any]:
    worst = certificate.argmax_epsilon
    return {
        "scope": certificate.scope,
        "epsilon": certificate.epsilon,
        "delta": certificate.delta,
        "argmaxEpsilon": None if worst is None else [float(x) for x in worst],
        "argmaxDelta": [float(x) for x in certificate.argmax_delta],
        "eta": certificate.eta,
        "tau": certificate.tau,
    }


def _policy_entry(
    portfolio: Portfolio, decision: Decision, row: int, result: PolicyResult
) -> dict[str, Any]:
    policy: Policy = decision.outcomes.policies[row]
    regret = decision.pruning.oracle_regret
    location = storage_location(portfolio.spec)
    return {
        "index": policy.index,
        "name": policy.name,
        "weights": list(policy.weights),
        "trainingWeights": list(policy.training_weights),
        "policyDigest": policy.digest,
        "evaluationDigest": policy.evaluation_digest,
        **_made(portfolio, policy),
        "survives": row in decision.pruning.indices,
        "utilities": decision.outcomes.utilities[row].tolist(),
        "oracleRegret": None if regret is None else float(regret[row]),
        "sampleResponses": artifacts.uri(
            location, artifacts.evaluation_samples(policy.digest, policy.evaluation_digest)
        ),
        **_result_summary(result),
    }


def _made(portfolio: Portfolio, policy: Policy) -> dict[str, Any]:
    """Return where a policy is and what made it, or what it is mixed of."""
    if policy.mixture:
        return {"mixture": [_json(part) for part in policy.mixture]}
    folder = artifacts.model_folder(policy.digest)
    return {
        "model": artifacts.uri(storage_location(portfolio.spec), folder),
        "job": name_of(portfolio, names.Step.TRAIN, policy.name),
    }


def _result_summary(result: PolicyResult) -> dict[str, Any]:
    return {
        "engine": result.engine,
        "prompts": result.prompts,
        "samples": result.samples,
        "rewards": [_json(r) for r in result.rewards],
        "divergence": _json(result.divergence),
        "meanResponseTokens": result.mean_response_tokens,
        "decoding": result.decoding,
        "precision": _json(result.precision) if result.precision else None,
        "provenance": _json(result.provenance) if result.provenance else None,
    }
