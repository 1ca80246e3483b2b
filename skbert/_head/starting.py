"""What a training begins with: rows merged and split, columns measured, seeds drawn. Part of ``_head``."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.utils import check_random_state

from skbert._head import fitting, rows, weights
from skbert._head.leaks import warn_of_leaks
from skbert._training import Part, Rows

__all__ = ["Start", "begin"]


class Start(NamedTuple):
    """The same for all trainings on the same rows that split them in the same way with the same seed."""

    X: np.ndarray  # (n, n_features), as given
    classes: np.ndarray  # (n_classes,) sorted labels
    merged: rows.Merged  # the distinct rows
    kept: np.ndarray  # (m,) bool over `merged`, the training part
    held_out: np.ndarray | None  # (m,) bool, the validation part
    moments: rows.Moments  # mean and scale of the columns
    seed_weights: int
    seed_training: int

    def rows(self, factors: np.ndarray, device: torch.device) -> Rows:
        """Put the rows on the device, standardised and weighted.

        Parameters
        ----------
        factors : ndarray of shape (n_classes,)
            Weights of the classes.
        device : torch.device
            Where the rows are to lie.

        Returns
        -------
        Rows
            In memory of their own.
        """
        training = weights.make_part(self.X, self.merged, self.kept, factors, self.moments, device)
        if self.held_out is None:
            return Rows(training, None, self.seed_training)
        validation = weights.make_part(self.X, self.merged, self.held_out, factors, self.moments, device)
        return Rows(training, validation, self.seed_training)

    def reweighted(self, rows: Rows, factors: np.ndarray) -> Rows:
        """Return the same rows, in the same memory, with other weights of the classes."""

        def change(part: Part, chosen: np.ndarray) -> Part:
            return part._replace(weight=weights.weights_of(self.merged, chosen, factors)[0].to(part.X.device))

        validation = None
        if rows.validation is not None and self.held_out is not None:
            validation = change(rows.validation, self.held_out)
        return Rows(change(rows.training, self.kept), validation, rows.seed)


def begin(
    X: np.ndarray,
    merged: rows.Merged,
    classes: np.ndarray,
    *,
    random_state: Any,
    early_stopping: bool,
    validation_fraction: float,
    max_iter: int,
    near: np.ndarray | None = None,
) -> Start:
    """Split the rows, measure the columns and draw the seeds.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        Rows as given.
    merged : Merged
        The distinct ones.
    classes : ndarray of shape (n_classes,)
        Sorted labels.
    random_state : int, RandomState or None
        Source of the seeds and of the split.
    early_stopping, validation_fraction, max_iter
        As the parameters of the estimator.
    near : ndarray of shape (n,) or None, default=None
        The same number for rows whose texts are nearly the same, where that is
        known. A warning tells where they are on both sides of the split.

    Returns
    -------
    Start
        Without copies of X.
    """
    rng = check_random_state(random_state)
    seed_weights, seed_training = rng.randint(np.iinfo(np.int32).max, size=2).tolist()
    held_out = fitting.hold_out(merged, classes, validation_fraction, rng, max_iter) if early_stopping else None
    kept = np.ones(len(merged.y), dtype=bool) if held_out is None else ~held_out
    moments = rows.measure(X, merged.rows[kept], merged.weight[kept])
    if held_out is not None:
        warn_of_leaks(X, merged, held_out, moments, near, seed_training)
    return Start(X, classes, merged, kept, held_out, moments, seed_weights, seed_training)
