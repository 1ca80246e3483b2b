"""Plans of batches: pure integers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, strategies as st

from skbert._engine.batching import plan_batches, runs_of

lengths = st.lists(st.integers(1, 300), max_size=200).map(np.array)


@given(lengths, st.integers(1, 1000), st.booleans())
def test_every_sequence_is_in_exactly_one_batch(lengths, budget, padded):
    """A plan loses nothing and doubles nothing."""
    batches = plan_batches(lengths, budget, padded=padded)
    assert sorted(k for batch in batches for k in batch.tolist()) == list(range(len(lengths)))


@given(lengths, st.integers(1, 1000), st.booleans())
def test_a_batch_keeps_the_budget_unless_it_is_one_sequence(lengths, budget, padded):
    """Tokens of a batch, with their padding where there is any, are at most the budget."""
    for batch in plan_batches(lengths, budget, padded=padded):
        taken = lengths[batch]
        tokens = len(taken) * taken.max() if padded else taken.sum()
        assert tokens <= budget or len(batch) == 1


@given(lengths, st.integers(1, 1000), st.booleans())
def test_no_batch_could_take_the_next_sequence_too(lengths, budget, padded):
    """Batches are as full as their order allows."""
    batches = plan_batches(lengths, budget, padded=padded)
    for batch, following in itertools.pairwise(batches):
        taken = lengths[[*batch, following[0]]]
        assert (len(taken) * taken.max() if padded else taken.sum()) > budget


def test_longest_come_first_and_equal_lengths_keep_their_order():
    """Memory is short in the first batch if ever, and equal lengths stand side by side."""
    (batch,) = plan_batches(np.array([3, 9, 3, 5, 9]), 100)
    assert batch.tolist() == [1, 4, 3, 0, 2]


def test_nothing_gives_no_batches():
    """An empty list of lengths is an empty plan."""
    assert plan_batches(np.array([], dtype=int), 10) == []


@given(st.lists(st.integers(1, 5), min_size=1, max_size=50).map(np.array))
def test_runs_cover_the_row(lengths):
    """Runs of equal length tell the lengths back, end to end."""
    runs = runs_of(lengths)
    assert [length for _, count, length in runs for _ in range(count)] == lengths.tolist()
    ends = [first + count * length for first, count, length in runs]
    assert [first for first, _, _ in runs] == [0, *ends[:-1]]
    assert all(a[2] != b[2] for a, b in itertools.pairwise(runs))


@pytest.mark.parametrize("padded", [False, True])
def test_planning_a_million_lengths_is_linear_work(padded):
    """A plan touches each length a few times: the number of batches, not of pairs, bounds the loop."""
    lengths = np.random.default_rng(0).integers(3, 100, 200_000)
    batches = plan_batches(lengths, 4096, padded=padded)
    assert len(batches) < 1.1 * lengths.sum() / 4000 + 100
