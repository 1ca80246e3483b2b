"""What the tests of composition share: texts with a signal in them, in every form, a cheap head, and fixtures.

A file takes a fixture by assignment, ``vectors = _compose.vectors``, as it would
take it from a conftest.py that stood for the tests of composition only.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.pipeline import Pipeline, make_pipeline

from skbert import BertEmbedder, BertSentimentClassifier, HeadClassifier, MemoryStore

SKLEARN = tuple(map(int, sklearn.__version__.split(".")[:2]))
WORDS = {
    "bad": ["bad", "awful", "sad", "hate", "lost", "lie", "terrible", "wrong"],
    "good": ["great", "good", "happy", "love", "best", "win", "honest", "strong"],
    "plain": ["night", "debate", "answer", "speech", "room", "stage", "host", "plan"],
}
WHO = ["he", "she", "we", "they", "you", "i", "one", "nobody"]

# A head that learns the tiny random model's vectors in a few hundredths of a second.
HEAD: dict[str, Any] = {
    "hidden_layer_sizes": (),
    "dropout": 0.0,
    "weight_decay": 0.1,
    "batch_size": 16,
    "learning_rate_init": 0.02,
    "max_iter": 8,
    "early_stopping": False,
    "device": "cpu",
    "random_state": 0,
}


class Texts(NamedTuple):
    """Texts with their labels and groups, all of shape (n,)."""

    X: np.ndarray  # of str
    y: np.ndarray  # of str: what kind of word stands in the text
    groups: np.ndarray  # of int: who speaks


def make_texts(n: int = 64, kinds: tuple[str, ...] = ("bad", "good"), seed: int = 0) -> Texts:
    """Return `n` different short texts in random order, as many of each kind."""
    draw = np.random.default_rng(seed)
    rows = []
    for kind in kinds:
        every = [(who, word, when) for who in WHO for word in WORDS[kind] for when in ("today", "again", "now")]
        for at in draw.choice(len(every), n // len(kinds), replace=False):
            who, word, when = every[at]
            rows.append((f"{who} said {word} {when}", kind, WHO.index(who)))
    X, y, groups = zip(*(rows[at] for at in draw.permutation(len(rows))), strict=True)
    return Texts(np.array(X, dtype=object), np.array(y, dtype=object), np.array(groups))


def every_form(X: np.ndarray) -> dict[str, Any]:
    """Return the same texts in the forms that a user has them in."""
    return {"list": list(X), "array": X, "series": pd.Series(X, index=np.arange(len(X))[::-1]), **two_d(X)}


def two_d(X: np.ndarray) -> dict[str, Any]:
    """Return the same texts in the forms that meta-estimators take who want two dimensions."""
    return {"(n, 1) array": X.reshape(-1, 1), "frame": pd.DataFrame({"text": X})}


class LookUp(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Turn (n, 1) row numbers into vectors: what an embedder would do if its vectors came from nowhere.

    The reference for meta-estimators that draw random columns or shuffle them: there X must have one column, as texts
    have, for the same numbers to be drawn.
    """

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors

    def fit(self, X: np.ndarray, y: Any = None) -> LookUp:
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        return self.vectors[np.asarray(X).ravel().astype(int)]

    @property
    def _n_features_out(self) -> int:
        return self.vectors.shape[1]


def looked_up(vectors: np.ndarray, **head: Any) -> Pipeline:
    """Return a classifier of (n, 1) row numbers that does what BertSentimentClassifier does with the texts."""
    return make_pipeline(LookUp(vectors), HeadClassifier(**HEAD | head))


def numbers(n: int) -> np.ndarray:
    """Return (n, 1) row numbers."""
    return np.arange(n).reshape(-1, 1)


@pytest.fixture
def embedder(tiny_bert_folder):
    """Return an embedder whose store already holds every layer and pooling of the texts."""
    embedder = BertEmbedder(tiny_bert_folder, device="cpu", cache=MemoryStore(), store_layers="all")
    embedder.transform(make_texts().X)
    return embedder


@pytest.fixture
def classifier(embedder):
    """Return a classifier over the file's embedder, which learns in a moment."""
    return BertSentimentClassifier(embedder, **HEAD)


@pytest.fixture
def vectors(embedder):
    """Return the texts' vectors."""
    return embedder.transform(make_texts().X)
