"""Embedding texts that nobody asked for by name: variants of a text, made to see what each word does.

Lower part of the engine. Such texts would push others out of a store, and what was cut of them is no news to the user.
The marks go with the call, not with the process: other threads embed as ever meanwhile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

__all__ = ["is_quiet", "may_store", "probing"]

_quiet: ContextVar[bool] = ContextVar("skbert_quiet", default=False)
_stores: ContextVar[bool] = ContextVar("skbert_stores", default=True)


def is_quiet() -> bool:
    """Say whether this call is to say nothing of what is cut, and to show no bar."""
    return _quiet.get()


def may_store() -> bool:
    """Say whether this call may use the store."""
    return _stores.get()


@contextlib.contextmanager
def probing(*, store: bool = False) -> Iterator[None]:
    """Embed without a word about what is cut, and without the store unless `store`: for texts that were told of."""
    quiet, stores = _quiet.set(True), _stores.set(store and _stores.get())
    try:
        yield
    finally:
        _stores.reset(stores)
        _quiet.reset(quiet)
