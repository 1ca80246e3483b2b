"""The numbers of docs/guide/pitfalls.md that no block on the page prints: accuracies on the sample tweets.

    python benchmarks/study_pitfalls.py        # half a minute on two idle cores

Five folds by text, the mean and the standard deviation over them. The texts are few: a difference of one standard
deviation says nothing.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # threads of a small regression wait longer than they work

from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbert import BertEmbedder, TextCleaner
from skbert.datasets import load_sample_tweets

MODEL = "all-MiniLM-L6-v2"
LAST_FOUR = (-4, -3, -2, -1)
FOLDS = StratifiedGroupKFold(5, shuffle=True, random_state=0)
LIKE_TFIDF = {
    "case": "lower",
    "punctuation": "drop",
    "stop_words": "english",
    "numbers": "drop",
    "emoji": "drop",
}


def accuracies(texts, y, groups, *steps):
    """Return the means and the standard deviations of the accuracy on training and test parts."""
    scores = cross_validate(
        make_pipeline(*steps), texts, y, groups=groups, cv=FOLDS, scoring="accuracy", return_train_score=True
    )
    return (scores[part] for part in ("train_score", "test_score"))


def main():
    """Print the numbers, in the order of the page."""
    X, y = load_sample_tweets(return_X_y=True)
    cleaned = TextCleaner().transform(X)

    print("Cleaning: four layers, standardised, C=0.005")
    for name, cleaner in {"defaults": TextCleaner(), "as for TF-IDF": TextCleaner(**LIKE_TFIDF)}.items():
        embedder = BertEmbedder(MODEL, layers=LAST_FOUR)
        head = LogisticRegression(C=0.005, max_iter=1_000)
        _, test = accuracies(cleaner.transform(X), y, cleaned, embedder, StandardScaler(), head)
        print(f"  {name:14} {test.mean():.2f} ± {test.std():.2f}")

    print("Scale and C: training part, test part")
    for scaler, C in ((None, 1), (None, 100), (StandardScaler(), 1), (StandardScaler(), 0.005)):
        line = f"  {'StandardScaler' if scaler else 'length 1':14} C={C:<6}"
        for layers in (-1, LAST_FOUR):
            embedder = BertEmbedder(MODEL, layers=layers)
            head = LogisticRegression(C=C, max_iter=5_000)
            train, test = accuracies(cleaned, y, cleaned, embedder, scaler or "passthrough", head)
            line += f"  {train.mean():.2f}, {test.mean():.2f}"
        print(line)

    print("Pooling: the last layer, length 1, C=10")
    for pooling in ("mean", "cls"):
        embedder = BertEmbedder(MODEL, pooling=pooling, normalize=True)
        _, test = accuracies(cleaned, y, cleaned, embedder, LogisticRegression(C=10, max_iter=1_000))
        print(f"  {pooling:14} {test.mean():.2f} ± {test.std():.2f}")


if __name__ == "__main__":
    main()
