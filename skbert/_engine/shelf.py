"""Shelf: the vectors of one call's texts in a store. Middle of the engine: between vectors and a store's bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence as Rows
from typing import Any

import numpy as np

from skbert._engine.spec import EncoderSpec, Unit, text_key
from skbert._store.base import VectorStore

__all__ = ["Shelf"]


class Shelf:
    """Looks the texts of a call up in its store, and puts new vectors there.

    A value is a text's vector, and behind it how many tokens the text lost, so
    that a stored text is warned of, or refused, like a new one.

    Parameters
    ----------
    store : VectorStore or None
        None keeps nothing and finds nothing.
    texts : list of str or tuple of two str
        Different ones. Their places in it stand for them.
    spec : EncoderSpec
    units : tuple of Unit
        What is put: the spec's own and others.
    width : int
        Numbers in a vector.

    Attributes
    ----------
    n_dropped : int
        Vectors that the store has dropped since the call began, for want of room.
    """

    def __init__(
        self,
        store: VectorStore | None,
        texts: Rows[str | tuple[str, str]],
        spec: EncoderSpec,
        units: tuple[Unit, ...],
        width: int,
    ) -> None:
        self._store, self._spec, self._units, self._width = store, spec, units, width
        self._size = (width + 1) * np.dtype(np.float32).itemsize
        self._n_texts = len(texts)
        self.n_dropped = 0
        if store is not None:
            self._keys = [text_key(text) for text in texts]
            self._namespaces = {unit: spec.namespace(unit) for unit in units}
            # Of the units asked for it is known what is stored and sound.
            self._stored = {unit: np.zeros(len(texts), dtype=bool) for unit in spec.units}

    def take(self, places: np.ndarray) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
        """Return which texts have all units of the spec stored, and what is stored of them.

        Parameters
        ----------
        places : int ndarray of shape (n_places,)

        Returns
        -------
        found : bool ndarray of shape (n_places,)
        vectors : list of float32 ndarray of shape (n_found, width)
            One for each unit.
        cut : uint32 ndarray of shape (n_found,)
            Tokens that each text lost.
        """
        if self._store is None:
            return np.zeros(len(places), dtype=bool), [], np.empty(0, np.uint32)
        keys = [self._keys[place] for place in places.tolist()]
        columns = [self._store.get_many(self._namespaces[unit], keys, self._size) for unit in self._spec.units]
        found = np.logical_and.reduce([mask for mask, _ in columns])
        for unit, (mask, _) in zip(self._spec.units, columns, strict=True):
            self._stored[unit][places] = mask
        blocks = [(rows if mask.sum() == found.sum() else rows[found[mask]]).view(np.float32) for mask, rows in columns]
        cut = np.ascontiguousarray(blocks[0][:, -1]).view(np.uint32)  # the same with every unit
        return found, [block[:, :-1] for block in blocks], cut

    def put(self, places: np.ndarray, vectors: np.ndarray, cut: np.ndarray) -> None:
        """Store the vectors (n, units, width) of the texts at `places`, and the tokens that they lost.

        What is stored stays: the same call shall find the same bits again,
        whatever other calls came between.
        """
        if self._store is None:
            return
        for k, unit in enumerate(self._units):
            asked = unit in self._stored
            new = np.flatnonzero(~self._stored[unit][places]) if asked else np.arange(len(places))
            block = np.empty((len(new), self._width + 1), dtype=np.float32)  # the store may keep it: one for each unit
            block[:, :-1] = vectors[new, k]
            block[:, -1] = cut[new].view(np.float32)
            keys = [self._keys[place] for place in places[new].tolist()]
            self._store.put_many(self._namespaces[unit], keys, block.view(np.uint8), overwrite=asked)

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until nobody else who shares the store works with this model; at the end everything put is kept."""
        if self._store is None:
            yield
            return
        with self._store.turn(self._spec.encoder_key()):
            try:
                yield
            except BaseException:
                with contextlib.suppress(Exception):  # the first error is the one to tell
                    self._store.flush()
                raise
            self.n_dropped += self._store.flush()

    def describe(self, name: str) -> None:
        """Tell the store what its vectors are, and how the user calls their model."""
        if self._store is not None:
            for unit, namespace in self._namespaces.items():
                facts: dict[str, Any] = {"names": [name], **self._spec.facts(unit)}
                self._store.describe(namespace, facts)

    def tally(self, n_found: int, n_embedded: int) -> None:
        """Tell the store what it was asked."""
        if self._store is not None:
            self._store.tally(n_found, n_embedded)

    def troubles(self) -> list[str]:
        """Return what went wrong with the store and was not told yet."""
        return [] if self._store is None else self._store.troubles()

    def too_small(self) -> str:
        """Return what the user is told when vectors were dropped."""
        assert self._store is not None
        needed = self._n_texts * len(self._units) * self._store.cost(self._size)
        return (
            f"{self._store!r} is too small and drops the vectors {self._store.goes_first}, which will be computed "
            f"again. This call alone needs {needed:,} bytes: {self._n_texts:,} different texts with "
            f"{len(self._units)} vector(s) each. Pass a larger one: {self._store.larger(2 * needed)}."
        )
