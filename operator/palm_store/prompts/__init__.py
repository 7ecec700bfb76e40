"""Prompts: what may lie in a file of them, and how it is read.

JSON lines or Parquet, in S3 or in a dataset of Hugging Face at a pinned revision. Everything is
checked before anything is used, and an error names the line.
"""

from palm_store.prompts.reading import MAX_PROMPTS_BYTES, check_answers, parsed_prompts
from palm_store.prompts.rows import Columns, Prompt
from palm_store.prompts.source import FoundPrompts, read_prompts

__all__ = [
    "MAX_PROMPTS_BYTES",
    "Columns",
    "FoundPrompts",
    "Prompt",
    "check_answers",
    "parsed_prompts",
    "read_prompts",
]
