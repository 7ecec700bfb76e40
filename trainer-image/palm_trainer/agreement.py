"""What the processes of a training agree on; a process alone agrees with itself.

Every process must ask, in the same order.
"""

import os
from typing import Any, TypeVar

import torch.distributed as dist

T = TypeVar("T")


def of_all(value: T) -> list[T]:
    """Return every process' value, by rank."""
    if not dist.is_initialized():
        return [value]
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, value)
    return gathered


def is_first_here() -> bool:
    """Say whether this is the first process of its machine, as the launcher numbers them."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def together() -> None:
    """Wait for all processes."""
    if dist.is_initialized():
        dist.barrier()
