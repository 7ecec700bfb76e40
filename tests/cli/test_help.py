"""The help: every example in it runs, and the installed programs answer."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.invoke import EXAMPLES, needs_cluster, palm, pipeline
from palm_cli.app import COMMANDS

BIN = Path(sys.executable).parent
ALONE = [example for example in EXAMPLES if not needs_cluster(example)]
SEES_MODULES = """
import sys
from palm_cli.app import app
try:
    app(sys.argv[1:])
except SystemExit as ended:
    assert not ended.code, ended.code
print(sorted({"kubernetes", "openai", "httpx2", "aiohttp"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize("example", ALONE)
def test_every_example_of_the_help_runs(folder: Path, example: str) -> None:
    ran = pipeline(example)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out


@pytest.mark.parametrize("module", COMMANDS, ids=lambda module: module.NAME)
def test_help_has_an_example_and_the_exit_codes(module: object) -> None:
    ran = palm(module.NAME, "--help")  # type: ignore[attr-defined]
    assert ran.code == 0
    assert f"palm {module.NAME} " in ran.out  # type: ignore[attr-defined]
    assert "Exit codes" in ran.out


@pytest.mark.parametrize("program", ["palm", "kubectl-palm"])
def test_installed_programs_answer_as_processes(program: str, folder: Path) -> None:
    done = subprocess.run(
        [BIN / program, "grid", "--objectives", "3", "--mu", "18/30", "--alpha", "3/10"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r"oracle calls +61\n", done.stdout)
    assert done.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["grid", "-d", "2", "--mu", "1/2", "--alpha", "1/10"],
        ["select", "--file", "route-table.json", "-p", "brevity=1"],
    ],
)
def test_what_asks_no_cluster_imports_no_client_of_one(folder: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SEES_MODULES, *arguments],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == "[]\n"


def test_exit_codes_and_streams_of_a_process(folder: Path) -> None:
    done = subprocess.run(
        [BIN / "palm", "certify", "-", "-o", "json"],
        input=b"\xff\xfe",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == b""
    assert b"standard input: byte 0 is 0xff" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_error(folder: Path) -> None:
    command = f"{BIN / 'palm'} grid -d 3 --mu 1/20 --alpha 1/100 -o json | head -c 20"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout
    assert done.stderr == ""


def test_without_its_extra_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError(name='typer')")
    done = subprocess.run(
        [sys.executable, "-m", "palm_cli"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 1
    assert done.stderr == (
        "error: typer is not installed; the command line needs the extra cli: "
        "pip install 'palm-operator[cli]'\n"
    )
