"""MemoryStore: bounded by bytes, least recently used first out, thread-safe, shared by clones."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from sklearn.base import clone

from skbert import BertEmbedder, MemoryStore, cache_info, clear_cache
from skbert.exceptions import InvalidParameterError

SPACE = b"n" * 16


def key(k):
    return k.to_bytes(16, "little")


def rows(*values):
    """Return values of one length as the array that a store takes."""
    return np.frombuffer(b"".join(values), dtype=np.uint8).reshape(len(values), -1)


def put(store, keys, *values):
    """Put values and return how many were dropped."""
    store.put_many(SPACE, keys, rows(*values))
    return store.flush()


def get(store, keys, size, namespace=SPACE):
    """Return the values found, None where there is none."""
    found, values = store.get_many(namespace, keys, size)
    taken = iter(values)
    return [bytes(next(taken)) if there else None for there in found]


def test_values_come_back_as_they_were_put():
    """What was put is found, under its own namespace only."""
    store = MemoryStore()
    assert put(store, [key(1), key(2)], b"one", b"two") == 0
    assert get(store, [key(2), key(3), key(1)], 3) == [b"two", None, b"one"]
    assert get(store, [key(1)], 3, namespace=b"m" * 16) == [None]
    assert get(store, [key(1)], 4) == [None]  # a value of another length is not what was asked for


def test_the_least_recently_used_goes_first():
    """Reading a value makes it young; the oldest is dropped, and the drop is counted."""
    size = MemoryStore().cost(100)
    store = MemoryStore(max_bytes=3 * size)
    put(store, [key(k) for k in range(3)], *[bytes(100)] * 3)
    get(store, [key(0)], 100)
    assert put(store, [key(3)], bytes(100)) == 1
    assert [value is not None for value in get(store, [key(k) for k in range(4)], 100)] == [True, False, True, True]
    assert store.info().evictions == 1


def test_putting_a_key_again_does_not_count_it_twice():
    """Bytes are those of the values held."""
    store = MemoryStore()
    put(store, [key(1)], bytes(1000))
    put(store, [key(1)], bytes(10))
    assert (store.info().vectors, store.info().bytes) == (1, store.cost(10))


def test_max_bytes_bounds_the_memory_it_really_takes():
    """The bytes that Python allocates for the store stay below its limit and near what it says."""
    tracemalloc.start()
    try:
        store = MemoryStore(max_bytes=2_000_000)
        before = tracemalloc.get_traced_memory()[0]
        for k in range(0, 20_000, 100):
            put(store, [key(j) for j in range(k, k + 100)], *[bytes([j % 256]) * 600 for j in range(100)])
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken <= 2_000_000
    assert taken > 0.7 * store.info().bytes
    assert sys.getsizeof(b"") == 33


def test_a_store_too_small_for_one_value_holds_nothing():
    """A limit of 0 is a store that forgets everything at once, not an error."""
    store = MemoryStore(max_bytes=0)
    assert put(store, [key(1)], b"x") == 1
    assert (store.info().vectors, store.info().bytes) == (0, 0)


def test_clones_and_deep_copies_share_a_store_and_pickles_get_an_empty_one():
    """A grid search clones its estimators; their vectors stay in one place, and in this process."""
    store = MemoryStore(max_bytes=12_345)
    put(store, [key(1)], b"x")
    assert copy.copy(store) is store
    assert copy.deepcopy(store) is store
    assert clone(BertEmbedder(cache=store)).cache is store
    again = pickle.loads(pickle.dumps(store))
    assert (again.max_bytes, again.info().vectors) == (12_345, 0)


def test_threads_can_share_a_store():
    """Puts and gets from eight threads lose nothing and keep the count of bytes right."""
    store = MemoryStore(max_bytes=10_000_000)

    def work(thread):
        for k in range(300):
            put(store, [key(1000 * thread + k)], bytes([thread]) * 50)
            (value,) = get(store, [key(1000 * thread + k)], 50)
            assert value == bytes([thread]) * 50

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert (store.info().vectors, store.info().bytes) == (2400, 2400 * store.cost(50))


def test_clear_forgets_everything():
    """After clear the store is as new."""
    store = MemoryStore()
    put(store, [key(1)], b"x")
    store.tally(3, 4)
    assert store.info().hits == 3
    clear_cache(store)
    assert cache_info(store) == ((), (), 0, 0, 0, 2**28, 0, 0, 0)


@pytest.mark.parametrize("wrong", [-1, 1.5, "1GB", True, None])
def test_a_wrong_size_is_refused(wrong):
    """The message names the parameter, what it must be and what it is."""
    with pytest.raises(InvalidParameterError, match=r"The 'max_bytes' parameter of MemoryStore must be an int.*Got"):
        MemoryStore(max_bytes=wrong)


@pytest.mark.parametrize("wrong", [None, 3, "Memory", "none", " "])
def test_only_a_store_can_be_asked(wrong):
    """cache_info names what it takes."""
    with pytest.raises(InvalidParameterError, match="The 'cache' parameter must be"):
        cache_info(wrong)


def test_one_model_can_be_forgotten():
    """clear_cache forgets the vectors of the model that is named, by name or by weights, and keeps the others."""
    store = MemoryStore()
    facts = {"layer": 1, "pooling": "mean"}
    for letter, count in (b"a", 2), (b"b", 3):
        store.describe(letter * 16, {**facts, "names": [letter.decode()], "weights": letter.decode() * 64})
        store.put_many(letter * 16, [key(k) for k in range(count)], np.zeros((count, 8), dtype=np.uint8))
    store.tally(1, 5)
    info = cache_info(store)
    assert [(model.names, model.texts) for model in info.models] == [(("a",), 2), (("b",), 3)]
    assert (info.texts, info.vectors, info.layers) == (3, 5, (1,))  # keys 0 and 1 are of both
    clear_cache(store, model="b")
    info = cache_info(store)
    assert [model.names for model in info.models] == [("a",)]
    assert (info.vectors, info.bytes, info.misses) == (2, 2 * store.cost(8), 5)
    clear_cache(store, model="a" * 64)
    assert cache_info(store).vectors == 0
    with pytest.raises(InvalidParameterError, match=r"The 'model' parameter of clear_cache .* holds .*no model"):
        clear_cache(store, model="a")
