"""Laws that hold for every text estimator and every container of texts: inputs x estimators x laws.

``tests/_inputs.py`` has the containers and the estimators. How the estimators
stand in scikit-learn's tools is in test_common_tools.py, what they refuse in
test_common_errors.py and test_common_targets.py.
"""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler

from skbert import BertEmbedder, TextCleaner
from skbert.exceptions import TextInputError
from tests._inputs import (
    CONTAINERS,
    ESTIMATORS,
    PAIRED,
    PAIRS,
    SINGLE,
    TEXTS,
    TRANSFORMERS,
    assert_same,
    assert_same_kind,
    cells,
    comparable,
    is_frame,
    labels_of,
    names_of,
    outputs,
    snapshot,
)


@pytest.fixture(scope="module")
def fitted(tiny_bert_folder):
    """Return each estimator fitted on the plain list, and what it then gives for it, by name and kind of row."""
    found = {}
    for name, make in ESTIMATORS.items():
        for rows in (TEXTS, PAIRS):
            estimator = make(tiny_bert_folder).fit(rows, labels_of(rows))
            found[name, type(rows[0])] = estimator, outputs(estimator, rows)
    return found


@pytest.fixture
def build(tiny_bert_folder):
    """Return a function from a name to a new estimator over the tiny model."""
    return lambda name, **params: ESTIMATORS[name](tiny_bert_folder, **params)


def test_the_catalogue_holds_what_it_says():
    """Otherwise the laws below would be stated of something else."""
    for parameters in CONTAINERS:
        make, rows = parameters.values
        try:
            found = cells(make(rows))
        except pytest.skip.Exception:
            continue
        flat = [
            tuple(row) if isinstance(rows[0], tuple) else row[0] if isinstance(row, list | tuple) else row
            for row in found
        ]
        assert flat == rows, parameters.id
    assert len(SINGLE) + len(PAIRED) == len(CONTAINERS) > 80


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize(("make", "rows"), CONTAINERS)
def test_what_was_fitted_on_a_list_takes_every_container(fitted, name, make, rows):
    """To the bit as for the list, a row a text, in order and of its kind; X stays as it was, dtype and flags too."""
    estimator, expected = fitted[name, type(rows[0])]
    X = make(rows)
    before = snapshot(X)
    found = outputs(estimator, X)
    assert_same(found, expected)
    assert {len(comparable(out)) for out in found.values()} == {len(rows)}
    assert snapshot(X) == before
    assert_as_promised(estimator, X, found, len(rows))


def assert_as_promised(estimator, X, found, n):
    """Check the kinds of outputs: X's own of the cleaner, float32 in C order of the embedder, labels as in classes_."""
    if isinstance(estimator, TextCleaner):
        assert_same_kind(found["transform"], X)
        assert found["transform"] is not X
    elif isinstance(estimator, BertEmbedder):
        (vectors,) = found.values()
        assert type(vectors) is np.ndarray
        assert (vectors.shape, vectors.dtype) == ((n, 32), np.float32)
        assert vectors.flags.c_contiguous
        assert vectors.flags.writeable
        assert vectors.base is None or vectors.base.nbytes == vectors.nbytes  # nothing larger is kept alive
    else:
        labels, proba, scores = found["predict"], found["predict_proba"], found["decision_function"]
        assert labels.dtype == estimator.classes_.dtype
        assert labels.shape == scores.shape == (n,)
        assert proba.shape == (n, 2)
        assert proba.dtype == scores.dtype == np.float64
        np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
        assert np.array_equal(estimator.classes_[proba.argmax(axis=1)], labels)
        assert np.array_equal(scores > 0, labels == estimator.classes_[1])


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize(("make", "rows"), CONTAINERS)
def test_what_was_fitted_on_any_container_takes_a_list(build, fitted, name, make, rows):
    """The container of the fit does not matter, and the fit leaves it as it was."""
    X, y = make(rows), labels_of(rows)
    before = snapshot(X)
    estimator = build(name)
    assert estimator.fit(X, y) is estimator
    assert snapshot(X) == before
    expected = fitted[name, type(rows[0])][1]
    assert_same(outputs(estimator, rows), expected)
    assert_same(outputs(estimator, X), expected)


@pytest.mark.parametrize("name", TRANSFORMERS)
@pytest.mark.parametrize(("make", "rows"), CONTAINERS)
def test_transformers_need_no_fit(build, fitted, name, make, rows):
    """fit_transform is fit and transform is transform alone."""
    X = make(rows)
    expected = fitted[name, type(rows[0])][1]
    assert_same({"transform": build(name).transform(X)}, expected)
    assert_same({"transform": build(name).fit_transform(X)}, expected)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize(("make", "rows"), CONTAINERS)
def test_only_frames_leave_names(build, name, make, rows):
    """n_features_in_ and feature_names_in_ are those of a frame, there is none after anything else."""
    X = make(rows)
    estimator = build(name).fit(X, labels_of(rows))
    if is_frame(X):
        assert estimator.n_features_in_ == len(names_of(X))
        assert estimator.feature_names_in_.dtype == object
        assert estimator.feature_names_in_.tolist() == names_of(X)
    else:
        assert not hasattr(estimator, "n_features_in_")
        assert not hasattr(estimator, "feature_names_in_")


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("make", ["frame", "polars frame", "pyarrow Table"])
def test_a_frame_with_another_column_is_refused(build, name, make):
    """As scikit-learn does: what was fitted on "tweet" takes no "reply"."""
    X = SINGLE[make](TEXTS)
    estimator = build(name).fit(X, labels_of(TEXTS))
    if isinstance(X, pd.DataFrame):
        other = X.rename(columns={"tweet": "reply"})
    else:
        other = X.rename({"tweet": "reply"}) if hasattr(X, "rows") else X.rename_columns(["reply"])
    for method in ("transform", "predict", "predict_proba", "decision_function"):
        if hasattr(estimator, method):
            with pytest.raises(TextInputError, match=r"^The feature names should match .*'tweet'.*'reply'"):
                getattr(estimator, method)(other)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_columns_that_are_numbers_are_no_names(build, name):
    """As in scikit-learn, which knows str only: they are counted, and nothing is compared later."""
    frame = pd.DataFrame(PAIRS, columns=[0, 1])
    theirs = StandardScaler().fit(pd.DataFrame(np.eye(2), columns=[0, 1]))
    estimator = build(name).fit(frame, labels_of(PAIRS))
    assert estimator.n_features_in_ == theirs.n_features_in_ == 2
    assert not hasattr(theirs, "feature_names_in_")
    assert not hasattr(estimator, "feature_names_in_")
    assert_same(outputs(estimator, frame.set_axis([5, 6], axis="columns")), outputs(estimator, PAIRS))


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("name", TRANSFORMERS)
@pytest.mark.parametrize(("make", "rows"), CONTAINERS)
def test_set_output_gives_a_frame_of_each_container(build, fitted, name, make, rows, library):
    """The values and the names of the transformer, X's index for pandas; fitted or not, nothing else is set."""
    frames = pytest.importorskip(library)
    X = make(rows)
    if name == "TextCleaner" and library == "polars" and is_frame(X) and len(set(names_of(X))) < len(names_of(X)):
        pytest.skip("polars has no frame with one name twice")
    expected = comparable(fitted[name, type(rows[0])][1]["transform"])
    estimator = build(name)
    params = estimator.get_params()
    estimator.set_output(transform=library)
    assert estimator.get_params() == params
    assert vars(estimator).keys() - vars(build(name)).keys() == {"_sklearn_output_config"}
    found = [estimator.transform(X), estimator.fit(X).transform(X), estimator.fit_transform(X)]
    with config_context(transform_output=library):
        found.append(build(name).fit_transform(X))
    for frame in found:
        assert isinstance(frame, frames.DataFrame)
        if name == "BertEmbedder":
            np.testing.assert_array_equal(frame.to_numpy(), expected)
            assert {str(kind).lower() for kind in frame.dtypes} == {"float32"}
        else:
            assert [tuple(row) if isinstance(expected[0], tuple) else row[0] for row in cells(frame)] == list(expected)
        if library == "pandas":
            index = X.index if isinstance(X, pd.DataFrame | pd.Series) else pd.RangeIndex(len(rows))
            pd.testing.assert_index_equal(frame.index, index)
    for frame in found[1:]:
        assert list(frame.columns) == estimator.get_feature_names_out().tolist()
    estimator.set_output(transform="default")
    assert_same({"transform": estimator.transform(X)}, fitted[name, type(rows[0])][1])


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("rows", [TEXTS, PAIRS], ids=["single", "pairs"])
def test_neither_order_nor_neighbours_matter(fitted, name, rows):
    """Whatever rows are asked for, and how they are sorted, a text's outputs are its own, within 1e-5."""
    estimator, whole = fitted[name, type(rows[0])]
    for chosen in (range(len(rows))[::-1], [2], [1, 3], [0, 0, 3, 0], [*range(len(rows))] * 3):
        found = outputs(estimator, [rows[row] for row in chosen])
        for method, out in found.items():
            values, expected = comparable(out), comparable(whole[method])[list(chosen)]
            if values.dtype.kind == "f":
                scale = np.maximum(1, np.abs(expected).max())
                np.testing.assert_allclose(values / scale, expected / scale, rtol=0, atol=1e-5, err_msg=method)
            else:
                assert values.tolist() == expected.tolist()


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("rows", [TEXTS, PAIRS], ids=["single", "pairs"])
def test_a_second_fit_gives_the_same(build, fitted, name, rows):
    """On the same data a fit is idempotent, and after other data it forgets them."""
    _, expected = fitted[name, type(rows[0])]
    estimator, y = build(name), labels_of(rows)
    estimator.fit(pd.DataFrame({"other": ["a", "b", "c"]}), ["x", "y", "z"])
    for _ in range(2):
        assert_same(outputs(estimator.fit(rows, y), rows), expected)
        assert vars(estimator).keys() == vars(clone(estimator).fit(rows, y)).keys()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_fit_keeps_nothing_of_x(build, name):
    """What comes after cannot depend on what the user does with X, and a pickle holds no texts."""
    rows = [f"{text} 73905" for text in TEXTS]
    pickled = pickle.dumps(build(name).fit(rows, labels_of(rows)))
    # As str objects and raw buffers hold it, and as NumPy's arrays of str do. That either is found is shown first.
    for held, coded in ((rows, b"73905"), (np.array(rows), np.array("73905").tobytes())):
        assert coded in pickle.dumps(held)
        assert coded not in pickled
