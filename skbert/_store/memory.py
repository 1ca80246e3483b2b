"""MemoryStore: vectors of this process, bounded by bytes. Imports only ``_store.base`` and ``_params``."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skbert._params import check_params, integer
from skbert._store.base import StoreInfo, VectorStore, merge_facts, namespaces_of, summarize

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
        4 bytes times the width of the model, plus 224 bytes, for each layer and
        pooling: 1,760 bytes for the 384 numbers of all-MiniLM-L6-v2, so that
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

    __module__ = "skbert"  # the name in pickles, which outlives the files here

    def __init__(self, max_bytes: int = 2**28) -> None:
        super().__init__()
        self.max_bytes = max_bytes
        check_params(self, {"max_bytes": (integer(0),)})
        self.max_bytes = int(max_bytes)
        self._lock = threading.Lock()
        self._values: OrderedDict[bytes, bytes] = OrderedDict()  # oldest use first
        self._facts: dict[bytes, dict[str, Any]] = {}
        self._bytes = self._hits = self._misses = self._evictions = 0
        self._dropped = 0  # since the last flush, not yet among the evictions

    def get_many(self, namespace: bytes, keys: Sequence[bytes], size: int) -> tuple[np.ndarray, np.ndarray]:
        with self._lock:
            values, young = self._values, self._values.move_to_end
            taken = [values.get(namespace + key) for key in keys]
            found = np.fromiter((value is not None and len(value) == size for value in taken), bool, len(keys))
            if found.all():
                for key in keys:
                    young(namespace + key)
            else:
                for k in np.flatnonzero(found).tolist():
                    young(namespace + keys[k])
                taken = [taken[k] for k in np.flatnonzero(found).tolist()]
        return found, np.frombuffer(b"".join(taken), dtype=np.uint8).reshape(len(taken), size)  # type: ignore[arg-type]

    def put_many(self, namespace: bytes, keys: Sequence[bytes], values: np.ndarray, *, overwrite: bool = True) -> None:
        size, raw = values.shape[1], values.tobytes()
        with self._lock:
            for k, key in enumerate(keys):
                full = namespace + key
                if not overwrite and full in self._values:
                    continue
                old = self._values.pop(full, None)
                if old is not None:
                    self._bytes -= self.cost(len(old))
                self._values[full] = raw[k * size : (k + 1) * size]
                self._bytes += self.cost(size)
                while self._bytes > self.max_bytes:
                    _, oldest = self._values.popitem(last=False)
                    self._bytes -= self.cost(len(oldest))
                    self._dropped += 1

    def flush(self) -> int:
        with self._lock:
            dropped, self._dropped = self._dropped, 0
            self._evictions += dropped
        return dropped

    def describe(self, namespace: bytes, facts: Mapping[str, Any]) -> None:
        with self._lock:
            self._facts[namespace] = merge_facts(self._facts.get(namespace), facts)

    def cost(self, size: int) -> int:
        return size + _OVERHEAD

    def larger(self, max_bytes: int) -> str:
        return f"cache=MemoryStore(max_bytes={max_bytes})"

    def tally(self, hits: int, misses: int) -> None:
        with self._lock:
            self._hits += hits
            self._misses += misses

    def clear(self, model: str | None = None) -> int:
        with self._lock:
            if model is None:
                count = len(self._values)
                self._values.clear()
                self._facts.clear()
                self._bytes = self._hits = self._misses = self._evictions = self._dropped = 0
                return count
            namespaces = namespaces_of(model, self._facts)
            keys = [full for full in self._values if full[:16] in namespaces]
            for full in keys:
                self._bytes -= self.cost(len(self._values.pop(full)))
            for namespace in namespaces:
                del self._facts[namespace]
            return len(keys)

    def info(self) -> StoreInfo:
        with self._lock:
            held: dict[bytes, set[bytes]] = {namespace: set() for namespace in self._facts}
            for full in self._values:
                held.setdefault(full[:16], set()).add(full[16:])
            summary = summarize((self._facts.get(namespace, {}), keys) for namespace, keys in held.items())
            return StoreInfo(
                *summary,
                len(self._values),
                self._bytes,
                self.max_bytes,
                self._hits,
                self._misses,
                self._evictions + self._dropped,
            )

    def __repr__(self) -> str:
        return f"MemoryStore(max_bytes={self.max_bytes})"

    def __copy__(self) -> MemoryStore:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> MemoryStore:
        return self

    def __reduce__(self) -> tuple[type[MemoryStore], tuple[int]]:
        return MemoryStore, (self.max_bytes,)
