"""What a vector store promises. Lowest room of the engine: knows bytes and keys, not models, texts or vectors."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from skbert.exceptions import InvalidParameterError

__all__ = ["StoreInfo", "StoredModel", "VectorStore", "merge_facts", "namespaces_of", "summarize"]


class StoredModel(NamedTuple):
    """What a store holds of one model.

    Attributes
    ----------
    names : tuple of str
        Names and folders under which the model was used.
    weights : str
        SHA-256 of its weights, hexadecimal.
    layers : tuple of int
        Hidden layers of which there are vectors, counted from 0 (the embeddings).
    poolings : tuple of str
        Poolings of which there are vectors.
    texts : int
        Different texts with at least one vector.
    vectors : int
        Vectors held.
    """

    names: tuple[str, ...]
    weights: str
    layers: tuple[int, ...]
    poolings: tuple[str, ...]
    texts: int
    vectors: int


class StoreInfo(NamedTuple):
    """What a store holds and has been asked for.

    Attributes
    ----------
    models : tuple of StoredModel
        What is held of each model: its names, layers, poolings, texts, vectors.
    layers : tuple of int
        Hidden layers of which any model has vectors.
    texts : int
        Different texts with at least one vector.
    vectors : int
        Vectors held now. A text has one for each layer and pooling, model and
        setting.
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

    models: tuple[StoredModel, ...]
    layers: tuple[int, ...]
    texts: int
    vectors: int
    bytes: int
    max_bytes: int | None
    hits: int
    misses: int
    evictions: int


class VectorStore(ABC):
    """A map from (namespace, key) to bytes that may forget, and never lies.

    A value comes back exactly as it was put, or not at all. Namespaces and keys
    have 16 bytes each. All methods may be called from several threads at once.
    A fault of the store is never an error of the caller's: a value that cannot
    be read is missing, one that cannot be kept is dropped, and `troubles` tells.
    """

    goes_first = "used least recently"  # which values are dropped where room is short

    def __init__(self) -> None:
        self._turns: defaultdict[tuple[int, bytes], threading.Lock] = defaultdict(threading.Lock)

    @abstractmethod
    def get_many(self, namespace: bytes, keys: Sequence[bytes], size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return which keys have a value of `size` bytes, and those values.

        Parameters
        ----------
        namespace : bytes
            16 bytes.
        keys : sequence of bytes
            What to look for, 16 bytes each.
        size : int
            Bytes a value.

        Returns
        -------
        found : bool ndarray of shape (n_keys,)
            Damaged values are not found.
        values : uint8 ndarray of shape (n_found, size)
            In the order of `keys`.
        """

    @abstractmethod
    def put_many(self, namespace: bytes, keys: Sequence[bytes], values: np.ndarray, *, overwrite: bool = True) -> None:
        """Keep values under their keys; may return before they are kept.

        Parameters
        ----------
        namespace : bytes
            16 bytes.
        keys : sequence of bytes
            Where to keep the values, 16 bytes each.
        values : uint8 ndarray of shape (n_keys, size)
            One row for each key; not to be changed afterwards.
        overwrite : bool, default=True
            Whether to replace values that are there.
        """

    @abstractmethod
    def flush(self) -> int:
        """Wait until all that was put is kept for good.

        Returns
        -------
        int
            Values dropped since the last flush, to stay below the limit.
        """

    @abstractmethod
    def describe(self, namespace: bytes, facts: Mapping[str, Any]) -> None:
        """Remember what the values of a namespace are.

        Parameters
        ----------
        namespace : bytes
            16 bytes.
        facts : mapping
            "names", "weights", "layer", "pooling" and more; JSON can hold it.
        """

    @abstractmethod
    def cost(self, size: int) -> int:
        """Return the bytes that one value takes, bookkeeping included.

        Parameters
        ----------
        size : int
            Length of the value in bytes.

        Returns
        -------
        int
            About, where it lies on a disk.
        """

    @abstractmethod
    def larger(self, max_bytes: int) -> str:
        """Return the code for such a store with another limit.

        Parameters
        ----------
        max_bytes : int
            The limit in bytes.

        Returns
        -------
        str
            For messages.
        """

    @abstractmethod
    def tally(self, hits: int, misses: int) -> None:
        """Add to the counts of texts found and texts embedded.

        Parameters
        ----------
        hits : int
            Texts found.
        misses : int
            Texts embedded.
        """

    @abstractmethod
    def clear(self, model: str | None = None) -> int:
        """Forget every value and set the counts to 0, or forget those of one model.

        Parameters
        ----------
        model : str or None, default=None
            A name or folder under which texts were embedded, or the SHA-256 of
            the weights or its beginning. None is all models, and gives the disk
            its room back; what one model leaves is filled again.

        Returns
        -------
        int
            Values forgotten.
        """

    @abstractmethod
    def info(self) -> StoreInfo:
        """Return what the store holds and has been asked for.

        Returns
        -------
        StoreInfo
            A named tuple (models, layers, texts, vectors, bytes, max_bytes,
            hits, misses, evictions). Reading all keys takes about a second for
            a million vectors.
        """

    def troubles(self) -> list[str]:
        """Return what went wrong and was not told yet; each thing is told once a process.

        Returns
        -------
        list of str
            Sentences for the user.
        """
        return []

    @contextlib.contextmanager
    def turn(self, name: bytes) -> Iterator[None]:
        """Let one caller at a time work under this name, of all that share the store.

        Parameters
        ----------
        name : bytes
            16 bytes.

        Yields
        ------
        None
            When the turn has come.
        """
        with self._turns[os.getpid(), name]:  # a forked child does not wait for its parent's threads
            yield


def merge_facts(known: Mapping[str, Any] | None, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return `facts` with the names that were known before: one model may be used under several."""
    names = {*(known or {}).get("names", ()), *facts.get("names", ())}
    return {**facts, "names": sorted(names)}


def namespaces_of(model: str, described: Mapping[bytes, Mapping[str, Any]]) -> list[bytes]:
    """Return the namespaces that hold vectors of `model`: a name, a folder, or the (first 8) digits of its SHA-256.

    Raises
    ------
    InvalidParameterError
        There is no such model.
    """
    names_of = {model, os.path.abspath(model)}
    digits = model if re.fullmatch("[0-9a-f]{8,64}", model) else "none"
    found = [
        namespace
        for namespace, facts in described.items()
        if str(facts.get("weights")).startswith(digits) or names_of.intersection(facts.get("names", ()))
    ]
    if not found:
        names = sorted({str(name) for facts in described.values() for name in facts.get("names", ())})
        held = ", ".join(map(repr, names)) or "no model"
        msg = (
            "The 'model' parameter of clear_cache must be a name or folder under which texts were embedded, or the "
            f"SHA-256 of its weights. The store holds vectors of {held}. Got {model!r} instead."
        )
        raise InvalidParameterError(msg)
    return found


def summarize(
    groups: Iterable[tuple[Mapping[str, Any], set[bytes]]],
) -> tuple[tuple[StoredModel, ...], tuple[int, ...], int]:
    """Return what is held of each model, the layers of all, and how many different texts there are in all.

    Parameters
    ----------
    groups : iterable of (facts, keys)
        Of each namespace what `describe` was told, and the keys that it holds.
    """
    by_model: dict[str, list[tuple[Mapping[str, Any], set[bytes]]]] = defaultdict(list)
    for facts, keys in groups:
        if keys:
            by_model[str(facts.get("weights", ""))].append((facts, keys))
    models = tuple(
        StoredModel(
            names=tuple(sorted({str(name) for facts, _ in held for name in facts.get("names", ())})),
            weights=weights,
            layers=tuple(sorted({int(facts["layer"]) for facts, _ in held if "layer" in facts})),
            poolings=tuple(sorted({str(facts["pooling"]) for facts, _ in held if "pooling" in facts})),
            texts=len(set().union(*(keys for _, keys in held))),
            vectors=sum(len(keys) for _, keys in held),
        )
        for weights, held in sorted(by_model.items())
    )
    layers = tuple(sorted({layer for model in models for layer in model.layers}))
    return models, layers, len(set().union(*(keys for held in by_model.values() for _, keys in held)))
