"""``palm select``: the policy that the gateway would choose, without a gateway."""

from typing import Annotated

import typer

from palm.routing import Shortfall, at_most
from palm.switching import Switch
from palm_cli.access import Where
from palm_cli.cluster import connected
from palm_cli.cluster_options import Context, Kubeconfig, Namespace, Preference
from palm_cli.failures import InvalidInput, failures
from palm_cli.options import Output
from palm_cli.output import number, print_facts, print_json, print_table
from palm_cli.route_tables import Routed, routed_from, routed_in
from palm_cli.selection import Selection, document, selection

NAME = "select"
HELP = """Say which policy of a Portfolio is best for a preference: the gateway's decision.

The Portfolio's route table is read from the cluster (ConfigMap NAME-routes), or from a file: the
table itself, or that ConfigMap as JSON. Amounts are of any scale, rewards not named get 0. Without
a preference the gateway's default is taken, else the most used policy. `--explain` shows what every
policy is worth for the preference, and the least change of it that makes another one better.

```
palm select assistant --preference helpfulness=0.7,brevity=0.3
palm select assistant -n ml -p helpfulness=7,brevity=3 --explain
palm select --file route-table.json -p '{"brevity": 1}' -o json
```
"""

Name = Annotated[
    str, typer.Argument(metavar="[NAME]", help="The Portfolio; not needed with --file.")
]
File = Annotated[
    str, typer.Option("--file", "-f", metavar="FILE|-", help="Route table, instead of a cluster.")
]
Explain = Annotated[bool, typer.Option("--explain", help="Show all policies, and what switches.")]


def run(
    name: Name = "",
    preference: Preference = "",
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    file: File = "",
    explain: Explain = False,
    output: Output = "table",
) -> None:
    """Run the command."""
    with failures():
        routed = _routed(name, file, Where(namespace, context, kubeconfig))
        made = selection(routed.route, preference)
        if output == "json":
            print_json(document(made, explain=explain))
            return
        print_facts(facts(made))
        if explain:
            _print_explained(made)


def _routed(name: str, file: str, where: Where) -> Routed:
    if file:
        return routed_from(file, name)
    if not name:
        raise InvalidInput("a Portfolio's NAME is needed, or --file with a route table")
    with connected(where) as cluster:
        return routed_in(cluster, name)


def facts(made: Selection) -> list[tuple[str, str]]:
    """Return who answers and how good that is, as names and values."""
    table, policy = made.table, made.policy
    rows = [("policy", f"{policy.name}, of {len(table.policies)}")]
    rows += [("portfolio", f"{table.key}, revision {table.revision}")]
    if made.weights:
        rows += [("preference", preference_of(made.weights, table.rewards))]
    else:
        rows += [("preference", f"none: it serves the largest share, {policy.usage:.0%}")]
    if behind := made.behind(made.chosen):
        rows += [("shortfall", bound(behind, made))]
    served = f"{policy.url}, model {policy.model}" if policy.url else "not served"
    rows += [("url", served if policy.ready or not policy.url else f"{served}; not ready")]
    for name, reason in made.choice.passed_over:
        rows += [("passed over", f"{name}, {reason}")]
    return rows


def bound(behind: Shortfall, made: Selection) -> str:
    """Return how far from optimal a choice is at most, and where that holds."""
    guarantee = made.table.guarantee
    share = f", {at_most(100 * behind.relative)} %" if behind.relative is not None else ""
    sure = f", with confidence {guarantee.confidence:g}" if guarantee.confidence else ""
    where = (
        "for every preference" if guarantee.scope == "Simplex" else "at the grid's weight vectors"
    )
    return f"at most {at_most(behind.absolute)}{share} below optimal ({where}{sure})"


def preference_of(weights: tuple[float, ...], rewards: tuple[str, ...]) -> str:
    """Return a weight vector as ``--preference`` takes it."""
    return ",".join(f"{name}={weight:.4g}" for name, weight in zip(rewards, weights, strict=True))


def _print_explained(made: Selection) -> None:
    table, values = made.table, made.values
    columns = ["POLICY", "OBJECTIVE", "BELOW OPTIMAL", "TRAINED FOR", "USAGE", "READY"]
    rows = []
    for index in made.order:
        policy, behind = table.policies[index], made.behind(index)
        mark = "→ " if index == made.chosen else "  "
        rows.append(
            [
                f"{mark}{policy.name}",
                number(values[index]) if values else "-",
                f"≤ {at_most(behind.absolute)}" if behind else "-",
                ", ".join(f"{weight:.3g}" for weight in policy.weights),
                f"{policy.usage:.1%}",
                "yes" if policy.ready else "no",
            ]
        )
    print_table(columns, rows, total=len(rows))
    other = made.runner_up
    rest = [("runner-up", "none" if other is None else table.policies[other].name)]
    if made.weights:
        rest += [("would switch", _switching(made, made.switch))]
    print_facts(rest)


def _switching(made: Selection, switch: Switch | None) -> str:
    if switch is None:
        return "nothing: no other policy is better for any preference"
    table = made.table
    other, at = table.policies[switch.index].name, preference_of(switch.weights, table.rewards)
    if switch.moved == 0:
        return f"{other} is as good: the one that is listed first is taken"
    return (
        f"{at_most(100 * switch.moved)} % more weight on {table.rewards[switch.to]}: beyond {at}, "
        f"{other} is better"
    )
