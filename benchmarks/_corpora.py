"""The texts that the benchmarks embed: tweets, reviews, and made ones where only their number or length matters."""

from __future__ import annotations

import os
import string
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from skbert.datasets import load_gop_debate, load_sample_tweets

CORPORA = ("gop", "gop-all", "airline", "imdb", "imdb-own", "t128", "few", "one")
FEW = [
    "Good morning!",
    "The flight was two hours late, and nobody told us why.",
    "Thank you for the quick answer.",
    "I have never waited so long for a bag.",
    "Who won the debate last night?",
    "Fine.",
    "The crew was kind, the seats were not.",
    "It rained all day, so we stayed in and read.",
]
# Words that are one piece each in the vocabulary of BERT (uncased).
_PIECES = (
    "the of and to in was he is as for on with that it his by at from her she they you had an were but be this are not "
    "have one which or all their there who more been two time first new people some would other than can years over "
    "could water music house world city school day night back still long great small old later place home side hand"
)


class Corpus(NamedTuple):
    """Texts, what they are in words, and the `max_length` that every way gets; None is the model's own."""

    key: str
    what: str
    texts: list[str]
    max_length: int | None = None


def has_data():
    """Say whether the folder of the real data is named."""
    return bool(os.environ.get("SKBERT_DATA"))


def load_corpus(key, count):
    """Return `count` texts of a corpus, drawn without favour; without the real data, sample tweets stand in."""
    if key in ("gop", "gop-all"):
        source, texts, _ = tweets(count, copies=key == "gop-all")
        return Corpus(key, f"{source}, {'with copies' if key == 'gop-all' else 'different'}", texts)
    if key == "airline":
        texts = _column("airline/Tweets.csv") if has_data() else tweets(None)[1]
        source = "airline tweets" if has_data() else "sample tweets"
        return Corpus(key, f"{source}, different", _draw(list(dict.fromkeys(texts)), count))
    if key in ("imdb", "imdb-own"):
        texts = _column("imdb/reviews.csv") if has_data() else _long_texts()
        source = "IMDB reviews" if has_data() else "sample tweets, joined to the length of reviews"
        return Corpus(key, source, _draw(texts, count), 512 if key == "imdb" else None)
    if key == "t128":
        draws = np.random.default_rng(0).choice(_PIECES.split(), (count, 126))  # and two special tokens
        return Corpus(key, "made texts of 128 tokens", [" ".join(row) for row in draws])
    return Corpus(key, *{"few": ("8 short texts", FEW), "one": ("one text", FEW[1:2])}[key])


def tweets(count, *, copies=False):
    """Return what the texts are, and `count` of them with their labels, drawn without favour; different ones or not.

    With copies, a text that is drawn comes with all of its copies, so that a part has as many of them as the whole.
    """
    source = "GOP tweets" if has_data() else "sample tweets"
    X, y = (load_gop_debate if has_data() else load_sample_tweets)(return_X_y=True)
    places = {}
    for row, text in enumerate(X):
        places.setdefault(text, []).append(row)
    groups = list(places.values())
    groups = [groups[k] for k in np.random.default_rng(0).permutation(len(groups))]
    rows = np.array([row for group in groups for row in (group if copies else group[:1])])[:count]
    rows = np.random.default_rng(1).permutation(rows) if copies else rows  # copies lie apart, as in the file
    return source, [X[row] for row in rows], y[rows]


def _column(path):
    return pd.read_csv(Path(os.environ["SKBERT_DATA"]) / path)["text"].tolist()


def _draw(texts, count):
    return [texts[k] for k in np.random.default_rng(0).permutation(len(texts))[:count]]


def _long_texts():
    """Return 1,000 texts with about as many tokens as reviews: most have 150 to 450, one in eight more than 512."""
    _, some, _ = tweets(None)
    draw = np.random.default_rng(2)
    return [" ".join(draw.choice(some, 1 + int(k))) for k in draw.lognormal(2.2, 0.55, size=1_000)]


def make_words():
    """Return 2,000 words of eight letters."""
    letters = np.random.default_rng(0).choice(list(string.ascii_lowercase), (2_000, 8))
    return ["".join(word) for word in letters]


def make_texts(count, length=10):
    """Return different texts of `length` such words: ten are as long as a tweet, but of few tokens."""
    words = np.array(make_words())
    draw = np.random.default_rng(1)
    texts = []
    for start in range(0, count, 10_000):  # in parts: the numbers of a million texts would be large
        draws = draw.integers(len(words), size=(min(10_000, count - start), length))
        texts += [" ".join(row) for row in words[draws]]
    assert len(set(texts)) == count
    return texts
