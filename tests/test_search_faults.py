"""What goes wrong in HeadSearchCV ends as in GridSearchCV: the same errors, warnings and scores; nothing is lost."""

from __future__ import annotations

import pickle
import re
import warnings
import weakref

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skbert import BertSentimentClassifier, HeadClassifier, HeadSearchCV
from skbert._search import training
from skbert.exceptions import InvalidParameterError, TextInputError
from tests import _compose
from tests._compose import HEAD, make_texts
from tests._search import FINE, assert_same_search, both, name_of

draw = np.random.default_rng(0)
X = draw.normal(size=(48, 4))
Y = (X[:, 0] + 0.3 * draw.normal(size=48) > 0).astype(int)
HEADS = HeadClassifier(**HEAD)
SCALED = Pipeline([("scale", StandardScaler()), ("head", HEADS)])
WRONG = {"dropout": [0.0, 2, 0.5]}
embedder, classifier = _compose.embedder, _compose.classifier
TEXTS, LABELS, _ = make_texts()


def told(kind, *args, params=None, **settings):
    """Return a search's warnings by class, or the error that ended it, without what differs by name."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            search = kind(*args[:2], **settings).fit(*args[2:], **(params or {}))
        except Exception as error:
            return None, error, caught
    return search, None, caught


def both_told(*args, **settings):
    """Return what HeadSearchCV and GridSearchCV tell, after checks that it is of one kind."""
    found, expected = (told(kind, *args, **settings) for kind in (HeadSearchCV, GridSearchCV))
    assert type(found[1]) is type(expected[1])
    assert sorted(w.category.__name__ for w in found[2]) == sorted(w.category.__name__ for w in expected[2])
    if found[0] is not None:
        assert_same_search(found[0], expected[0])
    return found, expected


def last_line(text):
    return str(text).strip().splitlines()[-1]


# -- a fit fails ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error_score", [np.nan, -3.0])
@pytest.mark.parametrize("settings", [{}, {"scoring": ["accuracy", FINE], "refit": FINE}], ids=["one", "several"])
@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "pipeline"])
def test_a_wrong_parameter_scores_as_an_error(error_score, settings, wrapped):
    """The others are searched all the same; the warning counts the fits and names the parameter."""
    estimator, grid = (SCALED, {"head__dropout": WRONG["dropout"]}) if wrapped else (HEADS, WRONG)
    settings = {"cv": 3, "error_score": error_score, "return_train_score": True, **settings}
    found, expected = both_told(estimator, grid, X, Y, **settings)
    ours, theirs = ([w for w in one[2] if w.category is FitFailedWarning] for one in (found, expected))
    assert len(ours) == len(theirs) == 1
    assert "3 fits failed out of a total of 9." in str(ours[0].message)
    assert last_line(ours[0].message) == last_line(theirs[0].message)
    assert "The 'dropout' parameter of HeadClassifier must be" in str(ours[0].message)
    assert "in check_params" in str(ours[0].message)  # where it was raised
    scores = next(value for key, value in found[0].cv_results_.items() if key.startswith("mean_test"))
    assert np.array_equal(scores[1], error_score, equal_nan=True)
    assert found[0].best_params_["head__dropout" if wrapped else "dropout"] != 2


def test_a_wrong_parameter_is_raised():
    """With error_score="raise", before other candidates are trained."""
    with pytest.raises(InvalidParameterError, match=r"^The 'dropout' parameter of HeadClassifier must be .* Got 2"):
        HeadSearchCV(HEADS, WRONG, cv=3, error_score="raise").fit(X, Y)
    with pytest.raises(InvalidParameterError, match="'dropout'"):
        HeadSearchCV(SCALED, {"head__dropout": [0.0, 2]}, cv=3, error_score="raise").fit(X, Y)


def test_an_error_that_is_raised_ends_the_search_at_once(classifier, monkeypatch):
    """What is known to be wrong before the training is told before the training."""
    monkeypatch.setattr(training, "fit_together", lambda jobs: pytest.fail("The heads were trained."))
    with pytest.raises(InvalidParameterError, match="'max_iter'"):
        HeadSearchCV(classifier, {"max_iter": [2, 0]}, cv=2, error_score="raise").fit(TEXTS, LABELS)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"max_iter": [2, 0]}, "The 'max_iter' parameter of BertSentimentClassifier must be"),
        ({"device": ["cpu", "cuda:99"]}, "'device' parameter of BertSentimentClassifier"),
        ({"class_weight": [None, {"nobody": 1.0}]}, "'class_weight' parameter of BertSentimentClassifier"),
        ({"embedder__pooling": ["mean", "median"]}, "The 'pooling' parameter of BertEmbedder must be"),
        ({"embedder__layers": [-1, 77]}, "77"),
        ({"embedder": [None, "a name"], "embedder__device": ["cpu"]}, "embedder"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_wrong_parameters_of_the_classifier_of_texts(classifier, grid, message):
    """Whoever checks them, and whenever: one candidate fails, or GridSearchCV fails as a whole too."""
    found, expected = both_told(classifier, grid, TEXTS, LABELS, cv=2, scoring=FINE)
    if found[1] is not None:
        assert str(found[1]) == str(expected[1])
        assert message in str(found[1])
        return
    (ours,), (theirs,) = ([w.message for w in one[2] if w.category is FitFailedWarning] for one in (found, expected))
    assert last_line(ours) == last_line(theirs)
    assert message in last_line(ours)
    for params, score in zip(found[0].cv_results_["params"], found[0].cv_results_["mean_test_score"], strict=True):
        assert np.isnan(score) == (params not in ({key: values[0]} for key, values in grid.items()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": sparse.csr_matrix(X)}, "[Ss]parse"),
        ({"X": np.where(X > 2, np.nan, X)}, "NaN"),
        ({"y": np.zeros(48, dtype=int)}, "2 classes"),
        ({"y": draw.normal(size=48)}, "continuous"),
        ({"X": np.array([["a"] * 4] * 48)}, "float"),
        ({"params": {"sample_weight": -np.ones(48)}}, "negative"),
        ({"params": {"weight": np.ones(48)}}, "unexpected keyword argument 'weight'"),
        ({"params": {"sample_weight": np.ones(47)}}, "sample_weight"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_all_fits_fail(change, message):
    """One error that says why, as GridSearchCV has it."""
    change = {"X": X, "y": Y, "params": {}, **change}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, expected = (
            told(kind, HEADS, {"max_iter": [1, 2]}, change["X"], change["y"], params=change["params"], cv=3)
            for kind in (HeadSearchCV, GridSearchCV)
        )
    assert found[0] is expected[0] is None
    assert type(found[1]) is type(expected[1])
    assert str(found[1]).splitlines()[:4] == str(expected[1]).splitlines()[:4]  # "All the 6 fits failed." and so on
    assert last_line(found[1]) == last_line(expected[1])
    assert re.search(message, str(found[1]))


def test_texts_that_are_none(classifier):
    """What is wrong with X is told by the classifier of texts."""
    texts = [*TEXTS[:-1], None]
    found, expected = both_told(classifier, {"max_iter": [2, 8]}, texts, LABELS, cv=2, scoring=FINE)
    ours, theirs = (str(one[2][-1].message) for one in (found, expected))
    assert ("None" in ours) == ("None" in theirs)
    with pytest.raises(TextInputError):
        HeadSearchCV(classifier, {"max_iter": [2, 8]}, cv=2, error_score="raise").fit([*TEXTS[:-1], 3], LABELS)


class Brittle(TransformerMixin, BaseEstimator):
    """Fails in `fit` where the first row is missing, and in `transform` where there are few rows."""

    def __init__(self, at="fit"):
        self.at = at

    def fit(self, X, y=None):
        if self.at == "fit" and not np.array_equal(X[0], globals()["X"][0]):
            raise RuntimeError("I want the first row.")
        return self

    def transform(self, X):
        if self.at == "transform" and len(X) < 20:
            raise RuntimeError("Too few rows.")
        return X


@pytest.mark.parametrize("at", ["fit", "transform"])
@pytest.mark.parametrize(
    "settings", [{}, {"scoring": {"a": "accuracy", "b": FINE}, "refit": False}], ids=["one", "several"]
)
def test_a_step_before_the_head_fails(at, settings):
    """In `fit`, in one fold, or on the test part: each candidate that has the step fails there, the others do not."""
    pipe = Pipeline([("brittle", Brittle()), ("head", HEADS)])
    grid = {"brittle__at": [at, "never"], "head__max_iter": [2, 4]}
    found, _ = both_told(pipe, grid, X, Y, cv=3, return_train_score=True, **settings)
    scores = next(value for key, value in found[0].cv_results_.items() if key.startswith("split0_test"))
    assert np.isnan(scores).tolist() == [True, True, False, False]
    if at == "fit":
        (warning,) = (w for w in found[2] if w.category is FitFailedWarning)
        assert "2 fits failed out of a total of 12" in str(warning.message)
        assert "I want the first row." in str(warning.message)
    with pytest.raises(RuntimeError):
        HeadSearchCV(pipe, grid, cv=3, error_score="raise").fit(X, Y)


def test_a_rival_fails():
    """What is fitted singly may fail as well."""
    grid = {"head": [HEADS, LogisticRegression(C=-1.0), LogisticRegression()]}
    found, _ = both_told(SCALED, grid, X, Y, cv=3, scoring=FINE)
    assert np.isnan(found[0].cv_results_["mean_test_score"]).tolist() == [False, True, False]
    with pytest.raises(ValueError, match="'C' parameter"):
        HeadSearchCV(SCALED, grid, cv=3, error_score="raise").fit(X, Y)


@pytest.mark.parametrize("grid", [WRONG, {"dropout": [0.0, 0.5]}], ids=["with a wrong one", "all well"])
def test_the_vectors_of_a_fold_are_let_go_of(monkeypatch, grid):
    """Where folds go one by one, those of an earlier one are gone when the next is trained; errors keep none alive."""
    seen, alive = [], []

    def spy(jobs):
        alive.append(sum(reference() is not None for reference in seen))
        seen.extend(weakref.ref(job.X) for job in jobs)
        return fit_together(jobs)

    fit_together = training.fit_together
    monkeypatch.setattr(training, "fit_together", spy)
    monkeypatch.setattr(training, "_AT_ONCE", 1)
    told(HeadSearchCV, HEADS, grid, X, Y, cv=3)
    assert alive == [0, 0, 0]
    assert len(seen) == 3


# -- scoring fails -------------------------------------------------------------------------------------------------


def grumpy(estimator, X, y):
    """Score the accuracy, if the estimator was trained for long."""
    if estimator.max_iter < 3:
        raise RuntimeError("Try harder.")
    return accuracy_score(y, estimator.predict(X))


@pytest.mark.parametrize(
    "scoring", [grumpy, "neg_mean_poisson_deviance", ["accuracy", "jaccard"], {"a": FINE, "b": grumpy}], ids=name_of
)
@pytest.mark.parametrize("error_score", [np.nan, 0.0, "raise"])
def test_scoring_fails(scoring, error_score):
    """The warnings, the scores and the errors are GridSearchCV's, whatever the scorer is."""
    y = np.array(["no", "yes"])[Y]
    settings = {"scoring": scoring, "refit": False, "cv": 3, "error_score": error_score}
    found, expected = (
        told(kind, HEADS, {"max_iter": [2, 4]}, X, y, **settings) for kind in (HeadSearchCV, GridSearchCV)
    )
    assert type(found[1]) is type(expected[1])
    assert [w.category for w in found[2]] == [w.category for w in expected[2]]
    assert [last_line(w.message) for w in found[2]] == [last_line(w.message) for w in expected[2]]
    if expected[1] is not None:
        assert str(found[1]) == str(expected[1])
    else:
        for key, theirs in expected[0].cv_results_.items():
            if "_test_" in key:
                np.testing.assert_allclose(found[0].cv_results_[key], theirs, atol=1e-4, err_msg=key)


# -- wrong arguments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "grid"),
    [
        ({"scoring": "no_such_score"}, None),
        ({"scoring": accuracy_score}, None),
        ({"scoring": ["accuracy", "no_such_score"], "refit": False}, None),
        ({"scoring": ["accuracy", FINE]}, None),
        ({"scoring": ["accuracy", FINE], "refit": "f1"}, None),
        ({"scoring": {"a": accuracy_score}, "refit": "a"}, None),
        ({"scoring": lambda estimator, X, y: {"a": 1.0, "b": 2.0}}, None),
        ({"scoring": lambda estimator, X, y: "good"}, None),
        ({"scoring": []}, None),
        ({"refit": lambda results: 99}, None),
        ({"refit": lambda results: "first"}, None),
        ({"refit": 7.5}, None),
        ({"cv": 1}, None),
        ({"cv": "five"}, None),
        ({"cv": 99}, None),
        ({"cv": []}, None),
        ({"n_jobs": "all"}, None),
        ({"verbose": "yes"}, None),
        ({"error_score": "rise"}, None),
        ({"pre_dispatch": None}, None),
        ({}, {"max_itr": [1, 2]}),
        ({}, {"max_iter": []}),
        ({}, {"max_iter": 3}),
        ({}, {"max_iter": "abc"}),
        ({}, []),
        ({}, [3]),
        ({}, {"embedder__layers": [1]}),
    ],
    ids=name_of,
)
def test_wrong_arguments(settings, grid, monkeypatch):
    """The same class of error with the same words, but for the name of the search."""
    grid = {"max_iter": [1, 2]} if grid is None else grid
    (search, ours, _), (other, theirs, _) = (
        told(k, HEADS, grid, X, Y, **settings) for k in (HeadSearchCV, GridSearchCV)
    )
    assert (search is None) == (other is None)
    assert type(ours) is type(theirs)
    assert str(ours).replace("HeadSearchCV", "GridSearchCV") == str(theirs)


def test_wrong_arguments_are_told_before_the_heads_are_trained(monkeypatch):
    """Nobody waits for an hour to hear of a misspelt scorer."""
    monkeypatch.setattr(training, "fit_together", lambda jobs: pytest.fail("The heads were trained."))
    for settings in ({"scoring": "no_such_score"}, {"scoring": ["accuracy", FINE]}, {"cv": 1}, {"n_jobs": "all"}):
        with pytest.raises(ValueError, match=r"no_such_score|multi-metric|'cv'|'n_jobs'"):
            HeadSearchCV(HEADS, {"max_iter": [1, 2]}, **settings).fit(X, Y)
    for y in (Y[:-1], None):
        with pytest.raises(ValueError, match=r"inconsistent|fits failed"):
            HeadSearchCV(HEADS, {"max_iter": [1, 2]}).fit(X, y)


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        HeadClassifier,
        "a head",
        None,
        make_pipeline(StandardScaler(), LogisticRegression()),
        CalibratedClassifierCV(HEADS),
        GridSearchCV(HEADS, {}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_estimators_of_another_kind_are_refused(estimator):
    """By the name of the parameter, with what it got and what to use."""
    with pytest.raises(InvalidParameterError) as caught:
        HeadSearchCV(estimator, {}).fit(X, Y)
    assert str(caught.value).startswith(
        "The 'estimator' parameter of HeadSearchCV must be a HeadClassifier, a BertSentimentClassifier or a Pipeline "
        f"that ends in one. Got {estimator!r} instead. Use sklearn.model_selection.GridSearchCV"
    )


def test_one_candidate_without_parameters():
    """An empty grid is one candidate."""
    found = HeadSearchCV(HEADS, {}, cv=3).fit(X, Y)
    assert found.cv_results_["params"] == [{}]
    expected = GridSearchCV(HEADS, {}, cv=3).fit(X, Y)
    np.testing.assert_allclose(found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"])


# -- interrupted ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupted_search_is_as_it_was(monkeypatch, error):
    """Ctrl-C ends it, and so does what is nobody's fault; an earlier fit is whole, and a new search unfitted."""
    search = HeadSearchCV(HEADS, {"max_iter": [1, 2]}, cv=3).fit(X, Y)
    before, fresh = pickle.dumps(search), HeadSearchCV(HEADS, {"max_iter": [1, 2]}, cv=3)

    def interrupt(jobs):
        raise error

    monkeypatch.setattr(training, "fit_together", interrupt)
    for one in (search.set_params(cv=4), fresh):
        with pytest.raises(error):
            one.fit(X, Y)
    assert not hasattr(fresh, "cv_results_")
    assert pickle.dumps(search.set_params(cv=3)) == before


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError])
@pytest.mark.parametrize("most", [1, 3])
def test_where_memory_is_short_fewer_heads_are_trained_at_once(monkeypatch, error, most):
    """Halves, until they fit; heads that were half fitted begin anew."""
    sizes = []

    def short(jobs):
        sizes.append(sum(len(job.heads) for job in jobs))
        if sizes[-1] > most:
            jobs[0].heads[0].fit(jobs[0].X, jobs[0].y)
            raise error
        return fit_together(jobs)

    fit_together = training.fit_together
    monkeypatch.setattr(training, "fit_together", short)
    grid = {"max_iter": [1, 2, 3], "warm_start": [True]}
    found, expected = both(HEADS, grid, X, Y, cv=3, scoring=FINE)
    assert_same_search(found, expected)
    assert sizes[0] == 9
    assert sum(size for size in sizes if size <= most) == 9


def test_where_memory_is_short_for_one_head_it_fails(monkeypatch):
    """That candidate's fit, and no other."""

    def short(jobs):
        if any(head.n_heads == 5 for job in jobs for head in job.heads):
            raise MemoryError("No room for five.")
        return fit_together(jobs)

    fit_together = training.fit_together
    monkeypatch.setattr(training, "fit_together", short)
    found, error, caught = told(HeadSearchCV, HEADS, {"n_heads": [1, 5, 2]}, X, Y, cv=3)
    assert error is None
    assert np.isnan(found.cv_results_["mean_test_score"]).tolist() == [False, True, False]
    assert any("No room for five." in str(warning.message) for warning in caught)


def test_a_refit_that_fails_is_an_error():
    """Whatever `error_score` is; and the search is unfitted."""
    search = HeadSearchCV(SCALED, {"head__dropout": [0.0, 2]}, cv=3, refit=lambda results: 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InvalidParameterError, match="'dropout'"):
            search.fit(X, Y)
    assert not hasattr(search, "cv_results_")


def test_a_default_embedder_has_no_parameters():
    """As everywhere: the message says what to pass."""
    with pytest.raises(InvalidParameterError, match="Pass an embedder"):
        HeadSearchCV(BertSentimentClassifier(), {"embedder__layers": [-1]}).fit(TEXTS, LABELS)
