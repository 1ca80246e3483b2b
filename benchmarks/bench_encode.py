"""Texts to vectors: skbert beside sentence-transformers, in turn in one process, on the same tweets.

    SKBERT_DATA=folder python benchmarks/bench_encode.py [--texts 1500] [--rounds 3] [--budgets 1024 2048 4096]

Prints, for each token budget, the ratio of the times (peer / skbert), median over the rounds, and the largest
difference of the vectors. Writes a row for the default budget to benchmarks/results/encode.jsonl.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
import sentence_transformers
import sklearn
import torch
import transformers
from _common import new_row, paired_ratios, timed, tweets, write_row

from skbert import BertEmbedder
from skbert._engine.devices import auto_batch_tokens
from skbert._engine.sources import resolve_model

MODEL = "all-MiniLM-L6-v2"


def main():
    """Run the rounds and write the row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budgets", type=int, nargs="*", default=[])
    parser.add_argument("--copies", action="store_true", help="rows as they are, with their copies")
    options = parser.parse_args()
    source, texts, _ = tweets(options.texts, copies=options.copies)

    peer = sentence_transformers.SentenceTransformer(str(resolve_model(MODEL).folder), device="cpu")
    default = auto_batch_tokens(torch.device("cpu"))
    budgets = sorted({default, *options.budgets})
    embedders = {n: BertEmbedder(MODEL, device="cpu", cache=None, batch_tokens=n) for n in budgets}
    for warm in (peer.encode, embedders[default].transform):
        warm(texts[:64])

    times = {"peer": [], **{n: [] for n in budgets}}
    difference = 0.0
    for _ in range(options.rounds):
        seconds, expected = timed(lambda: peer.encode(texts))
        times["peer"].append(seconds)
        for n, embedder in embedders.items():
            seconds, found = timed(lambda embedder=embedder: embedder.transform(texts))
            times[n].append(seconds)
            difference = max(difference, float(np.abs(found - expected).max()))
            assert difference < 1e-5, difference
    rates = {n: len(texts) / statistics.median(times[n]) for n in budgets}
    for n in budgets:
        ratio, _ = paired_ratios(times["peer"], times[n])
        print(f"budget {n:>6}: {rates[n]:7.1f} texts/s, {ratio:.2f} x sentence-transformers")
    ratio, ratios = paired_ratios(times["peer"], times[default])
    copies = "with copies" if options.copies else "different"
    row = new_row(
        f"{source}, {copies}: {len(texts)} texts, {MODEL}, float32", torch, transformers, sentence_transformers, sklearn
    )
    row |= {
        "peer": "sentence-transformers encode, batch_size 32",
        "texts_per_second": round(rates[default], 1),
        "ratio": ratio,
        "ratios": ratios,
        "difference": difference,
    }
    write_row("encode", row)


if __name__ == "__main__":
    main()
