"""The rules of cleaning: one text in, one text out. Under ``cleaner``: imports only files of its own room.

A round has five steps: entities, encoding, tokens, case, white space. The
third is one scan with one regular expression, in which the leftmost token wins
and a kept token shields what is in it: the dots of a kept URL are no
punctuation, the "#" of its fragment makes no hashtag.

**Cleaning twice changes nothing more**, because rounds are repeated until one
changes nothing: its text is a fixed point of the round, and so of the whole.
Nearly always the second round is that one, for a token leaves a blank behind
and so cannot make its neighbours grow together into a new token, and every
rule goes to the end of its own chains (``&amp;amp;lt;``, ``##a``, ``@a@b``).

**Rounds stay few, however long the text**, with two known exceptions. They
would grow with it where things hang on one another in a row and each round
sets free but the next: entities made by other rules (see ``entities``),
mentions behind words and numbers that go, retweet marks within retweet marks
(see ``chains``). Such rows are followed to their end within a round; only
those of two entities or marks are left to the rounds. The exceptions: rows of
entities within a kept link, where marks or numbers are dropped; and text that
was decoded wrongly again and again, which doubles its length each time. The
number of rounds is bounded all the same: see `_MAX_ROUNDS`.

**The time grows with the length of a text, not with its square.** Quantifiers
that could give back what they took are possessive or bounded, and where a token
may begin with a run ("@@@", "###") a look-behind admits only the first of it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import partial
from itertools import groupby
from typing import Final, NamedTuple

import numpy as np
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from skbert._cleaner.chains import HANDLE, QUOTES, nested_marks, part_mentions, unnest_marks
from skbert._cleaner.emoji import EMOJI, EMOJI_FIRST, EMOJI_REST, emoji_name
from skbert._cleaner.entities import ENTITY_SOURCE, folding, unescape as _unescape, unescape_chains
from skbert._cleaner.hashtags import MARKS, split_hashtag
from skbert._cleaner.steps import PLAIN, Steps
from skbert._cleaner.tracing import Tracer

__all__ = ["LINK", "NUMBER", "USER", "CleaningRules", "Settings"]

# What "replace" puts: each is one piece of BERT's uncased vocabulary ("url" and "hashtag" are not).
LINK: Final = "link"
USER: Final = "user"
NUMBER: Final = "number"

# A text needs two rounds, seldom three; a search by small changes for texts that need many, over 200,000 of them, found
# none above seven. One that does not settle in this many loses all but its plain letters. On those at most three
# rounds more change anything: what is left to do is repeated letters, stop words and "rt rt", and none of the three
# brings forth an earlier one. So cleaning always ends.
_MAX_ROUNDS = 16
_NOT_PLAIN = re.compile("[^a-z]+")

# ftfy changes no text made of these alone: printable ASCII, tab, line feed and form feed; no-break space, middle
# dot, dashes and ellipsis, which never look broken on their own; joiners, variation selectors and pictures.
# A test holds this against ftfy itself.
_SUSPECT = re.compile("[^\t\n\f -~\xa0\xb7\u2013\u2014\u2026\u200d\u2600-\u27bf\ufe0e\ufe0f\U0001f000-\U0001faff]")

_URL_CHAR = r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]"
_URL_REST = rf"(?:{_URL_CHAR}*[A-Za-z0-9_~/#=&%+$@*\-])?+(?:[.,:;?!]*+…)?"
_LETTERS = rf"[^\W_]++(?:[{MARKS}]++[^\W_]*+)*+"


class _Token(NamedTuple):
    """A token by the class of its first character and a pattern of the rest, which may look behind at it.

    One class for the first characters of all tokens lets re skip, without
    trying anything, what begins none: the scan takes half the time.
    """

    first: str
    rest: str


_TOKENS: Final = {
    "url": _Token(
        "hHwWpP",
        rf"(?<=[hH])(?i:ttps?)://{_URL_REST}"
        # What the cut at 140 characters leaves of a link: "http:…", "htt…".
        r"|(?<=[hH])(?<![A-Za-z0-9].)(?i:t(?:tps?|t)?)(?::/{0,2})?…"
        rf"|(?<=[wW])(?<![\w.@].)(?i:ww)\.(?=[A-Za-z0-9]){_URL_REST}"
        rf"|(?<=[pP])(?<![\w.@/\-].)(?i:ic\.twitter\.com)/{_URL_REST}",
    ),
    # Also with a quotation mark before the "@" and without the colon, as older programs wrote it. An "RT" before
    # another one goes too, for it would become a mark of its own when the other is gone.
    "retweet_mark": _Token(
        "rR",
        rf"(?<=[rR])(?<!\w.)[tT](?:\s{{0,9}}[{QUOTES}]?\s?@+{HANDLE}(?:\s?:)?|(?=\s{{1,9}}(?i:rt)(?!\w)))",
    ),
    "mention": _Token("@", rf"(?<=@)(?<![\w@].)@*+{HANDLE}(?:@+{HANDLE})*+"),
    "hashtag": _Token("#", rf"(?<=\#)(?<!\#.)\#*+[\d_]*+[^\W\d_][\w{MARKS}]*+"),
    "emoji": _Token(EMOJI_FIRST, f"{EMOJI_REST}(?:{EMOJI.pattern})*+"),  # a whole row of them
    "number": _Token(r"\d", r"(?<=\d)(?<!\w.)(?<!\d[.,:/].)\d*+(?:[.,:/]\d++)*+(?!\w)"),
}
_ENTITY_TOKEN = f"{ENTITY_SOURCE}(?P<entity>)"
_WORD = rf"{_LETTERS}(?:['’]{_LETTERS})*+(?P<word>)"
# An apostrophe between letters is spelling ("don't"); what else of these is punctuation, its category tells.
_MARK = r"(?!(?<=[^\W_])['’](?=[^\W_]))(?:[^\w\s]|_)(?P<mark>)"

# Beside these a word that takes the place of a token needs no blank.
_OPENING = frozenset("([{<\"'“‘«")
_CLOSING = frozenset(")]}>\"'”’».,;:!?…%")
_ASCII_SYMBOLS = frozenset("$+<=>^`|~")  # string.punctuation counts them in, Unicode calls them symbols


class Settings(NamedTuple):
    """The parameters of TextCleaner, under their names and with checked values."""

    fix_encoding: bool
    html_entities: str
    urls: str
    mentions: str
    retweet_marks: str
    hashtags: str
    emoji: str
    numbers: str
    repeated_chars: int | None
    case: str
    punctuation: str
    stop_words: str | Iterable[str] | None
    whitespace: str


class CleaningRules:
    """Clean one text after another by the same settings.

    Holds nothing of the texts it has seen, so one object may serve several
    threads.

    Parameters
    ----------
    settings : Settings
        What to do with each kind of token.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        stop_words = ENGLISH_STOP_WORDS if settings.stop_words == "english" else settings.stop_words or ()
        self._stop_words = frozenset(map(_as_stop_word, stop_words))
        self._limit = _limit(settings)
        self._unescapes = settings.html_entities == "unescape"
        self._fixes_encoding = settings.fix_encoding
        self._lowers = settings.case == "lower"
        self._collapses = settings.whitespace == "collapse"
        # Where marks are dropped, "&", "@" and quotation marks that are no part of a token go in the first round, and
        # with them all chains. Where "rt" is a stop word, so does each outer retweet mark.
        keeps_marks = settings.punctuation == "keep"
        self._fold = (
            folding(
                fix_encoding=settings.fix_encoding,
                limit=self._limit,
                lower=settings.case == "lower",
                stop_words=self._stop_words,
            )
            if keeps_marks
            else None
        )
        self._parts_mentions = (
            keeps_marks
            and settings.mentions != "keep"
            and (settings.numbers != "keep" or settings.stop_words is not None)
        )
        self._nested_marks = (
            nested_marks(
                keeps_mentions=settings.mentions == "keep",
                collapses_blanks=settings.whitespace == "collapse",
                has_words=settings.stop_words is not None,
            )
            if keeps_marks and settings.retweet_marks == "drop" and "rt" not in self._stop_words
            else None
        )
        # Few texts have repeated characters, and to look for them first is cheaper than to try at every place.
        # "\\1\\1\\1" takes a third of the time of "\\1{3}"; what it finds beside them is sorted out later.
        self._may_repeat = None if self._limit is None else re.compile("(.)" + r"\1" * min(self._limit, 8))
        self._repeats = None if self._limit is None else re.compile(_repeats(self._limit))
        # re keeps what it has compiled, so that the next object with these settings finds it.
        self._tokens = re.compile(_token_pattern(settings, with_repeats=False))
        self._tokens_and_repeats = re.compile(_token_pattern(settings, with_repeats=True))
        self._handlers: dict[str | None, Callable[[re.Match[str]], str]] = {
            "entity": re.Match.group,
            "url": _handler(settings.urls, LINK),
            "retweet_mark": _gap,
            "mention": _handler(settings.mentions, USER),
            "hashtag": self._hashtag,
            "emoji": self._emoji,
            "number": _handler(settings.numbers, NUMBER),
            "word": self._word,
            "repeat": self._shorten,
            "mark": _mark,
        }

    def __call__(self, text: str) -> str:
        """Return `text` cleaned; cleaning the result returns it unchanged."""
        return self._clean(text, PLAIN)

    def trace(self, text: str) -> tuple[str, np.ndarray]:
        """Return `text` cleaned, and for each character of that the range of `text` it came from.

        Parameters
        ----------
        text : str
            Any text.

        Returns
        -------
        cleaned : str
            What calling this object returns.
        spans : ndarray of shape (len(cleaned), 2) and dtype int64
            Half-open ranges of characters of `text`; see `TextCleaner._trace`.
        """
        tracer = Tracer(text, self._emoji_row)
        return self._clean(text, tracer), tracer.spans

    def _clean(self, text: str, by: Steps) -> str:
        text, is_settled = self._clean_repeatedly(text, by)
        if not is_settled:
            text, _ = self._clean_repeatedly(by.sub(_NOT_PLAIN, lambda _: " ", by.lower(text)), by)
        return text

    def _clean_repeatedly(self, text: str, by: Steps = PLAIN) -> tuple[str, bool]:
        """Return the text after rounds of cleaning, and whether the last of them changed nothing."""
        clean_once = self._clean_once if by is PLAIN else partial(self._clean_once, by=by)
        for _ in range(_MAX_ROUNDS):
            cleaned = clean_once(text)
            if cleaned == text:
                return text, True
            text = cleaned
        return text, False

    def _clean_once(self, text: str, by: Steps = PLAIN) -> str:
        if self._unescapes and "&" in text:
            if self._fold is not None and text.count(";") + text.count("\uff1b") > 2:
                text = unescape_chains(text, self._fold, by, keeps_numbers=self._settings.numbers == "keep")
            else:
                text = _unescape(text, by)
        if self._fixes_encoding and _SUSPECT.search(text):
            text = by.fix_encoding(text)
        if self._nested_marks is not None:
            text = unnest_marks(text, self._nested_marks, by)
        if self._parts_mentions:
            text = part_mentions(text, self._settle, by)
        may_repeat = self._may_repeat is not None and self._may_repeat.search(text)
        text = by.sub(self._tokens_and_repeats if may_repeat else self._tokens, self._handle, text)
        if self._lowers:
            text = by.lower(text)
        if self._collapses:
            text = by.collapse(text)
        return text

    def _settle(self, text: str) -> str:
        return self._clean_repeatedly(text)[0]

    def _handle(self, match: re.Match[str]) -> str:
        return self._handlers[match.lastgroup](match)

    def _hashtag(self, match: re.Match[str]) -> str:
        action = self._settings.hashtags
        if action == "keep":
            return match.group()
        if action == "drop":
            return _gap(match)
        word = match.group().lstrip("#")
        return _set_apart(match, split_hashtag(word) if action == "split" else word)

    def _emoji(self, match: re.Match[str]) -> str:
        action = self._settings.emoji
        if action == "drop":
            return _gap(match)
        shown = [text for text, _ in self._emoji_row(match.group())]
        if action == "keep":
            return "".join(shown)
        names = " ".join(filter(None, shown))
        return _set_apart(match, names) if names else _gap(match)

    def _emoji_row(self, row: str) -> list[tuple[str, str]]:
        """Return what is shown of a row of emoji, each with the part of the row that it stands for."""
        shown = []
        for one, same in groupby(EMOJI.findall(row)):
            times = len(list(same))
            n_shown = times if self._limit is None else min(times, self._limit)
            text = one if self._settings.emoji == "keep" else emoji_name(one)
            # the last one shown stands for those that are too many as well
            shown += [(text, one)] * (n_shown - 1) + [(text, one * (times - n_shown + 1))]
        return shown

    def _word(self, match: re.Match[str]) -> str:
        word = match.group()
        if self._repeats is not None:
            word = self._repeats.sub(self._shorten, word)
        return _gap(match) if _as_stop_word(word) in self._stop_words else word

    def _shorten(self, match: re.Match[str]) -> str:
        return match["char"] * (self._limit or 1)


def _limit(settings: Settings) -> int | None:
    # re counts no further than 2**32, and no text is that long
    return None if settings.repeated_chars is None else min(int(settings.repeated_chars), 2**31)


def _repeats(limit: int) -> str:
    # Digits are left alone: one more or less would be another number.
    return rf"(?P<char>[^\s\d])(?P=char){{{limit},}}+(?P<repeat>)"


def _token_pattern(settings: Settings, *, with_repeats: bool) -> str:
    drops_marks = settings.punctuation == "drop"
    unwanted = set()
    if settings.retweet_marks == "keep":
        unwanted.add("retweet_mark")  # its mention is treated like any other
    if settings.numbers == "keep" and not drops_marks:
        unwanted.add("number")  # where marks are dropped, a kept number shields its own: "3.5"
    tokens = {name: token for name, token in _TOKENS.items() if name not in unwanted}
    first = "".join(token.first for token in tokens.values())
    rest = "|".join(f"(?:{token.rest})(?P<{name}>)" for name, token in tokens.items())
    parts = [f"[{first}](?:{rest})"]
    if settings.html_entities == "keep":
        parts.insert(0, _ENTITY_TOKEN)
    if settings.stop_words is not None:
        parts.append(_WORD)
    limit = _limit(settings)
    if with_repeats and limit is not None:
        parts.append(_repeats(limit))
    if drops_marks:
        parts.append(_MARK)
    return "|".join(parts)


def _as_stop_word(word: str) -> str:
    return word.lower().replace("’", "'")


def _handler(action: str, word: str) -> Callable[[re.Match[str]], str]:
    if action == "keep":
        return re.Match.group
    return _gap if action == "drop" else lambda match: _set_apart(match, word)


def _gap(match: re.Match[str]) -> str:
    """Return what a dropped token leaves: a blank, unless there is one beside it."""
    text, start, end = match.string, match.start(), match.end()
    if start == 0 or end == len(text) or text[start - 1].isspace() or text[end].isspace():
        return ""
    return " "


def _set_apart(match: re.Match[str], word: str) -> str:
    """Return `word` with a blank on each side where it would touch its neighbour."""
    text, start, end = match.string, match.start(), match.end()
    if start and not ((char := text[start - 1]).isspace() or char in _OPENING):
        word = " " + word
    if end < len(text) and not ((char := text[end]).isspace() or char in _CLOSING):
        word += " "
    return word


def _mark(match: re.Match[str]) -> str:
    char = match.group()
    if unicodedata.category(char)[0] == "P" or char in _ASCII_SYMBOLS:
        return _gap(match)
    return char
