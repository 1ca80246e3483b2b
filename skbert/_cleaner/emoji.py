"""What an emoji is and what it is called. Lowest file of ``_cleaner``: imports nothing of skbert.

The standard library knows the name of every character, but not which
characters are emoji, so their ranges are written down here. They are a little
wider than Unicode's own list (all dingbats, all of the pictograph blocks),
because a pictograph that BERT does not know says as little as an emoji that it
does not know.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["EMOJI", "EMOJI_FIRST", "EMOJI_REST", "emoji_name"]

_JOINER = "\u200d"
_TONES = "\U0001f3fb-\U0001f3ff"
_FLAG_LETTERS = "\U0001f1e6-\U0001f1ff"
_TAGS = "\U000e0020-\U000e007f"
_MODIFIERS = f"[\ufe0e\ufe0f\u20e3{_TONES}{_TAGS}]"

# Pictures wherever they stand. Brackets, quotes and circled digits among the dingbats are left out.
_PICTURES = (
    "\u231a\u231b\u23e9-\u23f3\u23f8-\u23fa\u25fd\u25fe\u2600-\u275a\u2761-\u2767\u2794-\u27bf"
    "\u2b1b\u2b1c\u2b50\u2b55\U0001f000-\U0001f1e5\U0001f200-\U0001f3fa\U0001f400-\U0001faff"
)
# Pictures only where the variation selector 16 asks for one: a bare "©" or "→" is text.
_SIGNS = (
    "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u2328\u23cf\u24c2\u25aa\u25ab\u25b6\u25c0"
    "\u25fb\u25fc\u2934\u2935\u2b05-\u2b07\u3030\u303d\u3297\u3299"
)

_PARTS = f"{_MODIFIERS}*+(?:{_JOINER}[{_PICTURES}{_SIGNS}]{_MODIFIERS}*+)*+"
_KEYS = "0-9#*"

EMOJI_FIRST = f"{_PICTURES}{_SIGNS}{_FLAG_LETTERS}{_TONES}{_KEYS}"
"""What an emoji can begin with, to stand within brackets of a regular expression."""

# The look-behinds say which kind of first character it was. They stand where other patterns have the character itself,
# so that a scan for many things can begin with one class of characters, which re finds fastest.
EMOJI_REST = (
    "(?:"
    f"(?<=[{_PICTURES}]){_PARTS}"
    f"|(?<=[{_FLAG_LETTERS}])[{_FLAG_LETTERS}]?"
    f"|(?<=[{_KEYS}])\ufe0f?\u20e3"
    f"|(?<=[{_SIGNS}])\ufe0f{_PARTS}"
    f"|(?<=[{_TONES}])"
    ")"
)
"""Regular expression of what follows that character in one emoji as a reader sees it."""

EMOJI = re.compile(f"[{EMOJI_FIRST}]{EMOJI_REST}")
"""One emoji: a flag, a keycap, or pictures with joiners and skin tones."""

_SILENT = re.compile(f"{_JOINER}[\u2640\u2642]|{_JOINER}|{_MODIFIERS}")
_TAGGED_FLAGS = {"gbeng": "england flag", "gbsct": "scotland flag", "gbwls": "wales flag"}
_NAMELESS = "symbol"  # newer than this Python's Unicode; a word that BERT knows
# Words of the names that tell of print ("HEAVY BLACK HEART", "THUMBS UP SIGN"), not of what is meant.
_PRINT_WORDS = frozenset({"sign", "symbol"})
_PRINT_WORDS_OF_OLD = _PRINT_WORDS | {"black", "white", "heavy", "small", "medium", "large"}


def emoji_name(sequence: str) -> str:
    """Return the name of one emoji in lower-case words, or "" where it has none of its own.

    Skin tones and the gender signs are left out, a flag is named by the two
    letters of its country, a keycap by its key.

    Parameters
    ----------
    sequence : str
        What `EMOJI` matches.

    Returns
    -------
    str
        Words of a to z and blanks; for a keycap a digit, "#" or "*".
    """
    first = sequence[0]
    if "\U0001f1e6" <= first <= "\U0001f1ff":
        letters = "".join(chr(ord("a") + ord(letter) - 0x1F1E6) for letter in sequence)
        return f"{letters} flag" if len(letters) == 2 else letters
    if first in "0123456789#*":
        return first
    tags = "".join(chr(ord(char) - 0xE0000) for char in sequence if "\U000e0061" <= char <= "\U000e007a")
    if tags in _TAGGED_FLAGS:
        return _TAGGED_FLAGS[tags]
    return " ".join(_picture_name(char) for char in _SILENT.sub("", sequence))


def _picture_name(char: str) -> str:
    words = re.findall("[a-z]+", unicodedata.name(char, "").lower())
    # "black" and "white" mean outline and filling in the signs older than emoji, and in the
    # pointing hands made after them; elsewhere (🖤) they are colours.
    is_old = char < "\U00010000" or "index" in words
    dropped = _PRINT_WORDS_OF_OLD if is_old else _PRINT_WORDS
    return " ".join(word for word in words if word not in dropped) or " ".join(words) or _NAMELESS
