"""Warnings lead to the user's own line, through whatever of scikit-learn lies between."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from skbert import BertEmbedder, BertSentimentClassifier, MemoryStore
from skbert.exceptions import CacheWarning, TruncationWarning

X = [f"{'word ' * 100}{k}" for k in range(20)]
y = np.arange(20) % 2


@pytest.mark.parametrize(
    "use",
    [
        lambda e: e.transform(X),
        lambda e: e.fit_transform(X),
        lambda e: make_pipeline(e, LogisticRegression()).fit(X, y),
        lambda e: cross_val_score(make_pipeline(e, LogisticRegression()), X, y, cv=2),
        lambda e: BertSentimentClassifier(e, max_iter=1, early_stopping=False).fit(X, y).predict(X),
    ],
    ids=["transform", "fit_transform", "pipeline", "cross-validation", "classifier"],
)
def test_a_warning_names_the_line_that_asked(tiny_bert_folder, use):
    """Texts that were cut, and a store that is too small."""
    embedder = BertEmbedder(tiny_bert_folder, device="cpu", cache=MemoryStore(1_000))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        use(embedder)
    ours = [warning for warning in caught if issubclass(warning.category, CacheWarning | TruncationWarning)]
    assert {warning.category for warning in ours} == {CacheWarning, TruncationWarning}
    assert {warning.filename for warning in ours} == {__file__}
