"""MemoryStore: vectors of this process, bounded by bytes. Imports only ``_store.base`` and ``_params``."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from skbert._store.base import StoreInfo, VectorStore
from skbert.exceptions import InvalidParameterError

__all__ = ["MemoryStore"]

# CPython's own bytes per entry, measured on 3.11 to 3.13: the header of a bytes value (33), a 32-byte key (65), and
# an OrderedDict's slot, link and hash (about 120). Counting them keeps `max_bytes` honest for short vectors.
_OVERHEAD = 220


class MemoryStore(VectorStore):
    """Keep vectors in the memory of this process, the least recently used going first.

    It is what ``cache="memory"`` stands for: one such store for the whole
    process, shared by all embedders and their clones. Make one of your own for
    another size, or to keep an experiment's vectors apart.

    Parameters
    ----------
    max_bytes : int, default=268435456
        Upper limit in bytes (2**28, 256 MB), bookkeeping included. A text costs
        4 bytes times the width of the model, plus 220 bytes, for each layer and
        pooling: 1,756 bytes for the 384 numbers of all-MiniLM-L6-v2, so that
        the default holds 152,000 of its vectors, or 81,000 of BERT base.

    See Also
    --------
    BertEmbedder : Takes a store as its parameter `cache`.
    cache_info : What a store holds.

    Notes
    -----
    Thread-safe. ``copy.deepcopy`` and ``sklearn.base.clone`` give the same
    store, not a copy, so that the clones of a grid search share their vectors.
    Pickling gives an empty store of the same size: vectors stay in their
    process.

    Examples
    --------
    >>> import copy
    >>> from skbert import MemoryStore
    >>> store = MemoryStore(max_bytes=10_000_000)
    >>> copy.deepcopy(store) is store
    True
    >>> store.info().vectors
    0
    """

    def __init__(self, max_bytes: int = 2**28) -> None:
        if not isinstance(max_bytes, int | np.integer) or isinstance(max_bytes, bool) or max_bytes < 0:
            msg = (
                "The 'max_bytes' parameter of MemoryStore must be an int in the range [0, inf). "
                f"Got {max_bytes!r} instead."
            )
            raise InvalidParameterError(msg)
        self.max_bytes = int(max_bytes)
        self._lock = threading.Lock()
        self._values: OrderedDict[bytes, bytes] = OrderedDict()  # oldest use first
        self._bytes = self._hits = self._misses = self._evictions = 0

    def get_many(self, namespace: bytes, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key, None where there is none.

        Parameters
        ----------
        namespace : bytes
            Of one fixed length for all callers.
        keys : sequence of bytes
            What to look for.

        Returns
        -------
        list of bytes or None
            In the order of `keys`; those found count as used just now.
        """
        found: list[bytes | None] = []
        with self._lock:
            values = self._values
            for key in keys:
                full = namespace + key
                value = values.get(full)
                if value is not None:
                    values.move_to_end(full)
                found.append(value)
        return found

    def put_many(self, namespace: bytes, keys: Sequence[bytes], values: Sequence[bytes]) -> int:
        """Keep values under their keys, dropping the least recently used where room is short.

        Parameters
        ----------
        namespace : bytes
            Of one fixed length for all callers.
        keys : sequence of bytes
            Where to keep the values.
        values : sequence of bytes
            One for each key.

        Returns
        -------
        int
            How many values were dropped to stay below `max_bytes`.
        """
        dropped = 0
        with self._lock:
            for key, value in zip(keys, values, strict=True):
                full = namespace + key
                old = self._values.pop(full, None)
                if old is not None:
                    self._bytes -= self.cost(len(old))
                self._values[full] = value
                self._bytes += self.cost(len(value))
                while self._bytes > self.max_bytes:
                    _, oldest = self._values.popitem(last=False)
                    self._bytes -= self.cost(len(oldest))
                    dropped += 1
            self._evictions += dropped
        return dropped

    def cost(self, value_bytes: int) -> int:
        """Return the bytes that one value takes, bookkeeping included.

        Parameters
        ----------
        value_bytes : int
            Length of the value in bytes.

        Returns
        -------
        int
            `value_bytes` and 220.
        """
        return value_bytes + _OVERHEAD

    def tally(self, hits: int, misses: int) -> None:
        """Add to the counts of texts found and texts embedded.

        Parameters
        ----------
        hits : int
            Texts found.
        misses : int
            Texts embedded.
        """
        with self._lock:
            self._hits += hits
            self._misses += misses

    def clear(self) -> None:
        """Forget every vector and set the counts to 0."""
        with self._lock:
            self._values.clear()
            self._bytes = self._hits = self._misses = self._evictions = 0

    def info(self) -> StoreInfo:
        """Return what the store holds and has been asked for.

        Returns
        -------
        StoreInfo
            A named tuple (vectors, bytes, max_bytes, hits, misses, evictions).
        """
        with self._lock:
            return StoreInfo(len(self._values), self._bytes, self.max_bytes, self._hits, self._misses, self._evictions)

    def __repr__(self) -> str:
        return f"MemoryStore(max_bytes={self.max_bytes})"

    def __copy__(self) -> MemoryStore:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> MemoryStore:
        return self

    def __reduce__(self) -> tuple[type[MemoryStore], tuple[int]]:
        return MemoryStore, (self.max_bytes,)
