"""Searches, cross-validation and curves over texts: the numbers are those of the same tool over vectors.

The reference is never skbert's own pipeline: the texts are embedded outside,
once, and scikit-learn's tool runs over the matrix. All vectors come from one
store that was filled before, so that equal means equal to the bit.
"""

from __future__ import annotations

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    KFold,
    LeaveOneGroupOut,
    RandomizedSearchCV,
    StratifiedGroupKFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    validation_curve,
)
from sklearn.pipeline import Pipeline, make_pipeline

from skbert import (
    BertEmbedder,
    BertSentimentClassifier,
    HeadClassifier,
    MemoryStore,
    TextCleaner,
    cache_info,
    release_models,
)
from skbert._engine import registry
from tests import _compose
from tests._compose import HEAD, every_form, make_texts
from tests._models import build_tiny_model

X, Y, GROUPS = make_texts()
FORMS = every_form(X)
embedder, classifier, vectors = _compose.embedder, _compose.classifier, _compose.vectors
# Its value tells any two candidates apart, where an accuracy of 0.9 is many models'.
FINE = "neg_log_loss"


def results(search, *names):
    """Return the numbers of a fitted search that do not depend on the clock."""
    table = {key: value for key, value in search.cv_results_.items() if "test_score" in key or key in names}
    assert len(np.unique(table["mean_test_score"])) > 1, "The candidates are all alike: they prove nothing."
    return table


def assert_same_results(found, expected, *names):
    found, expected = results(found, *names), results(expected, *names)
    assert found.keys() == expected.keys()
    for key in found:
        assert np.array_equal(found[key], expected[key]), key


# -- searches ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["list", "frame"])
def test_grid_search_over_the_embedder_and_the_head(classifier, embedder, form):
    """Each candidate's score in each fold is that of its head on its vectors; no text is embedded for it."""
    grid = {"embedder__pooling": ["mean", "cls"], "embedder__layers": [-1, (0, 1)], "weight_decay": [0.0, 50.0]}
    before = embedder.cache.info().misses
    search = GridSearchCV(classifier, grid, cv=3, scoring=FINE).fit(FORMS[form], Y)
    assert embedder.cache.info().misses == before == len(X)

    candidates = search.cv_results_["params"]
    assert len(candidates) == 8
    for k, params in enumerate(candidates):
        settings = {name.partition("__")[2]: value for name, value in params.items() if "__" in name}
        outside = clone(embedder).set_params(**settings).transform(X)
        head = HeadClassifier(**HEAD | {"weight_decay": params["weight_decay"]})
        expected = cross_val_score(head, outside, Y, cv=3, scoring=FINE)
        assert [search.cv_results_[f"split{fold}_test_score"][k] for fold in range(3)] == expected.tolist()
        if k == search.best_index_:
            best = head.fit(outside, Y).predict_proba(outside)
    assert len(np.unique(search.cv_results_["mean_test_score"])) == 8
    assert search.best_index_ == search.cv_results_["mean_test_score"].argmax()
    assert np.array_equal(search.predict_proba(FORMS[form]), best)
    assert search.best_estimator_.embedder_.pooling == search.best_params_["embedder__pooling"]


def test_grid_search_through_a_pipeline_reaches_the_cleaner_the_embedder_and_the_head(classifier, embedder):
    """The keys go as deep as the parameters lie."""
    shouted = np.array([f"{text}!!!" for text in X], dtype=object)
    pipe = Pipeline([("clean", TextCleaner()), ("classify", classifier)])
    grid = {"clean__punctuation": ["keep", "drop"], "classify__embedder__layers": [0, -1], "classify__max_iter": [1, 8]}
    search = GridSearchCV(pipe, grid, cv=2, scoring=FINE).fit(shouted, Y)
    for k, params in enumerate(search.cv_results_["params"]):
        cleaned = TextCleaner(punctuation=params["clean__punctuation"]).transform(shouted)
        outside = clone(embedder).set_params(layers=params["classify__embedder__layers"]).transform(cleaned)
        head = HeadClassifier(**HEAD | {"max_iter": params["classify__max_iter"]})
        expected = cross_val_score(head, outside, Y, cv=2, scoring=FINE).mean()
        assert search.cv_results_["mean_test_score"][k] == pytest.approx(expected, rel=1e-4)
    assert len(np.unique(search.cv_results_["mean_test_score"])) == 8


def test_randomized_search(classifier, vectors):
    """The same seed draws the same candidates, and they have the same scores."""
    draws = {"learning_rate_init": loguniform(1e-3, 1e-1), "max_iter": [2, 8]}
    settings = {"n_iter": 4, "cv": 3, "scoring": FINE, "random_state": 0}
    found = RandomizedSearchCV(classifier, draws, **settings).fit(list(X), Y)
    expected = RandomizedSearchCV(HeadClassifier(**HEAD), draws, **settings).fit(vectors, Y)
    assert found.best_params_ == expected.best_params_
    assert_same_results(found, expected)


@pytest.mark.parametrize("resource", [{}, {"resource": "max_iter", "min_resources": 2, "max_resources": 8}], ids=str)
def test_halving_search_over_texts_and_over_epochs(classifier, vectors, resource):
    """Rounds with few texts, or with few epochs, are those of the head alone."""
    grid = {"weight_decay": [0.0, 5.0, 50.0, 500.0]}
    settings = {"cv": 2, "factor": 2, "scoring": FINE, "random_state": 0, **resource}
    found = HalvingGridSearchCV(classifier, grid, **settings).fit(pd.Series(X), Y)
    expected = HalvingGridSearchCV(HeadClassifier(**HEAD), grid, **settings).fit(vectors, Y)
    assert found.n_iterations_ == expected.n_iterations_ > 1
    assert found.best_params_ == expected.best_params_
    assert_same_results(found, expected, "iter", "n_resources")


# -- cross-validation ----------------------------------------------------------------------------------------------


def test_cross_val_score_of_an_embedder_with_logistic_regression(embedder, vectors):
    """The pipeline's scores are those of the regression over the vectors."""
    regression = LogisticRegression()
    expected = cross_val_score(regression, vectors, Y, cv=3, scoring=FINE)
    for form in ("list", "series", "frame"):
        found = cross_val_score(make_pipeline(embedder, regression), FORMS[form], Y, cv=3, scoring=FINE)
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("form", FORMS)
def test_cross_validate_with_groups(classifier, vectors, form):
    """No speaker is on both sides, and the scores are those of the head over the vectors."""
    settings = {"groups": GROUPS, "cv": StratifiedGroupKFold(4), "scoring": [FINE, "accuracy"]}
    found = cross_validate(classifier, FORMS[form], Y, return_indices=True, return_estimator=True, **settings)
    expected = cross_validate(HeadClassifier(**HEAD), vectors, Y, **settings)
    for name in (f"test_{FINE}", "test_accuracy"):
        assert np.array_equal(found[name], expected[name])
    for train, test in zip(found["indices"]["train"], found["indices"]["test"], strict=True):
        assert not set(GROUPS[train]) & set(GROUPS[test])
    assert all(fitted.classes_.tolist() == ["bad", "good"] for fitted in found["estimator"])


def test_copies_flatter_unless_the_texts_are_the_groups(classifier):
    """Labels by chance cannot be predicted; with copies on both sides they can, and groups put that right."""
    copies, chance = np.tile(X, 3), np.tile(np.random.default_rng(0).choice(["a", "b"], len(X)), 3)
    classifier.set_params(max_iter=40, embedder__layers=(0, 1, 2), hidden_layer_sizes=(32,))
    mixed = cross_val_score(classifier, copies, chance, cv=KFold(3))
    apart = cross_val_score(classifier, copies, chance, groups=copies, cv=GroupKFold(3))
    assert mixed.mean() > 0.9
    assert apart.mean() < 0.65


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_cross_val_predict_with_groups(classifier, vectors, method):
    """Predictions of rows whose speaker was left out are those of the head over the vectors, in the rows' order."""
    settings = {"groups": GROUPS, "cv": LeaveOneGroupOut(), "method": method}
    expected = cross_val_predict(HeadClassifier(**HEAD), vectors, Y, **settings)
    for form in ("list", "frame"):
        assert np.array_equal(cross_val_predict(classifier, FORMS[form], Y, **settings), expected)
    assert len(expected) == len(X)


def test_learning_curve(classifier, vectors):
    """Both curves over the number of texts are those of the head over the vectors."""
    settings = {"train_sizes": [0.4, 1.0], "cv": 3, "scoring": FINE, "shuffle": True, "random_state": 0}
    found = learning_curve(classifier, list(X), Y, **settings)
    expected = learning_curve(HeadClassifier(**HEAD), vectors, Y, **settings)
    for ours, theirs in zip(found, expected, strict=True):
        assert np.array_equal(ours, theirs)
    assert found[2].mean(axis=1)[1] > found[2].mean(axis=1)[0]  # more texts, a better test score


def test_learning_curve_by_partial_fit(classifier, vectors):
    """``exploit_incremental_learning`` adds texts to the same classifier instead of fitting it anew."""
    settings = {"train_sizes": [10, 40], "cv": 3, "scoring": FINE, "exploit_incremental_learning": True}
    found = learning_curve(classifier, X.reshape(-1, 1), Y, **settings)
    expected = learning_curve(HeadClassifier(**HEAD), vectors, Y, **settings)
    assert np.array_equal(found[2], expected[2])
    assert not np.array_equal(found[2], learning_curve(classifier, X, Y, train_sizes=[10, 40], cv=3, scoring=FINE)[2])


def test_validation_curve_over_a_parameter_of_the_embedder(classifier, embedder):
    """Each point is the cross-validation of the head over the vectors of that layer."""
    layers = [0, 1, 2]
    train, test = validation_curve(
        classifier, list(X), Y, param_name="embedder__layers", param_range=layers, cv=3, scoring=FINE
    )
    for k, layer in enumerate(layers):
        outside = clone(embedder).set_params(layers=layer).transform(X)
        expected = cross_validate(HeadClassifier(**HEAD), outside, Y, cv=3, scoring=FINE, return_train_score=True)
        assert np.array_equal(test[k], expected["test_score"])
        assert np.array_equal(train[k], expected["train_score"])
    assert len(np.unique(test)) == test.size


# -- several workers -----------------------------------------------------------------------------------------------


def test_two_processes_share_a_folder(tiny_bert_folder, classifier, vectors, tmp_path):
    """loky's workers find each other's vectors, and their scores are those of one process."""
    folder = tmp_path / "vectors"
    classifier.set_params(embedder__cache=str(folder), embedder__store_layers=None)
    grid = {"weight_decay": [0.0, 50.0]}
    search = GridSearchCV(classifier, grid, cv=2, scoring=FINE, n_jobs=2, refit=False)
    with joblib.parallel_config(backend="loky"):
        search.fit(X, Y)
    expected = GridSearchCV(HeadClassifier(**HEAD), grid, cv=2, scoring=FINE, refit=False).fit(vectors, Y)
    for fold in range(2):  # in other batches a vector's last bit may differ
        name = f"split{fold}_test_score"
        np.testing.assert_allclose(search.cv_results_[name], expected.cv_results_[name], rtol=1e-3)
    info = cache_info(str(folder))
    assert info.vectors == info.misses == len(X)


def test_two_threads_share_the_model_and_the_store(tmp_path):
    """Threads of one process load one model, embed each text once, and have the scores of one thread."""
    release_models()
    folder = build_tiny_model(tmp_path, seed=5)
    store = MemoryStore()
    classifier = BertSentimentClassifier(BertEmbedder(folder, device="cpu", cache=store), **HEAD)
    with joblib.parallel_config(backend="threading", n_jobs=2):
        found = cross_val_score(classifier, X, Y, cv=4, scoring=FINE)
    (encoder,) = registry._encoders.values()
    outside = BertEmbedder(folder, device="cpu", cache=store).transform(X)
    expected = cross_val_score(HeadClassifier(**HEAD), outside, Y, cv=4, scoring=FINE)
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert encoder.n_texts == store.info().vectors == len(X)


def test_a_pipelines_memory_keeps_the_vectors_of_a_fit(tmp_path):
    """``Pipeline(memory=…)`` skips the embedder in a second fit on the same texts, and changes no prediction."""
    release_models()
    folder = build_tiny_model(tmp_path / "model", seed=6)
    embedder = BertEmbedder(folder, device="cpu", cache=None)
    outside = embedder.transform(X)
    (encoder,) = registry._encoders.values()
    expected = LogisticRegression().fit(outside, Y).predict_proba(outside)

    memory = joblib.Memory(tmp_path / "memory", verbose=0)
    steps = [("clean", TextCleaner()), ("embed", embedder), ("classify", LogisticRegression())]
    pipe = Pipeline(steps, memory=memory)
    counts = [encoder.n_texts]
    for C in (1.0, 0.1, 1.0):
        pipe.set_params(classify__C=C).fit(X, Y)
        counts.append(encoder.n_texts)
    assert np.diff(counts).tolist() == [len(X), 0, 0]
    assert np.array_equal(pipe.predict_proba(X), expected)
    pipe.set_params(embed__layers=0).fit(X, Y)  # other vectors are not served from the memory
    assert not np.allclose(pipe.predict_proba(X), expected)
