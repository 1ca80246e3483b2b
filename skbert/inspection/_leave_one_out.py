"""Leave one word out: what the log-odds of a class lose when a word is not there. Part of ``inspection``.

It works on the user's own characters, before any step of a pipeline, and asks for nothing but predict_proba. So it
holds for every estimator, whatever its steps do to a text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from skbert._engine.probing import probing
from skbert._sklearn import take_rows
from skbert._texts import rebuild
from skbert.inspection._cases import Case, Decider, Text, log_odds, sides_of
from skbert.inspection._explanation import Word

__all__ = ["leave_one_out", "without"]

# Of one call of predict_proba. The second bounds the memory where a text is long: it has as many variants as words.
_MAX_VARIANTS = 4_096
_MAX_CHARS = 2**24


class _Variant(NamedTuple):
    case: int
    word: int
    item: Text


def leave_one_out(decider: Decider, X: Any, cases: Sequence[Case]) -> list[np.ndarray]:
    """Return for each case what each of its words carries.

    Parameters
    ----------
    decider : Decider
    X : sequence of str or of pairs of str
        As the user gave it: variants come in a container of its kind.
    cases : sequence of Case
        The same text next to itself is computed once.

    Returns
    -------
    list of float64 ndarray of shape (n_words,)
        Log-odds of the text minus those of the text without the word.
    """
    found = [np.zeros(len(case.words)) for case in cases]
    for chunk in _chunks(cases):
        # A word that stands twice in a row leaves the same text behind, and so may a copy with another target.
        different: dict[Text, int] = {}
        rows: list[int] = []
        for variant in chunk:
            if variant.item not in different:
                different[variant.item] = len(rows)
                rows.append(cases[variant.case].row)
        with probing():
            probabilities = decider.probabilities(_like(X, rows, list(different)), len(rows))
        for variant in chunk:
            case = cases[variant.case]
            place = different[variant.item]
            rest = log_odds(probabilities[place : place + 1], case.target)
            found[variant.case][variant.word] = case.log_odds - rest[0]
    return found


def without(item: Text, word: Word) -> Text:
    """Return a text, or a pair, without one of its words.

    The white space behind the word goes with it where there is some before it
    too, or the text begins with it; that before it where nothing is left
    behind it. Where there is none on either side, a blank takes the word's
    place. So its neighbours never grow together.
    """
    sides = list(sides_of(item))
    text = sides[word.side]
    before, behind = text[: word.start], text[word.end :]
    if not before or before[-1].isspace():
        behind = behind.lstrip()
    if not behind:
        before = before.rstrip()
    is_between = bool(before and behind) and not before[-1].isspace() and not behind[0].isspace()
    sides[word.side] = before + " " * is_between + behind
    return sides[0] if isinstance(item, str) else (sides[0], sides[1])


def _chunks(cases: Sequence[Case]) -> Iterator[list[_Variant]]:
    """Yield the variants of all cases in calls of bounded size."""
    chunk: list[_Variant] = []
    n_chars = 0
    for number, case in enumerate(cases):
        for place, word in enumerate(case.words):
            item = without(case.item, word)
            size = sum(map(len, sides_of(item)))
            if chunk and (len(chunk) == _MAX_VARIANTS or n_chars + size > _MAX_CHARS):
                yield chunk
                chunk, n_chars = [], 0
            chunk.append(_Variant(number, place, item))
            n_chars += size
    if chunk:
        yield chunk


def _like(X: Any, rows: list[int], items: list[Text]) -> Any:
    """Return variants of these rows of X in a container of its kind: an estimator fitted on a frame wants its names."""
    # Those of pyarrow scikit-learn takes for lists of rows, and an Index of pyarrow's strings for an array.
    if hasattr(X, "to_pylist") or isinstance(X, pd.Index | pd.api.extensions.ExtensionArray):
        taken = X.take(rows)
    elif hasattr(X, "__array__") and not hasattr(X, "__getitem__"):
        taken = take_rows(np.asarray(X), rows)
    else:
        taken = take_rows(X, rows)
    return rebuild(tuple(taken) if isinstance(X, tuple) else taken, items)
