"""Dockerfiles as values: their stages and instructions, and their build steps done without a
container engine."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from palm_devcluster.vllm.environment import uv_command

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILES = (
    "operator/Dockerfile",
    "operator/Dockerfile.gateway",
    "trainer-image/Dockerfile",
    "evaluator-image/Dockerfile",
)
_TARGET = "/opt/palm"


@dataclass(frozen=True)
class Instruction:
    """One instruction: ``RUN`` and the rest of it, without continuations."""

    name: str
    text: str


def stages(dockerfile: str) -> list[list[Instruction]]:
    """Return a Dockerfile's stages, each from its FROM on."""
    lines = (ROOT / dockerfile).read_text(encoding="utf-8").splitlines()
    whole = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    found: list[list[Instruction]] = []
    for line in re.sub(r"\\\n", " ", whole).splitlines():
        name, _, text = line.strip().partition(" ")
        if name == "FROM":
            found.append([])
        if name:
            found[-1].append(Instruction(name, " ".join(text.split())))
    return found


def built(
    dockerfile: str,
    folder: Path,
    arguments: Mapping[str, str] | None = None,
    *,
    resolve_only: bool = False,
) -> Path:
    """Do a Dockerfile's build stage in an empty folder; return the environment it makes.

    Only what its COPY lines name is there, and its own ``uv`` commands are run; with
    ``resolve_only`` they find every package's version and install none.
    """
    source, environment = folder / "source", folder / "palm"
    source.mkdir(parents=True)
    variables = os.environ | {"PATH": f"{Path(uv_command()).parent}:{os.environ['PATH']}"}
    variables.pop("VIRTUAL_ENV", None)
    for step in stages(dockerfile)[0]:
        if step.name == "ARG":
            name, _, default = step.text.partition("=")
            variables[name] = (arguments or {}).get(name, default.strip('"'))
        elif step.name == "COPY":
            *names, _ = step.text.split()
            for name in names:
                _copy(ROOT / name, source / name)
        elif step.name == "RUN" and "pip install --no-cache-dir uv" not in step.text:
            command = step.text.replace(_TARGET, str(environment))
            if resolve_only:
                command = command.replace("uv pip install", "uv pip install --dry-run")
            subprocess.run(["sh", "-euc", command], cwd=source, env=variables, check=True)
    return environment


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)
