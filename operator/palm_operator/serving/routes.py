"""The route table of a Portfolio as a ConfigMap: who serves which preference, and where. Pure.

The ConfigMap ``<portfolio>-routes`` is the Portfolio's own; its key ``routes.json`` holds the table
(``palm.route_table``) and an annotation the table's SHA-256. It names what the status names as
deployed, and is written before the status. As nothing is retired before the status has switched,
whoever follows the table is never sent to a service that is being removed.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from palm.errors import InvalidRouteTable
from palm.route_table import (
    MAX_POLICIES,
    RoutedPolicy,
    RouteTable,
    is_url,
    parse_route_table,
    sha256_of,
)
from palm_operator import names
from palm_operator.api.portfolio import Portfolio
from palm_operator.api.status import DeployedPolicy, DeployedPortfolio
from palm_operator.jobs.manifests import owner_reference
from palm_operator.objects import contains, is_owned
from palm_operator.observed import Observed
from palm_operator.serving.chosen import Chosen
from palm_operator.serving.publication import Publication

_OPENAI_PATH = "/v1"  # below the address of a policy's server


def with_routes(
    public: Publication, portfolio: Portfolio, choice: Chosen, observed: Observed
) -> Publication:
    """Return the publication with its route table.

    Args:
        public: What publishing means otherwise.
        portfolio: Whose table.
        choice: The portfolio that is published or about to be.
        observed: With the ConfigMap as it is now.
    """
    if public.is_new and public.portfolio is not None:
        table = _table(choice, public.portfolio)
    else:
        table = _renewed(portfolio, observed, public.portfolio)
    return replace(public, applies=(*public.applies, *_due(portfolio, table, observed)))


def renewed_routes(
    portfolio: Portfolio, observed: Observed, shown: DeployedPortfolio | None
) -> tuple[dict[str, Any], ...]:
    """Return the table that is there with the readiness of what is shown, where that changed.

    It goes on naming the deployed policies while a successor is made.
    """
    return _due(portfolio, _renewed(portfolio, observed, shown), observed)


def _table(choice: Chosen, shown: DeployedPortfolio) -> RouteTable | None:
    manifest, metadata = choice.manifest, choice.portfolio.metadata
    if len(manifest.survivors) > MAX_POLICIES:
        return None  # nothing of that size is served; the ledger in S3 has it all
    deployed = _by_name(shown)
    return RouteTable(
        namespace=metadata.namespace,
        portfolio=metadata.name,
        revision=choice.revision,
        rewards=tuple(reward.name for reward in manifest.inputs.rewards),
        normalization=choice.normalization,
        policies=tuple(
            _located(
                RoutedPolicy(
                    name=policy.name,
                    weights=policy.weights,
                    utilities=policy.utilities,
                    usage=min(share, 1.0),
                    model=policy.name,
                ),
                deployed,
            )
            for policy, share in zip(manifest.survivors, manifest.cover.usage, strict=True)
        ),
        guarantee=choice.route_guarantee,
    )


def _renewed(
    portfolio: Portfolio, observed: Observed, shown: DeployedPortfolio | None
) -> RouteTable | None:
    live = observed.routes
    if live is None or shown is None or not is_owned(live, portfolio.metadata.uid):
        return None
    try:
        table = parse_route_table((live.get("data") or {}).get(names.ROUTES_KEY, ""))
    except InvalidRouteTable:
        return None  # somebody's edit; the next decision writes it anew
    deployed = _by_name(shown)
    policies = tuple(_located(policy, deployed) for policy in table.policies)
    return table.model_copy(update={"policies": policies})


def _due(
    portfolio: Portfolio, table: RouteTable | None, observed: Observed
) -> tuple[dict[str, Any], ...]:
    """Return the ConfigMap to apply: none where it is so already, or where we may not."""
    if table is None:
        return ()
    manifest, live = route_table_manifest(portfolio, table), observed.routes
    is_there = live is not None and (
        "deletionTimestamp" in live["metadata"] or contains(live, manifest)
    )
    is_foreign = manifest["metadata"]["name"] in observed.conflicts
    return () if is_there or is_foreign else (manifest,)


def route_table_manifest(portfolio: Portfolio, table: RouteTable) -> dict[str, Any]:
    """Return the ConfigMap of a table."""
    metadata, content = portfolio.metadata, table.content()
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names.route_table_name(metadata.name),
            "namespace": metadata.namespace,
            "labels": {
                **names.owned_labels(metadata.name, metadata.uid),
                names.LABEL_COMPONENT: names.ROUTE_TABLE,
                **names.class_labels(portfolio.spec.operator_class),
                names.LABEL_REVISION: table.revision,
            },
            "annotations": {names.ANNOTATION_SHA256: sha256_of(content)},
            "ownerReferences": [owner_reference(portfolio)],
        },
        "data": {names.ROUTES_KEY: content},
    }


def _by_name(deployed: DeployedPortfolio) -> dict[str, DeployedPolicy]:
    return {policy.name: policy for policy in deployed.policies}


def _located(policy: RoutedPolicy, deployed: Mapping[str, DeployedPolicy]) -> RoutedPolicy:
    """Return the policy with the address and readiness that its service has now."""
    shown = deployed.get(policy.name)
    url = f"{(shown.url or '').rstrip('/')}{_OPENAI_PATH}" if shown else ""
    is_served = shown is not None and is_url(url)
    ready = shown is not None and shown.ready and is_served
    return policy.model_copy(update={"url": url if is_served else None, "ready": ready})
