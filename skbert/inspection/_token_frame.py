"""TokenFrame: a DataFrame of pieces that prints as texts cut into them. Part of ``inspection``, below ``_tokens``."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from skbert.inspection._showing import escape, one_line, plain

__all__ = ["COLUMNS", "TokenFrame"]

# Each column with its dtype.
COLUMNS = {
    "row": "int64",
    "chunk": "int64",
    "position": "Int64",
    "piece": "object",
    "id": "int64",
    "attention_mask": "int64",
    "segment": "Int64",
    "side": "Int64",
    "start": "Int64",
    "end": "Int64",
    "text": "object",
    "special": "bool",
    "prompt": "bool",
    "unknown": "bool",
    "cut": "bool",
}
_WIDTH = 100
_SHOWN_TEXTS = 10  # of many
_SHOWN_CHUNKS = 3  # of each text
_HEAD, _TAIL = 60, 10  # pieces of each chunk
_UNKNOWN_WIDTH = 20
_MARK = "background:#fbe3cf;color:#1a1a1a;border-radius:3px;font-weight:bold"


class TokenFrame(pd.DataFrame):
    """What a model reads of texts: a DataFrame with one row a piece, and a print-out of its own.

    Made by :func:`tokenize`. What no longer holds whole texts, or has other
    columns, prints as any DataFrame.

    Parameters
    ----------
    data, index, columns, dtype, copy : object, default=None
        Those of a pandas DataFrame, for pandas' own use.

    Attributes
    ----------
    decoded : list of str of length n_texts, or None
        What is read of each text, special tokens included, turned back into
        text by the tokenizer; chunks one behind the other.
    max_length : int or None
        Tokens that a sequence may have, special ones counted.

    See Also
    --------
    tokenize : Make one.

    Examples
    --------
    >>> from skbert import BertEmbedder
    >>> from skbert.inspection import tokenize
    >>> tokens = tokenize(["A bat flew.", "Bats fly \U0001f987"], BertEmbedder("all-MiniLM-L6-v2"))
    >>> tokens.decoded[1]
    '[CLS] bats fly [UNK] [SEP]'
    >>> tokens[tokens["unknown"]][["row", "start", "end"]].to_numpy()
    array([[1, 9, 10]], dtype=object)
    """

    __module__ = "skbert.inspection"  # the name in pickles, which outlives the files here

    _metadata = ["decoded", "max_length", "_n_read"]  # noqa: RUF012
    decoded: list[str] | None = None
    max_length: int | None = None
    _n_read: list[int] | None = None  # tokens read of each text, which tell whether all of them are here

    @property
    def _constructor(self) -> type[TokenFrame]:
        return TokenFrame

    def __repr__(self) -> str:
        """Return the texts cut into their pieces; what no longer holds whole texts prints as any DataFrame."""
        if not self._is_whole():
            return super().__repr__()
        lines: list[str] = []
        for head, chunks, foot in self._shown():
            lines.append(head)
            for name, pieces in chunks:
                text = " ".join(piece for piece, _ in pieces)
                lines += _wrap(f"{name} {text}" if name else text)
            lines += _wrap(foot) if foot else []
        return "\n".join([*lines, *self._rest()])

    def _repr_html_(self) -> str | None:
        """Return the same as HTML, in which nothing of the user's data is markup."""
        if not self._is_whole() or not pd.get_option("display.notebook_repr_html"):
            return super()._repr_html_()  # type: ignore[misc]
        parts = []
        for head, chunks, foot in self._shown():
            shown = []
            for name, pieces in chunks:
                marked = [
                    f'<span style="{_MARK}">{escape(piece)}</span>' if is_unknown else escape(piece)
                    for piece, is_unknown in pieces
                ]
                shown.append(f"<code>{' '.join([*[escape(name)] * bool(name), *marked])}</code>")
            shown += [f"<i>{escape(foot)}</i>"] if foot else []
            parts.append(f"<p><b>{escape(head)}</b><br>{'<br>'.join(shown)}</p>")
        parts += [f"<p>{escape(line)}</p>" for line in self._rest()]
        return f"<div>{''.join(parts)}</div>"

    def _is_whole(self) -> bool:
        """Say whether this holds whole texts, as they are read: then a sentence about each of them is true."""
        if self.max_length is None or self._n_read is None or len(self) == 0:
            return False
        if {name: str(dtype) for name, dtype in self.dtypes.items()} != COLUMNS:
            return False
        rows, chunks = self["row"].to_numpy(), self["chunk"].to_numpy()
        is_read = ~self["cut"].to_numpy()
        if (np.diff(rows) < 0).any() or rows[0] < 0 or rows[-1] >= len(self._n_read):
            return False
        rows, chunks = rows[is_read], chunks[is_read]
        positions = _values(self["position"])[is_read]
        starts = np.flatnonzero(positions == 0)
        if len(starts) == 0 or starts[0] != 0:
            return False
        lengths = np.diff(np.append(starts, len(positions)))
        is_counted = (positions == np.arange(len(positions)) - np.repeat(starts, lengths)).all()
        there, counts = np.unique(rows, return_counts=True)
        is_complete = counts.tolist() == [self._n_read[row] for row in there.tolist()]
        first = np.append(True, np.diff(rows) > 0)[starts]  # sequences that begin a text
        is_in_order = (chunks[starts] == _count_up(first)).all()
        return bool(is_counted and is_complete and is_in_order and len(there) == len(np.unique(self["row"])))

    def _shown(self) -> Iterator[tuple[str, list[tuple[str, list[tuple[str, bool]]]], str]]:
        """Yield for each text that is shown a heading, its chunks with their pieces, and what was cut of it."""
        rows = self["row"].to_numpy()
        starts = np.flatnonzero(np.append(True, np.diff(rows) > 0))[: _SHOWN_TEXTS + 1]
        borders = [*starts[:_SHOWN_TEXTS].tolist(), starts[_SHOWN_TEXTS] if len(starts) > _SHOWN_TEXTS else len(rows)]
        for start, stop in itertools.pairwise(borders):
            part = {name: _values(self[name].iloc[start:stop]) for name in COLUMNS}
            is_cut = part["cut"]
            n_read = int((~is_cut).sum())
            n_chunks = int(part["chunk"].max()) + 1
            limit = f"of at most {self.max_length:,}"
            among = f" in {n_chunks:,} chunks {limit}" if n_chunks > 1 else f" {limit}"
            head = f"row {part['row'][0]}: {n_read:,} token{'' if n_read == 1 else 's'}{among}"
            chunks = []
            for number in range(min(n_chunks, _SHOWN_CHUNKS)):
                places = np.flatnonzero(~is_cut & (part["chunk"] == number))
                chunks.append((f"chunk {number}:" if n_chunks > 1 else "", _pieces(part, places)))
            if n_chunks > _SHOWN_CHUNKS:
                chunks.append((f"… and {n_chunks - _SHOWN_CHUNKS:,} more chunks", []))
            yield head, chunks, _tell_cut(part, np.flatnonzero(is_cut))

    def _rest(self) -> list[str]:
        more = self["row"].nunique() - _SHOWN_TEXTS
        return [f"… and {more:,} more text{'' if more == 1 else 's'}"] if more > 0 else []


def _values(column: pd.Series) -> np.ndarray:
    """Return the values of a column, -1 for <NA>."""
    return column.to_numpy(dtype=np.int64, na_value=-1) if column.dtype == "Int64" else column.to_numpy()


def _count_up(first: np.ndarray) -> np.ndarray:
    """Return 0, 1, 2 … that begins anew wherever `first` is true, which it is at the beginning."""
    places = np.arange(len(first))
    return places - np.maximum.accumulate(np.where(first, places, 0))


def _pieces(part: dict[str, np.ndarray], places: np.ndarray) -> list[tuple[str, bool]]:
    """Return pieces as they are shown, and whether they are unknown; of many the first and the last."""
    n_hidden = len(places) - _HEAD - _TAIL
    if n_hidden <= 1:
        return [_piece(part, place) for place in places]
    head, tail = places[:_HEAD], places[-_TAIL:]
    return [
        *(_piece(part, place) for place in head),
        (f"… ({n_hidden:,} more) …", False),
        *(_piece(part, place) for place in tail),
    ]


def _piece(part: dict[str, np.ndarray], place: Any) -> tuple[str, bool]:
    shown = plain(str(part["piece"][place]))
    if not part["unknown"][place]:
        return shown, False
    stands_for = one_line(str(part["text"][place]), _UNKNOWN_WIDTH)
    return f"{shown}‹{stands_for}›", True


def _tell_cut(part: dict[str, np.ndarray], places: np.ndarray) -> str:
    """Return how many pieces were cut, and which characters they stood for."""
    if len(places) == 0:
        return ""
    found = []
    for side in range(2):
        mine = places[(part["side"][places] == side) & (part["start"][places] >= 0)]
        if len(mine):
            of = f" of side {side}" if (part["side"] == 1).any() else ""
            start, end = part["start"][mine].min(), part["end"][mine].max()
            found.append(f"characters {start:,} to {end:,}{of}")
    where = f", {' and '.join(found)}" if found else ""
    return f"cut: {len(places):,} piece{'' if len(places) == 1 else 's'}{where}"


def _wrap(text: str) -> list[str]:
    indent = " " * 4
    return textwrap.wrap(
        text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )
