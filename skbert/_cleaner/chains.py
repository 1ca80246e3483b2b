"""Chains of tokens, each of which comes forth only when the one before is gone. Between ``rules`` and ``steps``.

A scan looks at the text as it was, so a token that hangs on another one waits
for the next round. Two kinds can hang one on the other without end:

- A mention directly behind a word or number that goes. In "@b1:30@b2:30@b3"
  the "30" begins no number before "@b1" is gone, and "@b2" no mention before
  "30" is. Likewise "@b'the@c'the@d" where "the" is a stop word.
- A retweet mark within another: in 'RT "RT "RT @a@b@c' the marks go from the
  innermost to the outermost, each with a handle.

Two links are left to the rounds. Longer chains are mended here, before the
scan, in one pass over the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from skbert._cleaner.steps import PLAIN, Steps

__all__ = ["HANDLE", "QUOTES", "nested_marks", "part_mentions", "unnest_marks"]

HANDLE: Final = "[A-Za-z0-9_]+"
QUOTES: Final = "\"'“‘"

_MENTION = r"(?:@+[A-Za-z0-9_]++)++"
# The first character stands before what is asked of its neighbours, so that re skips what cannot begin a row.
_ROW = re.compile(rf"@(?<![\w@].)@*+[A-Za-z0-9_]++(?:{_MENTION})?+(?:[^\s@]++(?<=\w){_MENTION})++")
# What is behind the "@" belongs to a retweet mark if there is one before it: "'rt@c" is one thing.
_LINK = re.compile(rf"({_MENTION})([^\s@]*+(?:(?<=[^\w@][rR][tT])@+{HANDLE}[^\s@]*+)?+)")
_IS_FREE = re.compile(rf"(?:^|\W)(?<!\w[rR][tT]\s)(?<![rR][tT]\s)(?<![rR][tT]\s[{QUOTES}])@\Z")
_RUN = re.compile(r"(.)\1+")


def part_mentions(text: str, settle: Callable[[str], str], by: Steps = PLAIN) -> str:
    """Set a blank before each mention of a long chain, which is where cleaning would set one in the end.

    Parameters
    ----------
    text : str
        Any text.
    settle : callable
        From a piece of the chain to the same after all rounds of cleaning.
    by : Steps, default=PLAIN
        Does the change.

    Returns
    -------
    str
        The text with each mention of such a chain free of what stands before
        it, up to the first thing that stays and so keeps the rest of the row
        from being mentions.
    """

    def part(row: re.Match[str]) -> str:
        chain, parts, end = row.group(), [], 0
        while (link := _LINK.match(chain, end)) and link.end() < len(chain) and _IS_FREE.search(settle(link[2] + "@")):
            follower = _LINK.match(chain, link.end())
            if follower is None or not _waits(follower, settle):
                break
            parts.append(link.group())
            end = link.end()
        return " ".join([*parts, chain[end:]])

    return by.sub(_ROW, part, text) if text.count("@") > 1 else text


def _waits(link: re.Match[str], settle: Callable[[str], str]) -> bool:
    """Say whether a mention is still one when what stands before it is gone, unlike "@the" and "@http://a"."""
    handle = link[1]
    found = re.match(f"_({_MENTION})", settle("_" + link.group()))
    return found is not None and _RUN.sub(r"\1", found[1].lower()) == _RUN.sub(r"\1", handle.lower())


def nested_marks(*, keeps_mentions: bool, collapses_blanks: bool, has_words: bool) -> re.Pattern[str]:
    """Return the pattern of retweet marks within retweet marks, for `unnest_marks`.

    Parameters
    ----------
    keeps_mentions : bool
        Whether handles behind a blank are still there when the mark before
        them is gone. Handles that touch one another always are.
    collapses_blanks : bool
        Whether a blank may stand between a quotation mark and what follows.
    has_words : bool
        Whether words are tokens: then an apostrophe between letters belongs
        to the word.

    Returns
    -------
    re.Pattern
        Groups: the first marks but their handles, and the handles.
    """
    quote = "(?:[\"“‘]|(?<!\\w)'|'(?!\\w))" if has_words else f"[{QUOTES}]"
    blank = r"\s?" if collapses_blanks else ""
    # The handles are not asked for, so that a row of marks without any is read once and not once a mark.
    handles = rf"(?:\s?@+{HANDLE}(?:\s?:)?)" if keeps_mentions else f"(?:@+{HANDLE})"
    return re.compile(
        rf"([rR](?<!\w.)[tT](?:\s{{0,9}}{quote}{blank}(?i:rt)){{2,}}+)(?:\s{{0,9}}[{QUOTES}]?\s?(?=@)({handles}{{2,}}+))?+"
    )


def unnest_marks(text: str, nested: re.Pattern[str], by: Steps = PLAIN) -> str:
    """Take out retweet marks from within others, each with one handle, but for the outermost that has one.

    Parameters
    ----------
    text : str
        Any text.
    nested : re.Pattern
        What `nested_marks` returns.
    by : Steps, default=PLAIN
        Does the change.

    Returns
    -------
    str
        The text with at most one mark in each row that can go at once.
    """

    def unnest(row: re.Match[str]) -> str:
        if row[2] is None:
            return row.group()
        marks = [mark.start() for mark in re.finditer("(?i:rt)", row[1])]
        handles = [handle.start() for handle in re.finditer(f"@+{HANDLE}", row[2])]
        n_gone = min(len(marks), len(handles)) - 1
        return row[1][: marks[len(marks) - n_gone]] + row[2][handles[n_gone] :]

    if text.count("@") < 2 or sum(map(text.count, QUOTES)) < 2:
        return text
    return by.sub(nested, unnest, text)
