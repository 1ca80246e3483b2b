"""explain: which words carried the decision of a classifier on tweets, by leaving words out and by gradients.

There is no peer: what a variant of a text costs is told beside what a text costs. The first tweets are drawn without
favour, the classifier is trained on others, and its own vectors are in memory when the clock starts.

    SKBERT_DATA=folder .venv/bin/python benchmarks/bench_explain.py
"""

from __future__ import annotations

import argparse
import statistics
import warnings

import numpy as np
import sklearn
import torch
from _common import clocked, new_row, write_row
from _corpora import tweets
from sklearn.pipeline import make_pipeline

import skbert
from skbert import BertEmbedder, BertSentimentClassifier, MemoryStore, TextCleaner
from skbert._engine.probing import probing
from skbert.inspection import explain

METHODS = ("leave_one_out", "integrated_gradients")


def check(model, X, method, explanations):
    """Return by how much explanations miss what they promise, at worst."""
    if method == "integrated_gradients":
        gaps = [(e.log_odds - e.baseline_log_odds, e.attributions.sum()) for e in explanations]
        return max(abs(gap - total) / max(1.0, abs(gap)) for gap, total in gaps)
    # The last word of each text, by hand: what is before it, without white space at the end.
    rows = [row for row, e in enumerate(explanations) if e.words and e.words[-1].end == len(X[row])]
    cut = [X[row][: explanations[row].words[-1].start] for row in rows]
    kept = [row for row, text in zip(rows, cut, strict=True) if text[-1:].isspace()]
    with probing():
        p = model.predict_proba([X[row][: explanations[row].words[-1].start].rstrip() for row in kept])
    codes = [list(model.classes_).index(explanations[row].target) for row in kept]
    odds = [np.log(row[code] / np.delete(row, code).sum()) for row, code in zip(p, codes, strict=True)]
    return max(
        abs(explanations[row].log_odds - one - explanations[row].attributions[-1])
        for row, one in zip(kept, odds, strict=True)
    )


def main():
    """Explain the same tweets by each method, in turn, and write a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--texts", type=int, default=100)
    parser.add_argument("--train", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # of near copies among the tweets
    source, texts, labels = tweets(args.texts + args.train)
    X = texts[: args.texts]
    embedder = BertEmbedder(
        args.model, layers=(-4, -3, -2, -1), cache=MemoryStore(), device=args.device, dtype="float32"
    )
    model = make_pipeline(TextCleaner(), BertSentimentClassifier(embedder, random_state=0))
    model.fit(texts[args.texts :], labels[args.texts :])
    _, _, p = clocked(lambda: model.predict_proba(X))
    one_pass = BertEmbedder(args.model, layers=(-4, -3, -2, -1), cache=None, device=args.device, dtype="float32")
    for method in args.methods:
        walls, cpus, passes, found = [], [], [], []
        for _ in range(args.rounds):
            passes.append(clocked(lambda: one_pass.transform(texts[-200:]))[0] / 200)
            wall, cpu, found = clocked(lambda method=method: explain(X, model, method=method))
            walls.append(wall)
            cpus.append(cpu)
        n_words = sum(len(e.words) for e in found)
        row = new_row(
            f"explain, {method}: {len(X):,} {source}, BertSentimentClassifier on {args.model}, four layers",
            torch,
            sklearn,
            skbert,
            device=args.device,
        )
        row |= {
            "case": method,
            "texts": len(X),
            "words": n_words,
            "rounds": args.rounds,
            "seconds": round(statistics.median(walls), 2),
            "seconds_rounds": [round(wall, 2) for wall in walls],
            "cpu_seconds": round(statistics.median(cpus), 2),
            "milliseconds_a_text": round(1_000 * statistics.median(walls) / len(X), 1),
            "milliseconds_a_text_embedded_once": round(1_000 * statistics.median(passes), 2),
            "passes_a_text": round(statistics.median(walls) / len(X) / statistics.median(passes), 1),
            "difference": float(f"{check(model, X, method, found):.2g}"),
            "difference_of_log_odds": float(
                f"{max(abs(e.log_odds - np.log(q.max() / (1 - q.max()))) for e, q in zip(found, p, strict=True)):.2g}"
            ),
        }
        if method == "integrated_gradients":
            row["steps"] = {str(n): sum(e.n_steps == n for e in found) for n in sorted({e.n_steps for e in found})}
        write_row("explain", row)


if __name__ == "__main__":
    main()
