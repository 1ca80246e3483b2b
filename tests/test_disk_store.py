"""DiskStore: what it promises where nothing goes wrong. Faults are in test_disk_faults.py."""

from __future__ import annotations

import copy
import os
import pickle
import random
import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

from skbert import BertEmbedder, DiskStore, MemoryStore, cache_info, clear_cache
from skbert._store.disk.database import Database
from skbert.exceptions import InvalidParameterError
from tests._disk import (
    SIZE,
    SPACE,
    TEXTS,
    close,
    commits_held_back,
    in_child,
    keys,
    put,
    there,
    transform,
    values,
)

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
LABEL = "skbert-store.txt"


# -- values ----------------------------------------------------------------------------------------------------


def test_values_come_back_as_they_were_put(tmp_path):
    """What was put is found to the bit, in its namespace and in its length only, and nothing is told of it."""
    store, some = DiskStore(tmp_path / "new" / "folder"), keys(range(700))
    assert put(store, some) == 0
    assert there(store, [*keys(5, 1000), *some]).tolist() == [True, False] + [True] * 700
    assert not there(store, some, space=b"m" * 16).any()
    assert not there(store, some, size=SIZE + 4).any()
    assert there(DiskStore(tmp_path / "new" / "folder"), some).all()
    assert store.get_many(SPACE, [], SIZE)[0].shape == (0,)
    assert store.troubles() == []


def test_what_was_put_last_is_found(tmp_path):
    """A key holds one value: the one put last, also within one call."""
    store, (a, b) = DiskStore(tmp_path), keys(1, 2)
    store.put_many(SPACE, [a, a], values([a, b]))
    store.put_many(SPACE, [b, a], values([a, b]))
    store.put_many(SPACE, [a, b], values([a, b]))
    store.flush()
    assert there(store, [a, b, a]).all()
    assert store.info().vectors == 2


@pytest.mark.parametrize("max_bytes", [None, 200_000])
def test_any_order_of_work_gives_what_a_dictionary_gives(tmp_path, max_bytes):
    """Putting, replacing, forgetting a model, closing and opening: all that is found is right, and nothing is told.

    Without a limit all is found; with one, a database that dropped vectors is still a sound one.
    """
    rng, store, expected = random.Random(0), DiskStore(tmp_path, max_bytes), {}
    for _ in range(60):
        number = rng.randrange(3)
        space, size, what = bytes([number]) * 16, [4, 700, 3076][number], rng.random()
        some = keys(*rng.sample(range(300), rng.choice([1, 20, 150])))
        if what < 0.7:
            store.describe(space, {"names": [str(number)], "weights": "w", "layer": 1, "pooling": "mean"})
            new = np.frombuffer(rng.randbytes(len(some) * size), dtype=np.uint8).reshape(-1, size)
            store.put_many(space, some, new)
            store.flush()
            expected |= {(space, key): value.tobytes() for key, value in zip(some, new, strict=True)}
        elif what < 0.8 and any(space == held for held, _ in expected) and max_bytes is None:
            assert store.clear(str(number)) == sum(space == held for held, _ in expected)
            expected = {held: value for held, value in expected.items() if held[0] != space}
        else:
            close(tmp_path)
        found, got = store.get_many(space, some, size)
        there = [expected.get((space, key)) for key, is_found in zip(some, found, strict=True) if is_found]
        assert [value.tobytes() for value in got] == there
        assert max_bytes is not None or found.sum() == sum((space, key) in expected for key in some)
        assert store.troubles() == []
    assert max_bytes is not None or store.info().vectors == len(expected)


@pytest.mark.parametrize("how", ["by the limit", "with their model"])
def test_what_drops_vectors_leaves_a_sound_database(tmp_path, how):
    """After vectors were dropped, a process that opens the folder anew finds the others and has nothing to tell."""
    for seed in range(15):
        rng, folder = random.Random(seed), tmp_path / str(seed)
        store, held = DiskStore(folder, 1_500_000 if how == "by the limit" else None), {}
        for step in range(8):
            number = rng.randrange(3)
            space, size = bytes([number]) * 16, [132, 1540, 3076][number]
            if how == "with their model" and rng.random() < 0.3 and space in held:
                store.clear(str(number))
                del held[space]
            else:
                store.describe(space, {"names": [str(number)], "weights": str(number), "layer": 1, "pooling": "mean"})
                some = keys(*rng.sample(range(10_000), rng.choice([50, 400])))
                put(store, some, space, size)
                held[space] = some, size
            before = {space: there(store, some, space, size) for space, (some, size) in held.items()}
            close(folder)
            for space, (some, size) in held.items():
                assert np.array_equal(there(store, some, space, size), before[space]), (seed, step)
            assert store.troubles() == [], (seed, step)
        close(folder)


# -- writing ---------------------------------------------------------------------------------------------------


def test_writing_waits_for_nobody_and_many_puts_are_one_commit(tmp_path, monkeypatch):
    """put_many returns before anything is written; what has gathered by then is written at once."""
    commits, commit = [], Database.commit
    monkeypatch.setattr(Database, "commit", lambda self, puts, *rest: commits.append(puts) or commit(self, puts, *rest))
    store, some = DiskStore(tmp_path), keys(range(200))
    with commits_held_back() as go:
        for k in range(0, 200, 2):
            store.put_many(SPACE, some[k : k + 2], values(some[k : k + 2]))
        go.set()
        store.flush()
    assert len(commits) <= 2
    assert there(store, some).all()


def test_flush_waits_for_what_this_thread_put_also_while_another_flushes(tmp_path):
    """Two threads share a store: the one that flushes second returns no earlier than what it put is kept."""
    store, was_put, returned = DiskStore(tmp_path), threading.Event(), []

    def first():
        was_put.wait(10)
        store.flush()

    def second():
        store.put_many(SPACE, keys(1), values(keys(1)))
        was_put.set()
        time.sleep(0.1)  # for the first to take hold of all that waits
        store.flush()
        returned.append("second")

    threads = [threading.Thread(target=work) for work in (first, second)]
    with commits_held_back() as go:
        [thread.start() for thread in threads]
        threads[1].join(0.4)
        early = list(returned)
        go.set()
        [thread.join() for thread in threads]
    assert early == []
    assert there(store, keys(1)).all()


def test_threads_can_share_a_store(tmp_path):
    """Puts and gets from eight threads, through one object or several, lose nothing."""
    stores = [DiskStore(tmp_path), DiskStore(tmp_path)]
    faults = []

    def work(thread):
        try:
            for k in range(0, 60, 6):
                some, store = keys(range(1000 * thread + k, 1000 * thread + k + 6)), stores[thread % 2]
                put(store, some)
                assert there(store, some).all()
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert faults == []
    assert stores[0].info().vectors == 480


def test_many_folders_in_one_process(tmp_path):
    """Thirty folders used in turn are not all open at once, and all keep what they have."""
    stores = [DiskStore(tmp_path / str(k)) for k in range(30)]
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else None
    for k, store in enumerate(stores):
        put(store, keys(k))
    assert before is None or len(os.listdir("/proc/self/fd")) <= before + 40
    assert all(there(store, keys(k)).all() for k, store in enumerate(stores))
    assert all(store.troubles() == [] for store in stores)


# -- the limit -------------------------------------------------------------------------------------------------


def test_the_oldest_written_go_first(tmp_path):
    """Beyond max_bytes the vectors written first go; one that is written again is young; every drop is counted."""
    store, some = DiskStore(tmp_path, max_bytes=300_000), keys(range(200))
    dropped = 0
    for k in range(0, 200, 10):
        dropped += put(store, some[k : k + 10], size=3076)
        put(store, some[:1], size=3076)
    found, info = there(store, some, size=3076), store.info()
    assert found[0]
    assert found[1:].tolist() == sorted(found[1:].tolist())  # first those that are gone
    assert 20 < found.sum() < 200
    assert info.bytes <= info.max_bytes == 300_000
    assert info.vectors == found.sum() == 200 - info.evictions
    assert info.evictions >= dropped > 0


def test_the_file_stays_near_the_limit(tmp_path):
    """However much is written, the file takes no more of the disk than the limit and three times what a call writes."""
    store = DiskStore(tmp_path, max_bytes=500_000)
    for k in range(0, 6000, 100):
        put(store, keys(range(k, k + 100)), size=1540)
    assert os.stat(tmp_path / "data.mdb").st_blocks * 512 <= 500_000 + 3 * 100 * store.cost(1540)


def test_a_call_larger_than_the_limit_still_fills_it(tmp_path):
    """Values put at once, twice as many as may be kept, leave the last of them and a database that is sound."""
    store, some = DiskStore(tmp_path, max_bytes=3_000_000), keys(range(4000))
    dropped = put(store, some, size=1540)
    found = there(store, some, size=1540)
    assert found[-1]
    assert 4000 - dropped == found.sum() >= 500
    close(tmp_path)
    assert np.array_equal(there(store, some, size=1540), found)
    assert store.troubles() == []


def test_a_limit_of_nothing_keeps_nothing(tmp_path):
    """A limit of 0 is a store that forgets everything at once, not an error."""
    store = DiskStore(tmp_path, max_bytes=0)
    assert put(store, keys(range(10))) == 10
    assert not there(store, keys(range(10))).any()


def test_a_store_too_small_is_told_once_a_call(tiny_bert_folder, tmp_path):
    """One warning names the store, the bytes needed and a larger one; a store of that size drops nothing."""
    store = DiskStore(tmp_path, max_bytes=40_000)
    many = [f"{text} {k}" for text in TEXTS for k in range(20)]
    vectors, told = transform(tiny_bert_folder, store, many)
    assert np.abs(vectors - transform(tiny_bert_folder, None, many)[0]).max() <= 1e-5
    assert len(told) == 1
    needed = int(re.search(r"CacheWarning: .*needs ([\d,]+) bytes", told[0])[1].replace(",", ""))
    larger = int(re.search(r"Pass a larger one: cache=DiskStore\(.*, max_bytes=(\d+)\)", told[0])[1])
    assert larger >= needed == 400 * store.cost(33 * 4)
    assert transform(tiny_bert_folder, DiskStore(tmp_path, max_bytes=larger), many)[1] == []
    assert cache_info(DiskStore(tmp_path)).vectors == 400


# -- what it tells ---------------------------------------------------------------------------------------------


@forks
def test_a_folder_tells_what_it_holds_and_was_asked_over_all_processes(tiny_bert_folder, tmp_path):
    """cache_info of a path or a store: models, layers, texts, bytes, hits and misses."""
    in_child(lambda: transform(tiny_bert_folder, tmp_path, TEXTS, layers=(-1, -2)))
    in_child(lambda: transform(tiny_bert_folder, tmp_path, TEXTS[:5], pooling="cls"))
    in_child(transform, tiny_bert_folder, DiskStore(tmp_path), TEXTS[:7])
    info = cache_info(tmp_path)
    assert info == cache_info(str(tmp_path)) == cache_info(DiskStore(tmp_path))
    (model,) = info.models
    assert model.names == (tiny_bert_folder,)
    assert (model.layers, model.poolings, model.texts, model.vectors) == ((1, 2), ("cls", "mean"), 20, 45)
    assert (info.layers, info.texts, info.vectors, info.max_bytes) == ((1, 2), 20, 45, None)
    assert (info.hits, info.misses, info.evictions) == (7, 25, 0)
    assert 45 * 132 < info.bytes <= os.path.getsize(tmp_path / "data.mdb")


def test_one_model_can_be_forgotten(tiny_model, tmp_path):
    """clear_cache(model=…) takes a folder or the SHA-256 of the weights, and leaves others; an unknown one is told."""
    bert, electra = tiny_model("bert"), tiny_model("electra")
    for how in ("folder", "weights"):
        vectors = {model: transform(str(model), tmp_path, TEXTS)[0] for model in (bert, electra)}
        (gone,) = [model for model in cache_info(tmp_path).models if model.names == (str(bert),)]
        clear_cache(tmp_path, model=bert if how == "folder" else gone.weights)
        assert [model.names for model in cache_info(tmp_path).models] == [(str(electra),)]
        before = cache_info(tmp_path).hits
        assert np.array_equal(transform(str(electra), tmp_path, TEXTS)[0], vectors[electra])
        assert cache_info(tmp_path).hits == before + len(TEXTS)
        close(tmp_path)
        assert transform(str(electra), tmp_path, TEXTS)[1] == []
    with pytest.raises(InvalidParameterError, match=rf"(?s)'{re.escape(str(electra))}'.*Got 'nobody' instead"):
        clear_cache(tmp_path, model="nobody")


def test_clearing_forgets_all_and_gives_the_disk_its_room_back(tiny_bert_folder, tmp_path):
    """After clear_cache the folder is as new, its counts included, and works."""
    vectors, _ = transform(tiny_bert_folder, tmp_path, TEXTS)
    clear_cache(tmp_path)
    info = cache_info(tmp_path)
    assert (info.models, info.texts, info.vectors, info.hits, info.misses) == ((), 0, 0, 0, 0)
    again, told = transform(tiny_bert_folder, tmp_path, TEXTS)
    assert np.array_equal(again, vectors)
    assert told == []


def test_asking_makes_no_folder(tmp_path):
    """A folder is made when vectors are looked for, not by a store's making, nor by asking, nor by clearing."""
    folder = tmp_path / "typo"
    DiskStore(folder)
    assert cache_info(folder).vectors == 0
    clear_cache(folder)
    assert not folder.exists()


# -- as a parameter --------------------------------------------------------------------------------------------


def test_copies_share_a_folder_and_pickles_keep_it(tmp_path, monkeypatch):
    """Clones of a grid search have one store; a pickle holds the folder and the limit, and no vector."""
    monkeypatch.chdir(tmp_path)
    store = DiskStore("store", max_bytes=12_345_678)
    put(store, keys(range(100)))
    assert copy.copy(store) is store
    assert copy.deepcopy(store) is store
    assert clone(BertEmbedder(cache=store)).cache is store
    raw = pickle.dumps(store)
    assert len(raw) < 500
    monkeypatch.chdir("/")
    again = pickle.loads(raw)
    assert (again.folder, again.max_bytes) == (tmp_path / "store", 12_345_678)
    assert there(again, keys(range(100))).all()
    assert repr(again) == f"DiskStore({str(tmp_path / 'store')!r}, max_bytes=12345678)"


@pytest.mark.parametrize("wrong", [-1, 1.5, "1GB", True])
def test_a_wrong_limit_is_refused(tmp_path, wrong):
    """The message names the parameter, what it must be and what it is."""
    with pytest.raises(InvalidParameterError, match=r"The 'max_bytes' parameter of DiskStore must be .*Got"):
        DiskStore(tmp_path, max_bytes=wrong)


@pytest.mark.parametrize("wrong", [None, 3, "", MemoryStore()])
def test_a_wrong_folder_is_refused(wrong):
    """The message names the parameter, what it must be and what it is."""
    with pytest.raises(InvalidParameterError, match=r"The 'folder' parameter of DiskStore must be .*Got"):
        DiskStore(wrong)


def test_a_file_is_no_folder(tiny_bert_folder, tmp_path):
    """A path to a file is told as what it is, through DiskStore and through the parameter cache."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InvalidParameterError, match=r"'folder' parameter of DiskStore.*a file"):
        DiskStore(tmp_path / "file")
    with pytest.raises(InvalidParameterError, match=r"The 'cache' parameter.*Got .*file"):
        transform(tiny_bert_folder, tmp_path / "file", TEXTS)
    assert (tmp_path / "file").read_text() == "mine"
