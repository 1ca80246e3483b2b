"""What a text classifier refuses as y, classes and sample_weight, and takes with scikit-learn's warning.

As in test_common_errors.py the model is not there, so that an error which came
after it had been asked for would be a ModelNotFoundError; and scikit-learn's
own classifiers say how a message has to begin.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression, SGDClassifier

from skbert.exceptions import ModelNotFoundError
from tests._inputs import ESTIMATORS, TEXTS, labels_of, objects

NAME = "BertSentimentClassifier"
NOWHERE = "./no/such/folder"
Y = labels_of(TEXTS)
N = len(TEXTS)
NUMBERS = np.arange(float(N))[:, None]
ONES = np.ones(N)


def reference():
    """Return scikit-learn's classifier to compare with; this solver does without SciPy, whose warnings come and go."""
    return LogisticRegression(solver="liblinear")


@pytest.fixture
def nowhere():
    """Return a classifier whose model is not there."""
    return ESTIMATORS[NAME](NOWHERE)


@pytest.fixture
def fitted(tiny_bert_folder):
    """Return a fitted classifier whose model is no longer there."""
    return ESTIMATORS[NAME](tiny_bert_folder).fit(TEXTS, Y).set_params(embedder__model=NOWHERE)


def test_the_model_is_not_there(nowhere, fitted):
    """What the tests below rest on: right arguments come as far as the model."""
    for call in (
        lambda: nowhere.fit(TEXTS, Y, ONES),
        lambda: nowhere.partial_fit(TEXTS, Y, ["bad", "good"], ONES),
        lambda: fitted.partial_fit(TEXTS, Y),
        lambda: fitted.score(TEXTS, Y, ONES),
    ):
        with pytest.raises(ModelNotFoundError):
            call()


ABSENT = objects(["bad", "good", np.nan, "bad", "good", "bad"])
# name: (y, the error, the message, how much of what scikit-learn says our message has to begin with)
TARGETS = {
    "None": (None, ValueError, "requires y to be passed, but the target y is None", ".*"),
    "shorter": (Y[:-1], ValueError, r"inconsistent numbers of samples: \[6, 5\]", ".*"),
    "longer": ([*Y, "bad"], ValueError, r"inconsistent numbers of samples: \[6, 7\]", ".*"),
    "continuous": (np.linspace(0, 1, N), ValueError, r"Unknown label type: continuous\.", r".*?\."),
    "NaN": ([0, 1, np.nan, 0, 1, 0], ValueError, r"y contains NaN", ".*"),
    "infinity": ([0, 1, np.inf, 0, 1, 0], ValueError, "y contains infinity", "Input y contains infinity"),
    "NaN among objects": (ABSENT, ValueError, "contains NaN", ".*"),
    "one class": (["bad"] * N, ValueError, "needs samples of at least 2 classes.* only one class: 'bad'", ""),
    "two columns": (np.array([Y, Y]).T, ValueError, r"y should be a 1d array, got an array of shape \(6, 2\)", ".*"),
    "3-D": (np.array(Y)[:, None, None], ValueError, "dim 3|1d array", ""),
    "one label": ("bad", ValueError, r"y should be a 1d array, got an array of shape \(\) instead", ".*"),
    "number": (1, ValueError, r"y should be a 1d array, got an array of shape \(\) instead", ".*"),
}


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")  # scikit-learn's, of NaN in y
@pytest.mark.parametrize("kind", TARGETS)
def test_wrong_targets_are_refused_before_a_model_is_asked_for(nowhere, kind):
    """In scikit-learn's words and class, by fit and by partial_fit; nothing is learned."""
    y, error, message, same = TARGETS[kind]
    with pytest.raises(error) as theirs:
        reference().fit(NUMBERS, y)
    begin = re.match(same, str(theirs.value).replace("LogisticRegression", NAME))
    assert begin, f"scikit-learn now says: {theirs.value}"
    calls = [lambda: nowhere.fit(TEXTS, y)]
    if kind != "one class":  # a part of the data may have one class only
        classes = ["bad", "good"] if kind not in ("continuous", "NaN", "infinity") else [0, 1]
        calls.append(lambda: nowhere.partial_fit(TEXTS, y, classes=classes))
    for call in calls:
        with pytest.raises(error, match=f"(?s){message}") as ours:
            call()
        assert str(ours.value).startswith(begin.group())
    assert not [name for name in vars(nowhere) if name.endswith("_")]


WEIGHTS = {
    "too short": (ONES[:2], r"^sample_weight\.shape == \(2,\), expected \(6,\)"),
    "too long": (np.ones(N + 1), r"^sample_weight\.shape == \(7,\), expected \(6,\)"),
    "one column": (ONES[:, None], r"^sample_weight\.shape == \(6, 1\), expected \(6,\)"),
    "negative": ([1, 1, -1, 1, 1, 1], r"^sample_weight has 1 negative values, the first in row 2"),
    "NaN": ([1, np.nan, 1, 1, 1, 1], r"^Input sample_weight contains NaN"),
    "infinity": ([1, np.inf, 1, 1, 1, 1], r"^Input sample_weight contains infinity"),
    "all zero": (np.zeros(N), "sample_weight are all zero"),
    "all zero for one class": ((Y == "bad").astype(float), "only one class: 'bad'"),
    "str": (["much"] * N, "could not convert string to float"),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_wrong_weights_are_refused_before_a_model_is_asked_for(nowhere, kind):
    """They name the row or the shape; where scikit-learn refuses them, our error begins as its does."""
    weight, message = WEIGHTS[kind]
    told = None
    try:
        reference().fit(NUMBERS, Y, sample_weight=weight)
    except ValueError as error:
        told = str(error)
    with pytest.raises(ValueError, match=message) as caught:
        nowhere.fit(TEXTS, Y, sample_weight=weight)
    if told is not None and kind in ("too short", "too long", "NaN", "infinity", "str"):
        assert str(caught.value)[:25] == told[:25]
    if kind != "all zero for one class":
        with pytest.raises(ValueError, match=message):
            nowhere.partial_fit(TEXTS, Y, classes=["bad", "good"], sample_weight=weight)


@pytest.mark.parametrize(
    "weight", [[1, 2, 1, 2, 1, 2], (1, 2, 1, 2, 1, 2), pd.Series([1, 2] * 3, index=list("abcdef"))], ids=type
)
def test_weights_come_in_any_container_and_stay_as_they_were(tiny_bert_folder, weight):
    """A list, a tuple and a Series count as the array, whatever the index."""
    before = repr(weight)
    found = ESTIMATORS[NAME](tiny_bert_folder).fit(TEXTS, Y, sample_weight=weight).predict_proba(TEXTS)
    expected = ESTIMATORS[NAME](tiny_bert_folder).fit(TEXTS, Y, sample_weight=np.array([1.0, 2] * 3))
    assert np.array_equal(found, expected.predict_proba(TEXTS))
    assert repr(weight) == before
    unweighted = ESTIMATORS[NAME](tiny_bert_folder).fit(TEXTS, Y).predict_proba(TEXTS)
    assert not np.array_equal(found, unweighted)


def test_a_column_of_labels_is_taken_with_scikit_learns_warning(tiny_bert_folder):
    """An (n, 1) y is meant as (n,): DataConversionWarning, said once, and the same classifier."""
    expected = ESTIMATORS[NAME](tiny_bert_folder).fit(TEXTS, Y).predict_proba(TEXTS)
    with pytest.warns(DataConversionWarning) as theirs:
        reference().fit(NUMBERS, Y[:, None])
    with pytest.warns(DataConversionWarning) as ours:
        found = ESTIMATORS[NAME](tiny_bert_folder).fit(TEXTS, Y[:, None])
    assert [str(warning.message) for warning in ours] == [str(warning.message) for warning in theirs]
    assert np.array_equal(found.predict_proba(TEXTS), expected)


@pytest.mark.parametrize(
    "container",
    [list, tuple, objects, pd.Series, lambda y: pd.Series(y, dtype="category", index=list("aabbcc")), pd.Index],
    ids=["list", "tuple", "objects", "Series", "category, odd index", "Index"],
)
def test_labels_come_in_any_container(tiny_bert_folder, container):
    """Rows go by their place, never by an index, and the labels come back."""
    expected = ESTIMATORS[NAME](tiny_bert_folder).fit(TEXTS, Y)
    found = ESTIMATORS[NAME](tiny_bert_folder).fit(TEXTS, container(Y))
    assert found.classes_.tolist() == ["bad", "good"]
    assert np.array_equal(found.predict_proba(TEXTS), expected.predict_proba(TEXTS))
    assert found.predict(TEXTS).tolist() == expected.predict(TEXTS).tolist()
    assert found.score(TEXTS, container(Y)) == expected.score(TEXTS, Y)


def test_classes_of_partial_fit(nowhere, fitted):
    """Missing at the first call, other than at the call before, or labels that are none of them."""
    with pytest.raises(ValueError, match=r"classes must be passed on the first call to partial_fit\.") as theirs:
        SGDClassifier().partial_fit(NUMBERS, Y)
    with pytest.raises(ValueError, match=f"^{re.escape(str(theirs.value))}"):
        nowhere.partial_fit(TEXTS, Y)
    with pytest.raises(ValueError, match=r"are not those of the call before, which were \['bad', 'good'\]"):
        fitted.partial_fit(TEXTS, Y, classes=["bad", "worse"])
    with pytest.raises(ValueError, match=r"y holds labels \['worse'\] that are not among the classes"):
        fitted.partial_fit(TEXTS, ["worse", *Y[1:]])


@pytest.mark.parametrize("kind", ["None", "shorter", "two columns", "short weights"])
def test_score_looks_at_y_before_it_asks_for_a_model(fitted, kind):
    """A score over a million texts must not end in a mistake that could be seen at its start."""
    y, weight = (Y, ONES[:2]) if kind == "short weights" else (TARGETS[kind][0], None)
    message = r"y_true|inconsistent numbers of samples|not supported|mix of"
    with pytest.raises(ValueError, match=message):
        reference().fit(NUMBERS, Y).score(NUMBERS, y, weight)
    with pytest.raises(ValueError, match=message):
        fitted.score(TEXTS, y, weight)


@pytest.mark.parametrize("X", [TEXTS, "one text", None], ids=["texts", "str", "None"])
def test_use_before_a_fit_is_told_in_scikit_learns_words(nowhere, X):
    """Whatever X is, and before a model is asked for."""
    with pytest.raises(NotFittedError) as theirs:
        reference().predict(NUMBERS)
    told = re.escape(str(theirs.value).replace("LogisticRegression", NAME))
    for method in (nowhere.predict, nowhere.predict_proba, nowhere.decision_function):
        with pytest.raises(NotFittedError, match=f"^{told}$"):
            method(X)
    with pytest.raises(NotFittedError, match=f"^{told}$"):
        nowhere.score(X, Y)
