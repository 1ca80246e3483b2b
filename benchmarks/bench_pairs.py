"""Two sentences as one input, or as two vectors side by side: MRPC. And how well cosines order pairs: STS-B.

    SKBERT_DATA=folder python benchmarks/bench_pairs.py              # writes two rows; 15 minutes on two cores
    python benchmarks/bench_pairs.py --quick                         # whether it runs through

MRPC asks whether one sentence says the same as another. Each input meets each model on the same splits: four fifths to
learn from, a fifth to score on, no sentence on both sides (sentences that occur in several pairs tie these together).
The strength of the logistic regression is chosen by cross-validation within the part that is learned from, by the same
groups; the heads are skbert's with their defaults. Nothing is chosen by what is scored.

STS-B (its development part) has scores of likeness: Spearman's correlation of the cosine of two single vectors with
them, for skbert and for sentence-transformers' own `encode` of the same model.

Without SKBERT_DATA sample tweets stand in, each with the one before it, and the row says so; STS-B is left out.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import scipy
import sklearn
import torch
import transformers
from _common import new_row, write_row
from _corpora import has_data
from _models import minilm_folder
from _peers import SentenceTransformers, sentence_transformers
from _quality_data import MODEL, Corpus
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import spearmanr
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss
from sklearn.model_selection import GridSearchCV, GroupShuffleSplit, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbert import BertEmbedder, BertSentimentClassifier, HeadClassifier

SCORES = ("accuracy", "macro_f1", "log_loss")
LAYERS = {"last layer": (-1,), "last four layers": (-4, -3, -2, -1)}
STRENGTHS = np.logspace(-5, 0, 6)


def sides(pairs):
    """Return the first sentences and the second ones."""
    return [list(side) for side in zip(*pairs, strict=True)]


def groups_of(pairs):
    """Return a number for each pair, the same for pairs that share a sentence, also by way of others."""
    number = {}
    places = np.array([[number.setdefault(side, len(number)) for side in pair] for pair in pairs])
    tied = coo_array((np.ones(len(places)), places.T), shape=(len(number), len(number)))
    return connected_components(tied, directed=False)[1][places[:, 0]]


def inputs(pairs, embedder):
    """Return the ways to give a pair to a classifier, as matrices."""
    u, v = (embedder.transform(side) for side in sides(pairs))
    return {
        "pair": embedder.transform(pairs),
        "[u, v]": np.hstack([u, v]),
        "[u, v, |u-v|, u*v]": np.hstack([u, v, np.abs(u - v), u * v]),
    }


def logistic(X, y, groups):
    """Return a logistic regression whose strength is chosen by cross-validation on these rows."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, tol=1e-3))
    folds = StratifiedGroupKFold(4, shuffle=True, random_state=0)
    grid = {"logisticregression__C": STRENGTHS}
    return GridSearchCV(model, grid, cv=folds, scoring="neg_log_loss").fit(X, y, groups=groups)


def scored(model, X, y):
    """Return the scores of a fitted model, in the order of SCORES."""
    proba = model.predict_proba(X)
    found = model.classes_[proba.argmax(axis=1)]
    return accuracy_score(y, found), f1_score(y, found, average="macro"), log_loss(y, proba, labels=model.classes_)


def told(found):
    """Return mean and standard deviation over the splits of each score."""
    mean, sd = np.mean(found, axis=0), np.std(found, axis=0, ddof=1)
    return {name: [round(float(a), 4), round(float(b), 4)] for name, a, b in zip(SCORES, mean, sd, strict=True)}


def bench_mrpc(cache, seeds, count):
    """Return the row of MRPC."""
    corpus = Corpus("mrpc", cache, count)
    pairs = [corpus.distinct[k] for k in corpus.group]
    y, groups = corpus.y, groups_of(pairs)
    splits = [
        (seed, *next(GroupShuffleSplit(1, test_size=0.2, random_state=seed).split(pairs, y, groups)))
        for seed in range(seeds)
    ]
    cases, chosen, start, cpu = {}, {}, time.perf_counter(), time.process_time()

    def run(name, fit, X):
        found = []
        for seed, learn, score in splits:
            part = [[X[k] for k in rows] if isinstance(X, list) else X[rows] for rows in (learn, score)]
            model = fit(part[0], y[learn], groups[learn], seed)
            found.append(scored(model, part[1], y[score]))
            if isinstance(model, GridSearchCV):
                chosen.setdefault(name, []).append(float(model.best_params_["logisticregression__C"]))
        cases[name] = told(found)
        print(f"{name:60}", cases[name], flush=True)

    run("majority class", lambda X, y, groups, seed: DummyClassifier(strategy="prior").fit(X, y), pairs)
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True).fit([" ".join(pair) for pair in pairs])
    u, v = (words.transform(side).tocsr() for side in sides(pairs))
    # What both sides have, what one side alone has, and the cosine. Words are counted over all pairs, without labels.
    cosine = np.asarray(u.multiply(v).sum(axis=1)).reshape(-1, 1)
    for name, X in {
        "TF-IDF |u-v|, u*v": scipy.sparse.hstack([abs(u - v), u.multiply(v), cosine]).tocsr(),
        "TF-IDF cosine alone": cosine,
    }.items():
        run(
            f"{name}, logistic regression",
            lambda X, y, *_: LogisticRegression(C=5, max_iter=1000).fit(X, y),
            X,
        )
    for what, layers in LAYERS.items():
        embedder = BertEmbedder(
            *(MODEL,), layers=layers, long_texts="truncate", device="cpu", cache=str(cache / "vectors"),
            store_layers="all",
        )  # fmt: skip
        for name, X in inputs(pairs, embedder).items():
            run(f"{name}, {what}, logistic regression", lambda X, y, groups, _: logistic(X, y, groups), X)
            if name == "pair":
                run(
                    f"{name}, {what}, BertSentimentClassifier",
                    lambda X, y, groups, seed, e=embedder: BertSentimentClassifier(e, random_state=seed).fit(X, y),
                    pairs,
                )
            else:
                run(
                    f"{name}, {what}, HeadClassifier",
                    lambda X, y, groups, seed: HeadClassifier(random_state=seed).fit(X, y),
                    X,
                )
    row = new_row(f"pairs: {corpus.what}, {MODEL}", torch, transformers, sklearn)
    row |= {"pairs": len(pairs), "sentences": len({side for pair in pairs for side in pair})}
    row |= {"groups": len(set(groups)), "seeds": seeds, "largest_group": int(np.bincount(groups).max())}
    row |= {"learned_from": round(np.mean([len(a) for _, a, _ in splits]))}
    row |= {"scored_on": round(np.mean([len(b) for *_, b in splits]))}
    row |= {"minutes": round((time.perf_counter() - start) / 60, 1)}
    row |= {"cpu_minutes": round((time.process_time() - cpu) / 60, 1)}
    return row | {"scores": "mean and standard deviation over the splits", "cases": cases, "chosen_C": chosen}


def read_stsb(folder):
    """Return scores, first sentences and second ones of the development part."""
    frame = pd.read_csv(Path(folder) / "stsb/sts-dev.csv", sep="\t", quoting=3, header=None, usecols=[4, 5, 6])
    return frame[4].to_numpy(float), frame[5].tolist(), frame[6].tolist()


def cosines(u, v):
    """Return the cosine of each row of u with that of v."""
    return (u * v).sum(axis=1) / (np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1))


def bench_stsb():
    """Return the row of STS-B."""
    scores, first, second = read_stsb(os.environ["SKBERT_DATA"])
    embedder = BertEmbedder(MODEL, long_texts="truncate", device="cpu", cache=None)
    ways = {"skbert": embedder.transform}
    if sentence_transformers is not None:
        ways["sentence-transformers"] = SentenceTransformers(minilm_folder(), "cpu", "float32").encode
    vectors = {name: [np.asarray(encode(side)) for side in (first, second)] for name, encode in ways.items()}
    row = new_row(f"pairs: STS-B, development part, {MODEL}", torch, transformers, sentence_transformers, scipy)
    row |= {"pairs": len(scores)}
    row["spearman"] = {name: round(float(spearmanr(cosines(*uv), scores)[0]), 6) for name, uv in vectors.items()}
    if len(ways) == 2:
        row["difference"] = float(max(np.abs(a - b).max() for a, b in zip(*vectors.values(), strict=True)))
    return row


def main():
    """Run both and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", help="folder for vectors; by default one that is gone afterwards")
    parser.add_argument("--seeds", type=int, default=5, help="number of splits")
    parser.add_argument("--quick", action="store_true", help="few pairs and two splits, to see whether it runs through")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=sklearn.exceptions.ConvergenceWarning)  # at C that is not chosen
    if not has_data():
        print("SKBERT_DATA names no folder: the sample tweets stand in, and STS-B is left out.")
    elif not options.quick:
        write_row("pairs", bench_stsb())
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(options.cache or folder)
        cache.mkdir(parents=True, exist_ok=True)
        row = bench_mrpc(cache, 2 if options.quick else options.seeds, 400 if options.quick else None)
        write_row("pairs", row | {"quick": options.quick})


if __name__ == "__main__":
    main()
