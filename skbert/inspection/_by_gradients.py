"""From the gradients of pieces to the user's words: where that can be done, and how. Part of ``inspection``.

``_gradients`` speaks of the pieces of cleaned texts, ``_explain`` of words as the user wrote them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from skbert._classifier import BertSentimentClassifier
from skbert._classifier.holding import steps_of
from skbert._cleaner import TextCleaner
from skbert._engine.probing import probing
from skbert.inspection._cases import Case
from skbert.inspection._explanation import Word
from skbert.inspection._gradients import PieceAttributions, integrated_gradients
from skbert.inspection._subject import Origin, trace_items

__all__ = ["GradientWay", "WordAttributions", "find_way", "gather"]

_MOST_TEXTS = 1_024  # of one call, for the memory


class WordAttributions(NamedTuple):
    """The words of a text, what each carries, and the facts about the integration."""

    words: tuple[Word, ...]
    values: np.ndarray  # float64 (n_words,)
    log_odds: float
    baseline_log_odds: float
    n_steps: int


class GradientWay(NamedTuple):
    """A classifier that gradients can be taken of, and the cleaners before it."""

    classifier: BertSentimentClassifier
    cleaners: list[TextCleaner]

    def explain(self, cases: Sequence[Case]) -> list[WordAttributions]:
        """Return the attributions of each case.

        Raises
        ------
        ModelFilesError
            The model can't be run from word embeddings.
        """
        found = []
        for start in range(0, len(cases), _MOST_TEXTS):
            part = cases[start : start + _MOST_TEXTS]
            origins = trace_items([case.item for case in part], self.cleaners)
            items = [row[0].text if len(row) == 1 else (row[0].text, row[1].text) for row in origins]
            with probing():
                pieces = integrated_gradients(self.classifier, items, [case.target for case in part])
            found += [gather(*one) for one in zip(part, origins, pieces, strict=True)]
        return found


def find_way(estimator: Any) -> GradientWay | str:
    """Return the way to the gradients of an estimator, or what stands in it."""
    cleaners: list[TextCleaner] = []
    steps = steps_of(estimator)
    if not steps or not isinstance(steps[-1], BertSentimentClassifier):
        return f"the classifier is {type(steps[-1] if steps else estimator).__name__}"
    for step in steps[:-1]:
        if not isinstance(step, TextCleaner):
            return f"{type(step).__name__} stands before it"
        cleaners.append(step)
    return GradientWay(steps[-1], cleaners)


def gather(case: Case, origins: tuple[Origin, ...], pieces: PieceAttributions) -> WordAttributions:
    """Give the value of each piece to one word, so that the sum stays.

    That is the word which the piece's characters of the user's text overlap
    most, the first of several; where there is none, the nearest. A side that
    has pieces and no words, which is white space, counts as one word.
    """
    words: list[Word] = []
    values: list[np.ndarray] = []
    for side, origin in enumerate(origins):
        of_side = [word for word in case.words if word.side == side]
        own = pieces.sides == side
        if not of_side and pieces.values[own].any():
            of_side = [Word(origin.original, 0, len(origin.original), side)]
        sums = np.zeros(len(of_side))
        if of_side:
            borders = np.array([(word.start, word.end) for word in of_side])
            places = _places(borders, origin.locate(pieces.spans[own]))
            np.add.at(sums, places, pieces.values[own])
        words += of_side
        values.append(sums)
    return WordAttributions(
        tuple(words), np.concatenate(values), pieces.log_odds, pieces.baseline_log_odds, pieces.n_steps
    )


def _places(words: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """Return the word of each span; words (n, 2) stand in order and don't overlap, n is at least 1."""
    first = np.searchsorted(words[:, 1], spans[:, 0], side="right")  # the first that ends behind the span's start
    last = np.searchsorted(words[:, 0], spans[:, 1], side="left")  # one behind the last that starts before its end
    places = np.empty(len(spans), dtype=np.int64)
    for k, (start, end) in enumerate(spans.tolist()):
        low, high = int(first[k]), int(last[k])
        if low < high:
            near = words[low:high]
            places[k] = low + np.argmax(np.minimum(near[:, 1], end) - np.maximum(near[:, 0], start))
        else:
            # Between the words `low - 1` and `low`, or at an end of the text.
            low = max(low - 1, 0)
            near = words[low : high + 1]
            places[k] = low + np.argmin(np.maximum(near[:, 0] - end, start - near[:, 1]))
    return places
