"""Where a Portfolio's gateway is, for its status. Pure."""

from dataclasses import replace

from palm_operator.api.portfolio import Portfolio
from palm_operator.api.status import GatewayAddress, PortfolioStatus
from palm_operator.plan import Plan
from palm_operator.settings import Settings


def with_gateway(plan: Plan, portfolio: Portfolio, settings: Settings) -> Plan:
    """Return the plan with the gateway's address in its status, where one serves the Portfolio."""
    address = _address(portfolio, plan.status, settings)
    return replace(plan, status=plan.status.model_copy(update={"gateway": address}))


def _address(
    portfolio: Portfolio, status: PortfolioStatus, settings: Settings
) -> GatewayAddress | None:
    metadata, namespaces = portfolio.metadata, settings.gateway_namespaces
    is_there = settings.gateway_url and (not namespaces or metadata.namespace in namespaces)
    # It follows route tables, of which there is one as soon as something is deployed.
    is_served = status.portfolio is not None and portfolio.spec.serving.mode != "None"
    if not (is_there and is_served):
        return None
    model = f"{metadata.namespace}/{metadata.name}"
    return GatewayAddress(
        url=settings.gateway_url,
        model=model,
        default_preference=settings.gateway_preferences.get(model),
    )
