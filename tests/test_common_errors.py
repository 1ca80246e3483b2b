"""What every text estimator refuses as X: each with its message, and before a model is asked for.

The estimators here name a folder that is not there: had one touched its model,
a ModelNotFoundError would be raised instead. Where scikit-learn refuses the
same thing, it is called too, and says how the message has to begin.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from skbert.exceptions import MissingTextError, ModelNotFoundError, TextInputError
from tests._inputs import (
    ESTIMATORS,
    PAIRS,
    TEXTS,
    TRANSFORMERS,
    Words,
    arrow_array,
    arrow_table,
    comparable,
    labels_of,
    objects,
    polars_series,
    series,
    string_dtype,
)

NOWHERE = "./no/such/folder"
FRAME = pd.DataFrame({"id": ["1", "2"], "text": ["a", "b"], "place": ["x", "y"]})
ROW = r"(TextCleaner|BertEmbedder|BertSentimentClassifier) takes texts, but row "
NAME = "(TextCleaner|BertEmbedder|BertSentimentClassifier)"
WIDE = rf"{NAME} takes one column of texts or two columns of sentence pairs, got 3 columns"
FIX = r"make_column_transformer\(\((TextCleaner|BertEmbedder)\(\), \['id'\]\), remainder='drop'\)"
SEQUENCE = rf"{NAME} takes a list, a tuple, a 1-D array or a Series of str, got "

# name: (what makes X, the message)
REFUSED = {
    "str": (lambda: "one text", r"^Iterable over raw text documents expected, string object received\. .*\[text\]"),
    "np.str_": (lambda: np.str_("one"), "^Iterable over raw text documents expected, string object received"),
    "bytes": (lambda: b"one text", "^Iterable over raw text documents expected, bytes object received"),
    "bytearray": (lambda: bytearray(b"a"), "^Iterable over raw text documents expected, bytearray object received"),
    "generator": (lambda: (text for text in TEXTS), r"generator.* can be read only once\. Pass list\(X\) instead"),
    "iterator": (lambda: iter(TEXTS), r"can be read only once\. Pass list\(X\) instead"),
    "map": (lambda: map(str, TEXTS), r"\(map\) can be read only once\. Pass list\(X\) instead"),
    "open file": (lambda: io.StringIO("a\nb"), r"StringIO.* can be read only once\. Pass list\(X\) instead"),
    "set": (lambda: {"a"}, SEQUENCE + r"set: \{'a'\}\. Pass a sequence of texts"),
    "dict": (lambda: {"a": "b"}, SEQUENCE + r"dict: \{'a': 'b'\}\. Pass a sequence of texts"),
    "values of a dict": (lambda: {"a": "b"}.values(), SEQUENCE + r"dict_values: .*, for example list\(X\)"),
    "keys of a dict": (lambda: {"a": 1}.keys(), SEQUENCE + "dict_keys: "),
    "path": (lambda: Path("texts.csv"), SEQUENCE + r"\w*Path: .*\. Pass a sequence of texts\."),
    "None": (lambda: None, SEQUENCE + "NoneType: None"),
    "number": (lambda: 5, SEQUENCE + "int: 5"),
    "bool": (lambda: True, SEQUENCE + "bool: True"),
    "date": (lambda: np.datetime64("2015-08-06"), SEQUENCE + "datetime64: "),
    "object": (object, SEQUENCE + "object: <object"),
    "class": (lambda: list, SEQUENCE + "type: <class 'list'>"),
    "lazy polars frame": (
        lambda: polars_series(TEXTS).to_frame().lazy(),
        r"A polars LazyFrame holds no texts yet\. Pass X\.collect\(\) instead",
    ),
    "empty list": (
        list,
        rf"^Found array with 0 sample\(s\) \(shape=\(0,\)\) while a minimum of 1 is required by {NAME}",
    ),
    "empty tuple": (tuple, r"^Found array with 0 sample\(s\)"),
    "empty Sequence": (lambda: Words([]), r"^Found array with 0 sample\(s\)"),
    "empty array": (lambda: np.array([], dtype=str), r"^Found array with 0 sample\(s\) \(shape=\(0,\)\)"),
    "empty (0, 1) array": (lambda: np.empty((0, 1), dtype=object), r"^Found array with 0 sample\(s\) \(shape=\(0, 1\)"),
    "empty (0, 2) array": (lambda: np.empty((0, 2), dtype=object), r"^Found array with 0 sample\(s\) \(shape=\(0, 2\)"),
    "empty Series": (lambda: series([]), r"^Found array with 0 sample\(s\)"),
    "empty frame": (lambda: FRAME[["text"]][:0], r"^Found array with 0 sample\(s\) \(shape=\(0, 1\)\)"),
    "empty polars Series": (lambda: polars_series([]), r"^Found array with 0 sample\(s\)"),
    "empty pyarrow Array": (lambda: arrow_array([]), r"^Found array with 0 sample\(s\)"),
    "0-d array": (lambda: np.array("a"), r"^Expected a 1-D array of texts, .* shape \(\)\. Reshape your data"),
    "3-D array": (
        lambda: np.full((2, 1, 1), "a"),
        rf"^Found array with dim 3, while dim <= 2 is required by {NAME}\. .* shape \(2, 1, 1\)\. Reshape your data",
    ),
    "three columns": (lambda: FRAME, WIDE + r": \['id', 'text', 'place'\]\. .*" + FIX),
    "three columns of polars": (
        lambda: pytest.importorskip("polars").DataFrame(FRAME.to_dict("list")),
        WIDE + r": \['id', 'text', 'place'\]\. .*" + FIX,
    ),
    "three columns of pyarrow": (lambda: arrow_table(FRAME.to_dict("list")), WIDE + r": \['id', .*" + FIX),
    "(n, 3) array": (FRAME.to_numpy, WIDE + r"\. Name the text column in a ColumnTransformer"),
    "numeric (n, 3) array": (lambda: np.ones((2, 3)), WIDE),
    "no columns": (lambda: FRAME[[]], f"{NAME} takes one column .* got 0 columns"),
    "sparse matrix": (lambda: sparse.eye(2, format="csr"), rf"^Sparse data was passed for X, but {NAME} takes texts"),
    "sparse array": (lambda: sparse.csr_array(np.eye(2)), rf"^Sparse data was passed for X, but {NAME} takes texts"),
    "complex array": (lambda: np.array([1j]), "^Complex data not supported"),
    "complex (n, 3) array": (lambda: np.ones((2, 3)) * 1j, "^Complex data not supported"),
    "complex list": (lambda: [1j], "^Complex data not supported: .* row 0 of X is of type complex: 1j"),
    "complex frame": (lambda: pd.DataFrame({"a": [1j]}), "^Complex data not supported: .* row 0 of X"),
    "numbers": (lambda: [0.5, 1.5], rf"^{ROW}0 of X is of type float: 0\.5\. Convert it first"),
    "numeric array": (lambda: np.arange(3), rf"^{ROW}0 of X is of type int: 0\. .*X\.astype\(str\)"),
    "numeric (n, 1) array": (lambda: np.ones((2, 1)), rf"^{ROW}0 of X is of type float: 1\.0"),
    "numeric frame": (lambda: pd.DataFrame({"year": [2015]}), rf"^{ROW}0 of X is of type int: 2015"),
    "dates": (lambda: pd.Series(pd.to_datetime(["2015-08-06"])), rf"^{ROW}0 of X is of type Timestamp"),
    "booleans": (lambda: pd.Series([True, False]), rf"^{ROW}0 of X is of type bool: True"),
    "number among texts": (lambda: ["a", 7], rf"^{ROW}1 of X is of type int: 7"),
    "number in a user's sequence": (lambda: Words(["a", 7]), rf"^{ROW}1 of X is of type int: 7"),
    "dict among texts": (lambda: ["a", {"b": 1}], rf"^{ROW}1 of X is of type dict: \{{'b': 1\}}"),
    "set among texts": (lambda: objects(["a", {"b"}]), rf"^{ROW}1 of X is of type set"),
    "number among long texts": (lambda: ["x" * 80, 7, "y" * 80], rf"^{ROW}1 of X is of type int: 7\. .*\[str"),
    "bytes among texts": (lambda: ["a", b"b"], rf"^{ROW}1 of X is of type bytes: b'b'\. Decode .*\.decode\('utf-8'\)"),
    "array of bytes": (lambda: np.array([b"a"]), rf"^{ROW}0 of X is of type bytes: b'a'\. Decode it first"),
    "arrays as rows": (
        lambda: [np.array(["a"])],
        rf"^{ROW}0 of X is of type ndarray: .*\[row\.tolist\(\) for row in X",
    ),
    "bytes in a pair": (lambda: [("a", "b"), ("c", b"d")], rf"^{ROW}1 of X is of type bytes: b'd'"),
    "number in a pair": (lambda: [("a", "b"), ("x", 3)], rf"^{ROW}1 of X is of type int: 3"),
    "number beside a text": (
        lambda: pd.DataFrame({"text": ["x", "y"], "likes": [3, 4]}),
        r"reads the two columns \['text', 'likes'\] as sentence pairs, but row 0 of 'likes' is of type int: 3\. "
        r"Name the text column in a ColumnTransformer: make_column_transformer\(\(\w+\(\), \['text'\]\)",
    ),
    "pair among single texts": (lambda: ["a", ("b", "c")], rf"^{ROW}1 of X is of type tuple: \('b', 'c'\)\. Pass 2-"),
    "single text among pairs": (lambda: [*PAIRS, "c"], r"^Row 4 of X must be a pair of texts, .* got 'c'\. Pass 2-"),
    "triple": (lambda: [("a", "b", "c")], r"^Row 0 of X must be a pair of texts, .* got \('a', 'b', 'c'\)\. Pass 2-"),
    "long row": (lambda: [["a"] * 1000], r"^Row 0 of X must be a pair of texts, .*…"),
    "empty row": (lambda: [[]], r"^Row 0 of X must be a pair of texts, as X holds pairs, got \[\]"),
    "nested row": (lambda: [[["a"]]], rf"^{ROW}0 of X is of type list: \['a'\]\. Pass 2-tuples of str in every row"),
    "lone surrogate": (lambda: ["a", "b \ud83d"], r"^Row 1 of X holds a lone surrogate \('\\ud83d'\).* Clean it"),
    "halves of a character": (lambda: ["\ud83d", "\ude00"], "^Row 0 of X holds a lone surrogate"),
    "lone surrogate in a pair": (lambda: [("a", "\udc00")], "^Row 0 of X holds a lone surrogate"),
}

MISSING = {
    "None": lambda: ["a", None, "b", None],
    "NaN": lambda: ["a", np.nan, "b", float("nan")],
    "pd.NA": lambda: pd.Series(["a", pd.NA, "b", None], dtype="string"),
    "objects": lambda: objects(["a", None, "b", np.nan])[:, None],
    "StringDType": lambda: string_dtype(["a", None, "b", None], na_object=None),
    "category": lambda: pd.DataFrame({"text": series(["a", None, "b", None], "category")}),
    "polars": lambda: polars_series(["a", None, "b", None]),
    "pyarrow": lambda: arrow_array(["a", None, "b", None]),
    "masked": lambda: np.ma.array(["a", "hidden", "b", "hidden"], mask=[0, 1, 0, 1]),
}


def calls(name, estimator, fitted, X):
    """Return every method that takes X, as a call of it; a method that needs a fit has had it."""
    try:
        y = labels_of(TEXTS)[: len(X)]
    except TypeError:  # X has no length
        y = labels_of(TEXTS)
    if name in TRANSFORMERS:
        return {
            "fit": lambda: estimator.fit(X),
            "transform": lambda: estimator.transform(X),
            "fit_transform": lambda: estimator.fit_transform(X),
            "fitted transform": lambda: fitted.transform(X),
        }
    return {
        "fit": lambda: estimator.fit(X, y),
        "partial_fit": lambda: estimator.partial_fit(X, y, classes=["bad", "good"]),
        "further partial_fit": lambda: fitted.partial_fit(X, y),
        "predict": lambda: fitted.predict(X),
        "predict_proba": lambda: fitted.predict_proba(X),
        "decision_function": lambda: fitted.decision_function(X),
        "score": lambda: fitted.score(X, y),
    }


@pytest.fixture(scope="module", params=ESTIMATORS)
def pair(request, tiny_bert_folder):
    """Return a name, an unfitted and a fitted estimator; the model of both is no longer there."""
    name = request.param
    fitted = ESTIMATORS[name](tiny_bert_folder).fit(TEXTS, labels_of(TEXTS))
    if name == "BertEmbedder":
        fitted.set_params(model=NOWHERE)
    elif name == "BertSentimentClassifier":
        fitted.set_params(embedder__model=NOWHERE)
    return name, ESTIMATORS[name](NOWHERE), fitted


def test_the_model_is_not_there(pair):
    """What the tests below rest on: an X that is right comes as far as the model."""
    name, estimator, fitted = pair
    for call in calls(name, estimator, fitted, TEXTS).values():
        if name == "TextCleaner":
            assert call() is not None
        else:
            with pytest.raises(ModelNotFoundError):
                call()


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_text_input_is_refused_by_every_method(pair, kind):
    """With the same message, of the user's estimator, as ValueError and TypeError; nothing is learned."""
    name, estimator, fitted = pair
    make, message = REFUSED[kind]
    methods = calls(name, estimator, fitted, make())
    for method in methods:
        X = make()  # a generator is another one for each call
        with pytest.raises(TextInputError, match=f"(?s){message}") as caught:
            calls(name, estimator, fitted, X)[method]()
        assert isinstance(caught.value, ValueError)
        assert isinstance(caught.value, TypeError)
        assert caught.value.__cause__ is None
        others = {*ESTIMATORS} - {name}
        advised = name
        if name == "BertSentimentClassifier":  # whose advice names what can stand in a ColumnTransformer
            others.remove("BertEmbedder")
            advised = "BertEmbedder"
        if "make_column_transformer(" in str(caught.value):
            assert f"make_column_transformer(({advised}()," in str(caught.value)
        assert not [other for other in others if other in str(caught.value)], method
        assert len(str(caught.value)) < 420
    assert not [key for key in vars(estimator) if key.endswith("_")]


@pytest.mark.parametrize("kind", MISSING)
def test_missing_texts_are_refused_or_pass_through(pair, kind):
    """The embedder and the classifier name the rows and both ways out; the cleaner leaves them alone."""
    name, estimator, fitted = pair
    for call in calls(name, estimator, fitted, MISSING[kind]()).values():
        if name == "TextCleaner":
            out = call()
            assert out is estimator or comparable(out).tolist() == ["a", None, "b", None]
        else:
            parameter = "embedder__missing" if name == "BertSentimentClassifier" else "missing"
            words = r"^X has 2 missing text\(s\) .* in rows 1, 3\. Drop these rows, fill them, or set "
            match = f"{words}{parameter}='empty'"
            with pytest.raises(ValueError, match=match) as caught:  # as a CountVectorizer that meets NaN
                call()
            assert isinstance(caught.value, MissingTextError)


@pytest.mark.parametrize("name", ["BertEmbedder", "BertSentimentClassifier"])
@pytest.mark.parametrize("kind", MISSING)
def test_missing_texts_can_be_empty_texts(tiny_bert_folder, name, kind):
    """missing="empty" gives them what "" gets, in every container and by every method."""
    estimator = ESTIMATORS[name](tiny_bert_folder, missing="empty")
    X, plain = MISSING[kind](), ["a", "", "b", ""]
    y = labels_of(plain)
    for method in ("transform", "predict_proba"):
        if hasattr(estimator, method):
            expected = getattr(estimator.fit(plain, y), method)(plain)
            assert np.array_equal(getattr(estimator, method)(X), expected)
            assert np.array_equal(getattr(estimator.fit(X, y), method)(plain), expected)


# -- beside scikit-learn -------------------------------------------------------------------------------------------


def said(call, error, ours):
    """Return what LogisticRegression says of a mistake, with our estimator's name for its own."""
    with pytest.raises(error) as caught:
        call()
    return str(caught.value).replace("LogisticRegression", ours)


X_NUMBERS, Y = np.arange(4.0)[:, None], ["a", "b", "a", "b"]
# what makes our X, what scikit-learn says of its counterpart, its error, how much of the message has to be the same
BESIDE = {
    "str": (lambda: "one text", lambda: CountVectorizer().fit("one text"), ValueError, r".*received\."),
    "empty": (
        lambda: np.empty((0, 1), dtype=object),
        lambda: LogisticRegression().fit(np.empty((0, 1)), []),
        ValueError,
        r".*required by \w+\.",
    ),
    "sparse": (
        lambda: sparse.csr_matrix(X_NUMBERS),
        lambda: GaussianNB().fit(sparse.csr_matrix(X_NUMBERS), Y),
        TypeError,
        "Sparse data was passed for X, but ",
    ),
    "complex": (
        lambda: X_NUMBERS * 1j,
        lambda: LogisticRegression().fit(X_NUMBERS * 1j, Y),
        ValueError,
        "Complex data not supported",
    ),
    "3-D": (
        lambda: np.full((4, 1, 1), "a"),
        lambda: LogisticRegression().fit(X_NUMBERS[:, :, None], Y),
        ValueError,
        "Found array with dim 3",
    ),
    "dict among texts": (
        lambda: ["a", {}],
        lambda: LogisticRegression().fit(np.array([[1], [{}]], dtype=object), Y[:2]),
        TypeError,
        "",
    ),
    "None": (lambda: None, lambda: CountVectorizer().fit(None), TypeError, ""),
    "number": (lambda: 5, lambda: CountVectorizer().fit(5), TypeError, ""),
}


@pytest.mark.parametrize("kind", BESIDE)
def test_mistakes_are_told_as_scikit_learn_tells_them(pair, kind):
    """The error is of scikit-learn's class, and begins with its words where it has any of use."""
    name, estimator, fitted = pair
    make, theirs, error, same = BESIDE[kind]
    told = said(theirs, error, name)
    begin = re.match(same, told)
    assert begin, f"scikit-learn now says: {told}"
    for call in calls(name, estimator, fitted, make()).values():
        with pytest.raises(error) as caught:
            call()
        assert isinstance(caught.value, TextInputError)
        assert str(caught.value).startswith(begin.group())
