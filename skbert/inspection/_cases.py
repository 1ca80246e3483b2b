"""What is explained: a text, a class, and the estimator that decided. Part of ``inspection``, below ``_explain``.

The ways of explaining get cases, and ask the decider for probabilities.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skbert._texts import show
from skbert.exceptions import InvalidParameterError, TextInputError
from skbert.inspection._explanation import Word
from skbert.inspection._words import split_words

__all__ = ["SMALLEST", "Case", "Decider", "log_odds", "sides_of", "words_of"]

# Probabilities below it count as it: a forest's are 0 and 1, and float32 has nothing smaller at full precision.
SMALLEST = 1e-38

Text = str | tuple[str, str]


class Case(NamedTuple):
    """One different text and one class of it.

    Attributes
    ----------
    item : str or tuple of two str
    target : int
        Place of the class in `classes_`.
    row : int
        The first row of X that holds the text.
    words : tuple of Word
    log_odds : float
        Of the class for the text.
    """

    item: Text
    target: int
    row: int
    words: tuple[Word, ...]
    log_odds: float


class Decider:
    """A fitted classifier of texts, whatever stands before it.

    Parameters
    ----------
    estimator : estimator
        The parameter 'estimator' of explain.

    Attributes
    ----------
    classes : list
        Labels, as Python has them.

    Raises
    ------
    NotFittedError
        It is not fitted.
    InvalidParameterError
        It gives no probabilities of classes.
    """

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator
        if not hasattr(estimator, "predict_proba"):
            msg = (
                "The 'estimator' parameter of explain must be a fitted classifier with predict_proba, or a Pipeline "
                f"that ends in one. Got {show(estimator)} instead. {_remedy(estimator)}"
            )
            raise InvalidParameterError(msg)
        if hasattr(estimator, "fit"):  # what only predicts need not have one
            check_is_fitted(estimator)
        classes = getattr(estimator, "classes_", None)
        if classes is None or isinstance(classes, list) or np.ndim(classes) != 1:
            found = "which has no classes_" if classes is None else "which has classes_ for several outputs"
            raise self._refused(found)
        self.classes: list[Any] = np.asarray(classes).tolist()

    def probabilities(self, X: Any, n_rows: int) -> np.ndarray:
        """Return the probabilities of all classes, (n_rows, n_classes) in float64."""
        found = np.asarray(self._estimator.predict_proba(X))
        if found.ndim != 2 or found.shape[1] != len(self.classes):
            what = f"whose predict_proba gives shape {found.shape} for {len(self.classes)} classes"
            raise self._refused(what)
        _check_rows("predict_proba", found, X, n_rows)
        return found.astype(np.float64)

    def predict(self, X: Any, n_rows: int) -> list[Any]:
        """Return the label of each text."""
        found = np.asarray(self._estimator.predict(X))
        if found.ndim != 1:
            what = f"whose predict gives shape {found.shape}"
            raise self._refused(what)
        _check_rows("predict", found, X, n_rows)
        return found.tolist()

    def _refused(self, found: str) -> InvalidParameterError:
        return InvalidParameterError(
            "The 'estimator' parameter of explain must be a classifier of one output, with its labels in classes_. "
            f"Got {show(self._estimator)} instead, {found}. Explain a classifier for each output alone."
        )


def _check_rows(method: str, found: np.ndarray, X: Any, n_rows: int) -> None:
    """Refuse X where the estimator saw other rows in it than there are texts, as of a frame the names of columns."""
    if len(found) != n_rows:
        msg = (
            f"X has {n_rows:,} rows, and {method} of the estimator answers for {len(found):,}: it does not read a "
            f"{type(X).__name__} row by row. Pass the texts as a list or a Series, such as X['text']."
        )
        raise TextInputError(msg)


def _remedy(estimator: Any) -> str:
    if hasattr(estimator, "transform") and not hasattr(estimator, "predict"):
        return "Put a classifier behind it: make_pipeline(embedder, LogisticRegression()).fit(X, y)."
    if hasattr(estimator, "decision_function") or hasattr(estimator, "predict"):
        return (
            "Put a classifier that gives no probabilities by itself into CalibratedClassifierCV (which SVC and "
            "LinearSVC need), let a VotingClassifier have voting='soft', and fit again."
        )
    return "Pass the estimator itself, fitted on texts."


def log_odds(probabilities: np.ndarray, target: int) -> np.ndarray:
    """Return the log-odds of one class against all the others.

    Of the sum of the others and not of 1 - p, which is 0 where p was rounded
    to 1 in float32 and the others still tell texts apart.

    Parameters
    ----------
    probabilities : float64 ndarray of shape (n, n_classes)
    target : int

    Returns
    -------
    float64 ndarray of shape (n,)
    """
    others = np.delete(probabilities, target, axis=1).sum(axis=1)
    return np.log(np.maximum(probabilities[:, target], SMALLEST)) - np.log(np.maximum(others, SMALLEST))


def sides_of(item: Text) -> tuple[str, ...]:
    """Return the text, or both of a pair."""
    return (item,) if isinstance(item, str) else item


def words_of(item: Text) -> tuple[Word, ...]:
    """Return the words of a text, or of both sides of a pair."""
    return tuple(
        Word(text[start:end], start, end, side)
        for side, text in enumerate(sides_of(item))
        for start, end in split_words(text)
    )
