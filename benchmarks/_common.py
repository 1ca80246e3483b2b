"""What the benchmarks share: the clock, the tweets, and how a row tells where and with what it was measured."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from skbert.datasets import load_gop_debate, load_sample_tweets

RESULTS = Path(__file__).parent / "results"
# They decide how threads wait for each other, and with that, on a busy machine, more than anything measured here.
_THREAD_SETTINGS = ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_LOAD = os.getloadavg()[0] if hasattr(os, "getloadavg") else None  # before this process adds to it


def timed(function):
    """Return the seconds that a call takes, and its result."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def clocked(function):
    """Return the seconds that a call takes by the clock and by the processor, all threads of it, and its result."""
    cpu = time.process_time()
    wall, result = timed(function)
    return wall, time.process_time() - cpu, result


def paired_ratios(numerators, denominators):
    """Return the median of the ratios of each round, and the ratios: a round's noise hits both sides alike."""
    ratios = [a / b for a, b in zip(numerators, denominators, strict=True)]
    return round(statistics.median(ratios), 3), [round(ratio, 3) for ratio in ratios]


def tweets(count, *, copies=False):
    """Return what the texts are, and `count` of them with their labels, drawn without favour; different ones or not."""
    source = "GOP tweets" if os.environ.get("SKBERT_DATA") else "sample tweets"
    X, y = (load_gop_debate if source == "GOP tweets" else load_sample_tweets)(return_X_y=True)
    first = {}
    for row, text in enumerate(X):
        first.setdefault(text, row)
    rows = np.arange(len(X)) if copies else np.array(list(first.values()))
    rows = rows[np.random.default_rng(0).permutation(len(rows))[:count]]
    return source, [X[row] for row in rows], y[rows]


def processor():
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def new_row(what, *modules):
    """Return the beginning of a row: the day, what is measured, the machine, and the versions of `modules`."""
    settings = [f"{name}={os.environ[name]}" for name in _THREAD_SETTINGS if name in os.environ]
    return {
        "date": datetime.date.today().isoformat(),
        "what": what,
        "machine": ", ".join([processor(), f"{torch.get_num_threads()} threads", *settings]),
        "load_before": _LOAD,
        "versions": {"python": platform.python_version(), **{m.__name__: m.__version__ for m in modules}},
    }


def write_row(name, row):
    """Print a row and append it to ``results/<name>.jsonl``."""
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row, indent=1))
