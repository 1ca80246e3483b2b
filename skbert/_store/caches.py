"""From the parameter ``cache`` to a store, and what users ask of stores. Top of the room ``_store``."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading

from skbert._store.base import StoreInfo, VectorStore
from skbert._store.disk import DiskStore
from skbert._store.memory import MemoryStore
from skbert._warnings import warn
from skbert.exceptions import CacheWarning, InvalidParameterError

__all__ = ["CACHE_TEXT", "Cache", "cache_info", "clear_cache", "is_cache", "open_store"]

Cache = str | os.PathLike[str] | VectorStore | None
CACHE_TEXT = "'memory', the path of a folder, a MemoryStore or a DiskStore"

_lock = threading.Lock()
_process_store: MemoryStore | None = None


class _ProcessStore(MemoryStore):
    """The store of ``cache="memory"``; in a worker process it tells once that it is the worker's own."""

    _asked_in_worker = _told = False

    def tally(self, hits: int, misses: int) -> None:
        super().tally(hits, misses)
        if misses and not self._asked_in_worker:
            self._asked_in_worker = _in_worker()

    def troubles(self) -> list[str]:
        if self._told or not self._asked_in_worker:
            return []
        self._told = True
        return [
            "cache='memory' is one store for each process, and this is a worker process: every worker loads the model "
            "and embeds its texts again, up to n_jobs times in all. The workers of one machine share what they embed "
            "in a folder: cache='some/folder'."
        ]


def _in_worker() -> bool:
    """Say whether this process is a worker of joblib's: loky's, multiprocessing's, Dask's, or one of Ray's pool."""
    if multiprocessing.parent_process() is not None:
        return True
    # Ray starts its workers itself. One of the pool has both modules, and so has the process that asks the pool, but it
    # is no actor. Ray is asked only where it is there and at work already: a question may start it.
    ray = sys.modules.get("ray")
    if ray is None or "ray.util.multiprocessing.pool" not in sys.modules or not ray.is_initialized():
        return False
    try:
        return ray.get_runtime_context().get_actor_id() is not None
    except Exception:  # through Ray Client, or in a Ray to come: a warning is not worth an error
        return False


def open_store(cache: Cache) -> VectorStore | None:
    """Return the store that the parameter `cache` stands for; None for no store."""
    global _process_store
    if cache is None or isinstance(cache, VectorStore):
        return cache
    if cache == "memory":
        with _lock:
            if _process_store is None:
                _process_store = _ProcessStore()
            return _process_store
    if is_cache(cache):
        return DiskStore(cache)
    msg = f"The 'cache' parameter must be None, {CACHE_TEXT}. Got {cache!r} instead."
    raise InvalidParameterError(msg)


def is_cache(value: object) -> bool:
    """Say whether `value` stands for a store: "memory", a store, or a path where there is no file."""
    if isinstance(value, VectorStore):
        return True
    if isinstance(value, str):
        # "Memory" or "none" is a slip of the pen rather than the name of a folder; a folder is "./none". Nor is a URL.
        is_slip = value.strip().lower() in ("memory", "none", "") or "\0" in value or "://" in value
        return value == "memory" or not (is_slip or os.path.isfile(value))
    return isinstance(value, os.PathLike) and not os.path.isfile(value)


def _text(model: str | os.PathLike[str]) -> str:
    if isinstance(model, str | os.PathLike):
        return os.fspath(model)
    msg = (
        "The 'model' parameter of clear_cache must be a name or folder, or the SHA-256 of a model's weights. "
        f"Got {model!r} instead."
    )
    raise InvalidParameterError(msg)


def cache_info(cache: Cache = "memory") -> StoreInfo:
    """Tell what a vector store holds and has been asked for.

    Parameters
    ----------
    cache : 'memory', path, MemoryStore or DiskStore, default='memory'
        "memory" is the store that all embedders of this process with
        ``cache="memory"`` share; a path is the folder of a DiskStore.

    Returns
    -------
    StoreInfo
        A named tuple: `models` (of each its names, the SHA-256 of its weights,
        `layers`, `poolings`, `texts`, `vectors`), `layers`, `texts` and
        `vectors` held, their `bytes`, `max_bytes`, and, counted in different
        texts a call, `hits` (found) and `misses` (embedded), and `evictions`
        (vectors dropped). A folder's counts are those of all processes since it
        was made or cleared. All keys are read: about a second for a million
        vectors.

    See Also
    --------
    clear_cache : Forget the vectors.

    Examples
    --------
    >>> from skbert import MemoryStore, cache_info
    >>> cache_info(MemoryStore(max_bytes=1_000_000)).max_bytes
    1000000
    """
    store = _existing(cache)
    info = store.info()
    _warn(store)
    return info


def clear_cache(cache: Cache = "memory", *, model: str | os.PathLike[str] | None = None) -> None:
    """Forget every vector of a store and set its counts to 0, or forget those of one model.

    Parameters
    ----------
    cache : 'memory', path, MemoryStore or DiskStore, default='memory'
        "memory" is the store that all embedders of this process with
        ``cache="memory"`` share; a path is the folder of a DiskStore.
    model : str, path or None, default=None
        A name or folder under which texts were embedded, or the SHA-256 of the
        weights or its beginning (see :func:`cache_info`); None is all models.
        Only clearing all makes the file of a folder smaller: the room that one
        model leaves is used again for other vectors.

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
    store = _existing(cache)
    store.clear(None if model is None else _text(model))
    _warn(store)


def _existing(cache: Cache) -> VectorStore:
    store = open_store(cache) if is_cache(cache) else None
    if store is None:
        msg = f"The 'cache' parameter must be {CACHE_TEXT}. Got {cache!r} instead."
        raise InvalidParameterError(msg)
    return store


def _warn(store: VectorStore) -> None:
    for trouble in store.troubles():
        warn(trouble, CacheWarning)
