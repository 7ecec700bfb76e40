"""An operator whose external calls are watched: forked from a process that has it imported.

Nothing of this is known to the operator: its calls are wrapped here, from outside.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Collection, Mapping
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from faults.points import Faults, Point, cluster_call, store_call
from palm_operator import __main__ as entry
from palm_operator.running.api_server import ApiServer
from palm_operator.running.observer import Stores
from palm_operator.running.runtime import end_on_signals, run, s3_store
from palm_operator.settings import settings_from

TESTS = Path(__file__).parents[1]


def operate(environment: dict[str, str], log: Path, faults: Faults | None) -> None:
    """Be an operator until told to stop, or until its fault point."""
    os.environ.clear()
    os.environ.update(environment)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    settings = settings_from(environment)
    entry._configure_logs(settings, verbose=False)
    if faults is not None:
        _watch_cluster(faults)

    async def until_stopped() -> None:
        stop = asyncio.Event()
        end_on_signals(stop)
        stores = s3_store if faults is None else _watched(s3_store, faults)
        await run(settings, stop=stop, stores=stores)

    asyncio.run(until_stopped())


def _watch_cluster(faults: Faults) -> None:
    """Meet a point before and after every write to the API server."""
    asked = ApiServer.asked

    async def watched(self: ApiServer, method: str, path: str, **arguments: Any) -> Any:
        if method == "get":
            return await asked(self, method, path, **arguments)
        call = cluster_call(method, path, arguments.get("body"))
        faults.at(call, "before")
        try:
            return await asked(self, method, path, **arguments)
        finally:
            faults.at(call, "after")

    ApiServer.asked = watched  # type: ignore[method-assign]


def _watched(stores: Stores, faults: Faults) -> Stores:
    return lambda location: _WatchedStore(stores(location), faults)  # type: ignore[return-value]


class _WatchedStore:
    """A store that meets a point before and after every call, whatever calls there are."""

    def __init__(self, store: Any, faults: Faults) -> None:
        self._store, self._faults = store, faults

    def __getattr__(self, name: str) -> Any:
        method: Callable[..., Any] = getattr(self._store, name)

        def watched(key: str, *arguments: Any, **named: Any) -> Any:
            call = store_call(name, key, self._faults.namespace)
            self._faults.at(call, "before")
            try:
                return method(key, *arguments, **named)
            finally:
                self._faults.at(call, "after")

        return watched if callable(method) else method


def forking() -> ForkServerContext:
    """Return where operators are forked from; importing them takes longer than their work."""
    paths = [str(TESTS), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["faults.operator_process"])
    return context


class WatchedOperator:
    """One operator at a time, started again as often as it is wanted."""

    def __init__(
        self,
        context: ForkServerContext,
        environment: Mapping[str, str],
        log: Path,
        *,
        record: Path | None = None,
        namespace: str = "",
    ) -> None:
        self._context, self.environment, self.log = context, dict(environment), log
        self._record, self._namespace = record, namespace
        self._process: ForkServerProcess | None = None

    def start(self, points: Collection[Point] = ()) -> None:
        faults = Faults(self._record, points, self._namespace) if self._record else None
        arguments = (self.environment, self.log, faults)
        self._process = self._context.Process(target=operate, args=arguments, daemon=True)
        self._process.start()

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return None if self._process is None else self._process.exitcode

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self._process is not None and self._process.pid is not None:
            if self._process.exitcode is None:
                os.kill(self._process.pid, number)
            self._process.join(timeout=30)
            self._process = None


if __name__ == "__main__":
    sys.exit("start it through WatchedOperator")
