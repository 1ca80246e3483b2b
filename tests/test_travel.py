"""Pickles that travel: what is in them, where they load, and which weights they accept (law 6, "After fit")."""

from __future__ import annotations

import copy
import json
import os
import pickle
import pickletools
import shutil
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skbert import BertEmbedder, BertSentimentClassifier, HeadClassifier, TextCleaner
from skbert._base import STATE_FORMAT
from skbert._engine.sources import resolve_model
from skbert.datasets import load_sample_tweets
from skbert.exceptions import FingerprintError, ModelNotFoundError, SkbertError, StateFormatError
from tests._models import build_tiny_model
from tests.test_classifier import HEAD, sentences

X, Y = sentences(80)
OLD = Path(__file__).parent / "data" / "pickle_format_1.pkl"
OUTSIDE_THE_HEAD = 100_000  # bytes
needs_numpy_2 = pytest.mark.skipif(np.__version__.startswith("1."), reason="the file holds arrays of NumPy 2")

# Another interpreter, which imports nothing of the tests. It takes pairs of a file to load and a file to write.
PREDICT = """
import pickle, sys, joblib, numpy
for source, target in zip(sys.argv[1::2], sys.argv[2::2]):
    load = joblib.load if source.endswith("joblib") else lambda path: pickle.load(open(path, "rb"))
    estimator, X = load(source)
    numpy.save(target, estimator.predict_proba(X))
import torch
assert not torch.cuda.is_available()
"""


def bytes_of_head(head: HeadClassifier) -> int:
    return sum(array.nbytes for array in [*head.coefs_, *head.intercepts_])


def in_another_process(folder, *travellers):
    """Return the probabilities that a fresh process gives, without a GPU and with an empty store.

    A traveller is an estimator, texts, and "pickle" or "joblib".
    """
    names = []
    for k, (estimator, texts, kind) in enumerate(travellers):
        names += [str(folder / f"{k}.{kind}"), str(folder / f"{k}.npy")]
        (joblib.dump if kind == "joblib" else _pickle)((estimator, texts), names[-2])
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, "-c", PREDICT, *names], check=True, env=environment, timeout=240)
    return [np.load(name) for name in names[1::2]]


def _pickle(what, path):
    Path(path).write_bytes(pickle.dumps(what))


@pytest.fixture
def movable(tiny_bert_folder, tmp_path):
    """Return a model's folder that a test may move and change."""
    return Path(shutil.copytree(tiny_bert_folder, tmp_path / "here"))


def classifier_on(folder, **params):
    return BertSentimentClassifier(BertEmbedder(folder, device="cpu", cache=None, **params), **HEAD)


# -- what is in a pickle, and where it loads -----------------------------------------------------------------------


def test_a_fitted_pipeline_of_the_real_model_is_small_and_predicts_elsewhere(minilm, tmp_path):
    """Under 100 kB beside the head's weights; the same bits in a fresh process with an empty store and no GPU."""
    texts, labels = load_sample_tweets(return_X_y=True)
    texts, labels = list(texts[:100]), labels[:100]
    classifier = BertSentimentClassifier(BertEmbedder(minilm, cache=None, device="cpu"), max_iter=5, random_state=0)
    pipeline = make_pipeline(TextCleaner(), classifier).fit(texts, labels)
    assert len(pickle.dumps(pipeline)) < OUTSIDE_THE_HEAD + bytes_of_head(classifier.head_)
    expected = pipeline.predict_proba(texts[:40])
    same, other = in_another_process(tmp_path, (pipeline, texts[:40], "joblib"), (pipeline, texts[20:60], "pickle"))
    assert np.array_equal(same, expected)
    np.testing.assert_allclose(other[:20], expected[20:], atol=1e-5)


def test_every_shape_of_pipeline_travels(tiny_bert_folder, tmp_path):
    """An embedder before any classifier as well as the classifier of texts, by pickle and by joblib."""
    embedder = BertEmbedder(tiny_bert_folder, cache=None, device="cpu")
    endings = [[BertSentimentClassifier(embedder, **HEAD)], [embedder, LogisticRegression()]]
    pipelines = [make_pipeline(TextCleaner(), *steps).fit(X, Y) for steps in endings]
    travellers = [(pipeline, X, kind) for pipeline in pipelines for kind in ("pickle", "joblib")]
    for (pipeline, _, kind), found in zip(travellers, in_another_process(tmp_path, *travellers), strict=True):
        assert np.array_equal(found, pipeline.predict_proba(X)), (pipeline, kind)


def test_a_pickle_names_no_module_of_torch_and_no_private_helper(tiny_bert_folder):
    """Only public names, as skbert.TextCleaner: files within skbert may move without breaking pickles."""
    classifier = classifier_on(tiny_bert_folder).partial_fit(X, Y, classes=["negative", "positive"])
    pipeline = make_pipeline(TextCleaner(stop_words=["the"]), classifier)
    strings = [arg for _, arg, _ in pickletools.genops(pickle.dumps(pipeline)) if isinstance(arg, str)]
    assert not [name for name in strings if name.startswith(("torch", "transformers", "tokenizers"))]
    assert {name for name in strings if name.startswith("skbert")} == {"skbert"}
    pickled = pickle.dumps(pipeline.fit(X, Y))  # without the optimiser's memory, which partial_fit keeps
    assert len(pickled) < bytes_of_head(pipeline[-1].head_) + 20_000


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies_predict_the_same(tiny_bert_folder, copied):
    """A copy goes the way of a pickle, without leaving traces on the estimator."""
    classifier = classifier_on(tiny_bert_folder).fit(X, Y)
    before = set(vars(classifier))
    again = copied(classifier)
    assert set(vars(again)) == set(vars(classifier)) == before
    assert np.array_equal(again.predict_proba(X), classifier.predict_proba(X))


# -- weights that are gone, moved, replaced ------------------------------------------------------------------------


def test_weights_that_are_gone_are_an_error_that_names_them(movable):
    """Loading succeeds, use does not; what was tried and the ways out are said."""
    pickled = pickle.dumps(classifier_on(movable).fit(X, Y))
    shutil.rmtree(movable)
    with pytest.raises(ModelNotFoundError, match=r"(?s)here.*could not be had.*ways out"):
        pickle.loads(pickled).predict(X)


@pytest.mark.parametrize("kind", [str, Path])
def test_weights_that_have_moved_are_pointed_at_without_a_refit(movable, tmp_path, kind):
    """`set_params` on the embedder of the classifier, or of a pipeline, and the bits are those of the fit."""
    pipeline = make_pipeline(TextCleaner(), classifier_on(movable)).fit(X, Y)
    expected, pickled = pipeline.predict_proba(X), pickle.dumps(pipeline)
    there = shutil.move(movable, tmp_path / "there")
    again = pickle.loads(pickled).set_params(bertsentimentclassifier__embedder__model=kind(there))
    assert np.array_equal(again.predict_proba(X), expected)


def test_weights_that_were_replaced_are_refused_with_both_fingerprints(movable, tmp_path):
    """In the folder of the fit and under another path alike; a refit takes them."""
    classifier = classifier_on(movable).fit(X, Y)
    pickled, before = pickle.dumps(classifier), resolve_model(movable).fingerprint
    other = build_tiny_model(tmp_path / "other", "bert", seed=3)
    now = resolve_model(other).fingerprint
    pointed = pickle.loads(pickled).set_params(embedder__model=other)
    shutil.copy(other / "model.safetensors", movable / "model.safetensors")
    replaced = pickle.loads(pickled)
    for again in (pointed, replaced, classifier):
        with pytest.raises(FingerprintError, match=f"(?s){before}.*{now}.*fit again"):
            again.predict(X)
        assert again.fit(X, Y).embedder_.fingerprint_ == now
        assert again.predict(X).shape == (80,)


SENTENCE_FILES = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ],
    "1_Pooling/config.json": {"pooling_mode_max_tokens": True},
    "sentence_bert_config.json": {"max_seq_length": 12},
    "config_sentence_transformers.json": {"prompts": {"query": "who: "}, "default_prompt_name": "query"},
}


@pytest.mark.parametrize("change", [*SENTENCE_FILES, "all"])
@pytest.mark.filterwarnings("ignore::skbert.exceptions.TruncationWarning")
def test_what_auto_and_none_meant_travels_with_the_fit(movable, tmp_path, change):
    """The same weights without the files that say pooling, scale, length and prompt, or with others: the same bits."""
    for name, content in SENTENCE_FILES.items():
        (movable / name).parent.mkdir(exist_ok=True)
        (movable / name).write_text(json.dumps(content))
    there = Path(shutil.copytree(movable, tmp_path / "there"))
    for name in SENTENCE_FILES if change == "all" else [change]:
        (there / name).unlink()
    if change == "1_Pooling/config.json":  # which cannot be missing
        (there / change).write_text(json.dumps({"pooling_mode_cls_token": True}))
    texts = [*X, "what a night it was and nobody had a good answer to the question"]
    labels = [*Y, "positive"]
    embedder = BertEmbedder(movable, device="cpu", cache=None)
    for model in (BertSentimentClassifier(embedder, **HEAD), make_pipeline(embedder, LogisticRegression())):
        expected = model.fit(texts, labels).predict_proba(texts)
        again = pickle.loads(pickle.dumps(model))
        place = "embedder__model" if hasattr(again, "embedder") else "bertembedder__model"
        assert np.array_equal(again.set_params(**{place: there}).predict_proba(texts), expected)
        if change != "sentence_bert_config.json":  # which says next to nothing about texts this short
            assert np.abs(again.fit(texts, labels).predict_proba(texts) - expected).max() > 1e-6  # a refit asks anew


def test_another_configuration_is_another_model(movable):
    """The same weights under another activation make other vectors."""
    classifier = classifier_on(movable).fit(X, Y)
    path = movable / "config.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"gelu"', '"relu"'), encoding="utf-8")
    with pytest.raises(FingerprintError, match="config:"):
        pickle.loads(pickle.dumps(classifier)).predict(X)


def test_another_tokenizer_is_another_model(movable):
    """The same weights with another vocabulary would read other words."""
    classifier = classifier_on(movable).fit(X, Y)
    path = movable / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"great"', '"grand"'), encoding="utf-8")
    with pytest.raises(FingerprintError):
        pickle.loads(pickle.dumps(classifier)).predict(X)


def test_what_identifies_a_vector_travels_with_the_fit(tiny_bert_folder):
    """Pooling and layers set on a loaded classifier's embedder wait for the next fit; batch size takes effect."""
    classifier = classifier_on(tiny_bert_folder, pooling="mean").fit(X, Y)
    again = pickle.loads(pickle.dumps(classifier))
    again.set_params(embedder__pooling="max", embedder__layers=0, embedder__batch_tokens=64)
    np.testing.assert_allclose(again.predict_proba(X), classifier.predict_proba(X), atol=1e-5)
    assert np.abs(again.fit(X, Y).predict_proba(X) - classifier.predict_proba(X)).max() > 1e-3


# -- format numbers ------------------------------------------------------------------------------------------------


@needs_numpy_2
def test_a_pickle_of_the_previous_format_still_predicts(minilm):
    """A file that the first format wrote: without a number, and before rooms were moved. Its predictions are in it."""
    with OLD.open("rb") as file:
        old = pickle.load(file)
    np.testing.assert_allclose(old["pipeline"].predict_proba(old["texts"]), old["proba"], atol=1e-5)
    assert np.array_equal(old["head"].predict_proba(old["rows"]), old["head_proba"])
    assert old["embedder"].transform(old["texts"]).shape == (3, 384)
    assert old["cleaner"].transform(["RT @a: hi"]) == ["hi"]


@needs_numpy_2
def test_an_old_head_goes_on_learning():
    """What an upgrade rewrites is what partial_fit needs."""
    with OLD.open("rb") as file:
        old = pickle.load(file)
    head, rows = old["head"], old["rows"]
    assert type(head._moments) is tuple
    seen = head.n_iter_
    head.partial_fit(rows, head.predict(rows))
    assert head.n_iter_ == seen + 1


class Newer(HeadClassifier):
    """Writes what a skbert of the future might."""

    def __getstate__(self):
        return {**super().__getstate__(), "_skbert_format": STATE_FORMAT + 1}


def test_a_pickle_of_a_newer_format_is_refused_with_both_numbers():
    """A half-understood state would predict something else."""
    pickled = pickle.dumps(Newer())
    with pytest.raises(StateFormatError, match=rf"format {STATE_FORMAT + 1}, .* 1 to {STATE_FORMAT}. Install") as error:
        pickle.loads(pickled)
    assert isinstance(error.value, SkbertError)


def test_a_fit_on_vectors_of_another_recipe_is_refused(tiny_bert_folder, monkeypatch):
    """Where a newer skbert makes other vectors of the same weights, an earlier fit does not fit them."""
    pickled = pickle.dumps(classifier_on(tiny_bert_folder).fit(X, Y))
    monkeypatch.setattr("skbert._embedder.embedder.FORMAT", 7)
    again = pickle.loads(pickled)
    with pytest.raises(FingerprintError, match=r"recipe 1, .* recipe 7.*Fit again"):
        again.predict(X)
    assert again.fit(X, Y).predict(X).shape == (80,)


def test_a_pickle_of_a_pickle_stays_the_same(tiny_bert_folder):
    """Nothing is added or lost on the way through many processes."""
    once = pickle.loads(pickle.dumps(classifier_on(tiny_bert_folder).fit(X, Y)))
    twice = pickle.loads(pickle.dumps(once))
    for one, two in ((once, twice), (once.head_, twice.head_), (once.embedder_, twice.embedder_)):
        assert list(vars(one)) == list(vars(two))
    assert np.array_equal(twice.predict_proba(X), once.predict_proba(X))
