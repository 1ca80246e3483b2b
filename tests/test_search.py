"""HeadSearchCV over numbers: what it finds and reports is what scikit-learn's GridSearchCV finds and reports.

The reference is always GridSearchCV itself, over the same estimator and with
the same arguments; heads have an int as seed, so that scores can be compared.
HeadSearchCV over texts is in test_search_texts.py, its errors and failures are
in test_search_faults.py.
"""

from __future__ import annotations

import inspect
import pickle
import threading
import time

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, get_scorer, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    ParameterGrid,
    ShuffleSplit,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler

import skbert
from skbert import HeadClassifier, HeadSearchCV, TrainingHistoryDisplay, load_bundle, save_bundle
from skbert._search import training
from tests._compose import HEAD, SKLEARN
from tests._search import FINE, assert_same_search, both, name_of

WIDE = HEAD | {"hidden_layer_sizes": (8,), "max_iter": 4}


def make_rows(n=72, seed=0):
    """Return rows of two classes that a line tells apart, more or less, as names."""
    draw = np.random.default_rng(seed)
    X = draw.normal(size=(n, 5)) * [1, 1, 5, 20, 1]
    return X, np.where(X[:, 0] + 0.3 * draw.normal(size=n) > 0, "up", "down")


X, Y = make_rows()
HEADS = HeadClassifier(**WIDE)
SCALED = Pipeline([("scale", StandardScaler()), ("head", HEADS)])
GRID = {"learning_rate_init": [1e-4, 0.03], "weight_decay": [0.0, 5.0]}
OF_PIPELINE = {f"head__{name}": values for name, values in GRID.items()}


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


def test_the_constructor_is_that_of_grid_search():
    """Same names in the same order, same defaults, same kinds; and nothing is done to them."""
    ours, theirs = inspect.signature(HeadSearchCV), inspect.signature(GridSearchCV)
    assert list(ours.parameters) == list(theirs.parameters)
    for name, parameter in theirs.parameters.items():
        assert ours.parameters[name].kind == parameter.kind
        default = ours.parameters[name].default
        assert default == parameter.default or np.isnan(default)
    assert issubclass(HeadSearchCV, GridSearchCV)
    assert skbert.HeadSearchCV is HeadSearchCV
    search = HeadSearchCV(HEADS, GRID, cv=3)
    assert search.get_params(deep=False)["param_grid"] is GRID
    assert search.get_params()["estimator__max_iter"] == 4
    search = HeadSearchCV(clone(HEADS), GRID).set_params(estimator__max_iter=5)
    assert search.estimator.max_iter == 5


@pytest.mark.parametrize("hidden", [(), (8,)], ids=name_of)
def test_it_finds_what_was_planted_with_the_learning_rate(hidden, jobs):
    """A learning rate at which nothing is learned loses to one that learns, in all candidates that have it."""
    head = clone(HEADS).set_params(hidden_layer_sizes=hidden)
    found, expected = both(head, GRID, X, Y, cv=3, scoring=FINE)
    assert found.best_params_["learning_rate_init"] == 0.03
    mean, learns = found.cv_results_["mean_test_score"], found.cv_results_["param_learning_rate_init"] == 0.03
    assert mean[learns].min() > mean[~learns].max() + 0.03
    assert_same_search(found, expected)
    assert jobs == [[4, 4, 4]]  # all candidates in all folds at once


def test_it_finds_what_was_planted_with_the_hidden_layer():
    """The exclusive or of two columns needs a hidden layer."""
    draw = np.random.default_rng(0)
    corners = draw.choice([-1.0, 1.0], size=(200, 2))
    y = corners.prod(axis=1) > 0
    grid = {"hidden_layer_sizes": [(), (32,)]}
    head = HeadClassifier(**HEAD | {"max_iter": 15, "batch_size": 32})
    found, expected = both(head, grid, corners + 0.2 * draw.normal(size=(200, 2)), y, cv=3)
    assert found.best_params_ == {"hidden_layer_sizes": (32,)}
    scores = found.cv_results_["mean_test_score"]
    assert scores[0] < 0.7
    assert scores[1] > 0.9
    assert_same_search(found, expected)


@pytest.mark.parametrize("return_train_score", [False, True])
@pytest.mark.parametrize("scoring", [None, "f1_macro", ["accuracy", FINE, "roc_auc"]], ids=name_of)
def test_every_key_of_the_results(scoring, return_train_score):
    """cv_results_ has the keys, the order, the masks, the kinds and the numbers of GridSearchCV."""
    grids = [{"head__weight_decay": [0.0, 5.0]}, {"head__hidden_layer_sizes": [(), (4, 4)], "scale": ["passthrough"]}]
    refit = "roc_auc" if isinstance(scoring, list) else True
    settings = {"scoring": scoring, "return_train_score": return_train_score, "refit": refit, "cv": 3}
    found, expected = both(SCALED, grids, X, Y, **settings)
    assert_same_search(found, expected)
    assert found.cv_results_["params"] == list(ParameterGrid(grids))
    assert found.cv_results_["param_scale"].mask.tolist() == [True, True, False, False]
    last = "roc_auc" if isinstance(scoring, list) else "score"
    assert (f"split2_train_{last}" in found.cv_results_) == return_train_score


def test_train_scores_are_of_the_training_rows():
    """They are those of GridSearchCV, and other than the test scores."""
    found, expected = both(SCALED, OF_PIPELINE, X, Y, cv=3, scoring=FINE, return_train_score=True, refit=False)
    assert_same_search(found, expected)
    assert not np.allclose(found.cv_results_["mean_train_score"], found.cv_results_["mean_test_score"], atol=1e-4)


@pytest.mark.parametrize("refit", [True, lambda results: int(results["mean_fit_time"].argmin())], ids=["best", "fast"])
def test_times_are_measured(refit):
    """Each fit took some time, the shared part of it divided; scoring took some too."""
    start = time.perf_counter()
    search = HeadSearchCV(SCALED, OF_PIPELINE, cv=3, refit=refit).fit(X, Y)
    took = time.perf_counter() - start
    results = search.cv_results_
    fit, score = results["mean_fit_time"], results["mean_score_time"]
    assert (fit > 1e-5).all()
    assert (score > 0).all()
    assert fit.max() < fit.sum() / 2  # not all in the first, which is when it was done
    assert 0.2 * took < 3 * (fit + score).sum() + search.refit_time_ < took
    if callable(refit):
        assert search.best_index_ == fit.argmin()  # what it was shown
        assert not hasattr(search, "best_score_")


def test_the_refit_is_the_fit_of_the_best_candidate():
    """best_estimator_ predicts what a fit by hand predicts, to the bit, and the search passes it on."""
    search = HeadSearchCV(SCALED, OF_PIPELINE, cv=3, scoring=FINE).fit(X, Y)
    by_hand = clone(SCALED).set_params(**search.best_params_).fit(X, Y)
    assert type(search.best_estimator_) is Pipeline
    assert np.array_equal(search.predict_proba(X), by_hand.predict_proba(X))
    assert np.array_equal(search.predict(X), by_hand.predict(X))
    assert np.array_equal(search.decision_function(X), by_hand.decision_function(X))
    assert search.classes_.tolist() == ["down", "up"]
    assert search.n_features_in_ == 5
    assert search.score(X, Y) == pytest.approx(get_scorer(FINE)(by_hand, X, Y))
    assert not hasattr(search, "transform")


@pytest.mark.parametrize("refit", [False, True, lambda results: 2], ids=["no", "yes", "callable"])
def test_refit(refit):
    """The same attributes are there as after GridSearchCV, and no others."""
    found, expected = both(HEADS, GRID, X, Y, cv=3, refit=refit)
    assert_same_search(found, expected)
    if callable(refit):
        assert found.best_index_ == 2
    assert hasattr(found, "best_estimator_") == hasattr(found, "predict") == bool(refit)


@pytest.mark.parametrize("refit", ["f1_macro", False, lambda results: int(results["mean_test_f1_macro"].argmin())])
def test_several_scorers(refit):
    """Names in a list or in a dict, with scorers of make_scorer's; the one that `refit` names decides."""
    for scoring in (
        ["accuracy", "f1_macro"],
        ("f1_macro", FINE),
        {"f1_macro": "f1_macro", "half": make_scorer(lambda y, said: accuracy_score(y, said) / 2)},
    ):
        found, expected = both(HEADS, GRID, X, Y, cv=3, scoring=scoring, refit=refit)
        assert_same_search(found, expected)
        assert found.scorer_.keys() == expected.scorer_.keys()
        if refit == "f1_macro":
            assert found.score(X, Y) == expected.score(X, Y)


def test_one_scorer_makes_a_whole_difference():
    """The winner by the one is not the winner by the other, so that the tests above could see a mix-up."""
    grid = {"max_iter": [1, 2, 4], "dropout": [0.0, 0.9]}
    found = {
        name: HeadSearchCV(
            HEADS, grid, cv=3, scoring={"a": FINE, "b": make_scorer(lambda y, said: said.size % 7)}, refit=name
        )
        .fit(X, Y)
        .best_index_
        for name in "ab"
    }
    assert found["a"] != found["b"] == 0


# -- splits --------------------------------------------------------------------------------------------------------


def splits():
    folds = list(KFold(3, shuffle=True, random_state=1).split(X))
    masks = [tuple(np.isin(np.arange(len(X)), rows) for rows in pair) for pair in folds]
    return {
        "int": 4,
        "none": None,
        "splitter": StratifiedKFold(3, shuffle=True, random_state=3),
        "list": folds,
        "masks": masks,
        "overlapping": [(np.arange(60), np.arange(50, 72)), (np.arange(60), np.arange(72)), (np.arange(60),) * 2],
        "copies": [(np.r_[np.arange(40), np.arange(40)], np.r_[41, 41, np.arange(40, 72)]), folds[0]],
    }


@pytest.mark.parametrize("name", splits())
def test_every_kind_of_cv(name):
    """Folds of any form are those of GridSearchCV, and so are their scores."""
    found, expected = both(SCALED, OF_PIPELINE, X, Y, cv=splits()[name], scoring=FINE, return_train_score=True)
    assert_same_search(found, expected)


def test_a_generator_of_splits_is_used_once():
    """It cannot be used twice."""
    folds = list(KFold(3).split(X))
    rivals = Pipeline([("last", HEADS)]), {"last": [LogisticRegression(C=0.1), LogisticRegression()]}
    for estimator, grid in ((HEADS, GRID), rivals):
        found = HeadSearchCV(estimator, grid, cv=(fold for fold in folds), scoring=FINE).fit(X, Y)
        assert_same_search(found, GridSearchCV(estimator, grid, cv=folds, scoring=FINE).fit(X, Y))


def test_random_splits_are_drawn_once_for_all_candidates():
    """Two candidates that are one and the same have the same scores, though the splitter has no seed."""
    grid = {"tol": [1e-4, 2e-4], "max_iter": [2, 4]}  # without early stopping the tolerance has no effect
    np.random.seed(5)  # noqa: NPY002
    state = np.random.get_state()  # noqa: NPY002
    found = HeadSearchCV(HEADS, grid, cv=ShuffleSplit(3, test_size=0.3), scoring=FINE).fit(X, Y)
    np.random.set_state(state)  # noqa: NPY002
    expected = GridSearchCV(HEADS, grid, cv=ShuffleSplit(3, test_size=0.3), scoring=FINE).fit(X, Y)
    assert_same_search(found, expected)
    folds = np.array([found.cv_results_[f"split{k}_test_score"] for k in range(3)])
    np.testing.assert_allclose(folds[:, 0::2], folds[:, 1::2], atol=1e-4)
    assert np.ptp(folds[:, 0]) > 1e-3


def test_groups_go_to_the_splitter():
    """And nowhere else."""
    groups = np.random.default_rng(0).integers(6, size=len(X))
    found, expected = both(HEADS, GRID, X, Y, {"groups": groups}, cv=GroupKFold(3), scoring=FINE)
    assert_same_search(found, expected)
    other, _ = both(HEADS, GRID, X, Y, {"groups": groups[::-1]}, cv=GroupKFold(3), scoring=FINE)
    assert not np.allclose(found.cv_results_["mean_test_score"], other.cv_results_["mean_test_score"], atol=1e-4)


# -- what is trained together, and what is not ---------------------------------------------------------------------


class Centre(TransformerMixin, BaseEstimator):
    """Takes the mean away, times `factor`, and counts."""

    counts = {"fit": 0, "transform": 0}  # noqa: RUF012

    def __init__(self, factor=1.0):
        self.factor = factor

    def fit(self, X, y=None):
        self.counts["fit"] += 1
        self.mean_ = np.mean(X, axis=0) * self.factor
        return self

    def transform(self, X):
        self.counts["transform"] += 1
        return X - self.mean_


@pytest.mark.parametrize("return_train_score", [False, True])
def test_steps_before_the_head_are_fitted_once_a_fold(return_train_score, jobs):
    """Not once a candidate; and once more for the refit."""
    pipe = Pipeline([("centre", Centre()), ("scale", StandardScaler()), ("head", HEADS)])
    settings = {"cv": 3, "scoring": FINE, "return_train_score": return_train_score}
    grid = OF_PIPELINE | {"head__max_iter": [2, 3]}
    Centre.counts.update(fit=0, transform=0)
    found = HeadSearchCV(pipe, grid, **settings).fit(X, Y)
    parts = 3 if return_train_score else 2  # fit_transform of a training part, the test part, the training part
    assert Centre.counts == {"fit": 3 + 1, "transform": 3 * parts + 1}
    assert jobs == [[8, 8, 8]]
    assert_same_search(found, GridSearchCV(pipe, grid, **settings).fit(X, Y))


def test_candidates_with_other_steps_before_the_head_share_among_themselves(jobs):
    """Two factors, two groups; a step that is left out or replaced makes a group of its own."""
    pipe = Pipeline([("centre", Centre()), ("head", HEADS)])
    two = {"centre__factor": [0.0, 1.0], **OF_PIPELINE}
    others = {"centre": ["passthrough", MaxAbsScaler()], "head__max_iter": [2, 3]}
    Centre.counts.update(fit=0, transform=0)
    found = HeadSearchCV(pipe, [two, others], cv=3, scoring=FINE, refit=False).fit(X, Y)
    assert Centre.counts["fit"] == 2 * 3
    assert jobs == [[4] * 6 + [2] * 6]
    assert_same_search(found, GridSearchCV(pipe, [two, others], cv=3, scoring=FINE, refit=False).fit(X, Y))


def test_the_vectors_that_are_alive_at_once_are_bounded(jobs, monkeypatch):
    """Where a fold is more than the bound, it goes alone; otherwise as many as fit."""
    one_fold = 48 * 5 * 8
    for bound, sizes in ((1, [[4], [4], [4], []]), (2 * one_fold, [[4, 4], [4]]), (3 * one_fold, [[4, 4, 4], []])):
        monkeypatch.setattr(training, "_AT_ONCE", bound)
        monkeypatch.setattr(training, "_bytes_of", lambda *about: 0)
        jobs.clear()
        found, expected = both(SCALED, OF_PIPELINE, X, Y, cv=3, scoring=FINE)
        assert [call for call in jobs if call] == [call for call in sizes if call]
        assert_same_search(found, expected)


def test_the_heads_that_are_alive_at_once_are_bounded(jobs, monkeypatch):
    """Those of a fold are divided where they alone would take too much, and count beside the vectors."""
    head = 2 * 4 * (5 * 8 + 8 * 2)  # bytes: trained and kept, 5 columns, 8 units, 2 classes
    monkeypatch.setattr(training, "_HEADS_OF_A_JOB", 3 * head)
    heads = clone(SCALED).set_params(head__hidden_layer_sizes=(8,))
    found, expected = both(heads, OF_PIPELINE, X, Y, cv=3, scoring=FINE)
    assert jobs == [[3, 1] * 3]
    assert_same_search(found, expected)
    jobs.clear()
    monkeypatch.setattr(training, "_AT_ONCE", 1)
    found, expected = both(heads, OF_PIPELINE, X, Y, cv=3, scoring=FINE)
    assert jobs == [[3], [1]] * 3
    assert_same_search(found, expected)


def test_a_subclass_that_goes_its_own_way_is_given_its_own_candidates(jobs):
    """Who overrides scikit-learn's hook may try candidates in another order, and gets the scores of these."""

    class Reversed(HeadSearchCV):
        def _run_search(self, evaluate_candidates):
            evaluate_candidates(list(ParameterGrid(self.param_grid))[::-1])

    found = Reversed(HEADS, GRID, cv=3, scoring=FINE).fit(X, Y)
    expected = GridSearchCV(HEADS, GRID, cv=3, scoring=FINE).fit(X, Y)
    assert found.cv_results_["params"] == expected.cv_results_["params"][::-1]
    np.testing.assert_allclose(found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"][::-1])
    assert jobs == []


def test_a_bundle_of_a_search_loads_without_further_trust(tmp_path):
    """It is skbert's own class."""
    search = HeadSearchCV(HEADS, GRID, cv=3, scoring="accuracy").fit(X, Y)
    save_bundle(search, tmp_path / "bundle")
    loaded = load_bundle(tmp_path / "bundle")
    np.testing.assert_array_equal(loaded.predict_proba(X), search.predict_proba(X))


def test_candidates_that_end_otherwise_are_fitted_singly(jobs):
    """A grid may replace the last step: by another head, which shares, and by anything, which does not."""

    class Own(HeadClassifier):
        """A subclass, which might do anything."""

    last = [HeadClassifier(**HEAD), LogisticRegression(), Own(**WIDE), HeadClassifier(**WIDE)]
    grid = [{"head": last}, {"head__max_iter": [2, 3]}]
    for settings in ({"scoring": FINE}, {"scoring": ["accuracy", FINE], "refit": FINE, "return_train_score": True}):
        found, expected = both(SCALED, grid, X, Y, cv=3, **settings)
        assert_same_search(found, expected)
        assert jobs == [[4, 4, 4]]
        jobs.clear()


def test_a_pipeline_whose_last_step_is_a_placeholder():
    """It is enough that a candidate ends in a head."""
    pipe = Pipeline([("scale", StandardScaler()), ("last", "passthrough")])
    grid = {"last": [LogisticRegression(), HEADS]}
    found, expected = both(pipe, grid, X, Y, cv=3, scoring=FINE)
    assert_same_search(found, expected)


def test_single_fits_run_in_parallel():
    """n_jobs is for them, with joblib's backend of the moment; the scores are those of one worker."""
    where = []

    class Notes(LogisticRegression):
        def fit(self, X, y):
            where.append(threading.get_ident())
            return super().fit(X, y)

    grid = [{"head": [Notes(C=0.1), Notes()]}, {"head__max_iter": [2]}]
    with joblib.parallel_config(backend="threading"):
        found = HeadSearchCV(SCALED, grid, cv=2, scoring=FINE, n_jobs=2, refit=False).fit(X, Y)
    assert len(where) == 4
    assert threading.get_ident() not in where
    assert_same_search(found, GridSearchCV(SCALED, grid, cv=2, scoring=FINE, refit=False).fit(X, Y))


def test_a_nested_pipeline_and_a_pipeline_with_a_memory(tmp_path, jobs):
    """The one is fitted singly, the other shares."""
    nested = Pipeline([("scale", StandardScaler()), ("rest", make_pipeline(MaxAbsScaler(), HEADS))])
    found, expected = both(nested, {"rest__headclassifier__max_iter": [1, 4]}, X, Y, cv=2, scoring=FINE)
    assert_same_search(found, expected)
    assert jobs == []
    remembers = Pipeline([("max", MaxAbsScaler()), *SCALED.steps], memory=str(tmp_path))
    found, expected = both(remembers, OF_PIPELINE, X, Y, cv=2, scoring=FINE)
    assert_same_search(found, expected)
    assert jobs == [[4, 4]]


@pytest.mark.skipif(SKLEARN < (1, 9), reason="callbacks came with scikit-learn 1.9")
def test_with_callbacks_the_search_is_scikit_learns(jobs):
    """They follow every fit, wherever they hang."""

    class Counts:
        def __init__(self):
            self.fits = 0

        def setup(self, estimator, context): ...
        def teardown(self, estimator, context): ...
        def on_fit_task_begin(self, estimator, context): ...

        def on_fit_task_end(self, estimator, context):
            self.fits += context.task_name == "fit"

    counts = Counts()
    HeadSearchCV(clone(HEADS).set_callbacks(counts), GRID, cv=3).fit(X, Y)
    assert counts.fits == 4 * 3 + 1
    counts = Counts()
    HeadSearchCV(clone(HEADS), GRID, cv=3).set_callbacks(counts).fit(X, Y)
    assert counts.fits == 1
    assert jobs == []


# -- a custom scorer -----------------------------------------------------------------------------------------------


def test_an_own_scorer_gets_the_whole_estimator_and_the_rows():
    """As GridSearchCV calls it: a fitted pipeline, rows of X in their container, and labels."""
    frame = pd.DataFrame(X, columns=list("abcde"), index=np.arange(len(X))[::-1])
    seen = []

    def scorer(estimator, X, y):
        seen.append((estimator, X, y))
        return estimator.predict_proba(X)[:, 0].mean() + (estimator.named_steps["head"].weight_decay > 0)

    found = HeadSearchCV(SCALED, OF_PIPELINE, cv=3, scoring=scorer).fit(frame, pd.Series(Y))
    ours, seen[:] = list(seen), []
    expected = GridSearchCV(SCALED, OF_PIPELINE, cv=3, scoring=scorer).fit(frame, pd.Series(Y))
    assert_same_search(found, expected)
    assert found.scorer_ is scorer
    for (estimator, rows, y), (their_estimator, their_rows, their_y) in zip(ours, seen, strict=True):
        assert type(estimator) is Pipeline
        assert estimator.get_params(deep=False).keys() == their_estimator.get_params(deep=False).keys()
        assert repr(estimator) == repr(their_estimator)
        pd.testing.assert_frame_equal(rows, their_rows)
        pd.testing.assert_series_equal(y, their_y)
        assert estimator.feature_names_in_.tolist() == list("abcde")
        np.testing.assert_allclose(estimator.predict_proba(rows), their_estimator.predict_proba(rows), atol=1e-4)
    assert found.feature_names_in_.tolist() == list("abcde")


def test_an_own_scorer_among_others_and_one_that_returns_several():
    """Each gets what it needs, and an own one may give a dict."""
    scoring = {"loss": FINE, "own": lambda estimator, X, y: -estimator[-1].loss_curve_[-1], "score": None}
    found, expected = both(SCALED, OF_PIPELINE, X, Y, cv=3, scoring=scoring, refit="own")
    assert_same_search(found, expected)
    several = lambda estimator, X, y: {"n": len(X), "p": estimator.predict_proba(X)[0, 0]}  # noqa: E731
    found, expected = both(HEADS, GRID, X, Y, cv=3, scoring=several, refit="p", return_train_score=True)
    assert_same_search(found, expected)
    assert found.multimetric_


# -- as a part of other things -------------------------------------------------------------------------------------


def test_nested_in_cross_validation_and_in_a_pipeline():
    """Outer folds search for themselves, as with GridSearchCV."""
    ours, theirs = (kind(HEADS, GRID, cv=2, scoring=FINE) for kind in (HeadSearchCV, GridSearchCV))
    expected = cross_val_score(theirs, X, Y, cv=3, scoring=FINE)
    np.testing.assert_allclose(cross_val_score(ours, X, Y, cv=3, scoring=FINE), expected, atol=1e-4)
    np.testing.assert_allclose(
        make_pipeline(StandardScaler(), ours).fit(X, Y).predict_proba(X),
        make_pipeline(StandardScaler(), theirs).fit(X, Y).predict_proba(X),
        atol=1e-4,
    )
    outer = GridSearchCV(ours, {"cv": [2, 3]}, cv=2).fit(X, Y)
    assert type(outer.best_estimator_) is HeadSearchCV


def test_clone_pickle_and_html():
    """Parameters survive a clone, what was learned survives a pickle, and neither names a private file."""
    search = HeadSearchCV(SCALED, OF_PIPELINE, cv=3, scoring=["accuracy", FINE], refit=FINE).fit(X, Y)
    pickled = pickle.dumps(search)
    assert b"skbert._search" not in pickled
    loaded = pickle.loads(pickled)
    assert np.array_equal(loaded.predict_proba(X), search.predict_proba(X))
    assert loaded.cv_results_.keys() == search.cv_results_.keys()
    fresh = clone(search)
    assert type(fresh) is HeadSearchCV
    assert not hasattr(fresh, "cv_results_")
    assert fresh.param_grid == OF_PIPELINE
    assert "HeadSearchCV" in search._repr_html_()
    assert "StandIn" not in repr(search) + search._repr_html_()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the oldest matplotlib's, at import
def test_the_display_draws_the_best_estimator():
    """A search that is fitted is something to draw."""
    pytest.importorskip("matplotlib")
    search = HeadSearchCV(SCALED, OF_PIPELINE, cv=3).fit(X, Y)
    display = TrainingHistoryDisplay.from_estimator(search)
    assert display.loss_curve == search.best_estimator_[-1].loss_curve_


def test_a_second_fit_forgets_the_first(global_state):
    """What is no longer computed is no longer there, and nothing global was touched."""
    search = HeadSearchCV(HEADS, GRID, cv=3).fit(X, Y)
    search.set_params(refit=False, param_grid={"max_iter": [1, 2, 3]}).fit(X, Y)
    assert not hasattr(search, "best_estimator_")
    assert len(search.cv_results_["params"]) == 3
    assert not hasattr(HEADS, "coefs_")
    global_state.assert_unchanged()


def test_early_stopping_and_seeds_that_are_drawn():
    """With early stopping scores are GridSearchCV's too; without a seed they agree within the noise of seeds."""
    X, y = make_rows(160, seed=2)
    stops = HeadClassifier(**WIDE | {"early_stopping": True, "validation_fraction": 0.2, "max_iter": 10})
    found, expected = both(stops, GRID, X, y, cv=3, scoring=FINE)
    assert_same_search(found, expected)
    found, expected = both(stops.set_params(random_state=None), GRID, X, y, cv=3, scoring=FINE)
    assert found.best_params_["learning_rate_init"] == expected.best_params_["learning_rate_init"] == 0.03
    np.testing.assert_allclose(found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"], atol=0.25)


def test_verbose_says_what_grid_search_says(capsys):
    """One line before the fits; a line for each fit with its score for 3."""
    HeadSearchCV(HEADS, GRID, cv=3, verbose=1).fit(X, Y)
    assert capsys.readouterr().out == "Fitting 3 folds for each of 4 candidates, totalling 12 fits\n"
    lines = {}
    for kind in (HeadSearchCV, GridSearchCV):
        kind(HEADS, GRID, cv=3, verbose=3).fit(X, Y)
        lines[kind] = [
            line.partition(" total time=")[0].replace(".", "") for line in capsys.readouterr().out.splitlines()
        ]
    assert len(lines[HeadSearchCV]) == 13
    assert lines[HeadSearchCV] == lines[GridSearchCV]
    HeadSearchCV(HEADS, GRID, cv=3).fit(X, Y)
    assert capsys.readouterr() == ("", "")
