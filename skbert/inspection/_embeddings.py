"""Hidden states of pieces, and of words in their context. Part of ``inspection``, beside ``_tokens``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from skbert._embedder.reading import TextReader
from skbert._engine.normal import BLANK_SIGN
from skbert._texts import show
from skbert.exceptions import InvalidParameterError, TextInputError
from skbert.inspection._subject import Origin, Subject
from skbert.inspection._tokens import as_item
from skbert.inspection._words import at_word_borders

if TYPE_CHECKING:  # it imports transformers, which takes a second
    from skbert._engine.reading import Reading

__all__ = ["token_embeddings", "word_embeddings"]

_BLANKS = rf"[\s{BLANK_SIGN}]+"


def token_embeddings(X: Any, embedder: Any) -> list[np.ndarray]:
    """Return the model's hidden states of each piece that it reads.

    Parameters
    ----------
    X : array-like of str, or of pairs of str
        All that :meth:`~skbert.BertEmbedder.transform` takes.
    embedder : BertEmbedder, BertSentimentClassifier or Pipeline
        Fitted or not. A pipeline may have TextCleaners before the embedder.
        Its `layers` say which hidden layers; its `pooling` and `normalize`
        have no influence.

    Returns
    -------
    list of n_texts float32 ndarrays of shape (n_tokens, n_features)
        A row for each row of :func:`tokenize` that belongs to the text and is
        not cut, in the same order: special tokens too, and under
        ``long_texts="chunk"`` a piece as often as it is read. Several layers
        stand side by side; nothing is pooled and nothing normalised.

    Raises
    ------
    TextInputError
        X is no texts or pairs; or one is too long, and the embedder's
        `long_texts` is "error", or "chunk" for a pair.
    InvalidParameterError
        `embedder` holds no BertEmbedder, or another step than a TextCleaner
        stands before it; or `embedder` has a wrong parameter.
    ModelFilesError
        The model has no fast tokenizer.

    Warns
    -----
    TruncationWarning
        Texts were cut, and the embedder's `long_texts` is "warn".

    See Also
    --------
    tokenize : Which pieces they are, and where in the text they stand.
    word_embeddings : Vectors of words.

    Notes
    -----
    Costs one pass of the model over the texts, packed as for ``transform``,
    on the embedder's first device. Nothing is stored: there are as many
    vectors as tokens, each of 4 bytes a feature, and all are held in memory.

    The mean over the rows of a text that is no longer than `max_length` is
    what ``transform`` gives with ``pooling="mean"`` and ``normalize=False``.

    Examples
    --------
    >>> from skbert import BertEmbedder
    >>> from skbert.inspection import token_embeddings, tokenize
    >>> embedder = BertEmbedder("all-MiniLM-L6-v2", layers=(-2, -1))
    >>> states = token_embeddings(["A bat flew out.", "Thanks!"], embedder)
    >>> [vectors.shape for vectors in states]
    [(7, 768), (4, 768)]
    >>> tokenize(["Thanks!"], embedder)["piece"].tolist()
    ['[CLS]', 'thanks', '!', '[SEP]']
    """
    subject = Subject.of(embedder, "token_embeddings")
    reader = TextReader(subject.embedder)
    origins = subject.trace(subject.check(X, "token_embeddings"))
    readings = reader.read([as_item(origin) for origin in origins])
    reader.tell_of_cuts(readings)
    found: dict[int, np.ndarray] = {}
    for row, states in reader.states(readings, reader.layers):
        joined = states[0] if len(states) == 1 else np.concatenate(states)
        found[row] = np.ascontiguousarray(joined.reshape(len(joined), -1))
    return [found[row] for row in range(len(readings))]


class _Found(NamedTuple):
    """One occurrence of a word: its pieces, by their number in the reading."""

    pieces: np.ndarray
    is_cut: bool


def word_embeddings(X: Any, words: str | Sequence[str], embedder: Any) -> list[np.ndarray]:
    """Return the vectors of a word in its context, one for each place where it stands.

    Parameters
    ----------
    X : array-like of str, or of pairs of str
        All that :meth:`~skbert.BertEmbedder.transform` takes.
    words : str, or sequence of str of length n_texts
        The word to look for in every text, or one for each text. It may be
        several words ("New York"), a number, a sign or an emoji.
    embedder : BertEmbedder, BertSentimentClassifier or Pipeline
        Fitted or not. A pipeline may have TextCleaners before the embedder.
        Its `layers` say which hidden layers; its `pooling` and `normalize`
        have no influence.

    Returns
    -------
    list of n_texts float32 ndarrays of shape (n_occurrences, n_features)
        In reading order, both sides of a pair. Each row is the mean of the
        hidden states of the word's pieces. Several layers stand side by side;
        nothing is normalised.

    Raises
    ------
    TextInputError
        A word does not stand in its text, or only where the text is cut; the
        message names the row, the word and the text. Or X is no texts or
        pairs; or one is too long, and the embedder's `long_texts` is "error",
        or "chunk" for a pair.
    InvalidParameterError
        `words` is no str and no sequence of one str a text, or one of them is
        empty; or `embedder` holds no BertEmbedder, has a wrong parameter, or
        another step than a TextCleaner stands before it.
    ModelFilesError
        The model has no fast tokenizer.

    Warns
    -----
    TruncationWarning
        Texts were cut, and the embedder's `long_texts` is "warn". Occurrences
        of a word that are cut, whole or in part, have no vector.

    See Also
    --------
    token_embeddings : Hidden states of all pieces.

    Notes
    -----
    A word is looked for in the text that the embedder reads, behind the
    cleaners and without its prompt, and as the tokenizer sees both: an uncased
    model finds "BAT" and "bat" for "Bat", and "cafe" for "café"; a cased model
    does not. Only whole words count: no letter, digit, accent or underscore
    may stand directly before or behind it, so that "bat" is in "bat's" and
    "#bat", but not in "bats". In scripts without blanks between words (Chinese, Japanese,
    Thai) each place counts.

    A piece belongs to each word of which it holds a character. Where the
    tokenizer made one piece of a word and its neighbour (an unknown run of
    emoji, say), the vector is that of the whole piece.

    Under ``long_texts="chunk"`` a word may be in two chunks. It is taken from
    the one that holds more of it and, of these, from that where it is further
    from the nearer end.

    Costs one pass of the model over the texts; nothing is stored.

    The last layer is not always the one that tells senses apart: see the
    example on words in context.

    Examples
    --------
    >>> import numpy as np
    >>> from skbert import BertEmbedder
    >>> from skbert.inspection import word_embeddings
    >>> texts = ["The bat hung in the cave.", "A bat ate the moth.", "He swung the bat at the ball."]
    >>> embedder = BertEmbedder("all-MiniLM-L6-v2", layers=3)
    >>> vectors = np.concatenate(word_embeddings(texts, "bat", embedder))
    >>> vectors.shape
    (3, 384)
    >>> vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    >>> print((vectors @ vectors.T).round(2)[0])
    [1.   0.97 0.9 ]
    """
    subject = Subject.of(embedder, "word_embeddings")
    reader = TextReader(subject.embedder)
    items = subject.check(X, "word_embeddings")
    patterns = _patterns(words, len(items), reader)
    origins = subject.trace(items)
    readings = reader.read([as_item(origin) for origin in origins])
    found = [
        _find(pattern, reading, origin, reader)
        for (_, pattern), reading, origin in zip(patterns, readings, origins, strict=True)
    ]
    for row, ((word, _), occurrences, origin) in enumerate(zip(patterns, found, origins, strict=True)):
        if not occurrences:
            raise TextInputError(_absent(row, word, origin))
    reader.tell_of_cuts(readings)
    for row, ((word, _), occurrences) in enumerate(zip(patterns, found, strict=True)):
        if all(occurrence.is_cut for occurrence in occurrences):
            raise TextInputError(_cut(row, word, len(occurrences), reader))
    vectors: dict[int, np.ndarray] = {}
    for row, states in reader.states(readings, reader.layers):
        kept = [occurrence.pieces for occurrence in found[row] if not occurrence.is_cut]
        tokens = _Tokens(readings[row], states)
        vectors[row] = np.stack([tokens.mean(pieces) for pieces in kept])
    return [vectors[row] for row in range(len(readings))]


def _patterns(words: Any, n_texts: int, reader: TextReader) -> list[tuple[str, re.Pattern[str]]]:
    """Return for each text the word to look for, and the pattern that finds it in a normalised text."""
    if isinstance(words, str):
        return [(words, _pattern(words, "words", reader))] * n_texts
    is_listed = hasattr(words, "__len__") and hasattr(words, "__iter__") and getattr(words, "ndim", 1) == 1
    if not is_listed or isinstance(words, bytes | dict | set | frozenset):
        msg = (
            "The 'words' parameter of word_embeddings must be a str, or a sequence with one str for each text. "
            f"Got {show(words)} instead."
        )
        raise InvalidParameterError(msg)
    listed = list(words)
    if len(listed) != n_texts:
        msg = (
            "The 'words' parameter of word_embeddings must be a str, or a sequence with one str for each of the "
            f"{n_texts:,} texts. Got {len(listed):,} words instead."
        )
        raise InvalidParameterError(msg)
    made: dict[str, tuple[str, re.Pattern[str]]] = {}
    for row, word in enumerate(listed):
        if not isinstance(word, str):
            msg = (
                "The 'words' parameter of word_embeddings must be a str, or a sequence with one str for each text. "
                f"Got {show(word)} for row {row} instead."
            )
            raise InvalidParameterError(msg)
        if word not in made:
            made[word] = (str(word), _pattern(word, f"words[{row}]", reader))
    return [made[word] for word in listed]


def _pattern(word: str, name: str, reader: TextReader) -> re.Pattern[str]:
    try:
        word.encode()
    except UnicodeEncodeError:
        msg = f"The 'words' parameter of word_embeddings must be without lone surrogates. Got {show(word)} instead."
        raise InvalidParameterError(msg) from None
    parts = [part for part in re.split(_BLANKS, reader.reader.normal(word).text) if part]
    if not parts:
        msg = (
            "The 'words' parameter of word_embeddings must be words of which the model's tokenizer keeps something. "
            f"Got {name}={show(word)} instead."
        )
        raise InvalidParameterError(msg)
    return re.compile(_BLANKS.join(map(re.escape, parts)))


def _find(pattern: re.Pattern[str], reading: Reading, origin: tuple[Origin, ...], reader: TextReader) -> list[_Found]:
    """Return the occurrences of a word in a text or pair, in reading order."""
    is_read = np.zeros(len(reading.ids) + 1, dtype=bool)
    for sequence in reading.sequences:
        is_read[sequence.places] = True  # -1, of special tokens, is the one behind the others
    found = []
    for side, one in enumerate(origin):
        normal = reader.reader.normal(one.text)
        spans = normal.locate(_whole_words(pattern, normal.text))
        # Pieces of white space stand for no character of a word.
        is_mine = (reading.sides == side) & ~reading.in_prompt & (reading.spans[:, 0] < reading.spans[:, 1])
        mine = np.flatnonzero(is_mine)
        # Neither starts nor ends go back from piece to piece.
        first = np.searchsorted(reading.spans[mine, 1], spans[:, 0], side="right")
        behind = np.searchsorted(reading.spans[mine, 0], spans[:, 1], side="left")
        for start, stop in zip(first.tolist(), behind.tolist(), strict=True):
            pieces = mine[start:stop]
            if len(pieces):
                found.append(_Found(pieces, not is_read[pieces].all()))
    return found


def _whole_words(pattern: re.Pattern[str], text: str) -> list[tuple[int, int]]:
    found, place = [], 0
    while match := pattern.search(text, place):
        start, end = match.span()
        if at_word_borders(text, start, end):
            found.append((start, end))
            place = end
        else:
            place = start + 1
    return found


class _Tokens:
    """Where each piece of a text was read: under "chunk" a piece may be in several sequences."""

    def __init__(self, reading: Reading, states: list[np.ndarray]) -> None:
        self._lengths = [len(sequence.places) for sequence in reading.sequences]
        self._states = states
        places = np.concatenate([sequence.places for sequence in reading.sequences])
        order = np.argsort(places, kind="stable")  # of one piece the earlier chunk first
        self._pieces = places[order]
        self._chunks = np.repeat(np.arange(len(self._lengths)), self._lengths)[order]
        self._positions = np.concatenate([np.arange(length) for length in self._lengths])[order]

    def mean(self, pieces: np.ndarray) -> np.ndarray:
        """Return the mean state of a word's pieces, each from the best chunk that has it."""
        start, stop = np.searchsorted(self._pieces, [pieces[0], pieces[-1] + 1])
        there = start + np.flatnonzero(np.isin(self._pieces[start:stop], pieces))

        def worth(chunk: int) -> tuple[int, int]:
            positions = self._positions[there[self._chunks[there] == chunk]]
            to_end = min(positions[0], self._lengths[chunk] - 1 - positions[-1])
            return len(positions), int(to_end)

        chunks = sorted(dict.fromkeys(self._chunks[there].tolist()), key=worth, reverse=True)
        found: dict[int, np.ndarray] = {}
        for chunk in chunks:
            for token in there[self._chunks[there] == chunk].tolist():
                found.setdefault(int(self._pieces[token]), self._states[chunk][self._positions[token]])
        return np.mean(list(found.values()), axis=0, dtype=np.float32).reshape(-1)


def _absent(row: int, word: str, origin: tuple[Origin, ...]) -> str:
    texts = " and ".join(show(one.text) for one in origin)
    cleaned = any(one.text != one.original for one in origin)
    given = f", which cleaning made of {' and '.join(show(one.original) for one in origin)}" if cleaned else ""
    return (
        f"The word {show(word)} is not in row {row} of X: {texts}{given}. Only whole words count, as the model's "
        "tokenizer sees them; leave such texts out, or pass one word for each text."
    )


def _cut(row: int, word: str, count: int, reader: TextReader) -> str:
    places = "the one place where it stands lies" if count == 1 else f"all {count:,} places where it stands lie"
    return (
        f"The word {show(word)} is cut from row {row} of X: {places} beyond "
        f"max_length={reader.spec.max_length} tokens. Choose long_texts='chunk' or 'head_tail', or a higher max_length."
    )
