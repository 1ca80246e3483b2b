"""Copies on both sides of the validation split. Part of ``_head``.

Equal rows are never on both sides (``rows.split_off``). Rows that are equal
but for the last digits may be, as when copies of a text were embedded in other
batches; and so may the vectors of texts that are nearly the same, of which
only those who have the texts know.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from skbert._head.rows import Merged, Moments, standardise
from skbert._warnings import warn
from skbert.exceptions import LeakageWarning

__all__ = ["warn_of_leaks"]

_NEAR = 1e-3  # standard deviations: what rounding in float32 makes of a column, at most
_DIRECTIONS = 8
_SHARE = 0.01  # of the validation part: fewer copies than that do not change what it says


def warn_of_leaks(
    X: np.ndarray,
    merged: Merged,
    held_out: np.ndarray,
    moments: Moments,
    near: np.ndarray | None,
    rng: np.random.RandomState,
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
    rng : RandomState
        Draws directions, in which rows are compared first.
    """
    validation, training = merged.rows[held_out], merged.rows[~held_out]
    if near is None:
        leaked = _are_near(standardise(X, training, moments), standardise(X, validation, moments), rng)
    else:
        leaked = np.isin(near[validation], near[training])
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


def _are_near(training: np.ndarray, validation: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Say of each row of the second whether a row of the first is the same but for rounding."""
    n_columns = training.shape[1]
    directions = rng.standard_normal((n_columns, _DIRECTIONS)).astype(np.float32)
    # In a random direction rows differ by no more than a few times _NEAR * sqrt(n_columns) where each column does by
    # no more than _NEAR. Strangers lie further apart than that in eight directions, so one candidate a row will do.
    reach = 3 * _NEAR * np.sqrt(n_columns * _DIRECTIONS)
    _, nearest = KDTree(training @ directions).query(validation @ directions, distance_upper_bound=reach)
    found = nearest < len(training)
    near = np.zeros(len(validation), dtype=bool)
    near[found] = (np.abs(training[nearest[found]] - validation[found]) <= _NEAR).all(axis=1)
    return near
