"""How words, labels and numbers are shown: safe on a terminal, as HTML, and in colours. Part of ``inspection``.

All of it comes from people one does not know. A tweet may hold what a terminal takes for a command, what a browser
takes for markup, and marks that turn the writing direction of what stands beside them.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any

__all__ = [
    "AGAINST",
    "FOR",
    "INK",
    "PAPER",
    "background",
    "coloured",
    "escape",
    "glyph_namer",
    "label",
    "number",
    "one_line",
    "plain",
]

INK = "#1a1a1a"
PAPER = "#ffffff"
# Blue and orange: the pair that people with any kind of colour blindness tell apart. Both light enough for dark ink,
# and about equally light, so that no side looks stronger than it is.
FOR = "#6aaaf0"
AGAINST = "#f2963c"

_LONGEST_NAME = 26  # of a character that no font has
_JOINERS = "\u200c\u200d"  # emoji are joined by them, and Persian words held apart


def plain(text: str) -> str:
    """Return a text without what a terminal obeys: no control characters, no line ends, no marks of direction."""
    return "".join(map(_harmless, text))


def _harmless(char: str) -> str:
    if char.isprintable() or char in _JOINERS:
        return char
    if char.isspace():
        return " "
    return {"Cc": "\ufffd", "Cs": "\ufffd", "Cf": ""}.get(unicodedata.category(char), char)


def one_line(text: str, width: int) -> str:
    """Return a text as :func:`plain` does, its blanks run together, and cut to a width in characters.

    Where nothing of it can be seen, as of a lone mark of direction, its code
    points stand instead.
    """
    shown = " ".join(plain(text).split())
    if text and not shown.strip(_JOINERS):
        shown = " ".join(f"U+{ord(char):04X}" for char in text)
    return shown if len(shown) <= width else shown[: width - 1] + "…"


def label(value: Any, width: int = 60) -> str:
    """Return the label of a class in one line: a str between quotes, anything else as it prints itself."""
    try:
        shown = f"'{value}'" if isinstance(value, str) else str(value)
    except Exception:
        # An object that can't print itself is still a label, and a repr must not fail.
        shown = f"<{type(value).__name__}>"
    return one_line(shown, width)


def number(value: float, largest: float | None = None) -> str:
    """Return a number of log-odds with its sign: three decimals, or three digits where they don't fit `largest`."""
    size = abs(value) if largest is None else largest
    return f"{value:+.3f}" if size == 0 or 0.05 <= size < 1e6 else f"{value:+.2e}"


def escape(text: str) -> str:
    """Return a text as HTML in which nothing is markup, and which a browser reads back character by character."""
    # A browser takes a carriage return for a line feed, drops NUL, and has no lone surrogates.
    kept = "".join("\ufffd" if char == "\0" or "\ud800" <= char <= "\udfff" else char for char in text)
    return html.escape(kept).replace("\r", "&#13;")


def background(strength: float) -> str:
    """Return the colour behind a word: white at 0, blue towards 1, orange towards -1."""
    full = FOR if strength > 0 else AGAINST
    share = min(abs(strength), 1.0)
    paper, ink = (tuple(bytes.fromhex(colour[1:])) for colour in (PAPER, full))
    mixed = [round(white + share * (colour - white)) for white, colour in zip(paper, ink, strict=True)]
    return f"#{bytes(mixed).hex()}"


def coloured(text: str, parts: Iterable[tuple[int, int, float]], largest: float) -> str:
    """Return a text as HTML, with a colour behind its words.

    Parameters
    ----------
    text : str
    parts : iterable of (int, int, float)
        Start and end of each word in `text`, and its attribution. Of
        characters that two words hold, the first has them.
    largest : float
        The attribution, without its sign, that gets the full colour.

    Returns
    -------
    str
        Without its tags, and unescaped, it is `text`.
    """
    pieces, place = [], 0
    for start, end, value in sorted(parts):
        start = max(start, place)
        if end <= start:
            continue
        strength = value / largest if largest > 0 else 0.0
        # The sign without colour: on paper, and for those who see none.
        line = ";border-bottom:2px dotted" if strength <= -0.05 else ""
        style = f"background:{background(strength)};color:{INK};border-radius:3px{line}"
        pieces += [
            escape(text[place:start]),
            f'<span title="{number(value, largest)}" style="{style}">{escape(text[start:end])}</span>',
        ]
        place = end
    return "".join([*pieces, escape(text[place:])])


def glyph_namer(properties: Any, find_font: Any, get_font: Any) -> Callable[[str], str]:
    """Return what makes a text such that matplotlib's fonts can draw it.

    Parameters
    ----------
    properties, find_font, get_font : callables
        Those of ``matplotlib.font_manager``, which only a method `plot` may import.

    Returns
    -------
    callable
        From a text to the same with the names of those characters that no font has.
    """
    fonts = []
    for family in properties().get_family():
        try:
            fonts.append(get_font(find_font(properties(family=family), fallback_to_default=False)))
        except ValueError:  # not installed, which matplotlib itself says
            continue
    fonts = fonts or [get_font(find_font(properties()))]
    return lambda text: _with_glyphs(text, lambda char: any(font.get_char_index(ord(char)) for font in fonts))


def _with_glyphs(text: str, has_glyph: Callable[[str], bool]) -> str:
    """Return a text with the names of those characters that no font has."""
    shown = []
    for char in text:
        if has_glyph(char):
            shown.append(char)
        elif unicodedata.category(char) in ("Mn", "Me", "Cf"):
            continue  # variation selectors and joiners, which have no look of their own
        else:
            name = unicodedata.name(char, "")
            is_symbol = unicodedata.category(char)[0] == "S" and 0 < len(name) <= _LONGEST_NAME
            shown.append(f"[{name.lower()}]" if is_symbol else f"[U+{ord(char):04X}]")
    return "".join(shown)
