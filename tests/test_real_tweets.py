"""The main job on real input: 13,871 tweets of the GOP debate, split by text. Needs real data and the real model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss
from sklearn.model_selection import GroupShuffleSplit
from sklearn.pipeline import make_pipeline

from skbert import BertEmbedder, BertSentimentClassifier, HeadClassifier, MemoryStore, TextCleaner
from skbert.datasets import load_gop_debate


def scores(model, X, y, groups):
    """Return mean accuracy and macro-F1 over three splits that keep each group on one side."""
    found = []
    for seed in range(3):
        split = GroupShuffleSplit(n_splits=1, test_size=0.2, random_state=seed)
        train, test = next(split.split(X, y, groups))
        assert not set(groups[train]) & set(groups[test])
        predicted = model.fit(X[train], y[train]).predict(X[test])
        found.append((accuracy_score(y[test], predicted), f1_score(y[test], predicted, average="macro")))
    return np.mean(found, axis=0)


@pytest.mark.data
def test_the_classifier_beats_tfidf_on_real_tweets(data_folder, minilm, record_property):
    """Three splits by text: mean accuracy >= 0.695, macro-F1 >= 0.61, both above TF-IDF; each text embedded once.

    A retweet and its original are two texts, and one text once they are cleaned, so that splits by raw text flatter
    every model. The same comparison by cleaned text must come out the same way.
    """
    X, y = load_gop_debate(data_folder, return_X_y=True)
    cleaned = np.array(TextCleaner().transform(list(X)), dtype=object)
    store = MemoryStore()
    bert = make_pipeline(
        TextCleaner(),
        BertSentimentClassifier(BertEmbedder(minilm, layers=(-4, -3, -2, -1), cache=store), random_state=0),
    )
    tfidf = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=5, max_iter=1000))
    for name, groups in (("text", X), ("cleaned", cleaned)):
        (accuracy, f1), (base_accuracy, base_f1) = (scores(model, X, y, groups) for model in (bert, tfidf))
        figures = {"accuracy": accuracy, "f1": f1, "tfidf_accuracy": base_accuracy, "tfidf_f1": base_f1}
        record_property(f"by_{name}", {key: round(float(value), 4) for key, value in figures.items()})
        assert accuracy > base_accuracy
        assert f1 > base_f1
        if name == "text":
            assert accuracy >= 0.695
            assert f1 >= 0.61
    assert store.info().misses == len(set(cleaned))


@pytest.mark.data
def test_scores_on_real_tweets_as_they_come(data_folder, minilm, record_property):
    """Three splits by text: mean accuracy >= 0.685, macro-F1 >= 0.597, log loss <= 0.735.

    That is what full fine-tuning of the same encoder reaches, and more (0.677, 0.594 and 0.757 on the first split).
    Another `random_state` moves macro-F1 by 0.01, most of all by the rows that it holds out to stop by.
    """
    X, y = load_gop_debate(data_folder, return_X_y=True)
    vectors = BertEmbedder(minilm, layers=(-4, -3, -2, -1)).fit_transform(X)
    # Texts as numbers in the order of the file, as in the known scores of other models. What a seed makes of other
    # numbers are other splits; where the texts with a hundred copies fall moves the mean of three by 0.03.
    groups = pd.factorize(X)[0]
    found = []
    for seed in range(3):
        splitter = GroupShuffleSplit(n_splits=1, test_size=0.2, random_state=seed)
        train, test = next(splitter.split(X, y, groups))
        head = HeadClassifier(random_state=0).fit(vectors[train], y[train])
        predicted = head.predict(vectors[test])
        loss = log_loss(y[test], head.predict_proba(vectors[test]))
        found.append((accuracy_score(y[test], predicted), f1_score(y[test], predicted, average="macro"), loss))
    accuracy, f1, loss = np.mean(found, axis=0).round(4).tolist()
    record_property("scores", {"accuracy": accuracy, "f1": f1, "log_loss": loss})
    assert accuracy >= 0.685
    assert f1 >= 0.597
    assert loss <= 0.735
