"""What a text beyond the model's limit gets: the five ways of `long_texts`, on reviews; and the memory of a long text.

    SKBERT_DATA=folder python benchmarks/bench_long_texts.py               # reviews: accuracy and time; 15 minutes
    python benchmarks/bench_long_texts.py --memory 10000 100000 1000000    # a text of so many words, a thin model
    python benchmarks/bench_long_texts.py --memory 1000000 --model minilm  # the same with all-MiniLM-L6-v2: minutes
    python benchmarks/bench_long_texts.py --quick                          # whether the first runs through

Reviews: 1,000 of films, labelled good or bad. Every way embeds all of them in turn, part by part, with no store, so
that what disturbs a part disturbs all ways; ratios are medians over the parts. "warn" and "error" are "truncate" in
time and vectors, and have no row of their own. The labels are learned from four fifths of the reviews and scored on the
last fifth, over several splits, by logistic regression (its strength chosen by cross-validation within the part that is
learned from) and by `HeadClassifier`, which is the head of `BertSentimentClassifier`, both on the last four layers.

Memory: in a new process one text of different words is embedded with long_texts="chunk"; what counts is the peak over
what the process had with the model loaded and the text made. It must stay below 500 MB, or the run fails.

Without SKBERT_DATA sample tweets stand in, joined to the length of reviews, whose labels nobody can learn: the row says
so.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import sklearn
import torch
import transformers
from _common import clocked, forget_peak, memory_of_process, new_row, paired_ratios, timed, write_row
from _corpora import has_data, load_corpus, make_words
from _models import minilm_folder, write_tiny
from _quality_data import LAST_FOUR, MODEL, Corpus
from bench_pairs import logistic, scored, told
from sklearn.model_selection import GroupShuffleSplit

from skbert import BertEmbedder, HeadClassifier
from skbert._embedder.counting import count_tokens

LIMIT_MB = 500
WAYS = [(policy, length) for length in (256, 128, 512) for policy in ("truncate", "head_tail", "chunk")]


def read_reviews(count):
    """Return what the texts are, the texts and their labels."""
    if has_data():
        corpus = Corpus("imdb", "", count)
        return corpus.what, [corpus.distinct[k] for k in corpus.group], corpus.y
    corpus = load_corpus("imdb", count or 1_000)
    return corpus.what, corpus.texts, np.arange(len(corpus.texts)) % 2


def name_of(policy, length):
    """Return how a way is called in the row."""
    return f"{policy}, max_length={length}"


def embed_all(texts, n_parts):
    """Return vectors, and seconds and processor seconds of each part, of each way."""
    vectors, wall, cpu = {}, {}, {}
    for number, part in enumerate(np.array_split(np.arange(len(texts)), n_parts), start=1):
        for way in WAYS:
            embedder = BertEmbedder(
                MODEL, layers=LAST_FOUR, long_texts=way[0], max_length=way[1], device="cpu", cache=None
            )
            some = [texts[k] for k in part]
            seconds, processor, found = clocked(lambda e=embedder, some=some: e.transform(some))
            vectors.setdefault(way, []).append(found)
            wall.setdefault(way, []).append(seconds)
            cpu.setdefault(way, []).append(processor)
            print(f"part {number}: {name_of(*way):28}{seconds:8.1f} s {processor:8.1f} processor s", flush=True)
    return {way: np.vstack(found) for way, found in vectors.items()}, wall, cpu


def tokens_read(counts, policy, room, special):
    """Return how many tokens go through the model: those of the text, of overlaps, and the special ones."""
    if policy != "chunk":
        return int((np.minimum(counts, room) + special).sum())
    step = max(1, room - room // 8)  # the chunks overlap by an eighth at least
    chunks = np.where(counts > room, 1 + -(-(counts - room) // step), 1)
    return int((np.where(counts > room, chunks * room, counts) + chunks * special).sum())


def bench_reviews(options):
    """Return the row of the reviews."""
    what, texts, y = read_reviews(100 if options.quick else None)
    BertEmbedder(MODEL, device="cpu", cache=None).transform(["to load the model"])
    vectors, wall, cpu = embed_all(texts, options.parts)
    groups = np.unique(texts, return_inverse=True)[1]  # equal reviews stay on one side
    splits = list(GroupShuffleSplit(options.seeds, test_size=0.2, random_state=0).split(texts, y, groups))
    heads = {
        "logistic regression": lambda X, y, groups, seed: logistic(X, y, groups),
        "BertSentimentClassifier's head": lambda X, y, groups, seed: HeadClassifier(random_state=seed).fit(X, y),
    }
    embedder = BertEmbedder(MODEL, device="cpu")
    counts = count_tokens(embedder, texts)
    cases = {}
    for way in WAYS:
        base = ("truncate", way[1])
        length = way[1]
        room = length - counts.n_special
        case = {
            "longer_than_limit": int((counts.pieces > room).sum()),
            "tokens_a_text": round(tokens_read(counts.pieces, way[0], room, counts.n_special) / len(texts), 1),
            "share_of_pieces_read": 1.0
            if way[0] == "chunk"
            else round(float(np.minimum(counts.pieces, room).sum() / counts.pieces.sum()), 3),
            "seconds": round(sum(wall[way]), 1),
            "cpu_seconds": round(sum(cpu[way]), 1),
        }
        case["cpu_ratio_to_truncate"], case["cpu_ratios"] = paired_ratios(cpu[way], cpu[base])
        for name, fit in heads.items():
            found = [
                scored(fit(vectors[way][a], y[a], groups[a], seed), vectors[way][b], y[b])
                for seed, (a, b) in enumerate(splits)
            ]
            case[name] = told(found)
        cases[name_of(*way)] = case
        print(f"{name_of(*way):28}", {name: case[name] for name in heads}, flush=True)
    row = new_row(f"long texts: {what}, {MODEL}", torch, transformers, sklearn)
    row |= {"quick": options.quick, "texts": len(texts), "parts": options.parts, "seeds": options.seeds}
    row |= {"layers": "last four", "pieces_a_text": round(float(counts.pieces.mean()), 1)}
    row |= {"scores": "mean and standard deviation over the splits"}
    return row | {"cases": cases}


def child(folder, what, count, store_layers):
    """Embed one text of `count` words in this process, or count its tokens, and print what that took, as JSON."""
    words = np.array(make_words())
    text = " ".join(words[np.random.default_rng(0).integers(len(words), size=count)])
    kept = {"store_layers": "all", "cache": "memory"} if store_layers else {"cache": None}
    embedder = BertEmbedder(folder, long_texts="chunk", device="cpu", **kept)
    functions = {"transform": embedder.transform, "count_tokens": lambda texts: count_tokens(embedder, texts)}
    functions[what](["to load the model"])
    forget_peak()
    before = memory_of_process()["VmRSS"]
    seconds, _ = timed(lambda: functions[what]([text]))
    growth = memory_of_process()["VmHWM"] - before
    found = {f"{what}_seconds": round(seconds, 1), f"{what}_growth_mb": round(growth / 1e6, 1)}
    print(json.dumps({"characters": len(text)} | found))


def bench_memory(count, model, store_layers):
    """Return the row of a text of so many words, from new processes."""
    row = new_row("memory of one text under long_texts='chunk'", torch, transformers)
    row |= {"model": model, "words": count, "store_layers": "all" if store_layers else None, "limit_mb": LIMIT_MB}
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_tiny(scratch) if model == "tiny" else str(minilm_folder())
        for what in ("transform", "count_tokens"):
            command = [sys.executable, __file__, "--child", folder, what, "--memory", str(count)]
            command += ["--store-layers"] if store_layers else []
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            row |= json.loads(done.stdout.splitlines()[-1])
    return row


def main():
    """Run what was asked for and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="number of splits")
    parser.add_argument("--parts", type=int, default=5, help="parts of the reviews that every way embeds in turn")
    parser.add_argument("--quick", action="store_true", help="100 reviews, to see whether it runs through")
    parser.add_argument("--memory", type=int, nargs="+", metavar="WORDS", help="measure the memory of one long text")
    parser.add_argument("--model", choices=("tiny", "minilm"), default="tiny", help="with --memory")
    parser.add_argument("--store-layers", action="store_true", help="with --memory: keep all layers and poolings")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=sklearn.exceptions.ConvergenceWarning)  # at C that is not chosen
    if options.child:
        child(*options.child, options.memory[0], options.store_layers)
        return
    if not options.memory:
        write_row("long_texts", bench_reviews(options))
        return
    rows = [bench_memory(count, options.model, options.store_layers) for count in options.memory]
    for row in rows:
        write_row("long_texts", row)
    most = max(max(row["transform_growth_mb"], row["count_tokens_growth_mb"]) for row in rows)
    if most > LIMIT_MB:
        sys.exit(f"FAILED: {most} MB are more than {LIMIT_MB} MB")


if __name__ == "__main__":
    main()
