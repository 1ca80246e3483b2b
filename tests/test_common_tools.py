"""Laws of every text estimator within scikit-learn's tools: columns, names, copies, displays, pickles, global state."""

from __future__ import annotations

import copy
import pickle
from importlib.metadata import metadata

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.utils import estimator_html_repr

from skbert import TextCleaner
from skbert._base import DOCUMENTATION
from tests._compose import SKLEARN
from tests._inputs import (
    ESTIMATORS,
    PAIRED,
    PAIRS,
    SINGLE,
    TEXTS,
    TRANSFORMERS,
    assert_same,
    cells,
    labels_of,
    odd,
    outputs,
)

NOWHERE = "./no/such/folder"
Y = labels_of(TEXTS)
WORDS = TfidfVectorizer(token_pattern=r"\w+")
# a value other than the default for some parameters of each, nested ones too
CHANGES = {
    "TextCleaner": {"urls": "drop", "case": "lower", "stop_words": ["a"], "repeated_chars": None},
    "BertEmbedder": {"pooling": "cls", "layers": [-1, -2], "max_length": 12, "missing": "empty"},
    "BertSentimentClassifier": {"embedder__pooling": "cls", "hidden_layer_sizes": (), "class_weight": "balanced"},
}


@pytest.fixture
def build(tiny_bert_folder):
    """Return a function from a name to a new estimator over the tiny model."""
    return lambda name: ESTIMATORS[name](tiny_bert_folder)


# -- columns and names ---------------------------------------------------------------------------------------------


def tables(library):
    """Return the texts as the column "tweet" of a frame, beside a number, in pandas or polars."""
    if library == "pandas":
        return pd.DataFrame({"likes": np.arange(6.0), "tweet": TEXTS}, index=odd(TEXTS))
    return pytest.importorskip("polars").DataFrame({"likes": np.arange(6.0), "tweet": TEXTS})


@pytest.mark.parametrize("output", ["default", "pandas", "polars"])
@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("column", ["tweet", ["tweet"]], ids=["by name", "by list"])
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_column_goes_through_a_column_transformer(build, name, column, library, output):
    """By its name as a Series, by a list as a frame: the same columns, named after the step, beside the rest."""
    for needed in {library, output} - {"default"}:
        pytest.importorskip(needed)
    X = tables(library)
    if library == "polars" and SKLEARN < (1, 9) and not hasattr(X, "__dataframe__"):
        pytest.skip("scikit-learn below 1.9 reads polars by the interchange protocol, which polars 2 no longer has")
    plain = build(name).fit(TEXTS)
    expected = plain.transform(TEXTS)
    columns = ColumnTransformer([("text", build(name), column)], remainder="passthrough").set_output(transform=output)
    if name == "TextCleaner" and isinstance(column, str) and output == "default":
        # A Series is no block of columns: scikit-learn wants two dimensions of every step.
        with pytest.raises(ValueError, match="should be 2D"):
            columns.fit_transform(X)
        return
    expected = np.array(expected, dtype=object).reshape(6, -1)
    cases = [(columns.fit_transform(X), X, [*range(6)]), (columns.transform(X[::-1]), X[::-1], [*range(6)][::-1])]
    for found, given, order in cases:
        if output != "default":
            assert type(found).__module__.startswith(output)
            assert list(found.columns) == columns.get_feature_names_out().tolist()
            if name == "BertEmbedder":
                assert {str(kind).lower() for kind in list(found.dtypes)[:-1]} == {"float32"}
        if output == library == "pandas":
            pd.testing.assert_index_equal(found.index, given.index)
        rows = np.array(cells(found), dtype=object)
        assert rows[:, -1].tolist() == order
        assert np.array_equal(rows[:, :-1], expected[order])
    names = ["tweet"] if name == "TextCleaner" else plain.get_feature_names_out()
    assert columns.get_feature_names_out().tolist() == [*(f"text__{each}" for each in names), "remainder__likes"]


def test_cleaned_words_and_vectors_in_one_union(build):
    """A cleaner stands before both, or before one of them."""
    both = make_pipeline(build("TextCleaner"), FeatureUnion([("bert", build("BertEmbedder")), ("words", clone(WORDS))]))
    each = FeatureUnion(
        [
            ("bert", make_pipeline(build("TextCleaner"), build("BertEmbedder"))),
            ("words", make_pipeline(build("TextCleaner"), clone(WORDS))),
        ]
    )
    X = SINGLE["Series, odd index with copies"](TEXTS)
    np.testing.assert_array_equal(both.fit_transform(X).toarray(), each.fit_transform(X).toarray())


@pytest.mark.parametrize("rows", [TEXTS, PAIRS], ids=["single", "pairs"])
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_names_of_the_output_are_as_many_as_its_columns(build, name, rows):
    """An array of str objects, after a fit on a list, and the columns' own for a cleaned frame."""
    names = build(name).fit(rows).get_feature_names_out()
    assert isinstance(names, np.ndarray)
    assert names.dtype == object
    assert {type(each) for each in names} == {str}
    assert len(set(names)) == len(names) == (32 if name == "BertEmbedder" else 1 + (rows is PAIRS))
    frame = (PAIRED if rows is PAIRS else SINGLE)["frame"](rows)
    of_frame = build(name).fit(frame).get_feature_names_out().tolist()
    assert of_frame == (frame.columns.tolist() if name == "TextCleaner" else names.tolist())


# -- copies, displays, pickles -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ESTIMATORS)
def test_parameters_go_out_and_in_again(name):
    """get_params, set_params, clone and deepcopy agree, and none of them asks for a model, which is not there."""
    estimator = ESTIMATORS[name](NOWHERE)
    before = estimator.get_params()
    assert type(estimator)(**estimator.get_params(deep=False)).get_params().keys() == before.keys()
    assert estimator.set_params(**CHANGES[name]) is estimator
    after = estimator.get_params()
    assert {key for key, value in after.items() if value is not before[key]} == set(CHANGES[name])
    for key, value in CHANGES[name].items():
        assert after[key] is value
    for other in (clone(estimator), copy.deepcopy(estimator)):
        assert type(other) is type(estimator)
        assert repr(other) == repr(estimator)
        assert other.get_params().keys() == after.keys()
        assert all(other.get_params()[key] == value for key, value in CHANGES[name].items())
        assert not [key for key in vars(other) if key.endswith("_")]
    with pytest.raises(ValueError, match=f"Invalid parameter 'colour' for estimator {name}"):
        estimator.set_params(colour="red")


@pytest.mark.parametrize("name", ESTIMATORS)
def test_repr_shows_what_was_set(name):
    """Only what is not the default; in a pipeline too, and without the model, which is not there."""
    estimator = ESTIMATORS[name](NOWHERE).set_params(**CHANGES[name])
    for shown in (repr(estimator), str(estimator), repr(make_pipeline(estimator))):
        for key, value in CHANGES[name].items():
            assert f"{key.rpartition('__')[2]}={value!r}" in shown
        assert f"{name}(" in shown
        assert " at 0x" not in shown
        assert "verbose" not in shown


@pytest.mark.parametrize("is_fitted", [False, True], ids=["unfitted", "fitted"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_notebook_shows_an_estimator_without_its_model(build, name, is_fitted):
    """HTML, and dir() for the completion of names; alone and in a pipeline. A display must not reach for a network."""
    estimator = ESTIMATORS[name](NOWHERE)
    if is_fitted:
        gone = {key: value for key, value in estimator.get_params().items() if key.endswith("model")}
        estimator = build(name).fit(TEXTS, Y).set_params(**gone)
    for shown in (estimator, make_pipeline(TextCleaner(), estimator)):
        html = estimator_html_repr(shown)
        assert name in html
        assert f"{DOCUMENTATION}/reference/generated/skbert.{name}.html" in html
        assert ("Not fitted" in html) == (not is_fitted and name not in TRANSFORMERS)
        assert "get_params" in dir(shown)


def test_links_lead_to_the_documentation_that_the_project_names():
    """The address in pyproject.toml and the one in the links are the same."""
    assert dict(url.split(", ") for url in metadata("skbert").get_all("Project-URL"))["Documentation"] == DOCUMENTATION


@pytest.mark.parametrize("dump", ["pickle", "joblib", "deepcopy"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_fitted_copy_gives_the_same(build, name, dump, tmp_path):
    """To the bit, for single texts in any container, with names and output settings kept."""
    frame = SINGLE["frame"](TEXTS)
    estimator = build(name).fit(frame, Y)
    if name in TRANSFORMERS:
        estimator.set_output(transform="pandas")
    expected = outputs(estimator, frame)
    if dump == "pickle":
        again = pickle.loads(pickle.dumps(estimator))
    elif dump == "joblib":
        joblib.dump(estimator, tmp_path / "estimator.joblib")
        again = joblib.load(tmp_path / "estimator.joblib", mmap_mode="r")
    else:
        again = copy.deepcopy(estimator)
    found = outputs(again, frame)
    if name in TRANSFORMERS:
        pd.testing.assert_frame_equal(found["transform"], expected["transform"])
    else:
        assert_same(found, expected)
    assert again.feature_names_in_.tolist() == ["tweet"]
    assert repr(again) == repr(estimator)
    assert vars(again).keys() == vars(estimator).keys()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_nothing_global_changes(build, name, global_state):
    """Law 7 for all of them and for every kind of container: fit, use, set_output, displays, copies."""
    estimator = build(name)
    outputs(estimator.fit(TEXTS, Y), TEXTS)  # loads what is loaded once
    inputs = [SINGLE[kind](TEXTS) for kind in ("frame", "polars Series", "(n, 1) array of str", "user's Sequence")]
    state = type(global_state)()
    for X in inputs:
        outputs(build(name).fit(X, Y), X)
        if name in TRANSFORMERS:
            build(name).set_output(transform="pandas").fit_transform(X)
    pickle.loads(pickle.dumps(clone(estimator)))
    estimator_html_repr(estimator)
    state.assert_unchanged()
