"""What several processes on Ray make of the same cores: throughput beside a plain transform, and memory of a worker.

    python benchmarks/bench_distributed.py [--texts 20000] [--rounds 2]
    python benchmarks/bench_distributed.py --memory 100000 1000000

Throughput: different tweets of the debate and of the airlines through all-MiniLM-L6-v2, in turn by one
`BertEmbedder.transform` on as many threads as there are cores, by `embed_parquet` and by `embed_dataset` with as many
workers of one thread each. Left out is the start of Ray and of its workers: what counts is the time from the first
batch that a worker begins to the end of the last one. The vectors must agree within 1e-5.

Memory: the peak of a worker's memory, for numbers of texts that grow, with a thin model, so that a million texts take
minutes; fails where it grows by more than 100 MB from the fewest texts to the most.

Writes rows to benchmarks/results/distributed.jsonl.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import sklearn
import torch
import transformers
from _common import new_row, paired_ratios, timed, write_row
from _corpora import load_corpus, make_texts
from _models import minilm_folder, write_tiny
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skbert import BertEmbedder
from skbert.distributed import embed_dataset, embed_parquet
from skbert.distributed._cluster import local_ray

LIMIT_MB = 100
BLOCK = 2_048  # rows of a block of the Dataset, as of a part of so few texts


def different_tweets(count):
    """Return so many different tweets, of the debate and then of the airlines."""
    texts = dict.fromkeys([*load_corpus("gop", 10**6).texts, *load_corpus("airline", 10**6).texts])
    return list(texts)[:count]


def note_batches(folder):
    """Return a step that writes down when each batch begins, and the peak of its process's memory."""

    def note(X):  # local, so that it travels by value
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        with open(os.path.join(folder, str(os.getpid())), "a") as file:
            file.write(f"{time.time()} {peak}\n")
        return X

    return FunctionTransformer(note)


def by_parquet(embedder, texts, workers, scratch):
    """Return the seconds of the work, the vectors, and the peaks of the workers."""
    source, target = scratch / "source", scratch / "target"
    source.mkdir()
    pq.write_table(pa.table({"text": texts}), source / "texts.parquet")
    options = {"text_column": "text", "concurrency": workers, "progress": False}
    manifest = embed_parquet(source, target, embedder, **options)
    parts = manifest["parts"].values()
    seconds = max(part["started"] + part["seconds"] for part in parts) - min(part["started"] for part in parts)
    column = pq.read_table(target).column("embedding").combine_chunks()
    vectors = column.flatten().to_numpy().reshape(len(texts), -1)
    return seconds, vectors, [worker["peak_bytes"] for worker in manifest["runs"][-1]["workers"].values()]


def by_dataset(embedder, texts, workers, scratch):
    """Return the same of embed_dataset, whose vectors come to this process through Ray's object store."""
    notes = scratch / "notes"
    notes.mkdir()
    blocks = [pa.table({"text": texts[k : k + BLOCK]}) for k in range(0, len(texts), BLOCK)]
    dataset = ray.data.from_arrow(blocks)
    dataset.context.enable_progress_bars = False
    pipeline = make_pipeline(note_batches(notes), embedder)
    embedded = embed_dataset(dataset, pipeline, text_column="text", concurrency=(workers, workers))
    tables = [
        batch.column("embedding").combine_chunks().flatten().to_numpy()
        for batch in embedded.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    ]
    end = time.time()
    lines = [list(map(float, line.split())) for path in notes.iterdir() for line in path.read_text().splitlines()]
    begin, peaks = min(line[0] for line in lines), [line[1] for line in lines]
    return end - begin, np.concatenate(tables).reshape(len(texts), -1), [max(peaks)]


WAYS = {"embed_parquet": by_parquet, "embed_dataset": by_dataset}


def throughput(options):
    """Run the ways in turn, and write a row."""
    texts = different_tweets(options.texts)
    embedder = BertEmbedder(str(minilm_folder(options.model_folder)), device="cpu", cache=None)
    embedder.transform(texts[:2_048])  # loads the model
    workers = torch.get_num_threads()
    seconds = {name: [] for name in ("transform", *WAYS)}
    differences = dict.fromkeys(WAYS, 0.0)
    for _ in range(options.rounds):
        taken, expected = timed(lambda: embedder.transform(texts))
        seconds["transform"].append(taken)
        for name, way in WAYS.items():
            with tempfile.TemporaryDirectory() as scratch, local_ray(num_cpus=workers, log_to_driver=False):
                taken, found, _ = way(embedder, texts, workers, Path(scratch))
            seconds[name].append(taken)
            differences[name] = max(differences[name], float(np.abs(found - expected).max()))
            print(name, {key: [round(value, 1) for value in values] for key, values in seconds.items()}, flush=True)
    what = f"{len(texts)} different tweets, all-MiniLM-L6-v2, {workers} workers of one thread beside {workers} threads"
    row = new_row(what, ray, torch, transformers, sklearn)
    row |= {
        "texts": len(texts),
        "workers": workers,
        "seconds": {k: [round(x, 1) for x in v] for k, v in seconds.items()},
    }
    for name in WAYS:
        ratio, ratios = paired_ratios(seconds["transform"], seconds[name])
        row |= {f"throughput_ratio_{name}": ratio, f"ratios_{name}": ratios, f"difference_{name}": differences[name]}
    write_row("distributed", row)
    if max(differences.values()) > 1e-5:
        sys.exit(f"FAILED: the vectors differ: {differences}")


def memory(options):
    """Write a row for each way and number of texts, and fail where a worker's memory grows with it."""
    too_much = []
    for name, way in WAYS.items():
        peaks = []
        for count in options.memory:
            texts = make_texts(count, 10)
            with tempfile.TemporaryDirectory() as scratch, local_ray(num_cpus=2, log_to_driver=False):
                embedder = BertEmbedder(write_tiny(scratch), device="cpu", cache=None)
                seconds, _, found = way(embedder, texts, 2, Path(scratch))
            peaks.append(max(found) / 1e6)
            what = f"memory of a worker of {name}, {count} different texts of 10 words, a thin model"
            fields = {"way": name, "texts": count, "seconds": round(seconds, 1), "peak_mb": round(peaks[-1], 1)}
            write_row("distributed", new_row(what, ray, torch, transformers, sklearn) | fields)
        if peaks[-1] - peaks[0] > LIMIT_MB:
            too_much.append(f"{name}: {peaks[0]:.0f} MB, then {peaks[-1]:.0f} MB")
    if too_much:
        sys.exit(f"FAILED: a worker's memory grows with the data; {'; '.join(too_much)}")


def main():
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--memory", type=int, nargs="+", metavar="TEXTS", help="measure memory instead, for so many texts"
    )
    parser.add_argument("--model-folder", help="all-MiniLM-L6-v2, where its package is not installed")
    options = parser.parse_args()
    if options.memory:
        memory(options)
    else:
        throughput(options)


if __name__ == "__main__":
    main()
