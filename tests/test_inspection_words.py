"""token_embeddings and word_embeddings: the hidden states of what is read, and of words in their context."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from tokenizers import normalizers
from transformers import AutoModel, AutoTokenizer

from skbert import BertEmbedder, BertSentimentClassifier, TextCleaner
from skbert._engine.normal import NormalText
from skbert._engine.reading import Reader, _joins
from skbert._engine.sources import resolve_model
from skbert.exceptions import InvalidParameterError, TextInputError, TruncationWarning
from skbert.inspection import token_embeddings, tokenize, word_embeddings
from tests._models import FAMILIES
from tests._reference import relative_difference

TEXTS = [
    "the bat flies at night",
    "a",
    "we want better jobs and a strong economy, now!",
    "no.",
    "the bat flies at night",  # a copy
    "to my surprise the moderator asked a fair question about tax policy, and nobody had an honest answer to it",
]
PAIRS = [("who won", "nobody won tonight"), ("a", "b"), ("the cup is full", "it is empty"), ("it is", "it was")]
ANIMAL = [
    "A small bat hung upside down from the roof of the cave.",
    "At dusk the bat left its roost to hunt for moths.",
    "The bat folded its leathery wings and slept through the day.",
    "A fruit bat can carry seeds for many miles.",
    "We heard the bat squeak above the trees at night.",
    "The vet fed the injured bat with mealworms until it could fly.",
]
CRICKET = [
    "He lifted the bat and drove the ball through the covers.",
    "The captain oiled his bat before the first innings.",
    "She edged the ball off her bat to the wicketkeeper.",
    "His new bat was made of English willow.",
    "The umpire checked the width of the bat before the match.",
    "The opener walked back to the pavilion with his bat under his arm.",
]


def plain_states(folder, items, **options):
    """Return plain padded transformers' hidden states (n_tokens, n_layers + 1, width) of each item, without padding."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        model = AutoModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    sides = [items] if isinstance(items[0], str) else [list(side) for side in zip(*items, strict=True)]
    batch = tokenizer(*sides, padding=True, return_tensors="pt", **options)
    with torch.inference_mode():
        states = torch.stack(model(**batch, output_hidden_states=True).hidden_states, dim=2).numpy()
    real = batch["attention_mask"].numpy().astype(bool)
    return [state[mask] for state, mask in zip(states, real, strict=True)]


def plain_word(folder, text, start, end, layer):
    """Return the mean state of the pieces of text[start:end], by the offsets of transformers' own tokenizer."""
    batch = AutoTokenizer.from_pretrained(folder)(text, return_offsets_mapping=True)
    (states,) = plain_states(folder, [text])
    pieces = [k for k, (a, b) in enumerate(batch["offset_mapping"]) if a < end and b > start]
    return states[pieces, layer].mean(axis=0)


def close(found, expected):
    """Say whether every row is as near as law 1 asks."""
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    return relative_difference(found, expected) < 1e-5


@pytest.fixture(scope="session")
def minilm_folder(minilm):
    return resolve_model(minilm).folder


@pytest.fixture(scope="session")
def cased(tiny_model, tmp_path_factory):
    """Return a tiny BERT whose tokenizer leaves capitals and accents alone, and knows some of each."""
    folder = tmp_path_factory.mktemp("cased") / "model"
    shutil.copytree(tiny_model("bert"), folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"] |= {"lowercase": False, "strip_accents": False}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    stated = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(stated | {"do_lower_case": False, "strip_accents": False}))
    return folder


# -- token_embeddings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("items", [TEXTS, PAIRS], ids=["texts", "pairs"])
@pytest.mark.parametrize("family", FAMILIES)
def test_states_equal_plain_padded_transformers(tiny_model, family, items):
    """Every hidden layer of every piece equals transformers' own, side by side as asked, for texts and pairs."""
    folder = tiny_model(family)
    expected = plain_states(folder, items)
    n_layers = expected[0].shape[1]
    layers = [*range(n_layers), -1, -2]
    found = token_embeddings(items, BertEmbedder(folder, layers=layers, cache=None))
    assert len(found) == len(items)
    for one, states in zip(found, expected, strict=True):
        width = states.shape[2]
        assert one.shape == (len(states), len(layers) * width)
        for k, layer in enumerate(layers):
            assert close(one[:, k * width : (k + 1) * width], states[:, layer])


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_are_those_of_the_frame(tiny_model, family):
    """There is a row for each piece that tokenize shows as read, also where texts are cut or come in chunks."""
    X = [*TEXTS, "the worst debate of the year. " * 12]
    for long_texts in ("truncate", "head_tail", "chunk"):
        embedder = BertEmbedder(tiny_model(family), max_length=24, long_texts=long_texts)
        frame = tokenize(X, embedder)
        counts = frame[~frame["cut"]].groupby("row").size()
        assert [len(states) for states in token_embeddings(X, embedder)] == counts.tolist()


def test_chunks_are_read_as_texts_of_their_own(tiny_bert_folder):
    """Under "chunk" the rows of each chunk are those of its ids alone, special tokens around them."""
    X = ["the worst debate of the year is bad and good and so on and on"]
    embedder = BertEmbedder(tiny_bert_folder, max_length=8, long_texts="chunk")
    frame = tokenize(X, embedder)
    (found,) = token_embeddings(X, embedder)
    model = AutoModel.from_pretrained(tiny_bert_folder, attn_implementation="eager").eval()
    assert frame["chunk"].max() >= 2
    for _, rows in frame.groupby("chunk"):
        with torch.inference_mode():
            expected = model(torch.tensor([rows["id"].tolist()])).last_hidden_state[0].numpy()
        assert close(found[rows.index], expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_their_mean_is_what_transform_gives(tiny_model, family):
    """The mean over the rows is transform's vector with mean pooling, not normalised, prompt and several layers too."""
    options = {"layers": (0, -1), "prompt": "say: ", "normalize": False, "pooling": "mean", "cache": None}
    embedder = BertEmbedder(tiny_model(family), **options)
    for items in (TEXTS, PAIRS):
        means = np.stack([states.mean(axis=0) for states in token_embeddings(items, embedder)])
        assert close(means, embedder.transform(items))


def test_pooling_and_normalisation_have_no_influence(tiny_bert_folder):
    """The states are the model's, however the embedder pools them."""
    expected = token_embeddings(TEXTS, BertEmbedder(tiny_bert_folder))
    for options in ({"pooling": "cls", "normalize": True}, {"pooling": "max"}, {"pooling": "pooler"}):
        found = token_embeddings(TEXTS, BertEmbedder(tiny_bert_folder, **options))
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(len(TEXTS))), count=st.integers(1, len(TEXTS)), budget=st.sampled_from([40, 4096]))
def test_batch_mates_do_not_matter(minilm, order, count, budget):
    """Order, subset, copies and size of batches change no state by more than 1e-5."""
    embedder = BertEmbedder(minilm, batch_tokens=budget)
    alone = token_embeddings(TEXTS, BertEmbedder(minilm))
    kept = order[:count]
    for k, found in zip(kept, token_embeddings([TEXTS[k] for k in kept], embedder), strict=True):
        assert close(found, alone[k])


def test_cuts_are_told_as_transform_tells_them(tiny_bert_folder):
    """The policy "warn" warns with transform's words, "error" refuses, others are silent; chunk refuses long pairs."""
    X = ["bad " * 3, "good " * 30]
    warned = []
    for call in (BertEmbedder.transform, lambda embedder, X: token_embeddings(X, embedder)):
        with pytest.warns(TruncationWarning) as caught:
            call(BertEmbedder(tiny_bert_folder, max_length=10, cache=None), X)
        warned.append([str(one.message).replace("different texts", "texts") for one in caught])
        assert caught[0].filename == __file__
    assert warned[0] == warned[1]
    with pytest.raises(TextInputError, match="Row 1 of X is longer than max_length=10 tokens by 22"):
        token_embeddings(X, BertEmbedder(tiny_bert_folder, max_length=10, long_texts="error"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for long_texts in ("truncate", "head_tail", "chunk"):
            token_embeddings(X, BertEmbedder(tiny_bert_folder, max_length=10, long_texts=long_texts))
    with pytest.raises(TextInputError, match="takes single texts, and the pair in row 1 of X, of 1 and 30 tokens"):
        token_embeddings(
            [("a", "bad"), ("a", "bad " * 30)], BertEmbedder(tiny_bert_folder, max_length=10, long_texts="chunk")
        )


def test_classifiers_and_pipelines(tiny_bert_folder):
    """What holds an embedder gives the states of that embedder, behind the cleaners before it."""
    X, y = ["good night!!!!!", "bad day &amp; so on", "the best", "the worst"] * 3, [1, 0, 1, 0] * 3
    embedder = BertEmbedder(tiny_bert_folder, layers=(0, 1))
    cleaned = token_embeddings(TextCleaner().transform(X), embedder)
    classifier = BertSentimentClassifier(embedder, max_iter=2, random_state=0)
    for estimator in (
        make_pipeline(TextCleaner(), embedder, LogisticRegression()),
        make_pipeline(TextCleaner(), classifier),
        make_pipeline(TextCleaner(), classifier).fit(X, y),
    ):
        found = token_embeddings(X, estimator)
        assert all(np.array_equal(a, b) for a, b in zip(found, cleaned, strict=True))
    plain = token_embeddings(X, classifier)
    assert all(np.array_equal(a, b) for a, b in zip(plain, token_embeddings(X, embedder), strict=True))


# -- word_embeddings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_word_is_the_mean_of_its_pieces(tiny_model, family):
    """Each occurrence equals the mean of its pieces' states in plain transformers, in reading order."""
    folder = tiny_model(family)
    text = "the economist won; nobody likes economists, but the economist likes it"
    found = word_embeddings([text, "an economist"], "economist", BertEmbedder(folder, layers=1))
    assert [len(vectors) for vectors in found] == [2, 1]
    starts = [4, text.rindex("economist")]
    expected = np.stack([plain_word(folder, text, start, start + 9, 1) for start in starts])
    assert close(found[0], expected)


def test_one_word_a_text_and_both_sides_of_pairs(tiny_bert_folder):
    """`words` may name one word for each text, as any sequence; in a pair the first side comes first."""
    embedder = BertEmbedder(tiny_bert_folder)
    for words in (["won", "is"], ("won", "is"), np.array(["won", "is"]), pd.Series(["won", "is"], index=[5, 3])):
        found = word_embeddings([("who won", "nobody won tonight"), ("it is", "so it was")], words, embedder)
        assert [vectors.shape for vectors in found] == [(2, 32), (1, 32)]
    states = token_embeddings([("who won", "nobody won tonight")], embedder)[0]
    assert np.array_equal(found[0], states[[2, 5]])


def test_several_layers_stand_side_by_side(tiny_bert_folder):
    """With several layers a row is theirs, one after the other."""
    both = word_embeddings(["a bad night"], "bad", BertEmbedder(tiny_bert_folder, layers=(0, 2)))[0]
    single = [
        word_embeddings(["a bad night"], "bad", BertEmbedder(tiny_bert_folder, layers=layer))[0] for layer in (0, 2)
    ]
    assert both.shape == (1, 64)
    assert relative_difference(both, np.hstack(single)) < 1e-6


@pytest.mark.parametrize(
    ("text", "word", "count"),
    [
        ("bats and a bat, the bat's cave, #bat bat2 combat BAT _bat bat_ Bat-like", "bat", 5),
        ("New York, new  york and NEW\nYORK; New Yorkers; newyork", "New York", 3),
        ("caf\u00e9 cafe CAFE\u0301 cafes", "Caf\u00e9", 3),
        ("\u5317\u4eac\u5317\u4eac \u4eac", "\u5317\u4eac", 2),
        ("don't dont DON'T", "don't", 2),
        ("so what?! what?", "?", 2),
        ("\U0001f602 is \U0001f602\U0001f602", "\U0001f602", 3),
        ("12 of 128, 12.5 or 12", "12", 3),
        ("\u0130stanbul istanbul", "Istanbul", 2),
        ("b\u00adat bat", "b\u200bat", 2),
    ],
)
def test_whole_words_as_an_uncased_tokenizer_sees_them(minilm, text, word, count):
    """Capitals, accents, blanks and invisible signs are the tokenizer's business; parts of words do not count."""
    assert len(word_embeddings([text], word, BertEmbedder(minilm))[0]) == count


def test_a_cased_tokenizer_tells_capitals_and_accents_apart(cased):
    """What the model reads as another word is another word."""
    embedder = BertEmbedder(cased)
    text = "bat Bat b\u00e1t ba\u0301t BAT"
    for word, start in (("bat", 0), ("Bat", 4), ("b\u00e1t", 8), ("ba\u0301t", 12), ("BAT", 17)):
        found = word_embeddings([text], word, embedder)[0]
        assert len(found) == 1
        assert close(found, plain_word(cased, text, start, start + len(word), -1)[None])
    with pytest.raises(TextInputError, match="'bAT' is not in row 0"):
        word_embeddings([text], "bAT", embedder)


def test_a_piece_that_a_word_shares_counts_whole(tiny_model):
    """Where the tokenizer made one piece of a word and its neighbour, each of them has that piece's state."""
    folder = tiny_model("xlm-roberta")
    text = "bad \u00e9\u00e8 \U0001f602\U0001f621 day"  # one unknown piece for each run
    embedder = BertEmbedder(folder)
    frame, states = tokenize([text], embedder), token_embeddings([text], embedder)[0]
    shared = frame.index[frame["text"] == "\U0001f602\U0001f621"]
    for word in ("\U0001f602", "\U0001f621"):
        assert np.array_equal(word_embeddings([text], word, embedder)[0], states[shared])


def test_pieces_of_white_space_are_no_part_of_a_word(tiny_model):
    """The lone blank sign of sentencepiece before a character that it does not know is not averaged in."""
    for family in ("xlm-roberta", "deberta-v2"):
        embedder = BertEmbedder(tiny_model(family))
        text = "bad \u5317 day"
        frame, states = tokenize([text], embedder), token_embeddings([text], embedder)[0]
        assert frame.loc[frame["piece"] == "\u2581", "text"].tolist() == [""]
        assert np.array_equal(word_embeddings([text], "\u5317", embedder)[0], states[frame["text"] == "\u5317"])


def test_behind_a_cleaner_words_are_looked_for_in_what_is_read(minilm):
    """The cleaned text is searched, not the given one; the error shows both."""
    pipeline = make_pipeline(TextCleaner(), BertEmbedder(minilm))
    assert len(word_embeddings(["soooo #GoodDay \U0001f602"], "day", pipeline)[0]) == 1
    assert len(word_embeddings(["\U0001f602"], "tears", pipeline)[0]) == 1
    with pytest.raises(
        TextInputError, match="'GoodDay' is not in row 1 of X: 'Good Day', which cleaning made of '#GoodDay'"
    ):
        word_embeddings(["GoodDay", "#GoodDay"], "GoodDay", pipeline)


def test_the_prompt_is_not_searched(tiny_bert_folder):
    """A word of the prompt is not in the text."""
    embedder = BertEmbedder(tiny_bert_folder, prompt="bad: ")
    assert len(word_embeddings(["bad day"], "bad", embedder)[0]) == 1
    with pytest.raises(TextInputError, match="'bad' is not in row 0 of X: 'good day'"):
        word_embeddings(["good day"], "bad", embedder)


def test_an_absent_word_names_row_word_and_text(tiny_bert_folder):
    """The error is a ValueError that says what is where, with the beginning of a long text, both sides of a pair."""
    embedder = BertEmbedder(tiny_bert_folder)
    with pytest.raises(ValueError, match=r"The word 'cup' is not in row 1 of X: 'cups are bad, (cups are bad, )+.*…\."):
        word_embeddings(["the cup", "cups are bad, " * 9], "cup", embedder)
    with pytest.raises(TextInputError, match="'cup' is not in row 0 of X: 'a' and 'b'"):
        word_embeddings([("a", "b")], ["cup"], embedder)


def test_an_absent_word_is_an_error_before_anything_is_warned_of_or_run(tiny_bert_folder):
    """Nothing is computed, and no cut is warned of, for a call that fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(TextInputError, match="row 1"):
            word_embeddings(["bad " * 90, "good"], "bad", BertEmbedder(tiny_bert_folder))


def test_occurrences_that_are_cut_have_no_vector(tiny_bert_folder):
    """Some cut: transform's warning; all cut, or all but a part: an error that says so. The rest is as it was."""
    X = ["bad day " * 4 + "night"]
    embedder = BertEmbedder(tiny_bert_folder, max_length=7)
    with pytest.warns(TruncationWarning, match="1 of 1 texts are longer than max_length=7"):
        found = word_embeddings(X, "bad", embedder)[0]
    short = embedder.__class__(tiny_bert_folder, max_length=7, long_texts="truncate")
    assert np.array_equal(found, token_embeddings(X, short)[0][[1, 3, 5]])
    with pytest.raises(TextInputError, match=r"'night' is cut from row 0 of X: the one place .* max_length=7 tokens"):
        word_embeddings(X, "night", short)
    assert (
        len(word_embeddings(X, "night", BertEmbedder(tiny_bert_folder, max_length=7, long_texts="head_tail"))[0]) == 1
    )
    halves = ["a a a a nobodyness"]  # its second piece does not fit
    assert tokenize(halves, short)["cut"].any()
    with pytest.raises(TextInputError, match="'nobodyness' is cut from row 0"):
        word_embeddings(halves, "nobodyness", short)
    with pytest.raises(TextInputError, match="Row 0 of X is longer"):
        word_embeddings(X, "bad", BertEmbedder(tiny_bert_folder, max_length=7, long_texts="error"))


def test_a_word_in_two_chunks_is_taken_where_it_stands_most_central(tiny_bert_folder):
    """Under "chunk" every occurrence has one vector, of the chunk that holds it and has most text around it."""
    words = [f"{a}{b}" for a in "abcdefgh" for b in "xyz"]  # two pieces each, and each but once
    X = [" ".join(words)]
    embedder = BertEmbedder(tiny_bert_folder, max_length=20, long_texts="chunk")
    frame, states = tokenize(X, embedder), token_embeddings(X, embedder)[0]
    n_doubled = 0
    for word in words:
        start = X[0].index(word)
        mine = frame[(frame["start"] >= start) & (frame["end"] <= start + 2)]
        ends = frame.groupby("chunk")["position"].max()
        options = []
        for chunk, rows in mine.groupby("chunk"):
            to_end = min(rows["position"].min(), ends[chunk] - rows["position"].max())
            options.append((len(rows), to_end, -chunk, rows.index))
        best = max(options)
        n_doubled += len(options) > 1
        assert best[0] == mine["start"].nunique()
        expected = states[best[3]].mean(axis=0, keepdims=True)
        assert np.abs(word_embeddings(X, word, embedder)[0] - expected).max() < 1e-6
    assert n_doubled >= 2


def test_a_word_that_no_chunk_holds_whole_has_all_its_pieces(tiny_bert_folder):
    """A word longer than a chunk is averaged over every piece, each taken once."""
    X = ["x" * 30]
    embedder = BertEmbedder(tiny_bert_folder, max_length=10, long_texts="chunk")
    frame, states = tokenize(X, embedder), token_embeddings(X, embedder)[0]
    found = word_embeddings(X, X[0], embedder)[0]
    assert frame["chunk"].max() >= 3
    of_piece = [states[rows.index] for _, rows in frame[~frame["special"]].groupby("start")]
    assert len(of_piece) == 30
    low = np.mean([several.min(axis=0) for several in of_piece], axis=0)
    high = np.mean([several.max(axis=0) for several in of_piece], axis=0)
    assert ((found[0] >= low - 1e-5) & (found[0] <= high + 1e-5)).all()
    # Where chunks do not overlap, each piece is read but once.
    lone = BertEmbedder(tiny_bert_folder, max_length=7, long_texts="chunk")
    frame, states = tokenize(X, lone), token_embeddings(X, lone)[0]
    expected = states[~frame["special"]].mean(axis=0, keepdims=True)
    assert frame.loc[~frame["special"], "start"].is_unique
    assert close(word_embeddings(X, X[0], lone)[0], expected)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (3, "must be a str, or a sequence with one str for each text. Got 3 instead"),
        (None, "Got None instead"),
        ({"a"}, "Got {'a'} instead"),
        (np.array("a"), r"Got array\('a', dtype='<U1'\) instead"),
        (["a"], "one str for each of the 2 texts. Got 1 words instead"),
        (["a", 7], "Got 7 for row 1 instead"),
        ("", "of which the model's tokenizer keeps something. Got words='' instead"),
        (["a", " \t"], r"Got words\[1\]=' \\t' instead"),
        ("\u0301", "Got words='\u0301' instead"),
        ("\ud800", "without lone surrogates"),
    ],
)
def test_words_that_are_none_are_refused(tiny_bert_folder, words, message):
    """`words` is one str, or one for each text, of which something is left after normalisation."""
    with pytest.raises(InvalidParameterError, match=message):
        word_embeddings(["a a", "a"], words, BertEmbedder(tiny_bert_folder))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.text("ab \u00e9\u0301\u0130\ufb01\U0001f602\u200d\u5317\x00#", max_size=12),
    after=st.text("ab \u00e9\u0301\u0130\ufb01\U0001f602\u200d\u5317\x00#", max_size=12),
    word=st.sampled_from(["bat", "caf\u00e9", "New York", "\u5317\u4eac", "won't"]),
)
def test_a_word_set_off_by_blanks_is_found_where_it_is(minilm, before, after, word):
    """Whatever stands around it, a word between blanks is found, and its characters are its own."""
    embedder = BertEmbedder(minilm)
    text = f"{before} {word} {after}"
    frame, states = tokenize([text], embedder), token_embeddings([text], embedder)[0]
    start, end = len(before) + 1, len(before) + 1 + len(word)
    pieces = ((frame["start"] < end) & (frame["end"] > start)).fillna(False).to_numpy(dtype=bool)
    expected = states[pieces].mean(axis=0)
    found = word_embeddings([text], word, embedder)[0]
    assert np.abs(found - expected).max(axis=1).min() < 1e-5


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(max_size=12) | st.text("a\u00e9e\u0301\u0130\ufb01\u5317 \x00\x1f\u1112\u1161", max_size=12),
    data=st.data(),
)
def test_parts_of_a_normalised_text_are_found_together_as_alone(text, data):
    """Where several parts stand is the same when they are asked for at once, one by one, or character by character."""
    kinds = (normalizers.BertNormalizer(lowercase=True), normalizers.NFKC(), normalizers.NFC(), None)
    for normalizer in kinds:
        for lowercase in (False, True):
            normal = NormalText(text, normalizer, lowercase)
            lowered = text.lower() if lowercase else text
            assert normal.text == (lowered if normalizer is None else normalizer.normalize_str(lowered))
            borders = sorted(data.draw(st.sets(st.integers(0, len(normal.text)), max_size=6)))
            ranges = list(itertools.pairwise(borders))
            found = normal.locate(ranges)
            chars = normal.locate([(k, k + 1) for k in range(len(normal.text))])
            assert ((chars >= 0) & (chars <= len(text))).all()
            for (start, end), span in zip(ranges, found.tolist(), strict=True):
                assert normal.locate([(start, end)]).tolist() == [span]
                first, last = chars[start, 0], chars[start:end, 1].max()
                assert span[0] <= first <= last <= span[1]
                # At most characters that normalisation drops, at the ends of the text, or makes one with those before.
                around = "".join(char for char in text[span[0] : first] + text[last : span[1]] if not _joins(char))
                assert not NormalText(around, normalizer, lowercase).text


@pytest.mark.parametrize("family", FAMILIES)
def test_a_long_text_is_read_in_parts_with_the_same_pieces_and_places(tiny_model, family, monkeypatch):
    """Read 200 characters at a time, texts have the pieces and spans that they have when they are read whole."""
    reader = Reader(resolve_model(tiny_model(family)))
    texts = [
        " ".join(["the bat flies, \u00e9t\u00e9 \U0001f602 e\u0301\u0301 now!", "\u5317\u4eac  it"] * 40),
        "a bat\n" * 90,
    ]
    whole = reader.read(texts, prompt="so: ", max_length=40, long_texts="chunk")
    monkeypatch.setattr("skbert._engine.pieces._LONG", 200)
    monkeypatch.setattr("skbert._engine.reading._TRIMMED", 7)
    calls = []
    encode = reader.backend.encode
    monkeypatch.setattr(
        reader, "backend", SimpleNamespace(encode=lambda text, **kw: calls.append(len(text)) or encode(text, **kw))
    )
    in_parts = reader.read(texts, prompt="so: ", max_length=40, long_texts="chunk")
    monkeypatch.undo()
    assert (max(calls) <= 250) == reader._maker.can_cut
    for one, other in zip(whole, in_parts, strict=True):
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_array_equal(one.spans, other.spans)
        np.testing.assert_array_equal(one.in_prompt, other.in_prompt)


# -- what the issue asks for -------------------------------------------------------------------------------------


def cosines(vectors):
    """Return the mean cosine within a sense and between the senses, of six vectors of each."""
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = vectors @ vectors.T
    sense = np.repeat([0, 1], 6)
    same = sense[:, None] == sense
    return cosine[same & ~np.eye(12, dtype=bool)].mean(), cosine[~same].mean()


def test_bat_is_nearer_to_its_own_sense(minilm, minilm_folder):
    """At a middle layer of all-MiniLM-L6-v2 the mean cosine of "bat" within a sense exceeds that between the senses.

    Recomputed with plain transformers: both give the same cosines at every
    layer. The embeddings without context, layer 0, tell nothing.
    """
    X = [*ANIMAL, *CRICKET]
    gaps = []
    for layer in range(7):
        found = np.concatenate(word_embeddings(X, "bat", BertEmbedder(minilm, layers=layer)))
        starts = [text.index(" bat ") + 1 for text in X]
        plain = np.stack([plain_word(minilm_folder, t, s, s + 3, layer) for t, s in zip(X, starts, strict=True)])
        assert close(found, plain)
        within, between = cosines(found)
        assert np.allclose((within, between), cosines(plain), atol=1e-5)
        gaps.append(within - between)
    assert max(gaps[2:5]) > 0.03
    assert abs(gaps[0]) < 0.005


def test_the_example_runs_in_an_empty_folder(minilm, tmp_path):
    """examples/plot_words_in_context.py finds a middle layer best, warns of nothing, and writes no file."""
    example = Path(__file__).parents[1] / "examples" / "plot_words_in_context.py"
    command = [sys.executable, "-W", "error::UserWarning", str(example)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    best = re.search(r"The senses are told apart best at layer (\d): in (\d+)%", done.stdout)
    assert 2 <= int(best[1]) <= 5
    assert int(best[2]) > 70
    assert list(tmp_path.iterdir()) == []
