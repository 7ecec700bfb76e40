"""What ``palm select`` says: the gateway's own choice, and what speaks for it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from palm.route_table import RoutedPolicy, RouteTable
from palm.routing import (
    Shortfall,
    at_most,
    objectives,
    parse_preference,
    ranking,
    shortfall,
    weight_vector,
)
from palm.switching import Switch, nearest_switch
from palm_cli.failures import InvalidInput
from palm_gateway.answers import Refusal
from palm_gateway.choice import Choice, choose
from palm_gateway.tables import Route


@dataclass(frozen=True)
class Selection:
    """Which policy answers, and why.

    Attributes:
        choice: The gateway's.
        weights: The preference as a weight vector; None: there is none, and usage decides.
        order: Policies by rank, indices into the table.
    """

    choice: Choice
    weights: tuple[float, ...] | None
    order: tuple[int, ...]

    @property
    def table(self) -> RouteTable:
        """Return the table that was chosen from."""
        return self.choice.route.table

    @property
    def policy(self) -> RoutedPolicy:
        """Return who answers; the best where nobody is served."""
        candidates = self.choice.candidates
        return candidates[0].policy if candidates else self.table.policies[self.order[0]]

    @property
    def values(self) -> tuple[float, ...] | None:
        """Return J_w(π) of each policy, in the order of the table."""
        return objectives(self.weights, self.table) if self.weights else None

    def behind(self, index: int) -> Shortfall | None:
        """Return how far from optimal a policy is at most; None without a preference."""
        values = self.values
        return shortfall(self.table, values, index) if values else None

    @property
    def chosen(self) -> int:
        """Return the index of who answers."""
        return self.table.policies.index(self.policy)

    @property
    def available(self) -> tuple[int, ...]:
        """Return who may be chosen, by rank: who is ready, or all while nobody is."""
        ready = tuple(i for i in self.order if self.table.policies[i].ready)
        return ready or self.order

    @property
    def runner_up(self) -> int | None:
        """Return who would answer if the chosen policy could not."""
        return next((i for i in self.available if i != self.chosen), None)

    @property
    def switch(self) -> Switch | None:
        """Return the nearest preference at which another policy is as good."""
        if self.weights is None:
            return None
        utilities = [policy.utilities for policy in self.table.policies]
        return nearest_switch(self.weights, utilities, self.chosen, self.available)


def selection(route: Route, preference: str) -> Selection:
    """Return the choice for a preference as a person writes it; empty: the default.

    Raises:
        InvalidInput: It has no weight vector: unknown names are told with the known ones.
    """
    amounts = parse_preference(preference) if preference else None
    try:
        choice = choose(route, amounts, lambda _: True)
    except Refusal as refusal:
        raise InvalidInput(refusal.message) from None
    table = route.table
    weights = route.default_weights if amounts is None else weight_vector(amounts, table.rewards)
    order = ranking(objectives(weights, table)) if weights else route.by_usage
    return Selection(choice, weights, order)


def document(made: Selection, *, explain: bool) -> dict[str, Any]:
    """Return the answer for programs."""
    table, policy = made.table, made.policy
    answer: dict[str, Any] = {
        "portfolio": table.key,
        "revision": table.revision,
        "preference": _named(made.weights, table.rewards),
        "policy": policy.name,
        "model": policy.model,
        "url": policy.url,
        "ready": policy.ready,
        "shortfall": _bounds(made, made.chosen),
        "passed_over": dict(made.choice.passed_over),
    }
    if explain:
        answer["policies"] = [_explained(made, index) for index in made.order]
        other, switch = made.runner_up, made.switch
        answer["runner_up"] = None if other is None else table.policies[other].name
        answer["switch"] = switch and {
            "policy": table.policies[switch.index].name,
            "moved": switch.moved,
            "preference": _named(switch.weights, table.rewards),
        }
    return answer


def _explained(made: Selection, index: int) -> dict[str, Any]:
    table, values = made.table, made.values
    policy = table.policies[index]
    return {
        "policy": policy.name,
        "objective": values[index] if values else None,
        "shortfall": _bounds(made, index),
        "weights": list(policy.weights),
        "utilities": list(policy.utilities),
        "usage": policy.usage,
        "url": policy.url,
        "ready": policy.ready,
    }


def _bounds(made: Selection, index: int) -> dict[str, Any] | None:
    behind, guarantee = made.behind(index), made.table.guarantee
    if behind is None:
        return None
    return {
        "absolute": float(at_most(behind.absolute)),
        "relative": None if behind.relative is None else float(at_most(behind.relative)),
        "scope": guarantee.scope,
        "confidence": guarantee.confidence,
    }


def _named(weights: Sequence[float] | None, rewards: Sequence[str]) -> Mapping[str, float] | None:
    return dict(zip(rewards, weights, strict=True)) if weights else None
