"""Route tables as plain functions: what a test omits is ordinary."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from palm.contract import AffineMap
from palm.route_table import RoutedPolicy, RouteGuarantee, RouteTable, sha256_of
from palm.usage import policy_usage
from palm_operator import names


def make_table(
    utilities: Sequence[Sequence[float]],
    *,
    urls: Sequence[str | None] | None = None,
    namespace: str = "ml",
    portfolio: str = "assistant",
    revision: str = "7c1f09a2",
    rewards: Sequence[str] | None = None,
    ready: Sequence[bool] | None = None,
) -> RouteTable:
    """A table of policies with these utilities, shape (policies, d)."""
    d = len(utilities[0])
    usage = policy_usage(np.array(utilities))
    return RouteTable(
        namespace=namespace,
        portfolio=portfolio,
        revision=revision,
        rewards=tuple(rewards or (f"reward-{i}" for i in range(d))),
        normalization=(AffineMap(offset=0.0, scale=1.0),) * d,
        policies=tuple(
            RoutedPolicy(
                name=f"w{i:02d}-{revision[:6]}",
                weights=tuple(1.0 if i % d == j else 0.0 for j in range(d)),
                utilities=tuple(row),
                usage=min(float(usage[i]), 1.0),
                url=urls[i] if urls else f"http://w{i:02d}.{namespace}.svc/v1",
                model=f"w{i:02d}-{revision[:6]}",
                ready=ready[i] if ready else True,
            )
            for i, row in enumerate(utilities)
        ),
        guarantee=RouteGuarantee(epsilon=0.05, delta=0.02, scope="Grid"),
    )


def config_map(table: RouteTable, **metadata: Any) -> dict[str, Any]:
    """The ConfigMap of a table, as the API server has it."""
    content = table.content()
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names.route_table_name(table.portfolio),
            "namespace": table.namespace,
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": {names.LABEL_COMPONENT: names.ROUTE_TABLE},
            "annotations": {names.ANNOTATION_SHA256: sha256_of(content)},
            "ownerReferences": [
                {
                    "apiVersion": "palm-operator.dev/v1alpha1",
                    "kind": "Portfolio",
                    "name": table.portfolio,
                    "uid": "11111111-2222-3333-4444-555555555555",
                    "controller": True,
                }
            ],
            **metadata,
        },
        "data": {names.ROUTES_KEY: content},
    }
