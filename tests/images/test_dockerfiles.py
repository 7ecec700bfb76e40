"""The rules that every image keeps, and the operator's image made as its Dockerfile says."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from dockerfiles import DOCKERFILES, ROOT, Instruction, built, stages

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PYTHON = re.compile(r"python:3\.11\.\d+-slim-[a-z]+( AS build)?")


def of(name: str, stage: list[Instruction]) -> list[str]:
    return [step.text for step in stage if step.name == name]


def test_every_dockerfile_is_looked_at() -> None:
    folders = ("operator", "trainer-image", "evaluator-image")
    found = {
        p.relative_to(ROOT).as_posix() for f in folders for p in (ROOT / f).glob("Dockerfile*")
    }
    assert found == set(DOCKERFILES)


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
class TestDockerfile:
    def test_it_has_two_stages_on_the_same_exact_python(self, dockerfile: str) -> None:
        first, last = stages(dockerfile)
        (build,), (final,) = of("FROM", first), of("FROM", last)
        assert PYTHON.fullmatch(build)
        assert build == f"{final} AS build"

    def test_it_ends_as_a_numeric_user_that_is_not_root(self, dockerfile: str) -> None:
        *_, last = of("USER", stages(dockerfile)[-1])
        user, _, group = last.partition(":")
        assert int(user) > 0
        assert int(group) > 0
        assert stages(dockerfile)[-1][-1].name == "ENTRYPOINT"

    def test_its_last_stage_installs_no_python_package(self, dockerfile: str) -> None:
        last = stages(dockerfile)[-1]
        assert not any("pip " in text or "uv " in text for text in of("RUN", last))
        assert "--from=build /opt/palm /opt/palm" in of("COPY", last)

    def test_every_package_is_pinned_or_constrained(self, dockerfile: str) -> None:
        for text in (text for stage in stages(dockerfile) for text in of("RUN", stage)):
            for command in re.split(r"&&|;", text):
                if "uv pip install" in command:
                    assert re.search(r"--constraints (image-)?constraints\.txt", command)
                elif "pip install" in command:
                    assert re.search(r"--no-cache-dir \S+==\d", command)
                if "apt-get install" in command:
                    assert "--no-install-recommends" in command
                    assert "rm -rf /var/lib/apt/lists" in text

    def test_it_copies_what_is_there_and_all_that_the_wheel_is_made_of(
        self, dockerfile: str
    ) -> None:
        copied = [name for text in of("COPY", stages(dockerfile)[0]) for name in text.split()[:-1]]
        for name in copied:
            assert (ROOT / name).exists(), name
        for package in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
            assert any(Path(package).is_relative_to(name) for name in copied), package
        assert "constraints.txt" in copied

    def test_it_starts_one_of_the_projects_own_commands(self, dockerfile: str) -> None:
        (text,) = of("ENTRYPOINT", stages(dockerfile)[-1])
        (command,) = json.loads(text)
        assert command in PROJECT["project"]["scripts"]

    def test_it_brings_no_secret_and_nothing_from_the_web(self, dockerfile: str) -> None:
        for step in (step for stage in stages(dockerfile) for step in stage):
            assert step.name != "ADD"
            assert "curl" not in step.text
            assert "wget" not in step.text
            if step.name in ("ARG", "ENV"):
                assert not re.search(r"TOKEN|PASSWORD|SECRET|_KEY", step.text)


@pytest.mark.parametrize(
    ("dockerfile", "arguments"),
    [
        ("trainer-image/Dockerfile", {}),
        ("trainer-image/Dockerfile", {"ACCELERATORS": "deepspeed vllm<=0.31.0"}),
        ("evaluator-image/Dockerfile", {}),
        ("evaluator-image/Dockerfile", {"VLLM": ""}),
    ],
)
def test_the_large_images_packages_go_together(
    dockerfile: str, arguments: dict[str, str], tmp_path: Path
) -> None:
    """Their build steps, up to which versions are installed; `make images` installs them."""
    built(dockerfile, tmp_path, arguments, resolve_only=True)


def test_the_operators_image_is_what_its_dockerfile_makes_and_has_no_torch(tmp_path: Path) -> None:
    environment = built("operator/Dockerfile", tmp_path)
    python = environment / "bin" / "python"
    found = subprocess.run(
        [
            str(python),
            "-c",
            "import importlib.util as u, palm_operator.__main__\n"
            "print([n for n in ('torch', 'transformers', 'pyarrow') if u.find_spec(n)])",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert found.stdout.strip() == "[]"
    assert (environment / "bin" / "palm-operator").is_file()
