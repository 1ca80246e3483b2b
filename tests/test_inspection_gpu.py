"""What inspection shows on a CUDA device is what it shows on the CPU. Skipped where there is no such device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from skbert import BertEmbedder, BertSentimentClassifier, release_models
from skbert._engine.devices import half_bound
from skbert.inspection import attention, explain, token_embeddings, word_embeddings
from tests._models import FAMILIES
from tests._reference import relative_difference

pytestmark = pytest.mark.gpu
TEXTS = [
    "the bat flies at night",
    "a",
    "who won? who lost? who cares...",
    "to my surprise the moderator asked a fair question about tax policy, and nobody had an honest answer to it",
]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_token_states_are_those_of_the_cpu(tiny_model, family, dtype):
    """In float32 within 1e-5; in halves their means are, which is what the bound of halves is about."""
    folder = tiny_model(family)
    for X in (TEXTS, list(zip(TEXTS, TEXTS[::-1], strict=True))):
        here, there = (
            token_embeddings(X, BertEmbedder(folder, layers=(-2, -1), device=device, dtype=kind))
            for device, kind in (("cpu", "float32"), ("cuda", dtype))
        )
        for a, b in zip(here, there, strict=True):
            if dtype == "float32":
                assert relative_difference(a, b) <= 1e-5
            assert relative_difference(a.mean(axis=0, keepdims=True), b.mean(axis=0, keepdims=True)) <= half_bound(
                getattr(torch, dtype)
            )


def test_words_are_found_and_averaged_there_too(tiny_bert_folder):
    """The vector of a word on a GPU in float32 is that of the CPU."""
    here, there = (
        word_embeddings(TEXTS[:1], "bat", BertEmbedder(tiny_bert_folder, device=device, dtype="float32"))
        for device in ("cpu", "cuda")
    )
    assert relative_difference(here[0], there[0]) <= 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_attention_is_that_of_the_cpu(tiny_model, family):
    """In float32 whatever the embedder computes in, which on a GPU is a half."""
    here, there = (
        attention(TEXTS[3], BertEmbedder(tiny_model(family), device=device)).weights for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(there, here, atol=1e-5)


@pytest.mark.parametrize("method", ["leave_one_out", "integrated_gradients"])
def test_explanations_are_those_of_the_cpu(tiny_bert_folder, method):
    """In float32 up to its rounding."""
    release_models()
    embedder = BertEmbedder(tiny_bert_folder, dtype="float32", device="cpu", cache=None)
    classifier = BertSentimentClassifier(embedder, device="cpu", random_state=0, early_stopping=False, max_iter=20)
    classifier.fit(TEXTS, ["no", "yes", "no", "yes"])
    expected = explain(TEXTS, classifier, method=method, target="yes")
    classifier.set_params(embedder__device="cuda")
    found = explain(TEXTS, classifier, method=method, target="yes")
    for here, there in zip(expected, found, strict=True):
        np.testing.assert_allclose(there.attributions, here.attributions, atol=2e-3)
