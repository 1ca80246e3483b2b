"""How often a folder's vectors were found, over all processes: an append-only file of short lines.

It lies beside the database, not in it, so that a call which only reads takes
no write lock: appending a line is one system call, and the kernel keeps the
lines of several processes apart.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["Usage", "add", "compact", "read", "reset"]

_NAME = "usage.log"
_LONG = 2**20  # bytes of log that are worth adding up
# A line has its newline in front, so that one cut short by a crash spoils no other, and its end is marked.
_LINE = re.compile(rb"^(\d{1,18}) (\d{1,18}) (\d{1,18});", re.MULTILINE)


class Usage(NamedTuple):
    """Counts since the folder was made or cleared: texts, texts, vectors."""

    hits: int
    misses: int
    evictions: int


def add(folder: Path, hits: int, misses: int, evictions: int) -> bool:
    """Append a line; say whether the log has grown long. A folder that cannot be written to is not counted."""
    if not (hits or misses or evictions):
        return False
    with contextlib.suppress(OSError):
        file = os.open(folder / _NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, _line(Usage(hits, misses, evictions)))
            return os.fstat(file).st_size > _LONG
        finally:
            os.close(file)
    return False


def read(folder: Path) -> Usage:
    """Return the sums."""
    try:
        raw = (folder / _NAME).read_bytes()
    except OSError:
        raw = b""
    lines = [[int(count) for count in line] for line in _LINE.findall(raw)]
    return Usage(*(sum(column) for column in zip(*lines, strict=True))) if lines else Usage(0, 0, 0)


def compact(folder: Path) -> None:
    """Put one line in the place of all. Call it under a lock; a line that comes meanwhile may be lost."""
    with contextlib.suppress(OSError):
        fresh = folder / (_NAME + ".new")
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(file, _line(read(folder)))
        finally:
            os.close(file)
        os.replace(fresh, folder / _NAME)


def reset(folder: Path) -> None:
    """Set the counts to 0."""
    (folder / _NAME).unlink(missing_ok=True)


def _line(counts: Usage) -> bytes:
    return "\n{} {} {};".format(*counts).encode()
