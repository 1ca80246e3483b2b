"""tokenize: what a model reads of texts, piece by piece, as a DataFrame. Part of ``inspection``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skbert._embedder.reading import TextReader
from skbert.inspection._subject import Origin, Subject
from skbert.inspection._token_frame import COLUMNS, TokenFrame

if TYPE_CHECKING:  # it imports transformers, which takes a second
    from skbert._engine.reading import Reader, Reading

__all__ = ["tokenize"]


def tokenize(X: Any, embedder: Any) -> TokenFrame:
    """Show what a model reads of texts, piece by piece.

    Parameters
    ----------
    X : array-like of str, or of pairs of str
        All that :meth:`~skbert.BertEmbedder.transform` takes.
    embedder : BertEmbedder, BertSentimentClassifier or Pipeline
        Fitted or not. A pipeline may have TextCleaners before the embedder.

    Returns
    -------
    TokenFrame
        A DataFrame with one row a piece, in the order in which the model
        reads them; behind those of each text the pieces that were cut, in
        reading order. Columns:

        - row (int): the row of X, from 0.
        - chunk (int): the sequence that the piece is in, from 0; more than one
          only under ``long_texts="chunk"``, where a piece may be in several.
        - position (int): the place in the sequence, special tokens counted;
          ``<NA>`` for what is cut.
        - piece (str): as the vocabulary writes it.
        - id (int): its number there.
        - attention_mask (int): 1 for what is read, 0 for what is cut. The
          model gets no padding, so that there is none to be masked.
        - segment (int): 0 or 1, what BERT calls token type ids; ``<NA>`` for
          what is cut.
        - side (int): 0, or 1 for the second text of a pair; ``<NA>`` for
          special tokens.
        - start, end (int): the characters of the text in X, before any
          cleaning, that became the piece; white space around them is left
          out. ``<NA>`` for special tokens and pieces of the prompt.
        - text (str): those characters; empty where there are none.
        - special (bool): put around texts by the tokenizer, as [CLS] and [SEP].
        - prompt (bool): of the embedder's prompt, not of the text.
        - unknown (bool): stands for something that the tokenizer does not know.
        - cut (bool): beyond `max_length`, and so not read.

        The attribute `decoded` has what is read of each text as text again.

    Raises
    ------
    TextInputError
        X is no texts or pairs; or a pair is too long for ``long_texts="chunk"``.
    InvalidParameterError
        `embedder` holds no BertEmbedder, or another step than a TextCleaner
        stands before it; or `embedder` has a wrong parameter.
    ModelFilesError
        The model has no fast tokenizer, which alone tells where pieces stand.

    See Also
    --------
    token_embeddings : The model's hidden states of the same pieces.
    skbert.text_report : How many tokens are cut or unknown, over many texts.

    Notes
    -----
    Nothing is warned of, whatever the embedder's `long_texts` is: what is cut
    is there to be seen. No weights are read. A tweet takes about a tenth of a
    millisecond, its rows of the frame included, and each piece some 300 bytes.

    Examples
    --------
    >>> from skbert import BertEmbedder
    >>> from skbert.inspection import tokenize
    >>> tokens = tokenize(["Unbelievable \U0001f602"], BertEmbedder("all-MiniLM-L6-v2"))
    >>> tokens
    row 0: 4 tokens of at most 256
        [CLS] unbelievable [UNK]‹😂› [SEP]
    >>> tokens.decoded
    ['[CLS] unbelievable [UNK] [SEP]']
    >>> print(tokens[["piece", "id", "start", "end"]])
              piece     id  start   end
    0         [CLS]    101   <NA>  <NA>
    1  unbelievable  23653      0    12
    2         [UNK]    100     13    14
    3         [SEP]    102   <NA>  <NA>
    """
    subject = Subject.of(embedder, "tokenize")
    reader = TextReader(subject.embedder)
    origins = subject.trace(subject.check(X, "tokenize"))
    readings = reader.read([as_item(origin) for origin in origins])
    parts = [
        _columns(row, reading, origin, reader.reader)
        for row, (reading, origin) in enumerate(zip(readings, origins, strict=True))
    ]
    frame = TokenFrame({name: _join([part[name] for part in parts], COLUMNS[name]) for name in COLUMNS})
    read_ids = [[int(one) for sequence in reading.sequences for one in sequence.ids] for reading in readings]
    frame.decoded = [reader.reader.decode(ids) for ids in read_ids]
    frame.max_length = reader.spec.max_length
    frame._n_read = list(map(len, read_ids))
    return frame


def as_item(origin: tuple[Origin, ...]) -> str | tuple[str, str]:
    """Return a text, or both sides of a pair, as the embedder gets it."""
    if len(origin) == 1:
        return origin[0].text
    return origin[0].text, origin[1].text


def _columns(row: int, reading: Reading, origin: tuple[Origin, ...], reader: Reader) -> dict[str, np.ndarray]:
    """Return the columns of one text, with -1 for what there is none of."""
    places = [sequence.places for sequence in reading.sequences]
    read = np.concatenate(places)
    cut = np.setdiff1d(np.arange(len(reading.ids)), read)
    n_cut = len(cut)
    place = np.concatenate([read, cut])  # the piece of each line, -1 for special tokens
    none = np.full(n_cut, -1)
    is_special = place < 0
    ids = np.concatenate([*(sequence.ids for sequence in reading.sequences), reading.ids[cut]])
    # One more, which special tokens find at -1.
    sides = np.append(reading.sides, -1)[place]
    spans, texts = user_spans(reading, origin)
    spans, in_prompt = np.append(spans, [[-1, -1]], axis=0)[place], np.append(reading.in_prompt, False)[place]
    return {
        "row": np.full(len(place), row),
        "chunk": np.concatenate([np.repeat(np.arange(len(places)), list(map(len, places))), np.zeros(n_cut, int)]),
        "position": np.concatenate([*(np.arange(len(part)) for part in places), none]),
        "piece": np.array([reader.piece(number) for number in ids.tolist()], dtype=object),
        "id": ids,
        "attention_mask": np.repeat([1, 0], [len(read), n_cut]),
        "segment": np.concatenate([*(sequence.segments for sequence in reading.sequences), none]),
        "side": sides,
        "start": spans[:, 0],
        "end": spans[:, 1],
        "text": np.array([*texts, ""], dtype=object)[place],
        "special": is_special,
        "prompt": in_prompt,
        "unknown": ~is_special & (ids == (-1 if reader.unknown_id is None else reader.unknown_id)),
        "cut": np.repeat([False, True], [len(read), n_cut]),
    }


def user_spans(reading: Reading, origin: tuple[Origin, ...]) -> tuple[np.ndarray, list[str]]:
    """Return where each piece stands in the user's text, (n_pieces, 2), and its characters; -1 for the prompt's."""
    spans = np.full((len(reading.ids), 2), -1, dtype=np.int64)
    texts = [""] * len(reading.ids)
    for side, one in enumerate(origin):
        mine = np.flatnonzero((reading.sides == side) & ~reading.in_prompt)
        spans[mine] = one.locate(reading.spans[mine])
        for place, (start, end) in zip(mine.tolist(), spans[mine].tolist(), strict=True):
            texts[place] = one.original[start:end]
    return spans, texts


def _join(parts: Sequence[np.ndarray], dtype: str) -> Any:
    values = np.concatenate(parts)
    if dtype != "Int64":
        return pd.Series(values.astype(dtype), dtype=dtype)
    return pd.arrays.IntegerArray(values.astype(np.int64).clip(min=0), values < 0)
