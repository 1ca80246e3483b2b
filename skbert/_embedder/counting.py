"""How many tokens texts have for an embedder, by its tokenizer alone. Part of ``_embedder``, beside ``plan``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from skbert._embedder.plan import prompt_of, token_limit
from skbert._engine.pieces import PieceMaker
from skbert._engine.room import check_room
from skbert._params import check_params

__all__ = ["TokenCounts", "count_tokens"]

# Texts, and characters, whose ids are held at once.
_TEXTS, _CHARS = 2_048, 1_000_000


class TokenCounts(NamedTuple):
    """What a tokenizer makes of texts; each array has one number a text.

    `pieces` are those of the text with its prompt, special tokens not counted;
    `cut` and `unknown` are those among them that the model does not read, and
    that stand for what the tokenizer does not know. `max_length` counts the
    `n_special` special tokens.
    """

    pieces: np.ndarray
    cut: np.ndarray
    unknown: np.ndarray
    max_length: int
    n_special: int


def count_tokens(embedder: Any, items: Sequence[str | tuple[str, str]]) -> TokenCounts:
    """Return how many tokens each text has, and how many of them `embedder` would cut off or not know.

    Loads the tokenizer and no weights, of which only the checksum is
    computed, once a process; what has been counted is not kept.

    Parameters
    ----------
    embedder : BertEmbedder
        Its `model`, `max_length`, `long_texts` and `prompt` count.
    items : sequence of str or of tuple of two str
        Copies are tokenised once.

    Returns
    -------
    TokenCounts

    Raises
    ------
    ModelNotFoundError, ModelFilesError
        The model cannot be had, or its files cannot be used.
    FingerprintError
        The embedder was fitted with other weights.
    """
    check_params(embedder)
    files = embedder._resolve()
    max_length, prompt = token_limit(embedder, files), prompt_of(embedder, files)
    from skbert._engine.loading import load_tokenizer_and_unknown, probe_template  # transformers takes a second

    backend, unknown_id = load_tokenizer_and_unknown(files)
    template = probe_template(backend, files)
    different = {item: place for place, item in enumerate(dict.fromkeys(items))}
    has_pairs = any(not isinstance(item, str) for item in different)
    n_special = check_room(max_length, template, has_pairs=has_pairs, estimator=type(embedder).__name__)

    make_pieces = PieceMaker(backend, files.settings.lowercase)
    counts = np.zeros((2, len(different)), dtype=np.int64)
    for places, texts in _portions(different, prompt):
        ids = make_pieces(texts)
        np.add.at(counts[0], places, [len(pieces) for pieces in ids])
        if unknown_id is not None:
            np.add.at(counts[1], places, [pieces.count(unknown_id) for pieces in ids])
    rows = np.fromiter((different[item] for item in items), dtype=np.intp, count=len(items))
    pieces, unknown = counts[:, rows]
    cut = np.maximum(pieces - (max_length - n_special), 0)
    if embedder.long_texts == "chunk" and not has_pairs:
        cut[:] = 0  # every token is in some chunk
    return TokenCounts(pieces, cut, unknown, max_length, n_special)


def _portions(items: dict[Any, int], prompt: str) -> Iterator[tuple[list[int], list[str]]]:
    """Yield the sides of the texts, a portion at a time, and for each the place of its text."""
    places: list[int] = []
    sides: list[str] = []
    n_chars = 0
    for item, place in items.items():
        # The prompt stands before a text, and before the first of a pair.
        first, *rest = (item,) if isinstance(item, str) else item
        for side in (prompt + first, *rest):
            places.append(place)
            sides.append(side)
            n_chars += len(side)
        if len(sides) >= _TEXTS or n_chars >= _CHARS:
            yield places, sides
            places, sides, n_chars = [], [], 0
    if sides:
        yield places, sides
