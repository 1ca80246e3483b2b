"""Integrated gradients: what the parts sum to, an independent walk along the line, and what stays out of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from skbert import BertEmbedder, BertSentimentClassifier, release_models
from skbert._engine import registry
from skbert._engine.plain import PlainModel
from skbert._head.differentiable import log_odds
from skbert.exceptions import ModelFilesError, SkbertWarning
from skbert.inspection import _gradients, attention
from skbert.inspection._gradients import integrated_gradients
from tests._models import FAMILIES

TEXTS = [
    "a good debate and a fair question",
    "what a terrible, boring evening!",
    "the moderator asked about the economy",
    "lies, lies, lies",
    "great answer, he was honest and funny",
    "bad jokes and no policy at all",
]
LABELS = ["good", "bad", "even", "bad", "good", "bad"]
PAIRS = list(zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True))


def fitted(folder, X=TEXTS, y=LABELS, head=None, **embedder):
    """Return a classifier with a wide head that has learned something of these few texts."""
    settings = {"random_state": 0, "hidden_layer_sizes": (16,), "early_stopping": False, "max_iter": 30} | (head or {})
    return BertSentimentClassifier(BertEmbedder(folder, **embedder), **settings).fit(X, y)


def expected_log_odds(classifier, X, targets):
    """Return the log-odds by what the classifier itself says."""
    p = classifier.predict_proba(X)
    rows = np.arange(len(p))
    others = [np.delete(row, target).sum() for row, target in zip(p, targets, strict=True)]
    return np.log(p[rows, targets]) - np.log(others)


def check_sums(found, expected):
    """The ends are the classifier's own, and the parts sum to their difference within 2 % of max(1, it)."""
    for parts, value in zip(found, expected, strict=True):
        assert abs(parts.log_odds - value) <= 1e-4 * max(1, abs(value))
        difference = parts.log_odds - parts.baseline_log_odds
        assert abs(parts.values.sum() - difference) <= 0.02 * max(1, abs(difference))


@pytest.mark.parametrize("n_heads", [1, 3])
@pytest.mark.parametrize("sizes", [(), (8,), (8, 6)])
@pytest.mark.parametrize("labels", [LABELS, [label == "good" for label in LABELS]])
def test_the_head_answers_the_same_with_gradients(tiny_bert_folder, n_heads, sizes, labels):
    """Log-odds of every class equal those of predict_proba, and their gradients the quotients of differences."""
    head = {"n_heads": n_heads, "hidden_layer_sizes": sizes, "early_stopping": True, "validation_fraction": 0.4}
    X = [f"{text} {end}" for end in ("now", "today", "tonight") for text in TEXTS]
    classifier = fitted(tiny_bert_folder, X, labels * 3, head=head)
    vectors = torch.from_numpy(classifier.embedder_.transform(TEXTS)).double().requires_grad_()
    for target in range(len(classifier.classes_)):
        targets = torch.full((len(TEXTS),), target)
        found = log_odds(classifier.head_, vectors, targets)
        np.testing.assert_allclose(
            found.detach(), expected_log_odds(classifier, TEXTS, np.full(len(TEXTS), target)), rtol=1e-9, atol=1e-9
        )
        (slopes,) = torch.autograd.grad(found.sum(), vectors)
        way = torch.randn(vectors.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 1e-6
        ahead, behind = (log_odds(classifier.head_, vectors.detach() + sign * way, targets) for sign in (1, -1))
        np.testing.assert_allclose((slopes * way).sum(dim=1), (ahead - behind) / 2, rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_parts_sum_to_the_difference(tiny_model, family):
    """In every family, for texts and for pairs, with several layers side by side."""
    folder = str(tiny_model(family))
    for X in (TEXTS, PAIRS):
        classifier = fitted(folder, X, layers=(-2, -1))
        targets = classifier.predict_proba(X).argmax(axis=1)
        check_sums(integrated_gradients(classifier, X, targets), expected_log_odds(classifier, X, targets))


@pytest.mark.parametrize(
    "embedder",
    [
        {"pooling": "cls"},
        {"pooling": "max", "layers": (0, 1, -1)},
        {"pooling": "pooler"},
        {"normalize": True, "layers": (-2, -1), "pooling": "mean"},
        {"max_length": 6, "long_texts": "truncate"},
        {"max_length": 6, "long_texts": "head_tail"},
        {"max_length": 6, "long_texts": "chunk"},
        {"max_length": 6, "long_texts": "chunk", "pooling": "max"},
        {"prompt": "the question: "},
    ],
    ids=str,
)
def test_whatever_the_embedder_does_is_on_the_way(tiny_bert_folder, embedder):
    """Pooling, normalisation, cuts, chunks and prompts are those of the classifier's own vectors."""
    classifier = fitted(tiny_bert_folder, **embedder)
    targets = classifier.predict_proba(TEXTS).argmax(axis=1)
    check_sums(integrated_gradients(classifier, TEXTS, targets), expected_log_odds(classifier, TEXTS, targets))


def test_an_independent_walk_gives_the_same_parts(tiny_bert_folder):
    """500 steps of the midpoint rule with plain transformers, one text at a time, piece by piece."""
    classifier = fitted(tiny_bert_folder, pooling="mean", normalize=False)
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert_folder)
    model = AutoModel.from_pretrained(tiny_bert_folder).eval().requires_grad_(False)
    words, head = model.get_input_embeddings(), classifier.head_
    targets = classifier.predict_proba(TEXTS).argmax(axis=1)
    found = integrated_gradients(classifier, TEXTS, targets)
    for text, target, parts in zip(TEXTS, targets, found, strict=True):
        ids = tokenizer(text, return_tensors="pt").input_ids
        blank = torch.full_like(ids, tokenizer.pad_token_id)
        blank[0, 0], blank[0, -1] = ids[0, 0], ids[0, -1]
        way = words(ids) - words(blank)
        total = torch.zeros(ids.shape[1])
        for step in range(500):
            point = (words(blank) + (step + 0.5) / 500 * way).requires_grad_()
            vector = model(inputs_embeds=point).last_hidden_state.mean(dim=1)
            (slope,) = torch.autograd.grad(log_odds(head, vector, torch.tensor([target])).sum(), point)
            total += (slope * way).sum(dim=2)[0] / 500
        difference = max(1, abs(parts.log_odds - parts.baseline_log_odds))
        assert total[0] == total[-1] == 0
        np.testing.assert_allclose(parts.values, total[1:-1], atol=0.03 * difference)


def test_the_prompt_and_what_is_cut_get_nothing(tiny_bert_folder):
    """Neither is on the line from the baseline to the text, so all of the difference falls to what is read of it."""
    classifier = fitted(tiny_bert_folder, prompt="the question: ", max_length=9, long_texts="truncate")
    (parts,) = integrated_gradients(classifier, [TEXTS[0]], [0])
    aside = (parts.spans[:, 1] == 0) | (np.arange(len(parts.values)) >= 7)
    assert aside.sum() == 3 + 3
    assert (parts.values[aside] == 0).all()
    assert (parts.values[~aside] != 0).all()


def test_a_text_of_many_chunks_takes_another_way_to_the_same_parts(tiny_bert_folder, monkeypatch):
    """Where one text has more tokens than a forward may have, it goes twice through the model, part by part."""
    classifier = fitted(tiny_bert_folder, max_length=6, long_texts="chunk", normalize=True, layers=(1, 2))
    text = " ".join(TEXTS)
    (whole,) = integrated_gradients(classifier, [text], [0])
    sizes = []
    states = PlainModel.states
    monkeypatch.setattr(_gradients, "auto_batch_tokens", lambda device, width: 12)
    monkeypatch.setattr(
        PlainModel, "states", lambda self, *args: sizes.append(args[0].shape[:2].numel()) or states(self, *args)
    )
    (in_parts,) = integrated_gradients(classifier, [text], [0])
    assert max(sizes) == 12
    np.testing.assert_allclose(in_parts.values, whole.values, atol=1e-5)


def test_companions_change_nothing(tiny_bert_folder):
    """A text alone and beside others gets the same parts, though the others are longer and share its batches."""
    classifier = fitted(tiny_bert_folder)
    together = integrated_gradients(classifier, TEXTS, [0] * len(TEXTS))
    for text, beside in zip(TEXTS, together, strict=True):
        (alone,) = integrated_gradients(classifier, [text], [0])
        assert alone.n_steps == beside.n_steps
        np.testing.assert_allclose(alone.values, beside.values, atol=2e-5)


def test_steps_double_until_the_sum_is_right_and_no_further(tiny_bert_folder, monkeypatch):
    """A tighter bound takes more steps; where the last of them do not suffice, the text is named."""
    classifier = fitted(tiny_bert_folder)
    coarse = integrated_gradients(classifier, TEXTS, [0] * len(TEXTS))
    monkeypatch.setattr(_gradients, "_TOLERANCE", 2e-3)
    fine = integrated_gradients(classifier, TEXTS, [0] * len(TEXTS))
    assert all(a.n_steps <= b.n_steps for a, b in zip(coarse, fine, strict=True))
    assert sum(b.n_steps for b in fine) > sum(a.n_steps for a in coarse)
    for parts in fine:
        difference = parts.log_odds - parts.baseline_log_odds
        assert abs(parts.values.sum() - difference) <= 2e-3 * max(1, abs(difference))
    monkeypatch.setattr(_gradients, "_TOLERANCE", -1.0)
    monkeypatch.setattr(_gradients, "_MOST_STEPS", 16)
    with pytest.warns(SkbertWarning, match=r"of 2 text\(s\) do not sum .* after 16 steps"):
        integrated_gradients(classifier, TEXTS[:2], [0, 0])


def test_a_model_that_takes_no_embeddings_is_refused_by_name(tiny_bert_folder, monkeypatch):
    """One that gives other states from them would be explained wrongly."""
    classifier = fitted(tiny_bert_folder)
    states = PlainModel.states
    monkeypatch.setattr(PlainModel, "states", lambda self, *args: tuple(1.01 * state for state in states(self, *args)))
    release_models()
    with pytest.raises(ModelFilesError, match=r"a BertModel, gives no states, or others.*method='leave_one_out'"):
        integrated_gradients(classifier, TEXTS, [0] * len(TEXTS))
    release_models()


def test_nothing_of_it_stays_behind(tiny_bert_folder, global_state):
    """No gradient in the model, no global setting; release_models frees the plain form too."""
    classifier = fitted(tiny_bert_folder)
    integrated_gradients(classifier, TEXTS[:2], [0, 0])
    ((_, plain),) = registry._plain.values()
    assert all(weights.grad is None and not weights.requires_grad for weights in plain._model.parameters())
    release_models()
    assert not registry._plain
    assert not registry._readers


@pytest.mark.gpu
def test_the_parts_are_the_same_on_a_gpu(tiny_bert_folder):
    """In float32 on both, and in float32 too where the embedder computes in halves."""
    classifier = fitted(tiny_bert_folder)
    expected = integrated_gradients(classifier, TEXTS, [0] * len(TEXTS))
    for dtype in ("float32", "bfloat16"):
        classifier.set_params(embedder__device="cuda")
        classifier.embedder_.set_params(dtype=dtype)
        for here, there in zip(expected, integrated_gradients(classifier, TEXTS, [0] * len(TEXTS)), strict=True):
            np.testing.assert_allclose(there.values, here.values, atol=1e-3)


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "bert"])
def test_padding_that_somebody_wrote_is_read_as_ever(tiny_model, family):
    """Some families give "<pad>" no position of its own; so it is here, as on the way to vectors."""
    folder = str(tiny_model(family))
    texts = [text.replace(" ", f" {AutoTokenizer.from_pretrained(folder).pad_token} ", 1) for text in TEXTS]
    classifier = fitted(folder)
    found = integrated_gradients(classifier, texts, [0] * len(texts))
    check_sums(found, expected_log_odds(classifier, texts, [0] * len(texts)))


@pytest.mark.parametrize(
    "mode",
    [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)],
    ids=["no_grad", "inference_mode", "autocast"],
)
def test_the_users_own_modes_change_nothing(tiny_bert_folder, mode):
    """Also where the model is loaded within them."""
    classifier = fitted(tiny_bert_folder)
    expected = integrated_gradients(classifier, TEXTS, [0] * len(TEXTS))
    for is_loaded in (True, False):
        if not is_loaded:
            release_models()
        with mode():
            found = integrated_gradients(classifier, TEXTS, [0] * len(TEXTS))
        for here, there in zip(expected, found, strict=True):
            np.testing.assert_array_equal(there.values, here.values)
    release_models()


@pytest.mark.parametrize("long_texts", ["truncate", "chunk"])
def test_short_memory_halves_the_batch_and_changes_nothing(tiny_bert_folder, monkeypatch, long_texts):
    """What does not fit is tried in halves, later batches stay as small; one sequence that does not fit is an error."""
    classifier = fitted(tiny_bert_folder, max_length=9, long_texts=long_texts)
    texts = [*TEXTS, " ".join(TEXTS)]
    expected = integrated_gradients(classifier, texts, [0] * len(texts))
    states, most = PlainModel.states, [40]
    failed, sizes = [], []

    def short(self, embeddings, *args):
        size = embeddings.shape[:2].numel()
        if size > most[0]:
            failed.append(size)
            msg = "CUDA out of memory"
            raise torch.OutOfMemoryError(msg)
        sizes.append(size)
        return states(self, embeddings, *args)

    monkeypatch.setattr(PlainModel, "states", short)
    found = integrated_gradients(classifier, texts, [0] * len(texts))
    for here, there in zip(expected, found, strict=True):
        np.testing.assert_allclose(there.values, here.values, atol=2e-5)
    assert 0 < len(failed) < 8 < len(sizes)
    most[0] = 3
    with pytest.raises(torch.OutOfMemoryError):
        integrated_gradients(classifier, texts, [0] * len(texts))


def test_a_batch_has_no_more_tokens_than_the_embedder_allows(tiny_bert_folder, monkeypatch):
    """`batch_tokens` counts here too, padding included only where one text alone is longer."""
    classifier = fitted(tiny_bert_folder, batch_tokens=24)
    states, sizes = PlainModel.states, []
    monkeypatch.setattr(
        PlainModel, "states", lambda self, *args: sizes.append(int(args[3].sum())) or states(self, *args)
    )
    integrated_gradients(classifier, TEXTS, [0] * len(TEXTS))
    assert max(sizes) <= 24


def test_short_memory_is_no_trait_of_the_model(tiny_bert_folder, monkeypatch):
    """The model is not refused for it, neither at once nor when there is memory again."""
    classifier = fitted(tiny_bert_folder)
    release_models()
    run = PlainModel._run

    def short(self, *args, **kwargs):
        msg = "DefaultCPUAllocator: can't allocate memory"
        raise RuntimeError(msg)

    monkeypatch.setattr(PlainModel, "_run", short)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="can't allocate"):
            integrated_gradients(classifier, TEXTS, [0] * len(TEXTS))
        with pytest.raises(RuntimeError, match="can't allocate"):
            attention(TEXTS[0], classifier)
    monkeypatch.setattr(PlainModel, "_run", run)
    integrated_gradients(classifier, TEXTS[:1], [0])
    assert attention(TEXTS[0], classifier).weights.ndim == 4
