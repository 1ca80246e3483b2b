"""What counts as a text input: every kind that the embedder takes, and the way back (refusals: test_common_errors)."""

from __future__ import annotations

import builtins
import sys
from collections import deque
from collections.abc import Iterable
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from skbert._texts import check_names, check_texts, rebuild
from skbert.exceptions import MissingTextError, TextInputError
from tests._inputs import (
    CONTAINERS,
    TEXTS,
    OldWords,
    Words,
    arrow_array,
    assert_same_kind,
    cells,
    is_frame,
    names_of,
    polars_series,
    series,
    snapshot,
    string_dtype,
)


def shout(items: Iterable[object]) -> list[object]:
    """Stand in for a transformer: longer texts, missing ones left alone."""
    return [
        None if item is None else item.upper() + "!!" if isinstance(item, str) else tuple(side + "!!" for side in item)
        for item in items
    ]


@pytest.fixture
def polars():
    """Return polars, which is no dependency of skbert."""
    return pytest.importorskip("polars")


@pytest.mark.parametrize(("make", "rows"), CONTAINERS)
def test_rows_come_out_of_every_container(make, rows):
    """Whatever holds them, the items are plain str, or tuples of two, in the order of X."""
    X = make(rows)
    checked = check_texts(X)
    assert checked.items == rows
    assert checked.is_pairs == isinstance(rows[0], tuple)
    plain = [side for pair in checked.items for side in pair] if checked.is_pairs else checked.items
    assert {type(text) for text in plain} == {str}
    assert checked.columns == (tuple(names_of(X)) if is_frame(X) else None)


@pytest.mark.parametrize(("make", "rows"), CONTAINERS)
def test_results_go_back_into_the_same_container(make, rows):
    """What rebuild returns is of X's kind and holds the new texts uncut; X itself stays as it is."""
    X = make(rows)
    before = snapshot(X)
    new = rebuild(X, shout(rows))
    assert_same_kind(new, X)
    assert check_texts(new).items == shout(rows)
    assert snapshot(X) == before


@pytest.mark.parametrize(
    ("X", "columns", "has_names"),
    [
        (pd.DataFrame({"text": ["a"]}), ("text",), True),
        (pd.DataFrame({"left": ["a"], "right": ["b"]}), ("left", "right"), True),
        (pd.DataFrame({0: ["a"]}), ("0",), False),
        (pd.DataFrame({"0": ["a"], 0: ["b"]}), ("0", "0"), False),
        (pd.Series(["a"], name="text"), None, False),
        (["a"], None, False),
    ],
)
def test_only_frames_have_column_names(X, columns, has_names):
    """The columns are the names of a frame, and None for all else; scikit-learn knows no names but str."""
    checked = check_texts(X)
    assert (checked.columns, checked.has_names) == (columns, has_names)


def test_other_names_than_at_the_fit_are_refused():
    """Swapped columns are other pairs; where there were no names, or are none now, there is nothing to compare."""
    now = check_texts(pd.DataFrame({"b": ["x"], "a": ["y"]}))
    with pytest.raises(TextInputError, match=r"^The feature names should match .*: \['a', 'b'\], got \['b', 'a'\]\."):
        check_names(now, np.array(["a", "b"], dtype=object), 2, "BertEmbedder")
    for texts, fitted in [(now, ["b", "a"]), (now, None), (check_texts([("x", "y")]), ["a", "b"])]:
        check_names(texts, fitted, 2, "BertEmbedder")


@pytest.mark.parametrize(("X", "n_fitted"), [(["x"], 2), ([("x", "y")], 1), (np.array([["x"]]), 2)], ids=str)
def test_another_number_of_columns_than_at_the_fit_is_refused(X, n_fitted):
    """In scikit-learn's words; rows that are all empty are of either kind."""
    found = 3 - n_fitted
    words = f"^X has {found} features, but BertEmbedder is expecting {n_fitted} features as input"
    with pytest.raises(TextInputError, match=words):
        check_names(check_texts(X), None, n_fitted, "BertEmbedder")
    check_names(check_texts(X), None, found, "BertEmbedder")
    check_names(check_texts([""]), None, 2, "BertEmbedder")


@pytest.mark.parametrize("sequence", [Words, OldWords, deque], ids=["Sequence", "no base", "deque"])
def test_a_sequence_of_another_kind_is_read_row_by_row(sequence):
    """NumPy would make an array of str of it: 7 would be the text "7", NaN the text "nan", and NULs would go."""
    assert check_texts(sequence(["a\x00", "b"])).items == ["a\x00", "b"]
    assert check_texts(sequence(["a", np.nan]), missing="keep").items == ["a", None]
    assert rebuild(sequence(["a", np.nan]), ["A", None]) == ["A", np.nan]
    with pytest.raises(TextInputError, match="row 1 of X is of type int: 7"):
        check_texts(sequence(["a", 7]))


@pytest.mark.parametrize("shape", [(3,), (3, 1)], ids=str)
def test_what_a_mask_hides_is_missing(shape):
    """A masked text is no text, and comes back under its mask."""
    X = np.ma.array(["a", "hidden", "c"], mask=[0, 1, 0]).reshape(shape)
    with pytest.raises(MissingTextError, match="row 1"):
        check_texts(X)
    new = rebuild(X, shout(check_texts(X, missing="keep").items))
    assert_same_kind(new, X)
    assert new.ravel().tolist() == ["A!!", None, "C!!"]


def test_a_table_of_arrow_keeps_its_metadata():
    """Its schema comes back, with what pandas wrote there."""
    arrow = pytest.importorskip("pyarrow", exc_type=ImportError)
    table = arrow.Table.from_pandas(pd.DataFrame({"tweet": ["a", None]}))
    new = rebuild(table, shout(check_texts(table, missing="keep").items))
    assert new.schema.equals(table.schema, check_metadata=True)
    assert new.to_pydict() == {"tweet": ["A!!", None]}


class TestPolars:
    """polars is recognised without being imported."""

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

    def test_absent_polars_does_no_harm(self, monkeypatch):
        """Nothing imports polars, not even where it could not be imported."""
        real_import = builtins.__import__

        def no_polars(name, *args, **kwargs):
            if name.partition(".")[0] == "polars":
                raise ImportError(name)
            return real_import(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", no_polars)
        monkeypatch.setitem(sys.modules, "polars", None)
        for X in (TEXTS, pd.Series(TEXTS), pd.DataFrame({"text": TEXTS}), np.array(TEXTS)):
            assert check_texts(rebuild(X, shout(TEXTS))).items == shout(TEXTS)


class TestMissing:
    """None, NaN and pd.NA are missing texts; the policy is the caller's."""

    INPUTS: ClassVar = {
        "list": lambda: ["a", None, float("nan"), pd.NA, "b"],
        "NumPy's NaN": lambda: ["a", np.nan, np.float32("nan"), np.float64("nan"), "b"],
        "array": lambda: np.array(["a", None, np.nan, pd.NA, "b"], dtype=object),
        "one-item rows": lambda: [["a"], [None], [np.nan], None, ["b"]],
        "Series of object": lambda: series(["a", None, np.nan, pd.NA, "b"]),
        "Series of string": lambda: series(["a", None, None, None, "b"], "string"),
        "Series of str": lambda: series(["a", None, None, None, "b"], "str"),
        "Series of category": lambda: series(["a", None, None, None, "b"], "category"),
        "Series of Arrow's string": lambda: series(["a", None, None, None, "b"], "string_"),
        "StringDType": lambda: string_dtype(["a", None, None, None, "b"], na_object=None),
        "StringDType with NaN": lambda: string_dtype(["a", np.nan, np.nan, np.nan, "b"], na_object=np.nan),
        "frame": lambda: pd.DataFrame({"text": ["a", None, None, None, "b"]}),
        "polars Series": lambda: polars_series(["a", None, None, None, "b"]),
        "polars Series of Categorical": lambda: polars_series(["a", None, None, None, "b"], "Categorical"),
        "pyarrow Array": lambda: arrow_array(["a", None, None, None, "b"]),
        "pyarrow ChunkedArray": lambda: arrow_array(["a", None, None, None, "b"], "chunked"),
    }

    @pytest.mark.parametrize("make", INPUTS.values(), ids=INPUTS.keys())
    def test_error_names_the_rows(self, make):
        """By default missing texts are an error that lists them."""
        message = r"X has 3 missing text\(s\) .* in rows 1, 2, 3\. Drop these rows, fill them, or set missing='empty'"
        with pytest.raises(MissingTextError, match=message):
            check_texts(make())

    @pytest.mark.parametrize("make", INPUTS.values(), ids=INPUTS.keys())
    def test_empty_and_keep(self, make):
        """With "empty" they are empty texts, with "keep" they are None."""
        assert check_texts(make(), missing="empty").items == ["a", "", "", "", "b"]
        assert check_texts(make(), missing="keep").items == ["a", None, None, None, "b"]

    @pytest.mark.parametrize("make", INPUTS.values(), ids=INPUTS.keys())
    def test_missing_values_go_back_unchanged(self, make):
        """Each missing row keeps the very value that stood there."""
        X = make()
        new = rebuild(X, shout(check_texts(X, missing="keep").items))
        assert_same_kind(new, X)
        assert check_texts(new, missing="keep").items == ["A!!", None, None, None, "B!!"]
        assert list(map(repr, cells(new)))[1:4] == list(map(repr, cells(X)))[1:4]

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


def test_texts_with_any_characters_pass():
    """Empty texts, line breaks, NUL and characters beyond the basic plane are texts."""
    texts = ["", " ", "a\nb", "nul \x00", "😂", "e\u0301", "\ufffd"]
    assert check_texts(texts).items == texts
    assert rebuild(np.array(texts, dtype=object), texts).tolist() == texts
