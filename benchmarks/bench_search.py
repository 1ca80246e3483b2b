"""HeadSearchCV beside GridSearchCV: the same grid of heads, 24 candidates and 5 folds, on vectors of tweets.

Both searches get the same vectors and the same folds. Each case has its own grid: the width of the head decides how
much there is to gain, since two cores are nearly filled by the products of one wide head. The last case searches over
a whole pipeline from raw texts, whose vectors are in memory when the clock starts, as they are in a second search.

    SKBERT_DATA=folder .venv/bin/python benchmarks/bench_search.py
"""

from __future__ import annotations

import argparse
import statistics
import warnings

import numpy as np
import sklearn
import torch
from _common import clocked, new_row, paired_ratios, write_row
from _corpora import tweets
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline

import skbert
from skbert import BertEmbedder, BertSentimentClassifier, HeadClassifier, HeadSearchCV, MemoryStore, TextCleaner

LAYERS = {384: -1, 1536: (-4, -3, -2, -1)}
REGULARISATION = {"dropout": [0.0, 0.3, 0.5, 0.7], "weight_decay": [0.5, 5.0], "learning_rate_init": [5e-4, 1e-3, 2e-3]}
WIDTHS = {
    "hidden_layer_sizes": [(), (16,), (32,), (64,)],
    "weight_decay": [0.5, 5.0],
    "learning_rate_init": [5e-4, 1e-3, 2e-3],
}
# name: what is searched, columns of the vectors, parameters of the head, grid
CASES = {
    "default": ("head", 1536, {}, REGULARISATION),
    "one-layer": ("head", 384, {}, REGULARISATION),
    "narrow": ("head", 384, {"hidden_layer_sizes": (32,)}, REGULARISATION),
    "linear": ("head", 384, {"hidden_layer_sizes": ()}, REGULARISATION),
    "widths": ("head", 384, {}, WIDTHS),
    "pipeline": ("pipeline", 384, {}, REGULARISATION),
}


def problem(kind, n_columns, params, texts, labels, store, device, model):
    """Return what is searched over, its data, and the prefix of its parameters."""
    embedder = BertEmbedder(model, layers=LAYERS[n_columns], cache=store, device=device)
    head = {"random_state": 0, "device": device, **params}
    if kind == "head":
        return HeadClassifier(**head), embedder.transform(texts), labels, ""
    pipeline = make_pipeline(TextCleaner(), BertSentimentClassifier(embedder, **head))
    clone(pipeline[0]).fit_transform(texts)
    embedder.transform(pipeline[0].transform(texts))
    return pipeline, texts, labels, "bertsentimentclassifier__"


def run_case(name, args):
    """Search in turn, round by round, and write a row."""
    kind, n_columns, params, grid = CASES[name]
    source, texts, labels = tweets(args.texts)
    store = MemoryStore(2**31)
    estimator, X, y, prefix = problem(kind, n_columns, params, texts, labels, store, args.device, args.model)
    grid = {prefix + key: values for key, values in grid.items()}
    cv = StratifiedKFold(5, shuffle=True, random_state=0)
    scoring = {"accuracy": "accuracy", "log_loss": "neg_log_loss"}
    walls, cpus, found = ({"GridSearchCV": [], "HeadSearchCV": []} for _ in range(3))
    for _ in range(args.rounds):
        for search in (HeadSearchCV, GridSearchCV):
            made = search(estimator, grid, cv=cv, scoring=scoring, refit="log_loss")
            wall, cpu, fitted = clocked(lambda made=made: made.fit(X, y))
            walls[search.__name__].append(wall)
            cpus[search.__name__].append(cpu)
            found[search.__name__] = fitted
    ours, theirs = found["HeadSearchCV"], found["GridSearchCV"]
    row = new_row(
        f"a search over 24 candidates x 5 folds and the refit; {name}: {kind}, {source}, {len(texts):,} texts, "
        f"{n_columns} columns",
        torch,
        sklearn,
        skbert,
        device=args.device,
    )
    row |= {
        "case": name,
        "texts": len(texts),
        "rounds": args.rounds,
        "seconds": {key: round(statistics.median(values), 2) for key, values in walls.items()},
        "cpu_seconds": {key: round(statistics.median(values), 2) for key, values in cpus.items()},
        "best": {
            key: {"accuracy": round(float(one.cv_results_["mean_test_accuracy"][one.best_index_]), 4)}
            | {"log_loss": round(float(-one.best_score_), 4)}
            for key, one in found.items()
        },
        "same_winner": bool(ours.best_index_ == theirs.best_index_),
    }
    for metric in scoring:
        key = f"mean_test_{metric}"
        row[f"difference_of_{metric}"] = float(np.abs(ours.cv_results_[key] - theirs.cv_results_[key]).max().round(6))
    row["ratio"], row["ratio_rounds"] = paired_ratios(walls["GridSearchCV"], walls["HeadSearchCV"])
    row["ratio_cpu"], _ = paired_ratios(cpus["GridSearchCV"], cpus["HeadSearchCV"])
    write_row("search", row)


def main():
    """Run the cases that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--texts", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # of near copies among the tweets
    for name in args.cases:
        run_case(name, args)


if __name__ == "__main__":
    main()
