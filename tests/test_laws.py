"""Laws 2 to 5, 7 and 9 of the design, on the embedder: invariance, stores, searches, clones, global state, faults."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline

from skbert import BertEmbedder, DiskStore, MemoryStore, cache_info, release_models
from skbert._engine import registry
from skbert._engine.registry import get_encoder
from skbert._engine.sources import resolve_model
from skbert._engine.spec import EncoderSpec, Unit, text_key
from skbert.exceptions import CacheWarning
from tests._models import WORDS, build_tiny_model
from tests._reference import relative_difference

CPU = torch.device("cpu")
words = st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join)


def sentences(n, seed=0):
    draw = np.random.default_rng(seed)
    return [f"{k} " + " ".join(draw.choice(WORDS, draw.integers(1, 12))) for k in range(n)]


def count(folder):
    """Return the number of texts that went through the model in this folder so far, through two replicas of it."""
    return sum(get_encoder(resolve_model(folder), CPU, torch.float32, replica).n_texts for replica in (0, 1))


@pytest.fixture
def folder(tmp_path):
    """Return a model that no test has used yet: the same content would be the same loaded encoder, with its counts."""
    release_models()
    return build_tiny_model(tmp_path, "bert", seed=11)


# -- law 2 ---------------------------------------------------------------------------------------------------------


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(words, min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_order_subset_copies_and_neighbours_do_not_change_a_vector(tiny_bert_folder, texts, random):
    """Law 2: within 1e-5 a text's vector is its own, whatever stands around it."""
    embedder = BertEmbedder(tiny_bert_folder, cache=None, device="cpu")
    whole = embedder.transform(texts)
    rows = [random.randrange(len(texts)) for _ in range(random.randint(1, 2 * len(texts)))]
    assert relative_difference(embedder.transform([texts[row] for row in rows]), whole[rows]) < 1e-5
    k = random.randrange(len(texts))
    assert relative_difference(embedder.transform([texts[k]]), whole[[k]]) < 1e-5


def test_copies_in_one_call_have_the_same_bits(tiny_bert_folder):
    """Copies are embedded once and share their vector."""
    found = BertEmbedder(tiny_bert_folder, cache=None).transform(["a b", "no", "a b", "a b"])
    assert np.array_equal(found[[0, 0, 0]], found[[0, 2, 3]])


# -- law 3 ---------------------------------------------------------------------------------------------------------

VARIANTS = [
    {},
    {"layers": (-1, 0, 1)},
    {"pooling": "max", "normalize": True},
    {"store_layers": "all"},
    {"layers": (1, 2), "normalize": True, "store_layers": (0, -1), "batch_tokens": 50},
    {"long_texts": "chunk", "max_length": 8},
    {"dtype": "bfloat16"},
]


@pytest.mark.parametrize("params", VARIANTS, ids=str)
def test_cache_off_cold_and_warm_have_the_same_bits(tiny_bert_folder, params):
    """Law 3: one and the same call gives one and the same output, whatever the store holds of it."""
    texts = sentences(300) + sentences(50)
    base = BertEmbedder(tiny_bert_folder, device="cpu", long_texts="truncate").set_params(**params)
    store = MemoryStore()
    off = clone(base).set_params(cache=None).transform(texts)
    cold = clone(base).set_params(cache=store).transform(texts)
    held = store.info().vectors
    warm = clone(base).set_params(cache=store).transform(texts)
    assert held > 0
    assert np.array_equal(off, cold)
    assert np.array_equal(off, warm)
    assert (store.info().hits, store.info().misses) == (300, 300)  # hits, misses
    partly = clone(base).set_params(cache=store).transform(texts[100:] + sentences(30, seed=1))
    np.testing.assert_allclose(partly[:250], off[100:], atol=1e-5 if "dtype" not in params else 0.1)


def test_one_store_serves_many_embedders_and_never_a_wrong_vector(tmp_path):
    """Law 3: models, layers, poolings, lengths, policies, prompts and dtypes share a store and never mix."""
    folders = [build_tiny_model(tmp_path / str(seed), "bert", seed=seed) for seed in (21, 22)]
    texts = [*sentences(10), "what a night " * 10]
    store = MemoryStore()
    variants = [
        {"model": folder, **params}
        for folder in folders
        for params in (
            {},
            {"layers": 1},
            {"layers": (0, 1)},
            {"pooling": "cls"},
            {"pooling": "max"},
            {"pooling": "pooler"},
            {"normalize": True},
            {"max_length": 16},
            {"max_length": 16, "long_texts": "head_tail"},
            {"max_length": 16, "long_texts": "chunk"},
            {"prompt": "so "},
            {"dtype": "bfloat16"},
        )
    ]
    embedders = [BertEmbedder(device="cpu", long_texts="truncate").set_params(**variant) for variant in variants]
    expected = [clone(embedder).set_params(cache=None).transform(texts) for embedder in embedders]
    for _ in range(2):
        for embedder, vectors in zip(embedders, expected, strict=True):
            found = embedder.set_params(cache=store).transform(texts)
            np.testing.assert_allclose(found, vectors, atol=1e-5 if embedder.dtype == "auto" else 0.1)


texts_and_pairs = st.one_of(st.text(), st.tuples(st.text(), st.text()))


@given(texts_and_pairs, texts_and_pairs)
def test_different_texts_have_different_keys(a, b):
    """Texts, and pairs whose concatenations coincide, don't share a key."""
    assert (text_key(a) == text_key(b)) == (a == b)


@given(st.text(), st.text(), st.text())
def test_a_pair_is_not_its_concatenation(a, b, c):
    """Moving characters from one side to the other makes another key."""
    keys = {text_key((a + b, c)), text_key((a, b + c)), text_key(a + b + c)}
    assert len(keys) == (3 if b else 2)


def test_everything_in_a_spec_is_in_its_namespace():
    """Two specs that differ in any field, or in the unit asked for, share nothing."""
    spec = EncoderSpec("w", "c", "t", 128, "truncate", "", "float32", (Unit(1, "mean"),))
    changes = {
        "weights": "x",
        "config": "x",
        "tokenizer": "x",
        "max_length": 64,
        "long_texts": "chunk",
        "prompt": "x",
        "dtype": "float16",
        "format": 99,
    }
    import dataclasses

    assert {field.name for field in dataclasses.fields(spec)} == {*changes, "units"}
    spaces = {dataclasses.replace(spec, **{name: value}).namespace(Unit(1, "mean")) for name, value in changes.items()}
    spaces |= {spec.namespace(unit) for unit in (Unit(1, "mean"), Unit(1, "max"), Unit(2, "mean"))}
    assert len(spaces) == len(changes) + 3
    assert all(len(space) == 16 for space in spaces)


def test_layers_asked_for_together_are_found_one_by_one(folder):
    """The store's unit is one layer, so part of an earlier call's layers costs nothing."""
    store = MemoryStore()
    embedder = BertEmbedder(folder, device="cpu", cache=store)
    embedder.set_params(layers=(0, 1, 2)).transform(sentences(20))
    before = count(folder)
    for layers in (1, (2, 0), -1):
        embedder.set_params(layers=layers).transform(sentences(20))
    assert count(folder) == before


def test_store_layers_pays_for_a_search_over_layers_and_poolings_at_once(folder):
    """After one pass with store_layers="all" every layer, pooling and scale is there."""
    store = MemoryStore()
    embedder = BertEmbedder(folder, device="cpu", cache=store, store_layers="all")
    texts = sentences(20)
    embedder.transform(texts)
    assert store.info().vectors == 20 * 3 * 3
    before = count(folder)
    for layers in (0, 1, 2, (-1, -2)):
        for pooling in ("mean", "cls", "max"):
            for normalize in (True, False):
                embedder.set_params(layers=layers, pooling=pooling, normalize=normalize).transform(texts)
    assert count(folder) == before
    listed = clone(embedder).set_params(cache=MemoryStore(), store_layers=[1], layers=-1, pooling="cls")
    listed.transform(texts)
    assert listed.cache.info().vectors == 20 * (3 + 1)


def test_the_first_eviction_of_a_call_warns_and_names_the_bytes_needed(folder):
    """A store that is too small still gives right vectors, once with a warning a call."""
    texts = sentences(50)
    store = MemoryStore(max_bytes=5_000)
    needed = 50 * store.cost(33 * 4)
    embedder = BertEmbedder(folder, device="cpu", cache=store, batch_tokens=40)
    with pytest.warns(CacheWarning, match=f"This call alone needs {needed:,} bytes: 50 different texts") as caught:
        found = embedder.transform(texts)
    assert len([w for w in caught if w.category is CacheWarning]) == 1
    assert np.array_equal(found, clone(embedder).set_params(cache=None).transform(texts))
    enough = MemoryStore(max_bytes=needed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clone(embedder).set_params(cache=enough).transform(texts)
    assert enough.info().bytes == needed


# -- law 4 ---------------------------------------------------------------------------------------------------------


def test_a_grid_search_embeds_each_text_once(folder):
    """Law 4: candidates, folds, the refit and a later predict pay once for each different text."""
    texts = sentences(60) + sentences(10)
    y = np.arange(70) % 2
    pipe = make_pipeline(BertEmbedder(folder, device="cpu", cache=MemoryStore()), LogisticRegression())
    search = GridSearchCV(pipe, {"logisticregression__C": [0.01, 0.1, 1, 10]}, cv=5)
    search.fit(texts, y).predict(texts)
    assert count(folder) == 60
    cross_val_score(pipe, texts, y, cv=GroupKFold(3), groups=[text.split()[0] for text in texts])
    assert count(folder) == 60


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_what_is_stored_keeps_its_bits(folder, tmp_path, kind):
    """A call that needs another layer of stored texts adds it, and leaves what is there as it was."""
    store = MemoryStore() if kind == "memory" else DiskStore(tmp_path)
    texts = sentences(50)
    last = BertEmbedder(folder, device="cpu", cache=store)
    cold = last.transform(texts)
    # Other batch-mates, so that some of the last layer's vectors come out with other last bits.
    BertEmbedder(folder, device="cpu", cache=store, layers=(-2, -1), batch_tokens=200).transform([*texts[::2], "new"])
    BertEmbedder(folder, device="cpu", cache=store, layers=0, batch_tokens=100, store_layers="all").transform(texts[9:])
    assert np.array_equal(last.transform(texts), cold)
    assert store.info().misses == 50 + 26 + 41


def test_a_search_over_layers_and_poolings_embeds_what_is_not_yet_there(folder):
    """Each text goes through once for each layer and pooling; with store_layers once in all."""
    texts, y = sentences(40), np.arange(40) % 2
    for store_layers, expected in [(None, 40 * 4), ("all", 40)]:
        embedder = BertEmbedder(folder, device="cpu", cache=MemoryStore(), store_layers=store_layers)
        grid = {"bertembedder__layers": [1, -1], "bertembedder__pooling": ["mean", "cls"]}
        before = count(folder)
        GridSearchCV(make_pipeline(embedder, LogisticRegression()), grid, cv=5).fit(texts, y)
        assert count(folder) - before == expected


def test_threads_embed_a_text_once_and_agree(folder):
    """Eight threads that ask for the same texts at once share one pass and get the same bits."""
    texts = sentences(200)
    embedder = BertEmbedder(folder, device="cpu", cache=MemoryStore())
    found = {}

    def work(k):
        found[k] = clone(embedder).transform(texts)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert count(folder) == 200
    assert (embedder.cache.info().hits, embedder.cache.info().misses) == (7 * 200, 200)
    assert all(np.array_equal(found[0], other) for other in found.values())


def test_a_thread_pool_of_joblib_works(tiny_bert_folder):
    """cross_val_score with n_jobs in threads gives what one thread gives."""
    import joblib

    texts, y = sentences(40), np.arange(40) % 2
    pipe = make_pipeline(BertEmbedder(tiny_bert_folder, device="cpu"), LogisticRegression())
    with joblib.parallel_config("threading", n_jobs=2):
        scores = cross_val_score(pipe, texts, y, cv=4)
    assert np.array_equal(scores, cross_val_score(pipe, texts, y, cv=4))


# -- law 5 and the registry ----------------------------------------------------------------------------------------


def test_clones_share_the_loaded_weights(folder, monkeypatch):
    """However many clones, one model is loaded."""
    from skbert._engine import encoder as encoder_module

    loads = []
    original = encoder_module.load_model
    monkeypatch.setattr(encoder_module, "load_model", lambda files: loads.append(1) or original(files))
    embedder = BertEmbedder(folder, device="cpu", cache=None)
    for _ in range(3):
        clone(embedder).fit(["a"]).transform(["a"])
        pickle.loads(pickle.dumps(embedder)).transform(["a"])
    assert len(loads) == 1


def test_the_registry_keeps_the_two_models_used_last(tmp_path):
    """A third model takes the place of the one used longest ago; release_models frees all."""
    release_models()
    files = [resolve_model(build_tiny_model(tmp_path / str(seed), "bert", seed=seed)) for seed in (31, 32, 33)]
    first, second = (get_encoder(each, CPU, torch.float32) for each in files[:2])
    assert get_encoder(files[0], CPU, torch.float32) is first
    get_encoder(files[2], CPU, torch.float32)
    assert len(registry._encoders) == 2
    assert get_encoder(files[0], CPU, torch.float32) is first
    assert get_encoder(files[1], CPU, torch.float32) is not second
    release_models()
    assert len(registry._encoders) == 0
    assert BertEmbedder(files[0].folder, cache=None).transform(["a"]).shape == (1, 32)


def test_the_same_weights_under_another_path_are_the_same_model(folder, tmp_path_factory):
    """Content is the key: no second load, and stored vectors are found."""
    import shutil

    store = MemoryStore()
    BertEmbedder(folder, device="cpu", cache=store).transform(["a", "b"])
    copy = shutil.copytree(folder, tmp_path_factory.mktemp("copies") / "copy")
    before = get_encoder(resolve_model(folder), CPU, torch.float32)
    BertEmbedder(copy, device="cpu", cache=store).transform(["a", "b"])
    assert (store.info().hits, store.info().misses) == (2, 2)
    assert get_encoder(resolve_model(copy), CPU, torch.float32) is before


# -- law 7 ---------------------------------------------------------------------------------------------------------


def test_nothing_global_is_touched(tmp_path, global_state):
    """Law 7: loading, packing, embedding and caching leave seeds, threads, flags, logging and filters alone."""
    folder = build_tiny_model(tmp_path, "distilbert", seed=41)  # a file without a pooler, so that loading may draw
    global_state = type(global_state)()
    embedder = BertEmbedder(folder, device="cpu", cache=MemoryStore(), verbose=0)
    embedder.fit(["a"]).transform(sentences(5))
    cache_info()
    release_models()
    global_state.assert_unchanged()


def test_a_weight_that_loading_draws_at_random_leaves_the_users_generator_alone(tmp_path):
    """transformers draws a pooler that the file lacks from torch's global generator; the user's next number stays."""
    from safetensors.torch import load_file, save_file

    folder = build_tiny_model(tmp_path, "bert", seed=42)
    weights = {key: value for key, value in load_file(folder / "model.safetensors").items() if "pooler" not in key}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    torch.manual_seed(5)
    before = torch.get_rng_state()
    BertEmbedder(folder, cache=None, device="cpu").transform(["a"])
    assert torch.equal(torch.get_rng_state(), before)


def test_loading_is_quiet(folder):
    """No bar, no report, no warning of another library reaches the user's terminal."""
    code = f"from skbert import BertEmbedder; BertEmbedder({str(folder)!r}, cache=None).transform(['a'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == done.stderr == ""


# -- law 9 ---------------------------------------------------------------------------------------------------------


def test_out_of_memory_halves_the_batch_and_loses_nothing(folder, monkeypatch):
    """Law 9: batches that do not fit are split until they do, and the size is remembered."""
    texts = sentences(100)
    embedder = BertEmbedder(folder, device="cpu", cache=None, batch_tokens=512)
    expected = embedder.transform(texts)
    encoder = get_encoder(resolve_model(folder), CPU, torch.float32)
    original, failures = encoder._run_once, []

    def short_of_memory(batch, units, first_only):
        if batch.n_tokens > 100:
            failures.append(len(batch))
            msg = "CUDA out of memory (made up)"
            raise torch.OutOfMemoryError(msg)
        return original(batch, units, first_only)

    monkeypatch.setattr(encoder, "_run_once", short_of_memory)
    before = encoder.n_texts
    np.testing.assert_allclose(embedder.transform(texts), expected, atol=1e-5)
    assert encoder.n_texts - before == len(texts)  # nothing twice
    assert 1 <= len(failures) <= 4  # remembered, not tried again with every batch
    tried = len(failures)
    embedder.transform(texts)
    assert len(failures) == tried


def test_one_text_that_does_not_fit_is_an_error(folder, monkeypatch):
    """Halving ends at one text; then the error is torch's own."""
    encoder = get_encoder(resolve_model(folder), CPU, torch.float32)

    def never(batch, units, first_only):
        msg = "CUDA out of memory (made up)"
        raise torch.OutOfMemoryError(msg)

    monkeypatch.setattr(encoder, "_run_once", never)
    with pytest.raises(torch.OutOfMemoryError):
        BertEmbedder(folder, device="cpu", cache=None).transform(["a", "b", "c"])


def test_what_was_embedded_before_an_interruption_is_kept(folder, monkeypatch):
    """A search that is stopped goes on where it was: finished batches are in the store."""
    texts = sentences(100)
    store = MemoryStore()
    embedder = BertEmbedder(folder, device="cpu", cache=store, batch_tokens=100)
    encoder = get_encoder(resolve_model(folder), CPU, torch.float32)
    original, calls = encoder._run_once, []

    def interrupted(batch, units, first_only):
        calls.append(1)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return original(batch, units, first_only)

    monkeypatch.setattr(encoder, "_run_once", interrupted)
    with pytest.raises(KeyboardInterrupt):
        embedder.transform(texts)
    monkeypatch.setattr(encoder, "_run_once", original)
    done = encoder.n_texts
    assert 0 < store.info().vectors == done
    embedder.transform(texts)
    assert encoder.n_texts == 100


def test_replicas_share_the_work(folder):
    """A sequence of devices gives what one device gives, each text once."""
    texts = sentences(200)
    before = count(folder)
    shared = BertEmbedder(folder, device=["cpu", "cpu"], cache=None, batch_tokens=64).transform(texts)
    assert count(folder) - before == 200
    alone = BertEmbedder(folder, device="cpu", cache=None, batch_tokens=64).transform(texts)
    assert np.array_equal(shared, alone)


def test_windows_of_a_large_call_join_without_a_seam(folder, monkeypatch):
    """A call larger than a window gives every row its own vector."""
    from skbert._engine import encode

    texts = sentences(120)
    whole = BertEmbedder(folder, device="cpu", cache=None).transform(texts)
    monkeypatch.setattr(encode, "_WINDOW_TEXTS", {"cpu": 25})
    monkeypatch.setattr(encode, "_WINDOW_CHARS", 500)
    monkeypatch.setattr(encode, "_TOKENIZE", 7)
    monkeypatch.setattr(encode, "_LOOK_UP", 9)
    store = MemoryStore()
    for cache in (None, store, store):
        parts = BertEmbedder(folder, device="cpu", cache=cache, normalize=False).transform([*texts, *texts[:40]])
        assert relative_difference(parts, whole[[*range(120), *range(40)]]) < 1e-5
