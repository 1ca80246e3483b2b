"""Law 3, its second half: a vector of another identity is never served, one of the same content always is."""

from __future__ import annotations

import os
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from sklearn.base import clone

from skbert import BertEmbedder, MemoryStore, cache_info, release_models
from skbert.exceptions import TextInputError, TruncationWarning
from tests._counting import made_up, n_forwards
from tests._models import WORDS
from tests._neighbours import NEIGHBOURS, another_weight, edited
from tests._reference import padded_vectors, relative_difference

KINDS = ("memory", "disk")
TEXTS = [*made_up(8), "", "Good GREAT good", "what a night " * 10, " ".join(WORDS[:40])]  # the last two: too long
# All that is in an identity is said here, so that a variant changes it on purpose.
BASE = {
    "layers": -1,
    "pooling": "mean",
    "normalize": False,
    "max_length": 16,
    "long_texts": "truncate",
    "prompt": "",
    "dtype": "float32",
    "device": "cpu",
}


@pytest.fixture
def folder(tiny_bert_folder):
    """Return the tiny BERT, with no model loaded, so that the encoders' counts begin at 0."""
    release_models()
    return tiny_bert_folder


@pytest.fixture
def cache(request, tmp_path):
    """Return an empty store of the kind that the test's parameter names: a MemoryStore, or a path."""
    return MemoryStore() if request.param == "memory" else tmp_path / "vectors"


def on_both(test):
    return pytest.mark.parametrize("cache", KINDS, indirect=True)(test)


def embedder(folder, cache, **params):
    return BertEmbedder(folder, cache=cache).set_params(**{**BASE, **params})


def counts(cache):
    """Return hits and misses of a store, and what went through the encoders."""
    info = cache_info(cache)
    return np.array([info.hits, info.misses, n_forwards()])


def same_bits(a, b):
    return a.shape == b.shape and a.tobytes() == b.tobytes()


# -- other content -------------------------------------------------------------------------------------------------

VARIANTS = [
    {"layers": 0},
    {"layers": 1},
    {"layers": (1, 2)},  # half of it is there
    {"pooling": "cls"},
    {"pooling": "max"},
    {"pooling": "pooler"},
    {"max_length": 17},
    {"max_length": None},
    {"long_texts": "head_tail"},
    {"long_texts": "chunk"},
    {"prompt": "so "},
    {"dtype": "bfloat16"},
    {"dtype": "float16"},
]


def check_stranger(cache, warm, other):
    """Check that the store, warmed by one embedder, gives nothing to another, and the right thing to both."""
    first = warm.transform(TEXTS)
    assert list(counts(cache)) == [0, len(TEXTS), len(TEXTS)]
    expected = clone(other).set_params(cache=None).transform(TEXTS)
    before = counts(cache)
    found = other.transform(TEXTS)
    hits, misses, forwards = counts(cache) - before
    assert (hits, misses) == (0, len(TEXTS))
    assert forwards >= len(TEXTS)  # chunks count one by one
    assert same_bits(found, expected)
    assert not same_bits(found, first)  # so that a vector taken from the wrong place would show
    before = counts(cache)
    assert same_bits(warm.transform(TEXTS), first)
    assert same_bits(other.transform(TEXTS), expected)
    assert list(counts(cache) - before) == [2 * len(TEXTS), 0, 0]


@on_both
@pytest.mark.parametrize("params", VARIANTS, ids=str)
def test_another_setting_is_never_a_hit(folder, cache, params):
    """Layer, pooling, length, policy, prompt and dtype are in the identity."""
    check_stranger(cache, embedder(folder, cache), embedder(folder, cache, **params))


@on_both
@pytest.mark.parametrize("change", NEIGHBOURS)
def test_another_model_is_never_a_hit(folder, cache, change, tmp_path):
    """So is every weight, the tokenizer and the configuration; the vectors are those of plain transformers."""
    other = NEIGHBOURS[change](folder, tmp_path / "other")
    check_stranger(cache, embedder(folder, cache), embedder(other, cache))
    for model in (folder, other):
        found = embedder(model, cache).transform(TEXTS)
        assert relative_difference(found, padded_vectors(model, TEXTS, max_length=16)) < 1e-5


@on_both
def test_another_model_under_the_same_path_is_never_a_hit(folder, cache, tmp_path):
    """Content counts, not the path: files replaced in place are another model from then on, and back again."""
    place = shutil.copytree(folder, tmp_path / "model")
    warm = embedder(place, cache).transform(TEXTS)
    shutil.copytree(another_weight(folder, tmp_path / "other"), place, dirs_exist_ok=True)
    found = embedder(place, cache).transform(TEXTS)
    assert cache_info(cache).hits == 0
    assert not same_bits(found, warm)
    assert relative_difference(found, padded_vectors(place, TEXTS, max_length=16)) < 1e-5
    shutil.copytree(folder, place, dirs_exist_ok=True)
    assert same_bits(embedder(place, cache).transform(TEXTS), warm)
    assert cache_info(cache)[-3:-1] == (len(TEXTS), 2 * len(TEXTS))


@pytest.fixture
def hub_model(folder, hf_home, tmp_path):
    """Return the name of a model in the hub's local cache: v1, main and a commit are one snapshot, v2 is another."""
    name, old, new = "tester/tiny", "a" * 40, "b" * 40
    home = hf_home / "hub" / "models--tester--tiny"
    (home / "refs").mkdir(parents=True)
    for ref, commit in {"main": old, "v1": old, "v2": new}.items():
        (home / "refs" / ref).write_text(commit)
    shutil.copytree(folder, home / "snapshots" / old)
    another_weight(folder, home / "snapshots" / new)
    yield name
    shutil.rmtree(home)


@on_both
def test_another_revision_is_never_a_hit_and_another_name_for_it_always(folder, cache, hub_model):
    """A revision is what its snapshot holds: v2 is new; main, v1, the commit and the folder are one."""
    check_stranger(cache, embedder(hub_model, cache), embedder(hub_model, cache, revision="v2"))
    before, warm = counts(cache), embedder(hub_model, cache).transform(TEXTS)
    for revision in ("main", "v1", "a" * 40):
        assert same_bits(embedder(hub_model, cache, revision=revision).transform(TEXTS), warm)
    assert same_bits(embedder(folder, cache).transform(TEXTS), warm)
    assert list(counts(cache) - before) == [5 * len(TEXTS), 0, 0]


@on_both
def test_all_identities_live_in_one_store_side_by_side(folder, cache, tmp_path):
    """Whatever is asked in between, each first asking is all misses, each second all hits with the bits of no cache."""
    params = [{}, *(variant for variant in VARIANTS if variant != {"layers": (1, 2)})]  # that one is found in parts
    models = [folder, another_weight(folder, tmp_path / "other")]
    # dtype by dtype: two loaded encoders are all that a process keeps
    variants = sorted(((p, m) for p in params for m in models), key=lambda v: v[0].get("dtype", ""))
    asked = [embedder(model, cache, **param) for param, model in variants]
    expected = [clone(each).set_params(cache=None).transform(TEXTS) for each in asked]
    for turn in range(2):
        for each, vectors in zip(asked, expected, strict=True):
            assert same_bits(each.transform(TEXTS), vectors)
        info = cache_info(cache)
        assert (info.misses, info.hits) == (len(asked) * len(TEXTS), turn * len(asked) * len(TEXTS))
    assert info.vectors == len(asked) * len(TEXTS)
    assert len(info.models) == 2


# -- the same content ----------------------------------------------------------------------------------------------

SHARING = [
    {"layers": [-1]},
    {"layers": 2},
    {"layers": np.int64(-1)},
    {"pooling": "auto"},
    {"prompt": None},
    {"long_texts": "warn"},
    {"dtype": "auto"},
    {"batch_tokens": 20},
    {"device": "auto"},
    {"device": ["cpu", "cpu"]},
    {"verbose": 1},
    {"missing": "empty"},
    {"store_layers": "all"},
]


@on_both
@pytest.mark.parametrize("params", SHARING, ids=str)
def test_what_does_not_change_a_vector_is_always_a_hit(folder, cache, params):
    """Other words for the same thing, and what concerns the way and not the vector, find what is there."""
    warm = embedder(folder, cache).transform(TEXTS)
    before = counts(cache)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        assert same_bits(embedder(folder, cache, **params).transform(TEXTS), warm)
    assert list(counts(cache) - before) == [len(TEXTS), 0, 0]


@on_both
def test_the_same_weights_elsewhere_are_always_a_hit(folder, cache, tmp_path, monkeypatch):
    """A copy, a link, a relative path, and files that tell of another origin are the same model."""
    warm = embedder(folder, cache).transform(TEXTS)
    before = counts(cache)
    copy = shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    renamed = {"_name_or_path": "elsewhere", "transformers_version": "4.0.0"}
    told = edited(folder, tmp_path / "told", "config.json", lambda config: config.update(renamed))
    for model in (copy, tmp_path / "link", "copy", os.path.join("copy", ""), told):
        assert same_bits(embedder(model, cache).transform(TEXTS), warm)
    assert list(counts(cache) - before) == [5 * len(TEXTS), 0, 0]


@on_both
def test_scale_and_container_share_a_vector(folder, cache):
    """Scale is put on the way out; lists, arrays, Series, frames and a fitted embedder ask for the same texts."""
    warm = embedder(folder, cache).transform(TEXTS)
    before = counts(cache)
    scaled = embedder(folder, cache, normalize=True).fit(TEXTS).transform(TEXTS)
    np.testing.assert_allclose(scaled, warm / np.linalg.norm(warm, axis=1, keepdims=True), rtol=1e-6)
    frame = pd.DataFrame({"text": TEXTS})
    containers = [np.array(TEXTS), np.array(TEXTS, dtype=object)[:, None], frame, frame["text"], tuple(TEXTS)]
    for X in containers:
        assert same_bits(embedder(folder, cache).transform(X), warm)
    assert same_bits(embedder(folder, cache, missing="empty").transform([None]), warm[[TEXTS.index("")]])
    assert list(counts(cache) - before) == [6 * len(TEXTS) + 1, 0, 0]


@on_both
def test_the_policies_that_only_cut_share_and_still_speak(folder, cache):
    """ "warn" and "error" find what "truncate" stored, and say of a stored text what they say of a new one."""
    warm = embedder(folder, cache).transform(TEXTS)
    before = counts(cache)
    with pytest.warns(TruncationWarning, match=r"2 of 12 different texts are longer than max_length=16 tokens"):
        assert same_bits(embedder(folder, cache, long_texts="warn").transform(TEXTS), warm)
    strict = embedder(folder, cache, long_texts="error")
    assert same_bits(strict.transform(TEXTS[:10]), warm[:10])
    with pytest.raises(TextInputError, match="Row 10 of X is longer than max_length=16"):
        strict.transform(TEXTS)
    assert (counts(cache) - before)[1:].tolist() == [0, 0]


@on_both
@pytest.mark.parametrize("layers", [(0, 2), (2, 0), (1, 2, 0)], ids=str)
def test_what_is_there_in_part_goes_to_its_own_row_and_column(folder, cache, layers):
    """Where some texts have some of the layers, those that have all are found, and nothing slips to a neighbour."""
    rows = {2: range(12), 1: range(3, 12), 0: [11, 4, 8, 5]}
    for layer, places in rows.items():
        embedder(folder, cache, layers=layer).transform([TEXTS[k] for k in places])
    before = counts(cache)
    found = embedder(folder, cache, layers=layers).transform(TEXTS)
    assert relative_difference(found, embedder(folder, None, layers=layers).transform(TEXTS)) < 1e-5
    hits, misses, _ = counts(cache) - before
    assert (hits, misses) == (4, 8)


# -- any calls through one store -----------------------------------------------------------------------------------

ODD = ["", " ", *"\0 \0\0 a\0b ab abc a bc c AB é e\u0301 \u200b 😀".split(" "), " ".join(WORDS[:60])]
PAIRS = [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc"), ("c", "ab"), ("", ""), ("\0", ""), ("", "\0")]
some_texts = st.one_of(st.sampled_from(ODD), st.text(max_size=8), st.lists(st.sampled_from(WORDS)).map(" ".join))
some_pairs = st.one_of(st.sampled_from(PAIRS), st.tuples(some_texts, some_texts))


@st.composite
def calls(draw):
    """Draw a call: which of two models, parameters, and single texts or pairs."""
    params = {
        "layers": draw(st.sampled_from([-1, 0, 1, (-1, 0), (1, 2), (0, 1, 2)])),
        "pooling": draw(st.sampled_from(["mean", "cls", "max", "pooler"])),
        "normalize": draw(st.booleans()),
        "max_length": draw(st.sampled_from([8, 9, None])),
        "long_texts": draw(st.sampled_from(["truncate", "head_tail", "chunk"])),
        "prompt": draw(st.sampled_from(["", "ab", "\0"])),
        "batch_tokens": draw(st.sampled_from(["auto", 30])),
        "store_layers": draw(st.sampled_from([None, "all", [1]])),
    }
    items = draw(st.lists(some_texts, min_size=1, max_size=12) | st.lists(some_pairs, min_size=1, max_size=12))
    if params["pooling"] == "pooler":
        params["layers"] = -1
    if isinstance(items[0], tuple) and params["long_texts"] == "chunk":  # not for pairs
        params["long_texts"] = "truncate"
    return draw(st.booleans()), params, items


def check_calls(models, drawn, new_cache):
    """Check each of several calls through one store against the same call without, and law 3's bits on the last."""
    shared = new_cache()
    for which, params, items in drawn:
        plain = embedder(models[which], None, **params)
        expected = plain.transform(items)
        found = clone(plain).set_params(cache=shared).transform(items)
        assert relative_difference(found, expected) < 1e-5
        before = counts(shared)
        again = clone(plain).set_params(cache=shared).transform(items)
        assert relative_difference(again, expected) < 1e-5
        assert list(counts(shared) - before) == [len(set(items)), 0, 0]
    fresh = new_cache()
    cold, warm = (clone(plain).set_params(cache=fresh).transform(items) for _ in range(2))
    assert same_bits(cold, expected)
    assert same_bits(warm, expected)
    assert cache_info(fresh)[-3:-1] == (len(set(items)), len(set(items)))


@pytest.fixture(scope="module")
def two_models(tiny_bert_folder, tmp_path_factory):
    """Return two models that differ in one weight."""
    return tiny_bert_folder, another_weight(tiny_bert_folder, tmp_path_factory.mktemp("neighbour"), step=0.1)


@settings(max_examples=25, suppress_health_check=list(HealthCheck), deadline=None)
@given(st.lists(calls(), min_size=2, max_size=5))
def test_any_calls_through_one_memory_store_give_what_no_store_gives(two_models, drawn):
    """Laws 2 and 3 for whatever is asked, in whatever order, of one store."""
    check_calls(two_models, drawn, MemoryStore)


@settings(max_examples=8, suppress_health_check=list(HealthCheck), deadline=None)
@given(st.lists(calls(), min_size=2, max_size=5))
def test_any_calls_through_one_folder_give_what_no_store_gives(two_models, tmp_path_factory, drawn):
    """The same on disk."""
    check_calls(two_models, drawn, lambda: tmp_path_factory.mktemp("store"))


@on_both
@pytest.mark.parametrize("bad", ["\ud800", "a\udfffb", ("ok", "\udc80"), ("\ud83d", "\ude00")], ids=ascii)
def test_lone_surrogates_are_refused_by_their_row_before_anything_is_embedded(folder, cache, bad):
    """They have no bytes to be a key; two halves that would join over the border of a pair are no exception."""
    rows = ["fine", "é", bad] if isinstance(bad, str) else [("fine", "é"), ("a", "b"), bad]
    with pytest.raises(TextInputError, match="Row 2 of X holds a lone surrogate"):
        embedder(folder, cache).transform(rows)
    assert list(counts(cache)) == [0, 0, 0]
    assert cache_info(cache).vectors == 0
