"""``palm certify``: how far from optimal a portfolio can be, for any preference."""

from typing import Annotated, Any

import typer

from palm.errors import NoCertificate
from palm_cli.failures import InvalidInput, NotGranted, failures
from palm_cli.inputs import shown_name
from palm_cli.options import (
    NormalizeOption,
    Output,
    PoliciesFile,
    PortfolioOption,
    chosen,
    tolerance,
)
from palm_cli.output import number, print_facts, print_json, vector
from palm_cli.policies_file import Policies, read_policies

NAME = "certify"
HELP = """Print the certificate (ε, δ) of a portfolio over the whole simplex of preferences.

For every w, the portfolio is worth at least (1 - ε)·opt_w, and at least opt_w - δ; opt_w is bounded
from above by what the trained policies say of it, so nothing is assumed between weight vectors.
With --eta and --tau both hold although evaluations are off by at most η and training by at most τ.
`epsilon` is null where the portfolio's value is negative for some w: a ratio then means nothing.
Exits with 3 where there is no certificate, because the policy of an objective alone is missing.

```
palm certify policies.json
palm certify policies.json --portfolio w00,w01 --eta 0.01 --tau 0.005 -o json
```
"""

MOST_OBJECTIVES = 8
# Trained and kept policies that take some seconds; the corners multiply with every objective.
_MOST_POLICIES = {5: (2_000, 700), 6: (500, 200), 7: (200, 80), 8: (100, 50)}
_MOST_POLICIES_OF_FEW = (2_000, 2_000)

Eta = Annotated[str, typer.Option(help="η, largest error of an evaluated objective.")]
Tau = Annotated[str, typer.Option(help="τ, largest suboptimality of training.")]


def run(
    file: PoliciesFile,
    portfolio: PortfolioOption = "",
    eta: Eta = "0",
    tau: Tau = "0",
    normalize: NormalizeOption = "none",
    output: Output = "table",
) -> None:
    """Run the command."""
    with failures():
        policies = read_policies(file, normalize=normalize)
        kept = chosen(policies, portfolio)
        answer = _certificate(
            policies, kept, eta=tolerance(eta, "--eta"), tau=tolerance(tau, "--tau")
        )
        if output == "json":
            print_json(answer)
            return
        print_facts(
            [
                ("policies", f"{len(kept)} of {len(policies.rows)}"),
                ("ε", _attained(answer["epsilon"], answer["argmax_epsilon"])),
                ("δ", _attained(answer["delta"], answer["argmax_delta"])),
                ("scope", f"the whole {answer['scope']}"),
            ]
        )


def _certificate(
    policies: Policies, kept: tuple[int, ...], *, eta: float, tau: float
) -> dict[str, Any]:
    from palm.certificate import certify  # SciPy takes a second to import

    _check_size(policies, kept)
    try:
        found = certify(
            weights=policies.weights[list(policies.rows)],
            utilities=policies.utilities,
            portfolio=kept,
            eta=eta,
            tau=tau,
        )
    except NoCertificate as error:
        missing = ", ".join(policies.objectives[i] for i in error.extremes)
        raise NotGranted(
            f"{shown_name(policies.source)}: there is no certificate: no trained policy has all "
            f"its weight on {missing}; the optimum there is not bounded from above"
        ) from None
    return {
        "epsilon": found.epsilon,
        "delta": found.delta,
        "argmax_epsilon": None if found.argmax_epsilon is None else list(found.argmax_epsilon),
        "argmax_delta": list(found.argmax_delta),
        "scope": found.scope.lower(),
    }


def can_be_certified(policies: Policies, kept: tuple[int, ...]) -> bool:
    """Say whether a certificate takes seconds, not hours."""
    dimension = len(policies.objectives)
    trained, most_kept = _MOST_POLICIES.get(dimension, _MOST_POLICIES_OF_FEW)
    few = len(policies.rows) <= trained and len(kept) <= most_kept
    return few and dimension <= MOST_OBJECTIVES


def _check_size(policies: Policies, kept: tuple[int, ...]) -> None:
    if can_be_certified(policies, kept):
        return
    dimension = len(policies.objectives)
    trained, most_kept = _MOST_POLICIES.get(dimension, _MOST_POLICIES_OF_FEW)
    raise InvalidInput(
        f"{shown_name(policies.source)}: {len(kept)} of {len(policies.rows)} policies for "
        f"{dimension} objectives are too much to certify; at most {most_kept} of {trained} are, "
        f"for at most {MOST_OBJECTIVES} objectives"
    )


def _attained(value: float | None, at: list[float] | None) -> str:
    if value is None or at is None:
        return "none: the portfolio's value is negative for some preference"
    return f"{number(value)} at {vector(at)}"
