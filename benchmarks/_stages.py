"""Where the time of one pass goes: skbert's own functions, timed as they run, and its forward under torch's profiler.

Nothing of the engine is done again here: functions are wrapped where they are, one pass runs, and they are put back. A
function that is no longer there is named in `not_there`, and its time is in that of its caller or in `rest`.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import threading
import time
from collections import Counter

import torch
from _common import timed

# Where the functions are, and the stage of each. Time in a stage inside another counts for the inner one alone.
_FUNCTIONS = (
    ("encode", "_Job.__init__", "dedupe and keys"),
    ("encode", "_Job.look_up", "dedupe and keys"),
    ("encoder", "Encoder.pieces", "tokenise"),
    ("encode", "_Job._tokenize", "build sequences"),
    ("crew", "Crew._next", "wait for tokens"),
    ("encode", "plan_batches", "plan and cut batches"),
    ("table", "SequenceTable.take", "plan and cut batches"),
    ("encoder", "Encoder._inputs", "inputs to the device"),
    ("encoder", "Encoder._run_once", "forward"),
    ("encoder", "Encoder._fetch", "wait and copy back"),
    ("encode", "_Job._deliver", "deliver"),
    ("encode", "_Job.finish", "copies and lengths"),
)
# By parts of the names of operators (CPU) and of kernels (GPU); what comes first counts.
_KINDS = (
    ("attention", ("scaled_dot_product", "flash", "fmha", "varlen")),
    ("matrix products", ("addmm", "::mm", "::bmm", "baddbmm", "mkldnn_linear", "linear_pointwise", "gemm", "nvjet")),
    ("matrix products", ("cutlass", "xmma", "cublas")),
    ("norms", ("layer_norm", "layernorm")),
    ("activation", ("gelu",)),
    ("copies", ("memcpy", "copy", "aten::cat", "index_select", "aten::embedding", "memset")),
)


class Stopwatch:
    """Seconds of each stage, for the thread that made it and for all others."""

    def __init__(self):
        self.own, self.beside = Counter(), Counter()
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._local = threading.local()

    def wrap(self, function, stage):
        """Return the function with its time taken, less that of stages inside it."""

        @functools.wraps(function)
        def timed_function(*args, **kwargs):
            open_stages = self._local.__dict__.setdefault("open", [])
            open_stages.append(0.0)
            start = time.perf_counter()
            try:
                result = function(*args, **kwargs)
            finally:
                seconds = time.perf_counter() - start
                inside = open_stages.pop()
                if open_stages:
                    open_stages[-1] += seconds
                with self._lock:
                    times = self.own if threading.get_ident() == self._thread else self.beside
                    times[stage] += seconds - inside
            # What a GPU still has to do is asked for later, by calling what is returned.
            return self.wrap(result, stage) if stage == "wait and copy back" and callable(result) else result

        return timed_function


@contextlib.contextmanager
def wrapped(functions, watch):
    """Put wrapped functions in the place of the engine's own for a while; yield the names that are not there."""
    with contextlib.ExitStack() as stack:
        not_there = []
        for module, path, stage in functions:
            owner = importlib.import_module(f"skbert._engine.{module}")
            *parents, name = path.split(".")
            for parent in parents:
                owner = getattr(owner, parent, None)
            function = getattr(owner, name, None)
            if function is None:
                not_there.append(f"{module}.{path}")
                continue
            stack.callback(setattr, owner, name, function)
            setattr(owner, name, watch.wrap(function, stage))
        yield not_there


def kind_of(name):
    """Return the kind of an operator or kernel."""
    low = name.lower()
    return next((kind for kind, parts in _KINDS if any(part in low for part in parts)), "other operations")


def share_of_operations(transform, texts, device):
    """Return what share of the time each kind of operation takes: of the forward on a CPU, of a GPU's busy time."""
    cuda = device == "cuda"
    watch = Stopwatch()
    kinds = [torch.profiler.ProfilerActivity.CPU, *([torch.profiler.ProfilerActivity.CUDA] if cuda else [])]
    forward = [entry for entry in _FUNCTIONS if entry[2] == "forward"]
    with wrapped(forward, watch), torch.profiler.profile(activities=kinds) as profiler:
        seconds, _ = timed(lambda: transform(texts))
    micros = Counter()
    for event in profiler.key_averages():
        if cuda and event.device_type == torch.autograd.DeviceType.CUDA:
            micros[kind_of(event.key)] += event.self_device_time_total
        elif not cuda and "::" in event.key:
            micros[kind_of(event.key)] += event.self_cpu_time_total
    busy = sum(micros.values()) / 1e6
    whole = busy if cuda else watch.own["forward"]
    if whole == 0:
        return {}
    shares = {kind: round(value / 1e6 / whole, 3) for kind, value in micros.most_common()}
    if cuda:
        shares["gpu busy, of the whole pass"] = round(busy / seconds, 3)
    else:
        shares["outside of operations"] = round(max(0.0, 1 - busy / whole), 3)
    return shares


def measure_stages(transform, texts, device):
    """Return seconds by stage of one pass over the texts, and the shares of its operations."""
    watch = Stopwatch()
    with wrapped(_FUNCTIONS, watch) as not_there:
        total, _ = timed(lambda: transform(texts))
    order = dict.fromkeys(stage for _, _, stage in _FUNCTIONS)
    seconds = {stage: round(watch.own[stage], 4) for stage in order if stage in watch.own}
    return {
        "seconds": {**seconds, "rest": round(total - sum(watch.own.values()), 4), "total": round(total, 4)},
        "in_other_threads": {stage: round(watch.beside[stage], 4) for stage in order if stage in watch.beside},
        "operations": share_of_operations(transform, texts, device),
        "not_there": not_there,
    }
