"""Laws 1 to 3 and 6 on a CUDA device. Skipped where there is none."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from skbert import BertEmbedder, BertSentimentClassifier, MemoryStore, release_models
from skbert._engine.devices import half_bound
from skbert._engine.registry import get_encoder
from skbert._engine.sources import resolve_model
from tests._reference import padded_vectors, relative_difference
from tests.test_laws import sentences
from tests.test_packing import PACKABLE

pytestmark = pytest.mark.gpu
TEXTS = [*sentences(60), "", "a"]


@pytest.mark.parametrize("family", PACKABLE)
@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_float32_on_the_gpu_equals_the_padded_cpu_forward(tiny_model, family, pooling):
    """Without TF32, so within the bound of float32."""
    found = BertEmbedder(tiny_model(family), pooling=pooling, dtype="float32", device="cuda", cache=None)
    expected = padded_vectors(tiny_model(family), TEXTS, pooling=pooling)
    assert relative_difference(found.transform(TEXTS), expected) < 1e-5


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("family", PACKABLE)
def test_halves_run_packed_by_borders_within_their_bound(tiny_model, family, dtype):
    """varlen_attn takes the borders; the families stay packed and within the halves' bound."""
    encoder = get_encoder(resolve_model(tiny_model(family)), torch.device("cuda", 0), getattr(torch, dtype))
    assert encoder.packs
    assert encoder._varlen == (torch.cuda.get_device_capability() >= (8, 0))
    for pooling in ("mean", "cls", "max"):
        found = BertEmbedder(tiny_model(family), pooling=pooling, dtype=dtype, device="cuda", cache=None)
        expected = padded_vectors(tiny_model(family), TEXTS, pooling=pooling)
        assert relative_difference(found.transform(TEXTS), expected) < half_bound(getattr(torch, dtype))


def test_auto_is_a_half_on_the_gpu(tiny_bert_folder):
    """device="auto" takes CUDA; dtype="auto" is bfloat16 where the GPU has it, and part of the identity."""
    store = MemoryStore()
    BertEmbedder(tiny_bert_folder, cache=store).transform(TEXTS)
    half = "bfloat16" if torch.cuda.get_device_capability() >= (8, 0) else "float16"
    BertEmbedder(tiny_bert_folder, cache=store, device="cuda", dtype=half).transform(TEXTS)
    assert store.info().misses == len(set(TEXTS))
    BertEmbedder(tiny_bert_folder, cache=store, device="cuda", dtype="float32").transform(TEXTS)
    assert store.info().misses == 2 * len(set(TEXTS))


def test_tf32_switched_on_by_the_user_changes_nothing(tiny_bert_folder):
    """float32 stays float32, and the user's switch stays where it was."""
    before = torch.backends.cuda.matmul.fp32_precision
    embedder = BertEmbedder(tiny_bert_folder, device="cuda", dtype="float32", cache=None)
    expected = embedder.transform(TEXTS)
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        assert np.array_equal(embedder.transform(TEXTS), expected)
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_cache_off_cold_and_warm_have_the_same_bits_on_the_gpu(tiny_bert_folder, dtype):
    """Law 3 on the GPU."""
    store = MemoryStore()
    params = {"dtype": dtype, "device": "cuda", "layers": (-1, 0)}
    off = BertEmbedder(tiny_bert_folder, cache=None, **params).transform(TEXTS)
    for _ in range(2):
        assert np.array_equal(BertEmbedder(tiny_bert_folder, cache=store, **params).transform(TEXTS), off)


def test_a_pickle_of_the_gpu_loads_where_none_is_visible(tiny_bert_folder, tmp_path):
    """Law 6: no CUDA tensor travels."""
    embedder = BertEmbedder(tiny_bert_folder, dtype="float32", cache=None)
    texts, y = sentences(40), ["a", "b"] * 20
    classifier = BertSentimentClassifier(embedder, max_iter=3, random_state=0).fit(texts, y)
    (tmp_path / "classifier.pickle").write_bytes(pickle.dumps((classifier, texts)))
    code = (
        "import pickle, sys, numpy; c, X = pickle.load(open(sys.argv[1], 'rb')); "
        "numpy.save(sys.argv[2], c.predict_proba(X))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "classifier.pickle"), str(tmp_path / "found.npy")]
    subprocess.run(command, check=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, timeout=300)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), classifier.predict_proba(texts), atol=1e-3)


def test_release_models_frees_the_memory(tiny_bert_folder):
    """After release_models no tensor of a model is left on the device."""
    BertEmbedder(tiny_bert_folder, device="cuda", cache=None).transform(TEXTS)
    release_models()
    before = torch.cuda.memory_allocated()
    BertEmbedder(tiny_bert_folder, device="cuda", cache=None).transform(TEXTS)
    assert torch.cuda.memory_allocated() > before
    release_models()
    assert torch.cuda.memory_allocated() <= before


def test_a_process_that_finds_all_texts_never_touches_the_gpu(tiny_bert_folder, tmp_path):
    """Another process with a warm folder sets no CUDA up, loads no model, and gets the same bits."""
    vectors = BertEmbedder(tiny_bert_folder, device="cuda", cache=tmp_path).transform(TEXTS)
    code = (
        "import sys, numpy, torch\n"
        "from skbert import BertEmbedder\n"
        "from skbert._engine import registry\n"
        "from tests.test_gpu import TEXTS\n"
        "found = BertEmbedder(sys.argv[1], device='cuda', cache=sys.argv[2]).transform(TEXTS)\n"
        "assert not torch.cuda.is_initialized() and not registry._encoders\n"
        "numpy.save(sys.argv[3], found)\n"
    )
    target = tmp_path / "found.npy"
    subprocess.run([sys.executable, "-c", code, str(tiny_bert_folder), str(tmp_path), str(target)], check=True)
    assert np.array_equal(np.load(target), vectors)
