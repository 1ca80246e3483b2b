"""Copies on both sides of the validation split. Part of ``_head``.

Equal rows are never on both sides (``rows.split_off``). Rows that are equal
but for the last digits may be, as when copies of a text were embedded in other
batches; and so may the vectors of texts that are nearly the same, of which
only those who have the texts know.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from skbert._head.rows import Merged, Moments, row_chunks, standardise
from skbert._warnings import warn
from skbert.exceptions import LeakageWarning

__all__ = ["warn_of_leaks"]

# What rounding in float32 makes of a column, at most: a part of how far its values usually lie from their median, which
# a few that lie far off do not change. With few columns strangers come as near as that to each other by chance.
_NEAR = 1e-3
_FEWEST_COLUMNS = 16
_USUAL_ROWS = 256  # enough to know what is usual
_DIRECTIONS = 8
_SHARE = 0.01  # of the validation part: fewer copies than that do not change what it says


def warn_of_leaks(
    X: np.ndarray,
    merged: Merged,
    held_out: np.ndarray,
    moments: Moments,
    near: np.ndarray | None,
    seed: int,
) -> None:
    """Warn where rows of the validation part have copies in the training part.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        Rows as given.
    merged : Merged
        The distinct ones.
    held_out : ndarray of shape (m,)
        Which of these are the validation part.
    moments : Moments
        Mean and scale of the columns.
    near : ndarray of shape (n,) or None
        The same number for rows whose texts are nearly the same. None compares
        the rows themselves.
    seed : int
        Seed of directions, in which rows are compared first.
    """
    validation, training = merged.rows[held_out], merged.rows[~held_out]
    if near is not None:
        leaked = np.isin(near[validation], near[training])
    elif np.count_nonzero(~moments.constant) < _FEWEST_COLUMNS:
        return
    else:
        leaked = _are_near(X, training, validation, moments, seed)
    weight = merged.weight[held_out]
    share = weight[leaked].sum() / weight.sum()
    if share < _SHARE:
        return
    if near is None:
        what = "are equal to rows of the training part but for rounding"
        remedy = "Drop copies, or embed equal texts once (BertEmbedder does)."
    else:
        what = "have texts that are nearly the same as texts of the training part (retweets, say)"
        remedy = "skbert.text_report names them: drop those, or put a TextCleaner before the classifier."
    msg = (
        f"{leaked.sum():,} of {len(validation):,} rows of the validation part {what}. "
        f"Early stopping and the validation scores take them for new. {remedy}"
    )
    warn(msg, LeakageWarning)


def _are_near(X: np.ndarray, training: np.ndarray, validation: np.ndarray, moments: Moments, seed: int) -> np.ndarray:
    """Say of each row of the validation part whether one of the training part is the same but for rounding."""
    n_columns = X.shape[1]
    directions = np.random.RandomState(seed).standard_normal((n_columns, _DIRECTIONS))
    some = standardise(X, training[:: max(1, len(training) // _USUAL_ROWS)], moments)
    with np.errstate(all="ignore"):  # columns that overflow are the training's to complain of
        tolerance = _NEAR * np.median(np.abs(some - np.median(some, axis=0)), axis=0)
        known, asked = (_project(X, rows, moments, directions) for rows in (training, validation))
    known_rows, asked_rows = (np.flatnonzero(np.isfinite(some).all(axis=1)) for some in (known, asked))
    near = np.zeros(len(validation), dtype=bool)
    if not len(known_rows) or not len(asked_rows):
        return near
    # Copies differ by a few times _NEAR * sqrt(n_columns) in a random direction, where each column differs by _NEAR.
    # Strangers lie further apart than that in eight directions, so one candidate a row will do.
    reach = 3 * _NEAR * np.sqrt(n_columns * _DIRECTIONS)
    _, nearest = KDTree(known[known_rows]).query(asked[asked_rows], distance_upper_bound=reach)
    found = nearest < len(known_rows)
    places = asked_rows[found]
    ones = standardise(X, training[known_rows[nearest[found]]], moments)
    others = standardise(X, validation[places], moments)
    near[places] = (np.abs(ones - others) <= tolerance).all(axis=1)
    return near


def _project(X: np.ndarray, rows: np.ndarray, moments: Moments, directions: np.ndarray) -> np.ndarray:
    """Return rows of X, standardised, in these directions, float64; a piece at a time."""
    scaled = directions / moments.scale[:, None]
    pieces = [(X[rows[piece]] - moments.mean) @ scaled for piece in row_chunks(len(rows), X.shape[1])]
    return np.concatenate(pieces)
