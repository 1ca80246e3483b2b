"""What counts as a text input: every kind that the embedder takes, every one that it refuses, and the way back."""

from __future__ import annotations

import builtins
import sys
from collections import deque
from collections.abc import Iterable
from importlib.util import find_spec
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from skbert._texts import check_texts, rebuild
from skbert.exceptions import MissingTextError, TextInputError

TEXTS = ("a burger", "the pizza, cold", "coke")
PAIRS = (("a burger", "with fries"), ("a pizza", "without"))
ODD_INDEX = ["x", "x", 7]


def shout(items: Iterable[object]) -> list[object]:
    """Stand in for a transformer: longer texts, missing ones left alone."""
    return [
        None if item is None else item.upper() + "!!" if isinstance(item, str) else tuple(side + "!!" for side in item)
        for item in items
    ]


def assert_same_kind(new: object, old: object) -> None:
    """Check that container, dtype, index, name, shape and columns are those of the old one."""
    assert type(new) is type(old)
    if isinstance(old, pd.Series | pd.DataFrame):
        pd.testing.assert_index_equal(new.index, old.index)
    if isinstance(old, pd.DataFrame):
        pd.testing.assert_index_equal(new.columns, old.columns)
        assert list(map(str, new.dtypes)) == list(map(str, old.dtypes))  # categories are new, the kind is not
    if isinstance(old, pd.Series | pd.Index):
        assert new.name == old.name
        assert str(new.dtype) == str(old.dtype)
    if isinstance(old, np.ndarray):
        assert new.shape == old.shape
        assert new.dtype.kind == old.dtype.kind


def single_inputs() -> dict[str, object]:
    """Return TEXTS in every kind of container."""
    array = np.array(TEXTS)
    read_only = array.copy()
    read_only.flags.writeable = False
    inputs = {
        "list": list(TEXTS),
        "tuple": TEXTS,
        "list of np.str_": list(array),
        "list of one-item lists": [[text] for text in TEXTS],
        "list of one-item tuples": [(text,) for text in TEXTS],
        "array of str": array,
        "array of objects": array.astype(object),
        "array of StringDType": array.astype(np.dtypes.StringDType()),
        "array (n, 1)": array.reshape(-1, 1),
        "array of objects (n, 1)": array.astype(object).reshape(-1, 1),
        "every other row of an array": np.repeat(array, 2)[::2],
        "read-only array": read_only,
        "Index": pd.Index(TEXTS, name="meal"),
    }
    dtypes = ["object", "string", "str", "category"]
    if find_spec("pyarrow") is not None:
        dtypes += ["string[pyarrow]", pd.ArrowDtype(pytest.importorskip("pyarrow").large_string())]
    for dtype in dtypes:
        series = pd.Series(TEXTS, index=ODD_INDEX, name="meal", dtype=dtype)
        inputs[f"Series of {dtype}"] = series
        inputs[f"frame of {dtype}"] = series.to_frame()
    inputs["frame with a number as name"] = pd.DataFrame({3: TEXTS})
    return inputs


def pair_inputs() -> dict[str, object]:
    """Return PAIRS in every kind of container."""
    frame = pd.DataFrame(PAIRS, columns=["first", "second"], index=[5, 5])
    twins = frame.set_axis(["side", "side"], axis="columns")
    return {
        "list of tuples": list(PAIRS),
        "tuple of tuples": PAIRS,
        "list of lists": [list(pair) for pair in PAIRS],
        "array (n, 2)": np.array(PAIRS),
        "array of objects (n, 2)": np.array(PAIRS, dtype=object),
        "frame": frame,
        "frame of two dtypes": frame.astype({"second": "category"}),
        "frame with one name twice": twins,
    }


@pytest.fixture
def polars():
    """Return polars, which is no dependency of skbert."""
    return pytest.importorskip("polars")


SINGLE = single_inputs()
PAIRED = pair_inputs()


@pytest.mark.parametrize("X", SINGLE.values(), ids=SINGLE.keys())
def test_texts_come_out_of_every_container(X):
    """Whatever holds them, the items are plain str in the order of X."""
    checked = check_texts(X)
    assert checked.items == list(TEXTS)
    assert {type(item) for item in checked.items} == {str}
    assert not checked.is_pairs


@pytest.mark.parametrize("X", PAIRED.values(), ids=PAIRED.keys())
def test_pairs_come_out_of_every_container(X):
    """Two columns, or a sequence of pairs, are tuples of two plain str."""
    checked = check_texts(X)
    assert checked.items == list(PAIRS)
    assert {type(side) for pair in checked.items for side in pair} == {str}
    assert checked.is_pairs


@pytest.mark.parametrize("X", [*SINGLE.values(), *PAIRED.values()], ids=[*SINGLE.keys(), *PAIRED.keys()])
def test_results_go_back_into_the_same_container(X):
    """What rebuild returns is of X's kind and holds the new texts uncut; X itself stays as it is."""
    before = check_texts(X).items
    new_items = shout(before)
    new = rebuild(X, new_items)
    assert_same_kind(new, X)
    assert check_texts(new).items == new_items
    assert check_texts(X).items == before


@pytest.mark.parametrize(
    ("X", "columns"),
    [
        (pd.DataFrame({"text": ["a"]}), ("text",)),
        (pd.DataFrame({"left": ["a"], "right": ["b"]}), ("left", "right")),
        (pd.DataFrame({0: ["a"]}), ("0",)),
        (pd.Series(["a"], name="text"), None),
        (["a"], None),
    ],
)
def test_only_frames_have_column_names(X, columns):
    """The columns are the names of a frame, and None for all else."""
    assert check_texts(X).columns == columns


def test_memory_mapped_array_is_read(tmp_path):
    """A memory-mapped array, as joblib hands to its workers, counts as an array."""
    np.save(tmp_path / "texts.npy", np.array(TEXTS))
    X = np.load(tmp_path / "texts.npy", mmap_mode="r")
    assert check_texts(X).items == list(TEXTS)
    assert rebuild(X, ["x", "y", "a longer one than before"]).tolist() == ["x", "y", "a longer one than before"]


def test_sequence_of_another_kind_is_read():
    """A sequence that numpy can read, such as a deque, holds texts as well."""
    assert check_texts(deque(TEXTS)).items == list(TEXTS)


class TestPolars:
    """polars is recognised without being imported."""

    def test_series_and_frames(self, polars):
        """Series and frames give their texts and get them back, with name and dtype."""
        series = polars.Series("meal", TEXTS)
        frame = polars.DataFrame(PAIRS, schema=["first", "second"], orient="row")
        assert check_texts(series).items == list(TEXTS)
        assert check_texts(series.to_frame()).columns == ("meal",)
        assert check_texts(frame) == (list(PAIRS), True, ("first", "second"))
        for X in (series, series.to_frame(), frame, series.cast(polars.Categorical)):
            new = rebuild(X, shout(check_texts(X).items))
            assert type(new) is type(X)
            assert check_texts(new).items == shout(check_texts(X).items)
            assert new.to_frame().schema == X.to_frame().schema if isinstance(X, polars.Series) else True

    def test_missing_rows_keep_what_they_hold(self, polars):
        """A null stays a null, and the side of a pair that is there stays there."""
        X = polars.DataFrame({"first": ["a", None, "c"], "second": ["d", "e", "f"]})
        new = rebuild(X, shout(check_texts(X, missing="keep").items))
        assert new.rows() == [("a!!", "d!!"), (None, "e"), ("c!!", "f!!")]

    def test_series_of_nulls_keeps_its_dtype(self, polars):
        """A series with nothing but nulls stays one of strings."""
        X = polars.Series("meal", [None, None], dtype=polars.String)
        assert rebuild(X, [None, None]).dtype == polars.String

    def test_enum_becomes_string(self, polars):
        """An Enum knows only its own categories, so that new texts make it a String."""
        X = polars.Series("meal", ["a", None], dtype=polars.Enum(["a"]))
        assert rebuild(X, ["b", None]).to_list() == ["b", None]

    def test_lazy_frame_is_refused(self, polars):
        """A LazyFrame has no rows; the error says how to get them."""
        with pytest.raises(TextInputError, match=r"A polars LazyFrame holds no texts yet\. Pass X\.collect\(\)"):
            check_texts(polars.LazyFrame({"text": ["a"]}))

    def test_wide_frame_is_refused(self, polars):
        """Three columns are named in the error, as with pandas."""
        with pytest.raises(TextInputError, match=r"got 3 columns: \['a', 'b', 'c'\]"):
            check_texts(polars.DataFrame({"a": ["x"], "b": ["y"], "c": ["z"]}))

    def test_absent_polars_does_no_harm(self, monkeypatch):
        """Nothing imports polars, not even where it could not be imported."""
        real_import = builtins.__import__

        def no_polars(name, *args, **kwargs):
            if name.partition(".")[0] == "polars":
                raise ImportError(name)
            return real_import(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", no_polars)
        monkeypatch.setitem(sys.modules, "polars", None)
        for X in (list(TEXTS), pd.Series(TEXTS), pd.DataFrame({"text": TEXTS}), np.array(TEXTS)):
            assert check_texts(rebuild(X, shout(check_texts(X).items))).items == shout(TEXTS)


class TestMissing:
    """None, NaN and pd.NA are missing texts; the policy is the caller's."""

    INPUTS: ClassVar = {
        "list": ["a", None, float("nan"), pd.NA, "b"],
        "NumPy's NaN": ["a", np.nan, np.float32("nan"), np.float64("nan"), "b"],
        "array": np.array(["a", None, np.nan, pd.NA, "b"], dtype=object),
        "one-item rows": [["a"], [None], [np.nan], None, ["b"]],
        "Series of object": pd.Series(["a", None, np.nan, pd.NA, "b"], dtype=object),
        "Series of string": pd.Series(["a", None, None, None, "b"], dtype="string"),
        "Series of str": pd.Series(["a", None, None, None, "b"], dtype="str"),
        "Series of category": pd.Series(["a", None, None, None, "b"], dtype="category"),
        "StringDType": np.array(["a", None, None, None, "b"], dtype=np.dtypes.StringDType(na_object=None)),
        "frame": pd.DataFrame({"text": ["a", None, None, None, "b"]}),
    }

    @pytest.mark.parametrize("X", INPUTS.values(), ids=INPUTS.keys())
    def test_error_names_the_rows(self, X):
        """By default missing texts are an error that lists them."""
        message = r"X has 3 missing text\(s\) .* in rows 1, 2, 3\. Drop these rows, fill them, or set missing='empty'"
        with pytest.raises(MissingTextError, match=message):
            check_texts(X)

    @pytest.mark.parametrize("X", INPUTS.values(), ids=INPUTS.keys())
    def test_empty_and_keep(self, X):
        """With "empty" they are empty texts, with "keep" they are None."""
        assert check_texts(X, missing="empty").items == ["a", "", "", "", "b"]
        assert check_texts(X, missing="keep").items == ["a", None, None, None, "b"]

    @pytest.mark.parametrize("X", INPUTS.values(), ids=INPUTS.keys())
    def test_missing_values_go_back_unchanged(self, X):
        """Each missing row keeps the very value that stood there."""
        new = rebuild(X, shout(check_texts(X, missing="keep").items))
        assert_same_kind(new, X)
        assert check_texts(new, missing="keep").items == ["A!!", None, None, None, "B!!"]

    def test_kind_of_missing_value_is_kept(self):
        """None stays None, NaN stays NaN, pd.NA stays pd.NA."""
        new = rebuild(["a", None, np.nan, pd.NA], ["A", None, None, None])
        assert new[1] is None
        assert new[2] is np.nan
        assert new[3] is pd.NA

    @pytest.mark.parametrize(
        "X",
        [
            [("a", "b"), ("c", None)],
            [("a", "b"), (None, "c")],
            [("a", "b"), None],
            np.array([["a", "b"], ["c", np.nan]], dtype=object),
            pd.DataFrame({"first": ["a", "c"], "second": ["b", None]}),
        ],
        ids=["right", "left", "whole", "array", "frame"],
    )
    def test_pair_with_one_side_missing_is_missing_whole(self, X):
        """One side alone is no pair; the error says so, and "empty" gives the empty text."""
        with pytest.raises(MissingTextError, match=r"1 missing text\(s\) \(.* on one side or both\) in row 1\."):
            check_texts(X)
        assert check_texts(X, missing="empty").items == [("a", "b"), ""]
        assert check_texts(X, missing="keep").items == [("a", "b"), None]

    def test_side_that_is_there_goes_back_unchanged(self):
        """A missing pair keeps both of its sides as they were."""
        X = pd.DataFrame({"first": ["a", "c"], "second": ["b", None]})
        new = rebuild(X, [("A", "B"), None])
        assert new["first"].tolist() == ["A", "c"]
        assert new["second"].isna().tolist() == [False, True]

    def test_long_list_of_rows_is_cut(self):
        """The error shows five rows and an ellipsis."""
        with pytest.raises(MissingTextError, match=r"9 missing text\(s\) .* in rows 0, 1, 2, 3, 4, …\."):
            check_texts([None] * 9 + ["a"])


REFUSED = [
    (
        "one text",
        r"Iterable over raw text documents expected, string object received\. For one text, pass \[text\]",
    ),
    (np.str_("one text"), "string object received"),
    (b"one text", r"Iterable over raw text documents expected, bytes object received"),
    ((text for text in TEXTS), r"A generator or iterator \(generator\) can be read only once\. Pass list\(X\)"),
    (iter(TEXTS), r"can be read only once\. Pass list\(X\) instead"),
    (map(str, TEXTS), r"\(map\) can be read only once"),
    ({"a": "b"}, r"Cleaner takes a list, a tuple, a 1-D array or a Series of str, got dict: \{'a': 'b'\}"),
    ({"a"}, r"got set: \{'a'\}\. Pass a sequence of texts"),
    ({"a": 1}.keys(), "got dict_keys"),
    (None, "got NoneType: None"),
    (5, "got int: 5"),
    (True, "got bool: True"),
    (sparse.eye(2, format="csr"), "A sparse matrix was passed, but Cleaner takes texts"),
    (np.array([1 + 2j]), "Complex data not supported: Cleaner takes texts"),
    ([1 + 2j], "row 0 of X is of type complex"),
    ([b"a", b"b"], r"Cleaner takes texts, but row 0 of X is of type bytes: b'a'\. Decode it first"),
    (np.array([b"a"]), r"row 0 of X is of type bytes: b'a'\. Decode it first, for example text\.decode\('utf-8'\)"),
    (["a", 7], r"row 1 of X is of type int: 7\. Convert it first, for example with X\.astype\(str\)"),
    ([0.5, 1.5], "row 0 of X is of type float: 0.5"),
    (np.arange(3), "row 0 of X is of type int: 0"),
    (pd.Series([True, False]), "row 0 of X is of type bool: True"),
    (pd.DataFrame({"year": [2015]}), "row 0 of X is of type int: 2015"),
    ([("a", b"b")], "row 0 of X is of type bytes: b'b'"),
    ([("a", 3)], "row 0 of X is of type int: 3"),
    (["a", ("b", "c")], r"row 1 of X is of type tuple: \('b', 'c'\)\. Pass 2-tuples of str in every row"),
    ([("a", "b"), "c"], r"Row 1 of X must be a pair of texts, as X holds pairs, got 'c'\. Pass 2-tuples"),
    ([("a", "b", "c")], r"Row 0 of X must be a pair of texts, as X holds pairs, got \('a', 'b', 'c'\)"),
    ([()], r"Row 0 of X must be a pair of texts, as X holds pairs, got \(\)"),
    (np.array("text"), r"Expected a 1-D array of texts, .* got an array of shape \(\)"),
    (np.full((1, 2, 1), "a"), r"got an array of shape \(1, 2, 1\)"),
    (["fine", "bad \ud83d"], r"Row 1 of X holds a lone surrogate \('\\ud83d'\), which is no character"),
    ([("fine", "bad \udc00")], r"Row 0 of X holds a lone surrogate \('\\udc00'\)"),
    (["\ud83d", "\ude00"], r"Row 0 of X holds a lone surrogate"),
    (["x" * 80, 7, "y" * 80], "row 1 of X is of type int: 7"),
]


@pytest.mark.parametrize(("X", "message"), REFUSED, ids=[type(X).__name__ for X, _ in REFUSED])
def test_what_is_no_text_is_refused(X, message):
    """The error names what was passed, the row where there is one, and the remedy."""
    with pytest.raises(TextInputError, match=message):
        check_texts(X, estimator="Cleaner")


@pytest.mark.parametrize(
    "X",
    [
        [],
        (),
        np.array([], dtype=str),
        np.empty((0, 2), dtype=object),
        pd.Series([], dtype=str),
        pd.DataFrame({"t": []}),
    ],
    ids=["list", "tuple", "array", "array (0, 2)", "Series", "frame"],
)
def test_empty_input_is_refused(X):
    """No text at all is scikit-learn's "0 sample(s)" error."""
    with pytest.raises(TextInputError, match=r"0 sample\(s\) .* minimum of 1 is required by Cleaner"):
        check_texts(X, estimator="Cleaner")


def test_three_columns_are_named():
    """A wider frame is refused with its columns and the way through a ColumnTransformer."""
    X = pd.DataFrame({"id": ["1"], "text": ["a"], "label": ["x"]})
    message = (
        r"Cleaner takes one column of texts or two columns of sentence pairs, "
        r"got 3 columns: \['id', 'text', 'label'\]\. Name the text column in a ColumnTransformer: "
        r"make_column_transformer\(\(Cleaner\(\), \['id'\]\), remainder='drop'\)"
    )
    with pytest.raises(TextInputError, match=message):
        check_texts(X, estimator="Cleaner")
    with pytest.raises(TextInputError, match=r"got 3 columns\. Name the text column"):
        check_texts(X.to_numpy(), estimator="Cleaner")


def test_frame_without_columns_is_refused():
    """Rows without a column hold no text."""
    with pytest.raises(TextInputError, match="got 0 columns"):
        check_texts(pd.DataFrame(index=[0, 1]))


def test_long_values_are_cut_in_messages():
    """An error shows the beginning of a long value, not all of it."""
    with pytest.raises(TextInputError) as caught:
        check_texts([["a"] * 1000])
    assert "…" in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("error", [ValueError, TypeError])
def test_errors_are_scikit_learn_s_kind(error):
    """Code that expects scikit-learn's ValueError or TypeError catches them."""
    with pytest.raises(error):
        check_texts("one text")


def test_texts_with_any_characters_pass():
    """Empty texts, line breaks, NUL and characters beyond the basic plane are texts."""
    texts = ["", " ", "a\nb", "nul \x00", "😂", "e\u0301", "\ufffd"]
    assert check_texts(texts).items == texts
    assert rebuild(np.array(texts, dtype=object), texts).tolist() == texts


def test_the_remedy_for_three_columns_names_what_can_stand_in_a_column_transformer():
    """A classifier cannot; the embedder takes its place in the advice."""
    frame = pd.DataFrame({"a": ["x"], "b": ["y"], "c": ["z"]})
    with pytest.raises(TextInputError, match=r"make_column_transformer\(\(BertEmbedder\(\), \['a'\]\)"):
        check_texts(frame, estimator="BertSentimentClassifier")
