"""From texts to word pieces: the tokenizer called with so much at a time that its memory is bounded. Lower engine.

A tokenizer's own records of a text are fifty times the ids that come out of it. So many texts go through it a portion
at a time, and so does one very long text, cut at white space, where its kind of tokenizer cannot notice the cut.
"""

from __future__ import annotations

import functools
import json
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence as Rows
from typing import Any, TypeAlias

__all__ = ["PieceMaker", "Pieces"]

# The ids of a text; those of a long one without a Python object for each.
Pieces: TypeAlias = "list[int] | array[int]"

_CHARS = 500_000  # a call of the tokenizer: some 40 MB of its own records
_TEXTS = 2_048
_LONG = 50_000  # characters of a text that is cut, and of its parts, several of which are tokenised in parallel
# A space or newline that stands behind something else. What stands there must not stick to the space: the signs left
# out are those that Unicode prepends to what follows.
_CUT = re.compile("(?<=[^\\s\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u0d4e\U00010000-\U0010ffff])[ \n]")

# Normalizers that work sign by sign, or on a sign and its accents, of which a space is none; and pre-tokenizers that
# end a word before white space, whatever comes after it.
_BY_SIGN = {"NFC", "NFD", "Lowercase"}
_BY_SIGN_OR_TO_SPACE = {*_BY_SIGN, "BertNormalizer", "NFKC", "NFKD", "StripAccents", "Precompiled"}
_SPLITS = {"BertPreTokenizer", "WhitespaceSplit"}
_AFTER_SPLIT = {"Punctuation", "Digits", *_SPLITS}


class PieceMaker:
    """A tokenizer that returns ids of word pieces, without special tokens.

    Parameters
    ----------
    backend : tokenizers.Tokenizer
    lowercase : bool, default=False
        Whether texts are made lower case first.
    """

    def __init__(self, backend: Any, lowercase: bool = False) -> None:
        self._backend, self._lowercase = backend, lowercase

    def __call__(self, texts: Rows[str]) -> list[Pieces]:
        """Return the ids of the word pieces of each text, of any length."""
        if self._lowercase:
            texts = [text.lower() for text in texts]  # as a whole: a sigma at a word's end has its own form
        sizes = list(map(len, texts))
        if len(texts) <= _TEXTS and sum(sizes) <= _CHARS and max(sizes, default=0) <= _LONG:
            return self._encode(texts)
        made: list[Pieces] = []
        for portion in _portions((row, part) for row, text in enumerate(texts) for part in self.parts(text)):
            found = self._encode([part for _, part in portion])
            for (row, _), pieces in zip(portion, found, strict=True):
                if row < len(made):
                    made[row].extend(pieces)
                else:
                    made.append(pieces if sizes[row] <= _LONG else array("i", pieces))
        return made

    @functools.cached_property
    def can_cut(self) -> bool:
        """Whether the pieces of a text are those of its parts, cut before white space, for this kind of tokenizer."""
        return can_cut(self._backend)

    def _encode(self, texts: Rows[str]) -> list[Pieces]:
        return [encoding.ids for encoding in self._backend.encode_batch_fast(texts, add_special_tokens=False)]

    def parts(self, text: str) -> Iterator[str]:
        """Yield a text whole, a long one in parts of `_LONG` characters and up to the next place to cut."""
        start = 0
        while len(text) - start > _LONG and self.can_cut:
            cut = _CUT.search(text, start + _LONG)
            if cut is None:
                break
            yield text[start : cut.start()]
            start = cut.start()
        yield text[start:]


def _portions(parts: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """Yield the parts in lists of bounded size."""
    portion: list[tuple[int, str]] = []
    n_chars = 0
    for row, part in parts:
        if portion and (len(portion) == _TEXTS or n_chars + len(part) > _CHARS):
            yield portion
            portion, n_chars = [], 0
        portion.append((row, part))
        n_chars += len(part)
    if portion:
        yield portion


def can_cut(backend: Any) -> bool:
    """Say whether the pieces of any text are those of its parts, cut before white space that stands behind a word.

    By the kinds of the tokenizer's steps. Two ways are known not to notice:
    words are split off at white space, which itself is dropped (BERT and its
    like, XLM-R); or white space begins what comes after it (byte-level pairs,
    as of RoBERTa and ModernBERT). Whatever else there is may.
    """
    for token in backend.get_added_tokens_decoder().values():
        # They are found first. None may reach over a cut, or take the space behind it.
        if token.rstrip or not token.content.isascii() or any(sign.isspace() for sign in token.content):
            return False
    if backend.pre_tokenizer is None:
        return False
    kinds = {step["type"] for step in _steps(backend.normalizer, "normalizers")}
    first, *rest = _steps(backend.pre_tokenizer, "pretokenizers")
    if first["type"] in _SPLITS:
        return kinds <= _BY_SIGN_OR_TO_SPACE and all(
            step["type"] in _AFTER_SPLIT or (step["type"] == "Metaspace" and step["prepend_scheme"] != "first")
            for step in rest
        )
    return first["type"] == "ByteLevel" and bool(first.get("use_regex")) and not rest and kinds <= _BY_SIGN


def _steps(part: Any, name: str) -> list[dict[str, Any]]:
    """Return the settings of a part of a tokenizer, of a sequence those of its steps."""
    if part is None:
        return []
    try:
        settings = json.loads(part.__getstate__())
    except Exception:  # written in Python, which has no settings to read
        return [{"type": "unknown"}]
    if settings["type"] != "Sequence":
        return [settings]
    return [step for inner in settings[name] for step in (inner.get(name) or [inner])]
