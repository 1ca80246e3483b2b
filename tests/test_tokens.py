"""From word pieces to sequences: special tokens, segments, long texts. Compared with the tokenizers themselves."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from transformers import AutoTokenizer

from skbert._engine.tokens import Template, build_sequences
from skbert.exceptions import TextInputError
from tests._models import FAMILIES

BERT = Template(([2], [3]), ([2], [3], [3]), ([0], 0, [0], 1, [1]))
counts = st.integers(0, 60)


def pieces(n, start=10):
    return list(range(start, start + n))


@pytest.mark.parametrize("family", FAMILIES)
def test_special_tokens_and_segments_are_the_tokenizers_own(tiny_model, family):
    """Ids and segments of texts and pairs, cut or not, equal what the family's tokenizer makes."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model(family))
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    template = Template.probe(backend, "a")
    texts = ["a", "", "the cup is full", "what " * 30]
    for first in texts:
        for second in [None, *texts]:
            # Lists, as everybody calls it: for two single strings transformers takes an empty second for none.
            sides = [[first]] if second is None else [[first], [second]]
            batch = tokenizer(*sides, truncation="longest_first", max_length=16, return_token_type_ids=True)
            expected = {name: rows[0] for name, rows in batch.items()}
            backend.no_truncation()
            sides = [
                None if side is None else backend.encode(side, add_special_tokens=False).ids for side in (first, second)
            ]
            (made,), _ = build_sequences(*sides, template, 16, "truncate")
            assert made.ids.tolist() == expected["input_ids"]
            segments = [0] * len(made.ids) if made.segments is None else made.segments.tolist()
            assert segments == expected["token_type_ids"]


@given(counts, st.integers(5, 40), st.sampled_from(["truncate", "head_tail", "chunk"]))
def test_a_text_that_fits_is_left_alone(n, max_length, policy):
    """No policy touches a text within max_length."""
    if n <= max_length - 2:
        (made,), cut = build_sequences(pieces(n), None, BERT, max_length, policy)
        assert made.ids.tolist() == [2, *pieces(n), 3]
        assert (cut, made.weight) == (0, n)


@given(counts, counts, st.integers(5, 40), st.sampled_from(["truncate", "head_tail"]))
def test_cut_tokens_are_counted(n_first, n_second, max_length, policy):
    """What is said to be lost is what is not there."""
    (made,), cut = build_sequences(pieces(n_first), pieces(n_second, 100), BERT, max_length, policy)
    assert len(made.ids) <= max_length
    assert len(made.ids) - 3 + cut == n_first + n_second


@given(st.integers(39, 500))
def test_head_tail_keeps_the_first_quarter_and_the_end(n):
    """Of 510 pieces of room, 128 are the head and 382 the tail, and so in proportion."""
    (made,), cut = build_sequences(pieces(n), None, BERT, 40, "head_tail")
    kept = made.ids.tolist()[1:-1]
    assert kept == pieces(n)[:10] + pieces(n)[-28:] if n > 38 else pieces(n)
    assert cut == max(0, n - 38)
    (full,), _ = build_sequences(pieces(600), None, BERT, 512, "head_tail")
    assert full.ids.tolist()[1:-1] == pieces(600)[:128] + pieces(600)[-382:]


@settings(max_examples=200)
@given(st.integers(1, 3000), st.integers(4, 64))
def test_chunks_cover_the_text_overlap_and_are_full(n, max_length):
    """Chunks leave no piece out, none is a short rest, and neighbours share an eighth of the room at least."""
    made, cut = build_sequences(pieces(n), None, BERT, max_length, "chunk")
    bodies = [sequence.ids.tolist()[1:-1] for sequence in made]
    assert cut == 0
    assert sorted({piece for body in bodies for piece in body}) == pieces(n)
    room = max_length - 2
    assert all(len(body) == min(n, room) == sequence.weight for body, sequence in zip(bodies, made, strict=True))
    for left, right in itertools.pairwise(bodies):
        assert left[-1] - right[0] + 1 >= int(room / 8)


def test_a_long_pair_cannot_be_chunked():
    """Chunks of a pair would have no meaning; the error says what to do."""
    with pytest.raises(TextInputError, match=r"long_texts='chunk' takes single texts.*Use long_texts='head_tail'"):
        build_sequences(pieces(50), pieces(50), BERT, 40, "chunk")
    made, _ = build_sequences(pieces(5), pieces(5), BERT, 40, "chunk")
    assert len(made) == 1
    assert made[0].ids.dtype == np.int32
