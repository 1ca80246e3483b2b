"""One grid search done in several ways, in turn in one process, on the same tweets and folds.

    SKBERT_DATA=folder python benchmarks/bench_grid_search.py [--texts 500] [--rounds 5] [--peer-rounds 1] [--jobs 2]

The search is GridSearchCV with 10 values of C for a LogisticRegression, 5 folds, and a refit. The ways:

- memory, disk: skbert in the pipeline, with an empty store;
- matrix: the expert's way, embedding once outside and searching over the matrix;
- disk, again: a second search over a folder that the first has filled;
- disk, --jobs processes: the search divided among new processes that share one empty folder;
- peer: sentence-transformers in the pipeline, where every fold of every candidate embeds its texts anew. It takes
  51 times as long as to embed the texts once. --peer-rounds 0 leaves it out.

All must find the same. Seconds are told by the clock and by the processor (of this process alone): the peer's search
is so long that what else the machine does meanwhile may be more, or less, than during the others. Writes a row to
benchmarks/results/grid_search.jsonl.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import defaultdict

import numpy as np
import sentence_transformers
import sklearn
import torch
import transformers
from _common import clocked, new_row, paired_ratios, write_row
from _corpora import tweets
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from skbert import BertEmbedder, MemoryStore, cache_info
from skbert._engine.sources import resolve_model

MODEL = "all-MiniLM-L6-v2"
C = np.logspace(-2, 2, 10).tolist()
N_FOLDS = 5
PEER_BATCHES = (8, 16, 32, 64)
# Where C is large, the solver stops at its tolerance on a flat slope: vectors that differ in the seventh digit move it
# by a tweet or two of 500. So the peer's vectors are held to be equal closely, and its accuracies loosely.
VECTOR_TOLERANCE, SCORE_TOLERANCE = 1e-5, 0.01


def search(X, y, embedder=None, n_jobs=None):
    """Return the fitted search, over texts with an embedder in the pipeline, or over a matrix without."""
    steps = [("classifier", LogisticRegression(max_iter=1000))]
    if embedder is not None:
        steps.insert(0, ("embedder", embedder))
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=0)
    grid = GridSearchCV(Pipeline(steps), {"classifier__C": C}, cv=folds, n_jobs=n_jobs, error_score="raise")
    return grid.fit(X, y)


def embedder(cache):
    """Return skbert's embedder with this cache."""
    return BertEmbedder(MODEL, device="cpu", dtype="float32", cache=cache)


class Ways:
    """The ways of skbert and of the expert on the same texts: times and scores, round by round."""

    def __init__(self, texts, y):
        self.texts, self.y = texts, y
        self.seconds, self.cpu = defaultdict(list), defaultdict(list)
        self.scores = {}
        self.best = None

    def run(self, first):
        """Do one round; `first` says which way begins, so that none always has the same place."""
        order = [self.memory, self.disk, self.matrix]
        for way in order[first % 3 :] + order[: first % 3]:
            way()

    def memory(self):
        """Search with an empty store in memory."""
        store = MemoryStore()
        self._note("memory", *self._search(store))
        self._check_misses(store, len(self.texts))

    def disk(self):
        """Search with an empty folder, and once more with the full one."""
        with tempfile.TemporaryDirectory() as folder:
            self._note("disk", *self._search(folder))
            self._check_misses(folder, len(self.texts))
            self._note("disk, again", *self._search(folder))
            self._check_misses(folder, len(self.texts))  # none has been added

    def matrix(self):
        """Embed once outside, and search over the matrix."""
        *embedding, X = clocked(lambda: embedder(None).transform(self.texts))
        *searching, found = clocked(lambda: search(X, self.y))
        self._note_time("matrix: embedding", *embedding)
        self._note_time("matrix: search", *searching)
        self._note("matrix", embedding[0] + searching[0], embedding[1] + searching[1], found)

    def processes(self, n_jobs):
        """Search in `n_jobs` new processes with one empty folder; return how many texts were embedded twice."""
        with tempfile.TemporaryDirectory() as folder:
            self._note(f"disk, {n_jobs} processes", *self._search(folder, n_jobs))
            return cache_info(folder).misses - len(self.texts)

    def peer(self, encode):
        """Search with the peer in the pipeline; return the largest difference of the vectors and of the mean scores."""
        vectors = float(np.abs(encode(self.texts) - embedder(None).transform(self.texts)).max())
        assert vectors < VECTOR_TOLERANCE, vectors
        *times, found = clocked(lambda: search(self.texts, self.y, FunctionTransformer(encode)))
        self._note_time("peer", *times)
        scores = float(np.abs(found.cv_results_["mean_test_score"] - self.scores["matrix"]).max())
        assert scores <= SCORE_TOLERANCE, scores
        assert found.best_index_ == self.best, (found.best_index_, self.best)
        return vectors, scores

    def _search(self, cache, n_jobs=None):
        return clocked(lambda: search(self.texts, self.y, embedder(cache), n_jobs))

    def _note_time(self, name, wall, cpu):
        self.seconds[name].append(wall)
        self.cpu[name].append(cpu)

    def _note(self, name, wall, cpu, found):
        self._note_time(name, wall, cpu)
        self.scores[name] = found.cv_results_["mean_test_score"]
        self.best = found.best_index_
        for other, scores in self.scores.items():
            assert np.array_equal(scores, self.scores[name]), (other, name, scores, self.scores[name])

    def _check_misses(self, cache, expected):
        misses = cache_info(cache).misses
        assert misses == expected, f"{misses} texts were embedded instead of {expected}"


def load_peer(texts):
    """Return sentence-transformers' encode, with the batch size that is cheapest here, and that size."""
    model = sentence_transformers.SentenceTransformer(str(resolve_model(MODEL).folder), device="cpu")
    some = texts[:200]
    model.encode(some)
    cpu = {n: min(clocked(lambda n=n: model.encode(some, batch_size=n))[1] for _ in range(2)) for n in PEER_BATCHES}
    best = min(cpu, key=cpu.get)
    # A function is not copied when a pipeline is cloned; a transformer that held the model would copy its weights.
    return (lambda texts: model.encode(texts, batch_size=best)), best


def main():
    """Run the rounds and write the row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-rounds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="processes of the divided search; 0 leaves it out")
    options = parser.parse_args()
    source, texts, y = tweets(options.texts)

    search(texts[:100], y[:100], embedder(MemoryStore()))  # loads the model
    ways = Ways(texts, y)
    for number in range(options.rounds):
        ways.run(number)
    twice = ways.processes(options.jobs) if options.jobs else None
    encode, batch_size = load_peer(texts) if options.peer_rounds else (None, None)
    differences = [ways.peer(encode) for _ in range(options.peer_rounds)]

    row = new_row(
        f"GridSearchCV, {len(C)} candidates x {N_FOLDS} folds and a refit, LogisticRegression; {source}, different: "
        f"{len(texts)} texts, {MODEL}, float32",
        *(torch, transformers, sentence_transformers, sklearn),
    )
    row["rounds"] = options.rounds
    row["seconds"] = {name: round(statistics.median(times), 2) for name, times in ways.seconds.items()}
    row["cpu_seconds"] = {name: round(statistics.median(times), 2) for name, times in ways.cpu.items()}
    for name in ("memory", "disk"):
        ratio, ratios = paired_ratios(ways.seconds[name], ways.seconds["matrix"])
        row |= {f"{name}_to_matrix": ratio, f"{name}_to_matrix_rounds": ratios}
        row[f"{name}_to_matrix_cpu"], _ = paired_ratios(ways.cpu[name], ways.cpu["matrix"])
    if options.jobs:
        row["embedded_twice_by_processes"] = twice
    if options.peer_rounds:
        wall, cpu = row["seconds"], row["cpu_seconds"]
        row |= {
            "peer": f"sentence-transformers encode in the pipeline, batch_size {batch_size} (the cheapest of "
            f"{', '.join(map(str, PEER_BATCHES))}), {options.peer_rounds} whole search(es)",
            "ratio": round(wall["peer"] / wall["memory"], 1),
            "ratio_disk": round(wall["peer"] / wall["disk"], 1),
            "ratio_cpu": round(cpu["peer"] / cpu["memory"], 1),
            "difference": max(vectors for vectors, _ in differences),
            "difference_of_scores": max(scores for _, scores in differences),
        }
    write_row("grid_search", row)


if __name__ == "__main__":
    main()
