"""Every image's build steps in an empty environment, as its Dockerfile says, on this machine.

No container engine: the ``uv`` commands of the build stages, with only what their COPY lines name.
Prints ``name: value`` lines: seconds and megabytes of each image's environment.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dockerfiles import DOCKERFILES, built

# What can be had without a GPU: the evaluator without vLLM.
_ARGUMENTS = {"VLLM": ""}
_IMPORTS = {
    "operator/Dockerfile": "palm_operator.__main__",
    "operator/Dockerfile.gateway": "palm_gateway.__main__",
    "trainer-image/Dockerfile": "palm_trainer.training",
    "evaluator-image/Dockerfile": "palm_evaluator.with_transformers, palm_rewards.reward_model",
}


def main() -> None:
    """Make every environment and import what its image runs."""
    for dockerfile in DOCKERFILES:
        with tempfile.TemporaryDirectory(prefix="palm-image-") as folder:
            began = time.monotonic()
            environment = built(dockerfile, Path(folder), _ARGUMENTS)
            python = str(environment / "bin" / "python")
            subprocess.run([python, "-c", f"import {_IMPORTS[dockerfile]}"], check=True, cwd=folder)
            size = sum(f.stat().st_size for f in environment.rglob("*") if f.is_file())
            print(f"{dockerfile} seconds: {time.monotonic() - began:.0f}", flush=True)
            print(f"{dockerfile} megabytes: {size / 1e6:.0f}", flush=True)


if __name__ == "__main__":
    main()
