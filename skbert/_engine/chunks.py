"""Chunks of one text brought together again. Middle of the engine: arrays only, no model and no texts."""

from __future__ import annotations

from collections.abc import Sequence as Rows

import numpy as np

from skbert._engine.spec import Unit

__all__ = ["Chunks"]


class Chunks:
    """Collects the vectors of sequences until their texts are whole.

    A text of several chunks gets the mean of their vectors, weighted with
    their tokens; for "max" their maximum. Of a text that is not whole only the
    sum so far is kept, and what came before its turn.

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
        order = np.argsort(places, kind="stable")
        self._turns = np.empty_like(order)  # for each sequence: how many of its text come before it
        self._turns[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        self._open: dict[int, _Sum] = {}

    def take(self, batch: np.ndarray, pooled: np.ndarray, units: Rows[Unit]) -> tuple[np.ndarray, np.ndarray]:
        """Return which texts are whole now, and their vectors (n, units, width)."""
        owners = self._owners[batch]
        if not self._chunked:
            return owners, pooled
        is_max = [unit.pooling == "max" for unit in units]
        ready, vectors = [], []
        for k, (place, owner) in enumerate(zip(batch.tolist(), owners.tolist(), strict=True)):
            count = int(self._counts[place])
            if count == 1:
                ready.append(owner)
                vectors.append(pooled[k])
                continue
            if owner not in self._open:
                self._open[owner] = _Sum(pooled.shape[1:])
            found = self._open[owner]
            found.add(int(self._turns[place]), float(self._weights[place]), pooled[k])
            if found.n_added == count:
                ready.append(owner)
                vectors.append(self._open.pop(owner).joined(is_max))
        return np.array(ready, dtype=np.intp), np.array(vectors, dtype=np.float32).reshape(
            len(ready), *pooled.shape[1:]
        )


class _Sum:
    """The chunks of one text so far, added in the text's order, whatever order they come in: sums depend on it."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.n_added = 0
        self._weight, self._sum = 0.0, np.zeros(shape)
        self._max = np.full(shape, -np.inf, dtype=np.float32)
        self._early: dict[int, tuple[float, np.ndarray]] = {}

    def add(self, turn: int, weight: float, vectors: np.ndarray) -> None:
        if turn != self.n_added:
            # A copy: a view would keep the whole batch.
            self._early[turn] = weight, vectors.copy()
            return
        self._add(weight, vectors)
        while self.n_added in self._early:
            self._add(*self._early.pop(self.n_added))

    def _add(self, weight: float, vectors: np.ndarray) -> None:
        self._sum += weight * vectors.astype(np.float64)
        self._weight += weight
        np.maximum(self._max, vectors, out=self._max)
        self.n_added += 1

    def joined(self, is_max: list[bool]) -> np.ndarray:
        mean = (self._sum / self._weight).astype(np.float32)
        return np.where(np.array(is_max)[:, None], self._max, mean)
