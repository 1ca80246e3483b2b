"""A text as a tokenizer has it before it makes pieces of it, and the way back. Middle of the engine.

Lower case, accents, full-width forms and invisible signs are the tokenizer's business: whoever looks for a word in a
text has to look where the tokenizer does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tokenizers import NormalizedString, PreTokenizedString

__all__ = ["BLANK_SIGN", "NormalText", "before_lowering"]

BLANK_SIGN = "\u2581"  # what sentencepiece writes for a blank


class NormalText:
    """A text after a tokenizer's normalisation.

    Parameters
    ----------
    text : str
    normalizer : tokenizers.normalizers.Normalizer or None
    lowercase : bool
        Whether the text is made lower case first, as sentence-transformers
        does for some models.

    Attributes
    ----------
    text : str
        What comes out.
    """

    def __init__(self, text: str, normalizer: Any, lowercase: bool) -> None:
        self._original = text
        self._normalizer, self._lowercase = normalizer, lowercase
        self.text = "".join(part for part, *_ in self._make().get_splits()) if text else ""

    def locate(self, ranges: Sequence[tuple[int, int]]) -> np.ndarray:
        """Return where parts of the normalised text stand in the original.

        Parameters
        ----------
        ranges : sequence of (int, int)
            Start and end of each; none is empty, and they neither overlap nor
            go back.

        Returns
        -------
        int64 ndarray of shape (n, 2)
            The whole text's also holds what was dropped at its ends.
        """
        if not ranges:
            return np.zeros((0, 2), dtype=np.int64)
        borders = sorted({border for pair in ranges for border in pair} - {0, len(self.text)})
        made = self._make()
        made.split(lambda _, whole: _cut(whole, borders))
        # One part begins at 0 and at each border; none is empty.
        starts = {start: number for number, start in enumerate([0, *borders])}
        found = made.get_splits(offset_referential="original", offset_type="char")
        spans = [found[starts[start]][1] for start, _ in ranges]
        located = np.array(spans, dtype=np.int64).reshape(-1, 2)
        return before_lowering(self._original, located) if self._lowercase else located

    def _make(self) -> PreTokenizedString:
        from tokenizers import PreTokenizedString  # comes with transformers, when it is needed

        made = PreTokenizedString(self._original.lower() if self._lowercase else self._original)
        if self._normalizer is not None:
            made.normalize(self._normalizer.normalize)
        return made


def before_lowering(text: str, offsets: np.ndarray) -> np.ndarray:
    """Return offsets into `text` for those into its lower-case form, which may be longer."""
    if len(text.lower()) == len(text):
        return offsets
    source = np.repeat(np.arange(len(text)), [len(char.lower()) for char in text])
    starts = np.append(source, len(text))[offsets[:, 0]]
    ends = np.where(offsets[:, 1] > offsets[:, 0], source[np.maximum(offsets[:, 1] - 1, 0)] + 1, starts)
    return np.stack([starts, ends], axis=1)


def _cut(whole: NormalizedString, borders: Sequence[int]) -> list[NormalizedString]:
    """Cut at each border, by halves: a cut takes time in proportion to what is cut."""
    if not borders:
        return [whole]
    middle = len(borders) // 2
    border = borders[middle]
    right = [later - border for later in borders[middle + 1 :]]
    before, after = whole[:border], whole[border:]
    assert before is not None and after is not None  # noqa: PT018 - borders are within it
    return [*_cut(before, borders[:middle]), *_cut(after, right)]
