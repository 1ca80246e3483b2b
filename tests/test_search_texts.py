"""HeadSearchCV over texts: GridSearchCV's numbers, each text through BERT once, metadata where it belongs."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline

from skbert import (
    BertEmbedder,
    BertSentimentClassifier,
    HeadClassifier,
    HeadSearchCV,
    MemoryStore,
    TextCleaner,
    release_models,
)
from skbert._engine import registry
from skbert._search import training
from skbert.exceptions import LeakageWarning
from tests import _compose
from tests._compose import HEAD, SKLEARN, every_form, make_texts
from tests._models import build_tiny_model
from tests._search import FINE, assert_same_search, both, name_of

X, Y, GROUPS = make_texts()
FORMS = every_form(X)
embedder, classifier = _compose.embedder, _compose.classifier
WEIGHT = np.random.default_rng(2).choice([0.0, 1.0, 5.0], len(X))
GRID = {"learning_rate_init": [1e-5, 0.02], "weight_decay": [0.1, 20.0]}
OF_PIPELINE = {f"classify__{name}": values for name, values in GRID.items()}


@pytest.fixture
def pipe(classifier):
    return Pipeline([("clean", TextCleaner()), ("classify", classifier)])


@pytest.fixture
def jobs(monkeypatch):
    """Return the numbers of heads in each job of each call that trains heads together."""
    calls = []

    def spy(given):
        calls.append([len(job.heads) for job in given])
        return fit_together(given)

    fit_together = training.fit_together
    monkeypatch.setattr(training, "fit_together", spy)
    return calls


# -- the same search -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_over_the_embedder_and_the_head(classifier, form, jobs):
    """Texts in every container: the numbers, and the winner, are GridSearchCV's."""
    grid = GRID | {"embedder__layers": [-1, (0, 1)]}
    found, expected = both(classifier, grid, FORMS[form], Y, cv=2, scoring=FINE, return_train_score=True)
    assert_same_search(found, expected)
    learned = found.cv_results_["param_learning_rate_init"] == 0.02
    scores = found.cv_results_["mean_train_score"]
    assert scores[learned].min() > scores[~learned].max() + 0.05
    assert jobs == [[4, 4, 4, 4]]  # two settings of the embedder in two folds, at once
    assert type(found.best_estimator_) is BertSentimentClassifier
    assert found.predict(FORMS[form]).tolist() == expected.predict(FORMS[form]).tolist()
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("scoring", [None, ["accuracy", FINE]], ids=name_of)
def test_over_pairs(classifier, scoring):
    """Two columns are the two sides of pairs."""
    frame = pd.DataFrame({"said": X, "reply": X[::-1]})
    settings = {"cv": 2, "scoring": scoring, "refit": FINE if scoring else True, "return_train_score": True}
    for pairs in (frame, list(zip(X, X[::-1], strict=True))):
        found, expected = both(classifier, GRID, pairs, Y, **settings)
        assert_same_search(found, expected)
    assert found.score(pairs, Y) == pytest.approx(expected.score(pairs, Y), abs=1e-4)


def test_through_a_pipeline_with_a_cleaner(pipe, jobs):
    """The keys go as deep as the parameters lie, and the whole pipeline is refitted."""
    shouted = np.array([f"{text}!!!" for text in X], dtype=object)
    grid = OF_PIPELINE | {"clean__punctuation": ["keep", "drop"], "classify__embedder__pooling": ["mean", "cls"]}
    found, expected = both(pipe, grid, shouted, Y, cv=2, scoring=FINE)
    assert_same_search(found, expected)
    assert jobs == [[4] * 8]
    assert (
        found.best_estimator_.named_steps["classify"].embedder_.pooling
        == found.best_params_["classify__embedder__pooling"]
    )


def test_embedders_and_classifiers_as_values(classifier, embedder, pipe, jobs):
    """A grid may hold whole estimators; those over one and the same embedder share its vectors."""
    low, high = (BertEmbedder(embedder.model, device="cpu", cache=embedder.cache, layers=layer) for layer in (0, 1))
    found, expected = both(classifier, {"embedder": [low, high], "max_iter": [2, 8]}, X, Y, cv=2, scoring=FINE)
    assert_same_search(found, expected)
    assert jobs == [[2] * 4]
    jobs.clear()
    whole = [BertSentimentClassifier(low, **HEAD), BertSentimentClassifier(low, **HEAD | {"max_iter": 2})]
    grid = {"classify": [*whole, BertSentimentClassifier(high, **HEAD)], "classify__weight_decay": [0.1, 20.0]}
    found, expected = both(pipe, grid, X, Y, cv=2, scoring=FINE)
    assert_same_search(found, expected)
    assert jobs == [[4, 4, 2, 2]]


def test_an_embedder_as_a_step_and_a_rival(embedder, jobs):
    """Vectors are a step like any other before a HeadClassifier; a rival is fitted by itself, on the same texts."""
    pipe = Pipeline([("embed", embedder), ("head", HeadClassifier(**HEAD))])
    grid = [{"head__max_iter": [2, 8], "embed__layers": [0, -1]}, {"head": [LogisticRegression()]}]
    found, expected = both(pipe, grid, list(X), Y, cv=2, scoring=FINE)
    assert_same_search(found, expected)
    assert jobs == [[2] * 4]


def test_frames_of_vectors_keep_their_names(embedder):
    """With `set_output` the head learns from a frame, as it does alone."""
    pipe = Pipeline([("embed", embedder), ("head", HeadClassifier(**HEAD))]).set_output(transform="pandas")
    found, expected = both(pipe, {"head__max_iter": [2, 8]}, X, Y, cv=2, scoring=FINE)
    assert_same_search(found, expected)
    assert len(found.best_estimator_[-1].feature_names_in_) == 32


# -- what is paid for once -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cleaned", [False, True])
@pytest.mark.parametrize("cache", [None, "store", "folder"])
def test_each_text_goes_through_bert_once(tmp_path, cache, cleaned):
    """Whatever the number of folds and candidates; without a store the refit alone pays again."""
    release_models()
    store = {None: None, "store": MemoryStore(), "folder": str(tmp_path / "vectors")}[cache]
    source = BertEmbedder(build_tiny_model(tmp_path / "model", seed=7), device="cpu", cache=store)
    estimator, grid = BertSentimentClassifier(source, **HEAD), GRID
    if cleaned:
        estimator, grid = Pipeline([("clean", TextCleaner()), ("classify", estimator)]), OF_PIPELINE
    texts, labels = [*X, *X[:20]], [*Y, *Y[:20]]
    settings = {"cv": 4, "return_train_score": True, "refit": False}
    HeadSearchCV(estimator, grid, **settings).fit(texts, labels)
    (encoder,) = registry._encoders.values()
    assert encoder.n_texts == len(X)

    own = HeadSearchCV(estimator, grid, **settings, scoring=lambda fitted, X, y: fitted.predict_proba(X)[0, 0])
    own.fit(texts, labels)  # these scorers embed by themselves
    assert encoder.n_texts == len(X) * (2 if cache is None else 1)
    if cache is None:
        GridSearchCV(estimator, grid, **settings).fit(texts, labels)
        assert encoder.n_texts > len(X) * 4 * 4  # what it would be
    assert source.cache is store


def test_the_cleaner_runs_once_a_fold(pipe):
    """Not once a candidate: on the training part, on the test part; and for the refit."""
    calls = []

    class Counted(TextCleaner):
        def transform(self, X):
            calls.append(len(X))
            return super().transform(X)

    pipe.set_params(clean=Counted())
    HeadSearchCV(pipe, OF_PIPELINE, cv=4).fit(X, Y)
    assert calls == [48, 48, 48, 48, 16, 16, 16, 16, 64]


def test_a_store_of_the_search_is_not_left_in_what_it_found(tmp_path):
    """With ``cache=None`` the best estimator keeps nothing, and its pickle is as small as ever."""
    source = BertEmbedder(build_tiny_model(tmp_path / "model"), device="cpu", cache=None)
    search = HeadSearchCV(BertSentimentClassifier(source, **HEAD), GRID, cv=2).fit(X, Y)
    assert search.best_estimator_.embedder.cache is None
    assert search.best_estimator_.embedder_.cache is None


# -- an own scorer -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["list", "series", "frame"])
def test_an_own_scorer_gets_texts_and_a_fitted_pipeline(pipe, form):
    """All that a fit leaves is there, in the parts too."""
    seen = []

    def scorer(estimator, X, y):
        seen.append((X, y))
        assert estimator[-1].loss_curve_
        assert estimator[-1].embedder_.fingerprint_
        assert estimator.classes_.tolist() == ["bad", "good"]
        assert estimator.predict(X).shape == (len(y),)
        return estimator[-1].head_.loss_curve_[-1]

    found, expected = both(pipe, OF_PIPELINE, FORMS[form], Y, cv=2, scoring=scorer)
    assert_same_search(found, expected)
    assert len(seen) == 2 * 8
    for (rows, labels), (their_rows, their_labels) in zip(seen[:8], seen[8:], strict=True):
        assert type(rows) is type(their_rows)
        assert np.array_equal(rows, their_rows)
        assert np.array_equal(labels, their_labels)


# -- weights, groups, routing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["direct", "step"])
@pytest.mark.parametrize("kind", [np.asarray, list, pd.Series])
def test_weights_go_to_the_heads(classifier, pipe, spelling, kind, jobs):
    """By their name, or by that of the step; they are split along with the texts, and change the scores."""
    estimator, grid = (classifier, GRID) if spelling == "direct" else (pipe, OF_PIPELINE)
    name = "sample_weight" if spelling == "direct" else "classify__sample_weight"
    params = {name: kind(WEIGHT), "groups": GROUPS}
    settings = {"cv": GroupKFold(3), "scoring": FINE}
    found, expected = both(estimator, grid, X, Y, params, **settings)
    assert_same_search(found, expected)
    assert jobs == [[4, 4, 4]]
    plain = HeadSearchCV(estimator, grid, **settings).fit(X, Y, groups=GROUPS)
    assert not np.allclose(found.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"], atol=1e-3)
    assert not np.allclose(found.predict_proba(X), plain.predict_proba(X), atol=1e-3)
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(X), atol=1e-5)


def test_weights_of_vectors_in_a_pipeline(embedder, jobs):
    """The same with a HeadClassifier; None is no weight."""
    pipe = Pipeline([("embed", embedder), ("classify", HeadClassifier(**HEAD))])
    for weight in (WEIGHT, None):
        found, expected = both(pipe, OF_PIPELINE, X, Y, {"classify__sample_weight": weight}, cv=2, scoring=FINE)
        assert_same_search(found, expected)
    assert jobs == [[4, 4], [4, 4]]


@pytest.mark.parametrize(("to_fit", "to_score"), [(True, True), (True, False), (False, True), ("mine", "mine")])
@pytest.mark.parametrize("depth", ["classifier", "pipeline"])
def test_with_metadata_routing(classifier, pipe, depth, to_fit, to_score, jobs):
    """Fit and score get the weights if they asked for them, by the name that they chose; the splitter gets groups."""
    with sklearn.config_context(enable_metadata_routing=True):
        classifier.set_fit_request(sample_weight=to_fit)
        scorer = get_scorer(FINE).set_score_request(sample_weight=to_score)
        params = {"mine" if to_fit == "mine" else "sample_weight": WEIGHT, "groups": GROUPS}
        estimator, grid = (classifier, GRID) if depth == "classifier" else (pipe, OF_PIPELINE)
        other = get_scorer("accuracy").set_score_request(sample_weight=False)
        for scoring, refit in ((scorer, True), ({"a": scorer, "b": other}, "a")):
            found, expected = both(
                estimator, grid, X, Y, params, cv=GroupKFold(3), scoring=scoring, refit=refit, return_train_score=True
            )
            assert_same_search(found, expected)
        assert jobs == [[4, 4, 4]] * 2
        plain = HeadSearchCV(estimator, grid, cv=GroupKFold(3), scoring=FINE).fit(X, Y, groups=GROUPS)
        assert not np.allclose(plain.cv_results_["mean_test_score"], found.cv_results_["mean_test_a"], atol=1e-3)


def test_routing_to_the_estimators_own_score(classifier, pipe):
    """Without a scorer, `score` of the estimator gets the weights that it asked for."""
    with sklearn.config_context(enable_metadata_routing=True):
        classifier.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        params = {"sample_weight": WEIGHT, "groups": GROUPS}
        found, expected = both(classifier, GRID, X, Y, params, cv=GroupKFold(3))
        assert_same_search(found, expected)
        classifier.set_score_request(sample_weight=False)
        unweighted, _ = both(classifier, GRID, X, Y, params, cv=GroupKFold(3))
        assert not np.allclose(unweighted.cv_results_["mean_test_score"], found.cv_results_["mean_test_score"])
        if SKLEARN < (1, 7):
            pytest.skip("in scikit-learn 1.6 the score of a pipeline wants a request of its own")
        classifier.set_score_request(sample_weight=True)
        found, expected = both(pipe, OF_PIPELINE, X, Y, params, cv=GroupKFold(3))
        assert_same_search(found, expected)
        assert not np.allclose(unweighted.cv_results_["mean_test_score"], found.cv_results_["mean_test_score"])


@pytest.mark.skipif(SKLEARN < (1, 7), reason="in scikit-learn 1.6 the score of a pipeline wants a request of its own")
def test_routing_to_the_score_of_a_pipeline_by_another_name(classifier, pipe):
    """It is the pipeline that is asked: in scikit-learn 1.9 it refuses, and what it says is said here too."""
    said = []
    with sklearn.config_context(enable_metadata_routing=True):
        classifier.set_fit_request(sample_weight="mine").set_score_request(sample_weight="mine")
        for kind in (HeadSearchCV, GridSearchCV):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                search = kind(pipe, OF_PIPELINE, cv=GroupKFold(3)).fit(X, Y, mine=WEIGHT, groups=GROUPS)
            lines = [str(warning.message).strip().splitlines()[-1] for warning in caught]
            said.append((lines, search.cv_results_["mean_test_score"].tolist()))
    assert repr(said[0]) == repr(said[1])


def test_routing_asks_for_a_decision(classifier):
    """No word about the weights is an error that names the estimator, before any fit."""
    with sklearn.config_context(enable_metadata_routing=True):
        search = HeadSearchCV(classifier, GRID, cv=2)
        with pytest.raises(UnsetMetadataPassedError, match=r"sample_weight.*BertSentimentClassifier"):
            search.fit(X, Y, sample_weight=WEIGHT)
        assert not hasattr(search, "cv_results_")


@pytest.mark.parametrize("weight", [None, np.tile([1.0, 2.0], len(X))])
def test_near_copies_on_both_sides_are_warned_of_in_each_fold(classifier, weight):
    """As each fit of GridSearchCV does: the texts are known, also where only vectors go to the heads."""
    retweets = [form for row, text in enumerate(X) for form in (text, f"RT @u{row}: {text}!")]
    classifier.set_params(early_stopping=True)
    search = HeadSearchCV(classifier, {"dropout": [0.0, 0.5]}, cv=2, refit=False)
    given = {} if weight is None else {"sample_weight": weight}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search.fit(retweets, np.repeat(Y, 2), **given)
    assert len([one for one in caught if one.category is LeakageWarning]) == 2
