"""The thread that writes: takes what others put, and commits all that waits at once. Knows threads, no database."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from skbert._store.disk.blocks import Put

__all__ = ["Writer"]

_QUEUE_BYTES = 64 * 2**20  # values that may wait; whoever puts more waits for the writer


class Writer:
    """Commits puts in the order in which they came, many in one transaction.

    Parameters
    ----------
    commit : callable
        Takes a list of puts and a limit in bytes or None; returns how many
        values were dropped. Must not raise.
    """

    def __init__(self, commit: Callable[[list[Put], int | None], int]) -> None:
        self._commit = commit
        self._queue: deque[tuple[Put, int | None]] = deque()
        self._changed = threading.Condition()
        self._bytes = 0  # put and not yet written
        self._thread: ThreadPoolExecutor | None = None  # started by the first put, ended with the interpreter

    def put(self, put: Put, max_bytes: int | None) -> Future[int]:
        """Hand values over; return what will be the number of values dropped."""
        size = put.values.nbytes
        with self._changed:
            self._changed.wait_for(lambda: self._bytes == 0 or self._bytes + size <= _QUEUE_BYTES)
            self._queue.append((put, max_bytes))
            self._bytes += size
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="skbert-store")
            try:
                return self._thread.submit(self._drain)
            except RuntimeError:  # the interpreter is shutting down: threads get no more work
                done: Future[int] = Future()
        done.set_result(self._drain())
        return done

    def rest(self) -> None:
        """Let the thread end if it has nothing to do; the next put starts another."""
        with self._changed:
            if self._bytes == 0 and self._thread is not None:
                self._thread.shutdown(wait=False)
                self._thread = None

    def wait(self) -> None:
        """Wait until all that was put is written."""
        with self._changed:
            self._changed.wait_for(lambda: self._bytes == 0)

    def _drain(self) -> int:
        with self._changed:
            waiting = list(self._queue)
            self._queue.clear()
        if not waiting:  # an earlier call took it along
            return 0
        limits = [limit for _, limit in waiting if limit is not None]
        try:
            return self._commit([put for put, _ in waiting], min(limits, default=None))
        finally:
            with self._changed:
                self._bytes -= sum(put.values.nbytes for put, _ in waiting)
                self._changed.notify_all()
