"""Keep the toy base model outside the tree, so that it is trained once per recipe."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from palm_store.job import quiet_libraries
from palm_trainer.toy.recipe import RECIPE, Recipe

_SOURCES = ("base_model.py", "recipe.py", "task.py")


def recipe_digest(recipe: Recipe = RECIPE) -> str:
    """Return 16 hexadecimal digits that change whenever the recipe or its code does."""
    digest = hashlib.sha256(repr(recipe).encode())
    for name in _SOURCES:
        digest.update((Path(__file__).parent / name).read_bytes())
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """Return the project's cache folder: ``PALM_CACHE``, else the user's cache folder."""
    if chosen := os.environ.get("PALM_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palm-operator"


def cached_toy_model() -> Path:
    """Return the folder with ``model/`` and ``prompts.jsonl``, making it first where it is absent.

    Two processes that make it at once do the work twice and end with one whole folder.
    """
    final = cache_folder() / "toy" / recipe_digest()
    if final.is_dir():
        return final
    print("toy base model: training it once, about 75 s", flush=True)
    quiet_libraries([])
    # Only where it must be trained: torch takes seconds to import.
    from palm_trainer.toy.base_model import make_toy_model

    final.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=final.parent))
    try:
        make_toy_model(building, RECIPE)
        _publish(building, final)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return final


def _publish(building: Path, final: Path) -> None:
    building.chmod(0o755)
    try:
        building.rename(final)
    except OSError:
        if not final.is_dir():  # another process may have been quicker; then its folder is as good
            raise
