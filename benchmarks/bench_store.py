"""Vectors that are stored already: how many texts a second come back, and what it costs to store them.

    python benchmarks/bench_store.py [--texts 100000] [--rounds 5] [--folder FOLDER] [--profile]

The vectors are 384 wide and come from a random BERT of one small layer, built here: a store does not see which model
made what it holds, and to embed 100,000 texts with a real one takes minutes. Texts have the length of tweets.

- cold: the texts are embedded in parts, each without a store, with one in memory and with one on disk, in turn. Since
  this model is some twenty times as fast as a real one, the cost of storing is told in microseconds a text too, by
  the clock and by the processor: on a machine that others use, the second says more;
- warm: `transform` of all texts, from memory and from disk, as the store has them and scaled to length 1, and of two
  layers side by side (a fifth of the texts);
- new process: the same from disk in a process of its own, first call and best of the others, and its memory.

All must give the same vectors, to the bit. Writes a row to benchmarks/results/store.jsonl.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import sklearn
import torch
import transformers
from _common import clocked, forget_peak, memory_of_process, new_row, paired_ratios, timed, write_row
from _corpora import make_texts
from _models import write_tiny

from skbert import BertEmbedder, MemoryStore, cache_info

WIDTH = 384
PARTS = 20
ROOM = 2**30  # bytes in memory: more than is needed, so that nothing is dropped
GOALS = {"memory": 300_000, "disk": 80_000}


def embedder(model, cache, *, normalize=False, layers=-1):
    """Return an embedder of the random model with this cache."""
    return BertEmbedder(model, device="cpu", dtype="float32", cache=cache, normalize=normalize, layers=layers)


def run_cold(model, texts, caches):
    """Embed the texts part by part, each part in every way in turn; return seconds, processor seconds and vectors."""
    walls, cpus = {way: [] for way in caches}, {way: [] for way in caches}
    vectors = []
    for number, part in enumerate(np.array_split(np.array(texts, dtype=object), PARTS)):
        results = {}
        order = list(caches)
        turn = number % len(order)
        for way in order[turn:] + order[:turn]:
            wall, cpu, results[way] = clocked(lambda way=way, part=part: embedder(model, caches[way]).transform(part))
            walls[way].append(wall)
            cpus[way].append(cpu)
        assert all(np.array_equal(result, results["none"]) for result in results.values())
        vectors.append(results["none"])
    return walls, cpus, np.concatenate(vectors)


def cost_of_storing(walls, cpus, way, part):
    """Return the fields that tell what it costs to store this way, beside no store."""
    ratio, ratios = paired_ratios(walls[way], walls["none"])
    extra = [
        statistics.median(1e6 * (a - b) / part for a, b in zip(times[way], times["none"], strict=True))
        for times in (walls, cpus)
    ]
    return {
        f"cold_{way}_to_none": ratio,
        f"cold_{way}_to_none_parts": ratios,
        f"storing_microseconds_per_text_{way}": round(extra[0], 1),
        f"storing_cpu_microseconds_per_text_{way}": round(extra[1], 1),
    }


def run_warm(model, texts, caches, rounds, expected, **settings):
    """Return the texts a second of each round and way, the ways in turn."""
    rates = {way: [] for way in caches}
    for _ in range(rounds):
        for way, cache in caches.items():
            before = cache_info(cache).misses
            seconds, found = timed(lambda cache=cache: embedder(model, cache, **settings).transform(texts))
            assert np.array_equal(found, expected)
            assert cache_info(cache).misses == before
            del found  # or the next round would need room for two
            rates[way].append(len(texts) / seconds)
    return rates


def child(model, folder, count, rounds):
    """Print, as JSON, how fast a new process reads the folder and how much memory that takes."""
    texts = make_texts(count)
    reader = embedder(model, folder)
    reader.fit(texts[:1])  # the hash of the weights, paid for once a process
    forget_peak()
    before = memory_of_process()
    first, found = timed(lambda: reader.transform(texts))
    after = memory_of_process()
    digest = float(found.sum(dtype=np.float64))
    output = found.nbytes
    del found
    others = [timed(lambda: reader.transform(texts))[0] for _ in range(rounds)]
    report = {"first": first, "best": min(others), "sum": digest, "output_bytes": output}
    if before is not None:
        report |= {
            "peak_growth_bytes": after["VmHWM"] - before["VmRSS"],
            "of_it_mapped_file_bytes": after["RssFile"] - before["RssFile"],
        }
    print(json.dumps(report))


def run_child(model, folder, count, rounds):
    """Return what `child` says in a new process."""
    command = [sys.executable, __file__, "--texts", str(count), "--rounds", str(rounds), "--child", model, folder]
    start = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout) | {"whole_process": time.perf_counter() - start}


def bytes_on_disk(folder):
    """Return the bytes that the folder's files take on the disk, holes not counted."""
    return sum(512 * file.stat().st_blocks for file in Path(folder).rglob("*") if file.is_file())


def profile(model, texts, caches):
    """Print where a warm transform spends its time."""
    for way, cache in caches.items():
        profiler = cProfile.Profile()
        profiler.runcall(embedder(model, cache).transform, texts)
        print(f"\n== warm, {way} ==")
        pstats.Stats(profiler).sort_stats("tottime").print_stats(12)


def unit_length(vectors):
    """Return vectors scaled to length 1 in the way skbert does, so that bits can be compared."""
    lengths = np.sqrt(np.add.reduce(vectors * vectors, axis=1, keepdims=True))
    return vectors / np.maximum(lengths, 1e-12)


def measure(model, texts, folder, rounds):
    """Return the fields of the row, and the caches as they were filled."""
    caches = {"none": None, "memory": MemoryStore(max_bytes=ROOM), "disk": folder}
    embedder(model, None).transform(texts[:2_000])  # loads the model
    walls, cpus, vectors = run_cold(model, texts, caches)
    del caches["none"]
    space = bytes_on_disk(folder)
    rates = run_warm(model, texts, caches, rounds, vectors)
    scaled = run_warm(model, texts, caches, rounds, unit_length(vectors), normalize=True)

    new = run_child(model, folder, len(texts), rounds)
    assert new.pop("sum") == float(vectors.sum(dtype=np.float64))

    some = texts[: len(texts) // 5]
    both = {way: embedder(model, cache, layers=(0, 1)).transform(some) for way, cache in caches.items()}
    assert np.array_equal(both["memory"], both["disk"])
    two_layers = run_warm(model, some, caches, rounds, both["memory"], layers=(0, 1))

    part = len(texts) / PARTS
    row = {"cold_texts_per_second": {way: round(part / statistics.median(walls[way])) for way in walls}}
    for way in caches:
        row |= cost_of_storing(walls, cpus, way, part)
    for name, found in (("", rates), ("_length_1", scaled), ("_two_layers", two_layers)):
        row[f"warm_texts_per_second{name}"] = {way: round(statistics.median(found[way])) for way in caches}
    row["warm_rounds"] = {way: [round(rate) for rate in rates[way]] for way in caches}
    row["goals"] = {way: f"{goal:,}" for way, goal in GOALS.items()}
    row["new_process"] = {
        "first_texts_per_second": round(len(texts) / new.pop("first")),
        "best_texts_per_second": round(len(texts) / new.pop("best")),
        **{name: round(value, 2) for name, value in new.items()},
    }
    row["bytes_on_disk_per_vector"] = round(space / len(texts), 1)
    row["bytes_of_a_vector"] = 4 * WIDTH
    row["difference"] = 0.0  # asserted above
    return row, caches


def main():
    """Run everything and write the row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help="where the store on disk is made for the while (default: as tempfile says)")
    parser.add_argument("--profile", action="store_true", help="print where the warm ways spend their time")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child, options.texts, options.rounds)
        return

    texts = make_texts(options.texts)
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        model = write_tiny(os.path.join(place, "model"))
        fields, caches = measure(model, texts, os.path.join(place, "store"), options.rounds)
        row = new_row(
            f"warm transform of {len(texts)} different texts of {len(texts[0])} characters, {WIDTH} wide, float32",
            *(torch, transformers, sklearn),
        )
        write_row("store", row | fields)
        if options.profile:
            profile(model, texts, caches)


if __name__ == "__main__":
    main()
