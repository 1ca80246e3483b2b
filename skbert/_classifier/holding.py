"""Which embedder an estimator is or holds. Part of ``_classifier``, for the rooms above it."""

from __future__ import annotations

from typing import Any

from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from skbert._classifier.classifier import BertSentimentClassifier
from skbert._embedder import BertEmbedder
from skbert._texts import show
from skbert.exceptions import InvalidParameterError

__all__ = ["find_embedder", "steps_of"]


def find_embedder(estimator: Any, function: str, *, or_none: bool = False) -> tuple[BertEmbedder, list[Any]]:
    """Return the embedder that `estimator` is or holds, and the steps of its pipelines before it.

    Parameters
    ----------
    estimator : BertEmbedder, BertSentimentClassifier or Pipeline
    function : str
        Whose parameter 'embedder' it is, for the error message.
    or_none : bool, default=False
        Whether that parameter may also be None, for the same.
    """
    before: list[Any] = []
    for step in steps_of(estimator):
        if isinstance(step, BertEmbedder):
            return step, before
        if isinstance(step, BertSentimentClassifier):
            # Of a fitted one that which it was fitted with, with the weights that it names now.
            return step._serving_embedder() if hasattr(step, "embedder_") else step._source(), before
        before.append(step)
    remedy = f" A name is a model's: pass BertEmbedder({estimator!r})." if isinstance(estimator, str) else ""
    must = "None, a BertEmbedder," if or_none else "a BertEmbedder,"
    msg = (
        f"The 'embedder' parameter of {function} must be {must} or a BertSentimentClassifier or Pipeline that "
        f"has one among its steps. Got {show(estimator)} instead.{remedy}"
    )
    raise InvalidParameterError(msg)


def steps_of(estimator: Any) -> list[Any]:
    """Return what a text goes through: an estimator, or the steps of pipelines and of what searches have found."""
    if estimator is None or (isinstance(estimator, str) and estimator == "passthrough"):
        return []
    if isinstance(estimator, FrozenEstimator):
        return steps_of(estimator.estimator)
    if isinstance(estimator, Pipeline):
        return [part for _, step in estimator.steps for part in steps_of(step)]
    if hasattr(estimator, "best_estimator_"):
        return steps_of(estimator.best_estimator_)
    return [estimator]
