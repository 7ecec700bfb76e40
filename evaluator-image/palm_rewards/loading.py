"""What transformers leaves out or makes up of a model's files, said instead of passed over."""

from collections.abc import Mapping
from typing import Any


def check_complete(loading: Mapping[str, Any]) -> None:
    """Refuse files that lack weights, or have them in other shapes.

    Args:
        loading: What transformers says of a model that it loaded.

    Raises:
        ValueError: Some would be made up; names the first.
    """
    if missing := sorted(loading["missing_keys"]):
        raise ValueError(f"its files lack {missing[0]} and {len(missing) - 1} more weights")
    check_shapes(loading)


def check_shapes(loading: Mapping[str, Any]) -> None:
    """Refuse weights of other shapes than the configuration says; they would be made up.

    Args:
        loading: What transformers says of a model that it loaded.

    Raises:
        ValueError: There are some; names the first.
    """
    if mismatched := sorted(map(str, loading["mismatched_keys"])):
        raise ValueError(f"a weight is not of the shape that config.json says: {mismatched[0]}")


def check_tokenizer(tokenizer: Any) -> None:
    """Refuse a tokenizer that was made up for want of files.

    Raises:
        ValueError: It knows nothing but special tokens.
    """
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise ValueError("its files have no tokenizer")


def first_line(problem: BaseException) -> str:
    """Return the first line of what an error says."""
    lines = str(problem).strip().splitlines()
    return lines[0][:300] if lines else type(problem).__name__
