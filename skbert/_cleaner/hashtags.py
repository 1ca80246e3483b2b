"""The words of a hashtag. Lowest file of ``_cleaner``: imports nothing of skbert."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["MARKS", "split_hashtag"]

# \w leaves out the combining marks, of which Hindi and Thai words are full; re has no class for them.
MARKS = "".join(char for char in map(chr, range(0x300, 0xFFFF)) if unicodedata.category(char)[0] == "M")
"""The combining marks of the basic plane, to stand within brackets of a regular expression."""

# re has no classes for upper and lower case either. Outside ASCII one character of each kind stands for all.
_STANDS_FOR = {"Lu": "À", "Lt": "À", "Ll": "à", "Nd": "0", "Mn": "\u0300", "Mc": "\u0300", "Me": "\u0300"}
_CASELESS = "ー"

# In "GOPDebate" and "GOPdebate" a word begins at the last capital or after it. It is the last capital where an
# English word can begin so ("De"), and the letter after it where none can ("Pd").
_BEGINNING = (
    "(?:[AEIOUÀ][a-zà]|[A-Z][aeiouyà]"
    "|B[lr]|C[hlr]|D[rw]|F[lr]|G[hlnr]|K[hlnr]|P[hlrs]|Qu|Rh|S[chklmnpqtw]|T[hrw]|W[hr])"
)
_WORDS = re.compile(
    "[A-ZÀ]{2,}s(?![a-zà])"  # BATs
    "|[A-ZÀ]{2,}+(?=(?:(?<!F)or|of|vs)(?![a-zà]))"  # KKK of KKKorGOP
    f"|[A-ZÀ]+(?={_BEGINNING})"  # GOP of GOPDebate, A of NeverTrustABush
    "|[A-ZÀ]{2,}+"  # GOP of GOPdebate
    "|[A-ZÀ]?[a-zà\u0300]++"  # Debate, debate
    "|[A-ZÀ]"
    "|[0-9]++(?:(?:st|nd|rd|th)(?![a-zà]))?"  # 2016, 2nd
    f"|{_CASELESS}[{_CASELESS}\u0300]*+"
)


def split_hashtag(word: str) -> str:
    """Set blanks between the words of a hashtag.

    Parameters
    ----------
    word : str
        Letters, digits, marks and underscores, without the "#".

    Returns
    -------
    str
        The same without underscores, split where the case changes, where
        letters meet digits, and at underscores.

    Examples
    --------
    >>> split_hashtag("GOPDebate2016"), split_hashtag("GOPdebate"), split_hashtag("2ndAmendment_now")
    ('GOP Debate 2016', 'GOP debate', '2nd Amendment now')
    """
    if word.isascii():
        return " ".join(_WORDS.findall(word))
    skeleton = "".join(
        char if char.isascii() else _STANDS_FOR.get(unicodedata.category(char), _CASELESS) for char in word
    )
    return " ".join(word[match.start() : match.end()] for match in _WORDS.finditer(skeleton))
