"""Ahead: a few steps of slow preparation done in threads while their forerunners are used. Knows nothing of skbert."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["Ahead"]

Item = TypeVar("Item")
Made = TypeVar("Made")


class Ahead(Generic[Item, Made]):
    """Apply a function to items in their order, working ahead of the reader.

    The results come in the order of the items. An error of the function is
    raised where its item's result would have come; then, or when the reader
    leaves, what waits is dropped and the threads end.

    Parameters
    ----------
    function : callable
    items : iterable
    depth : int
        Items that are worked on, or wait as results, beyond the one that is
        read; 0 works in the reader's own thread, and starts no other.
    threads : int, default=1
        How many work.
    """

    def __init__(
        self, function: Callable[[Item], Made], items: Iterable[Item], *, depth: int, threads: int = 1
    ) -> None:
        self._function, self._items, self._depth = function, iter(items), depth
        self._waiting: deque[tuple[Item, Future[Made]]] = deque()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="skbert-tokenise") if depth else None

    def __enter__(self) -> Ahead[Item, Made]:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)

    def __iter__(self) -> Iterator[tuple[Item, Made]]:
        if self._threads is None:
            for item in self._items:
                yield item, self._function(item)
            return
        self._fill()
        while self._waiting:
            item, made = self._waiting.popleft()
            self._fill()
            yield item, made.result()

    def _fill(self) -> None:
        assert self._threads is not None
        for item in itertools.islice(self._items, self._depth - len(self._waiting)):
            self._waiting.append((item, self._threads.submit(self._function, item)))
