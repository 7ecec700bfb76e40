"""Options of the commands that ask a cluster, named as kubectl names them."""

from typing import Annotated

import typer

PortfolioName = Annotated[str, typer.Argument(metavar="NAME", help="The Portfolio.")]
Namespace = Annotated[
    str, typer.Option("--namespace", "-n", help="Of the Portfolio; else the context's.")
]
Context = Annotated[str, typer.Option("--context", help="Context of the kubeconfig.")]
Kubeconfig = Annotated[
    str, typer.Option("--kubeconfig", help="Else KUBECONFIG, ~/.kube/config, the Pod's own.")
]
Preference = Annotated[
    str,
    typer.Option(
        "--preference", "-p", metavar="REWARD=AMOUNT,…",
        help="Amounts of any scale, or a JSON object; omitted: the gateway's default.",
    ),
]  # fmt: skip
