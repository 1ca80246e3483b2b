"""From lengths to batches under a token budget. Pure integers: no torch, no texts, nothing of skbert."""

from __future__ import annotations

import numpy as np

__all__ = ["plan_batches", "runs_of"]


def plan_batches(lengths: np.ndarray, budget: int, *, padded: bool = False) -> list[np.ndarray]:
    """Group sequences into batches of at most `budget` tokens, longest first.

    Sequences of one length come to stand side by side, so that a batch is
    made of few runs of equal length (see :func:`runs_of`), which attention can
    treat without padding and without a mask. Longest first, so that memory is
    short in the first batch if it ever is.

    Parameters
    ----------
    lengths : ndarray of int of shape (n_sequences,)
        Tokens of each sequence.
    budget : int
        Tokens a batch; a sequence longer than that is a batch of its own.
    padded : bool, default=False
        Count each sequence as long as the longest of its batch.

    Returns
    -------
    list of ndarray of intp
        Indices into `lengths`, each exactly once. Equal lengths keep their order.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    ordered = np.asarray(lengths, dtype=np.int64)[order]
    ends = np.cumsum(ordered)
    batches = []
    start = 0
    while start < len(order):
        if padded:  # sorted longest first, so the first is as long as any
            stop = start + max(1, budget // max(1, int(ordered[start])))
        else:
            before = ends[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + budget, side="right")))
        batches.append(order[start:stop])
        start = stop
    return batches


def runs_of(lengths: np.ndarray) -> list[tuple[int, int, int]]:
    """Return the runs of equal neighbours in `lengths` as (first token, number of sequences, length)."""
    lengths = np.asarray(lengths, dtype=np.int64)
    edges = np.flatnonzero(np.diff(lengths)) + 1
    starts = np.concatenate(([0], edges))
    counts = np.diff(np.concatenate((starts, [len(lengths)])))
    runs = []
    token = 0
    for start, count in zip(starts.tolist(), counts.tolist(), strict=True):
        length = int(lengths[start])
        runs.append((token, count, length))
        token += count * length
    return runs
