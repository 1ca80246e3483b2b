"""SequenceTable: the rows a model reads, in columns. Middle of the engine: integers only, no torch and no texts.

A hundred thousand small arrays cost more than the tokens in them, and every step on the way to the device would walk
through them one by one. So the sequences of a chunk of texts lie end to end in one array, and a batch is cut from it
by arithmetic.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Sequence as Rows

import numpy as np

from skbert._engine.pieces import Pieces
from skbert._engine.tokens import Sequence, Template, build_sequences

__all__ = ["SequenceTable", "tabulate"]


@dataclasses.dataclass(frozen=True)
class SequenceTable:
    """Sequences end to end.

    Attributes
    ----------
    ids : int32 ndarray of shape (n_tokens,)
    lengths : int64 ndarray of shape (n_sequences,)
        Tokens of each sequence.
    weights : int64 ndarray of shape (n_sequences,)
        Tokens of the text in each, without special ones.
    segments : int8 ndarray of shape (n_tokens,) or None
        None where all are 0.
    """

    ids: np.ndarray
    lengths: np.ndarray
    weights: np.ndarray
    segments: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def n_tokens(self) -> int:
        """Tokens of all sequences."""
        return len(self.ids)

    @functools.cached_property
    def starts(self) -> np.ndarray:
        """First token of each sequence."""
        return np.cumsum(self.lengths) - self.lengths

    @functools.cached_property
    def positions(self) -> np.ndarray:
        """Place of each token in its sequence, from 0."""
        return np.arange(self.n_tokens, dtype=np.int64) - np.repeat(self.starts, self.lengths)

    def take(self, places: np.ndarray) -> SequenceTable:
        """Return the sequences at `places`, in this order."""
        lengths = self.lengths[places]
        starts = np.cumsum(lengths) - lengths
        tokens = np.arange(lengths.sum()) + np.repeat(self.starts[places] - starts, lengths)
        segments = None if self.segments is None else self.segments[tokens]
        return SequenceTable(self.ids[tokens], lengths, self.weights[places], segments)

    @classmethod
    def of(cls, sequences: Rows[Sequence]) -> SequenceTable:
        """Lay `sequences` end to end."""
        lengths = np.array([len(sequence.ids) for sequence in sequences], dtype=np.int64)
        weights = np.array([sequence.weight for sequence in sequences], dtype=np.int64)
        ids = np.concatenate([np.empty(0, np.int32), *(sequence.ids for sequence in sequences)], dtype=np.int32)
        if all(sequence.segments is None for sequence in sequences):
            return cls(ids, lengths, weights)
        parts = [
            np.zeros(len(sequence.ids), np.int8) if sequence.segments is None else sequence.segments
            for sequence in sequences
        ]
        return cls(ids, lengths, weights, np.concatenate(parts))

    @classmethod
    def join(cls, tables: Rows[SequenceTable]) -> SequenceTable:
        """Return the sequences of several tables, one table after the other."""
        if len(tables) == 1:
            return tables[0]
        segments = None
        if any(table.segments is not None for table in tables):
            segments = np.concatenate(
                [np.zeros(table.n_tokens, np.int8) if table.segments is None else table.segments for table in tables]
            )
        ids, lengths, weights = (
            np.concatenate([getattr(table, name) for table in tables]) for name in ("ids", "lengths", "weights")
        )
        return cls(ids, lengths, weights, segments)


def tabulate(
    firsts: Rows[Pieces],
    seconds: Rows[Pieces | None],
    template: Template,
    max_length: int,
    long_texts: str,
    rows: np.ndarray | None = None,
) -> tuple[SequenceTable, np.ndarray, np.ndarray]:
    """Put special tokens around the pieces of texts and pairs, and fit them into `max_length`.

    Parameters
    ----------
    firsts, seconds : sequences of lists or arrays of int, of shape (n_texts,)
        Pieces of each text, or of the two sides; None in `seconds` is one text.
    template : Template
    max_length : int
        Tokens, special ones counted.
    long_texts : {'truncate', 'head_tail', 'chunk'}
        See BertEmbedder.
    rows : int ndarray of shape (n_texts,) or None, default=None
        The rows of X that the texts are, for error messages.

    Returns
    -------
    table : SequenceTable
    owners : intp ndarray of shape (n_sequences,)
        The text that each sequence is of; a text has several under "chunk".
    n_cut : int64 ndarray of shape (n_texts,)
        Pieces of each text that are in no sequence.
    """
    counts = np.fromiter(map(len, firsts), dtype=np.int64, count=len(firsts))
    room = max_length - template.n_special
    n_cut = np.maximum(counts - room, 0)
    plain = long_texts == "truncate" or not n_cut.any()
    if plain and all(second is None for second in seconds):
        if n_cut.any():
            firsts = [pieces if len(pieces) <= room else pieces[:room] for pieces in firsts]
        return _frame(firsts, counts - n_cut, template), np.arange(len(firsts)), n_cut
    made = [
        build_sequences(first, second, template, max_length, long_texts, None if rows is None else int(rows[place]))
        for place, (first, second) in enumerate(zip(firsts, seconds, strict=True))
    ]
    table = SequenceTable.of([sequence for sequences, _ in made for sequence in sequences])
    owners = np.repeat(np.arange(len(made)), [len(sequences) for sequences, _ in made])
    return table, owners, np.array([cut for _, cut in made], dtype=np.int64)


def _frame(pieces: Iterable[Pieces], counts: np.ndarray, template: Template) -> SequenceTable:
    """Put the special tokens around single texts that fit, all at once: `build_sequences` for the common case."""
    before, after = template.single
    lengths = counts + template.n_special
    ends = np.cumsum(lengths)
    ids = np.empty(int(ends[-1]) if len(ends) else 0, dtype=np.int32)
    inside = np.ones(len(ids), dtype=bool)
    for offset, token in enumerate(before):
        places = ends - lengths + offset
        ids[places], inside[places] = token, False
    for offset, token in enumerate(after):
        places = ends - len(after) + offset
        ids[places], inside[places] = token, False
    ids[inside] = np.fromiter(itertools.chain.from_iterable(pieces), dtype=np.int32, count=int(counts.sum()))
    return SequenceTable(ids, lengths, counts)
