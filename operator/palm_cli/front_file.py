"""The front file: ``{"front": [[…], …]}``, the utilities of every policy there is."""

import numpy as np
from numpy.typing import NDArray

from palm_cli.failures import InvalidInput
from palm_cli.inputs import MEBIBYTE, parse_json, read_text, shown, shown_name
from palm_cli.policies_file import LARGEST

BYTES_LIMIT = 64 * MEBIBYTE
_ROWS_LIMIT = 100_000


def read_front(source: str, *, dimension: int) -> NDArray[np.float64]:
    """Read a front file.

    Args:
        source: Path or ``-``.
        dimension: Objectives of each policy.

    Returns:
        Utilities, shape ``(policies, dimension)``, at least one policy.

    Raises:
        InvalidInput: It cannot be read or breaks a rule.
    """
    value = parse_json(read_text(source, limit=BYTES_LIMIT), source)
    where = shown_name(source)
    rows = value.get("front") if isinstance(value, dict) else None
    if not isinstance(rows, list) or not 1 <= len(rows) <= _ROWS_LIMIT:
        raise InvalidInput(
            f"{where}: front is {shown(rows)}; it must be a list of 1 to {_ROWS_LIMIT:,} rows"
        )
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != dimension:
            raise InvalidInput(
                f"{where}: front[{index}] is {shown(row)}; "
                f"it must be a list of {dimension} numbers, one per objective"
            )
        for column, entry in enumerate(row):
            number = isinstance(entry, int | float) and not isinstance(entry, bool)
            if not number or not abs(entry) <= LARGEST:
                raise InvalidInput(
                    f"{where}: front[{index}][{column}] is {shown(entry)}; "
                    f"it must be a number of size at most {LARGEST:g}"
                )
    return np.array(rows, dtype=np.float64)
