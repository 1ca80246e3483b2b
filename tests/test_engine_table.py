"""What lies between texts and device, against the naive way on lists: SequenceTable, tabulate, Chunks, Ahead.

At the end the whole of it, on texts of odd sizes, in odd company, and in a fork.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import threading
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from skbert import BertEmbedder, BertSentimentClassifier, MemoryStore, release_models
from skbert._engine import devices, encode
from skbert._engine.ahead import Ahead
from skbert._engine.chunks import Chunks
from skbert._engine.registry import get_encoder
from skbert._engine.sources import resolve_model
from skbert._engine.spec import Unit
from skbert._engine.table import SequenceTable, tabulate
from skbert._engine.tokens import Sequence, Template, build_sequences
from skbert.exceptions import DeviceError, TextInputError
from tests._models import MAX_TOKENS, WORDS
from tests._reference import padded_vectors, relative_difference
from tests.test_engine_faults import WAYS, set_up, small_steps
from tests.test_laws import count, sentences

POLICIES = ["truncate", "head_tail", "chunk"]

ids = st.integers(0, 99)
pieces = st.lists(ids, max_size=30)
special = st.lists(ids, max_size=3)
marks = st.integers(0, 1)


@st.composite
def templates(draw):
    """Any number of special tokens, none included, before, between and after."""
    pair = draw(st.tuples(special, special, special))
    around = [draw(st.lists(marks, min_size=len(side), max_size=len(side))) for side in pair]
    segments = (around[0], draw(marks), around[1], draw(marks), around[2])
    return Template(draw(st.tuples(special, special)), pair, segments)


@st.composite
def sequences(draw, **sizes):
    """Sequences of any length; segments where there are any, as `build_sequences` makes them."""
    made = []
    for row in draw(st.lists(pieces, **sizes)):
        segments = draw(st.lists(marks, min_size=len(row), max_size=len(row)))
        kept = np.array(segments, dtype=np.int8) if any(segments) else None
        made.append(Sequence(np.array(row, dtype=np.int32), kept, draw(st.integers(0, 30))))
    return made


def rows(table):
    """Read a table sequence by sequence: ids, segments and weight as lists."""
    segments = np.zeros(table.n_tokens, np.int8) if table.segments is None else table.segments
    ends = np.cumsum(table.lengths)
    cuts = [slice(end - length, end) for end, length in zip(ends.tolist(), table.lengths.tolist(), strict=True)]
    return [
        (table.ids[cut].tolist(), segments[cut].tolist(), weight)
        for cut, weight in zip(cuts, table.weights.tolist(), strict=True)
    ]


def as_rows(made):
    """Say the same of sequences."""
    return [
        (row.ids.tolist(), [0] * len(row.ids) if row.segments is None else row.segments.tolist(), row.weight)
        for row in made
    ]


def is_sound(table):
    """Lengths add up, columns have the types that the device's copies are made from, no column of zeros is held."""
    n = int(table.lengths.sum())
    assert len(table.ids) == n == table.n_tokens
    assert len(table.lengths) == len(table.weights) == len(table)
    types = {field.name: getattr(table, field.name) for field in dataclasses.fields(table)}
    found = {name: column.dtype for name, column in types.items() if column is not None}
    assert found.items() <= {"ids": np.int32, "lengths": np.int64, "weights": np.int64, "segments": np.int8}.items()
    assert table.segments is None or len(table.segments) == n


# -- tables --------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(pieces, st.none() | pieces), max_size=8), templates(), st.data(), st.sampled_from(POLICIES))
def test_tabulate_is_each_text_built_by_itself(texts, template, data, policy):
    """However texts and pairs are mixed, the table holds what `build_sequences` makes of each, and whose it is."""
    least = max(template.n_special, template.n_special_pair) + 1
    max_length = data.draw(st.integers(least, least + 40))
    firsts, seconds = [first for first, _ in texts], [second for _, second in texts]
    try:
        built = [build_sequences(first, second, template, max_length, policy) for first, second in texts]
    except TextInputError as error:  # a pair in chunks
        with pytest.raises(TextInputError, match=re.escape(str(error))):
            tabulate(firsts, seconds, template, max_length, policy)
        return
    table, owners, cut = tabulate(firsts, seconds, template, max_length, policy)
    is_sound(table)
    assert rows(table) == as_rows([sequence for made, _ in built for sequence in made])
    assert owners.tolist() == [k for k, (made, _) in enumerate(built) for _ in made]
    assert cut.tolist() == [lost for _, lost in built]
    assert not len(table) or table.lengths.max() <= max_length


@given(st.lists(pieces, min_size=1, max_size=8), templates(), st.sampled_from(POLICIES))
def test_single_texts_need_no_pairs_room(texts, template, policy):
    """Single texts are fitted beside their own special tokens, whatever a pair's would take."""
    max_length = template.n_special + 1
    table, _, _ = tabulate(texts, [None] * len(texts), template, max_length, policy)
    made = [build_sequences(text, None, template, max_length, policy)[0] for text in texts]
    assert rows(table) == as_rows(itertools.chain(*made))


@given(sequences(max_size=8))
def test_a_table_is_its_sequences_end_to_end(made):
    """`of` keeps them; starts and positions are those of counting."""
    table = SequenceTable.of(made)
    is_sound(table)
    assert rows(table) == as_rows(made)
    assert (table.segments is None) == all(row.segments is None for row in made)
    lengths = [len(row.ids) for row in made]
    assert table.starts.tolist() == [sum(lengths[:k]) for k in range(len(made))]
    assert table.positions.tolist() == [place for length in lengths for place in range(length)]


@given(sequences(min_size=1, max_size=8), st.data())
def test_take_is_indexing_a_list(made, data):
    """Any places, in any order, also twice or none, also of what was taken."""
    table = SequenceTable.of(made)
    for _ in range(2):
        places = data.draw(st.lists(st.integers(0, len(made) - 1), max_size=12)) if made else []
        made, table = [made[place] for place in places], table.take(np.array(places, dtype=np.intp))
        is_sound(table)
        assert rows(table) == as_rows(made)


@given(st.lists(sequences(max_size=4), min_size=1, max_size=5))
def test_join_is_adding_lists(parts):
    """Tables with segments and without, and empty ones, one after the other."""
    table = SequenceTable.join([SequenceTable.of(part) for part in parts])
    is_sound(table)
    assert rows(table) == as_rows(itertools.chain(*parts))


# -- chunks --------------------------------------------------------------------------------------------------------

UNITS = (Unit(1, "mean"), Unit(1, "max"), Unit(2, "cls"))


def naive(pooled, weights):
    """Average with weights in double precision; the maximum where the pooling is one."""
    mean = np.average(pooled.astype(np.float64), axis=0, weights=weights)
    mean[1] = pooled[:, 1].max(axis=0)
    return mean


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.integers(0, 2**32 - 1), st.data())
def test_chunks_are_averaged_whatever_the_order_of_batches(counts, seed, data):
    """Each text comes once, with its last chunk; its vector is the naive one, and to the bit the same in any order."""
    draw = np.random.default_rng(seed)
    owners = np.repeat(draw.permutation(100)[: len(counts)], counts)
    weights = draw.integers(1, 63, len(owners))
    pooled = draw.normal(0, 3, (len(owners), len(UNITS), 4)).astype(np.float32)
    results = []
    for order in (np.arange(len(owners)), draw.permutation(len(owners))):
        chunks, given_so_far, found = Chunks(owners, weights), np.zeros(len(owners), dtype=bool), {}
        cuts = sorted(data.draw(st.lists(st.integers(0, len(owners)), max_size=4)))
        for batch in np.split(order, cuts):
            whole, vectors = chunks.take(batch, pooled[batch], UNITS)
            given_so_far[batch] = True
            assert vectors.dtype == np.float32
            assert vectors.shape == (len(whole), len(UNITS), 4)
            assert not found.keys() & set(whole.tolist())
            found.update(zip(whole.tolist(), vectors, strict=True))
            assert found.keys() == {owner for owner in owners.tolist() if given_so_far[owners == owner].all()}
        for owner, vector in found.items():
            mine = owners == owner
            assert relative_difference(vector, naive(pooled[mine], weights[mine])) < 1e-6
        results.append(found)
    assert all(np.array_equal(results[0][owner], results[1][owner]) for owner in results[0])


@pytest.mark.parametrize("alike", [True, False])
def test_a_book_of_chunks_is_averaged_as_exactly_as_a_page(alike):
    """Law 1's 1e-5 holds for the mean of 20,000 chunks too, of which a text of a million words consists."""
    draw = np.random.default_rng(0)
    pooled = draw.normal(1, 1, (1 if alike else 20_000, len(UNITS), 32)).astype(np.float32)
    pooled, weights = np.broadcast_to(pooled, (20_000, *pooled.shape[1:])), np.full(20_000, 62)
    _, (vector,) = Chunks(np.zeros(20_000, dtype=np.intp), weights).take(np.arange(20_000), pooled, UNITS)
    assert relative_difference(vector, naive(pooled, weights)) < 1e-5


# -- ahead ---------------------------------------------------------------------------------------------------------


def left_over():
    """Return the threads that should have ended."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("skbert-tokenise")]


@given(st.lists(st.none() | st.integers(), max_size=12), st.integers(0, 4), st.integers(1, 3))
def test_ahead_keeps_the_order_and_every_item(items, depth, threads):
    """It is `map` with the item beside its result, whatever the items are."""
    with Ahead(repr, items, depth=depth, threads=threads) as ahead:
        assert list(ahead) == [(item, repr(item)) for item in items]
    assert left_over() == []


@given(st.integers(0, 12), st.integers(0, 4), st.integers(1, 3), st.integers(0, 12))
def test_ahead_raises_an_error_where_its_result_would_have_come(n, depth, threads, wrong):
    """What comes before is delivered, also where a later item fails first; then the error, and no thread is left."""

    def half(item):
        if item >= wrong:
            raise ArithmeticError(item)
        return item / 2

    read = []

    def read_all():
        with Ahead(half, range(n), depth=depth, threads=threads) as ahead:
            read.extend(ahead)

    if wrong < n:
        with pytest.raises(ArithmeticError) as caught:
            read_all()
        assert caught.value.args == (wrong,)
    else:
        read_all()
    assert read == [(item, item / 2) for item in range(min(n, wrong))]
    assert left_over() == []


@given(st.integers(1, 12), st.integers(0, 4), st.integers(1, 3), st.integers(0, 12))
def test_ahead_works_no_further_ahead_than_it_says(n, depth, threads, leave_at):
    """`depth` items beyond the one that is read, begun or asked for; one who leaves early leaves nothing running."""
    asked, begun = [], []

    def items():
        for item in range(n):
            asked.append(item)
            yield item

    with Ahead(begun.append, items(), depth=depth, threads=threads) as ahead:
        assert (asked, begun) == ([], [])  # nobody reads yet
        for item, _ in ahead:
            assert len(begun) <= len(asked) <= item + 1 + depth
            if item == leave_at:
                break
    assert left_over() == []
    assert threads > 1 or sorted(begun) == begun
    assert len(set(begun)) == len(begun) <= min(n, leave_at + 1 + depth)


@pytest.mark.parametrize("threads", [1, 2])
def test_ahead_works_while_its_results_are_used(threads):
    """The next item is done before it is asked for; without depth all is done in the reader's own thread."""
    done = threading.Event()

    def work(item):
        if item == 1:
            done.set()
        return threading.current_thread()

    with Ahead(work, range(3), depth=1, threads=threads) as ahead:
        reading = iter(ahead)
        next(reading)
        assert done.wait(60)
    done.clear()
    with Ahead(work, range(3), depth=0) as ahead:
        assert next(iter(ahead))[1] is threading.current_thread()
        assert not done.is_set()


# -- odd sizes, odd company ----------------------------------------------------------------------------------------


def embedder_of(folder, **params):
    return BertEmbedder(folder, **{"device": "cpu", "cache": None, "long_texts": "truncate", **params})


ROOM = MAX_TOKENS - 2
HEAD = round(ROOM * 128 / 510)
MILLIONS = [
    ["about"] * 170_000,
    np.random.default_rng(0).choice(WORDS, 200_000).tolist(),
    ["x" * 1_000_000],
]


def kept(words, policy):
    """Return the word lists that the model should see of a text, of words that are one piece each."""
    if len(words) <= ROOM:
        return [words]
    if policy == "chunk":  # of even distance, with an eighth in common at least, as BertEmbedder's docstring says
        last = -(-(len(words) - ROOM) // (ROOM - ROOM // 8))
        starts = (round(k * (len(words) - ROOM) / last) for k in range(last + 1))
        return [words[start : start + ROOM] for start in starts]
    return [words[:ROOM] if policy == "truncate" else words[:HEAD] + words[HEAD - ROOM :]]


@pytest.mark.parametrize("policy", POLICIES)
def test_texts_of_a_million_characters(tiny_bert_folder, policy):
    """They get the vectors that their words should have, beside others that keep theirs."""
    texts = [*MILLIONS, ["a"], ["so", "it", "is"]]
    parts = [Counter(map(" ".join, kept(words, policy))) for words in texts]
    different = list(set().union(*parts))
    vectors = dict(zip(different, padded_vectors(tiny_bert_folder, different).astype(np.float64), strict=True))
    expected = [np.average([vectors[part] for part in of], axis=0, weights=list(of.values())) for of in parts]
    found = embedder_of(tiny_bert_folder, long_texts=policy).transform([" ".join(words) for words in texts])
    wrong = {k: relative_difference(found[[k]], expected[k][None]) for k in range(len(texts))}
    assert {k: difference for k, difference in wrong.items() if difference >= 1e-5} == {}


def test_texts_of_nothing(tiny_bert_folder):
    """100,000 empty texts are one, as many different ones of whitespace are as many; all get the same vector."""
    blank = ["".join(signs) for signs in itertools.product(" \t\n\r\u00a0", repeat=8)][:100_000]
    nothing = padded_vectors(tiny_bert_folder, [""])
    for texts, different in ([""] * 100_000, 1), (blank, 100_000):
        before = count(tiny_bert_folder)
        found = embedder_of(tiny_bert_folder).transform(texts)
        assert count(tiny_bert_folder) - before == different
        assert relative_difference(found, np.broadcast_to(nothing, found.shape)) < 1e-5


@pytest.mark.parametrize("way", WAYS)
def test_windows_and_portions_that_end_at_their_borders(tiny_bert_folder, monkeypatch, way):
    """However many texts there are, and wherever windows, portions and the tokenizer's calls end: each text once."""
    texts, expected = sentences(60), padded_vectors(tiny_bert_folder, sentences(60))
    encoders, n = set_up(monkeypatch, tiny_bert_folder, way)
    cut, seen = encode._Job._windows, []
    monkeypatch.setattr(encode._Job, "_windows", lambda job: seen.append(list(cut(job))) or seen[-1])
    for window, portion, tokenize in [(8, 4, 2), (8, 8, 8), (4, 8, 3), (1, 1, 1), (16, 5, 4), (100, 100, 16)]:
        small_steps(monkeypatch, window, portion)
        monkeypatch.setattr(encode, "_TOKENIZE", tokenize)
        for signs in (10**6, len(texts[0])):
            monkeypatch.setattr(encode, "_WINDOW_CHARS", signs)
            for many in (1, 8, 9, 60):
                before, store = sum(encoder.n_texts for encoder in encoders), MemoryStore()
                found = embedder_of(tiny_bert_folder, device=["cpu"] * n, cache=store).transform(texts[:many])
                assert relative_difference(found, expected[:many]) < 1e-5
                ran = sum(encoder.n_texts for encoder in encoders) - before
                assert ran == store.info().vectors == many
                assert np.concatenate([part for parts in seen[-1] for part in parts]).tolist() == list(range(many))
                assert max(sum(map(len, parts)) for parts in seen[-1]) <= window
                assert max(len(part) for parts in seen[-1] for part in parts) <= portion


@pytest.mark.parametrize("kind", ["texts", "pairs"])
def test_batches_of_one(tiny_bert_folder, kind):
    """batch_tokens=1 runs each text of one token, or pair with an empty side, alone, and changes no vector."""
    items = WORDS[:100] if kind == "texts" else list(zip(WORDS[:40], ["", *WORDS[:39]], strict=True))
    before = count(tiny_bert_folder)
    found = embedder_of(tiny_bert_folder, batch_tokens=1).transform(items)
    assert relative_difference(found, padded_vectors(tiny_bert_folder, items)) < 1e-5
    assert count(tiny_bert_folder) - before == len(items)


@pytest.mark.parametrize("budget", [16, 64, "auto"])
def test_a_text_has_the_same_label_in_any_company(tiny_bert_folder, budget):
    """Law 2 up to the label: alone, in pairs, reversed, and among long neighbours."""
    texts = sentences(60)
    head = {"hidden_layer_sizes": (16,), "max_iter": 10, "random_state": 0, "device": "cpu"}
    classifier = BertSentimentClassifier(embedder_of(tiny_bert_folder, layers=(0, -1)), **head)
    classifier.fit(texts, np.arange(60) % 3)
    labels, chances = classifier.predict(texts), classifier.predict_proba(texts)
    assert set(labels) == {0, 1, 2}
    classifier.embedder_.set_params(batch_tokens=budget)
    long = " ".join(WORDS)
    for rows in [[k] for k in range(0, 60, 4)] + [[k, 59 - k] for k in range(0, 30, 3)] + [list(range(59, -1, -1))]:
        mine = [texts[row] for row in rows]
        assert np.array_equal(classifier.predict(mine), labels[rows])
        np.testing.assert_allclose(classifier.predict_proba(mine), chances[rows], atol=1e-5)
        among = [long, *mine, f"the {long}"]
        assert np.array_equal(classifier.predict(among)[1:-1], labels[rows])
        np.testing.assert_allclose(classifier.predict_proba(among)[1:-1], chances[rows], atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_the_size_that_fits_is_remembered(tiny_bert_folder, monkeypatch, way):
    """What is planned after the first failures is small enough, in this call and in the next ones."""
    release_models()  # which know their sizes
    texts, expected = sentences(60), padded_vectors(tiny_bert_folder, sentences(60))
    encoders, n = set_up(monkeypatch, tiny_bert_folder, way)
    failures, budgets, plan = [], [], encode.plan_batches

    def short(original):
        def run(batch, *args):
            if batch.n_tokens > 20 and len(batch) > 1:
                failures.append(batch)
                raise torch.OutOfMemoryError("made up")
            return original(batch, *args)

        return run

    for encoder in encoders:
        monkeypatch.setattr(encoder, "_run_once", short(encoder._run_once))
    monkeypatch.setattr(encode, "plan_batches", lambda lengths, m, **how: budgets.append(m) or plan(lengths, m, **how))
    embedder = embedder_of(tiny_bert_folder, device=["cpu"] * n, batch_tokens=64)
    assert relative_difference(embedder.transform(texts), expected) < 1e-5
    assert sum(encoder.n_texts for encoder in encoders) == len(texts)
    assert budgets[0] == 64
    assert budgets == sorted(budgets, reverse=True)
    assert budgets[-1] == min(encoder.max_tokens for encoder in encoders if encoder.max_tokens)
    assert 0 < len(failures) <= 3 * n  # 64, 32 and 16 tokens
    del failures[:]
    assert relative_difference(embedder.transform(texts), expected) < 1e-5
    assert len(failures) <= 3 * (n - 1)  # a second device may not have had a batch yet
    release_models()


def test_a_fork_of_a_process_that_used_cuda_is_told_apart(tiny_bert_folder, monkeypatch):
    """Before torch says it in its own way: which device, which process, and the three ways out. A CPU is no matter."""
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    devices.refuse_bad_fork(torch.device("cpu"))
    assert embedder_of(tiny_bert_folder).transform(["a"]).shape == (1, 32)
    files = resolve_model(tiny_bert_folder)
    for ask in (devices.refuse_bad_fork, lambda gpu: get_encoder(files, gpu, torch.half)):
        with pytest.raises(DeviceError) as caught:
            ask(torch.device("cuda", 1))
        for part in ("'cuda:1'", f"pid {os.getpid()}", "loky", "'spawn'", "cache="):
            assert part in str(caught.value)
        assert "device='cpu'" not in str(caught.value)  # which may hang, where the parent has computed on the CPU
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: False)
    devices.refuse_bad_fork(torch.device("cuda", 1))
