"""``python -m palm_devcluster.proxy``: the proxy of the cluster's Services."""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

from palm_devcluster.node.addresses import ADDRESS
from palm_devcluster.node.api import Api, listed_and_watched, read_kubeconfig
from palm_devcluster.proxy.forwarding import Forwarder
from palm_devcluster.proxy.routing import NoRoute, backends

Json = dict[str, Any]
_STOP_S = 5.0


class Known:
    """The objects of one collection, followed for ever."""

    def __init__(self, api: Api, path: str, selector: dict[str, str]) -> None:
        self._api, self._path, self._selector = api, path, selector
        self.objects: dict[tuple[str, str], Json] = {}
        self.listed = asyncio.Event()

    async def follow(self) -> None:
        """Keep ``objects`` as the API server has them."""
        async for kind, value in listed_and_watched(self._api, self._path, self._selector):
            if kind == "LIST":
                self.objects = {_key(item): item for item in value}
                self.listed.set()
            elif kind == "DELETED":
                self.objects.pop(_key(value), None)
            else:
                self.objects[_key(value)] = value


def _key(item: Json) -> tuple[str, str]:
    return item["metadata"]["namespace"], item["metadata"]["name"]


async def serve(options: argparse.Namespace) -> None:
    """Forward requests until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    api = Api(read_kubeconfig(options.kubeconfig))
    # The node's identity may list the Pods of its node, which are all there are.
    pods = Known(api, "/api/v1/pods", {"fieldSelector": f"spec.nodeName={options.node}"})
    services = Known(api, "/api/v1/services", {})

    def find(namespace: str, service: str, port: str) -> list[tuple[str, int]]:
        found = services.objects.get((namespace, service))
        if found is None:
            raise NoRoute(404, f"there is no Service {namespace}/{service}")
        return backends(found, port, pods.objects.values())

    forwarder = Forwarder(find)
    following = [asyncio.create_task(known.follow()) for known in (pods, services)]
    waiting = asyncio.create_task(stop.wait())
    await pods.listed.wait()
    await services.listed.wait()
    runner = await _listening(forwarder, options.port)
    await asyncio.wait([*following, waiting], return_when=asyncio.FIRST_COMPLETED)
    for task in following:
        task.cancel()
    await runner.cleanup()
    await forwarder.close()
    await api.close()


async def _listening(forwarder: Forwarder, port: int) -> web.AppRunner:
    async def healthy(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    application = web.Application(client_max_size=0)
    application.router.add_get("/healthz", healthy)
    application.router.add_route("*", "/{path:.*}", forwarder.handle)
    runner = web.AppRunner(
        application, access_log=None, handler_cancellation=True, shutdown_timeout=_STOP_S
    )
    await runner.setup()
    await web.TCPSite(runner, ADDRESS, port, backlog=1024).start()
    return runner


def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m palm_devcluster.proxy", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True, help="the node's credentials")
    parser.add_argument("--node", required=True, help="name of the node")
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(serve(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
