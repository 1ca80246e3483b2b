"""BertEmbedder as a scikit-learn transformer: parameters, inputs, outputs, what a fit remembers."""

from __future__ import annotations

import inspect
import os
import pickle
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skbert import BertEmbedder, MemoryStore
from skbert._engine.sources import resolve_model
from skbert.exceptions import (
    FingerprintError,
    InvalidParameterError,
    MissingTextError,
    ModelFilesError,
    TextInputError,
    TruncationWarning,
)
from tests._models import build_tiny_model
from tests._reference import padded_vectors

TEXTS = ["the bat flies", "what a night, what a debate", "no", "the bat flies"]
LONG = "what a night " * 40


@pytest.fixture
def embedder(tiny_bert_folder):
    return BertEmbedder(tiny_bert_folder, device="cpu", cache=None)


# -- parameters ----------------------------------------------------------------------------------------------------

WRONG = {
    "model": [3, None],
    "revision": [1],
    "layers": ["last", 1.5, [], [1, "2"], True],
    "pooling": ["average", None],
    "normalize": ["yes", 1, None],
    "max_length": [2, 12.5, "long"],
    "long_texts": ["cut", None],
    "prompt": [1, "\ud83d\ude00 "],
    "missing": ["drop", None],
    "device": ["gpu", 0, "cuda:x", [], None],
    "dtype": ["float64", None],
    "batch_tokens": [0, "all", None],
    "cache": ["Memory", "none", "", 1, {}],
    "store_layers": ["every", 1.5, []],
    "verbose": [-1, "no"],
}


def test_every_parameter_has_a_rule_and_a_wrong_value():
    """No constructor parameter goes unchecked."""
    names = list(inspect.signature(BertEmbedder).parameters)
    assert list(BertEmbedder._parameter_rules) == names == list(WRONG)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_parameter_is_named_with_its_value(embedder, name, value):
    """Not in the constructor but at use, in scikit-learn's wording; before a model is asked for."""
    wrong = clone(embedder).set_params(**{name: value})
    match = rf"The '{name}' parameter of BertEmbedder must be .+\. Got .+ instead\."
    with pytest.raises(InvalidParameterError, match=match):
        wrong.transform(TEXTS)
    with pytest.raises(ValueError, match=match):
        wrong.fit(TEXTS)


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"layers": 3}, r"'layers' parameter .* must be in the range \[-3, 2\] for .* 2 layers.* Got 3 instead"),
        ({"store_layers": [-4]}, r"'store_layers' parameter .* Got -4 instead"),
        ({"max_length": 65}, r"'max_length' parameter .* at most 64, the limit of .* Got 65 instead"),
        ({"pooling": "pooler", "layers": 1}, r"pooling='pooler' reads the last layer only.* Got 1 instead"),
        ({"pooling": "pooler", "layers": [-1, -2]}, "pooling='pooler' reads the last layer only"),
        (
            {"device": "cuda:97"},
            r"'device' parameter of BertEmbedder must be .* sees \d+ CUDA .* Got 'cuda:97'",
        ),
    ],
)
def test_what_this_model_cannot_give_is_named(embedder, params, match):
    """Values that are right in themselves but not for this model or machine."""
    with pytest.raises(InvalidParameterError, match=match):
        embedder.set_params(**params).transform(TEXTS)


def test_a_length_without_room_for_a_word_is_refused(embedder):
    """Three tokens hold a text, but no pair: the special tokens take them all."""
    assert embedder.set_params(max_length=3, long_texts="truncate").transform(TEXTS).shape == (4, 32)
    with pytest.raises(InvalidParameterError, match=r"'max_length' parameter .* must be greater than 3.* a pair"):
        embedder.transform([("a", "b")])


def test_the_constructor_only_stores(embedder):
    """Nothing is checked, loaded or changed before use, and parameters stay as they were given."""
    values = {name: object() for name in WRONG}
    made = BertEmbedder(**values)
    assert all(getattr(made, name) is value for name, value in values.items())
    layers = [-1, -2]
    embedder.set_params(layers=layers).fit(TEXTS).transform(TEXTS)
    assert embedder.layers is layers
    assert layers == [-1, -2]


# -- what each parameter does --------------------------------------------------------------------------------------


def vectors(base, **params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        return clone(base).set_params(**params).transform([*TEXTS, LONG])


def test_another_model_is_used_at_the_next_use(embedder, tmp_path):
    """The defect of a peer: a model built in the constructor outlives set_params."""
    other = build_tiny_model(tmp_path / "other", "bert", seed=5)
    before = embedder.transform(TEXTS)
    after = embedder.set_params(model=other).transform(TEXTS)
    np.testing.assert_allclose(after, padded_vectors(other, TEXTS), atol=1e-4)
    assert np.abs(before - after).max() > 0.01


@pytest.mark.parametrize(
    "params", [{"long_texts": "truncate"}, {"batch_tokens": 5}, {"device": ["cpu", "cpu"]}], ids=str
)
def test_parameters_that_do_not_change_vectors_do_not(embedder, params):
    """Silence, batches and replicas are no part of a vector's identity."""
    np.testing.assert_allclose(vectors(embedder, **params), vectors(embedder), atol=1e-5)


def test_layers_are_concatenated_in_the_order_asked(embedder):
    """(a, b) is a's vector and b's beside it; a layer may come twice."""
    a, b = vectors(embedder, layers=1), vectors(embedder, layers=-1)
    np.testing.assert_allclose(vectors(embedder, layers=np.array([1, 2, 1])), np.hstack([a, b, a]), atol=1e-5)


def test_normalize_scales_each_layer_by_itself(embedder):
    """Length 1 a layer, before concatenation."""
    raw, unit = vectors(embedder, layers=(0, -1)), vectors(embedder, layers=(0, -1), normalize=True)
    for block in (slice(0, 32), slice(32, 64)):
        scaled = raw[:, block] / np.linalg.norm(raw[:, block], axis=1, keepdims=True)
        np.testing.assert_allclose(unit[:, block], scaled, atol=1e-6)


def test_pooler_is_berts_own(embedder, tiny_bert_folder):
    """pooling="pooler" is transformers' pooler_output."""
    found = embedder.set_params(pooling="pooler").transform(TEXTS)
    np.testing.assert_allclose(found, padded_vectors(tiny_bert_folder, TEXTS, pooling="pooler"), atol=1e-5)


def test_pooler_needs_its_weights_in_the_file(tiny_model):
    """A pooler that the file lacks would be random."""
    with pytest.raises(ModelFilesError, match=r"pooling='pooler' needs pooler weights, and the file of .* has none"):
        BertEmbedder(tiny_model("distilbert"), pooling="pooler", cache=None).transform(TEXTS)


def test_prompt_stands_before_each_text(embedder):
    """A prompt is text before the text, and before the first of a pair; "" is none."""
    asked = clone(embedder).set_params(prompt="question: ")
    np.testing.assert_allclose(
        asked.transform(TEXTS), embedder.transform([f"question: {text}" for text in TEXTS]), atol=1e-5
    )
    np.testing.assert_allclose(
        asked.transform([("who won", "nobody")]), embedder.transform([("question: who won", "nobody")]), atol=1e-5
    )
    assert np.array_equal(clone(embedder).set_params(prompt="").transform(TEXTS), embedder.transform(TEXTS))


def test_chunks_are_averaged_with_their_tokens_as_weights(embedder):
    """A long text's vector is the mean over its chunks, for "max" their maximum."""
    words = "the cat was on a house and no one was there to watch it all night long".split()  # one piece each
    text = " ".join(words)
    chunked = clone(embedder).set_params(max_length=10, long_texts="chunk")
    # 17 words of one piece, 8 of room, an overlap of 1: starts at 0, 4.5 -> 4, 9
    assert len(words) == 17
    parts = [" ".join(words[start : start + 8]) for start in (0, 4, 9)]
    for pooling, join in [("mean", np.mean), ("cls", np.mean), ("max", np.max)]:
        each = clone(embedder).set_params(pooling=pooling).transform(parts)
        found = clone(chunked).set_params(pooling=pooling).transform([text, "no"])
        np.testing.assert_allclose(found[0], join(each, axis=0), atol=1e-5)


def test_a_text_of_many_chunks_is_whole_whatever_the_batches(embedder):
    """Also where a batch ends before any text is complete."""
    chunked = clone(embedder).set_params(long_texts="chunk", pooling="max")
    texts = ["what a night " * 400, "no"]
    whole = clone(chunked).set_params(batch_tokens=100_000).transform(texts)
    np.testing.assert_allclose(clone(chunked).set_params(batch_tokens=64).transform(texts), whole, atol=1e-5)


def test_texts_that_differ_after_the_limit_differ_under_chunk_and_head_tail(embedder):
    """Truncation makes them one, the other policies don't."""
    a, b = "what a night " * 40 + "good", "what a night " * 40 + "bad"
    for policy, same in [("truncate", True), ("head_tail", False), ("chunk", False)]:
        found = clone(embedder).set_params(long_texts=policy).transform([a, b])
        assert np.allclose(*found, atol=1e-6) == same


# -- long texts: told, or refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", [None, MemoryStore()], ids=["off", "memory"])
def test_truncation_is_told_with_its_size_also_where_vectors_are_stored(embedder, cache):
    """The warning counts texts and tokens, for new texts and for stored ones alike."""
    embedder.set_params(cache=cache)
    n_cut = 3 * 40 - 62
    for _ in range(2):
        match = (
            rf"1 of 4 different texts are longer than max_length=64 .* {n_cut} tokens are lost \(row 1 loses {n_cut}"
        )
        with pytest.warns(TruncationWarning, match=match):
            embedder.transform([TEXTS[0], LONG, *TEXTS[1:]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embedder.transform(TEXTS)
        embedder.set_params(long_texts="truncate").transform([LONG])


@pytest.mark.parametrize("warm", [False, True])
def test_an_error_instead_of_a_cut_names_the_row(embedder, warm):
    """Also where another policy has stored the cut text's vector."""
    embedder.set_params(cache=MemoryStore())
    if warm:
        clone(embedder).set_params(long_texts="truncate").transform([LONG])
    with pytest.raises(TextInputError, match=r"Row 2 of X is longer than max_length=64 tokens by 58.*Shorten it"):
        embedder.set_params(long_texts="error").transform([*TEXTS[:2], LONG])


# -- inputs and outputs --------------------------------------------------------------------------------------------


def test_pairs_are_not_their_concatenation(embedder):
    """Two texts are read as segments A and B of one input. (Containers and errors: tests/test_common*.py.)"""
    found = embedder.transform([("a", "b"), ("who won", "no")])
    assert np.abs(found - embedder.transform(["a b", "who won no"])).max() > 0.01


def test_missing_texts_get_the_vector_of_the_empty_text_if_asked(embedder):
    """missing="empty" is "", for None, NaN, pd.NA and half a pair."""
    empty = embedder.transform([""])[0]
    embedder.set_params(missing="empty")
    for value in (None, np.nan, pd.NA, float("nan")):
        assert np.allclose(embedder.transform(["no", value])[1], empty, atol=1e-6)
    assert np.allclose(embedder.transform([("a", "b"), ("a", None)])[1], empty, atol=1e-6)
    with pytest.raises(MissingTextError):
        embedder.set_params(missing="error").transform(["no", None])


def test_output_is_float32_rows_in_order(embedder):
    """One row a text, C-ordered, writable, owned by the caller."""
    found = embedder.set_params(cache=MemoryStore()).transform(TEXTS)
    assert (found.shape, found.dtype, found.flags.c_contiguous, found.flags.writeable) == (
        (4, 32),
        np.float32,
        True,
        True,
    )
    found[:] = 0  # does not reach the store
    assert np.abs(embedder.transform(TEXTS)).max() > 0


def test_feature_names_are_there_without_a_fit(embedder):
    """Names count all columns; set_output gives frames with the index kept."""
    embedder.set_params(layers=(-1, -2))
    names = embedder.get_feature_names_out()
    assert (names[0], names[-1], len(names), names.dtype) == ("bertembedder0", "bertembedder63", 64, object)
    X = pd.Series(TEXTS, index=[9, 8, 7, 6])
    frame = embedder.set_output(transform="pandas").fit_transform(X)
    assert frame.index.tolist() == [9, 8, 7, 6]
    assert frame.columns.tolist() == names.tolist()
    assert set(frame.dtypes) == {np.dtype("float32")}


def test_a_text_column_stands_beside_numbers_in_a_column_transformer(embedder):
    """By name of the column and by list."""
    frame = pd.DataFrame({"text": TEXTS, "likes": [1, 2, 3, 4]})
    by_name = make_column_transformer((embedder, "text"), remainder="passthrough").fit_transform(frame)
    by_list = make_column_transformer((embedder, ["text"]), remainder="passthrough").fit_transform(frame)
    assert by_name.shape == (4, 33)
    assert np.array_equal(by_name, by_list)


def test_frames_are_remembered_as_scikit_learn_does(embedder):
    """n_features_in_ and feature_names_in_ come from frames only, and go with the next fit."""
    embedder.fit(pd.DataFrame({"tweet": TEXTS}))
    assert (embedder.n_features_in_, embedder.feature_names_in_.tolist()) == (1, ["tweet"])
    with pytest.raises(TextInputError, match=r"feature names should match .*\['tweet'\], got \['text'\]"):
        embedder.transform(pd.DataFrame({"text": TEXTS}))
    assert embedder.transform(TEXTS).shape == (4, 32)  # no names, nothing to compare
    embedder.fit(TEXTS)
    assert not hasattr(embedder, "n_features_in_")


def test_it_works_in_a_pipeline_unfitted_and_fitted(embedder):
    """Stateless: transform needs no fit, and fit_transform is fit and transform."""
    unfitted = clone(embedder)
    first = unfitted.transform(TEXTS)
    assert np.array_equal(first, clone(embedder).fit_transform(TEXTS))
    pipe = make_pipeline(embedder, LogisticRegression())
    with pytest.raises(NotFittedError):
        pipe.predict(TEXTS)
    assert pipe.fit(TEXTS, [0, 1, 1, 0]).predict(TEXTS).tolist() == [0, 1, 1, 0]


# -- what a fit remembers ------------------------------------------------------------------------------------------


def test_a_fitted_embedder_refuses_other_weights_until_it_is_fitted_again(embedder, tmp_path):
    """Both fingerprints are named; the same weights under another path are welcome."""
    folder = embedder.model
    other = build_tiny_model(tmp_path / "other", "bert", seed=6)
    copy = shutil.copytree(folder, tmp_path / "copy")
    expected = embedder.fit(TEXTS).transform(TEXTS)
    assert np.array_equal(embedder.set_params(model=copy).transform(TEXTS), expected)
    before, now = embedder.fingerprint_, resolve_model(other).fingerprint
    with pytest.raises(FingerprintError, match=f"(?s){before}.*{now}.*fit again"):
        embedder.set_params(model=other).transform(TEXTS)
    assert embedder.fit(TEXTS).transform(TEXTS).shape == (4, 32)
    assert embedder.fingerprint_ == now


def test_weights_replaced_in_place_are_noticed(tmp_path):
    """A file that changes under a fitted embedder is other weights, whatever its name."""
    folder = build_tiny_model(tmp_path / "model", "bert", seed=1)
    embedder = BertEmbedder(folder, cache=MemoryStore()).fit(TEXTS)
    before = embedder.transform(TEXTS)
    other = build_tiny_model(tmp_path / "other", "bert", seed=2)
    shutil.copy(other / "model.safetensors", folder / "model.safetensors")
    os.utime(folder / "model.safetensors", ns=(1, 1))
    with pytest.raises(FingerprintError):
        embedder.transform(TEXTS)
    assert np.abs(clone(embedder).transform(TEXTS) - before).max() > 0.01


def test_a_pickle_holds_no_weights(minilm):
    """Parameters and a fingerprint travel, 90 MB of weights do not."""
    embedder = BertEmbedder(minilm).fit(TEXTS)
    expected = embedder.transform(TEXTS)
    pickled = pickle.dumps(embedder)
    assert len(pickled) < 2_000
    again = pickle.loads(pickled)
    assert again.fingerprint_ == embedder.fingerprint_
    assert np.array_equal(again.transform(TEXTS), expected)


def test_verbose_shows_what_was_asked_and_embedded(embedder, capfd):
    """A line tells what came of each call; the bar is there only while texts go through the model."""
    embedder.set_params(cache=MemoryStore(), verbose=1).transform(TEXTS)
    shown = capfd.readouterr()
    assert shown.out == "[BertEmbedder] asked 4, different 3, found 0, embedded 3\n"
    assert "3/3" in shown.err
    embedder.transform([*TEXTS, "new"])
    assert "asked 5, different 4, found 3, embedded 1" in capfd.readouterr().out
    embedder.transform(TEXTS)
    shown = capfd.readouterr()
    assert "found 3, embedded 0" in shown.out
    assert shown.err == ""  # nothing is embedded: no bar
    clone(embedder).set_params(verbose=0).transform(TEXTS)
    captured = capfd.readouterr()
    assert captured.err == captured.out == ""
