"""The server that stands for a runtime with vLLM: vLLM where it is there, else transformers.

Flags are those of KServe's Hugging Face runtime that the operator uses. Either server takes this
process's place, so signals and exit codes are its own.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from palm_devcluster.vllm.environment import found, obstacle

_FALLBACK = "palm_devcluster.serving.server"
# For tiny models: less memory than vLLM's smallest default, no compilation, which LoRA on a CPU
# does not have, and no log of requests.
_FIXED = (
    "--dtype=float32",
    "--enforce-eager",
    "--kv-cache-memory-bytes=33554432",
    "--max-num-seqs=16",
    "--generation-config=vllm",
    "--disable-uvicorn-access-log",
    # Requests that are under way are answered before it ends.
    "--shutdown-timeout=20",
)
# Bound, all servers' workers would share the first core; a worker that was asked a moment ago spins
# there, and a second server would not get it.
_ENVIRONMENT = {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}


def vllm_arguments(words: Sequence[str]) -> list[str]:
    """Return vLLM's own flags for those of KServe's Hugging Face runtime.

    The runtime's own come first, so that what the operator adds wins where both name one.
    """
    parser = argparse.ArgumentParser(prog="server", allow_abbrev=False)
    for flag in ("--model_name", "--model_dir", "--host", "--http_port"):
        parser.add_argument(flag, required=flag.startswith("--model"))
    options, rest = parser.parse_known_args(words)
    return [
        f"--model={options.model_dir}",
        f"--served-model-name={options.model_name}",
        f"--host={options.host or '0.0.0.0'}",
        f"--port={options.http_port or 8080}",
        *_FIXED,
        *rest,
    ]


def command(words: Sequence[str], cache: Path) -> tuple[list[str], str]:
    """Return the command that serves, and why it is not vLLM's where it is not.

    Args:
        words: The container's arguments.
        cache: Where vLLM's environment would be.
    """
    python = found(cache)
    if python is not None:
        module = ["-W", "ignore", "-m", "vllm.entrypoints.openai.api_server"]
        return [str(python), *module, *vllm_arguments(words)], ""
    reason = obstacle(os.environ) or "it is not installed: run `python -m palm_devcluster.vllm`"
    return [sys.executable, "-m", _FALLBACK, *words], reason


def main() -> None:
    """Become the server."""
    parser = argparse.ArgumentParser(prog="server", allow_abbrev=False, description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="where vLLM was installed")
    options, words = parser.parse_known_args()
    argv, reason = command(words, options.cache)
    if reason:
        print(f"no vLLM here: {reason}; serving with transformers", file=sys.stderr, flush=True)
    os.environ |= _ENVIRONMENT
    os.environ["TMPDIR"] = _short(tempfile.gettempdir())
    os.execv(argv[0], argv)


def _short(folder: str) -> str:
    """Return a short name of a folder, valid as long as this process, whatever it becomes, runs.

    vLLM's processes talk by Unix sockets there, whose paths have at most 107 characters.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(descriptor, True)
    return f"/proc/{os.getpid()}/fd/{descriptor}"


if __name__ == "__main__":
    main()
