"""From word pieces to the sequences a model reads: special tokens, segments, and what long texts get.

Pure integers: no torch and no texts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from skbert._engine.pieces import Pieces
from skbert.exceptions import TextInputError

__all__ = ["Sequence", "Template", "build_sequences"]

# Sun et al. (2019) keep 128 head and 382 tail tokens of 510: a quarter of the room for the head.
_HEAD_SHARE = 128 / 510
_OVERLAP_SHARE = 1 / 8  # of the room, what two neighbouring chunks have in common at least


class Sequence(NamedTuple):
    """One row for the model.

    `ids` are int32; `segments` are int8, or None where all are 0; `weight` is
    the number of tokens of the text in it, for chunks that are averaged.
    """

    ids: np.ndarray
    segments: np.ndarray | None
    weight: int


class Template(NamedTuple):
    """The special tokens that a tokenizer puts around a text and around a pair, with their segments."""

    single: tuple[list[int], list[int]]
    pair: tuple[list[int], list[int], list[int]]
    pair_segments: tuple[list[int], int, list[int], int, list[int]]

    @classmethod
    def probe(cls, backend: Any, word: str) -> Template:
        """Read the template off a tokenizer, by what it makes of `word`, which must give a piece of its own."""
        single = backend.encode(word)
        places = [k for k, side in enumerate(single.sequence_ids) if side == 0]
        pair = backend.encode(word, word)
        first = [k for k, side in enumerate(pair.sequence_ids) if side == 0]
        second = [k for k, side in enumerate(pair.sequence_ids) if side == 1]
        ids, segments = pair.ids, pair.type_ids
        return cls(
            (single.ids[: places[0]], single.ids[places[-1] + 1 :]),
            (ids[: first[0]], ids[first[-1] + 1 : second[0]], ids[second[-1] + 1 :]),
            (
                segments[: first[0]],
                segments[first[0]],
                segments[first[-1] + 1 : second[0]],
                segments[second[0]],
                segments[second[-1] + 1 :],
            ),
        )

    @property
    def n_special(self) -> int:
        """Special tokens around one text."""
        return sum(map(len, self.single))

    @property
    def n_special_pair(self) -> int:
        """Special tokens around a pair."""
        return sum(map(len, self.pair))


def build_sequences(
    first: Pieces,
    second: Pieces | None,
    template: Template,
    max_length: int,
    long_texts: str,
    row: int | None = None,
) -> tuple[list[Sequence], int]:
    """Put special tokens around the pieces of one text or pair, and fit it into `max_length`.

    Parameters
    ----------
    first, second : list or array of int
        Pieces of the text, or of the two sides; `second` is None for one text.
    template : Template
    max_length : int
        Tokens, special ones counted.
    long_texts : {'truncate', 'head_tail', 'chunk'}
        See BertEmbedder.
    row : int or None, default=None
        The row of X that the text is, for error messages.

    Returns
    -------
    sequences : list of Sequence
        One, or several under "chunk".
    n_cut : int
        Pieces that are in none of them.
    """
    if second is not None:
        return _build_pair(first, second, template, max_length, long_texts, row)
    before, after = template.single
    room = max_length - template.n_special
    if len(first) <= room:
        return [Sequence(_ids(before, first, after), None, len(first))], 0
    if long_texts == "chunk":
        windows = _windows(len(first), room)
        return [Sequence(_ids(before, first[start : start + room], after), None, room) for start in windows], 0
    kept = _shorten(first, room, long_texts)
    return [Sequence(_ids(before, kept, after), None, room)], len(first) - room


def _build_pair(
    first: Pieces, second: Pieces, template: Template, max_length: int, long_texts: str, row: int | None
) -> tuple[list[Sequence], int]:
    room = max_length - template.n_special_pair
    cut = max(0, len(first) + len(second) - room)
    if cut and long_texts == "chunk":
        msg = (
            f"long_texts='chunk' takes single texts, and {'a pair' if row is None else f'the pair in row {row} of X,'} "
            f"of {len(first)} and {len(second)} tokens, is longer than the {room} that max_length={max_length} leaves. "
            "Use long_texts='head_tail' or 'truncate' for pairs."
        )
        raise TextInputError(msg)
    if cut:
        n_first, n_second = _longest_first(len(first), len(second), room)
        first, second = _shorten(first, n_first, long_texts), _shorten(second, n_second, long_texts)
    before, between, after = template.pair
    marks_before, mark_first, marks_between, mark_second, marks_after = template.pair_segments
    segments = [
        *marks_before,
        *[mark_first] * len(first),
        *marks_between,
        *[mark_second] * len(second),
        *marks_after,
    ]
    ids = _ids(before, first, between, second, after)
    marked = np.array(segments, dtype=np.int8) if any(segments) else None
    return [Sequence(ids, marked, len(first) + len(second))], cut


def _ids(*parts: Pieces) -> np.ndarray:
    return np.array([piece for part in parts for piece in part], dtype=np.int32)


def _shorten(pieces: Pieces, room: int, long_texts: str) -> Pieces:
    if long_texts != "head_tail" or len(pieces) <= room:
        return pieces[:room]
    head = round(room * _HEAD_SHARE)
    kept = pieces[:head]
    kept.extend(pieces[len(pieces) - (room - head) :])
    return kept


def _longest_first(n_first: int, n_second: int, room: int) -> tuple[int, int]:
    """Return how much of each side stays: the longer side gives way first, then both, as transformers does."""
    shorter, longer = sorted((n_first, n_second))
    longer = max(shorter, room - shorter)
    if shorter + longer > room:
        shorter = room // 2
        longer = shorter + room % 2
    return (shorter, longer) if n_first <= n_second else (longer, shorter)


def _windows(length: int, room: int) -> list[int]:
    """Return where chunks of `room` pieces begin: evenly spaced, so that none is a short rest."""
    step = max(1, room - int(room * _OVERLAP_SHARE))
    count = 1 + -(-(length - room) // step)
    return [round(k * (length - room) / (count - 1)) for k in range(count)]
