"""What an embedder's tokenizer makes of the texts. Part of ``_report``; loads no weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from skbert._classifier import BertSentimentClassifier
from skbert._embedder import BertEmbedder
from skbert._embedder.counting import TokenCounts, count_tokens
from skbert._report.findings import Finding
from skbert._texts import Item, check_texts, show
from skbert.exceptions import InvalidParameterError

__all__ = ["about_tokens", "find_embedder"]


def find_embedder(estimator: Any) -> tuple[BertEmbedder, list[Any]]:
    """Return the embedder that `estimator` is or holds, and the steps of its pipelines before it."""
    found, before = _search(estimator)
    if found is None:
        msg = (
            "The 'embedder' parameter of text_report must be None, a BertEmbedder, or a BertSentimentClassifier or "
            f"Pipeline that holds one. Got {show(estimator)} instead."
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


def about_tokens(X: Any, items: list[Item], embedder: BertEmbedder, before: list[Any]) -> Iterator[Finding]:
    """Yield what `max_length` cuts and what the tokenizer does not know.

    Parameters
    ----------
    X : as the user gave it
        For the steps of a pipeline.
    items : list of str, tuple of two str or None
        The texts of X; those that are missing are left out.
    embedder : BertEmbedder
    before : list of transformers
        What the texts go through before they are embedded.
    """
    if before:
        for step in before:
            X = step.transform(X)
        items = check_texts(X, missing="keep", estimator="text_report", is_transformer=False).items
    rows = np.array([row for row, item in enumerate(items) if item is not None], dtype=np.intp)
    counts = count_tokens(embedder, [item for item in items if item is not None])
    yield _longest(rows, counts)
    cut, pieces = rows[counts.cut > 0], int(counts.pieces.sum())
    yield Finding("texts cut", len(cut), len(rows), "texts", cut)
    what = (
        f"Beyond max_length={counts.max_length} the embedder reads nothing. long_texts='chunk' reads all, 'head_tail' "
        "the beginning and the end, and TextCleaner makes texts shorter."
    )
    yield Finding("tokens cut", int(counts.cut.sum()), pieces, "tokens", cut, what if len(cut) else "")
    unknown = rows[counts.unknown > 0]
    what = "The tokenizer has no pieces for something here, often emoji or another script: TextCleaner names emoji."
    yield Finding("unknown pieces", int(counts.unknown.sum()), pieces, "tokens", unknown, what if len(unknown) else "")


def _longest(rows: np.ndarray, counts: TokenCounts) -> Finding:
    """Return the finding of the text that needs the greatest max_length, and how long that would have to be."""
    if len(rows) == 0:
        return Finding("longest text, in tokens", 0, None, "tokens")
    place = int(counts.pieces.argmax())
    return Finding(
        "longest text, in tokens", int(counts.pieces[place]) + counts.n_special, None, "tokens", rows[[place]]
    )
