"""What the tests of HeadSearchCV share: the same search by GridSearchCV, and what "the same results" means."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skbert import HeadSearchCV

# Its value tells any two candidates apart, where an accuracy of 0.9 is many models'.
FINE = "neg_log_loss"
# What rounding makes of a score: heads that are trained together may add up in another order.
NOISE = 1e-4
TIMES = {f"{kind}_{what}_time" for kind in ("mean", "std") for what in ("fit", "score")}


def both(
    estimator: Any, grid: Any, X: Any, y: Any, params: dict[str, Any] | None = None, **settings: Any
) -> tuple[HeadSearchCV, GridSearchCV]:
    """Return the two searches, fitted in the same way."""
    found, expected = (
        kind(clone(estimator), grid, **settings).fit(X, y, **(params or {})) for kind in (HeadSearchCV, GridSearchCV)
    )
    return found, expected


def assert_same_search(found: Any, expected: Any) -> None:
    """Check that a fitted search has the attributes of another one, and the same numbers but for times and noise."""
    assert _learned(found) == _learned(expected)
    assert list(found.cv_results_) == list(expected.cv_results_)
    assert found.cv_results_["params"] == expected.cv_results_["params"]
    told_apart = False
    for key, theirs in expected.cv_results_.items():
        ours = found.cv_results_[key]
        assert type(ours) is type(theirs), key
        if key == "params":
            continue
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape), key
        if key.startswith("param_"):
            assert ours.mask.tolist() == theirs.mask.tolist(), key
            assert ours.tolist() == theirs.tolist(), key
        elif key.startswith("rank_"):
            assert _same_order(found.cv_results_[key.replace("rank", "mean")], ours, theirs), key
        elif key not in TIMES:
            np.testing.assert_allclose(ours, theirs, rtol=NOISE, atol=NOISE, err_msg=key)
            told_apart |= len(np.unique(theirs)) > 1
    assert told_apart, "The candidates are all alike: they prove nothing."
    for name in ("best_index_", "best_params_", "n_splits_", "multimetric_"):
        assert getattr(found, name, None) == getattr(expected, name, None), name
    if hasattr(expected, "best_score_"):
        np.testing.assert_allclose(found.best_score_, expected.best_score_, rtol=NOISE, atol=NOISE)


def _learned(search: Any) -> set[str]:
    return {name for name in vars(search) if name.endswith("_") and not name.startswith("_")}


def _same_order(scores: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Say whether the ranks agree, but for candidates whose scores are equal up to noise."""
    unlike = np.flatnonzero(ours != theirs)
    return all(np.sum(np.abs(scores - scores[place]) <= NOISE) > 1 for place in unlike)


def name_of(value):
    """Return an id of a test that is the same in every process: functions have no address in it."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))
