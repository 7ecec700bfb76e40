"""Rows of a Parquet file. The only importer of pyarrow."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from palm_store.prompts.rows import Columns

MAX_UNPACKED_BYTES = 1024 * 1024 * 1024
"""A small file may hold much more than it seems to."""

_BATCH = 128


def parquet_rows(content: bytes, columns: Columns) -> Iterator[tuple[str, Any]]:
    """Yield the rows of a file with the columns that matter, and where they stand.

    Raises:
        ValueError: It is no Parquet file, unpacks to too much, or lacks the prompts' column.
    """
    try:
        file = pq.ParquetFile(BytesIO(content))
    except (pa.ArrowException, OSError) as problem:
        raise ValueError(f"the file is not Parquet: {_first_line(problem)}") from None
    names = file.schema_arrow.names
    if columns.prompt not in names:
        shown = ", ".join(map(repr, names[:8])) or "none"
        raise ValueError(f"the file has no column {columns.prompt!r}; it has {shown}")
    wanted = [name for name in (columns.prompt, columns.answer) if name in names]
    _check_size(file, wanted)
    number = size = 0
    try:
        for batch in file.iter_batches(batch_size=_BATCH, columns=wanted):
            for row in batch.to_pylist():
                number += 1
                # A text that is repeated is stored once: the file's own sum does not say it.
                size += _size(row)
                _check_unpacked(size)
                yield f"row {number}", row
    except (pa.ArrowException, OSError, UnicodeDecodeError) as problem:
        raise ValueError(f"row {number + 1} cannot be read: {_first_line(problem)}") from None


def _check_size(file: pq.ParquetFile, wanted: list[str]) -> None:
    metadata, size = file.metadata, 0
    for group in range(metadata.num_row_groups):
        chunks = (metadata.row_group(group).column(i) for i in range(metadata.num_columns))
        size += sum(
            chunk.total_uncompressed_size
            for chunk in chunks
            if chunk.path_in_schema.split(".")[0] in wanted
        )
    _check_unpacked(size)


def _size(value: Any) -> int:
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, list) else 1


def _check_unpacked(size: int) -> None:
    if size > MAX_UNPACKED_BYTES:
        raise ValueError(
            f"the prompts unpack to {size:,} bytes or more; at most {MAX_UNPACKED_BYTES:,} are read"
        )


def _first_line(problem: BaseException) -> str:
    return str(problem).splitlines()[0][:200] if str(problem) else type(problem).__name__
