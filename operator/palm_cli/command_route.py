"""``palm route``: which policy serves which preference."""

from typing import Annotated

import numpy as np
import typer

from palm.usage import best_policy, perplexity
from palm_cli.failures import failures
from palm_cli.options import (
    NormalizeOption,
    Output,
    PoliciesFile,
    PortfolioOption,
    chosen,
)
from palm_cli.output import print_facts, print_json, print_table
from palm_cli.policies_file import read_policies
from palm_cli.weights_file import read_weights

NAME = "route"
HELP = """Say which policy serves each weight vector best, and how evenly they are used.

Weight vectors are JSON (`[[0.2, 0.8], …]`, or an object with `weights`, or one array a line) or
text (`0.2,0.8` a line). Ties go to the policy that the file lists first. `usage` is the share of
these weight vectors, `perplexity` its exponentiated entropy: how many policies are in use.

```
palm route policies.json --weights users.csv
palm route policies.json --portfolio w00,w01 --weights users.json -o json
palm grid -d 2 --mu 1/2 --alpha 1/10 -o json | palm route policies.json --weights -
```
"""

Weights = Annotated[
    str, typer.Option(metavar="FILE|-", help="Weight vectors, - for standard input.")
]


def run(
    file: PoliciesFile,
    weights: Weights,
    portfolio: PortfolioOption = "",
    normalize: NormalizeOption = "none",
    output: Output = "table",
) -> None:
    """Run the command."""
    with failures():
        policies = read_policies(file, normalize=normalize)
        kept = chosen(policies, portfolio)
        vectors = read_weights(weights, dimension=len(policies.objectives))
        assigned = best_policy(weights=vectors, utilities=policies.utilities[list(kept)])
        shares = np.bincount(assigned, minlength=len(kept)) / len(vectors)
        labels = [policies.trained_names[index] for index in kept]
        if output == "json":
            print_json(
                {
                    "assignments": np.array(labels, dtype=object)[assigned].tolist(),
                    "usage": dict(zip(labels, shares.tolist(), strict=True)),
                    "perplexity": perplexity(shares),
                }
            )
            return
        order = np.argsort(-shares, kind="stable")
        rows = ([labels[i], f"{100 * shares[i]:.1f} %"] for i in order)
        print_table(["POLICY", "USAGE"], rows, total=len(kept))
        print_facts(
            [("weight vectors", f"{len(vectors):,}"), ("perplexity", f"{perplexity(shares):.4g}")]
        )
