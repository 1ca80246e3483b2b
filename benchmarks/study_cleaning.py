"""What cleaning does to accuracy: the table of docs/guide/cleaning.md, for BERT and for counts of words.

    SKBERT_DATA=folder python benchmarks/study_cleaning.py --cache vectors     # a quarter of an hour on two idle cores

Five folds, grouped by the cleaned text. Without SKBERT_DATA the sample tweets are read, of which there are too few to
say anything. ``--cache`` is a folder for the vectors: a second run embeds nothing.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from _quality_data import read_corpus
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_validate
from sklearn.pipeline import make_pipeline

from skbert import BertEmbedder, BertSentimentClassifier, TextCleaner

FOR_COUNTS = dict.fromkeys(["urls", "mentions", "emoji", "numbers", "punctuation"], "drop")
CLEANERS = {
    "as they come": None,
    "TextCleaner()": TextCleaner(),
    'TextCleaner(stop_words="english")': TextCleaner(stop_words="english"),
    "as for counts": TextCleaner(**FOR_COUNTS, case="lower", stop_words="english"),
}


def main():
    """Print a line for each corpus, cleaner and model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", default="memory", help="folder for the vectors (default: memory)")
    parser.add_argument("--rows", type=int, help="take so many rows of each corpus only")
    options = parser.parse_args()
    embedder = BertEmbedder("all-MiniLM-L6-v2", layers=(-4, -3, -2, -1), cache=options.cache)
    models = {
        "BERT": BertSentimentClassifier(embedder, random_state=0),
        "TF-IDF": make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=5, max_iter=2_000)),
    }
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    for key in ("gop", "airline"):
        source, X, y, _ = read_corpus(key)
        X, y = X[: options.rows], y[: options.rows]
        groups = TextCleaner().transform(X)
        for name, cleaner in CLEANERS.items():
            texts = X if cleaner is None else cleaner.transform(X)
            line = f"{source} | {name} | {len(set(texts)):,} different"
            for model_name, model in models.items():
                scores = cross_validate(model, texts, y, groups=groups, cv=folds, scoring=["accuracy", "f1_macro"])
                seen = (scores["test_accuracy"], scores["test_f1_macro"])
                line += f" | {model_name} " + ", ".join(f"{score.mean():.3f} ± {score.std():.3f}" for score in seen)
            print(line, flush=True)


if __name__ == "__main__":
    main()
