"""What is inspected: an embedder, and how the user's characters come to it. Part of ``inspection``, below the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from skbert._classifier.holding import find_embedder
from skbert._cleaner import TextCleaner
from skbert._cleaner.spans import compose
from skbert._embedder import BertEmbedder
from skbert._texts import Item, check_texts
from skbert.exceptions import InvalidParameterError

__all__ = ["Origin", "Subject", "trace_items"]


@dataclasses.dataclass(frozen=True)
class Origin:
    """One side of a text: what the user gave, what an embedder gets, and which characters became which.

    Attributes
    ----------
    original, text : str
        Before and after cleaning.
    spans : int64 ndarray of shape (len(text), 2)
        For each character of `text` the characters [start, end) of `original`
        that it came from.
    """

    original: str
    text: str
    spans: np.ndarray

    def locate(self, spans: np.ndarray) -> np.ndarray:
        """Return where characters of the cleaned text, (n, 2), stand in the original."""
        return compose(self.spans, spans)


def trace(texts: Iterable[str], cleaners: Sequence[TextCleaner]) -> Iterator[Origin]:
    """Clean texts one after another, and keep account of their characters."""
    tracers = [cleaner._tracer() for cleaner in cleaners]
    for original in texts:
        text = original
        spans = np.arange(len(text), dtype=np.int64)[:, None] + np.array([0, 1])
        for tracer in tracers:
            text, steps = tracer(text)
            spans = compose(spans, steps)
        yield Origin(original, text, spans)


def trace_items(items: Sequence[Item], cleaners: Sequence[TextCleaner]) -> list[tuple[Origin, ...]]:
    """Return each text, or both sides of each pair, with the way of its characters through cleaners."""
    sides = [(item,) if isinstance(item, str) else item for item in items if item is not None]
    origins = trace((side for row in sides for side in row), cleaners)
    return [tuple(next(origins) for _ in row) for row in sides]


@dataclasses.dataclass(frozen=True)
class Subject:
    """An embedder with the cleaners before it.

    Attributes
    ----------
    embedder : BertEmbedder
    cleaners : list of TextCleaner
    """

    embedder: BertEmbedder
    cleaners: list[TextCleaner]

    @classmethod
    def of(cls, estimator: Any, function: str) -> Subject:
        """Find the embedder in `estimator`, the parameter 'embedder' of `function`.

        Raises
        ------
        InvalidParameterError
            There is none; or another step than a TextCleaner stands before it,
            of which nobody knows what it does with which characters.
        """
        embedder, before = find_embedder(estimator, function)
        for step in before:
            if not isinstance(step, TextCleaner):
                msg = (
                    f"The 'embedder' parameter of {function} must be an estimator with no other steps than TextCleaner "
                    f"before its BertEmbedder, since it can't be told which characters {type(step).__name__} made of "
                    "which. Run the steps before the BertEmbedder yourself, and pass it alone with what they return."
                )
                raise InvalidParameterError(msg)
        return cls(embedder, before)

    def check(self, X: Any, function: str) -> list[Item]:
        """Return the texts and pairs of X; of missing ones what the embedder's `missing` says."""
        return check_texts(X, missing=self.embedder.missing, estimator=function, is_transformer=False).items

    def trace(self, items: Sequence[Item]) -> list[tuple[Origin, ...]]:
        """Return each text, or both sides of each pair, with the way of its characters."""
        return trace_items(items, self.cleaners)
