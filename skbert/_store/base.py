"""What a vector store promises. Lowest room of the engine: knows bytes and keys, not models, texts or vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["StoreInfo", "VectorStore"]


class StoreInfo(NamedTuple):
    """What a store holds and has been asked for.

    Attributes
    ----------
    vectors : int
        Vectors held now. A text has one for each layer and pooling asked for.
    bytes : int
        Bytes they take, bookkeeping included.
    max_bytes : int or None
        The limit; None is none.
    hits : int
        Texts that were found with every vector asked for.
    misses : int
        Texts that had to go through an encoder.
    evictions : int
        Vectors dropped to stay below the limit.
    """

    vectors: int
    bytes: int
    max_bytes: int | None
    hits: int
    misses: int
    evictions: int


class VectorStore(ABC):
    """A map from (namespace, key) to bytes that may forget, and never lies.

    A value comes back exactly as it was put, or not at all. All methods may be
    called from several threads at once.
    """

    @abstractmethod
    def get_many(self, namespace: bytes, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key, None where there is none."""

    @abstractmethod
    def put_many(self, namespace: bytes, keys: Sequence[bytes], values: Sequence[bytes]) -> int:
        """Keep `values`; return how many values were dropped for want of room, new ones included."""

    @abstractmethod
    def cost(self, value_bytes: int) -> int:
        """Return the bytes that one value of `value_bytes` bytes takes, bookkeeping included."""

    @abstractmethod
    def tally(self, hits: int, misses: int) -> None:
        """Add to the counts of texts found and texts embedded."""

    @abstractmethod
    def clear(self) -> None:
        """Forget every value and set the counts to 0."""

    @abstractmethod
    def info(self) -> StoreInfo:
        """Return what the store holds and has been asked for."""
