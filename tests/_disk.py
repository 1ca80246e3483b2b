"""What the tests of the disk store share: values that follow from their keys, and children made by fork.

A child begins where its parent is, with torch imported, in a few milliseconds
instead of seconds; what it does there cannot harm the test run.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import select
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from skbert import BertEmbedder, DiskStore, cache_info
from skbert._store.disk.database import Database
from skbert._store.disk.folder import folder_at

SPACE = b"n" * 16
SIZE = 132
TEXTS = [f"the debate was good {k}" for k in range(20)]


def keys(*numbers: int | range) -> list[bytes]:
    """Return the keys of these numbers, spread as digests are."""
    spread = [k for number in numbers for k in (number if isinstance(number, range) else [number])]
    return [hashlib.blake2b(str(k).encode(), digest_size=16).digest() for k in spread]


def values(of: Sequence[bytes], space: bytes = SPACE, size: int = SIZE) -> np.ndarray:
    """Return the value of each key: nothing else may ever be read under it."""
    raw = b"".join(hashlib.shake_128(space + key).digest(size) for key in of)
    return np.frombuffer(raw, dtype=np.uint8).reshape(len(of), size)


def put(store: DiskStore, of: Sequence[bytes], space: bytes = SPACE, size: int = SIZE) -> int:
    """Put the value of each key, wait until it is kept, and return how many were dropped."""
    store.put_many(space, of, values(of, space, size))
    return store.flush()


def there(store: DiskStore, of: Sequence[bytes], space: bytes = SPACE, size: int = SIZE) -> np.ndarray:
    """Return which keys have a value, bool (n,); every value that is there must be right."""
    found, got = store.get_many(space, of, size)
    expected = values([key for key, is_there in zip(of, found, strict=True) if is_there], space, size)
    assert np.array_equal(got, expected), "a wrong value was read"
    return found


def close(folder: str | os.PathLike[str]) -> None:
    """Let this process close the database, as if it had ended, so that its files can be changed."""
    assert folder_at(Path(folder)).close_if_idle()


def transform(model: str, cache: Any, texts: list[str], **parameters: Any) -> tuple[np.ndarray, list[str]]:
    """Return the vectors of `texts` and the messages of the warnings that came."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        vectors = BertEmbedder(model, cache=cache, **parameters).transform(texts)
    return vectors, [f"{warning.category.__name__}: {warning.message}" for warning in told]


def right(model: str, cache: Any, texts: list[str] = TEXTS) -> list[str]:
    """Check that the vectors of `texts` are right, and return what was told."""
    vectors, told = transform(model, cache, texts)
    assert np.abs(vectors - transform(model, None, texts)[0]).max() <= 1e-5
    return told


def is_healthy(model: str, folder: Path) -> None:
    """Check that another process, and one after it, have nothing to tell and keep their vectors."""
    assert in_child(right, model, folder) == []
    before = cache_info(folder).hits
    close(folder)
    assert in_child(right, model, folder) == []
    assert cache_info(folder).hits == before + len(TEXTS)


class Child:
    """A forked child that runs ``function(child, *args)`` and talks with its parent; it never outlives its alarm."""

    def __init__(self, function: Callable[..., Any], *args: Any, seconds: int = 60) -> None:
        down, self._to_child = os.pipe()
        self._from_child, up = os.pipe()
        self._messages: list[Any] = []
        with warnings.catch_warnings():  # Python 3.12 warns of any fork of a process with threads
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            os.close(self._to_child), os.close(self._from_child)
            self._to_child, self._from_child = up, down  # the child's side of the same pipes
            self._run(function, args, seconds)
        os.close(down), os.close(up)

    def _run(self, function: Callable[..., Any], args: tuple[Any, ...], seconds: int) -> None:
        status = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(seconds)
            torch.set_num_threads(1)  # the parent's thread pool was not forked with it
            try:
                result: Any = function(self, *args)
            except BaseException:
                self.send(("error", traceback.format_exc()))
            else:
                self.send(("done", result))
                status = 0
        finally:
            os._exit(status)

    def send(self, message: Any) -> None:
        """Send a message to the other side."""
        raw = pickle.dumps(message)
        os.write(self._to_child, len(raw).to_bytes(4, "little") + raw)

    def receive(self) -> Any:
        """Return the next message of the other side, None if it ended without one."""
        size = self._read(4)
        raw = self._read(int.from_bytes(size, "little")) if len(size) == 4 else b""
        return pickle.loads(raw) if raw else None

    def _read(self, size: int) -> bytes:
        raw = b""
        while len(raw) < size:
            part = os.read(self._from_child, size - len(raw))
            if not part:
                return b""
            raw += part
        return raw

    def has_message(self) -> bool:
        """Say whether a message waits to be received."""
        return bool(select.select([self._from_child], [], [], 0)[0])

    def kill(self) -> list[Any]:
        """Kill the child at once and return what it had sent."""
        os.kill(self.pid, signal.SIGKILL)
        sent = list(iter(self.receive, None))
        self._end()
        return sent

    def result(self) -> Any:
        """Wait for the child and return what its function returned; fail if it raised, crashed or hung."""
        sent = list(iter(self.receive, None))
        status = self._end()
        kind, value = sent[-1] if sent and isinstance(sent[-1], tuple) else ("nothing", None)
        if os.WIFSIGNALED(status):
            name = signal.Signals(os.WTERMSIG(status)).name
            raise AssertionError(f"the child was killed by {name}" + (", it hung" if name == "SIGALRM" else ""))
        assert kind == "done", value
        return value

    def _end(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        self.close()
        return status

    def close(self) -> None:
        """Close the pipes; for those who wait for the child themselves."""
        os.close(self._to_child), os.close(self._from_child)


def in_child(function: Callable[..., Any], *args: Any, seconds: int = 60) -> Any:
    """Return ``function(*args)``, run in a forked child."""
    return Child(lambda child: function(*args), seconds=seconds).result()


@contextlib.contextmanager
def commits_held_back() -> Iterator[threading.Event]:
    """Give an event; nothing is committed before it is set."""
    go, commit = threading.Event(), Database.commit

    def held(self: Database, *args: Any) -> int:
        assert go.wait(30)
        return commit(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "commit", held)
        try:
            yield go
        finally:
            go.set()


def until(condition: Callable[[], Any], seconds: float = 30) -> None:
    """Wait until `condition` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.002)
