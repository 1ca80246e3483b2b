"""Texts to vectors: skbert beside sentence-transformers, in turn in one process, on the same tweets.

    SKBERT_DATA=folder python benchmarks/bench_encode.py [--texts 1500] [--rounds 3] [--budgets 1024 2048 4096]

Prints, for each token budget, the ratio of the times (peer / skbert), median over the rounds, and the largest
difference of the vectors. Writes a row for the default budget to benchmarks/results/encode.jsonl.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import sentence_transformers
import sklearn
import torch
import transformers

from skbert import BertEmbedder
from skbert._engine.devices import auto_batch_tokens
from skbert._engine.sources import resolve_model
from skbert.datasets import load_gop_debate, load_sample_tweets

MODEL = "all-MiniLM-L6-v2"
RESULTS = Path(__file__).parent / "results" / "encode.jsonl"


def timed(function):
    """Return the seconds that a call takes, and its result."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def processor():
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def main():
    """Run the rounds and write the row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budgets", type=int, nargs="*", default=[])
    parser.add_argument("--copies", action="store_true", help="rows as they are, with their copies")
    options = parser.parse_args()

    source = "GOP tweets" if os.environ.get("SKBERT_DATA") else "sample tweets"
    X, _ = (load_gop_debate if source == "GOP tweets" else load_sample_tweets)(return_X_y=True)
    texts = list(X) if options.copies else list(dict.fromkeys(X))
    draw = np.random.default_rng(0).permutation(len(texts))[: options.texts]
    texts = [texts[k] for k in draw]

    peer = sentence_transformers.SentenceTransformer(str(resolve_model(MODEL).folder), device="cpu")
    default = auto_batch_tokens(torch.device("cpu"))
    budgets = sorted({default, *options.budgets})
    embedders = {n: BertEmbedder(MODEL, device="cpu", cache=None, batch_tokens=n) for n in budgets}
    for warm in (peer.encode, embedders[default].transform):
        warm(texts[:64])

    times = {"peer": [], **{n: [] for n in budgets}}
    for _ in range(options.rounds):
        seconds, expected = timed(lambda: peer.encode(texts))
        times["peer"].append(seconds)
        for n, embedder in embedders.items():
            seconds, found = timed(lambda embedder=embedder: embedder.transform(texts))
            times[n].append(seconds)
            difference = float(np.abs(found - expected).max())
            assert difference < 1e-5, difference
    for n in budgets:
        ratios = [a / b for a, b in zip(times["peer"], times[n], strict=True)]
        rate = len(texts) / statistics.median(times[n])
        print(f"budget {n:>6}: {rate:7.1f} texts/s, {statistics.median(ratios):.2f} x sentence-transformers")
    ratios = [a / b for a, b in zip(times["peer"], times[default], strict=True)]
    row = {
        "date": datetime.date.today().isoformat(),
        "what": f"{source}, {'with copies' if options.copies else 'different'}: {len(texts)} texts, {MODEL}, float32",
        "machine": f"{processor()}, {torch.get_num_threads()} threads",
        "versions": {
            "python": platform.python_version(),
            **{m.__name__: m.__version__ for m in (torch, transformers, sentence_transformers, sklearn)},
        },
        "peer": "sentence-transformers encode, batch_size 32",
        "texts_per_second": round(len(texts) / statistics.median(times[default]), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "difference": difference,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
