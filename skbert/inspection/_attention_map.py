"""AttentionMap: the attention weights of one text, told in the user's words. Part of ``inspection``."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from skbert._params import integer
from skbert._texts import show
from skbert.exceptions import InvalidParameterError
from skbert.inspection._words import at_word_borders, split_words

__all__ = ["AttentionMap", "pick"]

_SHOWN_PIECES = 8
_SHOWN_WORDS = 40  # that an error lists before it says "…"


class _Unit(NamedTuple):
    """A word of the text, or what stands for itself: a special token, the prompt, a piece without characters."""

    label: str
    places: list[int]
    is_special: bool


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class AttentionMap:
    """Where each piece of a text looks, in each head of each layer.

    What :func:`attention` returns.

    Parameters
    ----------
    weights : float32 ndarray of shape (n_layers, n_heads, n_pieces, n_pieces)
        ``weights[k, h, i, j]`` is how much of its attention piece i gives to
        piece j in head ``heads[h]`` of layer ``layers[k]``; each row sums
        to 1. The axes are there for a single layer or head too.
    pieces : tuple of str
        What the model read, special tokens included, as its vocabulary writes
        it.
    sides : int8 ndarray of shape (n_pieces,)
        0, or 1 for the second text of a pair; -1 for special tokens.
    spans : int64 ndarray of shape (n_pieces, 2)
        The characters [start, end) of that side of `text` that a piece stands
        for; (-1, -1) for special tokens and pieces of the prompt.
    text : str or tuple of two str
        As the user gave it.
    layers, heads : tuple of int
        The numbers of the layers and heads that `weights` holds, counted from
        0.
    n_layers, n_heads : int
        How many of them the model has.

    See Also
    --------
    attention : Makes one.
    AttentionDisplay : Draws one.

    Notes
    -----
    *A word* is what a reader sees as one, in the text as it was given: "don't",
    a hashtag, a link and an emoji are one word each, whatever a cleaner and the
    tokenizer made of them.

    Examples
    --------
    >>> from skbert import BertEmbedder
    >>> from skbert.inspection import attention
    >>> seen = attention("The dog barked at the cat.", BertEmbedder("all-MiniLM-L6-v2"), layer=2)
    >>> seen
    AttentionMap(1 of 6 layers, 12 heads, 9 pieces: [CLS] the dog barked at the cat . …)
    >>> looks = seen.looks_at("barked")
    >>> list(looks.index)
    ['[CLS]', 'The', 'dog', 'barked', 'at', 'the', 'cat', '.', '[SEP]']
    >>> round(float(looks.sum()), 4)
    1.0
    """

    weights: np.ndarray
    pieces: tuple[str, ...]
    sides: np.ndarray
    spans: np.ndarray
    text: str | tuple[str, str]
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    n_layers: int
    n_heads: int

    @property
    def is_special(self) -> np.ndarray:
        """Which pieces are special tokens, [CLS] and [SEP] for example: bool ndarray of shape (n_pieces,)."""
        return self.sides < 0

    @property
    def words(self) -> list[str]:
        """The words of the text of which pieces were read, special tokens among them, as `looks_at` names them."""
        return _told_apart([unit.label for unit in self._units()])

    def to_frame(self, *, layer: int | Sequence[int] | None = None, head: Any = None) -> pd.DataFrame:
        """Return where each piece looks, as a table.

        Parameters
        ----------
        layer, head : int, sequence of int or None, default=None
            As in :func:`attention`: counted from 0, negative ones from the
            model's last. The mean over these is returned; None is all that
            the map holds.

        Returns
        -------
        DataFrame of shape (n_pieces, n_pieces)
            Row: the piece that looks; column: the piece it looks at. float64;
            each row sums to 1.

        Raises
        ------
        InvalidParameterError
            The map does not hold that layer or head.
        """
        mean = self._mean("to_frame", layer, head)
        names = list(self.pieces)
        return pd.DataFrame(mean, pd.Index(names, name="looking"), pd.Index(names, name="looked at"))

    def looks_at(
        self, word: str, *, occurrence: int = 0, layer: int | Sequence[int] | None = None, head: Any = None
    ) -> pd.Series:
        """Return where a word looks: how much of its attention each word of the text gets.

        Parameters
        ----------
        word : str
            A word of the text, or several that stand together, written as they
            are there; or a special token as in `pieces`, for example "[CLS]".
        occurrence : int, default=0
            Which one, counted from 0 over the text or both sides of the pair.
        layer, head : int, sequence of int or None, default=None
            The mean over these; None is all that the map holds.

        Returns
        -------
        Series of shape (n_words,)
            In reading order, the word itself and special tokens included;
            float64, summing to 1. A word that is there more than once is
            named "the[0]", "the[1]".

        Raises
        ------
        InvalidParameterError
            The text has no such word, or the map no such layer or head.

        Notes
        -----
        Of the pieces of `word` the mean is taken, since each has 1 to give; of
        the pieces of a word looked at the sum [1]_.

        References
        ----------
        .. [1] Clark, K., Khandelwal, U., Levy, O. and Manning, C. D. (2019).
           What Does BERT Look At? An Analysis of BERT's Attention.
           BlackboxNLP. https://aclanthology.org/W19-4828
        """
        looking = self._places("looks_at", word, occurrence)
        given = self._mean("looks_at", layer, head)[looking].mean(axis=0)
        found = [float(given[unit.places].sum()) for unit in self._units()]
        return pd.Series(found, pd.Index(self.words, name="word"), dtype=np.float64, name=word)

    def by_head(self, word: str, other: str, *, occurrence: int = 0, other_occurrence: int = 0) -> pd.DataFrame:
        """Return how much a word looks at another one, in each head of each layer.

        Parameters
        ----------
        word, other : str
            The word that looks, and the word looked at; as in `looks_at`.
        occurrence, other_occurrence : int, default=0
            Which one of each, counted from 0.

        Returns
        -------
        DataFrame of shape (n_layers, n_heads)
            From 0 to 1, float64, with the numbers of layers and heads in index
            and columns.

        Raises
        ------
        InvalidParameterError
            The text has no such word.
        """
        looking = self._places("by_head", word, occurrence)
        looked_at = self._places("by_head", other, other_occurrence, "other")
        found = self.weights[:, :, looking][..., looked_at].sum(axis=-1, dtype=np.float64).mean(axis=-1)
        return pd.DataFrame(found, pd.Index(self.layers, name="layer"), pd.Index(self.heads, name="head"))

    def __repr__(self) -> str:
        counts = [
            f"{len(held)} {name}{'' if len(held) == 1 and total == 1 else 's'}"
            if len(held) == total
            else f"{len(held)} of {total} {name}s"
            for held, total, name in ((self.layers, self.n_layers, "layer"), (self.heads, self.n_heads, "head"))
        ]
        more = " …" if len(self.pieces) > _SHOWN_PIECES else ""
        shown = " ".join(self.pieces[:_SHOWN_PIECES])
        return f"{type(self).__name__}({', '.join(counts)}, {len(self.pieces)} pieces: {shown}{more})"

    def _mean(self, function: str, layer: Any, head: Any) -> np.ndarray:
        chosen = []
        for name, value, held, total in (
            ("layer", layer, self.layers, self.n_layers),
            ("head", head, self.heads, self.n_heads),
        ):
            asked = held if value is None else pick(value, name, total, function)
            absent = [number for number in asked if number not in held]
            if absent:
                msg = (
                    f"The {name!r} parameter of {function} must be among those that the map holds: "
                    f"{', '.join(map(str, held))}. Got {value!r} instead. Ask attention for it."
                )
                raise InvalidParameterError(msg)
            chosen.append([held.index(number) for number in asked])
        layers, heads = chosen
        total_weights = np.zeros(self.weights.shape[2:], dtype=np.float64)
        for number in layers:  # one by one: a copy of all can be large
            total_weights += self.weights[number, heads].sum(axis=0, dtype=np.float64)
        return total_weights / (len(layers) * len(heads))

    def _sides(self) -> tuple[str, ...]:
        return (self.text,) if isinstance(self.text, str) else self.text

    def _units(self) -> list[_Unit]:
        """Return the words in reading order, each with its pieces."""
        words = [split_words(side) for side in self._sides()]
        units: dict[Any, _Unit] = {}
        for place, (side, (start, end)) in enumerate(zip(self.sides.tolist(), self.spans.tolist(), strict=True)):
            key: Any = place  # a unit of its own
            label = self.pieces[place]
            if side >= 0 and start < 0:
                key, label = "prompt", "(prompt)"
            elif side >= 0:
                # The word that it shares most with; a cleaner's piece may stand for several.
                shared, first, last = max(
                    ((min(end, b) - max(start, a), -a, -b) for a, b in words[side]), default=(0, 0, 0)
                )
                if shared > 0:
                    key, label = (side, first), self._sides()[side][-first:-last]
            units.setdefault(key, _Unit(label, [], side < 0)).places.append(place)
        return list(units.values())

    def _places(self, function: str, word: Any, occurrence: Any, name: str = "word") -> list[int]:
        """Return the places of the pieces of a word."""
        found = self._occurrences(word) if isinstance(word, str) and word else []
        if not found:
            words = list(dict.fromkeys(unit.label for unit in self._units()))
            listed = ", ".join(map(repr, words[:_SHOWN_WORDS])) + (", …" if len(words) > _SHOWN_WORDS else "")
            is_cut = isinstance(word, str) and word and any(word in side for side in self._sides())
            why = " That part of the text is cut, or is not read as a word." if is_cut else ""
            msg = (
                f"The {name!r} parameter of {function} must be a word of the text that was read, or several in a row, "
                f"for example one of {listed}. Got {show(word)} instead.{why}"
            )
            raise InvalidParameterError(msg)
        if not integer(0, len(found) - 1).holds(occurrence):
            prefix = "other_" if name == "other" else ""
            times = "once" if len(found) == 1 else f"{len(found)} times"
            msg = (
                f"The '{prefix}occurrence' parameter of {function} must be an int in the range [0, {len(found) - 1}], "
                f"since {show(word)} was read {times}. Got {occurrence!r} instead."
            )
            raise InvalidParameterError(msg)
        return found[int(occurrence)]

    def _occurrences(self, word: str) -> list[list[int]]:
        """Return, for each time that a word was read, the places of its pieces."""
        found = []
        for number, side in enumerate(self._sides()):
            starts, ends = self.spans.T
            for match in re.finditer(re.escape(word), side):
                if at_word_borders(side, *match.span()):
                    is_in = (self.sides == number) & (starts < match.end()) & (ends > match.start()) & (starts < ends)
                    found.append(np.flatnonzero(is_in).tolist())
        special = [[place] for place in np.flatnonzero(self.is_special).tolist() if self.pieces[place] == word]
        return [places for places in found if places] or special


def pick(value: Any, name: str, total: int, function: str) -> tuple[int, ...]:
    """Return the layers or heads that a parameter asks for, counted from 0.

    Parameters
    ----------
    value : int, sequence of int or None
    name : {'layer', 'head'}
    total : int
        How many there are.
    function : str
        Whose parameter it is, for the error message.
    """
    if value is None:
        return tuple(range(total))
    rule = integer(-total, total - 1)
    several = isinstance(value, Sequence | np.ndarray) and not isinstance(value, str) and np.ndim(value) == 1
    asked = list(value) if several else [value]
    numbers = [int(one) % total for one in asked if rule.holds(one)]
    if not asked or len(numbers) != len(asked) or len(set(numbers)) != len(numbers):
        msg = (
            f"The {name!r} parameter of {function} must be None, {rule.text}, or a sequence of different ones, since "
            f"the model has {total} {name}s{' a layer' if name == 'head' else ''}. Got {value!r} instead."
        )
        raise InvalidParameterError(msg)
    return tuple(numbers)


def _told_apart(labels: list[str]) -> list[str]:
    """Return labels with the number of the occurrence behind those that are there more than once."""
    counts, seen = Counter(labels), Counter[str]()
    out = []
    for label in labels:
        out.append(f"{label}[{seen[label]}]" if counts[label] > 1 else label)
        seen[label] += 1
    return out
