"""A bundle is the estimator: the same predictions elsewhere, later, and without the model that it was fitted with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.ensemble import VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union

from skbert import (
    BertEmbedder,
    BertSentimentClassifier,
    DiskStore,
    HeadClassifier,
    MemoryStore,
    TextCleaner,
)
from skbert._bundle import load_bundle, save_bundle
from skbert.exceptions import CacheWarning
from tests._bundles import FEW, X, Y, classifier, embedder, fresh_proba, names_in, same_bits
from tests._models import build_tiny_model

ROOT = Path(__file__).parents[1]


@pytest.fixture
def model(tmp_path):
    """Return a folder with a model of this test's own, which the test may remove."""
    return build_tiny_model(tmp_path / "model", seed=5)


# -- elsewhere -----------------------------------------------------------------------------------------------------

ELSEWHERE = """
import sys
seen = []
def watch(event, args):
    if event in ("pickle.find_class", "os.system", "subprocess.Popen") or event.startswith("socket.connect"):
        seen.append(event)
sys.addaudithook(watch)
import numpy, torch
from skbert import clear_cache
from skbert._bundle import load_bundle
assert not torch.cuda.is_available()
seen.clear()
for folder, texts, out in zip(sys.argv[1::3], sys.argv[2::3], sys.argv[3::3]):
    estimator = load_bundle(folder)
    clear_cache()
    numpy.save(out, estimator.predict_proba(numpy.load(texts).tolist()))
assert seen == [], seen
"""


def test_the_same_bits_in_a_fresh_process_without_the_model(model, tmp_path):
    """The bundles were moved, the model is gone, no GPU, no network, and nothing is unpickled."""
    pipelines = [
        make_pipeline(TextCleaner(stop_words={"the", "a"}), classifier(model, layers=(1, 2))),
        make_pipeline(TextCleaner(), embedder(model), LogisticRegression()),
        make_pipeline(make_union(TfidfVectorizer(), embedder(model)), LogisticRegression()),
    ]
    np.save(tmp_path / "texts.npy", np.array(X))
    expected, arguments = [], []
    for number, pipeline in enumerate(pipelines):
        expected.append(fresh_proba(pipeline.fit(X, Y)))
        saved = save_bundle(pipeline, tmp_path / f"here{number}")
        moved = shutil.move(saved, tmp_path / f"there{number}")
        arguments += [str(moved), str(tmp_path / "texts.npy"), str(tmp_path / f"out{number}.npy")]
    shutil.rmtree(model)
    path = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(ROOT)])
    finished = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert finished.returncode == 0, finished.stderr
    for number, wanted in enumerate(expected):
        assert same_bits(np.load(tmp_path / f"out{number}.npy"), wanted), f"pipeline {number}"


def test_nothing_in_a_bundle_is_a_pickle(model, tmp_path):
    """No file, and no member of a skops file, begins as pickles and torch's files do, or is called so."""
    pipeline = make_pipeline(TextCleaner(), embedder(model), VotingClassifier([("a", LogisticRegression())]))
    (model / "pytorch_model.bin").write_bytes(b"\x80\x04N.")  # beside the model, and left there
    (model / "tokenizer.pkl").write_bytes(b"\x80\x04N.")
    (model / "modeling_own.py").write_text("raise SystemExit")
    folder = save_bundle(pipeline.fit(X, Y), tmp_path / "bundle")
    contents = {name: (folder / name).read_bytes() for name in names_in(folder)}
    with zipfile.ZipFile(folder / "parts/0.skops") as archive:
        contents |= {name: archive.read(name) for name in archive.namelist()}
    assert {Path(name).suffix for name in contents} == {".json", ".safetensors", ".skops", ".npy"}
    assert not [name for name, content in contents.items() if content.startswith(b"\x80")]
    assert not [name for name, content in contents.items() if name.endswith(".npy") and b"'O'" in content[:128]]


# -- what comes back -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("kind", ["embedder", "classifier", "cleaner", "head", "pipeline"])
def test_parameters_and_attributes_come_back(kind, fitted, tiny_bert_folder, tmp_path):
    """Each of skbert's estimators, fitted or not, has the state that it had; only `model` is the copy's folder."""
    estimator = {
        "embedder": embedder(tiny_bert_folder, layers=[0, 1], prompt="q: ", store_layers="all", max_length=20),
        "classifier": BertSentimentClassifier(
            embedder(tiny_bert_folder), class_weight={"nice": 2.0, "nasty": 1}, **FEW
        ),
        "cleaner": TextCleaner(stop_words=("a", "of"), numbers="drop", repeated_chars=None),
        "head": HeadClassifier(hidden_layer_sizes=np.array([4, 3]), n_heads=2, **FEW),
        "pipeline": make_pipeline("passthrough", TextCleaner(), None, classifier(tiny_bert_folder), memory="steps"),
    }[kind]
    if kind == "pipeline":
        estimator.set_params(memory=None, verbose=False)
    rows = np.random.default_rng(0).normal(size=(24, 5)) if kind == "head" else X
    if fitted:
        estimator.fit(rows, Y)
    folder = save_bundle(estimator, tmp_path / "bundle")
    loaded = load_bundle(folder)
    model = str(folder / "encoders" / "0") if kind in ("embedder", "classifier", "pipeline") else None
    assert_same(loaded, estimator, model)
    if kind in ("classifier", "head", "pipeline") and fitted:
        assert same_bits(loaded.predict_proba(rows), estimator.predict_proba(rows))


def assert_same(loaded, saved, model, where="estimator"):
    """Compare types and values all the way down; `model` stands for every embedder's."""
    assert type(loaded) is type(saved), where
    if isinstance(saved, np.ndarray):
        assert loaded.dtype == saved.dtype, where
        assert np.array_equal(loaded, saved), where
        assert loaded.flags.writeable, where
    elif isinstance(saved, list | tuple):
        assert len(loaded) == len(saved), where
        for number, (a, b) in enumerate(zip(loaded, saved, strict=True)):
            assert_same(a, b, model, f"{where}[{number}]")
    elif hasattr(saved, "get_params"):
        assert list(vars(loaded)) == list(vars(saved)), where
        for name, value in vars(saved).items():
            expected = model if isinstance(saved, BertEmbedder) and name == "model" else value
            assert_same(getattr(loaded, name), expected, model, f"{where}.{name}")
    else:
        assert loaded == saved, where


def test_the_estimator_is_not_changed(model, tmp_path):
    """Saving looks, and touches nothing: the classifier, its embedders, a voting's members."""
    inner = classifier(model, cache=tmp_path / "vectors")
    voting = VotingClassifier([("a", inner), ("b", make_pipeline(embedder(model), LogisticRegression()))]).fit(X, Y)
    before = {name: repr(value) for name, value in voting.get_params().items()}
    fitted = voting.estimators_[0].embedder_
    save_bundle(voting, tmp_path / "bundle")
    assert {name: repr(value) for name, value in voting.get_params().items()} == before
    assert fitted.model == str(model)
    assert fitted.cache == tmp_path / "vectors"


def test_training_goes_on_where_it_stood(tmp_path):
    """partial_fit after loading gives the bits that it gives without: optimiser, moments and curves are there."""
    rows = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)
    labels = np.arange(40) % 3
    head = HeadClassifier(**FEW).partial_fit(rows, labels, classes=[0, 1, 2]).partial_fit(rows, labels)
    loaded = load_bundle(save_bundle(head, tmp_path / "bundle"))
    assert same_bits(
        loaded.partial_fit(rows, labels).predict_proba(rows), head.partial_fit(rows, labels).predict_proba(rows)
    )


@pytest.mark.parametrize("labels", [np.array(Y), np.array(Y, dtype=object), np.arange(24) % 3, np.arange(24) > 11])
def test_labels_keep_their_dtype(labels, tmp_path):
    """Text, objects, integers and booleans."""
    rows = np.random.default_rng(2).normal(size=(24, 3))
    head = HeadClassifier(**FEW).fit(rows, labels)
    loaded = load_bundle(save_bundle(head, tmp_path / "bundle"))
    assert loaded.predict(rows).dtype == head.predict(rows).dtype == labels.dtype
    assert loaded.predict(rows).tolist() == head.predict(rows).tolist()


def test_what_was_asked_of_scikit_learn_is_kept(tiny_bert_folder, tmp_path):
    """`set_fit_request` and `set_output`, of a step too."""
    with sklearn.config_context(enable_metadata_routing=True):
        asked = classifier(tiny_bert_folder).set_fit_request(sample_weight=True).set_score_request(sample_weight="w")
    pipeline = make_pipeline(TextCleaner().set_output(transform="pandas"), asked)
    loaded = load_bundle(save_bundle(pipeline, tmp_path / "bundle"))
    assert repr(loaded[-1].get_metadata_routing()) == repr(asked.get_metadata_routing())
    assert "'sample_weight': True" in repr(loaded[-1].get_metadata_routing())
    assert isinstance(loaded[0].fit_transform(X), pd.DataFrame)


@pytest.mark.skipif(
    not hasattr(TextCleaner, "set_callbacks") and not hasattr(HeadClassifier, "set_callbacks"),
    reason="scikit-learn below 1.9",
)
def test_callbacks_are_no_part_of_what_was_learned(tmp_path):
    """They are left out, whatever they hold, and stay where they are."""
    from sklearn.callback import ProgressBar

    bar = ProgressBar()
    bar.unlike_anything = (number for number in range(3))  # cannot be copied
    head = HeadClassifier(**FEW).set_callbacks(bar)
    loaded = load_bundle(save_bundle(make_pipeline(head), tmp_path / "bundle"))
    assert not [name for name in vars(loaded[0]) if "callbacks" in name]
    assert head._skl_callbacks == [bar]


def test_stores_come_back_empty_or_as_their_folder(tiny_bert_folder, tmp_path):
    """A MemoryStore's vectors stay at home, a DiskStore's stay in its folder, and a path stays the path it was."""
    caches = [None, "memory", MemoryStore(10**6), DiskStore(tmp_path / "v", 10**7), str(tmp_path / "w"), tmp_path / "x"]
    embedders = [embedder(tiny_bert_folder, cache=cache) for cache in caches]
    expected = embedders[2].transform(X)
    folder = save_bundle(make_pipeline(*embedders), tmp_path / "bundle")
    loaded = [step.cache for _, step in load_bundle(folder).steps]
    assert loaded[:2] == [None, "memory"]
    assert isinstance(loaded[2], MemoryStore)
    assert (loaded[2].max_bytes, loaded[2].info().vectors) == (10**6, 0)
    assert (loaded[3].folder, loaded[3].max_bytes) == (tmp_path / "v", 10**7)
    assert loaded[4:] == [str(tmp_path / "w"), str(tmp_path / "x")]
    assert same_bits(load_bundle(folder)[2].transform(X), expected)


def test_a_cache_folder_that_cannot_be_made_there_costs_time_only(model, tmp_path):
    """The machine that loads may have no such place: one warning, and the same predictions."""
    fitted = classifier(model, cache=None).fit(X, Y)
    expected = fitted.predict_proba(X)
    folder = save_bundle(fitted.set_params(embedder__cache=str(tmp_path / "place" / "vectors")), tmp_path / "bundle")
    (tmp_path / "place").write_text("a file, where a folder would have to be")
    with pytest.warns(CacheWarning) as caught:
        found = load_bundle(folder).predict_proba(X)
    assert len(caught) == 1
    assert same_bits(found, expected)


# -- saving again --------------------------------------------------------------------------------------------------


def test_a_loaded_bundle_can_be_saved_again_and_over_itself(model, tmp_path):
    """A loaded estimator is like any other, also where its model lies in the bundle that it replaces."""
    fitted = classifier(model).fit(X, Y)
    expected = fresh_proba(fitted)
    first = save_bundle(fitted, tmp_path / "first")
    shutil.rmtree(model)
    loaded = load_bundle(first)
    second = save_bundle(loaded, tmp_path / "second")
    assert save_bundle(loaded, first, overwrite=True) == first
    for folder in (first, second):
        assert same_bits(fresh_proba(load_bundle(folder)), expected)
    assert same_bits(fresh_proba(loaded), expected)


def test_the_same_estimator_gives_the_same_files(tiny_bert_folder, tmp_path):
    """No time, no random name and no order of a set is written down."""
    estimator = make_pipeline(TextCleaner(stop_words=set("abcdefgh")), classifier(tiny_bert_folder)).fit(X, Y)
    first, second = (save_bundle(estimator, tmp_path / name) for name in "ab")
    assert names_in(first) == names_in(second)
    assert [name for name in names_in(first) if (first / name).read_bytes() != (second / name).read_bytes()] == []
