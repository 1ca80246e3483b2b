"""From the parameter ``cache`` to a store, and what users ask of stores. Top of the room ``_store``."""

from __future__ import annotations

import threading

from skbert._store.base import StoreInfo, VectorStore
from skbert._store.memory import MemoryStore
from skbert.exceptions import InvalidParameterError

__all__ = ["cache_info", "clear_cache", "open_store"]

_lock = threading.Lock()
_process_store: MemoryStore | None = None


def open_store(cache: str | VectorStore | None) -> VectorStore | None:
    """Return the store that the parameter `cache` stands for; None for no store."""
    global _process_store
    if cache is None or isinstance(cache, VectorStore):
        return cache
    if cache == "memory":
        with _lock:
            if _process_store is None:
                _process_store = MemoryStore()
            return _process_store
    msg = f"The 'cache' parameter must be None, 'memory' or a MemoryStore. Got {cache!r} instead."
    raise InvalidParameterError(msg)


def cache_info(cache: str | VectorStore = "memory") -> StoreInfo:
    """Tell what a vector store holds and has been asked for.

    Parameters
    ----------
    cache : 'memory' or MemoryStore, default='memory'
        "memory" is the store that all embedders with ``cache="memory"`` share.

    Returns
    -------
    StoreInfo
        A named tuple: `vectors` held, their `bytes`, `max_bytes`, and, counted
        in different texts, `hits` (found) and `misses` (embedded), and
        `evictions` (vectors dropped).

    See Also
    --------
    clear_cache : Forget the vectors.

    Examples
    --------
    >>> from skbert import MemoryStore, cache_info
    >>> cache_info(MemoryStore(max_bytes=1_000_000)).max_bytes
    1000000
    """
    return _existing(cache).info()


def clear_cache(cache: str | VectorStore = "memory") -> None:
    """Forget every vector of a store and set its counts to 0.

    Parameters
    ----------
    cache : 'memory' or MemoryStore, default='memory'
        "memory" is the store that all embedders with ``cache="memory"`` share.

    See Also
    --------
    cache_info : What a store holds.
    release_models : Free the models, which a store does not hold.

    Examples
    --------
    >>> from skbert import cache_info, clear_cache
    >>> clear_cache()
    >>> cache_info().vectors
    0
    """
    _existing(cache).clear()


def _existing(cache: str | VectorStore) -> VectorStore:
    store = open_store(cache)
    if store is None:
        msg = "The 'cache' parameter must be 'memory' or a MemoryStore. Got None instead."
        raise InvalidParameterError(msg)
    return store
