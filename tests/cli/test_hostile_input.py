"""Files that strangers send: refused with file, field, value and rule, and never a traceback."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli.invoke import palm

GOOD = {"name": "a", "weights": [0.5, 0.5], "rewards": [1.0, 2.0]}


def file_of(*policies: Any, **more: Any) -> str:
    return json.dumps({"objectives": ["x", "y"], "policies": list(policies), **more})


HOSTILE: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "line 1, column 1"),
    "not JSON": ('{"objectives": ["x", "y"],\n "policies": [}', "line 2, column 15"),
    "NaN": (file_of({**GOOD, "rewards": [float("nan"), 1]}), "NaN is not a number"),
    "Infinity": (file_of({**GOOD, "rewards": [float("-inf"), 1]}), "-Infinity is not a number"),
    "overflow": (file_of(GOOD).replace("2.0", "1e999"), "policies[0].rewards[1]"),
    "endless digits": (file_of(GOOD).replace("2.0", "9" * 5000), "has 5000 digits"),
    "latin-1": ('{"objectives": ["é"]}'.encode("latin-1"), "byte 17 is 0xe9"),
    "deep": ("[" * 200_000, "nested too deeply"),
    "list": ("[]", "the file is []"),
    "no objectives": ('{"policies": []}', "objectives: field required"),
    "no policies": (file_of(), "policies is []"),
    "no rewards": (file_of({"name": "a", "weights": [0, 1]}), "[0].rewards: field required"),
    "short rewards": (file_of({**GOOD, "rewards": [1]}), "policies[0].rewards has 1 entries"),
    "long weights": (file_of({**GOOD, "weights": [0, 0, 1]}), "policies[0].weights has 3 entries"),
    "off the simplex": (file_of({**GOOD, "weights": [0.5, 0.6]}), "sum to 1"),
    "negative weight": (file_of({**GOOD, "weights": [-0.5, 1.5]}), "at least 0"),
    "text as number": (file_of({**GOOD, "rewards": ["1", 2]}), 'policies[0].rewards[0] is "1"'),
    "truth as number": (file_of({**GOOD, "rewards": [True, 2]}), "policies[0].rewards[0] is true"),
    "null reward": (file_of({**GOOD, "rewards": [None, 2]}), "policies[0].rewards[0] is null"),
    "name twice": (file_of(GOOD, GOOD), 'policies[].name: "a" is there twice'),
    "objective twice": (file_of(GOOD, objectives=["x", "x"]), 'objectives: "x" is there twice'),
    "empty name": (file_of({**GOOD, "name": ""}), 'policies[0].name is ""'),
    "terminal codes": (file_of({**GOOD, "name": "\x1b[31m"}), "cannot be printed"),
    "key twice": ('{"objectives": ["x"], "objectives": ["y"]}', 'key "objectives" is there twice'),
    "unknown portfolio": (file_of(GOOD, portfolio=["b"]), '"b" is not in'),
    "huge reward": (file_of({**GOOD, "rewards": [1e308, 1]}), "is 1e+308: its size must be"),
    "null regularizer": (file_of({**GOOD, "regularizer": None}), "[0].regularizer is null"),
    "huge regularizer": (file_of({**GOOD, "regularizer": -1e101}), "policies[0].regularizer"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("command", ["prune", "certify", "route", "plot"])
def test_a_bad_policies_file_is_refused(name: str, command: str, tmp_path: Path) -> None:
    content, rule = HOSTILE[name]
    file = tmp_path / "file.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "w.json").write_text("[[0.5, 0.5]]")
    more = {
        "prune": ["--mu", "0.05", "-o", "json"],
        "certify": ["-o", "json"],
        "route": ["--weights", tmp_path / "w.json", "-o", "json"],
        "plot": ["-o", tmp_path / "out.svg"],
    }[command]
    ran = palm(command, file, *more)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith(f"error: {file}")
    assert rule in ran.err
    assert ran.err.count("\n") == 1
    assert len(ran.err) < 1000


WEIGHTS: dict[str, tuple[str, str]] = {
    "empty": (" \n", "is empty"),
    "off the simplex": ("[[0.5, 0.5], [0.5, 0.6]]", "weight vector 1 is [0.5, 0.6]"),
    "NaN in text": ("0.5,0.5\nnan,0.5", "weight vector 1 is [nan, 0.5]"),
    "NaN in JSON": ("[[NaN, 0.5]]", "NaN is not a number"),
    "ragged JSON": ("[[0.5, 0.5], [1.0]]", "weight vector 1 is [1.0]"),
    "ragged text": ("0.5 0.5\n1.0\n", "one weight vector a line"),
    "too long": ("[[0.2, 0.3, 0.5]]", "weight vector 0 has 3 entries"),
    "words": ("half half", "one weight vector a line"),
    "text in JSON": ('[["0.5", 0.5]]', 'weight vector 0 has "0.5"'),
    "an object without weights": ('{"w": [[0.5, 0.5]]}', "expected a list of weight vectors"),
    "a number": ("[3", "line 1"),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_bad_weights_are_refused(name: str, folder: Path) -> None:
    text, rule = WEIGHTS[name]
    ran = palm("route", "policies.json", "--weights", "-", "-o", "json", stdin=text)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: standard input")
    assert rule in ran.err


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["grid", "-d", 3, "--mu", "8/0", "--alpha", "0.1"], "--mu: '8/0' divides by zero"),
        (["grid", "-d", 3, "--mu", "half", "--alpha", "0.1"], "--mu: 'half' is not a number"),
        (["grid", "-d", 3, "--mu", "nan", "--alpha", "0.1"], "--mu: 'nan' is not a number"),
        (["grid", "-d", 3, "--mu", "2", "--alpha", "0.1"], "mu is 2; it must be in (0, 1]"),
        (["grid", "-d", 3, "--mu", "1e-9", "--alpha", "1e-9"], "at most"),
        (["grid", "-d", 65, "--mu", "1", "--alpha", "1"], "it must be from 1 to 64"),
        (["grid", "-d", 3, "--mu", "1/2"], "--alpha is missing; strategy palm needs it"),
        (["grid", "-d", 3, "--strategy", "uniform"], "--size is 0; strategy uniform needs"),
        (["grid", "-d", 2, "--strategy", "explicit"], "--weights is missing"),
        (["prune", "policies.json", "--mu", "1.5"], "--mu is 1.5; it must be from 0 to 1"),
        (["prune", "policies.json", "--mu", "-1"], "--mu is -1; it must be from 0 to 1"),
        (["prune", "policies.json", "--mu", "0", "--alpha", "-1"], "--alpha is -1"),
        (["prune", "policies.json", "--mu", "0", "--deployed", "w9"], '--deployed: "w9" is not in'),
        (["certify", "policies.json", "--portfolio", "w02"], '--portfolio: "w02" failed'),
        (["certify", "policies.json", "--eta", "inf"], "--eta: 'inf' is not a number"),
        (["certify", "absent.json"], "absent.json: No such file or directory"),
        (["certify", "."], "Is a directory"),
        (["plot", "policies.json", "-o", "out.exe"], "--output is out.exe; it must end in one of"),
        (["plot", "policies.json", "-o", "no/such/folder/out.svg"], "No such file or directory"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(folder: Path, arguments: list[Any], rule: str) -> None:
    ran = palm(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert rule in ran.err
    assert ran.err.count("\n") == 1


def test_usage_errors_have_the_same_exit_code() -> None:
    assert palm("grid").code == 2
    assert palm("prune", "file", "--mu", "0", "--solver", "lucky").code == 2
    assert palm("fly").code == 2


def test_a_file_that_never_ends_is_refused() -> None:
    ran = palm("certify", "/dev/zero")
    assert ran.code == 2
    assert "is larger than 64 MiB" in ran.err


@pytest.mark.parametrize(("objectives", "policies"), [(2, 2_001), (8, 51), (9, 9)])
def test_what_would_take_hours_to_certify_is_refused(
    objectives: int, policies: int, tmp_path: Path
) -> None:
    row = [1.0] + [0.0] * (objectives - 1)
    rows = [{"name": f"w{i}", "weights": row, "rewards": row} for i in range(policies)]
    file = tmp_path / "many.json"
    names = [f"objective {i}" for i in range(objectives)]
    file.write_text(json.dumps({"objectives": names, "policies": rows}))
    ran = palm("certify", file)
    assert ran.code == 2
    assert "are too much to certify" in ran.err


def test_a_typo_in_a_policy_is_pointed_out(folder: Path, policies: dict[str, Any]) -> None:
    policies["policies"][0]["regulariser"] = 0.1
    Path("typo.json").write_text(json.dumps(policies))
    ran = palm("certify", "typo.json", "-o", "json")
    assert ran.code == 0
    assert 'key "regulariser" is not known' in ran.err


def test_markup_in_names_is_shown_as_it_is(folder: Path, policies: dict[str, Any]) -> None:
    policies["policies"][0]["name"] = "[red]w00[/red]"
    Path("markup.json").write_text(json.dumps(policies))
    assert "[red]w00[/red]" in palm("prune", "markup.json", "--mu", "0").out
