"""Law 9 at every stage: memory that runs short, stages and devices that fail, Ctrl-C.

A GPU's way of working is played on the CPU: tokenising ahead in threads, several batches begun before the first is
waited for, work that is done, or fails, only while somebody waits for it.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import signal
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from skbert import BertEmbedder, DiskStore, MemoryStore, release_models
from skbert._engine import encode
from skbert._engine.ahead import Ahead
from skbert._engine.chunks import Chunks
from skbert._engine.registry import get_encoder
from skbert._engine.sources import resolve_model
from skbert.exceptions import DeviceWarning, TextInputError
from tests._models import build_tiny_model
from tests._reference import padded_vectors, relative_difference
from tests.test_laws import sentences

CPU = torch.device("cpu")
TEXTS = sentences(60)
CHUNKED = {"long_texts": "chunk", "max_length": 8}
policies = pytest.mark.parametrize("params", [{}, CHUNKED], ids=["whole", "chunks"])
WAYS = {"cpu": (1, False), "gpu": (1, True), "cpus": (2, False), "gpus": (2, True)}  # devices, and how they work
ways = pytest.mark.parametrize("way", WAYS)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return build_tiny_model(tmp_path_factory.mktemp("faults"), "bert", seed=51)


@pytest.fixture(scope="module")
def expected(model):
    return padded_vectors(model, TEXTS)


@pytest.fixture
def folder(model):
    """Return a model whose encoders are new; whatever the test does, no thread outlives its calls."""
    release_models()
    yield model
    release_models()
    assert working() == []


def working():
    """Return the engine's threads. A disk store's writer is none: it ends with the interpreter."""
    engines = ("skbert-device", "skbert-tokenise")
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(engines)]


def encoders_of(folder, n=1):
    return [get_encoder(resolve_model(folder), CPU, torch.float32, replica) for replica in range(n)]


def embedder_of(folder, n=1, **params):
    params = {"cache": None, "batch_tokens": 64, "long_texts": "truncate", **params}
    return BertEmbedder(folder, device=["cpu"] * n, **params)


def small_steps(patch, window=20, portion=5):
    """Let a call of a few texts have many windows and portions."""
    patch.setattr(encode, "_WINDOW_TEXTS", {"cpu": window})
    patch.setattr(encode, "_FIRST_PORTION", {"cpu": portion})
    patch.setattr(encode, "_PORTION", portion)


def like_gpus(patch, encoders):
    """Tokenise ahead; begin batches that are computed, or fail, when they are waited for."""

    def ahead(job, portions, encoder):
        return Ahead(lambda places: job._tokenize(places, encoder), portions, depth=3, threads=2)

    def later(original):
        return lambda *args: lambda: original(*args)()

    patch.setattr(encode._Job, "_ahead", ahead)
    for encoder in encoders:
        patch.setattr(encoder, "depth", 3)
        patch.setattr(encoder, "_run_once", later(encoder._run_once))


def set_up(patch, folder, way):
    """Return the encoders of a way of working, set up for it, and an embedder's parameters."""
    n, asynchronous = WAYS[way]
    encoders = encoders_of(folder, n)
    small_steps(patch)
    if asynchronous:
        like_gpus(patch, encoders)
    return encoders, n


def in_another_thread(function, *args):
    """Return what the function returns, called where a lock that is still held would be missed."""
    return ThreadPoolExecutor(1).submit(function, *args).result(60)


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "What is waited for never comes."
        time.sleep(0.001)


def close(found, expected):
    return relative_difference(found, expected) < 1e-5


SHORT_OF_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory (made up)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried to (...)"),
    MemoryError(),
)


@policies
@pytest.mark.parametrize("kind", ["none", "memory", "disk"])
def test_memory_that_runs_short_at_any_batch_costs_nothing(folder, expected, monkeypatch, tmp_path, kind, params):
    """Whichever batch it is: the same vectors, each sequence run once, each text stored once."""
    texts, (encoder,) = TEXTS[:30], encoders_of(folder)
    undisturbed = embedder_of(folder, **params).transform(texts)
    assert params or close(undisturbed, expected[:30])
    n_sequences, original, calls = encoder.n_texts, encoder._run_once, itertools.count()

    def disturbed(batch, *args):
        if next(calls) == wrong and len(batch) > 1:
            failed.append(batch)
            raise error
        return original(batch, *args)

    monkeypatch.setattr(encoder, "_run_once", disturbed)
    for wrong, error in ((k, error) for k in itertools.count() for error in SHORT_OF_MEMORY):
        calls, failed = itertools.count(), []
        place = tmp_path / f"{wrong} {type(error).__name__}"
        store = DiskStore(place) if kind == "disk" else MemoryStore() if kind == "memory" else None
        encoder.n_texts, encoder.max_tokens = 0, None
        embedder = embedder_of(folder, cache=store, **params)
        found = embedder.transform(texts)
        assert close(found, undisturbed)
        assert encoder.n_texts == n_sequences
        if store is not None:
            assert (store.info().vectors, store.info().misses) == (30, 30)
            assert np.array_equal(embedder.transform(texts), found)
            assert encoder.n_texts == n_sequences
        if not failed:
            break
        assert encoder.max_tokens == failed[0].n_tokens // 2
    assert wrong >= 4


def fault(kind, after):
    """Return what makes functions work so many times in all, and then raise, each time with the error's number."""
    calls = itertools.count(1)

    def breaking(function):
        def broken(*args, **options):
            if (call := next(calls)) > after:
                raise kind(call - after)
            return function(*args, **options)

        return broken

    return breaking


# Functions of the tokenizer, the engine and the store; "wait" is for a batch that is begun.
STAGES = "pieces tabulate plan_batches _run_once wait take put_many get_many flush".split()


def break_stage(patch, stage, breaking, *places):
    name = "_run_once" if stage == "wait" else stage
    for place in (place for place in places if hasattr(place, name)):
        original = getattr(place, name)
        waiting = lambda *args, original=original: breaking(original(*args))  # noqa: E731
        patch.setattr(place, name, waiting if stage == "wait" else breaking(original))


@ways
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_an_error_of_any_stage_surfaces_and_leaves_all_sound(folder, expected, monkeypatch, tmp_path, stage, way, kind):
    """The first error as it is, no thread, no lock; what was delivered is stored, and another call does the rest."""
    if kind is RuntimeError and stage in ("_run_once", "wait") and len(way) > 3:
        kind = ValueError  # a RuntimeError of one device of several is the device's, and the others go on
    encoders, n = set_up(monkeypatch, folder, way)
    store = MemoryStore() if kind is KeyboardInterrupt else DiskStore(tmp_path)
    embedder = embedder_of(folder, n, cache=store)
    with monkeypatch.context() as patch, warnings.catch_warnings(action="error"):
        breaking = fault(kind, {"get_many": 2, "flush": 1}.get(stage, 7))
        break_stage(patch, stage, breaking, *encoders, encode, Chunks, store)
        with pytest.raises(kind) as caught:
            embedder.transform(TEXTS)
    assert type(caught.value) is kind
    assert way != "cpu" or caught.value.args == (1,)  # of several threads, the one with a later place may be first
    assert working() == []
    held = store.info().vectors
    assert 0 < held < len(TEXTS)
    assert store.info().misses >= held
    assert close(in_another_thread(embedder.transform, TEXTS), expected)
    assert store.info().vectors == len(TEXTS)
    assert not any(encoder.lock.locked() for encoder in encoders)


@pytest.mark.parametrize("kind", [ArithmeticError, KeyboardInterrupt])
def test_of_two_errors_the_first_in_time_surfaces(folder, monkeypatch, kind):
    """Whichever device's it is; the others' batches that are being run then cannot hide it."""
    first, _ = encoders_of(folder, 2)
    raised, run = threading.Event(), first._run_once

    def late(*args):
        until(raised.is_set)
        time.sleep(0.1)  # until the other thread has told of it
        return run(*args)

    def deliver(*args):
        error = ArithmeticError("second") if raised.is_set() else kind("first")
        raised.set()
        raise error

    monkeypatch.setattr(first, "_run_once", late)
    monkeypatch.setattr(encode._Job, "_deliver", deliver)
    with pytest.raises(kind, match="first"):
        embedder_of(folder, 2).transform(TEXTS)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, ArithmeticError])
def test_an_error_that_is_over_holds_nothing(folder, monkeypatch, kind, n):
    """Who catches an error has his memory back at once: what the failed forwards held is gone without a collection."""
    held = []

    def run(*args):
        inputs = torch.zeros(10)
        held.append(weakref.ref(inputs))
        raise kind("made up")

    for encoder in encoders_of(folder, n):
        monkeypatch.setattr(encoder, "_run_once", run)
    gc.collect()
    gc.disable()
    try:
        with warnings.catch_warnings(action="ignore"), contextlib.suppress(kind):
            embedder_of(folder, n).transform(TEXTS)
        assert [tensor() for tensor in held] == [None] * len(held) != []
    finally:
        gc.enable()


@pytest.mark.parametrize("after", ["flush", "tally"])
@pytest.mark.parametrize("kind", [ArithmeticError, KeyboardInterrupt])
def test_an_error_while_cleaning_up_does_not_hide_the_first_one(folder, monkeypatch, kind, after):
    """Who presses Ctrl-C gets KeyboardInterrupt, also where the store then fails to keep what it was given."""
    (encoder,), store = encoders_of(folder), MemoryStore()
    break_stage(monkeypatch, "_run_once", fault(kind, 3), encoder)
    break_stage(monkeypatch, after, fault(OSError, 0), store)
    with pytest.raises(kind):
        embedder_of(folder, cache=store).transform(TEXTS)


class Keeping(MemoryStore):
    """Counts how often each vector is put."""

    def __init__(self):
        super().__init__()
        self.puts = Counter()

    def put_many(self, namespace, keys, values, *, overwrite=True):
        self.puts.update((namespace, key) for key in keys)
        super().put_many(namespace, keys, values, overwrite=overwrite)


class Shift:
    """Devices at work on one job: counts what each begins and finishes, and `decide(k)` is asked before each batch."""

    def __init__(self, patch, encoders, asynchronous, decide):
        self.batches, self.begun, self.finished = Counter(), Counter(), Counter()  # the last two in sequences
        for k, encoder in enumerate(encoders):
            patch.setattr(encoder, "_run_once", self._asking(decide, k, encoder._run_once))
        if asynchronous:
            like_gpus(patch, encoders)
        for k, encoder in enumerate(encoders):
            patch.setattr(encoder, "_run_once", self._counting(k, encoder._run_once))

    def _asking(self, decide, k, original):
        return lambda *args: (decide(k), original(*args))[1]

    def _counting(self, k, original):
        def run(batch, *args):
            self.batches[k] += 1
            self.begun[k] += len(batch)
            vectors = original(batch, *args)
            return lambda: (vectors(), self.finished.update({k: len(batch)}))[0]

        return run


teams = pytest.mark.parametrize("asynchronous", [False, True], ids=["cpus", "gpus"])


@teams
@policies
@pytest.mark.parametrize("last", [False, True], ids=["early", "after the others"])
@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize(("n", "bad"), [(2, 0), (3, 1)])
def test_a_device_that_fails_loses_nothing(folder, monkeypatch, n, bad, after, last, params, asynchronous):
    """Its batches, begun ones too, go to the others: right vectors, each text delivered once, one warning."""
    undisturbed = embedder_of(folder, **params).transform(TEXTS)
    encoders, store = encoders_of(folder, n), Keeping()
    total, trying, calls = encoders[0].n_texts, threading.Event(), itertools.count()

    def decide(k):
        if k != bad:
            until(trying.is_set)  # they leave it something to fail with
        elif next(calls) >= after:
            trying.set()
            if last:
                until(lambda: shift.begun[bad] + sum(shift.finished.values()) - shift.finished[bad] == total)
            raise RuntimeError("the bus fell off")

    shift = Shift(monkeypatch, encoders, asynchronous, decide)
    with pytest.warns(DeviceWarning) as caught:
        found = embedder_of(folder, n, cache=store, batch_tokens=20, **params).transform(TEXTS)
    (message,) = [str(w.message) for w in caught]
    assert "'cpu'" in message and message.endswith("RuntimeError: the bus fell off")  # noqa: PT018
    assert close(found, undisturbed)
    assert len(store.puts) == store.info().misses == len(TEXTS)
    assert set(store.puts.values()) == {1}
    assert sum(shift.finished.values()) == total


@teams
@pytest.mark.parametrize("n", [2, 3])
def test_when_all_devices_fail_an_error_of_theirs_surfaces(folder, expected, monkeypatch, n, asynchronous):
    """As it is, and of no device that was left out before; what was finished is kept, and the next call goes on."""
    encoders, store, calls = encoders_of(folder, n), Keeping(), [itertools.count() for _ in range(n)]

    def decide(k):
        if next(calls[k]) >= 2:
            raise RuntimeError(f"device {k} is gone")

    with monkeypatch.context() as patch, warnings.catch_warnings(record=True, action="always") as caught:
        Shift(patch, encoders, asynchronous, decide)
        with pytest.raises(RuntimeError, match="is gone") as raised:
            embedder_of(folder, n, cache=store, batch_tokens=20).transform(TEXTS)
    told = [str(raised.value), *(str(w.message).rpartition(": ")[2] for w in caught)]
    assert len(told) == len(set(told)) <= n
    assert 0 < store.info().vectors < len(TEXTS)
    assert close(in_another_thread(embedder_of(folder, n, cache=store).transform, TEXTS), expected)
    assert set(store.puts.values()) == {1}


@teams
def test_work_is_shared_as_it_comes(folder, expected, monkeypatch, asynchronous):
    """A device that is slow does what it has begun, and the other one all the rest."""
    encoders = encoders_of(folder, 2)

    def decide(k):
        if k == 0:
            until(lambda: shift.begun[0] + shift.finished[1] == len(TEXTS))
        else:
            until(lambda: shift.begun[0] > 0)

    shift = Shift(monkeypatch, encoders, asynchronous, decide)
    assert close(embedder_of(folder, 2, batch_tokens=20).transform(TEXTS), expected)
    assert 1 <= shift.batches[0] <= encoders[0].depth + 1 < shift.batches[1]


@ways
def test_a_text_that_is_refused_is_no_fault_of_a_device(folder, monkeypatch, way):
    """TextInputError names its row, on however many devices, and nobody is left out for it."""
    _, n = set_up(monkeypatch, folder, way)
    texts = [*TEXTS[:50], "what " * 100, *TEXTS[50:]]
    with warnings.catch_warnings(action="error"), pytest.raises(TextInputError, match="Row 50 of X"):
        embedder_of(folder, n, long_texts="error").transform(texts)


def embed_until_told(folder, cache):
    """Run in a child: embed 300 texts in batches of one, in each way; the parent sends SIGINT when it reads "now"."""
    begun, told = itertools.count(1), []

    def interrupt(*args):
        told.append(next(begun))
        signal.default_int_handler(*args)

    def slow(original):
        def run(*args):
            if next(begun) == 6:
                print("now", flush=True)  # noqa: T201
            time.sleep(0.01)
            return original(*args)

        return run

    signal.signal(signal.SIGINT, interrupt)
    for way in [*WAYS, "once more"]:
        release_models()
        begun, store = itertools.count(1), DiskStore(f"{cache}/{way}")
        caught = [KeyboardInterrupt] if way in WAYS else []  # the last time nobody catches it
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(*caught):
            encoders, n = set_up(patch, folder, way if caught else "cpu")
            for encoder in encoders:
                patch.setattr(encoder, "_run_once", slow(encoder._run_once))
            embedder_of(folder, n, cache=store, batch_tokens=1).transform(sentences(300))
        print(json.dumps([way, next(begun) - told[-1] - 1, working()]), flush=True)  # noqa: T201


def test_ctrl_c_ends_a_long_call_at_once_and_keeps_what_is_done(folder, tmp_path):
    """A real SIGINT: a few batches more, no thread, and the process ends by it. Another run does only the rest."""
    code = f"from tests.test_engine_faults import *; embed_until_told({str(folder)!r}, {str(tmp_path)!r})"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    child = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[1], **pipes)
    watch = threading.Timer(100, child.kill)
    watch.start()
    reports = []
    for line in child.stdout:
        child.send_signal(signal.SIGINT) if line == "now\n" else reports.append(json.loads(line))
    errors = child.communicate()[1]
    watch.cancel()
    assert child.returncode in (1, -signal.SIGINT), errors
    assert errors.splitlines()[-1].startswith("KeyboardInterrupt")
    assert [way for way, _, _ in reports] == list(WAYS)
    assert all(0 <= more <= 10 and threads == [] for _, more, threads in reports), reports
    wanted = padded_vectors(folder, sentences(300))
    for way in [*WAYS, "once more"]:
        store = DiskStore(tmp_path / way)
        held, misses = store.info().vectors, store.info().misses
        assert 0 < held < 290
        assert close(embedder_of(folder, cache=store).transform(sentences(300)), wanted)
        assert store.info().misses - misses == 300 - held
