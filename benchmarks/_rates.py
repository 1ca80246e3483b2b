"""Yardsticks: tokens and operations of a set of texts, the rate of matrix products, and the tokenizer's own rate."""

from __future__ import annotations

import math
import statistics
import time

import numpy as np
import torch
import transformers

from skbert._engine.devices import auto_batch_tokens

_SQUARE = {"cpu": 2_048, "cuda": 8_192}


def load_tokenizer(folder):
    """Return the model's tokenizer as skbert uses it, the library's own object, without padding and truncation."""
    backend = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True).backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    return backend


def token_lengths(backend, texts, max_length):
    """Return the tokens of each text as the model sees it: special ones counted, cut at `max_length`."""
    lengths = []
    for start in range(0, len(texts), 4_096):
        lengths += [len(found.ids) for found in backend.encode_batch_fast(texts[start : start + 4_096])]
    return np.minimum(lengths, max_length)


def flop_of(config, lengths):
    """Return the floating-point operations that one forward of texts of these lengths needs, padding none.

    A multiplication and an addition count as 2. A token meets every weight of the layers once and every token of its
    own text twice (scores and sums); the embeddings and what lies between the products count nothing.
    """
    width, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    lengths = np.asarray(lengths, dtype=np.float64)
    weights = 2 * layers * (4 * width**2 + 2 * width * inner) * lengths.sum()
    return float(weights + 4 * width * layers * (lengths**2).sum())


def repeats_for(seconds, enough):
    """Return how many calls of so many seconds make a measurement that takes `enough` of them."""
    return max(1, min(1_000, math.ceil(enough / max(seconds, 1e-6))))


def synchronize(device):
    """Wait for the device."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds_of(function, device, enough):
    """Return the seconds a call takes: many calls in a row where one is short, after a warm-up."""
    function()
    synchronize(device)
    start = time.perf_counter()
    function()
    synchronize(device)
    count = repeats_for(time.perf_counter() - start, enough)
    start = time.perf_counter()
    for _ in range(count):
        function()
    synchronize(device)
    return (time.perf_counter() - start) / count


class MatrixProducts:
    """The rate of matrix products in one dtype on one device, measured again in every round.

    One is a large square product, the device at its best; the other has the shapes of the model's own layers. Both
    multiply random numbers: zeros are quicker on some GPUs.
    """

    def __init__(self, config, device, dtype, *, quick=False):
        self.device, self.enough = device, 0.05 if quick else 0.4
        self.size = 512 if quick else _SQUARE[device]
        self.rows = 256 if quick else auto_batch_tokens(torch.device(device), config.hidden_size)
        kind = {"dtype": getattr(torch, dtype), "device": device}
        self._square = [torch.randn(self.size, self.size, **kind) for _ in range(2)]
        width, inner = config.hidden_size, config.intermediate_size
        self._inputs = {n: torch.randn(self.rows, n, **kind) for n in (width, inner)}
        shapes = [(width, width)] * 4 + [(inner, width), (width, inner)]  # query, key, value, output; up, down
        self._weights = [torch.randn(shape, **kind) for shape in shapes]
        self.square, self.shaped = [], []

    def measure(self):
        """Do one round."""
        self.square.append(2 * self.size**3 / self._time(lambda: self._square[0] @ self._square[1]))
        flop = sum(2 * self.rows * weight.numel() for weight in self._weights)
        self.shaped.append(flop / self._time(self._run_layer))

    def _run_layer(self):
        for weight in self._weights:
            torch.nn.functional.linear(self._inputs[weight.shape[1]], weight)

    def _time(self, function):
        with torch.inference_mode():
            return seconds_of(function, self.device, self.enough)

    def rates(self):
        """Return both rates, medians over the rounds, in operations a second."""
        return statistics.median(self.square), statistics.median(self.shaped)
