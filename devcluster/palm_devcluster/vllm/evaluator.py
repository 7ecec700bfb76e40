"""The command that stands for the evaluator's image with vLLM: the same code on vLLM's Python.

What vLLM's environment lacks (the project itself, S3, Parquet) comes from this one, behind
everything that it has: the versions of torch, transformers and numpy are vLLM's.
"""

import argparse
import os
import sys
import sysconfig
from pathlib import Path

from palm_devcluster.vllm.environment import found, obstacle

_RUN = """
import runpy, site, sys
site.addsitedir(sys.argv[1])
del sys.argv[:2]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def command(cache: Path, module: str, *words: str) -> list[str] | None:
    """Return the command that runs a module of the project on vLLM's Python.

    Args:
        cache: Where vLLM's environment would be.
        module: As after ``python -m``.
        words: Its arguments.

    Returns:
        None where there is no vLLM.
    """
    python = found(cache)
    if python is None:
        return None
    packages = sysconfig.get_path("purelib")
    return [str(python), "-W", "ignore", "-c", _RUN, packages, module, *words]


def main() -> None:
    """Become the evaluator, with vLLM where it is there."""
    parser = argparse.ArgumentParser(prog="evaluator", allow_abbrev=False, description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="where vLLM was installed")
    options = parser.parse_args()
    argv = command(options.cache, "palm_evaluator")
    if argv is None:
        reason = obstacle(os.environ) or "it is not installed: run `python -m palm_devcluster.vllm`"
        print(f"no vLLM here: {reason}; evaluating with transformers", file=sys.stderr, flush=True)
        argv = [sys.executable, "-m", "palm_evaluator"]
    os.execv(argv[0], argv)


if __name__ == "__main__":
    main()
