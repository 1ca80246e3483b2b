"""Whether a database can be trusted: LMDB's errors in our words, and its pages looked at before it follows them.

To touch a page behind the file's end kills the process, and so may a damaged
pointer: beyond what Python can catch. So the pages are looked at by lmdb's own
verifier, which only reads the file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import lmdb
from lmdb.verify import VerifyError, verify

from skbert._store.disk.blocks import DamagedBlockError

__all__ = ["Damaged", "Unusable", "bytes_of_pages", "check_pages", "problems", "translated", "verify_pages"]

_VERIFIED_BYTES = 2**30  # larger files are not verified at opening: a gigabyte of small vectors takes about a second

# These say that the file contradicts itself. Others (no room, a write that failed) say nothing about what is in it:
# after them it is opened and looked at anew.
_DAMAGE = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.CursorFullError,
    lmdb.PageFullError,
    lmdb.IncompatibleError,
)


class Unusable(Exception):
    """A folder cannot hold a store, or cannot be written to now; the message says why."""


class Damaged(Exception):
    """The database contradicts itself; the message says how."""


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn LMDB's errors into ours."""
    try:
        yield
    except (*_DAMAGE, DamagedBlockError) as error:
        raise Damaged(str(error) or type(error).__name__) from error
    except lmdb.Error as error:
        raise Unusable(str(error)) from error


def bytes_of_pages(env: lmdb.Environment) -> int:
    """Return the bytes that the pages of the last commit take."""
    return int((env.info()["last_pgno"] + 1) * env.stat()["psize"])


def check_pages(env: lmdb.Environment, data: Path) -> None:
    """Raise `Damaged` where the file is too short for its pages, or where a page contradicts itself."""
    size, needed = data.stat().st_size, bytes_of_pages(env)
    if size >= needed and size > _VERIFIED_BYTES:
        return
    try:
        verify_pages(env)
    except Damaged as error:
        if size >= needed:
            raise
        msg = f"its {data.name} has {size:,} bytes where {needed:,} are needed"
        raise Damaged(msg) from error


def verify_pages(env: lmdb.Environment) -> None:
    """Raise `Damaged` where a page contradicts itself; takes a second or two for a million values."""
    with env.begin():  # what it sees stays as it is, whatever others write meanwhile
        if not problems(env.path()):
            return
    with env.begin(write=True):  # unless it saw a commit half done: once more with all writers kept out
        found = problems(env.path())
    if found:
        raise Damaged(found[0])


def problems(folder: str) -> list[str]:
    """Return what contradicts itself in the database in `folder`."""
    try:
        return verify(folder)
    except VerifyError as error:
        return [str(error)]
    except OSError:  # not there, or not to be read: nothing is known
        return []
