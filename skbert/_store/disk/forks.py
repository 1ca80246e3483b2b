"""When this process may fork: while no thread is in a database. Knows threads, no database."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

__all__ = ["forks"]


class Forks:
    """Lets the process fork only while no thread is in a database, whose transactions a child would inherit."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._forking = 0  # threads
        self._interrupted = False
        self._mine = threading.local()
        self._watching = False
        self._begin_anew: Callable[[], None] = lambda: None

    @contextlib.contextmanager
    def held_off(self) -> Iterator[None]:
        """Keep forks waiting."""
        depth = getattr(self._mine, "depth", 0)
        with self._changed:
            if depth == 0:
                self._changed.wait_for(lambda: not self._forking)
                self._inside += 1
            self._mine.depth = depth + 1
        try:
            yield
        finally:
            with self._changed:
                self._mine.depth = depth
                if depth == 0:
                    self._inside -= 1
                    self._changed.notify_all()

    def watch(self, begin_anew: Callable[[], None]) -> None:
        """Have Python call this at every fork from now on, and `begin_anew` in the child."""
        with self._changed:
            self._begin_anew = begin_anew
            if not self._watching and hasattr(os, "register_at_fork"):
                os.register_at_fork(before=self._before, after_in_parent=self._after, after_in_child=self._in_child)
                self._watching = True

    def _before(self) -> None:
        with self._changed:
            self._forking += 1
            is_inside = getattr(self._mine, "depth", 0) > 0  # then this thread would wait for itself
            while self._inside and not is_inside:
                try:
                    self._changed.wait()
                except KeyboardInterrupt:  # Python would drop it here, and fork at once
                    self._interrupted = True

    def _after(self) -> None:
        with self._changed:
            self._forking -= 1
            self._changed.notify_all()
            interrupted, self._interrupted = self._interrupted, False
        if interrupted:
            signal.raise_signal(signal.SIGINT)

    def _in_child(self) -> None:
        begin_anew = self._begin_anew
        self.__init__()  # type: ignore[misc]  # the other threads, and what they held, are not here
        self._watching, self._begin_anew = True, begin_anew
        begin_anew()


forks = Forks()
