"""One opened LMDB environment: how it is opened, and the transactions on it.

It raises `Unusable` where a folder cannot hold a store or something cannot be
written, and `Damaged` where the database contradicts itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from skbert._store.base import merge_facts, namespaces_of
from skbert._store.disk import blocks, places
from skbert._store.disk.blocks import Block, DamagedBlockError, Put
from skbert._store.disk.soundness import (
    Damaged,
    Unusable,
    bytes_of_pages,
    check_pages,
    problems,
    translated,
    verify_pages,
)

__all__ = ["DATA", "LOCK", "Database", "identity"]

DATA, LOCK = "data.mdb", "lock.mdb"

# Address space, not memory and not disk: so large that the map need not grow, which no reader could bear. Where less
# is allowed (ulimit -v), less is taken. On Windows the file itself would have that size.
_MAP_BYTES = [2**38, 2**36, 2**34, 2**32, 2**30] if sys.platform != "win32" else [2**32, 2**30]
_MAX_READERS = 1024  # 126 by default; slots of readers that died are freed only when looked for
_LOCK_BYTES = 66 * 1024  # what LMDB wants for that many: 64 bytes each, and its header
_PAD = 2**18  # bytes of the file behind its last page: more than the offsets within a page can reach
_STEP = 2**20  # by which the file grows
_PLACE = np.dtype([("block", ">u8"), ("row", ">u4")])  # a value of the index


class Database:
    """An opened environment. Make it with `open`, under a lock that keeps other processes from doing the same.

    One tree, LMDB's main one, which needs no handle and so no write lock to be
    opened. The first letter of a key says what it is: "b" and a number that
    rises, a block; "f" and a namespace, facts as JSON; "i", namespace and key,
    an entry of the index, the number of a block and a row in it.
    """

    def __init__(self, env: lmdb.Environment, folder: Path) -> None:
        self._env = env
        self._tree = env.open_db(None)
        if any(self._tree.flags().values()):
            msg = "its tree claims to be of another kind"
            raise Damaged(msg)
        found = identity(folder)
        if found is None:
            msg = "its files were deleted while it was being opened"
            raise Unusable(msg)
        self.identity = found
        self._is_checked = False

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
        data = folder / DATA
        if data.exists() and data.stat().st_size == 0:  # LMDB would take it for a new one
            msg = f"its {DATA} is empty"
            raise Damaged(msg)
        try:
            places.reserve(folder / LOCK, _LOCK_BYTES)
            return cls._open_sound(folder)
        except OSError as error:
            raise Unusable(error.strerror or str(error)) from error
        except Unusable as error:
            # A damaged first page may ask for more memory than there is, or for another LMDB.
            if problems(str(folder)) and problems(str(folder)):  # not because it saw a commit half done
                raise Damaged(str(error)) from error
            raise

    @classmethod
    def _open_sound(cls, folder: Path) -> Database:
        env = _open(folder)
        try:
            with translated():
                check_pages(env, folder / DATA)  # before LMDB follows any pointer of the file
                env.reader_check()
                return cls(env, folder)
        except BaseException:
            env.close()
            raise

    def close(self) -> None:
        """Close the environment; nobody may be using it."""
        self._env.close()

    # -- reading -----------------------------------------------------------------------------------------------

    def get_many(self, namespace: bytes, keys: Sequence[bytes], size: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Return which keys have a value of `size` bytes, bool (n,), those values, and how many were damaged."""
        with translated(), self._env.begin(buffers=True) as txn:
            get, prefix = txn.get, b"i" + namespace
            # Bytes, not views: thousands of those set Python's garbage collector off. No longer than can be right,
            # whatever length a damaged entry claims.
            got = [bytes(get(prefix + key, b"")[: _PLACE.itemsize + 1]) for key in keys]
            lengths = np.fromiter(map(len, got), np.intp, len(got))
            found = lengths == _PLACE.itemsize
            if not (found | (lengths == 0)).all():  # to write beside such an entry would damage its neighbours
                msg = "an entry of its index has a wrong length"
                raise Damaged(msg)
            asked = np.flatnonzero(found)
            if len(asked) == 0:
                return found, np.empty((0, size), dtype=np.uint8), 0
            where = np.frombuffer(b"".join([got[k] for k in asked.tolist()]), dtype=_PLACE)
            pairs = blocks.as_pairs(keys if len(asked) == len(keys) else [keys[k] for k in asked.tolist()])
            values = np.empty((len(asked), size), dtype=np.uint8)
            sums, sound = np.zeros(len(asked), dtype=np.uint32), np.zeros(len(asked), dtype=bool)
            other = np.zeros(len(asked), dtype=bool)
            rows = where["row"].astype(np.intp)
            for number, mine in _groups(where["block"].astype(np.uint64)):
                block = self._block(txn, number)
                if block is None or block.namespace != namespace:
                    continue
                if block.size != size:  # sound, and not what was asked for
                    other[mine] = True
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
        return found, values[sound], int((~sound & ~other).sum())

    def _block(self, txn: lmdb.Transaction, number: int) -> Block | None:
        raw = txn.get(_block_name(number))
        if raw is None:
            return None
        try:
            return Block(raw)
        except DamagedBlockError:
            return None

    def check_once(self) -> None:
        """Verify the whole structure, if that was not done since the last commit.

        Raises
        ------
        Damaged
            Something contradicts itself.
        """
        if self._is_checked:
            return
        self._is_checked = True
        with translated():
            verify_pages(self._env)

    def held(self) -> tuple[dict[bytes, dict[str, Any]], dict[bytes, set[bytes]], int]:
        """Return the facts and the keys of each namespace, and the bytes that all takes."""
        with translated(), self._env.begin() as txn:
            keys: dict[bytes, set[bytes]] = {}
            cursor = txn.cursor()
            if cursor.set_range(b"i"):
                for name in cursor.iternext(keys=True, values=False):
                    keys.setdefault(name[1:17], set()).add(name[17:])
            return self._described(txn), keys, self._used(txn)

    def _described(self, txn: lmdb.Transaction) -> dict[bytes, dict[str, Any]]:
        cursor, described = txn.cursor(), {}
        more = cursor.set_range(b"f")
        while more and cursor.key()[:1] == b"f":
            described[bytes(cursor.key())[1:]] = _facts(cursor.value())
            more = cursor.next()
        return described

    def _used(self, txn: lmdb.Transaction) -> int:
        stat = txn.stat(self._tree)
        return int(stat["psize"] * (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]))

    # -- writing -----------------------------------------------------------------------------------------------

    def commit(self, puts: Iterable[Put], facts: Mapping[bytes, Mapping[str, Any]], max_bytes: int | None) -> int:
        """Keep values for good, all or none, and return how many had to go for want of room, oldest first."""
        self._is_checked = False
        with translated(), self._env.begin(write=True) as txn:
            number, entries = self._next_number(txn), []
            for put in puts:
                if not put.overwrite:
                    put = _without_known(txn, put)
                n, size = put.values.shape
                for rows in blocks.split(n, size, max_bytes):
                    keys, name = put.keys[rows], _block_name(number)
                    txn.put(name, blocks.pack(put.namespace, keys, put.values[rows]))
                    entries += [(b"i" + put.namespace + key, _place(name, row)) for row, key in enumerate(keys)]
                    number += 1
            entries.sort()  # a tree takes sorted keys much faster; of equal keys the last put stays
            txn.cursor().putmulti(entries)
            for namespace, told in facts.items():
                raw = txn.get(b"f" + namespace)
                merged = json.dumps(merge_facts(None if raw is None else _facts(raw), told)).encode()
                if merged != raw:
                    txn.put(b"f" + namespace, merged)
            dropped = 0
            while max_bytes is not None and self._used(txn) > max_bytes:
                oldest = next(self._block_names(txn), None)
                if oldest is None:
                    break
                dropped += self._drop(txn, oldest)
        self._pad()
        return dropped

    def _pad(self) -> None:
        """Let the file reach beyond its last page: a damaged page must not send LMDB behind the file's end.

        The room is a hole and takes no disk. A page that was used and freed
        within one transaction is never written, so the file may even be shorter
        than the number of its pages says.
        """
        data = Path(self._env.path()) / DATA
        with contextlib.suppress(OSError, lmdb.Error):
            if data.stat().st_size >= bytes_of_pages(self._env) + _PAD:
                return
            with self._env.begin(write=True):  # nobody writes now, so nothing that was written can be cut off
                wanted = bytes_of_pages(self._env) + _PAD
                if identity(data.parent) == self.identity and data.stat().st_size < wanted:
                    os.truncate(data, -(-wanted // _STEP) * _STEP)

    def _next_number(self, txn: lmdb.Transaction) -> int:
        cursor = txn.cursor()
        there = cursor.prev() if cursor.set_range(b"c") else cursor.last()  # behind the last block
        name = bytes(cursor.key())
        return int.from_bytes(name[1:], "big") + 1 if there and name[:1] == b"b" else 0

    def _block_names(self, txn: lmdb.Transaction) -> Iterator[bytes]:
        """Yield the names of all blocks, oldest first; those yielded may be deleted meanwhile."""
        cursor = txn.cursor()
        more = cursor.set_range(b"b")
        while more and cursor.key()[:1] == b"b":
            name = bytes(cursor.key())
            yield name
            more = cursor.set_range(name + b"\0")

    def _drop(self, txn: lmdb.Transaction, name: bytes) -> int:
        """Delete a block, and those entries of the index that point to it; return their number."""
        count = 0
        with contextlib.suppress(DamagedBlockError):
            block = Block(txn.get(name) or b"")
            for row in range(block.n):
                entry = b"i" + block.namespace + block.key(row)
                if txn.get(entry) == _place(name, row):
                    count += txn.delete(entry)
        txn.delete(name)
        return count

    def forget(self, model: str) -> int:
        """Delete all vectors of a model, and return how many."""
        with translated(), self._env.begin(write=True) as txn:
            namespaces = set(namespaces_of(model, self._described(txn)))
            count = 0
            for name in self._block_names(txn):
                if blocks.namespace_of(txn.get(name) or b"") in namespaces:  # a damaged block is nobody's
                    count += self._drop(txn, name)
            for namespace in namespaces:
                txn.delete(b"f" + namespace)
        self._pad()
        return count


def _block_name(number: int) -> bytes:
    return b"b" + number.to_bytes(8, "big")


def _place(name: bytes, row: int) -> bytes:
    """Return the value of an entry of the index."""
    return name[1:] + row.to_bytes(4, "big")


def _without_known(txn: lmdb.Transaction, put: Put) -> Put:
    """Return the values whose keys are not in the index."""
    prefix = b"i" + put.namespace
    new = [k for k, key in enumerate(put.keys) if txn.get(prefix + key) is None]
    return put if len(new) == len(put.keys) else Put(put.namespace, [put.keys[k] for k in new], put.values[new])


def identity(folder: Path) -> tuple[int, int] | None:
    """Return what tells this data file from another at the same place; None where there is none."""
    try:
        found = os.stat(folder / DATA)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _open(folder: Path) -> lmdb.Environment:
    with translated():
        for size in _MAP_BYTES[:-1]:
            with contextlib.suppress(lmdb.MemoryError):
                return _open_with(folder, size)
        return _open_with(folder, _MAP_BYTES[-1])


def _open_with(folder: Path, size: int) -> lmdb.Environment:
    return lmdb.open(
        str(folder),
        map_size=size,
        mode=0o600,
        max_readers=_MAX_READERS,
        max_spare_txns=0,  # a spare one would be carried into a fork
        readahead=False,  # reads are scattered
    )


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
