"""What a word of a text is, for people: the units that attributions and attention are told in. Part of ``inspection``.

Not the pieces of a tokenizer, and not only letters: a hashtag, a handle, a link, an emoji and "!!!" are things that a
reader sees as one, and each of them may carry a decision.
"""

from __future__ import annotations

import re

from skbert._cleaner.emoji import EMOJI
from skbert._cleaner.entities import ENTITY_SOURCE
from skbert._cleaner.hashtags import MARKS

__all__ = ["at_word_borders", "split_words"]

# Scripts without blanks between words, where each character stands for itself, as BERT's tokenizers see it.
_CHARS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff66-\uff9f\U00020000-\U0003ffff"
)
_LETTER = rf"[^\W_{_CHARS}]"
_LETTERS = rf"{_LETTER}(?:[{MARKS}\u200c\u200d]|{_LETTER})*+"
_TAG = r"</?[A-Za-z][^<>]{0,200}>"
_WORD = re.compile(
    "|".join(
        (
            ENTITY_SOURCE,
            _TAG,
            r"<3+(?!\d)",
            r"(?<![\w.+\-])[A-Za-z0-9_.+\-]++@[A-Za-z0-9\-]++(?:\.[A-Za-z0-9\-]++)++",
            r"(?i:https?)://[^\s<>\"]*[^\s<>\".,:;!?)\]}'’…]",
            r"(?i:www|pic\.twitter)\.[^\s<>\"]*[^\s<>\".,:;!?)\]}'’…]",
            # Possessive, and only from the first sign of a run on: or a long run would be tried from each of its signs.
            rf"(?<![@#])[@#]++(?:_|[{MARKS}]|[^\W_])++",
            EMOJI.pattern,
            r"(?:[^\W\d_]\.){2,}+",
            r"\d+(?:[.,:/]\d+)*(?![^\W\d_])",
            rf"{_LETTERS}(?:['’\-]{_LETTERS})*+",
            rf"[{_CHARS}][{MARKS}]*",
            # What is left: runs of marks ("!!!", ":-)"), and any single thing.
            rf"(?:(?!{EMOJI.pattern}|{_TAG}|<3)[^\w\s@#&])+",
            r"[@#]++",
            r"\S",
        )
    )
)


def split_words(text: str) -> list[tuple[int, int]]:
    """Return where the words of a text stand.

    Parameters
    ----------
    text : str

    Returns
    -------
    list of (int, int)
        Start and end of each, in characters, in reading order. They don't
        overlap, and hold every character that is not white space.
    """
    return [match.span() for match in _WORD.finditer(text)]


def at_word_borders(text: str, start: int, end: int) -> bool:
    """Say whether text[start:end] is no part of a longer word, letters and digits being what words are made of."""
    return not (_joins(text[start - 1 : start], text[start : start + 1])) and not _joins(
        text[end - 1 : end], text[end : end + 1]
    )


_JOINING = re.compile(rf"[{MARKS}]|[^\W{_CHARS}]")


def _joins(before: str, after: str) -> bool:
    return bool(before and after and _JOINING.match(before) and _JOINING.match(after))
