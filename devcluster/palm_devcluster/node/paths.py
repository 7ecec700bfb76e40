"""Mount paths as local folders: what a mount namespace would do, done by rewriting strings.

A mount path is rewritten where it stands as a path of its own: at the start of a string or after
one of ``= : , ; ' " ( [ { < > | & @``, white space or ``file://``, and up to a ``/`` or any
character that cannot go on a file name. So ``--out=/data/x`` and ``sh -c "cat /data/x"`` change
while ``/database``, ``s3://bucket/data`` and ``$HOME/data`` do not.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_BEFORE = r"""(?:(?<![^\s=:,;'"`(\[{<>|&@])|(?<=file://))"""
_AFTER = r"(?![\w.\-])"


@dataclass(frozen=True)
class Mount:
    """A path inside a container and the local folder or file that stands for it."""

    path: str
    folder: str


def translate(text: str, mounts: Sequence[Mount]) -> str:
    """Rewrite every mount path in ``text``; of nested mounts the longest path wins."""
    folders = {mount.path.rstrip("/"): mount.folder for mount in mounts}
    paths = sorted((path for path in folders if path), key=len, reverse=True)
    if not paths:
        return text
    pattern = f"{_BEFORE}(?:{'|'.join(map(re.escape, paths))}){_AFTER}"
    return re.sub(pattern, lambda match: folders[match[0]], text)
