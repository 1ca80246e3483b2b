"""Chunks of one text brought together again. Middle of the engine: arrays only, no model and no texts."""

from __future__ import annotations

from collections.abc import Sequence as Rows

import numpy as np

from skbert._engine.spec import Unit

__all__ = ["Chunks"]


class Chunks:
    """Collects the vectors of sequences until their texts are whole.

    A text of several chunks gets the mean of their vectors, weighted with
    their tokens; for "max" their maximum.

    Parameters
    ----------
    owners : int ndarray of shape (n_sequences,)
        The text of each sequence.
    weights : int ndarray of shape (n_sequences,)
        Tokens of the text in each.
    """

    def __init__(self, owners: np.ndarray, weights: np.ndarray) -> None:
        # In double, as the sums over them: a book has thousands of chunks.
        self._owners, self._weights = owners, weights.astype(np.float64)
        _, places, counts = np.unique(owners, return_inverse=True, return_counts=True)
        self._counts = counts[places]  # for each sequence: how many its text has
        self._chunked = bool((counts > 1).any())
        self._open: dict[int, list[tuple[int, np.ndarray]]] = {}

    def take(self, batch: np.ndarray, pooled: np.ndarray, units: Rows[Unit]) -> tuple[np.ndarray, np.ndarray]:
        """Return which texts are whole now, and their vectors (n, units, width)."""
        owners = self._owners[batch]
        if not self._chunked:
            return owners, pooled
        ready, vectors = [], []
        for k, (place, owner) in enumerate(zip(batch.tolist(), owners.tolist(), strict=True)):
            chunks = self._open.setdefault(owner, [])
            chunks.append((place, pooled[k]))
            if len(chunks) == self._counts[place]:
                ready.append(owner)
                vectors.append(self._join(self._open.pop(owner), units))
        return np.array(ready, dtype=np.intp), np.array(vectors, dtype=np.float32).reshape(
            len(ready), *pooled.shape[1:]
        )

    def _join(self, chunks: list[tuple[int, np.ndarray]], units: Rows[Unit]) -> np.ndarray:
        if len(chunks) == 1:
            return chunks[0][1]
        chunks.sort(key=lambda chunk: chunk[0])  # in the text's order, whatever order the batches came in
        stacked = np.stack([vectors for _, vectors in chunks])  # (chunks, units, width)
        weights = self._weights[[place for place, _ in chunks]]
        joined = np.average(stacked, axis=0, weights=weights).astype(np.float32)
        for k, unit in enumerate(units):
            if unit.pooling == "max":
                joined[k] = stacked[:, k].max(axis=0)
        return joined
