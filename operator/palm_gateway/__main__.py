"""``palm-gateway``: serve portfolios with the settings of the environment."""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from functools import partial

from palm_gateway import settings as settings_module
from palm_gateway.service import serve
from palm_gateway.settings import Settings, settings_from
from palm_gateway.watch import follow
from palm_operator.running.access import api_client

_DESCRIPTION = """\
Answer OpenAI-compatible requests with the policy that is best for their preference. A request
names a Portfolio as its model, and a preference in the header x-palm-preference
(helpfulness=0.7,brevity=0.3) or in the body's field "preference". Inside a cluster the gateway uses
its ServiceAccount; elsewhere KUBECONFIG. It needs no arguments; these variables set it:

"""


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; return the exit code."""
    variables = (settings_module.__doc__ or "").split("\n\n", 1)[-1]
    parser = argparse.ArgumentParser(
        prog="palm-gateway",
        description=_DESCRIPTION + variables,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)
    try:
        settings = settings_from(os.environ)
        _configure_logs(settings)
        asyncio.run(_until_stopped(settings))
    except (ValueError, OSError) as error:
        print(f"palm-gateway: {error}", file=sys.stderr)
        return 2
    return 0


async def _until_stopped(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    client = await api_client()
    try:
        following = partial(follow, client, operator_class=settings.operator_class)
        await serve(settings, following, stop=stop)
    finally:
        await client.close()


class _JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        return json.dumps(entry)


def _configure_logs(settings: Settings) -> None:
    handler = logging.StreamHandler()
    plain = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(_JsonLines() if settings.log_format == "json" else plain)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("palm_gateway").setLevel(logging.INFO)
    # It warns of every malformed request: strangers would fill the log.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)


if __name__ == "__main__":
    sys.exit(main())
