"""The changes that cleaning is made of, as they are where nobody asks what came from what. Under ``rules``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from skbert._cleaner.encoding import fix_encoding

__all__ = ["PLAIN", "Steps"]


class Steps:
    """From a text to the text after one change.

    All changes of a text go through one of these methods, so that there is one
    copy of the rules: `~skbert._cleaner.tracing.Tracer` overrides them, returns
    the same texts, and keeps account beside.
    """

    __slots__ = ()

    def sub(self, pattern: re.Pattern[str], handler: Callable[[re.Match[str]], str], text: str) -> str:
        """Return the text with what the handler makes of each match."""
        return pattern.sub(handler, text)

    def lower(self, text: str) -> str:
        """Return the text in lower case."""
        return text.lower()

    def collapse(self, text: str) -> str:
        """Return the text with one blank for each run of white space, and none at the ends."""
        return " ".join(text.split())

    def fix_encoding(self, text: str) -> str:
        """Return the text as ftfy mends it."""
        return fix_encoding(text)

    def chars(self, text: str) -> list[str]:
        """Return the characters of a text that is about to be read one by one, for `spell` and `join`."""
        return list(text)

    def spell(self, word: str, chars: Sequence[str]) -> Sequence[str]:
        """Return the characters of a word that takes the place of these."""
        return word

    def join(self, chars: Sequence[str]) -> str:
        """Return the text that has become of that of `chars`."""
        return "".join(chars)


PLAIN: Final = Steps()
