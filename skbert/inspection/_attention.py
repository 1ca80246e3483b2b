"""attention: the weights themselves, from transformers' own form of the model. Part of ``inspection``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skbert._embedder.reading import TextReader
from skbert._texts import show
from skbert.exceptions import TextInputError
from skbert.inspection._attention_map import AttentionMap, pick
from skbert.inspection._subject import Subject

__all__ = ["attention"]


def attention(
    text: str | tuple[str, str],
    embedder: Any,
    *,
    layer: int | Sequence[int] | None = None,
    head: int | Sequence[int] | None = None,
) -> AttentionMap:
    """Return where each piece of a text looks, in each head of each layer.

    The weights are those of transformers' eager attention, in float32: what
    the softmax gives out when BERT mixes the pieces of a text.

    Parameters
    ----------
    text : str or tuple of two str
        One text, or one pair (BERT's segments A and B).
    embedder : BertEmbedder, BertSentimentClassifier or Pipeline
        Whose model, `max_length`, `long_texts` and `prompt` are used. In a
        pipeline the text goes through the TextCleaners before it; another step
        before it is refused.
    layer : int, sequence of int or None, default=None
        Which layers, counted from 0: layer k makes hidden state k + 1.
        Negative ones count from the last. None is all.
    head : int, sequence of int or None, default=None
        Which heads of these layers, counted likewise. None is all.

    Returns
    -------
    AttentionMap
        With `weights`, float32 of shape (n_layers, n_heads, n_pieces,
        n_pieces), whose axes are kept for a single layer or head; `pieces`;
        and where each of them stands in the text as it was given.

    Raises
    ------
    TextInputError
        The text is none, or is too long under ``long_texts="error"`` or
        "chunk".
    InvalidParameterError
        Another parameter is not what it may be.
    ModelFilesError
        The model has no such weights, and its class is named: FNet mixes
        without attention; Longformer and BigBird look at parts of a text;
        ConvBERT has convolutions among its heads.

    Warns
    -----
    TruncationWarning
        The text was cut, and `long_texts` is "warn".

    See Also
    --------
    AttentionDisplay : Draws what comes out.

    Notes
    -----
    *What it does not say.* Attention shows what a head reads, not what the
    model makes of it, and different weights can lead to the same prediction
    [1]_. In BERT many heads look mostly at [SEP], which seems to be their way
    of doing nothing [2]_. To learn which words a decision hangs on, change the
    words.

    *Cost.* The model is loaded once more, as transformers runs it, since the
    fast kernels of the embedder never have these weights; it stays until
    another one is asked for, or :func:`skbert.release_models`. The result has
    n_layers · n_heads · n_pieces² · 4 bytes: 2 MB for all-MiniLM-L6-v2 and 80
    pieces, 151 MB for BERT base and 512. While it is made, the weights of all
    layers and heads are held, whatever was asked for. Nothing is stored.

    References
    ----------
    .. [1] Jain, S. and Wallace, B. C. (2019). Attention is not Explanation.
       NAACL. https://aclanthology.org/N19-1357
    .. [2] Clark, K., Khandelwal, U., Levy, O. and Manning, C. D. (2019). What
       Does BERT Look At? An Analysis of BERT's Attention. BlackboxNLP.
       https://aclanthology.org/W19-4828

    Examples
    --------
    >>> from skbert import BertEmbedder
    >>> from skbert.inspection import attention
    >>> embedder = BertEmbedder("all-MiniLM-L6-v2")
    >>> seen = attention("The cup was full.", embedder)
    >>> seen.weights.shape
    (6, 12, 7, 7)
    >>> seen.pieces
    ('[CLS]', 'the', 'cup', 'was', 'full', '.', '[SEP]')
    >>> attention(("The cup was full.", "The bottle was empty."), embedder, layer=-1, head=0).weights.shape
    (1, 1, 13, 13)
    """
    subject = Subject.of(embedder, "attention")
    item = _check_text(text)
    subject.check([item], "attention")
    (origins,) = subject.trace([item])
    read = TextReader(subject.embedder)
    cleaned = origins[0].text if len(origins) == 1 else (origins[0].text, origins[1].text)
    (reading,) = readings = read.read([cleaned])
    if len(reading.sequences) > 1:
        msg = (
            f"The text is longer than max_length={read.spec.max_length} tokens and goes through the model in "
            f"{len(reading.sequences)} chunks under long_texts='chunk'; no piece looks into another chunk. Pass one "
            "part of the text, or an embedder with long_texts='truncate' or 'head_tail'."
        )
        raise TextInputError(msg)
    read.tell_of_cuts(readings)

    plain = read.plain
    n_layers, n_heads = plain.attention_shape
    layers = pick(layer, "layer", n_layers, "attention")
    heads = pick(head, "head", n_heads, "attention")
    (sequence,) = reading.sequences
    sides = np.full(len(sequence.ids), -1, dtype=np.int8)
    spans = np.full((len(sequence.ids), 2), -1, dtype=np.int64)
    own = np.flatnonzero(sequence.places >= 0)
    sides[own] = reading.sides[sequence.places[own]]
    of_user = own[~reading.in_prompt[sequence.places[own]]]
    for side, origin in enumerate(origins):
        here = of_user[sides[of_user] == side]
        spans[here] = origin.locate(reading.spans[sequence.places[here]])
    return AttentionMap(
        weights=plain.attentions(sequence.ids, sequence.segments, layers, heads),
        pieces=tuple(map(read.reader.piece, sequence.ids.tolist())),
        sides=sides,
        spans=spans,
        text=item,
        layers=layers,
        heads=heads,
        n_layers=n_layers,
        n_heads=n_heads,
    )


def _check_text(text: Any) -> str | tuple[str, str]:
    if isinstance(text, str):
        return str(text)  # of a np.str_ too
    if isinstance(text, tuple) and len(text) == 2 and all(isinstance(side, str) for side in text):
        return str(text[0]), str(text[1])
    kind = f"a tuple of {len(text)}" if isinstance(text, tuple) else type(text).__name__
    remedy = (
        "Pass the rows of a frame one by one."
        if hasattr(text, "columns")
        else "For texts in X write [attention(text, embedder) for text in X]."
    )
    msg = (
        "The 'text' parameter of attention must be one str, or a tuple of two str for a pair; maps of several texts "
        f"have different sizes. Got {kind} instead: {' '.join(show(text).split())}. {remedy}"
    )
    raise TextInputError(msg)
