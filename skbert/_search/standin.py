"""What scikit-learn's own GridSearchCV is run over, so that all that it reports is its own. Part of ``_search``.

It goes through candidates and folds in order. Its splitter is :class:`Splits`,
which hands the user's splits on and keeps them; its estimator is
:class:`StandIn`, which answers for the candidate whose turn it is; a scorer
that may look at more than predictions gets the real estimator and rows of X
through :class:`OnWhole`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import update_wrapper
from typing import Any, Self

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import get_scorer
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.metaestimators import available_if

from skbert._search.training import Fitted, Split, Training
from skbert._sklearn import copy_requests, take_rows

__all__ = ["OnWhole", "Splits", "Stage", "StandIn", "through_whole"]


class Splits:
    """A splitter that splits X by another one, which it is given with the positions of rows, and keeps the splits.

    Parameters
    ----------
    cv : splitter
        The one that splits.
    given : object
        What the user passed as `cv`; it says what metadata it wants.
    X : sequence
        What it is to split.

    Attributes
    ----------
    drawn : list of Split
        The splits, once they were drawn.
    """

    def __init__(self, cv: Any, given: Any, X: Any) -> None:
        self._cv, self._given, self._X = cv, given, X
        self.drawn: list[Split] = []

    def get_n_splits(self, X: Any = None, y: Any = None, **params: Any) -> int:
        """Return the number of splits."""
        return int(self._cv.get_n_splits(self._X, y, **params))

    def split(self, X: np.ndarray, y: Any = None, **params: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Draw the splits of the rows at positions X, which is all of them."""
        self.drawn = [Split(X[train], X[test]) for train, test in self._cv.split(self._X, y, **params)]
        yield from self.drawn

    def get_metadata_routing(self) -> Any:
        """Return what the user's splitter wants."""
        return get_routing_for_object(self._given)

    def __repr__(self) -> str:
        return repr(self._given)


class Stage:
    """Knows whose turn it is: GridSearchCV fits candidate by candidate, each in all folds, and the best one at last.

    Parameters
    ----------
    estimator : estimator
        The one that is searched over.
    training : Training
        Has the fits.
    splits : Splits
        Has the folds.
    X, y : sequence
        As in `fit` of the search.
    """

    def __init__(self, estimator: Any, training: Training, splits: Splits, X: Any, y: Any) -> None:
        self.estimator, self.training, self.splits, self.X, self.y = estimator, training, splits, X, y
        self._turn = 0

    def fit(self, params: dict[str, Any], fit_params: dict[str, Any]) -> Fitted:
        """Return the candidate and fold whose turn it is, or the refit where all had theirs."""
        place, fold = divmod(self._turn, len(self.splits.drawn))
        self._turn += 1
        candidates = self.training.candidates
        if place < len(candidates):
            return self.training.take(place, fold, self.splits.drawn)
        # The parameters are clones already.
        return Fitted(candidates[0], whole=clone(self.estimator).set_params(**params).fit(self.X, self.y, **fit_params))


def _can(name: str) -> Callable[[StandIn], bool]:
    """Return a check that the real estimator has a method."""
    return lambda stand_in: hasattr(stand_in._subject, name)


class StandIn(BaseEstimator):
    """Answers for an estimator, given the positions of rows instead of rows.

    Parameters
    ----------
    stage : Stage
        Knows for which one.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._params: dict[str, Any] = {}
        self._fitted: Fitted | None = None
        copy_requests(stage.estimator, self)

    def __sklearn_clone__(self) -> StandIn:
        return StandIn(self.stage)

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        return repr(self.stage.estimator)  # in the words of warnings

    def set_params(self, **params: Any) -> Self:
        """Take down the parameters of the candidate."""
        self._params = params
        return self

    def fit(self, X: np.ndarray, y: Any = None, **params: Any) -> Self:
        """Become the estimator whose turn it is, or raise the error of its fit."""
        fitted = self.stage.fit(self._params, params)
        if fitted.error is not None:
            raise fitted.error
        self._fitted = fitted
        return self

    @property
    def whole(self) -> Any:
        """The real fitted estimator."""
        return None if self._fitted is None else self._fitted.whole

    @property
    def _subject(self) -> Any:
        """Return what to ask."""
        if self._fitted is None:
            return self.stage.estimator
        return self._fitted.whole if self._fitted.answers is None else self._fitted.answers

    def _ask(self, method: str, X: np.ndarray, *args: Any) -> Any:
        by_position = self._fitted is not None and self._fitted.answers is not None
        return getattr(self._subject, method)(X if by_position else self.rows(X), *args)

    def rows(self, X: np.ndarray) -> Any:
        """Return the rows at these positions."""
        return take_rows(self.stage.X, X)

    @available_if(_can("predict"))
    def predict(self, X: np.ndarray) -> Any:
        """Predict as the estimator does."""
        return self._ask("predict", X)

    @available_if(_can("predict_proba"))
    def predict_proba(self, X: np.ndarray) -> Any:
        """Predict as the estimator does."""
        return self._ask("predict_proba", X)

    @available_if(_can("predict_log_proba"))
    def predict_log_proba(self, X: np.ndarray) -> Any:
        """Predict as the estimator does."""
        return self._ask("predict_log_proba", X)

    @available_if(_can("decision_function"))
    def decision_function(self, X: np.ndarray) -> Any:
        """Answer as the estimator does."""
        return self._ask("decision_function", X)

    @available_if(_can("score"))
    def score(self, X: np.ndarray, y: Any = None, sample_weight: Any = None, **params: Any) -> Any:
        """Score as the estimator does."""
        if sample_weight is not None:
            params["sample_weight"] = sample_weight
        by_name = get_config()["enable_metadata_routing"] and params  # names that the estimator's parts chose
        if self._fitted is None or self._fitted.answers is None or by_name:
            return self.whole.score(self.rows(X), y, **params)
        return self._fitted.answers.score(X, y, **params)

    @property
    def classes_(self) -> Any:
        """The labels of the estimator."""
        return self._subject.classes_

    @property
    def feature_names_in_(self) -> Any:
        """The names of the columns that the estimator saw."""
        return self.whole.feature_names_in_

    def __sklearn_tags__(self) -> Any:
        return get_tags(self.stage.estimator if self._fitted is None else self._fitted.candidate.built)

    def get_metadata_routing(self) -> Any:
        """Return what the estimator wants."""
        return get_routing_for_object(self.stage.estimator)


class OnWhole:
    """A scorer of the user's, which may look at anything: it gets the real estimator and rows of X.

    Parameters
    ----------
    scorer : callable
        Called with an estimator, X and y.
    """

    def __init__(self, scorer: Any) -> None:
        update_wrapper(self, scorer)
        self._scorer = scorer

    def __call__(self, stand_in: StandIn, X: np.ndarray, *args: Any, **params: Any) -> Any:
        return self._scorer(stand_in.whole, stand_in.rows(X), *args, **params)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_scorer":
            raise AttributeError(name)
        return getattr(self._scorer, name)

    def __repr__(self) -> str:
        return repr(self._scorer)


def through_whole(scoring: Any) -> tuple[Any, bool]:
    """Return `scoring` with the user's own scorers in :class:`OnWhole`, and whether there are any.

    scikit-learn's scorers, by name or from ``make_scorer``, call the methods
    that predict and nothing else.
    """
    if isinstance(scoring, dict):
        wrapped = {name: through_whole(one) for name, one in scoring.items()}
        return {name: one for name, (one, _) in wrapped.items()}, any(own for _, own in wrapped.values())
    if callable(scoring) and not isinstance(scoring, type(get_scorer("accuracy"))):
        return OnWhole(scoring), True
    return scoring, False
