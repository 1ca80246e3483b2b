"""Several heads fitted at once. Part of ``_head``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from skbert._head.classifier import HeadClassifier

__all__ = ["Job", "Outcome", "fit_together"]


class Job(NamedTuple):
    """Rows, and the unfitted heads that are to learn from them."""

    heads: Sequence[HeadClassifier]
    X: Any  # (n_samples, n_features)
    y: Any  # (n_samples,)
    sample_weight: Any = None  # (n_samples,) or None


class Outcome(NamedTuple):
    """How the fit of one head went."""

    error: Exception | None  # what its `fit` would have raised; the head is unfitted then
    seconds: float  # its share of the time


def fit_together(jobs: Sequence[Job]) -> list[list[Outcome]]:
    """Fit every head of every job in place, as its `fit` would, those that can share products at once.

    Parameters
    ----------
    jobs : sequence of Job
        Training sets of one shape each, as of the folds of a cross-validation.

    Returns
    -------
    list of list of Outcome
        One a head, by job.
    """
    outcomes = []
    for job in jobs:
        made = []
        for head in job.heads:
            start = time.perf_counter()
            error = None
            try:
                head.fit(job.X, job.y, job.sample_weight)
            except Exception as caught:
                error = caught
            made.append(Outcome(error, time.perf_counter() - start))
        outcomes.append(made)
    return outcomes
