"""A folder with a store, as this process sees it: opened when needed, opened again when it must be, closed when idle.

All stores of a process that name one folder share one `Folder`, since LMDB must
not be opened twice in a process. Here faults end: whatever the database
answers, a reader gets "not there" and a writer goes on.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from skbert._store.disk import places, usage
from skbert._store.disk.blocks import Put, joined
from skbert._store.disk.database import DATA, LOCK, Database, identity
from skbert._store.disk.forks import forks
from skbert._store.disk.soundness import Damaged, Unusable
from skbert._store.disk.writer import Writer
from skbert.exceptions import CacheFormatError

__all__ = ["FORMAT", "Folder", "folder_at"]

FORMAT = 1  # raised whenever an older skbert could not read what a newer one writes
_LABEL = "skbert-store.txt"
_GATE = "open.lock"
_ASIDE = ".damaged"
_POLL = 0.02  # seconds between two looks at a lock that another process holds
_LONG_TURN = 1.0  # seconds
_MOST_OPEN = 8  # folders; each takes three file descriptors and address space


class _Opened:
    """A database and how many threads are in it, so that it is closed under none of them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.users = 0
        self.is_stale = False  # a failed write can leave LMDB unfit for more, but not its file


class Folder:
    """One folder of this process. Thread-safe.

    Parameters
    ----------
    path : Path
        Absolute.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._told: set[str] = set()  # kinds of trouble that were told and last until they are over
        self._troubles: list[str] = []
        self._inherited: list[Writer] = []
        self.used_at = 0.0
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._opened: _Opened | None = None
        self._usable = False  # as far as is known
        self.turns: defaultdict[bytes, threading.Lock] = defaultdict(threading.Lock)
        self.facts: dict[bytes, Mapping[str, Any]] = {}
        self._writer = Writer(self._commit)

    def after_fork(self) -> None:
        """Begin anew in a forked child: the parent's database, thread and locks are not the child's."""
        opened, facts = self._opened, self.facts
        self._inherited.append(self._writer)  # not to be collected, which would join a thread that is not there
        self._begin()
        self.facts = facts
        if opened is not None:  # nobody was in it; LMDB sees the fork, and leaves the parent's locks alone
            opened.database.close()

    # -- opening -----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def use(self) -> Iterator[Database]:
        """Hold the database open; open it, where it is closed, new, or not the one that is there now."""
        with forks.held_off():
            yield from self._use()

    def _use(self) -> Iterator[Database]:
        with self._lock:
            opened = self._ensure()
            opened.users += 1
        try:
            yield opened.database
        except Damaged as error:
            self._set_aside(opened, str(error))
            raise
        except Unusable:
            opened.is_stale = True
            raise
        finally:
            with self._lock:
                opened.users -= 1
                self._close_if_left(opened)

    def _ensure(self) -> _Opened:
        self.used_at = time.monotonic()
        opened = self._opened
        if opened is not None:
            is_same = identity(self.path) == opened.database.identity
            # While a thread is in it, the same files must not be opened a second time.
            if is_same and not (opened.is_stale and opened.users == 0):
                return opened
            # Cleared or set aside by another process, which left its label; or deleted with all that was in it.
            if not is_same and not self.is_store:
                self._tell("its files were deleted while it was in use: vectors begin afresh")
            self._retire()
        _close_others(self)
        self._usable = False
        opened = self._opened = _Opened(self._open())
        self._usable = True
        return opened

    def _open(self) -> Database:
        kind = places.network_file_system(self.path)
        if kind is not None:
            msg = f"it lies on a network file system ({kind}), where a shared database is not safe"
            raise Unusable(msg)
        try:
            places.make_folder(self.path)
            places.reserve(self.path / _GATE, 0)  # an error now, where the lock would wait for ever
            with self._gate():
                self._check_format()
                try:
                    return Database.open(self.path)
                except Damaged as error:
                    self._move_aside(str(error))
                    return Database.open(self.path)
        except Damaged as error:  # twice
            raise Unusable(str(error)) from error
        except (OSError, NotImplementedError) as error:
            raise Unusable(getattr(error, "strerror", None) or str(error)) from error

    def _gate(self) -> filelock.BaseFileLock:
        """Return the lock under which processes open, set aside and clear the files of this folder."""
        return filelock.FileLock(self.path / _GATE, mode=0o600, poll_interval=_POLL, fallback_to_soft=False)

    def _check_format(self) -> None:
        label = self.path / _LABEL
        with contextlib.suppress(FileNotFoundError):
            told = re.search(rb"format (\d{1,9})\b", label.read_bytes())
            found = int(told[1]) if told else 0
            if found > FORMAT:
                msg = (
                    f"The folder {str(self.path)!r} holds vectors in format {found}, written by a newer skbert; this "
                    f"one reads formats up to {FORMAT}. Upgrade skbert, or give `cache` another folder."
                )
                raise CacheFormatError(msg)
            if told:
                return
        if not label.exists() and (self.path / DATA).exists():
            msg = (
                f"The folder {str(self.path)!r} holds a database, {DATA}, that skbert did not make: there is no "
                f"{_LABEL} beside it. Give `cache` a folder of its own."
            )
            raise CacheFormatError(msg)
        descriptor = os.open(label, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"Vectors of texts, kept by skbert, format {FORMAT}\nTo forget them, delete this folder.\n")

    # -- closing, setting aside, clearing ------------------------------------------------------------------------

    def _retire(self) -> None:
        """Let go of the database; it is closed when nobody is in it any more."""
        opened, self._opened = self._opened, None
        if opened is not None:
            self._close_if_left(opened)

    def _close_if_left(self, opened: _Opened) -> None:
        if opened.users == 0 and opened is not self._opened:
            opened.database.close()

    def close_if_idle(self) -> bool:
        """Close the database unless somebody is in it; say whether it is closed now."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if self._opened is not None and self._opened.users == 0:
                self._retire()
                self._writer.rest()
            return self._opened is None
        finally:
            self._lock.release()

    def rest(self) -> None:
        """Let the writer's thread end, if it has nothing to do."""
        self._writer.rest()

    @property
    def is_open(self) -> bool:
        """Whether this process has the database open."""
        return self._opened is not None

    @property
    def has_moved(self) -> bool:
        """Whether the database that is open no longer lies here; LMDB would refuse it under its new path."""
        opened = self._opened
        return opened is not None and identity(self.path) != opened.database.identity

    def _set_aside(self, opened: _Opened, reason: str) -> None:
        with self._lock:
            if self._opened is not opened:  # another thread has done it
                return
            try:
                with self._gate():
                    if identity(self.path) == opened.database.identity:
                        self._move_aside(reason)
            except OSError as error:
                self._tell_unusable(error)
            self._retire()

    def _move_aside(self, reason: str) -> None:
        """Rename the data file, so that the next opening makes a new one. Call it under the gate."""
        os.replace(self.path / DATA, self.path / (DATA + _ASIDE))
        (self.path / LOCK).unlink(missing_ok=True)
        with self._lock:
            self._troubles.clear()  # what was wrong with single vectors goes with the file
        self._tell(
            f"{self._without_path(reason)}. It was set aside as {DATA + _ASIDE!r}, and its vectors are computed again"
        )

    @property
    def is_store(self) -> bool:
        """Whether skbert has put its label here."""
        return os.path.isfile(self.path / _LABEL)

    def clear(self) -> int:
        """Delete the files, which gives the disk its room back; return how many vectors were in them."""
        if not self.is_store:
            return 0
        self.wait()
        count = 0
        with contextlib.suppress(Unusable, Damaged), self.use() as database:
            count = sum(len(keys) for keys in database.held()[1].values())
        with self._lock:
            try:
                with self._gate():
                    for name in (DATA, LOCK, DATA + _ASIDE):
                        (self.path / name).unlink(missing_ok=True)
                    usage.reset(self.path)
            except OSError as error:
                self._tell(f"{error.strerror}. Nothing was forgotten")
                return 0
            self._retire()
        return count

    # -- reading and writing -------------------------------------------------------------------------------------

    def get_many(self, namespace: bytes, keys: Sequence[bytes], size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return which keys have a value, and those values; nothing, where the database cannot be read."""
        try:
            with self.use() as database:
                found, values, damaged = database.get_many(namespace, keys, size)
        except Damaged:  # it was set aside, and that was told
            return np.zeros(len(keys), dtype=bool), np.empty((0, size), dtype=np.uint8)
        except Unusable as error:
            self._tell_unusable(error)
            return np.zeros(len(keys), dtype=bool), np.empty((0, size), dtype=np.uint8)
        if damaged:
            self._tell("some of its vectors were damaged, and are computed again")
            # Where values were hit, the tree that holds them may have been.
            with contextlib.suppress(Unusable, Damaged), self.use() as database:
                database.check_once()
        return found, values

    def put_many(self, put: Put, max_bytes: int | None) -> Future[int]:
        """Hand values to the writer; return what will be the number of values dropped."""
        return self._writer.put(put, max_bytes)

    def wait(self) -> None:
        """Wait until all that was put is written."""
        self._writer.wait()

    def _commit(self, puts: list[Put], max_bytes: int | None) -> int:
        """Write puts in one transaction and return how many values had to go; what cannot be written is told."""
        for last in (False, True):
            try:
                puts = joined(puts)
                known = {put.namespace: self.facts.get(put.namespace) for put in puts}
                facts = {namespace: told for namespace, told in known.items() if told is not None}
                with self.use() as database:
                    dropped = database.commit(puts, facts, max_bytes)
            except (Damaged, Unusable) as error:  # it was set aside, or is opened anew
                if last:
                    self._tell_unusable(error)
                continue
            except Exception as error:  # whatever it is, the caller has its vectors and goes on
                self._tell_unusable(error)
                return 0
            if identity(self.path) == database.identity or last:
                with self._lock:
                    if not self._troubles:  # it works again: should it fail once more, that is news
                        self._told.discard("unusable")
                if dropped:
                    self.count(0, 0, dropped)
                return dropped
            # Else it was cleared, set aside or deleted meanwhile: what was written is in no folder.
        return 0

    def held(self) -> tuple[dict[bytes, dict[str, Any]], dict[bytes, set[bytes]], int]:
        """Return the facts and the keys of each namespace, and the bytes that all takes."""
        self.wait()
        try:
            with self.use() as database:
                return database.held()
        except Damaged:  # it was set aside, and that was told
            return {}, {}, 0
        except Unusable as error:
            self._tell_unusable(error)
            return {}, {}, 0

    def forget(self, model: str) -> int:
        """Delete the vectors of one model, and return how many."""
        self.wait()
        try:
            with self.use() as database:
                return database.forget(model)
        except Damaged:  # all of it was set aside, and that was told
            return 0
        except Unusable as error:
            self._tell(f"{self._without_path(str(error))}. Nothing was forgotten")
            return 0

    def count(self, hits: int, misses: int, evictions: int) -> None:
        """Add to the counts of the folder, where it is a store."""
        if self._usable and usage.add(self.path, hits, misses, evictions):
            with contextlib.suppress(OSError), self._gate():
                usage.compact(self.path)

    @contextlib.contextmanager
    def turn(self, name: bytes) -> Iterator[None]:
        """Let one thread of all processes work under this name; a lock whose holder died is free."""
        with self.turns[name]:
            lock = filelock.FileLock(
                self.path / f"embed-{name.hex()}.lock", mode=0o600, poll_interval=_POLL, fallback_to_soft=False
            )
            try:
                with self.use():  # where there can be no store, there is nothing to wait for
                    pass
                lock.acquire()
            except (Unusable, Damaged, OSError, NotImplementedError) as error:
                self._tell_unusable(error)
                yield  # without a store every process works for itself
                return
            start = time.monotonic()
            try:
                yield
            finally:
                lock.release()
            if time.monotonic() - start > _LONG_TURN:
                time.sleep(1.5 * _POLL)  # who waits looks now and then only, and shall find it free

    # -- telling -------------------------------------------------------------------------------------------------

    def _tell_unusable(self, error: Exception) -> None:
        reason = str(getattr(error, "strerror", None) or error or type(error).__name__)
        self._tell(f"{self._without_path(reason)}. skbert goes on without it: vectors are not kept", "unusable")

    def _without_path(self, reason: str) -> str:
        """Return LMDB's words without the path that stands before all of ours."""
        return reason.removeprefix(f"{self.path}: ").rstrip(".")

    def _tell(self, what: str, kind: str | None = None) -> None:
        """Have something told; of one kind, once as long as it lasts."""
        message = f"The vector store in {str(self.path)!r}: {what}."
        with self._lock:
            if kind not in self._told and message not in self._troubles:
                self._told |= {kind} if kind else set()
                self._troubles.append(message)

    def troubles(self) -> list[str]:
        """Return what is to be told, once."""
        with self._lock:
            told, self._troubles = self._troubles, []
        return told


_folders: dict[Path, Folder] = {}
_folders_lock = threading.Lock()


def folder_at(path: Path) -> Folder:
    """Return the folder of this process at `path`."""
    real = Path(os.path.realpath(path))
    forks.watch(_begin_anew)
    with _folders_lock:
        if real not in _folders:
            _folders[real] = Folder(real)
        return _folders[real]


def _begin_anew() -> None:
    global _folders_lock
    _folders_lock = threading.Lock()
    for folder in _folders.values():
        folder.after_fork()


def _close_others(newest: Folder) -> None:
    """Before another folder is opened: close those used longest ago, and those that were moved to another place."""
    opened = sorted((folder for folder in list(_folders.values()) if folder.is_open), key=lambda folder: folder.used_at)
    for folder in list(_folders.values()):
        if not folder.is_open:
            folder.rest()
    for k, folder in enumerate(opened):
        if folder is not newest and (k <= len(opened) - _MOST_OPEN or folder.has_moved):
            folder.close_if_idle()
