"""One opened LMDB environment: how it is opened, checked and set aside, and the transactions on it.

The only file that imports lmdb. What it raises: `Unusable` where a folder
cannot hold a store, `Damaged` where the database contradicts itself, `NoRoom`
and `Unusable` where something could not be written.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lmdb
import numpy as np
from lmdb.verify import VerifyError, verify

from skbert._store.base import merge_facts, namespaces_of
from skbert._store.disk import blocks, places
from skbert._store.disk.blocks import Block, DamagedBlockError

__all__ = ["DATA", "LOCK", "Damaged", "Database", "Put", "Unusable"]

DATA, LOCK = "data.mdb", "lock.mdb"

# Address space, not memory and not disk: so large that the map need not grow, which no reader could bear. Where less
# is allowed (ulimit -v), less is taken. On Windows the file itself would have that size.
_MAP_BYTES = [2**38, 2**36, 2**34, 2**32, 2**30] if sys.platform != "win32" else [2**32, 2**30]
_MAX_READERS = 1024  # 126 by default; slots of readers that died are freed only when looked for
_LOCK_BYTES = 66 * 1024  # what LMDB wants for that many: 64 bytes each, and its header
_PLACE = np.dtype([("block", ">u8"), ("row", ">u4")])  # a value of the index

# These say that the file contradicts itself. Others (no room, too many readers) say nothing about what is in it.
_DAMAGE = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.CursorFullError,
    lmdb.PageFullError,
    lmdb.IncompatibleError,
    lmdb.BadValsizeError,
    lmdb.BadTxnError,
    lmdb.BadDbiError,
    lmdb.KeyExistsError,
    lmdb.PanicError,
)
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Unusable(Exception):
    """A folder cannot hold a store, or cannot be written to now; the message says why."""


class Damaged(Exception):
    """The database contradicts itself; the message says how."""


class Put(NamedTuple):
    """Values to be kept: uint8 (n, size), a key for each."""

    namespace: bytes
    keys: Sequence[bytes]
    values: np.ndarray


class Database:
    """An opened environment. Make it with `open`, under a lock that keeps other processes from doing the same.

    Three tables: the index, namespace + key -> block and row; the blocks, by
    a number that rises; the facts, namespace -> JSON.
    """

    def __init__(self, env: lmdb.Environment, folder: Path) -> None:
        self._env = env
        self.identity = identity(folder)
        self._page = env.stat()["psize"]
        self._index, self._blocks, self._facts = (self._table(name) for name in (b"index", b"blocks", b"facts"))

    @classmethod
    def open(cls, folder: Path) -> Database:
        """Open the database in `folder`, making it where there is none.

        Raises
        ------
        Damaged
            What is there is no sound database.
        Unusable
            LMDB does not work in this folder.
        """
        try:
            places.reserve(folder / LOCK, _LOCK_BYTES)
            env = _open(folder)
        except OSError as error:
            raise Unusable(error.strerror or str(error)) from error
        try:
            # A page behind the file's end would kill the process, beyond what Python can catch.
            needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
            size = os.stat(folder / DATA).st_size
            if size < needed:
                msg = f"its {DATA} has {size:,} bytes where {needed:,} are needed"
                raise Damaged(msg)
            with _translated():
                env.reader_check()
                return cls(env, folder)
        except BaseException:
            env.close()
            raise

    def _table(self, name: bytes) -> Any:
        with contextlib.suppress(lmdb.NotFoundError):
            return self._env.open_db(name, create=False)  # takes no write lock
        return self._env.open_db(name)

    def close(self) -> None:
        """Close the environment; nobody may be using it."""
        self._env.close()

    # -- reading -----------------------------------------------------------------------------------------------

    def get_many(self, namespace: bytes, keys: Sequence[bytes], size: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Return which keys have a value of `size` bytes, bool (n,), those values, and how many were damaged."""
        with _translated(), self._env.begin(buffers=True) as txn:
            get, index = txn.get, self._index
            got: list[Any] = [get(namespace + key, None, index) for key in keys]
            found = np.fromiter((place is not None and len(place) == _PLACE.itemsize for place in got), bool, len(got))
            asked = np.flatnonzero(found)
            if len(asked) == 0:
                return found, np.empty((0, size), dtype=np.uint8), 0
            where = np.frombuffer(b"".join([got[k] for k in asked.tolist()]), dtype=_PLACE)
            pairs = blocks.as_pairs(keys if len(asked) == len(keys) else [keys[k] for k in asked.tolist()])
            values = np.empty((len(asked), size), dtype=np.uint8)
            sums, sound = np.zeros(len(asked), dtype=np.uint32), np.zeros(len(asked), dtype=bool)
            rows = where["row"].astype(np.intp)
            for number, mine in _groups(where["block"].astype(np.uint64)):
                block = self._block(txn, number)
                if block is None or block.namespace != namespace or block.size != size:
                    continue
                if rows[mine].max() >= block.n:
                    mine = mine[rows[mine] < block.n]
                at = rows[mine]
                values[mine] = block.values[at]
                sums[mine] = block.checksums[at]
                sound[mine] = (block.pairs[at] == pairs[mine]).all(axis=1)
        sound &= sums == blocks.checksums(values)
        if sound.all():
            return found, values, 0
        found[asked[~sound]] = False
        return found, values[sound], int((~sound).sum())

    def _block(self, txn: lmdb.Transaction, number: int) -> Block | None:
        raw = txn.get(number.to_bytes(8, "big"), None, self._blocks)
        if raw is None:
            return None
        try:
            return Block(raw)
        except DamagedBlockError:
            return None

    def check(self) -> None:
        """Verify the whole structure, at about a second for a million values; nobody can write meanwhile.

        Raises
        ------
        Damaged
            Something contradicts itself.
        """
        with _translated(), self._env.begin(write=True):
            try:
                problems = verify(self._env.path())
            except VerifyError as error:
                problems = [str(error)]
        if problems:
            raise Damaged(problems[0])

    def held(self) -> tuple[dict[bytes, dict[str, Any]], dict[bytes, set[bytes]], int]:
        """Return the facts and the keys of each namespace, and the bytes that all takes."""
        with _translated(), self._env.begin() as txn:
            keys: dict[bytes, set[bytes]] = {}
            for full in txn.cursor(self._index).iternext(keys=True, values=False):
                keys.setdefault(full[:16], set()).add(full[16:])
            return self._described(txn), keys, self._used(txn)

    def _described(self, txn: lmdb.Transaction) -> dict[bytes, dict[str, Any]]:
        return {bytes(namespace): _facts(raw) for namespace, raw in txn.cursor(self._facts)}

    def _used(self, txn: lmdb.Transaction) -> int:
        tables = [txn.stat(table) for table in (self._index, self._blocks, self._facts)]
        return self._page * sum(
            stat[kind] for stat in tables for kind in ("branch_pages", "leaf_pages", "overflow_pages")
        )

    # -- writing -----------------------------------------------------------------------------------------------

    def commit(self, puts: Iterable[Put], facts: Mapping[bytes, Mapping[str, Any]], max_bytes: int | None) -> int:
        """Keep values for good, all or none, and return how many had to go for want of room, oldest first."""
        with _translated(), self._env.begin(write=True) as txn:
            cursor = txn.cursor(self._blocks)
            number = int.from_bytes(cursor.key(), "big") + 1 if cursor.last() else 0
            entries = []
            for put in puts:
                for rows in blocks.split(*put.values.shape):
                    keys, name = put.keys[rows], number.to_bytes(8, "big")
                    txn.put(name, blocks.pack(put.namespace, keys, put.values[rows]), db=self._blocks, append=True)
                    entries += [(put.namespace + key, name + k.to_bytes(4, "big")) for k, key in enumerate(keys)]
                    number += 1
            entries.sort()  # a tree takes sorted keys much faster
            txn.cursor(self._index).putmulti(entries)
            for namespace, told in facts.items():
                raw = txn.get(namespace, db=self._facts)
                merged = json.dumps(merge_facts(None if raw is None else _facts(raw), told)).encode()
                if merged != raw:
                    txn.put(namespace, merged, db=self._facts)
            dropped = 0
            while max_bytes is not None and self._used(txn) > max_bytes and cursor.first():
                dropped += self._drop(txn, cursor)
            return dropped

    def _drop(self, txn: lmdb.Transaction, cursor: lmdb.Cursor) -> int:
        """Delete the block under the cursor, and those entries of the index that point to it; return their number."""
        name, count = bytes(cursor.key()), 0
        with contextlib.suppress(DamagedBlockError):
            block = Block(cursor.value())
            for row in range(block.n):
                entry = block.namespace + block.key(row)
                if txn.get(entry, db=self._index) == name + row.to_bytes(4, "big"):
                    count += txn.delete(entry, db=self._index)
        cursor.delete()
        return count

    def forget(self, model: str) -> int:
        """Delete all vectors of a model, and return how many."""
        with _translated(), self._env.begin(write=True) as txn:
            namespaces = set(namespaces_of(model, self._described(txn)))
            cursor, count = txn.cursor(self._blocks), 0
            more = cursor.first()
            while more:
                # 24 bytes are enough to tell whose it is, and damaged ones are nobody's.
                if blocks.namespace_of(cursor.value()) in namespaces:
                    count += self._drop(txn, cursor)
                    more = bool(cursor.key())  # deleting moved it on to the next
                else:
                    more = cursor.next()
            for namespace in namespaces:
                txn.delete(namespace, db=self._facts)
            return count


def identity(folder: Path) -> tuple[int, int] | None:
    """Return what tells this data file from another at the same place; None where there is none."""
    try:
        found = os.stat(folder / DATA)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _open(folder: Path) -> lmdb.Environment:
    for size in _MAP_BYTES:
        try:
            with _translated():
                return lmdb.open(
                    str(folder),
                    map_size=size,
                    mode=0o600,
                    max_dbs=3,
                    max_readers=_MAX_READERS,
                    max_spare_txns=0,  # a spare one would be carried into a fork
                    readahead=False,  # reads are scattered
                )
        except lmdb.MemoryError as error:
            refused = error
    raise Unusable(str(refused))


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn LMDB's errors into ours."""
    try:
        yield
    except lmdb.MemoryError:
        raise
    except (*_DAMAGE, DamagedBlockError) as error:
        raise Damaged(str(error) or type(error).__name__) from error
    except lmdb.MapFullError as error:
        msg = f"it has reached {_MAP_BYTES[0]:,} bytes"
        raise Unusable(msg) from error
    except lmdb.Error as error:
        raise Unusable(str(error)) from error


def _facts(raw: Any) -> dict[str, Any]:
    """Return facts from their JSON; none, where they are damaged: they are for people only."""
    try:
        told = json.loads(raw)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _groups(numbers: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each different number and where it stands."""
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(order)], strict=True):
        yield int(ordered[start]), order[start:stop]
