import json
from pathlib import Path
from typing import Any

import pytest

from routes import make_table

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def policies() -> dict[str, Any]:
    """A policies file with three policies, none dominated, and a failed one in between."""
    return {
        "objectives": ["brevity", "helpfulness"],
        "policies": [
            {"name": "w00", "weights": [1, 0], "rewards": [0.9, 0.1], "regularizer": 0.0},
            {"name": "w01", "weights": [0.5, 0.5], "rewards": [0.7, 0.7], "regularizer": 0.05},
            {"name": "w02", "weights": [0.25, 0.75], "rewards": None},
            {"name": "w03", "weights": [0, 1], "rewards": [0.2, 0.95]},
        ],
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policies: dict[str, Any]) -> Path:
    """A working folder with one file of every kind that the help's examples name."""
    monkeypatch.chdir(tmp_path)
    example = ROOT / "examples" / "arithmetic.yaml"
    for name, content in {
        "policies.json": json.dumps(policies),
        "front.json": json.dumps({"front": [[1.0, 0.0], [0.8, 0.7], [0.5, 0.9], [0.0, 1.0]]}),
        "users.csv": "0.2,0.8\n0.9,0.1\n",
        "users.json": "[[0.2, 0.8], [0.9, 0.1]]",
        "route-table.json": make_table(
            [[1.0, 0.0], [0.7, 0.7], [0.0, 1.0]], rewards=("helpfulness", "brevity")
        ).content(),
        "portfolio.yaml": example.read_text(encoding="utf-8"),
    }.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path
