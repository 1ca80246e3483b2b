"""Texts to vectors: skbert beside sentence-transformers and plain padded transformers, on the same texts.

    SKBERT_DATA=folder python benchmarks/bench_encode.py [--corpora gop imdb ...] [--models minilm base ...]
        [--texts 1500] [--rounds 3] [--device cuda] [--stages]

A case is one corpus with one model. Its ways run in turn in one process, round by round, and between them a matrix
product and the tokenizer alone, so that skbert's rate can be held against what this machine could do at that moment.

Corpora: gop (different tweets of the debate), gop-all (with their copies), airline (tweets), imdb (reviews, 512
tokens on all sides), imdb-own (the same, cut where the model's files say), t128 (made texts of 128 tokens each), few
(8 texts), one. Models: minilm (real),
base and large (BERT of that shape, random weights, real vocabulary).

Outputs are compared each time. In float32 every vector must be within 1e-5 of skbert's; in half precision its cosine
with skbert's in float32 must be at least 0.999 (a peer's: 0.99). Where that fails, the case has no row and the command
fails, after the other cases. Rows go to benchmarks/results/encode.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import traceback
import types
from collections import defaultdict

import numpy as np
import sklearn
import tokenizers
import torch
import transformers
from _common import new_row, paired_ratios, timed, write_row
from _corpora import CORPORA, load_corpus
from _models import NAMES, model_folder, stored_dtype
from _peers import Padded, load_peers, sentence_transformers
from _rates import MatrixProducts, flop_of, load_tokenizer, repeats_for, seconds_of, token_lengths
from _single import measure_single
from _stages import measure_stages

from skbert import BertEmbedder
from skbert._engine.sources import resolve_model

# Texts a case where none are asked for, so that a round takes a minute or two on two cores, and seconds on a GPU.
TEXTS = {
    "cpu": {"minilm": 2_000, "base": 200, "large": 60},
    "cuda": {"minilm": 20_000, "base": 20_000, "large": 20_000},
}
LONGER = {"imdb": 8, "imdb-own": 6, "t128": 4}  # so many times as long as a tweet: on a CPU, so many times fewer
MADE = {"minilm": 8_192, "base": 4_096, "large": 2_048}  # texts of 128 tokens at most: a second or so on a GPU
TOLERANCE, COSINE, PEER_COSINE = 1e-5, 0.999, 0.99
SKBERT, TOKENIZER = "skbert", "tokenizer alone"


class Model:
    """One model, loaded for every way."""

    def __init__(self, key, folder, options):
        self.key, self.folder, self.options = key, str(folder), options
        self.config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        self.own_length = resolve_model(self.folder).default_length
        self.tokenizer = load_tokenizer(folder)
        self.peers = load_peers(self.folder, options.device, options.dtype, options.peers)
        self.name = NAMES[key]
        stored = stored_dtype(folder)
        if stored != "F32":
            self.name += f" (weights stored as {stored})"

    def embedder(self, max_length, *, dtype=None, batch_tokens="auto"):
        """Return skbert's embedder, without a store."""
        return BertEmbedder(
            self.folder,
            device=self.options.device,
            dtype=dtype or self.options.dtype,
            cache=None,
            max_length=max_length,
            long_texts="truncate",
            batch_tokens=batch_tokens,
        )


class Case:
    """One corpus with one model: the ways, their times round by round, and the checks of what they return."""

    def __init__(self, model, corpus, options):
        self.model, self.corpus, self.options = model, corpus, options
        self.max_length = corpus.max_length or model.own_length
        self.ways = {SKBERT: model.embedder(self.max_length).transform}
        for budget in options.budgets:
            self.ways[f"skbert, batch_tokens={budget}"] = model.embedder(self.max_length, batch_tokens=budget).transform
        for peer in model.peers:
            peer.set_length(self.max_length)
            self.ways[peer.name] = peer.encode
        self.seconds = defaultdict(list)
        self.agreement = {}  # of each way: largest difference, or smallest cosine
        self.memory = {}
        self.reference = None

    def warm_up(self):
        """Load, compile and choose what is loaded, compiled and chosen once."""
        texts = self.corpus.texts
        if self.options.device == "cuda":
            for peer in self.model.peers:
                if hasattr(peer, "choose_batch_size"):
                    peer.choose_batch_size(texts)
        else:
            texts = texts[:64]  # a full pass would cost as much as a round
        self.repeats = {}
        for name, way in self.ways.items():
            way(texts)
            seconds, _ = timed(lambda way=way: way(self.corpus.texts[:64]))
            # Only few texts are embedded again and again, where a pass is too short for the clock's neighbours.
            short = len(self.corpus.texts) <= 64
            self.repeats[name] = repeats_for(seconds, self.options.enough) if short else 1
        if self.options.dtype != "float32":
            # Plain transformers in float32; and skbert in float32 must equal it, or halves would be held to themselves.
            plain = Padded(self.model.folder, self.options.device, "float32")
            plain.set_length(self.max_length)
            self.reference = plain.encode(self.corpus.texts)
            exact = self.model.embedder(self.max_length, dtype="float32").transform(self.corpus.texts[:256])
            off = float(np.abs(exact - self.reference[:256]).max())
            assert off <= TOLERANCE, f"skbert in float32 differs from plain transformers by {off:.2e}"

    def run(self):
        """Do the rounds, as many as the time allows, and at least one; return the rates of the yardsticks."""
        options, texts = self.options, self.corpus.texts
        products = MatrixProducts(self.model.config, options.device, options.dtype, quick=options.quick)
        different = list(dict.fromkeys(texts))  # a copy is not tokenised again
        start = time.perf_counter()
        for number in range(options.rounds):
            turn = number % len(self.ways)
            names = list(self.ways)
            for name in names[turn:] + names[:turn]:
                self._run_way(name, first=number == 0)
            products.measure()
            seconds = seconds_of(lambda: self.model.tokenizer.encode_batch_fast(different), "cpu", options.enough)
            self.seconds[TOKENIZER].append(seconds)
            if time.perf_counter() - start > options.case_seconds:
                break
        return products.rates()

    def _run_way(self, name, *, first):
        way, texts, cuda = self.ways[name], self.corpus.texts, self.options.device == "cuda"
        if cuda and first:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        seconds, found = timed(lambda: [way(texts) for _ in range(self.repeats[name])][-1])
        self.seconds[name].append(seconds / self.repeats[name])
        if cuda and first:
            self.memory[name] = round((torch.cuda.max_memory_allocated() - before) / 2**20, 1)
        self._check(name, found)

    def _check(self, name, found):
        """Compare with skbert's vectors (float32), or with plain transformers' in float32 (half precision)."""
        if self.reference is None:
            assert name == SKBERT  # the first way of the first round
            self.reference = found
        assert np.isfinite(found).all(), f"{name} returns values that are not finite"
        if self.options.dtype == "float32":
            value = float(np.abs(found - self.reference).max())
            self.agreement[name] = max(value, self.agreement.get(name, 0.0))
            assert value <= TOLERANCE, f"the vectors of {name} differ by {value:.2e}"
            return
        lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(self.reference, axis=1)
        value = float((np.einsum("ij,ij->i", found, self.reference) / lengths).min())
        self.agreement[name] = min(value, self.agreement.get(name, 1.0))
        least = COSINE if name.startswith(SKBERT) else PEER_COSINE
        assert value >= least, f"the smallest cosine of {name} with float32 is {value:.5f}"

    def row(self, rates):
        """Return the row."""
        options, texts = self.options, self.corpus.texts
        lengths = token_lengths(self.model.tokenizer, texts, self.max_length)
        # A copy of a text is delivered, but not run through the model again.
        different = token_lengths(self.model.tokenizer, list(dict.fromkeys(texts)), self.max_length)
        flop = flop_of(self.model.config, different)
        seconds = {name: statistics.median(times) for name, times in self.seconds.items()}
        row = new_row(
            f"{self.corpus.what}: {len(texts)} texts, {self.model.name}, {options.dtype}",
            *(torch, transformers, tokenizers, sentence_transformers, sklearn),
            device=options.device,
        )
        square, shaped = rates
        row |= {
            "corpus": self.corpus.key,
            "model": self.model.key,
            "device": options.device,
            "dtype": options.dtype,
            "max_length": self.max_length,
            "texts": len(texts),
            "different_texts": len(different),
            "tokens": int(lengths.sum()),
            "mean_tokens": round(float(lengths.mean()), 1),
            "peers": {peer.name: peer.describe() for peer in self.model.peers},
            "rounds": len(self.seconds[SKBERT]),
            "seconds": {name: round(value, 5) for name, value in seconds.items()},
            "texts_per_second": {name: round(len(texts) / value, 1) for name, value in seconds.items()},
            "tokens_per_second": {name: round(float(lengths.sum()) / value) for name, value in seconds.items()},
        }
        others = [name for name in self.ways if name != SKBERT]
        pairs = {name: paired_ratios(self.seconds[name], self.seconds[SKBERT]) for name in others}
        row["ratio"] = {name: ratio for name, (ratio, _) in pairs.items()}
        row["ratios"] = {name: ratios for name, (_, ratios) in pairs.items()}
        row["share_of_tokenizer"], row["share_of_tokenizer_rounds"] = paired_ratios(
            self.seconds[TOKENIZER], self.seconds[SKBERT]
        )
        row["model_tflops"] = round(flop / seconds[SKBERT] / 1e12, 4)
        row["matrix_product_tflops"] = round(square / 1e12, 4)
        row["matrix_product_own_shapes_tflops"] = round(shaped / 1e12, 4)
        row["utilisation"] = round(flop / seconds[SKBERT] / square, 3)
        row["utilisation_own_shapes"] = round(flop / seconds[SKBERT] / shaped, 3)
        row["difference" if options.dtype == "float32" else "smallest_cosine"] = self.agreement
        if self.memory:
            row["peak_device_memory_mb"] = self.memory  # beyond the weights and what was there before the pass
        return row


def run_case(model, key, options):
    """Measure one case and write its row."""
    count = options.texts
    if count is None:
        count = TEXTS[options.device][model.key]
        if options.device == "cpu":
            count = max(8, count // LONGER.get(key, 1))
        if key == "t128":
            count = min(count, MADE[model.key])
    case = Case(model, load_corpus(key, count), options)
    case.warm_up()
    row = case.row(case.run())
    one, extras = case.corpus.texts[0], {}
    if key == "one":
        extras["one_text"] = lambda: measure_single(case.ways[SKBERT].__self__, model.folder, one, options)
    if options.stages:
        extras["stages"] = lambda: measure_stages(case.ways[SKBERT], case.corpus.texts, options.device)
    failed = None
    for name, measure in extras.items():
        try:
            row[name] = measure()
        except Exception as error:  # what is measured already is kept
            failed = error
    if options.quick and "SKBERT_RESULTS" not in os.environ:
        print(json.dumps(row, indent=1))  # no measurement, so none that is kept
    else:
        write_row("encode", row)
    ratios = ", ".join(f"{ratio:.2f} x {name}" for name, ratio in row["ratio"].items())
    print(f"== {row['what']}: {row['tokens_per_second'][SKBERT]:,} tokens/s; {ratios}", flush=True)
    if failed is not None:
        raise failed


def parse():
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", nargs="+", choices=CORPORA, default=["gop"])
    parser.add_argument("--models", nargs="+", choices=list(NAMES), default=["minilm"])
    parser.add_argument("--model-folder", help="all-MiniLM-L6-v2, where its package is not installed")
    parser.add_argument("--peers", nargs="*", default=["sentence-transformers", "padded transformers"])
    parser.add_argument("--texts", type=int, help="texts of each corpus (default: by model and device)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case-seconds", type=float, default=1e9, help="begin no further round after so long")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="default: bfloat16 on a GPU")
    parser.add_argument("--budgets", type=int, nargs="*", default=[], help="further values of batch_tokens to try")
    parser.add_argument("--stages", action="store_true", help="also one pass by stages")
    parser.add_argument(
        "--quick", action="store_true", help="small matrix products and few repeats: does it run? keeps no row"
    )
    options = parser.parse_args()
    options.dtype = options.dtype or ("float32" if options.device == "cpu" else "bfloat16")
    options.enough = 0.05 if options.quick else 0.3
    return types.SimpleNamespace(**vars(options))


def main():
    """Run the cases; a case that fails does not keep the others from running."""
    options = parse()
    failed = []
    with tempfile.TemporaryDirectory() as scratch:
        for key in options.models:
            try:
                model = Model(key, model_folder(key, scratch, options.model_folder), options)
            except Exception:
                traceback.print_exc()
                failed.append(key)
                continue
            for corpus in options.corpora:
                try:
                    run_case(model, corpus, options)
                except Exception:
                    traceback.print_exc()
                    failed.append(f"{corpus}, {key}")
    if failed:
        sys.exit(f"FAILED: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
