"""The toy task agrees with its reward, and its cache builds once."""

import json
from pathlib import Path

import pytest

from palm_rewards.verifiable import arithmetic_steps, is_correct
from palm_trainer.toy import cached_toy_model
from palm_trainer.toy.cache import cache_folder, recipe_digest
from palm_trainer.toy.recipe import Recipe
from palm_trainer.toy.task import prompt_lines, question, response, samples


def test_every_response_of_the_task_is_correct_and_its_steps_count() -> None:
    for a in range(10):
        for b in range(10):
            full = response(a, b, (True, True, True, True))
            assert is_correct(full, str(a + b))
            assert arithmetic_steps(question(a, b), full) == 1.0
            assert arithmetic_steps(question(a, b), response(a, b, (False,) * 4)) == 0.0


def test_there_are_a_hundred_different_prompts() -> None:
    assert len({json.dumps(line) for line in prompt_lines()}) == 100


def test_samples_repeat_with_their_seed() -> None:
    assert samples(50, seed=1) == samples(50, seed=1)
    assert samples(50, seed=1) != samples(50, seed=2)


def test_another_recipe_has_another_digest() -> None:
    assert recipe_digest(Recipe()) == recipe_digest(Recipe())
    assert recipe_digest(Recipe(steps=1)) != recipe_digest(Recipe())


def test_the_cache_lies_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("PALM_CACHE", raising=False)
    assert cache_folder() == tmp_path / "xdg" / "palm-operator"
    monkeypatch.setenv("PALM_CACHE", str(tmp_path / "palm"))
    assert cache_folder() == tmp_path / "palm"


def test_a_cached_model_is_not_made_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PALM_CACHE", str(tmp_path))
    (tmp_path / "toy" / recipe_digest()).mkdir(parents=True)
    assert cached_toy_model() == tmp_path / "toy" / recipe_digest()


@pytest.mark.model
def test_a_model_that_cannot_add_is_refused(tmp_path: Path) -> None:
    from palm_trainer.toy.base_model import make_toy_model

    with pytest.raises(ValueError, match="at least 95% are needed"):
        make_toy_model(tmp_path, Recipe(samples=200, steps=2, checked_samples_per_prompt=1))
    assert not list(tmp_path.iterdir())


@pytest.mark.model
def test_the_same_recipe_makes_the_same_files(tmp_path: Path) -> None:
    from palm_trainer.toy.base_model import make_toy_model

    recipe = Recipe(samples=200, steps=2, required_accuracy=0.0, checked_samples_per_prompt=1)
    for name in ("one", "two"):
        make_toy_model(tmp_path / name, recipe)
    for path in sorted((tmp_path / "one").rglob("*.*")):
        assert (
            path.read_bytes()
            == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()
        )
