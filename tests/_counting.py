"""What counts forwards in other processes: an embedder that logs them, a search, and what other interpreters run."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from skbert import BertEmbedder
from skbert._engine import registry

WORDS = "a about again better boring debate facts fair funny good great hate host lies love moderator no night".split()
CANDIDATES, FOLDS = 10, 5


def made_up(n: int, seed: int = 0) -> list[str]:
    """Return `n` different short texts, which share their beginnings and their words."""
    draw = np.random.default_rng(seed)
    return [" ".join([*draw.choice(WORDS, draw.integers(1, 5)), f"{seed}{k}"]) for k in range(n)]


def labels(texts: list[str]) -> np.ndarray:
    """Return labels that depend on the words, so that scores depend on the vectors."""
    first = set(WORDS[::2])
    return np.array([sum(1 if word in first else -1 for word in text.split()[:-1]) > 0 for text in texts], dtype=int)


def n_forwards() -> int:
    """Return how many texts went through the encoders that this process holds."""
    return sum(encoder.n_texts for encoder in registry._encoders.values())


class CountingEmbedder(BertEmbedder):
    """Writes its process and the number of texts that it sent through an encoder to ``<cache>.forwards``."""

    def transform(self, X: Any) -> np.ndarray:
        before = n_forwards()
        try:
            return super().transform(X)
        finally:
            line = f"{os.getpid()} {n_forwards() - before}\n"
            file = os.open(f"{self.cache}.forwards", os.O_APPEND | os.O_CREAT | os.O_WRONLY)
            os.write(file, line.encode())  # one write, so that the lines of several processes do not mix
            os.close(file)


def logged(cache: str | Path) -> list[tuple[int, int]]:
    """Return what the counting embedders of all processes wrote: process and texts, one entry a call."""
    lines = Path(f"{cache}.forwards").read_text().splitlines()
    return [(int(pid), int(n)) for pid, n in map(str.split, lines)]


def n_logged(cache: str | Path) -> int:
    """Return how many texts went through the encoders of all processes."""
    return sum(n for _, n in logged(cache))


def pipeline(embedder: BertEmbedder) -> Pipeline:
    """Return the embedder with a cheap classifier after it."""
    return Pipeline([("embed", embedder), ("classify", RidgeClassifier())])


def search(embedder: BertEmbedder, texts: list[str], n_jobs: int | None = None) -> GridSearchCV:
    """Return the law's own search, fitted: ten candidates, five folds, and the refit."""
    grid = {"classify__alpha": np.logspace(-3, 3, CANDIDATES)}
    return GridSearchCV(pipeline(embedder), grid, cv=FOLDS, n_jobs=n_jobs).fit(texts, labels(texts))


def second_run(folder: str, cache: str, n: int) -> None:
    """Search anew, as the script of another day would, and print what that took."""
    # The best device there is, and yet the vectors of any device: their dtype is what counts.
    found = search(CountingEmbedder(folder, cache=cache, device="auto", dtype="float32"), made_up(n))
    print(  # noqa: T201
        json.dumps(
            {
                "scores": found.cv_results_["mean_test_score"].tolist(),
                "calls": [forwards for pid, forwards in logged(cache) if pid == os.getpid()],
                "encoders": len(registry._encoders),
                "loader": "skbert._engine.encoder" in sys.modules,
                "cuda": torch.cuda.is_initialized(),
            }
        )
    )


def meet(place: str | Path, me: int, runners: int) -> None:
    """Wait until so many processes have come this far, all that they import behind them."""
    Path(f"{place}.ready{me}").touch()
    deadline = time.monotonic() + 120
    while not all(Path(f"{place}.ready{k}").exists() for k in range(runners)):
        assert time.monotonic() < deadline, "The other runners never came."
        time.sleep(0.001)


def race(folder: str, cache: Path, n: int, me: int, runners: int) -> np.ndarray:
    """Embed the same texts as the other runners at the same time: wait until all have loaded the model, then start."""
    texts = made_up(n)
    BertEmbedder(folder, cache=None, device="cpu").transform(["ready"])
    meet(cache, me, runners)
    # Every second runner reads from the end; small batches, so that nobody is done before the others begin.
    step = -1 if me % 2 else 1
    embedder = CountingEmbedder(folder, cache=cache, device="cpu", batch_tokens=48)
    return embedder.transform(texts[::step])[::step]
