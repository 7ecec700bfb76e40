"""Addresses: the node's, and one of its own for each Pod, all of them on loopback. Pure.

Linux takes every address of 127.0.0.0/8 as local, so two Pods can listen on the same port where
each listens on its own address, as ``status.podIP`` of the downward API tells it. A program that
listens on every address still takes the port from all others.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

ADDRESS = "127.0.0.1"
"""The node's own."""

# 127.0.x.y to 127.15.x.y are left to people and programs.
_FIRST, _COUNT = 16, 240


def pod_address(pod: Mapping[str, Any]) -> str:
    """Return a Pod's address: a digest of its uid, so that it needs no memory.

    Two of a hundred Pods have the same one in about one of three thousand cases.
    """
    if pod["spec"].get("hostNetwork"):
        return ADDRESS
    second, third, fourth, *_ = hashlib.sha256(pod["metadata"]["uid"].encode()).digest()
    return f"127.{_FIRST + second % _COUNT}.{third}.{1 + fourth % 254}"
