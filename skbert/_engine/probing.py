"""Embedding texts that nobody asked for by name: variants of a text, made to see what each word does.

Lower part of the engine. Such texts would push others out of a store, and what was cut of them is no news to the user.
The mark goes with the call, not with the process: other threads embed as ever meanwhile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

__all__ = ["is_probing", "probing"]

_mark: ContextVar[bool] = ContextVar("skbert_probing", default=False)


def is_probing() -> bool:
    """Say whether this call embeds variants."""
    return _mark.get()


@contextlib.contextmanager
def probing() -> Iterator[None]:
    """Embed without a store, and without a word about what is cut."""
    token = _mark.set(True)
    try:
        yield
    finally:
        _mark.reset(token)
