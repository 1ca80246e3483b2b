"""Which embedder an estimator is or holds. Part of ``_classifier``, for the rooms above it."""

from __future__ import annotations

from typing import Any

from sklearn.pipeline import Pipeline

from skbert._classifier.classifier import BertSentimentClassifier
from skbert._embedder import BertEmbedder
from skbert._texts import show
from skbert.exceptions import InvalidParameterError

__all__ = ["find_embedder"]


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
    found, before = _search(estimator)
    if found is None:
        must = "None, a BertEmbedder," if or_none else "a BertEmbedder,"
        msg = (
            f"The 'embedder' parameter of {function} must be {must} or a BertSentimentClassifier or Pipeline that "
            f"holds one. Got {show(estimator)} instead."
        )
        raise InvalidParameterError(msg)
    return found, before


def _search(estimator: Any) -> tuple[BertEmbedder | None, list[Any]]:
    if isinstance(estimator, BertEmbedder):
        return estimator, []
    if isinstance(estimator, BertSentimentClassifier):
        # Of a fitted one that which it was fitted with, with the weights that it names now.
        is_fitted = hasattr(estimator, "embedder_")
        return _search(estimator._serving_embedder() if is_fitted else estimator._source())
    before: list[Any] = []
    for _, step in estimator.steps if isinstance(estimator, Pipeline) else ():
        if step is None or isinstance(step, str):  # "passthrough"
            continue
        found, inside = _search(step)
        if found is not None:
            return found, before + inside
        before.append(step)
    return None, []
