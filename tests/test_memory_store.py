"""MemoryStore: bounded by bytes, least recently used first out, thread-safe, shared by clones."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
import tracemalloc

import pytest
from sklearn.base import clone

from skbert import BertEmbedder, MemoryStore, cache_info, clear_cache
from skbert.exceptions import InvalidParameterError

SPACE = b"n" * 16


def key(k):
    return k.to_bytes(16, "little")


def test_values_come_back_as_they_were_put():
    """What was put is found, under its own namespace only."""
    store = MemoryStore()
    assert store.put_many(SPACE, [key(1), key(2)], [b"one", b"two"]) == 0
    assert store.get_many(SPACE, [key(2), key(3), key(1)]) == [b"two", None, b"one"]
    assert store.get_many(b"m" * 16, [key(1)]) == [None]


def test_the_least_recently_used_goes_first():
    """Reading a value makes it young; the oldest is dropped, and the drop is counted."""
    size = MemoryStore().cost(100)
    store = MemoryStore(max_bytes=3 * size)
    store.put_many(SPACE, [key(k) for k in range(3)], [bytes(100)] * 3)
    store.get_many(SPACE, [key(0)])
    assert store.put_many(SPACE, [key(3)], [bytes(100)]) == 1
    assert [value is not None for value in store.get_many(SPACE, [key(k) for k in range(4)])] == [
        True,
        False,
        True,
        True,
    ]
    assert store.info().evictions == 1


def test_putting_a_key_again_does_not_count_it_twice():
    """Bytes are those of the values held."""
    store = MemoryStore()
    store.put_many(SPACE, [key(1)], [bytes(1000)])
    store.put_many(SPACE, [key(1)], [bytes(10)])
    assert store.info()[:2] == (1, store.cost(10))


def test_max_bytes_bounds_the_memory_it_really_takes():
    """The bytes that Python allocates for the store stay below its limit and near what it says."""
    tracemalloc.start()
    try:
        store = MemoryStore(max_bytes=2_000_000)
        before = tracemalloc.get_traced_memory()[0]
        for k in range(0, 20_000, 100):
            store.put_many(SPACE, [key(j) for j in range(k, k + 100)], [bytes([j % 256]) * 600 for j in range(100)])
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken <= 2_000_000
    assert taken > 0.7 * store.info().bytes
    assert sys.getsizeof(b"") == 33


def test_a_store_too_small_for_one_value_holds_nothing():
    """A limit of 0 is a store that forgets everything at once, not an error."""
    store = MemoryStore(max_bytes=0)
    assert store.put_many(SPACE, [key(1)], [b"x"]) == 1
    assert store.info()[:2] == (0, 0)


def test_clones_and_deep_copies_share_a_store_and_pickles_get_an_empty_one():
    """A grid search clones its estimators; their vectors stay in one place, and in this process."""
    store = MemoryStore(max_bytes=12_345)
    store.put_many(SPACE, [key(1)], [b"x"])
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
            store.put_many(SPACE, [key(1000 * thread + k)], [bytes([thread]) * 50])
            (value,) = store.get_many(SPACE, [key(1000 * thread + k)])
            assert value == bytes([thread]) * 50

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert store.info()[:2] == (2400, 2400 * store.cost(50))


def test_clear_forgets_everything():
    """After clear the store is as new."""
    store = MemoryStore()
    store.put_many(SPACE, [key(1)], [b"x"])
    store.tally(3, 4)
    assert store.info().hits == 3
    clear_cache(store)
    assert cache_info(store) == (0, 0, 2**28, 0, 0, 0)


@pytest.mark.parametrize("wrong", [-1, 1.5, "1GB", True, None])
def test_a_wrong_size_is_refused(wrong):
    """The message names the parameter, what it must be and what it is."""
    with pytest.raises(InvalidParameterError, match=r"The 'max_bytes' parameter of MemoryStore must be an int.*Got"):
        MemoryStore(max_bytes=wrong)


@pytest.mark.parametrize("wrong", [None, 3, "disk"])
def test_only_a_store_can_be_asked(wrong):
    """cache_info names what it takes."""
    with pytest.raises(InvalidParameterError, match="The 'cache' parameter must be"):
        cache_info(wrong)
