"""``palm-operator``: run the operator with the settings of the environment."""

import argparse
import asyncio
import logging
import os
import sys

import kopf

from palm_operator import settings as settings_module
from palm_operator.running.runtime import end_on_signals, run
from palm_operator.settings import Settings, settings_from

_DESCRIPTION = """\
Train, prune and serve portfolios of policies: one Portfolio resource in, Jobs, S3 objects and
InferenceServices out. Inside a cluster the operator uses its ServiceAccount; elsewhere KUBECONFIG.
AWS credentials come from the usual AWS variables. It needs no arguments; these variables set it:

"""


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; return the exit code."""
    variables = (settings_module.__doc__ or "").split("\n\n", 1)[-1]
    parser = argparse.ArgumentParser(
        prog="palm-operator",
        description=_DESCRIPTION + variables,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--verbose", action="store_true", help="log every watch event as well")
    options = parser.parse_args(arguments)
    try:
        settings = settings_from(os.environ)
    except ValueError as error:
        print(f"palm-operator: {error}", file=sys.stderr)
        return 2
    _configure_logs(settings, verbose=options.verbose)
    asyncio.run(_until_stopped(settings))
    return 0


def _configure_logs(settings: Settings, *, verbose: bool) -> None:
    kopf.configure(
        log_format=kopf.LogFormat.JSON if settings.log_format == "json" else kopf.LogFormat.FULL
    )
    # kopf logs a line per event; what the operator did with it is what people want to read.
    logging.getLogger("kopf").setLevel(logging.DEBUG if verbose else logging.WARNING)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    logging.getLogger("palm_operator").setLevel(logging.INFO)


async def _until_stopped(settings: Settings) -> None:
    stop = asyncio.Event()
    end_on_signals(stop)
    await run(settings, stop=stop)


if __name__ == "__main__":
    sys.exit(main())
