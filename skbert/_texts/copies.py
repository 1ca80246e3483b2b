"""Which texts are copies of each other, and which nearly so. Part of ``_texts``; imports only its types.

A tweet that is passed on comes back with "RT @somebody:" before it, with
another shortened link, with "&amp;" for "&", or cut short. A model that was
trained on one of them has seen the others. What counts as nearly the same is
defined once, in `near_keys`, for all who ask.
"""

from __future__ import annotations

import html
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Hashable, Sequence

import numpy as np

from skbert._texts.inputs import Item

__all__ = ["exact_keys", "near_keys"]

_BEHIND_A_CUT = " \"'”"  # may stand behind the dots of a text cut short
_PIECE = 2_000  # characters that are normalised at once
_MIN_CUT = 50  # characters of the key of a text cut short: fewer may be the beginning of anything

# -- what is put into one form, over the whole text ------------------------------------------------------------------

# What people type for an apostrophe. Compatibility forms of some would be a blank and an accent.
_APOSTROPHES = re.compile("[‘’ʼ´`′＇]")
# With the semicolon only: "&copy" may be part of a link, and "&not" of a word.
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});")
_MAX_UNESCAPES = 4  # "&amp;amp;amp;lt;"

# -- what goes -------------------------------------------------------------------------------------------------------

# In the folded text: lower case, ASCII dots for "…". A link ends where plain ASCII does, so that it does not take
# what follows it in a script without blanks. The last form is what the cut at 140 characters leaves of one.
_HANDLE = "@+[a-z0-9_]+"
_DROPPED = re.compile(
    r"https?://[!-~]*|(?<![\w.@])www\.[!-~]+|(?<![\w.@/])pic\.twitter\.com/[!-~]+"
    r"|(?<!\w)ht(?:tps?|t)?(?::/{0,2})?\.{3}\Z"
    rf"|(?<!\w)rt[ \"'“:]{{0,9}}{_HANDLE}|(?<!\w)via {_HANDLE}|(?<![\w@]){_HANDLE}"
)

# -- what stays among punctuation and symbols ------------------------------------------------------------------------

# Emoticons, in the folded text; a "nose" says nothing. Before a bracket a word may stand ("great:)"), but before
# another mouth it may not ("10:30", "a:b"), and a face read from the right stands alone ("(see this): …").
_FACES = re.compile(
    r"(?P<eyes>[:;=]'?)[-~^o]?(?P<mouth>[()\[\]{}])"
    r"|(?<!\w)(?P<eyes2>[:;=]'?)[-~^o]?(?P<mouth2>[*/\\|@$]|[dpos3xc](?!\w))"
    r"|(?<!\S)(?P<mouth3>[()\[\]{}])[-~^o]?(?P<eyes3>'?[:;=])(?!\w)"
    r"|(?<!\w)(?P<whole></?3+(?!\w)|\^[_.\-]?\^|-_+-|>[_.]+<|[to]_+[to](?!\w)|;_;|[-+](?=\d))"
)


class _Marks(dict[int, str | None]):
    """What becomes of each character between faces, worked out when it is first met: for `str.translate`."""

    def __missing__(self, code: int) -> str | None:
        char = chr(code)
        self[code] = found = self._of(char, code)
        return found

    @staticmethod
    def _of(char: str, code: int) -> str | None:
        if char == "'":
            return None  # "don't" is "dont"
        category = unicodedata.category(char)
        if category == "So":
            return f" {char} "  # pictures, each a word of its own
        # What only changes the look of its neighbour: joiners and variation selectors; skin tones are marks like
        # others. Not the tags that tell the flag of Wales from that of Scotland.
        is_selector = 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF
        if is_selector or (category == "Cf" and not 0xE0020 <= code <= 0xE007F):
            return None
        return " " if category[0] in "PSZ" or category == "Cc" else char


def exact_keys(items: Sequence[Item]) -> np.ndarray:
    """Return a number for each row, the same exactly where the texts are the same, character for character.

    Parameters
    ----------
    items : sequence of str, tuple of two str or None
        Texts, or pairs of texts. A row that is None is missing, and the copy
        of no other: it has a number of its own.

    Returns
    -------
    int64 ndarray of shape (n_rows,)
        From 0 in the order in which they first appear.
    """
    return _number(items)


def near_keys(items: Sequence[Item]) -> np.ndarray:
    """Return a number for each row, the same where the texts are identical or nearly so.

    Two texts are *near-identical* if the same words stand in the same order
    when both are brought into one form, in these steps:

    1. Compatibility forms become plain ones (Unicode's NFKC: "ﬁ" is "fi",
       "…" is "..."), HTML entities become their characters, and capitals
       small letters (case folding, "ß" is "ss").
    2. Links, mentions ("@somebody") and marks of passing on ("RT @somebody:",
       "via @somebody") go.
    3. Punctuation and mathematical signs, currency signs and accents that
       stand alone become blanks; an apostrophe goes without a trace ("don't"
       is "dont"), and so do invisible characters, and skin tones and other
       variants of an emoji.
    4. Runs of blanks and line ends become one blank; none are left at the ends.

    These stay, because texts that differ in them differ: letters of every
    script with their accents and vowel signs, digits, emoji and other
    pictures, emoticons (":)" is not ":("; a nose says nothing, so that ":-)"
    is ":)"), "<3" and "</3", and the sign right before a number ("+1", "-1").
    A hashtag is its word.

    If nothing is left (the text is only a link, a mention or "?!"), the text
    is compared after steps 1 and 4 alone, so that "???" is not "!!!" and two
    links are not one. All empty texts, whatever blanks are in them, are
    identical. Of a pair, both sides have to be near-identical, each to the
    same side.

    A text *cut short* is near-identical to the one that it was cut from: it
    ends with "…" or "..." (links and quotation marks behind that do not
    count), 50 characters or
    more are left of it in the form above, and exactly one text goes on from
    there. Where two different texts do, it is neither's copy. Pairs are not
    looked at in this way.

    So the relation is an equivalence: texts with one number are near-identical
    to each other. Identical texts always have one number.

    Parameters
    ----------
    items : sequence of str, tuple of two str or None
        Texts, or pairs of texts. A row that is None is missing, and the copy
        of no other: it has a number of its own.

    Returns
    -------
    int64 ndarray of shape (n_rows,)
        From 0 in the order in which they first appear.

    Notes
    -----
    The time grows with the length of the texts, and no faster than n log(n)
    with their number: about 0.3 seconds for 14,000 tweets.
    """
    marks = _Marks()
    forms: dict[Item, Hashable] = {}
    whole: set[Hashable] = set()  # forms that some text has which is not cut short
    cut: set[str] = set()
    for item in items:
        if item is None or item in forms:
            continue
        if isinstance(item, tuple):
            forms[item] = tuple(_form(side, marks)[0] for side in item)
            continue
        form, is_cut = _form(item, marks)
        forms[item] = form
        if is_cut and len(form) >= _MIN_CUT:
            cut.add(form)
        else:
            whole.add(form)
    cut -= whole  # a text that ends there by itself is no cut one
    if cut:
        full = _uncut(sorted(form for form in set(forms.values()) if isinstance(form, str)), cut)
        forms = {item: full.get(form, form) for item, form in forms.items()}  # type: ignore[call-overload]
    return _number([None if item is None else forms[item] for item in items])


def _number(keys: Sequence[Hashable]) -> np.ndarray:
    """Return numbers from 0 in order of appearance; each None has its own."""
    seen: dict[Hashable, int] = {}
    codes = np.empty(len(keys), dtype=np.int64)
    n_missing = 0
    for row, key in enumerate(keys):
        if key is None:
            codes[row] = len(seen) + n_missing
            n_missing += 1
        else:
            code = seen.get(key)
            if code is None:
                code = seen[key] = len(seen) + n_missing
            codes[row] = code
    return codes


def _form(text: str, marks: _Marks) -> tuple[str, bool]:
    """Return the form in which a text is compared, and whether it ends as a text cut short does."""
    folded = _fold(text)
    rest = _DROPPED.sub(" ", folded)
    is_cut = any(whole.rstrip(_BEHIND_A_CUT).endswith("...") for whole in (folded, rest))
    form = rest.translate(marks) if _FACES.search(rest) is None else "".join(_parts(rest, marks))
    form = " ".join(form.split())
    # No form of the other kind begins like that.
    return (form, is_cut) if form else (f"\0{folded}", False)


def _parts(text: str, marks: _Marks) -> list[str]:
    """Return the text in parts: faces, set apart, and what is between them without marks."""
    parts, end = [], 0
    for face in _FACES.finditer(text):
        parts += [text[end : face.start()].translate(marks), " ", *filter(None, face.groups())]
        if face["whole"] not in ("+", "-"):
            parts.append(" ")
        end = face.end()
    return [*parts, text[end:].translate(marks)]


def _fold(text: str) -> str:
    """Return the text after the first step, and the last: one blank at most between words."""
    text = _plain(text)
    if "&" in text:
        for _ in range(_MAX_UNESCAPES):
            unescaped = _ENTITY.sub(lambda match: html.unescape(match.group()), text)
            if unescaped == text:
                break
            text = _plain(unescaped)
    return " ".join(text.split())


def _plain(text: str) -> str:
    if text.isascii():
        return text.lower().replace("`", "'")
    return _nfkc(_nfkc(_APOSTROPHES.sub("'", text)).casefold())


def _nfkc(text: str) -> str:
    """Bring into Unicode's NFKC, long texts in pieces: the time grows with the square of a run of combining marks."""
    if len(text) <= _PIECE:
        return unicodedata.normalize("NFKC", text)
    return "".join(unicodedata.normalize("NFKC", text[k : k + _PIECE]) for k in range(0, len(text), _PIECE))


def _uncut(forms: list[str], cut: set[str]) -> dict[str, str]:
    """Return, for each form of `cut` that one text alone goes on from, the form of that text.

    In sorted order, what goes on from a form stands right behind it. A run of
    forms that are one text each time (the cut ones among them done before, for
    they stand further back) tells whether it is one text alone.
    """
    full = list(forms)
    run_end = list(range(1, len(forms) + 1))  # where the run of one full form that begins here ends
    for k in range(len(forms) - 2, -1, -1):
        if forms[k] in cut:
            end = bisect_left(forms, forms[k] + "\U0010ffff", lo=k + 1)
            if k + 1 < end <= run_end[k + 1]:
                full[k] = full[k + 1]
        if full[k] == full[k + 1]:
            run_end[k] = run_end[k + 1]
    return {form: other for form, other in zip(forms, full, strict=True) if form != other}
