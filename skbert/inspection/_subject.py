"""What is inspected: an embedder, and how the user's characters come to it. Part of ``inspection``, below the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from skbert._classifier.holding import find_embedder
from skbert._cleaner import TextCleaner
from skbert._embedder import BertEmbedder
from skbert._texts import Item, check_texts
from skbert.exceptions import InvalidParameterError

__all__ = ["Origin", "Subject"]


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

    @classmethod
    def of(cls, original: str, cleaners: Sequence[TextCleaner]) -> Origin:
        """Clean a text, and keep account of its characters."""
        text = original
        spans = np.arange(len(text), dtype=np.int64)[:, None] + np.array([0, 1])
        for cleaner in cleaners:
            text, steps = cleaner._trace(text)
            spans = _compose(spans, steps, len(original))
        return cls(original, text, spans)

    def locate(self, spans: np.ndarray) -> np.ndarray:
        """Return where characters of the cleaned text, (n, 2), stand in the original."""
        return _compose(self.spans, spans, len(self.original))


def _compose(spans: np.ndarray, steps: np.ndarray, length: int) -> np.ndarray:
    """Return for each range of characters in `steps` the range that their `spans` cover."""
    if len(spans) == 0:
        return np.zeros((len(steps), 2), dtype=np.int64)
    starts = np.append(spans[:, 0], length)[steps[:, 0]]
    ends = np.where(steps[:, 1] > steps[:, 0], spans[np.maximum(steps[:, 1] - 1, 0), 1], starts)
    return np.stack([starts, np.maximum(starts, ends)], axis=1)


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
                    "which. Run those steps yourself (pipe[:-1].transform(X)), and pass the BertEmbedder."
                )
                raise InvalidParameterError(msg)
        return cls(embedder, before)

    def check(self, X: Any, function: str) -> list[Item]:
        """Return the texts and pairs of X; of missing ones what the embedder's `missing` says."""
        return check_texts(X, missing=self.embedder.missing, estimator=function, is_transformer=False).items

    def trace(self, items: Sequence[Item]) -> list[tuple[Origin, ...]]:
        """Return each text, or both sides of each pair, with the way of its characters."""
        sides = [(item,) if isinstance(item, str) else item for item in items]
        return [tuple(Origin.of(side, self.cleaners) for side in row) for row in sides if row is not None]
