"""How often a folder's vectors were found, over all processes: an append-only file of small records.

It lies beside the database, not in it, so that a call which only reads takes
no write lock: appending a record is one system call, and the kernel keeps the
records of several processes apart.
"""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path
from typing import NamedTuple

__all__ = ["Usage", "add", "compact", "read", "reset"]

_NAME = "usage.log"
_RECORD = struct.Struct("<qqq")
_LONG = 2**20  # bytes of log that are worth adding up


class Usage(NamedTuple):
    """Counts since the folder was made or cleared: texts, texts, vectors."""

    hits: int
    misses: int
    evictions: int


def add(folder: Path, hits: int, misses: int, evictions: int) -> bool:
    """Append a record; say whether the log has grown long. A folder that cannot be written to is not counted."""
    if not (hits or misses or evictions):
        return False
    with contextlib.suppress(OSError):
        file = os.open(folder / _NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, _RECORD.pack(hits, misses, evictions))
            return os.fstat(file).st_size > _LONG
        finally:
            os.close(file)
    return False


def read(folder: Path) -> Usage:
    """Return the sums."""
    try:
        raw = (folder / _NAME).read_bytes()
    except OSError:
        return Usage(0, 0, 0)
    whole = raw[: len(raw) // _RECORD.size * _RECORD.size]  # a record cut short by a crash is not one
    records = list(_RECORD.iter_unpack(whole))
    return Usage(*(sum(column) for column in zip(*records, strict=True))) if records else Usage(0, 0, 0)


def compact(folder: Path) -> None:
    """Put one record in the place of all. Call it under a lock; a record that comes meanwhile may be lost."""
    with contextlib.suppress(OSError):
        fresh = folder / (_NAME + ".new")
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(file, _RECORD.pack(*read(folder)))
        finally:
            os.close(file)
        os.replace(fresh, folder / _NAME)


def reset(folder: Path) -> None:
    """Set the counts to 0."""
    (folder / _NAME).unlink(missing_ok=True)
