"""Cleaning that keeps account of where each character came from. Under ``rules``, above ``steps`` and ``spans``.

The rules are those of ``rules``, and so are the patterns and handlers: a tracer
stands in for the plain `~skbert._cleaner.steps.Steps` and returns the same texts.
What it knows beyond them is only how a handler's answer hangs together with the
token that it is the answer to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from skbert._cleaner.encoding import trace_encoding
from skbert._cleaner.spans import Range, compose, same, thinned, whole
from skbert._cleaner.steps import Steps

__all__ = ["Tracer"]

_REPLACED = frozenset({"url", "mention", "number"})


class _Char(str):
    """A character that knows which characters of the text it came from."""

    __slots__ = ("end", "start")

    start: int
    end: int

    @classmethod
    def at(cls, char: str, start: int, end: int) -> _Char:
        made = cls(char)
        made.start, made.end = start, end
        return made


class Tracer(Steps):
    """Follow one text through its cleaning.

    Each method takes the text that the one before has returned.

    Parameters
    ----------
    text : str
        The text before cleaning.
    emoji_row : callable
        From a row of emoji to pairs: what is shown, and the emoji it stands
        for.

    Attributes
    ----------
    spans : ndarray of shape (length of the text now, 2) and dtype int64
        For each character the half-open range of characters of the text before
        cleaning that it came from.
    """

    __slots__ = ("_emoji_row", "spans")

    def __init__(self, text: str, emoji_row: Callable[[str], list[tuple[str, str]]]) -> None:
        self.spans: np.ndarray = np.arange(len(text), dtype=np.int64)[:, None] + np.arange(2)
        self._emoji_row = emoji_row

    def sub(self, pattern: re.Pattern[str], handler: Callable[[re.Match[str]], str], text: str) -> str:
        """Return the text with what the handler makes of each match."""
        parts: list[str] = []
        ranges: list[Range] = []
        end = 0
        for match in pattern.finditer(text):
            start, new = match.start(), handler(match)
            parts += text[end:start], new
            ranges += same(end, start)
            ranges += ((start + first, start + stop) for first, stop in self._places(match, new))
            end = match.end()
        ranges += same(end, len(text))
        changed = "".join([*parts, text[end:]])
        if changed != text:
            self._follow(ranges)
        return changed

    def lower(self, text: str) -> str:
        """Return the text in lower case."""
        lowered = text.lower()
        if len(lowered) != len(text):
            self._follow((k, k + 1) for k, char in enumerate(text) for _ in char.lower())
        return lowered

    def collapse(self, text: str) -> str:
        """Return the text with one blank for each run of white space: the first that was not put in by cleaning."""
        is_put_in = (self.spans[:, 0] == self.spans[:, 1]).tolist()
        ranges: list[Range] = []
        end = 0
        for match in re.finditer(r"\S+", text):
            start = match.start()
            if ranges:
                blank = next((place for place in range(end, start) if not is_put_in[place]), end)
                ranges.append((blank, blank + 1))
            end = match.end()
            ranges += same(start, end)
        collapsed = super().collapse(text)
        if collapsed != text:
            self._follow(ranges)
        return collapsed

    def fix_encoding(self, text: str) -> str:
        """Return the text as ftfy mends it."""
        fixed, ranges = trace_encoding(text)
        if fixed != text:
            self._follow(ranges)
        return fixed

    def chars(self, text: str) -> list[str]:
        """Return the characters, each of which knows its place."""
        return [_Char.at(char, place, place + 1) for place, char in enumerate(text)]

    def spell(self, word: str, chars: Sequence[str]) -> Sequence[str]:
        """Return the characters of a word, each in the place of all that it replaces."""
        first, last = chars[0], chars[-1]
        assert isinstance(first, _Char)
        assert isinstance(last, _Char)
        return [_Char.at(char, first.start, last.end) for char in word]

    def join(self, chars: Sequence[str]) -> str:
        """Return the text that has become of that of `chars`."""
        self._follow((char.start, char.end) for char in chars if isinstance(char, _Char))
        return super().join(chars)

    def _follow(self, ranges: Iterable[Range] | np.ndarray) -> None:
        self.spans = compose(self.spans, ranges)

    def _places(self, match: re.Match[str], new: str) -> Iterable[Range]:
        """Return which characters of a match each character of what replaces it came from."""
        old, kind = match.group(), match.lastgroup
        if new == old:
            return same(0, len(old))
        if kind is None:
            return _cut(old, new)
        if not new.strip(" "):
            return [(0, 0)] * len(new)  # the blank that a dropped token leaves
        if kind in _REPLACED:
            return whole(old, new)
        if kind == "emoji":
            return self._places_in_row(old, new)
        return thinned(old, new)

    def _places_in_row(self, row: str, new: str) -> list[Range]:
        ranges: list[Range] = []
        start = 0
        for shown, emoji in self._emoji_row(row):
            end = start + len(emoji)
            if shown:
                while new[len(ranges)] == " ":
                    ranges.append((start, start))
                if emoji.startswith(shown):  # kept; the last one kept covers those of its like that were not
                    ranges += same(start, start + len(shown))
                    ranges[-1] = (ranges[-1][0], end)
                else:
                    ranges += [(start, end)] * len(shown)
            start = end
        return ranges + [(start, start)] * (len(new) - len(ranges))


def _cut(old: str, new: str) -> Iterable[Range]:
    """Return the ranges where one piece was cut out, or else where characters were lost and blanks put in."""
    n_same = next((k for k, (was, now) in enumerate(zip(old, new, strict=False)) if was != now), len(new))
    n_behind = len(new) - n_same
    if len(new) <= len(old) and old.endswith(new[n_same:]):
        return [*same(0, n_same), *same(len(old) - n_behind, len(old))]
    return thinned(old, new)
