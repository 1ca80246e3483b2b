"""The main job on real input: 13,871 tweets of the GOP debate, split by text. Needs real data and the real model."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import GroupShuffleSplit
from sklearn.pipeline import make_pipeline

from skbert import BertEmbedder, BertSentimentClassifier, MemoryStore, TextCleaner
from skbert.datasets import load_gop_debate


@pytest.mark.data
def test_the_classifier_beats_tfidf_on_real_tweets(data_folder, minilm, record_property):
    """Three splits by text: mean accuracy >= 0.675, macro-F1 >= 0.585, both above TF-IDF; each text embedded once."""
    X, y = load_gop_debate(data_folder, return_X_y=True)
    store = MemoryStore()
    bert = make_pipeline(
        TextCleaner(),
        BertSentimentClassifier(BertEmbedder(minilm, layers=(-4, -3, -2, -1), cache=store), random_state=0),
    )
    tfidf = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=5, max_iter=1000))
    scores = {"bert": [], "tfidf": []}
    for seed in range(3):
        split = GroupShuffleSplit(n_splits=1, test_size=0.2, random_state=seed)
        train, test = next(split.split(X, y, groups=X))
        assert not set(X[train]) & set(X[test])
        for name, model in (("bert", bert), ("tfidf", tfidf)):
            predicted = model.fit(X[train], y[train]).predict(X[test])
            scores[name].append((accuracy_score(y[test], predicted), f1_score(y[test], predicted, average="macro")))
    (accuracy, f1), (base_accuracy, base_f1) = (np.mean(scores[name], axis=0) for name in ("bert", "tfidf"))
    record_property("accuracy", round(accuracy, 4))
    record_property("macro_f1", round(f1, 4))

    assert store.info().misses == len(set(TextCleaner().transform(list(X))))
    assert accuracy >= 0.675
    assert f1 >= 0.585
    assert accuracy > base_accuracy
    assert f1 > base_f1
