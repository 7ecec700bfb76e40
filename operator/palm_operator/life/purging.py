"""What of S3 goes with a Portfolio, and in which order. Pure: keys and contents in, keys out.

Objects are identified by digests, and whoever relies on one has its digest in its own folder below
``portfolios/``: in a record of use, or (of a version that wrote none) in a manifest. A digest that
another folder mentions in any way is in use, also when that Portfolio is deleted and was to be
retained. So nothing has to be understood of what others wrote.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from palm import artifacts

_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")


@dataclass(frozen=True)
class Purge:
    """Keys to delete, stage by stage, and what stays.

    Attributes:
        stages: Keys relative to the prefix. What makes others believe in an object goes first, what
            the purge itself is decided by last: it can be cut off anywhere and begun again.
        kept: Policies, results and tables of this Portfolio that stay because others use them.
    """

    stages: tuple[tuple[str, ...], ...]
    kept: int

    @property
    def count(self) -> int:
        """Return the number of keys."""
        return sum(map(len, self.stages))


def digests_in(content: bytes) -> frozenset[str]:
    """Return everything in a text that looks like a digest of the contract."""
    return frozenset(match.decode() for match in _DIGEST.findall(content))


def telling(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return, per Portfolio ``namespace/name``, the objects that tell what it uses.

    Args:
        names: What lies below ``portfolios/``, relative to it.
    """
    found: dict[str, list[str]] = {}
    for name in names:
        parts = name.split("/")
        if len(parts) > 2:
            found.setdefault("/".join(parts[:2]), []).append(name)
    return {whose: tuple(_records(mine) or mine) for whose, mine in found.items()}


def are_recorded(told: Mapping[str, Iterable[str]]) -> bool:
    """Say whether all these Portfolios have records of use, as opposed to manifests alone."""
    return all(_records(list(names)) for names in told.values())


def purge(
    keys: Iterable[str],
    *,
    whose: str,
    own: frozenset[str],
    others: frozenset[str],
    recorded: bool = True,
) -> Purge:
    """Return what goes with a Portfolio.

    Args:
        keys: Every object below the prefix, relative to it.
        whose: The Portfolio, ``namespace/name``.
        own: Digests that it uses.
        others: Digests that others use.
        recorded: Whether others have records of use; a manifest does not name all tables.
    """
    markers: list[str] = []
    things: list[str] = []
    record: list[str] = []
    uses: list[str] = []
    kept: set[str] = set()
    folder = f"{artifacts.PORTFOLIOS}/{whose}/"
    for key in sorted(keys):
        if key.startswith(folder):
            tells = key.startswith(f"{folder}{artifacts.USES}/")
            (uses if tells else record).append(key)
            continue
        digests = _identity(key)
        mine = [digest for digest in digests if digest in own]
        is_table = key.startswith((f"{artifacts.BASE}/", f"{artifacts.CALIBRATIONS}/"))
        if not mine or (is_table and not recorded):
            continue
        if others.isdisjoint(digests[:1]):
            is_marker = key == artifacts.training_record(digests[0])
            (markers if is_marker else things).append(key)
        elif len(digests) > 1 and digests[1] in own and digests[1] not in others:
            things.append(key)
        else:
            kept.add(digests[0])
    return Purge(tuple(map(tuple, (markers, things, record, uses))), len(kept))


def _records(names: list[str]) -> list[str]:
    return [name for name in names if name.split("/")[2] == artifacts.USES]


def _identity(key: str) -> tuple[str, ...]:
    """Return the digests that an object is identified by, the one of its folder first."""
    kind, _, rest = key.partition("/")
    head, _, tail = rest.partition("/")
    if kind in (artifacts.BASE, artifacts.CALIBRATIONS) and not tail:
        return (head.removesuffix(".json"),)
    if kind == artifacts.CHECKPOINTS:
        return (head,)
    if kind != artifacts.POLICIES or not tail:
        return ()
    folder, _, name = tail.partition("/")
    return (head, name.removesuffix(".json")) if folder == "evaluations" else (head,)


def united(contents: Mapping[str, bytes]) -> frozenset[str]:
    """Return every digest in some contents."""
    return frozenset().union(*map(digests_in, contents.values()))
