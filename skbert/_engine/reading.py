"""What a model reads of a text, piece by piece, and where in the text each piece stands. Upper part of the engine.

The way to vectors needs ids only, and asks the tokenizer for nothing else. Here the offsets are asked for too. Which
pieces are read and which are cut is decided by the same code (`build_sequences`), run over the numbers of the pieces.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from array import array
from collections.abc import Sequence as Rows
from typing import Any

import numpy as np

from skbert._engine.loading import load_tokenizer_and_unknown, probe_template
from skbert._engine.normal import BLANK_SIGN, NormalText, before_lowering
from skbert._engine.pieces import PieceMaker
from skbert._engine.room import check_room
from skbert._engine.sources import ModelFiles
from skbert._engine.table import SequenceTable
from skbert._engine.tokens import Sequence, Template, build_sequences

__all__ = ["ReadSequence", "Reader", "Reading"]

Text = str | tuple[str, str]
_TRIMMED = 65_536  # spans at a time


@dataclasses.dataclass(frozen=True)
class ReadSequence:
    """One row for the model: a text, a pair, or a chunk of a text.

    Attributes
    ----------
    places : int64 ndarray of shape (n_tokens,)
        The piece that each token is; -1 for special tokens.
    ids : int32 ndarray of shape (n_tokens,)
    segments : int8 ndarray of shape (n_tokens,)
    weight : int
        Tokens of the text in it.
    """

    places: np.ndarray
    ids: np.ndarray
    segments: np.ndarray
    weight: int


@dataclasses.dataclass(frozen=True)
class Reading:
    """One text or pair as a model reads it.

    Attributes
    ----------
    ids : int32 ndarray of shape (n_pieces,)
        Of all pieces in reading order, also of those that are cut; special
        tokens aside.
    sides : int8 ndarray of shape (n_pieces,)
        0, or 1 for the second text of a pair.
    spans : int64 ndarray of shape (n_pieces, 2)
        Characters [start, end) of that side's text. White space around a
        piece is left out, so that a piece of white space has none; marks that
        the tokenizer drops behind a character belong to it. A piece of the
        prompt has (0, 0).
    in_prompt : bool ndarray of shape (n_pieces,)
    sequences : list of ReadSequence
        One, or several under "chunk".
    """

    ids: np.ndarray
    sides: np.ndarray
    spans: np.ndarray
    in_prompt: np.ndarray
    sequences: list[ReadSequence]

    @property
    def n_cut(self) -> int:
        """Pieces that are in no sequence."""
        read = {int(place) for sequence in self.sequences for place in sequence.places if place >= 0}
        return len(self.ids) - len(read)

    def table(self) -> SequenceTable:
        """Return the sequences as an encoder takes them."""
        return SequenceTable.of(
            [Sequence(one.ids, one.segments if one.segments.any() else None, one.weight) for one in self.sequences]
        )


class Reader:
    """A model's tokenizer, asked for places as well.

    Parameters
    ----------
    files : ModelFiles

    Attributes
    ----------
    backend : tokenizers.Tokenizer
    unknown_id : int or None
        Of the piece that stands for what the tokenizer does not know.
    template : Template
    """

    def __init__(self, files: ModelFiles) -> None:
        self.backend, self.unknown_id = load_tokenizer_and_unknown(files)
        self.template: Template = probe_template(self.backend, files)
        self._lowercase = files.settings.lowercase
        self._maker = PieceMaker(self.backend)

    def piece(self, number: int) -> str:
        """Return a piece by its id, as the vocabulary writes it."""
        return self.backend.id_to_token(number) or ""

    def decode(self, ids: Rows[int]) -> str:
        """Return ids, special ones too, as text."""
        return self.backend.decode(list(map(int, ids)), skip_special_tokens=False)

    def normal(self, text: str) -> NormalText:
        """Return a text, without any prompt, as the tokenizer has it before it makes pieces of it."""
        return NormalText(text, self.backend.normalizer, self._lowercase)

    def read(
        self, items: Rows[Text], *, prompt: str, max_length: int, long_texts: str, estimator: str = "BertEmbedder"
    ) -> list[Reading]:
        """Tokenise texts and pairs.

        Parameters
        ----------
        items : sequence of str or tuple of two str
        prompt : str
            Put before each text, and before the first of a pair.
        max_length : int
            Tokens a sequence, special ones counted.
        long_texts : {'truncate', 'head_tail', 'chunk'}
            See BertEmbedder.
        estimator : str
            Who asks, for error messages.

        Returns
        -------
        list of Reading, of length n_items
        """
        for has_pairs in {not isinstance(item, str) for item in items}:
            check_room(max_length, self.template, has_pairs=has_pairs, estimator=estimator)
        return [self._read(row, item, prompt, max_length, long_texts) for row, item in enumerate(items)]

    def _read(self, row: int, item: Text, prompt: str, max_length: int, long_texts: str) -> Reading:
        first, *rest = (item,) if isinstance(item, str) else item
        ids: list[np.ndarray] = []
        spans: list[np.ndarray] = []
        asides: list[np.ndarray] = []
        for text, before in ((first, prompt), *((second, "") for second in rest)):
            pieces, offsets = self._pieces(before + text)
            ids.append(pieces)
            asides.append(offsets[:, 1] <= len(before) if before else np.zeros(len(offsets), dtype=bool))
            spans.append(_trim(text, np.maximum(offsets - len(before), 0)))
        counts = list(map(len, ids))
        numbers = array("i", range(sum(counts)))
        second_numbers = numbers[counts[0] :] if rest else None
        made, _ = build_sequences(numbers[: counts[0]], second_numbers, self._coded, max_length, long_texts, row)
        all_ids = np.concatenate(ids)
        return Reading(
            all_ids,
            np.repeat(np.arange(len(counts), dtype=np.int8), counts),
            np.concatenate(spans),
            np.concatenate(asides),
            [_decoded(sequence, all_ids) for sequence in made],
        )

    def _pieces(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids of a text's pieces and their characters, (n_pieces, 2)."""
        ids, offsets = [np.empty(0, np.int32)], [np.empty((0, 2), np.int64)]
        start = 0
        for part in self._maker.parts(text.lower() if self._lowercase else text):
            encoding = self.backend.encode(part, add_special_tokens=False)
            ids.append(np.array(encoding.ids, dtype=np.int32))
            found = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
            offsets.append(_without_blank_signs(encoding.tokens, found) + start)
            start += len(part)
        places = np.concatenate(offsets)
        return np.concatenate(ids), before_lowering(text, places) if self._lowercase else places

    @property
    def _coded(self) -> Template:
        """The template with -1 - id for each special token, so that it can't be taken for the number of a piece."""
        single, pair, segments = self.template

        def code(part: list[int]) -> list[int]:
            return [-1 - token for token in part]

        return Template((code(single[0]), code(single[1])), (code(pair[0]), code(pair[1]), code(pair[2])), segments)


def _decoded(sequence: Sequence, ids: np.ndarray) -> ReadSequence:
    """Return a sequence over the numbers of pieces as one of ids."""
    numbers = sequence.ids.astype(np.int64)
    is_special = numbers < 0
    out = np.where(is_special, -1 - numbers, 0)
    out[~is_special] = ids[numbers[~is_special]]
    segments = np.zeros(len(numbers), dtype=np.int8) if sequence.segments is None else sequence.segments
    return ReadSequence(np.where(is_special, -1, numbers), out.astype(np.int32), segments, sequence.weight)


def _without_blank_signs(pieces: Rows[str], offsets: np.ndarray) -> np.ndarray:
    """Give pieces that stand for a blank before a word, and are said to stand at its first character, no character."""
    same_start = np.append(offsets[1:, 0] == offsets[:-1, 0], False)[: len(offsets)]
    is_blank = np.array([piece == BLANK_SIGN for piece in pieces], dtype=bool) & same_start
    offsets[is_blank, 1] = offsets[is_blank, 0]
    return offsets


def _trim(text: str, offsets: np.ndarray) -> np.ndarray:
    """Leave white space around pieces out of their spans, and take marks in that belong to their last character."""
    for first in range(0, len(offsets), _TRIMMED):  # each pair of Python's own numbers is many times those of numpy
        _trim_part(text, offsets[first : first + _TRIMMED], offsets[first + _TRIMMED : first + _TRIMMED + 1])
    return offsets


def _trim_part(text: str, offsets: np.ndarray, behind: np.ndarray) -> None:
    spans: Any = offsets.tolist()
    stop = int(behind[0, 0]) if len(behind) else len(text)
    for k, (start, end) in enumerate(spans):
        while start < end and text[start].isspace():
            start += 1
        while end > start and text[end - 1].isspace():
            end -= 1
        following = spans[k + 1][0] if k + 1 < len(spans) else stop
        while start < end < following and _joins(text[end]):
            end += 1
        spans[k] = [start, end]
    offsets[:] = np.array(spans, dtype=np.int64).reshape(-1, 2)


def _joins(char: str) -> bool:
    """Say whether normalisation may make one character of this and the one before: a mark, or a Hangul vowel or end."""
    return unicodedata.category(char)[0] == "M" or "\u1160" <= char <= "\u11ff"
