"""DiskStore among processes: forks, turns, many writers, and those that die."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from skbert import BertEmbedder, DiskStore, cache_info, release_models
from skbert._engine import registry
from skbert._store.disk import database
from skbert._store.disk.folder import folder_at
from tests._disk import (
    SIZE,
    SPACE,
    TEXTS,
    Child,
    commits_held_back,
    in_child,
    keys,
    put,
    there,
    transform,
    values,
)

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


# -- forks -----------------------------------------------------------------------------------------------------


def test_a_fork_opens_the_folder_anew(tmp_path):
    """Children of a process that has the folder open read and write it, and so does the process afterwards."""
    store, some = DiskStore(tmp_path), keys(range(100))
    put(store, some)

    def child(number):
        assert there(store, some).all()
        put(store, keys(1000 + number))
        return store.troubles()

    assert [in_child(child, k) for k in range(5)] == [[]] * 5
    put(store, keys(2000))
    assert there(store, [*some, *keys(range(1000, 1005), 2000)]).all()
    assert store.troubles() == []


def test_a_fork_while_others_read_and_write(tmp_path):
    """Children forked while threads of the parent are at work in the folder can work in it, and the threads go on."""
    store, some, stop, faults = DiskStore(tmp_path), keys(range(300)), threading.Event(), []
    put(store, some)

    def work(number):
        try:
            while not stop.is_set():
                assert there(DiskStore(tmp_path), some).all()
                put(DiskStore(tmp_path), keys(range(number, number + 10)))
        except BaseException as fault:
            faults.append(fault)

    def child(number):
        put(store, keys(number))
        return there(store, [*some, *keys(number)]).all() and not store.troubles()

    threads = [threading.Thread(target=work, args=(1000 * k,)) for k in (1, 2)]
    [thread.start() for thread in threads]
    try:
        assert all(in_child(child, k, seconds=15) for k in range(5000, 5010))
    finally:
        stop.set()
        [thread.join() for thread in threads]
    assert faults == []
    assert there(store, [*some, *keys(range(1000, 1010), range(5000, 5010))]).all()
    assert store.troubles() == []


def test_a_fork_owes_nothing_of_what_its_parent_is_writing(tmp_path):
    """A child forked while vectors of its parent are on their way neither waits for them nor loses its own."""
    store = DiskStore(tmp_path)

    def child(_):
        go.set()
        put(store, keys(2))
        return there(store, keys(2)).all()

    with commits_held_back() as go:
        store.put_many(SPACE, keys(1), values(keys(1)))
        threading.Timer(0.2, go.set).start()  # a fork may wait for a commit
        forked = Child(child, seconds=5)
        assert forked.result()
    store.flush()
    assert there(store, keys(1, 2)).all()


def test_a_fork_does_not_wait_for_who_waits_for_a_turn(tmp_path):
    """A process may fork while one of its threads waits until another process has embedded."""

    def holder(child):
        with DiskStore(tmp_path).turn(b"t" * 16):
            child.send("inside")
            return child.receive()

    def waiter():
        with DiskStore(tmp_path).turn(b"t" * 16):
            taken.append(True)

    taken, child = [], Child(holder, seconds=10)
    assert child.receive() == "inside"
    thread = threading.Thread(target=waiter)
    thread.start()
    time.sleep(0.1)
    assert in_child(lambda: put(DiskStore(tmp_path), keys(1)), seconds=5) == 0
    assert taken == []
    child.send("go")
    assert child.result() == "go"
    thread.join()
    assert taken == [True]


# -- at the same time ------------------------------------------------------------------------------------------


def test_another_process_finds_the_vectors_and_loads_no_model(tiny_bert_folder, tmp_path):
    """A warm folder gives the same bits in another process, which needs no weights."""
    release_models()
    cold, told = in_child(transform, tiny_bert_folder, tmp_path, TEXTS)

    def warm():
        vectors, told = transform(tiny_bert_folder, tmp_path, TEXTS)
        return vectors, told, len(registry._encoders)

    assert told == []
    again, told, loaded = in_child(warm)
    assert np.array_equal(again, cold)
    assert (told, loaded) == ([], 0)
    assert np.abs(transform(tiny_bert_folder, None, TEXTS)[0] - cold).max() <= 1e-5


def test_tomorrows_run_finds_the_vectors(tiny_bert_folder, tmp_path):
    """A fresh interpreter, with other hash seeds, finds what this one stored, to the bit, and the other way round."""
    folder, target = tmp_path / "store", tmp_path / "vectors.npy"
    code = (
        "import sys, numpy; from skbert import BertEmbedder, cache_info\n"
        "model, folder, target, *texts = sys.argv[1:]\n"
        "numpy.save(target, BertEmbedder(model, cache=folder).transform(texts))\n"
        "print(cache_info(folder).hits, cache_info(folder).misses)"
    )
    cold, _ = transform(tiny_bert_folder, folder, TEXTS)
    command = [sys.executable, "-c", code, tiny_bert_folder, str(folder), str(target), *TEXTS, "one more"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.stdout.split() == ["20", "21"], done.stderr
    assert np.array_equal(np.load(target)[:20], cold)
    warm, told = transform(tiny_bert_folder, folder, [*TEXTS, "one more"])
    assert np.array_equal(warm, np.load(target))
    assert (told, cache_info(folder).misses) == ([], 21)


@pytest.mark.parametrize("reader", ["has it open", "opens it"])
def test_reading_takes_no_lock(tmp_path, reader):
    """Values are read while another process is in the middle of a commit, also by one that has to open the folder."""

    def writer(child):
        put(DiskStore(tmp_path), keys(1))
        child.send("open")
        child.receive()
        with folder_at(tmp_path).use() as opened, opened._env.begin(write=True):
            child.send("writing")
            return child.receive()

    child = Child(writer, seconds=5)
    assert child.receive() == "open"
    if reader == "has it open":
        assert there(DiskStore(tmp_path), keys(1)).all()
    child.send("write")
    assert child.receive() == "writing"
    assert there(DiskStore(tmp_path), keys(1)).all()
    child.send("read")
    assert child.result() == "read"


@pytest.mark.parametrize("who", ["processes", "threads"])
def test_one_at_a_time_has_a_turn(tmp_path, who):
    """Of all who share a folder one is inside at a time, and names do not wait for each other."""
    counter = tmp_path / "counter"
    counter.write_text("0")

    def work(_=None):
        store = DiskStore(tmp_path / "store")
        for _ in range(10):
            with store.turn(b"t" * 16), DiskStore(tmp_path / "store").turn(b"u" * 16):
                count = int(counter.read_text())
                time.sleep(0.001)
                counter.write_text(str(count + 1))

    if who == "processes":
        children = [Child(work) for _ in range(4)]
        [child.result() for child in children]
    else:
        threads = [threading.Thread(target=work) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    assert counter.read_text() == "40"


def test_eight_processes_write_at_once(tmp_path):
    """All that any of them put is there in the end, also where they put the same; nobody is told anything."""
    shared = keys(range(50))

    def work(child, number):
        assert child.receive() == "go"
        store = DiskStore(tmp_path)
        for k in range(0, 60, 6):
            put(store, [*keys(range(1000 * number + k, 1000 * number + k + 6)), *shared])
            assert there(store, shared).all()
        store.tally(1, 2)
        return store.troubles()

    children = [Child(work, number) for number in range(1, 9)]
    [child.send("go") for child in children]
    assert [child.result() for child in children] == [[]] * 8
    store = DiskStore(tmp_path)
    assert there(store, [*shared, *keys(*(range(1000 * k, 1000 * k + 60) for k in range(1, 9)))]).all()
    assert store.info()[-3:] == (8, 16, 0)
    assert store.info().vectors == 50 + 8 * 60


def test_only_one_process_embeds_and_the_others_read(tiny_bert_folder, tmp_path):
    """Four processes ask for the same new texts at once: each goes through BERT once, and all get the same bits."""

    def work(child):
        child.receive()
        return transform(tiny_bert_folder, tmp_path, TEXTS)

    children = [Child(work) for _ in range(4)]
    [child.send("go") for child in children]
    results = [child.result() for child in children]
    assert all(told == [] and np.array_equal(vectors, results[0][0]) for vectors, told in results)
    assert (cache_info(tmp_path).misses, cache_info(tmp_path).hits) == (20, 60)


# -- those that die --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["exit", "kill"])
def test_what_transform_returned_is_kept_also_if_the_process_ends_right_after(tiny_bert_folder, tmp_path, end):
    """Vectors are on the disk before transform returns."""

    def work(child):
        child.send(BertEmbedder(tiny_bert_folder, cache=tmp_path).transform(TEXTS))
        if end == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(0)

    child = Child(work)
    cold = child.receive()
    child.kill()
    assert cache_info(tmp_path).vectors == len(TEXTS)
    warm, told = transform(tiny_bert_folder, tmp_path, TEXTS)
    assert np.array_equal(warm, cold)
    assert told == []
    assert cache_info(tmp_path).hits == len(TEXTS)


def test_a_writer_killed_in_the_middle_of_a_commit_fifty_times(tmp_path):
    """What it had finished is there to the bit, nothing else is wrong, and the next one reads and writes."""
    rng = random.Random(0)

    def work(child, start):
        store = DiskStore(tmp_path)
        for k in range(start, start + 10_000, 20):
            put(store, keys(range(k, k + 20)))
            child.send(k)

    finished = []
    for kill in range(50):
        child = Child(work, 10_000 * kill)
        finished.append(child.receive())
        assert isinstance(finished[-1], int), finished[-1]
        time.sleep(rng.random() * 0.02)
        finished += child.kill()
    store = DiskStore(tmp_path)
    assert there(store, keys(*(range(k, k + 20) for k in finished))).all()
    vectors = store.info().vectors
    assert 20 * len(finished) <= vectors <= 20 * (len(finished) + 50)
    assert put(store, keys(-1)) == 0
    assert there(store, keys(-1)).all()
    assert store.troubles() == []


def test_a_lock_whose_holder_was_killed_is_taken_over(tmp_path):
    """The turn of a process that died is free at once, also while processes that it forked live on."""

    def holder(child):
        with DiskStore(tmp_path).turn(b"t" * 16):
            grandchild = Child(lambda grandchild: grandchild.receive(), seconds=20)
            child.send(grandchild.pid)
            child.receive()

    def taker():
        with DiskStore(tmp_path).turn(b"t" * 16):
            return "taken"

    child = Child(holder, seconds=20)
    grandchild = child.receive()
    child.kill()
    try:
        assert in_child(taker, seconds=10) == "taken"
    finally:
        os.kill(grandchild, signal.SIGKILL)


def test_who_waits_for_a_turn_gets_it_when_the_holder_dies(tmp_path):
    """A process that waits already goes on."""

    def holder(child):
        with DiskStore(tmp_path).turn(b"t" * 16):
            child.send("inside")
            child.receive()

    def waiter(child):
        child.send("waiting")
        with DiskStore(tmp_path).turn(b"t" * 16):
            return "taken"

    first = Child(holder, seconds=20)
    assert first.receive() == "inside"
    second = Child(waiter, seconds=20)
    assert second.receive() == "waiting"
    time.sleep(0.05)
    assert not second.has_message()
    first.kill()
    assert second.result() == "taken"


def test_readers_that_die_leave_the_folder_to_others(tmp_path, monkeypatch):
    """More readers than LMDB has places for by default die while they read; the next one reads and writes."""
    in_child(lambda: put(DiskStore(tmp_path), keys(1)))

    def die(_):
        monkeypatch.setattr(database, "Block", lambda raw: os._exit(7))
        DiskStore(tmp_path).get_many(SPACE, keys(1), SIZE)

    for _ in range(130):
        child = Child(die)
        _, status = os.waitpid(child.pid, 0)
        assert os.waitstatus_to_exitcode(status) == 7
        child.close()
    store = DiskStore(tmp_path)
    assert there(store, keys(1)).all()
    put(store, keys(2))
    assert there(store, keys(1, 2)).all()
    assert store.troubles() == []
