"""Which policies a request goes to, in which order, and what is said about it. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from palm.errors import InvalidPreference
from palm.route_table import RoutedPolicy
from palm.routing import Shortfall, at_most, objectives, ranking, shortfall, weight_vector
from palm_gateway.answers import Header
from palm_gateway.requests import refused_preference
from palm_gateway.tables import Route


@dataclass(frozen=True)
class Candidate:
    """A policy that may answer."""

    policy: RoutedPolicy
    url: str
    shortfall: Shortfall | None
    """None without a preference: nothing can be said then."""


@dataclass(frozen=True)
class Choice:
    """Candidates in the order to ask them, and the better ones that are not asked at first."""

    route: Route
    candidates: tuple[Candidate, ...]
    passed_over: tuple[tuple[str, str], ...] = ()
    """Policy and reason of those before the first candidate in rank."""


def choose(
    route: Route, preference: Mapping[str, float] | None, admits: Callable[[str], bool]
) -> Choice:
    """Return whom to ask.

    Policies that are ready and not known to be down come first, by rank; the others follow by
    rank, for readiness may be out of date.

    Args:
        route: The table.
        preference: The user's; None: the configured default, else the most used policy first.
        admits: Says of a URL whether it may be asked: False while it is known to be down.

    Raises:
        Refusal: The preference has no weight vector.
    """
    table = route.table
    weights = _weights(route, preference)
    values = objectives(weights, table) if weights is not None else None
    order = ranking(values) if values is not None else route.by_usage
    asked: list[Candidate] = []
    spare: list[Candidate] = []
    reasons: dict[str, str] = {}
    for index in order:
        policy = table.policies[index]
        behind = shortfall(table, values, index) if values is not None else None
        if reason := _reason(policy, admits):
            reasons[policy.name] = reason
        if policy.url is not None:
            (spare if reason else asked).append(Candidate(policy, policy.url, behind))
    candidates = (*asked, *spare)
    return Choice(route, candidates, _before(candidates[:1], order, route, reasons))


def headers_of(
    choice: Choice, candidate: Candidate, failures: Mapping[str, str]
) -> tuple[Header, ...]:
    """Return the headers that say who answers, how far from optimal at most, and why not a better.

    Args:
        choice: What was chosen from.
        candidate: Who answers.
        failures: Why policies that were asked before did not answer, by name.
    """
    table = choice.route.table
    said = {
        "x-palm-portfolio": table.key,
        "x-palm-revision": table.revision,
        "x-palm-policy": candidate.policy.name,
    }
    if candidate.shortfall is not None:
        said["x-palm-shortfall"] = _shown(candidate.shortfall, choice)
    missed = {**dict(choice.passed_over), **failures}
    missed.pop(candidate.policy.name, None)
    if missed:
        said["x-palm-fallback"] = ", ".join(f"{name}={reason}" for name, reason in missed.items())
    return tuple((name.encode(), value.encode("ascii")) for name, value in said.items())


def _weights(route: Route, preference: Mapping[str, float] | None) -> tuple[float, ...] | None:
    if preference is None:
        return route.default_weights
    try:
        return weight_vector(preference, route.table.rewards)
    except InvalidPreference as error:
        raise refused_preference(error) from None


def _reason(policy: RoutedPolicy, admits: Callable[[str], bool]) -> str | None:
    if policy.url is None or not policy.ready:
        return "not-ready"
    return None if admits(policy.url) else "down"


def _before(
    first: tuple[Candidate, ...],
    order: tuple[int, ...],
    route: Route,
    reasons: Mapping[str, str],
) -> tuple[tuple[str, str], ...]:
    """Return the policies that rank before the first candidate, with the reasons why."""
    ranked = [route.table.policies[index].name for index in order]
    end = ranked.index(first[0].policy.name) if first else 0
    return tuple((name, reasons[name]) for name in ranked[:end])


def _shown(behind: Shortfall, choice: Choice) -> str:
    guarantee = choice.route.table.guarantee
    parts = [f"absolute={at_most(behind.absolute)}"]
    if behind.relative is not None:
        parts.append(f"relative={at_most(behind.relative)}")
    parts.append(f"scope={guarantee.scope}")
    if guarantee.confidence is not None:
        parts.append(f"confidence={guarantee.confidence:g}")
    return ", ".join(parts)
