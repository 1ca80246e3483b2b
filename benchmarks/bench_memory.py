"""The memory that a pass over many texts takes beyond its output, and beyond what the process had before.

    python benchmarks/bench_memory.py [--texts 100000] [--models tiny minilm]

Each model runs in a new process: texts are made, the peak is reset, and `BertEmbedder(..., cache=None).transform` runs
over all of them, the loading of the model included. What counts is the peak over the memory before the call, less the
matrix that is returned: it must not grow with the number of texts, and stay below 500 MB.

- tiny: one thin layer with random weights and texts of 30 words, as many tokens as a tweet: the model costs little, so
  that a million texts take minutes;
- minilm: all-MiniLM-L6-v2, with texts of three words, since a hundred thousand tweets would take half an hour.

Writes rows to benchmarks/results/memory.jsonl, and fails after that where the limit is passed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile

import sklearn
import torch
import transformers
from _common import forget_peak, memory_of_process, new_row, timed, write_row
from _corpora import make_texts
from _models import minilm_folder, write_tiny

from skbert import BertEmbedder

LIMIT_MB = 500
WORDS = {"tiny": 30, "minilm": 3}


def memory():
    """Return the present and the peak bytes of this process; without the system's account, its peak for both."""
    found = memory_of_process()
    if found is not None:
        return found["VmRSS"], found["VmHWM"]
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return (unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,) * 2


def child(model, folder, count, device):
    """Embed the texts in this process and print what that took, as JSON."""
    texts = make_texts(count, WORDS[model])
    forget_peak()
    before, _ = memory()
    seconds, found = timed(lambda: BertEmbedder(folder, device=device, cache=None).transform(texts))
    growth = memory()[1] - before
    print(json.dumps({"seconds": seconds, "output_bytes": found.nbytes, "peak_growth_bytes": growth}))


def run(model, count, device, given):
    """Return the row's fields, from a new process."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_tiny(scratch) if model == "tiny" else str(minilm_folder(given))
        command = [sys.executable, __file__, "--texts", str(count), "--device", device, "--child", model, folder]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    beyond = found["peak_growth_bytes"] - found["output_bytes"]
    return {
        "model": model,
        "device": device,
        "texts": count,
        "words": WORDS[model],
        "seconds": round(found["seconds"], 1),
        "output_mb": round(found["output_bytes"] / 1e6, 1),
        "peak_growth_mb": round(found["peak_growth_bytes"] / 1e6, 1),
        "beyond_output_mb": round(beyond / 1e6, 1),
        "limit_mb": LIMIT_MB,
    }


def main():
    """Run the models and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--models", nargs="+", choices=list(WORDS), default=["tiny"])
    parser.add_argument("--model-folder", help="all-MiniLM-L6-v2, where its package is not installed")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child, options.texts, options.device)
        return
    too_much = []
    for model in options.models:
        fields = run(model, options.texts, options.device, options.model_folder)
        what = f"memory of one pass over {options.texts} different texts of {WORDS[model]} words, {model}, cache=None"
        write_row("memory", new_row(what, torch, transformers, sklearn, device=options.device) | fields)
        if fields["beyond_output_mb"] > LIMIT_MB:
            too_much.append(f"{model}: {fields['beyond_output_mb']} MB beyond the output")
    if too_much:
        sys.exit(f"FAILED: more than {LIMIT_MB} MB; {'; '.join(too_much)}")


if __name__ == "__main__":
    main()
