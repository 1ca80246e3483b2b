"""The laws on a CUDA device, and what only such a device has: streams, a memory of its own, forks, kernels for halves.

Skipped where there is none. Every model is tiny, the real MiniLM (where it is installed) apart. Half
precision is compared with the CPU's plain padded float32 forward, within the bound that `half_bound` writes down.
"""

from __future__ import annotations

import functools
import gc
import importlib.util
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from skbert import BertEmbedder, BertSentimentClassifier, MemoryStore, release_models
from skbert._engine import registry
from skbert._engine.devices import half_bound, resolve_devices
from skbert._engine.registry import get_encoder
from skbert._engine.sources import resolve_model
from skbert._engine.spec import Unit
from skbert._engine.table import tabulate
from skbert.exceptions import DeviceError
from tests._disk import in_child
from tests._models import FAMILIES, WORDS, build_tiny_model
from tests._reference import padded_vectors, relative_difference
from tests.test_classifier import HEAD, sentences as labelled
from tests.test_laws import sentences
from tests.test_packing import PACKABLE, PAIRS

pytestmark = pytest.mark.gpu
GPU = "cuda"
HALVES = ("bfloat16", "float16")
DTYPES = ("float32", *HALVES)
TEXTS = [*sentences(60), "", "a"]


def on_gpu(folder, **params):
    return BertEmbedder(folder, **{"device": GPU, "pooling": "mean", "cache": None, **params})


def on_cpu(folder, texts, **params):
    return on_gpu(folder, device="cpu", dtype="float32", **params).transform(texts)


def encoder_of(folder, dtype):
    return get_encoder(resolve_model(folder), *resolve_devices(GPU, "a test"), getattr(torch, dtype))


def bound_of(dtype):
    return half_bound(getattr(torch, dtype))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return a function from family and dtype to a model's folder.

    Weights of a standard deviation of 0.3 blow rounding up as no trained model does: a bfloat16 cosine falls to 0.9976
    whoever computes. With 0.15 what is right stays within half the bound, and a text that sees its neighbours is three
    times the bound away or more.
    """

    @functools.cache
    def folder_of(family, dtype):
        return build_tiny_model(tmp_path_factory.mktemp(family), family, std=0.3 if dtype == "float32" else 0.15)

    return folder_of


@functools.cache
def expected(folder, pooling="mean", layer=-1, pairs=False):
    return padded_vectors(folder, PAIRS if pairs else TEXTS, pooling=pooling, layer=layer)


def cosines(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def run_python(code, *arguments, **environment):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    subprocess.run(command, check=True, env={**os.environ, **environment}, timeout=300)


# -- law 1 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_form_each_family_takes(model, family, dtype):
    """The same as on a CPU; in a half, attention takes the borders."""
    encoder = encoder_of(model(family, dtype), dtype)
    assert encoder.form == ("padded" if family not in PACKABLE else "packed" if family == "modernbert" else "stack")
    modern = GPU == "cuda" and torch.cuda.get_device_capability() >= (8, 0)
    assert encoder._varlen == (modern and dtype in HALVES)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_equal_the_padded_float32_forward_of_the_cpu(model, family, dtype):
    """Layers, poolings, and pairs with their segments: float32 within 1e-5, halves within their bound and in direction.

    "cls" and "pooler" of the highest layer take the shorter way, which computes first tokens only.
    """
    folder = model(family, dtype)
    asked = [(pooling, layers) for pooling in ("mean", "cls", "max") for layers in [(-1,), (0,), (-1, 0, 1), (1, -1)]]
    if resolve_model(folder).has_pooler:
        asked.append(("pooler", (-1,)))
    for (pooling, layers), pairs in [*((one, False) for one in asked), (asked[0], True), (asked[4], True)]:
        embedder = on_gpu(folder, pooling=pooling, layers=layers, dtype=dtype)
        found = embedder.transform(PAIRS if pairs else TEXTS)
        assert found.dtype == np.float32
        for layer, block in zip(layers, np.split(found, len(layers), axis=1), strict=True):
            right = expected(folder, pooling, layer, pairs)
            assert relative_difference(block, right) < bound_of(dtype), (pooling, layers, layer, pairs)
            assert cosines(block, right).min() >= 0.999, (pooling, layers, layer, pairs)


def test_minilm(minilm):
    """The real model: float32 equals the CPU's, halves keep every direction."""
    texts = ["RT @someone: What a night! #debate http://t.co/x…", "😀 naïve café — “quotes”", "", "word " * 400, *TEXTS]
    params = {"pooling": "auto", "long_texts": "truncate"}
    right = on_cpu(minilm, texts, **params)
    assert relative_difference(on_gpu(minilm, dtype="float32", **params).transform(texts), right) < 1e-5
    for dtype in HALVES:
        found = on_gpu(minilm, dtype=dtype, **params).transform(texts)
        assert relative_difference(found, right) < bound_of(dtype)
        assert cosines(found, right).min() >= 0.999


def test_auto_is_a_half(tiny_bert_folder):
    """device="auto" takes CUDA; dtype="auto" is bfloat16 where the GPU has it, and part of the identity."""
    store = MemoryStore()
    BertEmbedder(tiny_bert_folder, cache=store).transform(TEXTS)
    half = "bfloat16" if torch.cuda.get_device_capability() >= (8, 0) else "float16"
    BertEmbedder(tiny_bert_folder, cache=store, device=GPU, dtype=half).transform(TEXTS)
    assert store.info().misses == len(set(TEXTS))
    BertEmbedder(tiny_bert_folder, cache=store, device=GPU, dtype="float32").transform(TEXTS)
    assert store.info().misses == 2 * len(set(TEXTS))


def test_tf32_switched_on_by_the_user_changes_nothing(tiny_bert_folder):
    """float32 stays float32, and the user's switch stays where it was."""
    before = torch.backends.cuda.matmul.fp32_precision
    embedder = on_gpu(tiny_bert_folder, dtype="float32")
    right = embedder.transform(TEXTS)
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        assert np.array_equal(embedder.transform(TEXTS), right)
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


FA3 = """
import sys, numpy
from torch.nn import attention
from skbert import BertEmbedder
from tests.test_gpu import GPU, TEXTS
embedder = BertEmbedder(sys.argv[1], device=GPU, dtype="bfloat16", pooling="mean", cache=None)
attention.activate_flash_attention_impl("FA3")
assert attention.current_flash_attention_impl() == "FA3"
numpy.save(sys.argv[2], embedder.transform(TEXTS))
attention.restore_flash_attention_impl()
numpy.save(sys.argv[3], embedder.transform(TEXTS))
"""


def test_flash_attention_3(tiny_bert_folder, tmp_path):
    """Where the user activates it, the vectors stay within the bound, and so they do when he restores the other."""
    listed = getattr(torch.nn.attention, "list_flash_attention_impls", list)()
    if "FA3" not in listed or importlib.util.find_spec("flash_attn_interface") is None:
        pytest.skip("needs FlashAttention 3, as flash_attn_interface")
    targets = [tmp_path / "with.npy", tmp_path / "without.npy"]
    run_python(FA3, tiny_bert_folder, *targets)
    for target in targets:
        assert relative_difference(np.load(target), expected(tiny_bert_folder)) < bound_of("bfloat16")


# -- laws 2 and 3 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", ["bert", "modernbert", "mpnet"])
def test_order_subset_copies_and_neighbours_do_not_change_a_vector(model, family, dtype):
    """Law 2 in float32; a half keeps its bound, since another batch is another order of rounding."""
    embedder = on_gpu(model(family, dtype), dtype=dtype)
    whole = embedder.transform(TEXTS)
    draw = np.random.default_rng(0)
    for n in (1, 7, 40, 200):
        rows = draw.integers(len(TEXTS), size=n)
        found = embedder.set_params(batch_tokens=int(draw.integers(1, 500))).transform([TEXTS[row] for row in rows])
        assert relative_difference(found, whole[rows]) < bound_of(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_text_in_any_company_gets_the_same_label(model, dtype):
    """Alone, among a few, and among all; in a half wherever the decision hangs on more than its rounding."""
    texts, y = labelled(160)
    embedder = on_gpu(model("bert", dtype), dtype=dtype, layers=(0, -1))
    classifier = BertSentimentClassifier(embedder, **HEAD).fit(texts, y)
    whole, labels = classifier.predict_proba(texts), classifier.predict(texts)
    clear = np.abs(whole[:, 0] - 0.5) > (0.0 if dtype == "float32" else 0.1)
    assert clear.mean() > 0.8
    for size in (1, 3):
        parts = [texts[start : start + size] for start in range(0, len(texts), size)]
        assert np.array_equal(np.concatenate([classifier.predict(part) for part in parts])[clear], labels[clear])
        found = np.concatenate([classifier.predict_proba(part) for part in parts])
        assert np.abs(found - whole).max() < (1e-4 if dtype == "float32" else 0.1)


VARIANTS = [
    {},
    {"layers": (-1, 0, 1)},
    {"pooling": "cls"},
    {"pooling": "pooler"},
    {"pooling": "max", "normalize": True},
    {"pooling": "cls", "store_layers": "all"},
    {"layers": (1, 2), "normalize": True, "store_layers": (0, -1), "batch_tokens": 50},
    {"long_texts": "chunk", "max_length": 8},
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_cache_off_cold_and_warm_have_the_same_bits(model, family, dtype):
    """Law 3: one and the same call gives one and the same output, for many texts, for a few, for one and for pairs."""
    folder, texts = model(family, dtype), sentences(100)
    for variant in VARIANTS:
        if variant.get("pooling") == "pooler" and not resolve_model(folder).has_pooler:
            continue
        for items in (texts, texts[:3], texts[3:4], *([] if "max_length" in variant else [PAIRS])):  # pairs: no chunks
            off = on_gpu(folder, dtype=dtype, **variant).transform(items)
            store = MemoryStore()
            for cache in (store, store, None, None):
                found = on_gpu(folder, dtype=dtype, **{**variant, "cache": cache}).transform(items)
                assert np.array_equal(found, off), (variant, len(items))
            assert store.info().hits == store.info().misses == len(items)


# -- streams and stages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_many_batches_in_flight_lose_nothing_and_mix_nothing_up(model, dtype):
    """Hundreds of small batches, several of which wait at any time, give what the texts give one by one."""
    folder, texts = model("bert", dtype), sentences(1_500)
    embedder, encoder = on_gpu(folder, dtype=dtype, batch_tokens=64), encoder_of(folder, dtype)
    before = encoder.n_texts
    found = embedder.transform(texts)
    assert encoder.n_texts - before == len(texts)
    assert relative_difference(found, on_cpu(folder, texts)) < bound_of(dtype)
    for row in range(0, len(texts), 25):
        assert relative_difference(embedder.transform(texts[row : row + 1]), found[row : row + 1]) < bound_of(dtype)


def test_vectors_wait_in_memory_that_nothing_else_overwrites(tiny_bert_folder):
    """Batches begun long ago, fetched in any order, have their own bits; and keep them while others are computed."""
    encoder = encoder_of(tiny_bert_folder, "bfloat16")
    units = [Unit(2, "mean"), Unit(0, "cls")]
    tables = []
    for k in range(150):
        texts = sentences(1 + k % 9, seed=k)
        tables.append(tabulate(encoder.pieces(texts), [None] * len(texts), encoder.template, 64, "truncate")[0])
    right = [encoder.run(table, units).copy() for table in tables]
    begun = [encoder.start(table, units) for table in tables]
    found = {k: begun[k]() for k in np.random.default_rng(0).permutation(len(begun)).tolist()}
    del begun
    for table in tables:  # takes the pinned memory that is free again
        encoder.run(table, units)
    assert all(np.array_equal(found[k], vectors) for k, vectors in enumerate(right))


def test_a_stream_of_the_users_is_waited_for(tiny_bert_folder):
    """Under another current stream, with work of the user's in it, the vectors are the same."""
    with torch.cuda.stream(torch.cuda.Stream()):
        busy = torch.ones(4_096, 4_096, device=GPU)
        for _ in range(20):
            busy = busy @ busy
        found = on_gpu(tiny_bert_folder, dtype="float32", batch_tokens=256).transform(TEXTS)
    assert relative_difference(found, expected(tiny_bert_folder)) < 1e-5


def test_threads_share_an_encoder(tiny_bert_folder):
    """Several threads at once, each with texts of its own."""
    jobs = {k: sentences(200, seed=k) for k in range(4)}
    right = {k: on_cpu(tiny_bert_folder, texts) for k, texts in jobs.items()}
    found = {}

    def work(k):
        found[k] = on_gpu(tiny_bert_folder, dtype="float32", batch_tokens=128).transform(jobs[k])

    threads = [threading.Thread(target=work, args=(k,)) for k in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(relative_difference(found[k], right[k]) < 1e-5 for k in jobs)


def test_tokenising_ahead_keeps_the_order_of_many_texts(tiny_bert_folder):
    """More texts than several portions hold, with empty ones among them, equal the CPU's."""
    texts = [" ".join([*sentence.split()[1 : 1 + k % 5], str(k)]) for k, sentence in enumerate(sentences(9_000))]
    texts[100::1_000] = [""] * 9
    found = on_gpu(tiny_bert_folder, dtype="float32").transform(texts)
    assert relative_difference(found, on_cpu(tiny_bert_folder, texts)) < 1e-5


@pytest.mark.parametrize("device", [["cuda:0", "cuda:0"], ["cuda", "cpu"]], ids=str)
def test_several_devices_share_the_work(tiny_bert_folder, device):
    """Two replicas on one GPU, and a GPU with a CPU (float32 by itself): each text once, and the CPU's vectors."""
    release_models()
    texts = sentences(600)
    dtype = "auto" if "cpu" in device else "float32"
    found = on_gpu(tiny_bert_folder, device=device, dtype=dtype, batch_tokens=64).transform(texts)
    assert len(registry._encoders) == 2
    assert sum(encoder.n_texts for encoder in registry._encoders.values()) == len(texts)
    assert relative_difference(found, on_cpu(tiny_bert_folder, texts)) < 1e-5


# -- memory and processes ------------------------------------------------------------------------------------------


def test_a_real_out_of_memory_halves_the_batch_and_loses_nothing(tmp_path):
    """Law 9: with a third of the memory that the largest batch takes, all goes on in smaller ones, each text once."""
    folder = build_tiny_model(tmp_path, "bert", seed=51, intermediate_size=2_048)  # so that a batch takes much
    draw = np.random.default_rng(0)
    texts = [f"{k} " + " ".join(draw.choice(WORDS, 45)) for k in range(3_500)]
    release_models()
    gc.collect()
    embedder = on_gpu(folder, dtype="float32", batch_tokens=1_000_000)
    embedder.transform(texts[:50])  # takes what the libraries keep for themselves
    encoder = encoder_of(folder, "float32")
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    right = embedder.transform(texts)
    needed = torch.cuda.max_memory_allocated() - held
    assert needed > 2**28
    assert encoder.max_tokens is None
    torch.cuda.empty_cache()
    before, failures = encoder.n_texts, torch.cuda.memory_stats()["num_ooms"]
    limit = torch.cuda.memory_reserved() + needed // 3
    torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.get_device_properties(0).total_memory)
    try:
        found = embedder.transform(texts)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert torch.cuda.memory_stats()["num_ooms"] > failures
    assert encoder.max_tokens is not None
    assert encoder.n_texts - before == len(texts)
    assert relative_difference(found, right) < 1e-5
    assert relative_difference(embedder.transform(texts), right) < 1e-5
    release_models()


def test_release_models_gives_the_memory_back(tiny_bert_folder):
    """After release_models no tensor of a model is left on the device, nor memory kept for later ones."""
    for dtype in DTYPES:  # what libraries keep for themselves they take now
        on_gpu(tiny_bert_folder, dtype=dtype).transform(TEXTS)
    release_models()
    before, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    for dtype in DTYPES:
        on_gpu(tiny_bert_folder, dtype=dtype, batch_tokens=100).transform(TEXTS)
    assert torch.cuda.memory_allocated() > before
    release_models()
    assert torch.cuda.memory_allocated() <= before
    assert torch.cuda.memory_reserved() <= reserved


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_of_a_process_that_used_the_gpu(tiny_bert_folder, tmp_path):
    """It finds what is in a folder, and is told in skbert's words, not torch's, that it can't compute more."""
    right = on_gpu(tiny_bert_folder, cache=tmp_path).transform(TEXTS)

    def child():
        found = on_gpu(tiny_bert_folder, cache=tmp_path).transform(TEXTS)
        messages = []
        for cache in (tmp_path, None):
            try:
                on_gpu(tiny_bert_folder, cache=cache).transform(["a new text"])
            except DeviceError as error:
                messages.append(str(error))
        return found, messages

    found, messages = in_child(child)
    assert np.array_equal(found, right)
    assert len(messages) == 2
    for message in messages:
        assert "was forked from one that had used CUDA" in message
        assert "spawn" in message
        assert "re-initialize" not in message  # torch's
    assert np.array_equal(on_gpu(tiny_bert_folder).transform(TEXTS), right)  # the parent goes on


PREDICT = """
import pickle, sys, numpy, torch
assert not torch.cuda.is_available()
travellers, texts = pickle.load(open(sys.argv[1], "rb"))
numpy.savez(sys.argv[2], *[a for t in travellers for a in (t.embedder.transform(texts), t.predict_proba(texts))])
"""


def test_a_pickle_of_the_gpu_predicts_where_none_is_visible(model, tmp_path):
    """Law 6: no CUDA tensor travels; the CPU's vectors differ by a half's rounding, and clear labels stay."""
    texts, y = labelled(160)
    travellers, vectors = [], []
    for dtype in ("float32", "auto"):
        embedder = BertEmbedder(model("bert", dtype), dtype=dtype, layers=(0, -1), cache=None)  # device="auto"
        travellers.append(BertSentimentClassifier(embedder, **HEAD).fit(texts, y))
        vectors.append(embedder.transform(texts))
    (tmp_path / "both.pickle").write_bytes(pickle.dumps((travellers, texts)))
    run_python(PREDICT, tmp_path / "both.pickle", tmp_path / "found.npz", CUDA_VISIBLE_DEVICES="")
    with np.load(tmp_path / "found.npz") as found:
        arrays = [found[name] for name in found.files]
    bounds = (1e-5, bound_of("bfloat16"))
    for k, (classifier, bound) in enumerate(zip(travellers, bounds, strict=True)):
        assert relative_difference(arrays[2 * k], vectors[k]) < bound
        here = classifier.predict_proba(texts)
        assert np.abs(arrays[2 * k + 1] - here).max() < (1e-3, 0.1)[k]
        clear = np.abs(here[:, 0] - 0.5) > 0.1
        assert np.array_equal(arrays[2 * k + 1].argmax(1)[clear], here.argmax(1)[clear])


FIND_ALL = """
import sys, numpy, torch
from skbert import BertEmbedder
from skbert._engine import registry
from tests.test_gpu import GPU, TEXTS
found = BertEmbedder(sys.argv[1], device=GPU, cache=sys.argv[2]).transform(TEXTS)
assert not torch.cuda.is_initialized() and not registry._encoders
numpy.save(sys.argv[3], found)
"""


def test_a_process_that_finds_all_texts_never_touches_the_gpu(tiny_bert_folder, tmp_path):
    """Another process with a warm folder sets no CUDA up, loads no model, and gets the same bits."""
    vectors = BertEmbedder(tiny_bert_folder, device=GPU, cache=tmp_path).transform(TEXTS)
    run_python(FIND_ALL, tiny_bert_folder, tmp_path, tmp_path / "found.npy")
    assert np.array_equal(np.load(tmp_path / "found.npy"), vectors)
