"""Files of weight vectors: JSON for programs, comma-separated or spaced text for people."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palm.objective import check_weights
from palm_cli.failures import InvalidInput
from palm_cli.inputs import MEBIBYTE, parse_json, read_text, shown, shown_name

BYTES_LIMIT = 256 * MEBIBYTE
ROWS_LIMIT = 10_000_000

_NOISE = str.maketrans(",;[]", "    ")


def read_weights(source: str, *, dimension: int) -> NDArray[np.float64]:
    """Read weight vectors.

    Args:
        source: Path or ``-``: ``[[0.2, 0.8], …]``, ``{"weights": [[0.2, 0.8], …]}``, one JSON
            array a line, or numbers between commas, semicolons or spaces, one vector a line.
        dimension: Entries of each.

    Returns:
        Weight vectors on the simplex, shape ``(n, dimension)``, at least one.

    Raises:
        InvalidInput: It cannot be read or breaks a rule.
    """
    text = read_text(source, limit=BYTES_LIMIT)
    where = shown_name(source)
    opening = text.lstrip()[:1]
    if not opening:
        raise InvalidInput(f"{where} is empty; there must be a weight vector")
    if opening in "[{" and not _is_lines(text):
        return weights_from(parse_json(text, source), source, dimension=dimension)
    return _checked(_from_lines(text.translate(_NOISE), where), where, dimension)


def weights_from(value: Any, source: str, *, dimension: int | None = None) -> NDArray[np.float64]:
    """Return the weight vectors of a parsed JSON value; see ``read_weights``.

    Args:
        value: A list of lists, one list of numbers, or an object with ``weights``.
        source: Where it was read, for messages.
        dimension: Entries of each; those of the first when None.
    """
    where = shown_name(source)
    rows = value.get("weights") if isinstance(value, dict) else value
    if not isinstance(rows, list) or not rows:
        raise InvalidInput(f"{where}: {shown(rows)}; expected a list of weight vectors")
    if not isinstance(rows[0], list):
        rows = [rows]  # a single weight vector
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(rows[0]):
            raise InvalidInput(
                f"{where}: weight vector {index} is {shown(row)}; "
                f"expected a list of {dimension or len(rows[0])} numbers"
            )
        for entry in row:
            if isinstance(entry, bool) or not isinstance(entry, int | float):
                raise InvalidInput(
                    f"{where}: weight vector {index} has {shown(entry)}; expected a number"
                )
    return _checked(np.array(rows, dtype=np.float64), where, dimension)


def _checked(
    vectors: NDArray[np.float64], where: str, dimension: int | None
) -> NDArray[np.float64]:
    if dimension is not None and vectors.shape[1] != dimension:
        raise InvalidInput(
            f"{where}: weight vector 0 has {vectors.shape[1]} entries; "
            f"expected {dimension}, one per objective"
        )
    if len(vectors) > ROWS_LIMIT:
        raise InvalidInput(f"{where} has {len(vectors):,} rows; at most {ROWS_LIMIT:,} are read")
    try:
        check_weights(vectors)
    except ValueError as error:
        raise InvalidInput(f"{where}: {error}") from None
    return vectors


def _is_lines(text: str) -> bool:
    """Say whether this is one JSON array of numbers a line, not one JSON document."""
    opening = text.lstrip()
    return opening[0] == "[" and opening[1:].lstrip()[:1] != "[" and text.count("[") > 1


def _from_lines(text: str, where: str) -> NDArray[np.float64]:
    try:
        return np.loadtxt(io.StringIO(text), ndmin=2, max_rows=ROWS_LIMIT + 1)
    except ValueError as error:
        raise InvalidInput(f"{where}: {error}; expected one weight vector a line") from None
