"""What the benchmarks share: the clock, the memory, and how a row tells where and with what it was measured."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import torch

# Another folder is for trials, whose rows nobody should keep.
RESULTS = Path(os.environ.get("SKBERT_RESULTS") or Path(__file__).parent / "results")
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


def memory_of_process():
    """Return peak and present bytes of this process, and how many of these are mapped files; None where unknown.

    The peak of getrusage will not do: a new process inherits that of its parent.
    """
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return {key: 1024 * int(lines[key].split()[0]) for key in ("VmHWM", "VmRSS", "RssFile")}
    except (OSError, KeyError):
        return None


def forget_peak():
    """Let the peak start again from what this process has now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        print("The peak of memory cannot be reset here, and will hold that of the imports.", file=sys.stderr)


def processor():
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def new_row(what, *modules, device="cpu"):
    """Return the beginning of a row: the day, what is measured, the machine, and the versions of `modules`.

    A module that is not installed is None and has none.
    """
    gpu = [torch.cuda.get_device_name()] if device == "cuda" else []
    settings = [f"{name}={os.environ[name]}" for name in _THREAD_SETTINGS if name in os.environ]
    return {
        "date": datetime.date.today().isoformat(),
        "what": what,
        "machine": ", ".join([*gpu, processor(), f"{torch.get_num_threads()} threads", *settings]),
        "load_before": _LOAD,
        "versions": {"python": platform.python_version(), **{m.__name__: m.__version__ for m in modules if m}},
    }


def write_row(name, row):
    """Print a row and append it to ``<name>.jsonl`` in the folder of results."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    with (RESULTS / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row, indent=1))
