"""What an embedder's tokenizer makes of the texts. Part of ``_report``; loads no weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from skbert._embedder import BertEmbedder
from skbert._embedder.counting import TokenCounts, count_tokens
from skbert._report.findings import Finding
from skbert._texts import Item, check_texts

__all__ = ["about_tokens"]


def about_tokens(X: Any, items: list[Item], embedder: BertEmbedder, before: list[Any]) -> Iterator[Finding]:
    """Yield what `max_length` cuts and what the tokenizer does not know.

    Parameters
    ----------
    X : as the user gave it
        For the steps of a pipeline.
    items : list of str, tuple of two str or None
        The texts of X; those that are missing are left out.
    embedder : BertEmbedder
    before : list of transformers
        What the texts go through before they are embedded.
    """
    if before:
        for step in before:
            X = step.transform(X)
        items = check_texts(X, missing="keep", estimator="text_report", is_transformer=False).items
    rows = np.array([row for row, item in enumerate(items) if item is not None], dtype=np.intp)
    counts = count_tokens(embedder, [item for item in items if item is not None])
    yield _longest(rows, counts)
    cut, pieces = rows[counts.cut > 0], int(counts.pieces.sum())
    yield Finding("texts cut", len(cut), len(rows), "texts", cut)
    what = (
        f"Beyond max_length={counts.max_length} the embedder reads nothing. long_texts='chunk' reads all, 'head_tail' "
        "the beginning and the end, and TextCleaner makes texts shorter."
    )
    yield Finding("tokens cut", int(counts.cut.sum()), pieces, "tokens", cut, what if len(cut) else "")
    unknown = rows[counts.unknown > 0]
    what = "The tokenizer has no pieces for something here, often emoji or another script: TextCleaner names emoji."
    yield Finding("unknown pieces", int(counts.unknown.sum()), pieces, "tokens", unknown, what if len(unknown) else "")


def _longest(rows: np.ndarray, counts: TokenCounts) -> Finding:
    """Return the finding of the text that needs the greatest max_length, and how long that would have to be."""
    if len(rows) == 0:
        return Finding("longest text, in tokens", 0, None, "tokens")
    place = int(counts.pieces.argmax())
    return Finding(
        "longest text, in tokens", int(counts.pieces[place]) + counts.n_special, None, "tokens", rows[[place]]
    )
