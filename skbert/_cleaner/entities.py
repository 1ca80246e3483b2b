"""HTML entities and their characters. Between ``rules`` and ``steps``.

An entity may be hidden in another: ``&amp;lt;`` is ``&lt;`` is ``<``. And it
may come forth only after another rule has been at work: ``&LARR;`` is one in
lower case, ``&ammp;`` without the letter too many, ``＆amp;`` in plain width.
Both together make chains, in which each round brings forth one entity more:
``&#65286;`` is ``＆``, so in ``&#65286;#65286;#65286;`` there are three links.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable
from html.entities import html5
from typing import Final

from ftfy.fixes import fix_character_width, fix_latin_ligatures

from skbert._cleaner.steps import PLAIN, Steps

__all__ = ["ENTITY_SOURCE", "folding", "unescape", "unescape_chains"]

# Only with its semicolon: Twitter always writes it, and "?a=1&copy=2" is no copyright sign.
ENTITY_SOURCE: Final = "&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
_ENTITY = re.compile(ENTITY_SOURCE)
_DECIMAL = re.compile("&#[0-9]")
_LONGEST_ENTITY = 34
_WIDE_AND, _WIDE_SEMICOLON = "\uff06", "\uff1b"
# Up to so many links are left to the rounds, which clean what stands around in between.
_FEW_LINKS = 2


def _character(entity: str) -> str | None:
    """Return what `entity` stands for, None where it is no entity."""
    if entity[1] == "#":
        return html.unescape(entity)
    # Not html.unescape: it would read "&notit;" as "¬it;".
    return html5.get(entity[1:])


def unescape(text: str, by: Steps = PLAIN) -> str:
    """Replace entities until none is left, in time proportional to the length of `text`.

    Repeated substitution could need a round for each of the nested entities
    of ``&lt&semi&semi;…``. Here the text is read once, up to one semicolon
    after another, and only what stands before it can be an entity.

    Parameters
    ----------
    text : str
        Any text.
    by : Steps, default=PLAIN
        Does the change.

    Returns
    -------
    str
        The text without entities.
    """
    if _ENTITY.search(text) is None:
        return text
    done: list[str] = []  # characters, with no entity among them
    todo = by.chars(text)
    todo.reverse()
    while todo:
        char = todo.pop()
        done.append(char)
        if char != ";":
            continue
        tail = "".join(done[-_LONGEST_ENTITY:])
        start = tail.rfind("&")
        if start == -1 or _ENTITY.fullmatch(tail, start) is None:
            continue
        found = _character(tail[start:])
        if found is not None:
            todo.extend(reversed(by.spell(found, done[start - len(tail) :])))
            del done[start - len(tail) :]
    return by.join(done)


def folding(
    *, fix_encoding: bool, limit: int | None, lower: bool, stop_words: frozenset[str]
) -> Callable[[str], str] | None:
    """Return what later rules do to the characters of an entity, None where they cannot bring one forth.

    Parameters
    ----------
    fix_encoding : bool
        Whether wide letters and ligatures become plain ones.
    limit : int or None
        Longest run of one character.
    lower : bool
        Whether the case is lowered.
    stop_words : frozenset of str
        Words that go, and with them the entities of that name.

    Returns
    -------
    callable or None
        From what looks like an entity to the same after these rules.
    """
    # The longest run of one letter in a name is that of "&ggg;".
    repeats = None if limit is None or limit > 3 else re.compile(rf"([^\s\d])\1{{{limit},}}")
    if not (fix_encoding or repeats or lower):
        return None

    def fold(piece: str) -> str:
        if fix_encoding and not piece.isascii():
            piece = unicodedata.normalize("NFC", fix_character_width(fix_latin_ligatures(piece)))
        if lower:
            piece = piece.lower()
        if repeats:
            piece = repeats.sub(lambda match: match[1] * (limit or 1), piece)
        return "" if piece[1:-1].lower() in stop_words else piece

    return fold


def unescape_chains(text: str, fold: Callable[[str], str], by: Steps = PLAIN, *, keeps_numbers: bool) -> str:
    """Replace entities like `unescape` and, where they hang on one another by `fold`, those that it brings forth.

    Parameters
    ----------
    text : str
        Any text.
    fold : callable
        What `folding` returns.
    by : Steps, default=PLAIN
        Does the change.
    keeps_numbers : bool
        Whether the number of an entity is still there when what stands before
        it has become "&#".

    Returns
    -------
    str
        What `unescape` returns, unless there is a chain of more than two links. Such a chain would take a round a link,
        and is followed here to its end.
    """
    done: list[str] = []
    links: list[int] = []  # of each character in `done`, how many links lead to it
    longest = 0
    todo = [(char, 0) for char in reversed(by.chars(text))]
    while todo:
        char, link = todo.pop()
        done.append(char)
        links.append(link)
        if char not in (";", _WIDE_SEMICOLON):
            continue
        tail = "".join(done[-_LONGEST_ENTITY:])
        start = max(tail.rfind("&"), tail.rfind(_WIDE_AND))
        if start == -1:
            continue
        entity = tail[start:]
        found = _character(entity) if _ENTITY.fullmatch(entity) else None
        is_folded = found is None
        if is_folded:
            entity = fold(entity)
            found = _character(entity) if _ENTITY.fullmatch(entity) else None
        if found is not None:
            link = max(links[start - len(tail) :]) + is_folded
            if link and not keeps_numbers and _DECIMAL.match(entity):
                continue
            longest = max(longest, link)
            todo.extend((char, link) for char in reversed(by.spell(found, done[start - len(tail) :])))
            del done[start - len(tail) :], links[start - len(tail) :]
    return by.join(done) if longest > _FEW_LINKS else unescape(text, by)
