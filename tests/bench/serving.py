"""One server each against one server for all, for the same toy portfolio: ``make bench-serving``.

Prints a table: servers, processes, memory (proportional set size, PSS: what the kernel would get
back), and seconds from applying the Portfolio until every policy has answered.
"""

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

TESTS = Path(__file__).parents[1]
# The tests' own tenant is what is measured here too.
sys.path[:0] = [str(TESTS / "serving"), str(TESTS)]

from conftest import SEEDS, Tenant, prepared  # noqa: E402
from operators import Operator, operator_environment  # noqa: E402
from palm_devcluster.cluster import EmbeddedCluster  # noqa: E402
from palm_devcluster.golang import BuildError  # noqa: E402
from palm_devcluster.vllm.environment import VllmUnavailable, ensure  # noqa: E402

_SECONDS = 600


@dataclass(frozen=True)
class Way:
    """One way to serve the portfolio."""

    name: str
    serving: dict[str, Any]


@dataclass(frozen=True)
class Figures:
    """What it takes."""

    way: str
    servers: int
    processes: int
    mebibytes: float
    seconds: float


_TRANSFORMERS = {"runtime": "kserve-huggingfaceserver"}
_VLLM = {"runtime": "vllm-cpu"}
_WAYS = (
    Way("PerPolicy, transformers", {"mode": "PerPolicy", **_TRANSFORMERS}),
    Way("SharedAdapters, transformers", {"mode": "SharedAdapters", **_TRANSFORMERS}),
)
_VLLM_WAYS = (
    Way("PerPolicy, vLLM", {"mode": "PerPolicy", **_VLLM}),
    Way("SharedAdapters, vLLM", {"mode": "SharedAdapters", **_VLLM}),
)


def measured(tenant: Tenant, way: Way) -> Figures:
    """Serve in one way and take its figures; nothing is served before and after."""
    began = time.monotonic()
    tenant.apply(**way.serving)
    tenant.eventually(tenant.says("Published", "True"), seconds=_SECONDS)
    seconds = time.monotonic() - began
    uids = [pod["metadata"]["uid"] for pod in tenant.objects("pods")]
    found = [p for uid in uids for p in _processes_of(uid)]
    memory = sum(p.memory_full_info().pss for p in found) / 2**20
    figures = Figures(way.name, len(uids), len(found), memory, seconds)
    tenant.kubectl("delete", "pfo", "--all", "--timeout=60s")
    tenant.eventually(lambda: not tenant.objects("pods"), seconds=_SECONDS)
    return figures


def _processes_of(uid: str) -> list[psutil.Process]:
    """Return a Pod's processes: those whose command line or whose parents' names its folder."""
    roots = [p for p in psutil.process_iter(["cmdline"]) if _is_server(p.info["cmdline"], uid)]
    return list({q.pid: q for p in roots for q in (p, *p.children(recursive=True))}.values())


def _is_server(words: list[str] | None, uid: str) -> bool:
    return bool(words) and any(uid in word and word.startswith("--model") for word in words or ())


def table(rows: list[Figures], policies: int) -> Table:
    """Return the figures for people."""
    made = Table(title=f"{policies} policies, LoRA on one toy base model")
    for column in ("", "servers", "processes", "PSS (MiB)", "ready after (s)"):
        made.add_column(column, justify="right" if column else "left", no_wrap=True)
    for row in rows:
        made.add_row(
            row.way,
            str(row.servers),
            str(row.processes),
            f"{row.mebibytes:.0f}",
            f"{row.seconds:.1f}",
        )
    return made


def main() -> int:
    """Measure every way that this machine has; return the exit code."""
    ways = _WAYS
    try:
        ensure(lambda text: print(text, flush=True))
        ways += _VLLM_WAYS
    except VllmUnavailable as reason:
        print(f"without vLLM: {reason}")
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="palm-bench-") as folder:
        cluster = EmbeddedCluster(Path(folder) / "cluster")
        try:
            cluster.up()
            os.environ["AWS_ACCESS_KEY_ID"] = cluster.s3.access_key
            os.environ["AWS_SECRET_ACCESS_KEY"] = cluster.s3.secret_key
            tenant = prepared(cluster, "bench", seeds=SEEDS[:1])
            environment = operator_environment(
                cluster,
                Path(folder),
                namespace="bench-operator",
                PALM_SERVING_URL=f"{cluster.services_url}/{{namespace}}/{{name}}-predictor",
            )
            operator = Operator(environment, Path(folder) / "operator.log")
            operator.start()
            try:
                rows = [measured(tenant, way) for way in ways]
            finally:
                operator.end()
        finally:
            cluster.down(purge=True)
    Console().print(table(rows, policies=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
