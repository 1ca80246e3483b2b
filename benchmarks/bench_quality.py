"""What makes a head on frozen vectors better: each idea alone, on four corpora, chosen on validation parts.

    SKBERT_DATA=folder python benchmarks/bench_quality.py --cache vectors             # the study, 40 processor minutes
    SKBERT_DATA=folder python benchmarks/bench_quality.py --cache vectors --rows 400  # the same with 400 rows to learn
    SKBERT_DATA=folder python benchmarks/bench_quality.py --cache vectors --test      # defaults, options, references
    python benchmarks/bench_quality.py --quick                                        # whether all of it runs through
    python benchmarks/bench_quality.py --page                                         # the page's tables

For each seed a fifth of the texts is put away as the test part (all copies of a text are on one side). What remains is
split once more; the study learns from four fifths of it and scores on the last fifth. The test parts are looked at by
--test alone, which knows only the defaults, the options that docs/guide/quality.md has, and the models to compare with.

Vectors are those of all-MiniLM-L6-v2, kept in the folder --cache: a second run embeds nothing. Without SKBERT_DATA the
sample tweets stand in for every corpus, and a row of theirs says so.

Writes a row for each corpus to benchmarks/results/quality.jsonl: of each case the means over the seeds of what
"columns" names. "log_loss_t1" and "ece_t1" are those without the temperature, null where there is none.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from pathlib import Path

import numpy as np
import sklearn
import torch
import transformers
from _common import new_row, write_row
from _corpora import has_data
from _quality_data import CORPORA, MODEL, SEEDS, Corpus
from _quality_ideas import DEFAULTS, Idea, head, ideas, references, test_cases
from _quality_page import write_page
from sklearn.metrics import f1_score

COLUMNS = ("accuracy", "macro_f1", "log_loss", "ece", "log_loss_t1", "ece_t1", "epochs", "cpu_seconds")
N_BINS = 15
QUICK_ROWS = 600
STATES, TEST_STATES = 5, 3  # random_states: of the defaults in the study, of every head in the test


def calibration_error(hit, confidence):
    """Return the expected calibration error: 15 bins of equal width of the largest probability."""
    place = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    gap = np.bincount(place, weights=confidence - hit, minlength=N_BINS)
    return float(np.abs(gap).sum() / len(hit))


def scores(outcome, y, classes):
    """Return the scores of an outcome, in the order of COLUMNS."""
    code = np.searchsorted(classes, y)

    def losses(proba):
        if proba is None:
            return None, None
        likelihood = proba[np.arange(len(y)), code]
        hit = proba.argmax(1) == code
        return -float(np.log(likelihood.clip(1e-15)).mean()), calibration_error(hit, proba.max(1))

    answer = outcome.proba.argmax(1)
    f1 = f1_score(code, answer, average="macro")
    own = (float((answer == code).mean()), f1, *losses(outcome.proba), *losses(outcome.plain))
    return [*own, outcome.epochs, outcome.seconds]


def mean(rows):
    """Return the means of the columns; None for a column without numbers."""
    columns = [[value for value in column if np.isscalar(value)] for column in zip(*rows, strict=True)]
    return [float(np.mean(column)) if column else None for column in columns]


def mean_of(states):
    """Return the mean scores of each split over the random_states."""
    return [mean(rows) for rows in zip(*states, strict=True)]


def rounded(row):
    """Return a case as it is written down."""
    places = {"epochs": 1, "cpu_seconds": 2}
    return [None if v is None else round(v, places.get(name, 4)) for name, v in zip(COLUMNS, row, strict=True)]


def few(rows, count):
    """Return `count` of the rows, drawn without favour."""
    return rows if count is None else np.random.default_rng(0).permutation(rows)[:count]


def run_case(corpus, idea, splits, state=0):
    """Return the scores of a case on each split."""
    found = []
    for seed, learn, score in splits:
        result = idea.run(corpus, learn, score, seed + 100 * state)
        found.append(scores(result, corpus.y[score], np.unique(corpus.y[learn])))
    return found


def run_corpus(corpus, cases, options):
    """Return the row of a corpus: the noise of the defaults, and all cases."""
    n_seeds = options.seeds or (1 if options.quick else SEEDS[corpus.key])
    splits = [(seed, few(a, options.rows), b) for seed, a, b in corpus.splits(n_seeds, test=options.test)]
    start, cpu = time.perf_counter(), time.process_time()
    defaults = Idea("", DEFAULTS, head())
    # Noise of the defaults from five random_states. On the test parts every head has three, lest chance decide.
    n_states = 2 if options.quick else TEST_STATES if options.test else STATES
    states = [run_case(corpus, defaults, splits, state) for state in range(n_states)]
    done = {DEFAULTS: mean_of(states)}
    show(corpus, DEFAULTS, done[DEFAULTS])
    for idea in cases:
        if idea.suits(corpus):
            n_own = n_states if options.test and idea.group != "references" else 1
            done[idea.name] = mean_of([run_case(corpus, idea, splits, state) for state in range(n_own)])
            show(corpus, idea.name, done[idea.name])
    corpus.forget_states()
    by_state = np.array([mean(rows)[:4] for rows in states])
    row = new_row(f"quality: {corpus.what}, {MODEL}", torch, transformers, sklearn)
    row |= {"corpus": corpus.key, "part": "test" if options.test else "validation", "rows": options.rows or "all"}
    row |= {"quick": options.quick, "texts": len(corpus.distinct), "copies": len(corpus.y) - len(corpus.distinct)}
    row |= {"learned_from": round(np.mean([len(a) for _, a, _ in splits])), "seeds": n_seeds}
    row |= {"scored_on": round(np.mean([len(b) for *_, b in splits]))}
    row["minutes"] = round((time.perf_counter() - start) / 60, 1)
    row["cpu_minutes"] = round((time.process_time() - cpu) / 60, 1)
    # Of the mean over the splits, by the head's own seed: accuracy, macro-F1, log loss, calibration error.
    row["spread_of_defaults"] = by_state.std(axis=0, ddof=1).round(5).tolist()
    row["columns"] = COLUMNS
    row["cases"] = {name: rounded(mean(found)) for name, found in done.items()}
    return row


def show(corpus, name, found):
    """Print a case."""
    numbers = ["–" if v is None else f"{v:.4g}" for v in rounded(mean(found))]
    print(f"{corpus.key:8}{name:42}" + "".join(f"{number:>9}" for number in numbers), flush=True)


def main():
    """Run the study, or the test, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", nargs="+", choices=CORPORA, default=list(CORPORA))
    parser.add_argument("--ideas", nargs="+", help="groups of ideas, or words in their names; all by default")
    parser.add_argument("--seeds", type=int, help="number of splits; by default as many as the corpus asks for")
    parser.add_argument("--rows", type=int, help="number of rows to learn from; all by default")
    parser.add_argument("--cache", help="folder for vectors; by default one that is gone afterwards")
    parser.add_argument("--test", action="store_true", help="score defaults, options and references on the test parts")
    parser.add_argument("--quick", action="store_true", help="few rows and one seed, to see whether it runs through")
    parser.add_argument("--page", action="store_true", help="only write the tables of the page from the rows")
    options = parser.parse_args()
    if options.page:
        write_page()
        return
    if not has_data():
        print("SKBERT_DATA names no folder: the sample tweets stand in for every corpus.")
    cases = test_cases() if options.test else [*references(), *ideas()]
    if options.ideas:
        cases = [
            idea
            for idea in cases
            if any(word in (idea.group, idea.name) or word in idea.name for word in options.ideas)
        ]
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(options.cache or folder)
        cache.mkdir(parents=True, exist_ok=True)
        for key in options.corpora:
            row = run_corpus(Corpus(key, cache, QUICK_ROWS if options.quick else None), cases, options)
            with contextlib.redirect_stdout(io.StringIO()):  # it has all been told, a case a line
                write_row("quality", row)


if __name__ == "__main__":
    main()
