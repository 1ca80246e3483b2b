"""What ftfy mends, and where each character of that came from. Above ``spans`` only.

ftfy tells which steps it took with a line. To trace it they are taken again one
by one, each in pieces so small that it is known what became of what. If that
does not lead to what ftfy itself made of the line, which a later version of it
might bring about, the two are compared as they are.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

import ftfy
import ftfy.badness
import ftfy.chardata
import numpy as np

from skbert._cleaner.spans import Range, compose, differences, same

__all__ = ["fix_encoding", "trace_encoding"]

_CONFIG: Final = ftfy.TextFixerConfig(unescape_html=False, explain=False)  # entities have their own parameter
# What the fixers of ftfy look at together: line ends, halves of one character, commands to a terminal.
_UNITS = re.compile("\r\n|[\ud800-\udbff][\udc00-\udfff]|\x1b\\[[0-9;]*[a-zA-Z]|.", re.DOTALL)
# Vowels and final consonants of Korean are the only letters that melt into the one before them; other signs that do
# are marks.
_LATER_JAMO = re.compile("[\u1161-\u1175\u11a8-\u11c2]")


def fix_encoding(text: str) -> str:
    """Return the text as ftfy mends it."""
    fixed: str = ftfy.fix_text(text, _CONFIG)
    return fixed


def trace_encoding(text: str) -> tuple[str, np.ndarray]:
    """Mend a text and tell what became of what.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    fixed : str
        What `fix_encoding` returns.
    ranges : ndarray of shape (len(fixed), 2) and dtype int64
        The characters of `text` that each character of `fixed` came from.
    """
    parts, ranges = [], []
    for start, line in _lines(text):
        fixed = fix_encoding(line)
        parts.append(fixed)
        places = _unchanged(len(line)) if fixed == line else _trace_line(line, fixed)
        ranges.append(places + start)
    return "".join(parts), np.concatenate(ranges) if ranges else _unchanged(0)


def _unchanged(length: int) -> np.ndarray:
    """Return the ranges of a text that was not changed."""
    return np.arange(length)[:, None] + np.arange(2)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield what ftfy mends by itself: lines, and pieces of very long ones."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        end = min(end, start + _CONFIG.max_decode_length)
        yield start, text[start:end]
        start = end


def _trace_line(line: str, fixed: str) -> np.ndarray:
    _, plan = ftfy.fix_and_explain(line, _CONFIG._replace(explain=True))
    result, ranges = _replay(line, plan or [])
    if result == fixed:
        return ranges
    return np.array(differences(line, fixed), dtype=np.int64).reshape(-1, 2)


def _replay(text: str, plan: Iterable[tuple[str, str]]) -> tuple[str | bytes, np.ndarray]:
    """Take the steps of a plan of ftfy again."""
    state: Any = text
    ranges = _unchanged(len(text))
    for action, name in plan:
        if action == "encode":
            after = state.encode(name)
            steps = list(same(0, len(state))) if len(after) == len(state) else None
        elif action == "decode":
            after, steps = _decode(state, name)
        elif action == "normalize":
            form: Any = name
            normalize = partial(unicodedata.normalize, form)
            after = normalize(state)
            steps = _piecewise(_clusters(state), normalize, after)
        else:
            fixer = ftfy.FIXERS[name]
            after = fixer(state)
            if isinstance(state, bytes):
                steps = differences(state, after)
            elif name == "decode_inconsistent_utf8":
                steps = _decode_in_places(state, after)
            else:
                steps = _piecewise(_UNITS.findall(state), fixer, after)
        if steps is None:
            steps = differences(state, after)
        state, ranges = after, compose(ranges, steps)
    return state, ranges


def _piecewise(pieces: Iterable[str], fix: Callable[[str], str], after: str) -> list[Range] | None:
    """Return the ranges of a change that goes piece by piece, None if it does not."""
    parts: list[str] = []
    ranges: list[Range] = []
    start = 0
    for piece in pieces:
        fixed, end = fix(piece), start + len(piece)
        ranges += same(start, end) if len(fixed) == len(piece) else [(start, end)] * len(fixed)
        parts.append(fixed)
        start = end
    return ranges if "".join(parts) == after else None


def _clusters(text: str) -> Iterator[str]:
    """Yield pieces of a text that do not melt into one another when it is normalised."""
    start = 0
    for place, char in enumerate(text):
        if place and not (unicodedata.category(char)[0] == "M" or _LATER_JAMO.match(char)):
            yield text[start:place]
            start = place
    yield text[start:]


def _decode(state: bytes, name: str) -> tuple[str, list[Range] | None]:
    decoder = codecs.getincrementaldecoder(name)()
    parts: list[str] = []
    ranges: list[Range] = []
    start = 0
    for place in range(len(state)):
        decoded = decoder.decode(state[place : place + 1], place + 1 == len(state))
        if decoded:
            ranges += [(start, place + 1)] * len(decoded)
            parts.append(decoded)
            start = place + 1
    after = state.decode(name)
    return after, ranges if "".join(parts) == after else None


def _decode_in_places(text: str, after: str) -> list[Range] | None:
    """Return the ranges where ftfy has mended some places of a text, each by itself."""
    parts: list[str] = []
    ranges: list[Range] = []
    end = 0
    for match in ftfy.chardata.UTF8_DETECTOR_RE.finditer(text):
        found: str = match.group()
        fixed, places = found, _unchanged(len(found))
        if len(found) < len(text) and ftfy.badness.is_bad(found):
            fixed, plan = ftfy.fix_encoding_and_explain(found)
            replayed, places = _replay(found, plan or [])
            if replayed != fixed:
                return None
        ranges += same(end, match.start())
        ranges += map(tuple, (places + match.start()).tolist())
        parts += text[end : match.start()], fixed
        end = match.end()
    ranges += same(end, len(text))
    return ranges if "".join([*parts, text[end:]]) == after else None
