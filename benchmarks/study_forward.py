"""Study, not a benchmark: what else could make the forward of `LayerStack` faster, on this device.

    python benchmarks/study_forward.py [--device cuda] [--models minilm base] [--tokens 1024 8192 32768 65536]

For each model and number of tokens (texts of 40 tokens): the time of a forward as skbert runs it; with residual and
normalisation merged by torch.compile; with whole layers compiled; and on FlashAttention 3 where torch can switch it on.
Beside each the largest difference from the first way, the seconds that compiling took, and after how many tokens it has
paid for itself. Prints a line of JSON for each and appends it to results/study_forward.jsonl.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

import numpy as np
import torch
from _common import new_row, timed, write_row
from _models import NAMES, model_folder
from _rates import seconds_of

from skbert._engine import stack
from skbert._engine.encoder import Encoder
from skbert._engine.sources import resolve_model
from skbert._engine.spec import Unit
from skbert._engine.table import SequenceTable
from skbert._engine.tokens import Sequence

LENGTH = 40


def texts_of(tokens):
    """Return random texts of 40 tokens each, `tokens` in all."""
    draw = np.random.default_rng(0)
    count = max(1, tokens // LENGTH)
    return SequenceTable.of([Sequence(draw.integers(2_000, 20_000, LENGTH), None, LENGTH - 2) for _ in range(count)])


class MergedNorm:
    """Ways of a layer with the residual's sum and the normalisation in one kernel."""

    def __init__(self):
        self._merged = torch.compile(self._eager, dynamic=True)

    @staticmethod
    def _eager(states, residual, weight, bias, eps):
        return torch.nn.functional.layer_norm(states + residual, weight.shape, weight, bias, eps)

    def step(self, self_stack, layer, states, layout, *, first_only):
        """Do what LayerStack._step does."""
        width = states.shape[1]
        qkv = layer.qkv(states).view(len(states), 3, self_stack._heads, width // self_stack._heads)
        attended = stack.attend(*qkv.unbind(1), layout, self_stack._scaling).view(len(states), width)
        middle = self._merged(layer.out(attended), states, *layer.norm)
        return self._merged(layer.down(layer.up(middle, gelu=True)), middle, *layer.last_norm)


def ways(device):
    """Yield the name of each way and what to put in the place of LayerStack._step."""
    own = stack.LayerStack._step
    yield "as it is", own
    merged = MergedNorm()
    yield (
        "merged norm",
        lambda self, layer, states, layout, first_only: merged.step(self, layer, states, layout, first_only=first_only),
    )
    yield "compiled layers", torch.compile(own, dynamic=True)
    if device == "cuda" and "FA3" in getattr(torch.nn.attention, "list_flash_attention_impls", list)():
        torch.nn.attention.activate_flash_attention_impl("FA3")
        yield "FlashAttention 3", own
        torch.nn.attention.restore_flash_attention_impl()


def main():
    """Time each way and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--models", nargs="*", default=["minilm", "base"], choices=list(NAMES))
    parser.add_argument("--model-folder", default=None)
    parser.add_argument("--tokens", nargs="*", type=int, default=[40, 1_024, 8_192, 32_768, 65_536])
    parser.add_argument("--seconds", type=float, default=0.3, help="of each measurement")
    options = parser.parse_args()
    dtype = torch.bfloat16 if options.device == "cuda" else torch.float32
    own = stack.LayerStack._step
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.models:
            files = resolve_model(str(model_folder(name, scratch, options.model_folder)))
            encoder = Encoder(files, torch.device(options.device), dtype)
            unit = Unit(files.n_layers, "mean")
            first = {}
            for way, step in ways(options.device):
                stack.LayerStack._step = step
                try:
                    study(encoder, unit, way, name, options, first)
                except Exception as error:  # one way that fails is a finding
                    print(f"{name}, {way}: {type(error).__name__}: {str(error)[:300]}", flush=True)
                finally:
                    stack.LayerStack._step = own
            del encoder


def study(encoder, unit, way, name, options, first):
    """Time one way on all sizes."""
    for tokens in options.tokens:
        batch = texts_of(tokens)
        compiling, found = timed(lambda batch=batch: encoder.run(batch, [unit]))
        expected = first.setdefault(tokens, (found, None))[0]
        start = time.perf_counter()
        runs = [
            seconds_of(lambda batch=batch: encoder.run(batch, [unit]), options.device, options.seconds)
            for _ in range(3)
        ]
        seconds = statistics.median(runs)
        if way == "as it is":
            first[tokens] = (found, seconds)
        before = first[tokens][1]
        row = new_row(f"forward of {NAMES[name]}, {way}, {batch.n_tokens} tokens, {encoder.dtype}", torch)
        row |= {
            "milliseconds": round(seconds * 1e3, 3),
            "tokens_per_second": round(batch.n_tokens / seconds),
            "ratio": round(before / seconds, 3),
            "first_call_seconds": round(compiling, 2),
            "difference": float(np.abs(found - expected).max()),
            "pays_after_tokens": round(compiling / (before - seconds) * batch.n_tokens) if before > seconds else None,
            "measured_for_seconds": round(time.perf_counter() - start, 1),
        }
        write_row("study_forward", row)


if __name__ == "__main__":
    main()
