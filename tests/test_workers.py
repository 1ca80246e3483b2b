"""What a worker process of joblib is told about its cache."""

from __future__ import annotations

import multiprocessing
import warnings

import pytest
import torch
from joblib import Parallel, delayed

from skbert import BertEmbedder, clear_cache
from skbert.exceptions import CacheWarning


def told(folder, cache, calls):
    """Embed each list of texts, in a process whose memory store is empty, and return what warnings each call gave."""
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)  # of a forked parent's threads none is here, and torch would wait for them
    clear_cache()
    heard = []
    for texts in calls:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", CacheWarning)
            BertEmbedder(folder, device="cpu", cache=cache).transform(texts)
        heard.append([str(one.message) for one in caught if issubclass(one.category, CacheWarning)])
    return heard


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_a_worker_with_its_own_memory_is_told_once(tiny_bert_folder, backend):
    """It embeds again what others have; the warning says so and names the way out."""
    run = Parallel(n_jobs=2, backend=backend)
    for first, second in run(delayed(told)(tiny_bert_folder, "memory", [["a", "b"], ["c"]]) for _ in range(1)):
        (message,) = first
        assert "worker" in message
        assert "cache='some/folder'" in message
        assert second == []


def test_workers_with_a_folder_and_the_main_process_are_told_nothing(tiny_bert_folder, tmp_path):
    """A folder is the remedy; and one process has one memory."""
    run = Parallel(n_jobs=2)
    assert run(delayed(told)(tiny_bert_folder, str(tmp_path), [["a"]]) for _ in range(2)) == [[[]], [[]]]
    assert run(delayed(told)(tiny_bert_folder, None, [["a"]]) for _ in range(1)) == [[[]]]
    assert told(tiny_bert_folder, "memory", [["a", "b"]]) == [[]]
