"""Rows of X before training: copies merged, a validation part split off, columns standardised. Part of ``_head``.

Copies are merged because of what then holds exactly, not nearly: a row of
weight 2 is the same as two rows, a row of weight 0 is the same as none, the
order in which rows arrive does not matter, and no copy of a validation row is
trained on. Mini-batches keep none of these by themselves. That merged rows
make an epoch shorter is a gain on the side.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

__all__ = ["Merged", "Moments", "measure", "merge_copies", "row_chunks", "row_keys", "split_off", "standardise"]

_CHUNK_BYTES = 2**24  # of rows at a time, as float64


def row_chunks(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Cut `n_rows` rows into pieces that stay small as float64."""
    step = max(1, _CHUNK_BYTES // (8 * max(1, n_columns)))
    return (slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step))


def row_keys(X: np.ndarray) -> np.ndarray:
    """Return a digest of each row's values.

    Equal rows have equal keys, and the same numbers have the same key in
    float32 and in float64, so that a fit does not depend on X's dtype.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        Float32 or float64.

    Returns
    -------
    ndarray of shape (n,), dtype V16
        Digests; they can be sorted and compared.
    """
    digests = []
    for piece in row_chunks(*X.shape):
        rows = np.ascontiguousarray(X[piece] + X.dtype.type(0))  # -0.0 has become 0.0
        with np.errstate(over="ignore"):
            short = rows.astype(np.float32, copy=False)
        exact = (short == rows).all(axis=1)  # where not: all eight bytes count, lest rows that differ be merged
        digests += [blake2b(short[i] if exact[i] else rows[i], digest_size=16).digest() for i in range(len(rows))]
    return np.frombuffer(b"".join(digests), dtype="V16")


class Merged(NamedTuple):
    """Distinct pairs of row and label, in an order that depends on their content alone."""

    rows: np.ndarray  # (m,) where in X to find each
    y: np.ndarray  # (m,) codes of the classes
    weight: np.ndarray  # (m,) float64, sum over the copies
    group: np.ndarray  # (m,) the same for equal rows, which may have different labels


def merge_copies(X: np.ndarray, y: np.ndarray, weight: np.ndarray) -> Merged:
    """Merge rows that are equal and have the same label, adding up their weights.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        Float32 or float64.
    y : ndarray of shape (n,)
        Codes of the classes, from 0.
    weight : ndarray of shape (n,)
        Float64, positive.

    Returns
    -------
    Merged
        Sorted by the digest of the row, then by label.
    """
    group = np.unique(row_keys(X), return_inverse=True)[1].ravel()
    n_classes = int(y.max()) + 1
    pair, first, inverse = np.unique(group * n_classes + y, return_index=True, return_inverse=True)
    return Merged(first, y[first], np.bincount(inverse.ravel(), weights=weight), pair // n_classes)


def split_off(merged: Merged, fraction: float, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Choose a stratified validation part in which rows are all or not at all.

    Parameters
    ----------
    merged : Merged
        Rows to choose from; every class has at least one.
    fraction : float
        Share of each class's weight to choose, between 0 and 1.
    rng : RandomState
        Shuffles the rows.

    Returns
    -------
    chosen : ndarray of shape (m,)
        Bool, True for the validation part.
    too_small : ndarray
        Codes of the classes that have too few distinct rows to be on both
        sides. If there are any, `chosen` means nothing.
    """
    n_classes, n_groups = int(merged.y.max()) + 1, int(merged.group.max()) + 1
    too_small = np.flatnonzero(np.bincount(merged.y, minlength=n_classes) < 2)  # a distinct row counts once a class

    # A row with several labels belongs to the class in which it weighs most.
    order = np.lexsort((merged.y, -merged.weight, merged.group))
    heaviest = order[np.unique(merged.group[order], return_index=True)[1]]
    stratum, weight = merged.y[heaviest], np.bincount(merged.group, weights=merged.weight)

    chosen = np.zeros(n_groups, dtype=bool)
    for label in range(n_classes):
        # All but one of them: one at least is left for training.
        members = rng.permutation(np.flatnonzero(stratum == label))
        target, total = fraction * weight[members].sum(), 0.0
        members = members[:-1]
        for member in members:
            # Taken where it brings the part nearer to its target, lest one row with a thousand copies be all of it.
            if abs(total + weight[member] - target) <= abs(total - target):
                chosen[member] = True
                total += weight[member]
            if total >= target:
                break
        if total == 0 and len(members):
            chosen[members[weight[members].argmin()]] = True
    in_part = chosen[merged.group]
    left = np.bincount(merged.y[~in_part], minlength=n_classes)
    return in_part, np.union1d(too_small, np.flatnonzero(left == 0))


class Moments(NamedTuple):
    """What standardisation knows of the columns. It can be added up over batches."""

    mean: np.ndarray  # (n_features,) float64
    variance: np.ndarray  # (n_features,) float64
    weight: float  # of all rows seen
    n: int  # rows seen

    @property
    def constant(self) -> np.ndarray:
        """Columns whose spread is no more than the rounding of their own mean."""
        rounding = self.n * np.finfo(np.float64).eps
        return self.variance <= rounding * self.variance + (rounding * self.mean) ** 2

    @property
    def scale(self) -> np.ndarray:
        """Standard deviation, and 1 where a column is constant."""
        return np.where(self.constant, 1.0, np.sqrt(self.variance))

    def __add__(self, other: object) -> Moments:
        """Return the moments of both sets of rows together (Chan, Golub and LeVeque, 1983)."""
        if not isinstance(other, Moments):
            return NotImplemented
        weight = self.weight + other.weight
        step = (other.mean - self.mean) * (other.weight / weight)
        between = (other.mean - self.mean) * step * (self.weight / weight)
        within = self.variance * (self.weight / weight) + other.variance * (other.weight / weight)
        return Moments(self.mean + step, within + between, weight, self.n + other.n)


def measure(X: np.ndarray, rows: np.ndarray, weight: np.ndarray) -> Moments:
    """Return weighted mean and variance of the columns over `rows`, in float64 but a piece at a time.

    Two passes: the usual shortcut, the mean of squares less the square of the
    mean, has no digits left where a column lies far from zero.
    """
    share = weight / weight.sum()
    mean = np.zeros(X.shape[1])
    variance = np.zeros(X.shape[1])
    for piece in row_chunks(len(rows), X.shape[1]):
        mean += share[piece] @ X[rows[piece]].astype(np.float64)
    for piece in row_chunks(len(rows), X.shape[1]):
        variance += share[piece] @ (X[rows[piece]].astype(np.float64) - mean) ** 2
    return Moments(mean, variance, float(weight.sum()), len(rows))


def standardise(X: np.ndarray, rows: np.ndarray, moments: Moments) -> np.ndarray:
    """Return ``(X[rows] - mean) / scale`` as float32, computed in float64 a piece at a time."""
    mean, scale = moments.mean, moments.scale
    Z = np.empty((len(rows), X.shape[1]), dtype=np.float32)
    for piece in row_chunks(len(rows), X.shape[1]):
        Z[piece] = (X[rows[piece]] - mean) / scale
    return Z
