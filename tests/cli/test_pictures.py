"""Pictures: geometry against sampling, formats, and pages that trust nobody's text."""

import html.parser
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.invoke import palm
from palm.usage import best_policy
from palm_cli.drawing import simplex
from palm_cli.drawing.coverage import covered_share
from palm_cli.drawing.style import color

BEGINNINGS = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF", ".html": b"<!doctype html>"}


@given(st.integers(0, 500), st.integers(1, 12))
def test_cells_are_where_each_policy_is_best(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    utilities = generator.random((count, 3))
    cells = list(simplex.serving_cells(utilities))
    shares = np.array([simplex.area(corners) for corners in cells])
    assert shares.sum() == pytest.approx(1.0, abs=1e-9)
    weights = generator.dirichlet(np.ones(3), size=4_000)
    served = np.bincount(best_policy(weights=weights, utilities=utilities), minlength=count)
    np.testing.assert_allclose(shares, served / len(weights), atol=0.05)


@given(
    st.integers(0, 500), st.sampled_from([0.0, 0.2, 0.4, 1.0, 1.5]), st.sampled_from([0.0, 0.05])
)
def test_the_cell_around_w_is_what_w_approximates(seed: int, epsilon: float, delta: float) -> None:
    generator = np.random.default_rng(seed)
    w = generator.dirichlet(np.ones(3))
    v = generator.dirichlet(np.ones(3), size=6_000)
    inside = (np.abs(w - v) <= epsilon * v + delta).all(axis=1)
    share = simplex.area(simplex.near_cell(w, epsilon=epsilon, delta=delta))
    assert share == pytest.approx(inside.mean(), abs=0.03)


def test_the_centre_of_mass_of_the_simplex_is_its_middle() -> None:
    middle = simplex.to_plane(np.full((1, 3), 1 / 3))[0]
    np.testing.assert_allclose(simplex.centroid(np.eye(3)), middle)


@pytest.mark.parametrize("dimension", [2, 3])
def test_coverage_of_everything_and_of_nearly_nothing(dimension: int) -> None:
    middle = np.full((1, dimension), 1 / dimension)
    assert covered_share(middle, epsilon=0.0, delta=1.0) == 1.0
    assert covered_share(middle, epsilon=0.0, delta=0.0) < 0.001


def test_colours_of_a_portfolio_differ() -> None:
    assert len({color(index) for index in range(24)}) == 24


@pytest.mark.parametrize("ending", BEGINNINGS)
@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_a_portfolio_of_any_number_of_objectives_is_drawn(
    ending: str, objectives: int, tmp_path: Path
) -> None:
    weights = [*np.eye(objectives).tolist(), [1 / objectives] * objectives]
    policies = [
        {"name": f"w{i:02d}", "weights": w, "rewards": w if i else None}
        for i, w in enumerate([weights[0], *weights])
    ]
    names = [f"objective {i}" for i in range(objectives)]
    file, target = tmp_path / "p.json", tmp_path / f"out{ending}"
    file.write_text(json.dumps({"objectives": names, "policies": policies}))
    ran = palm("plot", file, "-o", target)
    assert (ran.code, ran.out, ran.err) == (0, f"{target}\n", "")
    assert target.read_bytes().startswith(BEGINNINGS[ending])


@pytest.mark.parametrize("ending", [".svg", ".html"])
def test_the_same_input_is_the_same_picture(ending: str, folder: Path) -> None:
    for name in ("one", "two"):
        assert palm("plot", "policies.json", "-o", f"{name}{ending}").code == 0
    assert Path(f"one{ending}").read_bytes() == Path(f"two{ending}").read_bytes()


def test_a_grid_is_drawn_with_its_coverage(folder: Path) -> None:
    for objectives, names in ((2, "a,b"), (3, "")):
        grid = palm("grid", "-d", objectives, "--mu", "1/2", "--alpha", "1/5", "-o", "json").out
        ran = palm("plot", "-", "-o", "grid.svg", "--objectives", names, stdin=grid)
        assert ran.code == 0, ran.err
        ET.parse("grid.svg")
    grid = palm("grid", "-d", 4, "--mu", "1/2", "--alpha", "1/5", "-o", "json").out
    ran = palm("plot", "-", "-o", "grid.svg", stdin=grid)
    assert ran.code == 2
    assert "4 objectives; 2 or 3 are drawn" in ran.err


class Tags(html.parser.HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def test_a_page_fetches_nothing_and_runs_nobodys_text(
    folder: Path, policies: dict[str, Any]
) -> None:
    evil = "</script><img src=x onerror=alert(1)>$\\frac$"
    policies["objectives"][0] = evil
    policies["policies"][0]["name"] = evil
    Path("evil.json").write_text(json.dumps(policies))
    assert palm("plot", "evil.json", "-o", "evil.html").code == 0
    page = Path("evil.html").read_text()
    seen = Tags(page)
    assert "img" not in seen.tags
    assert seen.tags.count("script") == 2
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    links = [value for name, value in seen.attributes if name in ("src", "href", "xlink:href")]
    assert all(link and link.startswith("#") for link in links)
    assert "default-src 'none'" in page


def test_the_operators_ledger_is_drawn(tmp_path: Path) -> None:
    rewards = [{"name": "a", "mean": 0.5, "standardError": 0.1}] * 2
    policies = [
        {"name": f"w0{i}-1f9c2a", "weights": w, "utilities": w, "rewards": rewards}
        for i, w in enumerate([[1.0, 0.0], [0.0, 1.0]])
    ]
    ledger = {
        "portfolio": {"namespace": "ml", "name": "assistant"},
        "inputs": {"rewards": [{"name": "a"}, {"name": "b"}]},
        "policies": policies,
        "base": {"rewards": rewards},
        "cover": {"policies": ["w00-1f9c2a", "w01-1f9c2a"]},
        "guarantee": {"scope": "Simplex", "epsilon": 0.1, "delta": 0.2},
    }
    file = tmp_path / "portfolio.json"
    file.write_text(json.dumps(ledger))
    assert palm("plot", file, "-o", tmp_path / "out.svg").code == 0
    ledger["cover"] = {"policies": ["w09-000000"]}
    file.write_text(json.dumps(ledger))
    ran = palm("plot", file, "-o", tmp_path / "out.svg")
    assert ran.code == 2
    assert "which are not in policies" in ran.err


def test_a_picture_of_too_many_policies_is_refused(tmp_path: Path) -> None:
    rows = [{"name": f"w{i}", "weights": [1, 0], "rewards": [1, 0]} for i in range(2_001)]
    file = tmp_path / "p.json"
    file.write_text(json.dumps({"objectives": ["a", "b"], "policies": rows}))
    ran = palm("plot", file, "-o", tmp_path / "out.svg")
    assert ran.code == 2
    assert "at most 2000 are drawn" in ran.err
