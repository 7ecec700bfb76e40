"""``python -m palm_devcluster.node``: run the node agent, or stop what it has started."""

import argparse
import asyncio
import logging
import signal
import sys
from contextlib import suppress
from pathlib import Path

from palm_devcluster.images import load_images, table_path
from palm_devcluster.node.agent import Agent
from palm_devcluster.node.api import Api, read_kubeconfig
from palm_devcluster.node.preparation import Node
from palm_devcluster.node.records import sole_owner
from palm_devcluster.node.registration import Registration, machine_resources
from palm_devcluster.node.server import Server
from palm_devcluster.node.stopping import stop_containers

logger = logging.getLogger("palm_devcluster.node")

_REQUIRED = ("kubeconfig", "port", "tls_cert", "tls_key", "client_ca", "api_server", "ca")


def arguments() -> argparse.ArgumentParser:
    """Every option of the command."""
    parser = argparse.ArgumentParser(prog="python -m palm_devcluster.node", description=__doc__)
    option = parser.add_argument
    option("--root", type=Path, required=True, help="folder of everything the node keeps")
    option("--name", default="palm-node", help="name of the Node (default: palm-node)")
    option("--kubeconfig", type=Path, help="credentials of system:node:NAME")
    option("--api-server", help="https://HOST:PORT that containers are told")
    option("--ca", type=Path, help="certificate authority of the API server")
    option("--port", type=int, help="port of the HTTPS server on 127.0.0.1")
    option("--tls-cert", type=Path, help="its certificate")
    option("--tls-key", type=Path, help="the key of its certificate")
    option("--client-ca", type=Path, help="who signs the certificates of its clients")
    option("--images", type=Path, help="table of image names and local commands")
    option("--gpus", type=int, default=0, help="nvidia.com/gpu that the scheduler may count on")
    option("--cpu", default="", help="cpu to offer (default: the machine's)")
    option("--memory", default="", help="memory to offer (default: the machine's)")
    option("--pods", type=int, default=110, help="Pods to accept (default: 110)")
    option("--host-path", action="append", default=[], help="prefix that hostPath may name")
    option("--stop-pods-on-exit", action="store_true", help="on SIGTERM also stop containers")
    option("--stop-all", action="store_true", help="stop every recorded container and exit")
    option("--grace", type=float, default=5.0, help="seconds before SIGKILL when stopping")
    return parser


def node_of(options: argparse.Namespace, api: Api) -> Node:
    """What the Pods of this node share, from the command line."""
    root = options.root.resolve()
    return Node(
        api=api,
        name=options.name,
        root=root,
        images=load_images(options.images),
        images_file=str(table_path(options.images)),
        api_server=options.api_server,
        ca=options.ca.resolve(),
        allocatable=machine_resources(
            root,
            cpu=options.cpu,
            memory=options.memory,
            pods=options.pods,
            gpus=options.gpus,
        ),
        host_paths=options.host_path,
    )


async def serve(options: argparse.Namespace) -> None:
    """Run the agent until SIGTERM or SIGINT; containers go on without it."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    api = Api(read_kubeconfig(options.kubeconfig))
    node = node_of(options, api)
    registration = Registration(api, node.name, node.allocatable, options.port)
    agent = Agent(node)
    server = Server(agent)
    await server.start(options.port, options.tls_cert, options.tls_key, options.client_ca)
    await registration.register()
    logger.info("node %s is registered; pods live in %s", node.name, node.root / "pods")
    tasks = [asyncio.create_task(work) for work in (registration.keep(), agent.run())]
    waiting = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([*tasks, waiting], return_when=asyncio.FIRST_COMPLETED)
    for task in [*tasks, waiting]:
        task.cancel()
    await server.stop()
    await api.close()
    for task in done - {waiting}:
        await task  # raises what ended it


def main() -> int:
    """Run the command; returns its exit status."""
    options = arguments().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    missing = [name for name in _REQUIRED if getattr(options, name) is None]
    try:
        with sole_owner(options.root):
            if options.stop_all:
                print(f"stopped {stop_containers(options.root, options.grace)} containers")
                return 0
            if missing:
                flags = ", ".join(f"--{name.replace('_', '-')}" for name in missing)
                print(f"missing {flags}", file=sys.stderr)
                return 2
            with suppress(KeyboardInterrupt):
                asyncio.run(serve(options))
            if options.stop_pods_on_exit:
                stop_containers(options.root, options.grace)
    except (RuntimeError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
