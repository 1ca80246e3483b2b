"""The catalogue of text inputs: every container that skbert takes, made of a list of texts or of pairs.

A container that this machine's libraries do not have skips the test, with the
reason. Beside the catalogue: the estimators that take texts, and what a test
asks of a container (its cells, its state, whether another is of its kind).
"""

from __future__ import annotations

import tempfile
from collections import UserList, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest

from skbert import BertEmbedder, BertSentimentClassifier, TextCleaner
from skbert._texts import check_texts

# Different lengths, a copy, an empty text, more than ASCII, what a cleaner changes.
TEXTS = ["What a night! #GOPDebate", "", "soooooo good 😂", "no", "What a night! #GOPDebate", "Ünïcode &amp; more"]
PAIRS = [("who won?", "nobody"), ("", "no"), ("who won?", "he did 😂"), ("#GOPDebate", "")]
ODD_INDEX = ["x", "x", 7, None, 2.5, ("a", 1)]  # pandas takes any hashable label

Factory = Callable[[Sequence[Any]], Any]


class Words(Sequence):
    """A user's own sequence, of which NumPy would make an array of str."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = list(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: Any) -> Any:
        return self._rows[row]


class OldWords:
    """A sequence that derives from nothing."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = list(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> Any:
        return self._rows[row]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)


class ArrayLike:
    """What gives an array and nothing else, as a tensor or a data set of another library does."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._array = objects(rows)

    def __len__(self) -> int:
        return len(self._array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self._array.astype(dtype or object)


def objects(rows: Sequence[Any]) -> np.ndarray:
    """Return a 1-D array of objects, whatever they are."""
    array = np.empty(len(rows), dtype=object)
    array[:] = list(rows)
    return array


def string_dtype(rows: Sequence[Any], **options: Any) -> np.ndarray:
    """Return an array of NumPy's StringDType, which came with NumPy 2."""
    if not hasattr(np.dtypes, "StringDType"):
        pytest.skip("needs NumPy 2, which brought StringDType")
    return np.array(rows, dtype=np.dtypes.StringDType(**options))


def read_only(array: np.ndarray) -> np.ndarray:
    """Return the array, no longer writable."""
    array.flags.writeable = False
    return array


def memory_mapped(array: np.ndarray, *, by_joblib: bool) -> np.ndarray:
    """Return the array as it comes from a file that is mapped into memory, read-only."""
    # The file may go while the mapping is there; where a system forbids that, it stays behind.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = str(Path(folder, "texts.npy"))
        if by_joblib:
            joblib.dump(array, path)
            mapped = joblib.load(path, mmap_mode="r")
        else:
            np.save(path, array)
            mapped = np.load(path, mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable
    return mapped


def series(rows: Sequence[Any], dtype: Any = "object", index: Any = None, name: Any = None) -> pd.Series:
    """Return a Series; `dtype` may be "str" of pandas 3, or the name of an Arrow type."""
    if dtype == "str" and int(pd.__version__.partition(".")[0]) < 3:
        pytest.skip("needs pandas 3, which brought the dtype str")
    if "arrow" in str(dtype) or dtype in ("string_", "large_string"):
        arrow = pytest.importorskip("pyarrow", exc_type=ImportError)
        if "pyarrow" not in dtype:
            dtype = pd.ArrowDtype(getattr(arrow, {"string_": "string"}.get(dtype, dtype))())
    return pd.Series(rows, dtype=dtype, index=index, name=name)


def polars_series(rows: Sequence[Any], dtype: str = "String") -> Any:
    """Return a polars Series; an Enum has the rows as its categories."""
    polars = pytest.importorskip("polars")
    kind = polars.Enum(sorted(set(rows))) if dtype == "Enum" else getattr(polars, dtype)
    return polars.Series("tweet", rows, dtype=kind)


def arrow_array(rows: Sequence[Any], kind: str = "string") -> Any:
    """Return a pyarrow Array of that type, or a ChunkedArray of two chunks."""
    arrow = pytest.importorskip("pyarrow", exc_type=ImportError)
    if kind == "chunked":
        return arrow.chunked_array([rows[:2], rows[2:]], arrow.string())
    if kind == "dictionary":
        return arrow.array(rows).dictionary_encode()
    return arrow.array(rows, getattr(arrow, kind)())


def arrow_table(columns: dict[str, Sequence[Any]], kind: str = "Table") -> Any:
    """Return a pyarrow Table or RecordBatch."""
    return getattr(pytest.importorskip("pyarrow", exc_type=ImportError), kind).from_pydict(columns)


def odd(rows: Sequence[Any]) -> list[Any]:
    """Return an index of many kinds of labels, some of them twice."""
    return [*ODD_INDEX, *range(len(rows))][: len(rows)]


def two_levels(rows: Sequence[Any]) -> pd.MultiIndex:
    """Return an index of two levels."""
    return pd.MultiIndex.from_arrays([list("ab" * len(rows))[: len(rows)], range(len(rows))], names=["fold", "row"])


SINGLE: dict[str, Factory] = {
    "list": list,
    "tuple": tuple,
    "list of np.str_": lambda texts: list(np.array(texts)),
    "list of one-item lists": lambda texts: [[text] for text in texts],
    "tuple of one-item tuples": lambda texts: tuple((text,) for text in texts),
    "user's Sequence": Words,
    "user's sequence of no base": OldWords,
    "UserList": UserList,
    "deque": deque,
    "array-like": ArrayLike,
    "array of str": np.array,
    "array of objects": objects,
    "array of objects, one-item lists": lambda texts: objects([[text] for text in texts]),
    "array of StringDType": string_dtype,
    "array of StringDType with None": lambda texts: string_dtype(texts, na_object=None),
    "array of StringDType with NaN": lambda texts: string_dtype(texts, na_object=np.nan),
    "(n, 1) array of str": lambda texts: np.array(texts)[:, None],
    "(n, 1) array of objects": lambda texts: objects(texts)[:, None],
    "(n, 1) array of StringDType": lambda texts: string_dtype(texts)[:, None],
    "(n, 1) array, Fortran order": lambda texts: np.asfortranarray(np.array([texts] * 2).T)[:, 1:],
    "every other row": lambda texts: np.repeat(np.array(texts), 2)[::2],
    "rows from the end": lambda texts: objects(texts[::-1])[::-1],
    "other byte order": lambda texts: (lambda array: array.astype(array.dtype.newbyteorder()))(np.array(texts)),
    "read-only array of str": lambda texts: read_only(np.array(texts)),
    "read-only array of objects": lambda texts: read_only(objects(texts)),
    "memory-mapped array": lambda texts: memory_mapped(np.array(texts), by_joblib=False),
    "memory-mapped by joblib": lambda texts: memory_mapped(np.array(texts), by_joblib=True),
    "memory-mapped (n, 1) array": lambda texts: memory_mapped(np.array(texts)[:, None], by_joblib=True),
    "masked array": lambda texts: np.ma.array(texts),
    "Series of objects": series,
    "Series of string, Python": lambda texts: series(texts, "string[python]"),
    "Series of string, pyarrow": lambda texts: series(texts, "string[pyarrow]"),
    "Series of str": lambda texts: series(texts, "str"),
    "Series of category": lambda texts: series(texts, "category"),
    "Series of Arrow's string": lambda texts: series(texts, "string_"),
    "Series of Arrow's large_string": lambda texts: series(texts, "large_string"),
    "Series of one-item lists": lambda texts: series([[text] for text in texts]),
    "Series, index of str": lambda texts: series(texts, index=[f"row {row}" for row in range(len(texts))]),
    "Series, odd index with copies": lambda texts: series(texts, index=odd(texts)),
    "Series, index of two levels": lambda texts: series(texts, index=two_levels(texts), name=("a", 1)),
    "Series with a name": lambda texts: series(texts, "category", name="tweet"),
    "Index": lambda texts: pd.Index(texts, name="tweet"),
    "CategoricalIndex": pd.CategoricalIndex,
    "pandas array of string": lambda texts: pd.array(texts, dtype="string[python]"),
    "pandas Categorical": pd.Categorical,
    "frame": lambda texts: series(texts, name="tweet", index=odd(texts)).to_frame(),
    "frame of category": lambda texts: series(texts, "category", name="tweet", index=two_levels(texts)).to_frame(),
    "frame of string": lambda texts: series(texts, "string[python]", name="tweet").to_frame(),
    "frame of str": lambda texts: series(texts, "str", name="tweet").to_frame(),
    "frame of Arrow's string": lambda texts: series(texts, "string_", name="tweet").to_frame(),
    "polars Series": polars_series,
    "polars Series of Categorical": lambda texts: polars_series(texts, "Categorical"),
    "polars Series of Enum": lambda texts: polars_series(texts, "Enum"),
    "polars Series of one-item lists": lambda texts: pytest.importorskip("polars").Series([[text] for text in texts]),
    "polars frame": lambda texts: polars_series(texts).to_frame(),
    "polars frame of Categorical": lambda texts: polars_series(texts, "Categorical").to_frame(),
    "polars frame of Enum": lambda texts: polars_series(texts, "Enum").to_frame(),
    "pyarrow Array": arrow_array,
    "pyarrow Array of large_string": lambda texts: arrow_array(texts, "large_string"),
    "pyarrow Array, dictionary": lambda texts: arrow_array(texts, "dictionary"),
    "pyarrow ChunkedArray": lambda texts: arrow_array(texts, "chunked"),
    "pyarrow Table": lambda texts: arrow_table({"tweet": texts}),
    "pyarrow RecordBatch": lambda texts: arrow_table({"tweet": texts}, "RecordBatch"),
}


def pair_frame(pairs: Sequence[Any], index: Any = None) -> pd.DataFrame:
    """Return the pairs as a frame of the columns "asked" and "told"."""
    return pd.DataFrame(list(pairs), columns=["asked", "told"], index=index)


def polars_pairs(pairs: Sequence[Any], *dtypes: str) -> Any:
    """Return the pairs as a polars frame with a column of each dtype."""
    columns = [polars_series(side, dtype) for side, dtype in zip(zip(*pairs, strict=True), dtypes, strict=True)]
    return pytest.importorskip("polars").DataFrame(
        [column.alias(name) for column, name in zip(columns, ["asked", "told"], strict=True)]
    )


PAIRED: dict[str, Factory] = {
    "list of tuples": list,
    "tuple of tuples": tuple,
    "list of lists": lambda pairs: [list(pair) for pair in pairs],
    "user's Sequence": Words,
    "deque": deque,
    "(n, 2) array of str": np.array,
    "(n, 2) array of objects": lambda pairs: np.array(pairs, dtype=object),
    "(n, 2) array of StringDType": string_dtype,
    "(n, 2) array, Fortran order": lambda pairs: np.asfortranarray(np.array(pairs)),
    "(n, 2) array, two columns of four": lambda pairs: np.repeat(np.array(pairs), 2, axis=1)[:, ::2],
    "(n, 2) array, read-only": lambda pairs: read_only(np.array(pairs)),
    "(n, 2) array, memory-mapped": lambda pairs: memory_mapped(np.array(pairs), by_joblib=True),
    "array of tuples": objects,
    "Series of tuples": lambda pairs: series(list(pairs), index=odd(pairs)),
    "MultiIndex": lambda pairs: pd.MultiIndex.from_tuples(pairs, names=["asked", "told"]),
    "frame": pair_frame,
    "frame, odd index with copies": lambda pairs: pair_frame(pairs, odd(pairs)),
    "frame of two dtypes": lambda pairs: pair_frame(pairs, two_levels(pairs)).astype({"told": "category"}),
    "frame with one name twice": lambda pairs: pair_frame(pairs).set_axis(["side", "side"], axis="columns"),
    "polars frame": lambda pairs: polars_pairs(pairs, "String", "String"),
    "polars frame of two dtypes": lambda pairs: polars_pairs(pairs, "Categorical", "Enum"),
    "polars Series of lists": lambda pairs: pytest.importorskip("polars").Series([list(pair) for pair in pairs]),
    "pyarrow Table": lambda pairs: arrow_table(dict(zip(["asked", "told"], zip(*pairs, strict=True), strict=True))),
}

# (name of the container, what makes it, its rows)
CONTAINERS = [
    *(pytest.param(make, TEXTS, id=name) for name, make in SINGLE.items()),
    *(pytest.param(make, PAIRS, id=f"pairs-{name}") for name, make in PAIRED.items()),
]


# -- what a test asks of a container -------------------------------------------------------------------------------


def is_frame(X: Any) -> bool:
    """Say whether X is a frame of pandas, polars or pyarrow."""
    return isinstance(X, pd.DataFrame) or hasattr(X, "rows") or hasattr(X, "column_names")


def names_of(frame: Any) -> list[str]:
    """Return the names of a frame's columns."""
    return list(getattr(frame, "column_names", frame.columns))


def cells(X: Any) -> list[Any]:
    """Return the rows of X as its own library gives them."""
    if isinstance(X, pd.DataFrame):
        return X.to_numpy().tolist()
    if hasattr(X, "column_names"):
        return [tuple(row.values()) for row in X.to_pylist()]
    for method in ("rows", "to_pylist", "tolist", "to_list"):
        if hasattr(X, method):
            return getattr(X, method)()
    return np.asarray(X).tolist() if isinstance(X, ArrayLike) else list(X)


def snapshot(X: Any) -> tuple[Any, ...]:
    """Return all that a call could change in X, as text."""
    state = "dtype dtypes type schema shape strides name names axes flags attrs".split()
    return type(X), *(repr(getattr(X, name, None)) for name in state), repr(cells(X))


def assert_same_kind(new: Any, old: Any) -> None:
    """Check that container, dtype, index, name, shape and columns are those of the old one."""
    expected = type(old)
    if isinstance(old, Words | OldWords | UserList | deque):
        expected = list  # how such a class is built, nobody can know
    elif isinstance(old, ArrayLike | np.memmap):
        expected = np.ndarray
    assert type(new) is expected
    if isinstance(old, pd.Series | pd.DataFrame):
        pd.testing.assert_index_equal(new.index, old.index)
    if isinstance(old, pd.DataFrame):
        pd.testing.assert_index_equal(new.columns, old.columns)
        assert list(map(str, new.dtypes)) == list(map(str, old.dtypes))  # categories are new, the kind is not
    if isinstance(old, pd.Series | pd.Index):
        assert new.name == old.name
        assert getattr(new, "names", None) == getattr(old, "names", None)
        assert str(new.dtype) == str(old.dtype)
    if isinstance(old, np.ndarray):
        assert new.shape == old.shape
        assert new.dtype.kind == old.dtype.kind
        assert new.dtype == old.dtype or old.dtype.kind == "U"  # as wide as the new texts need
        assert new.flags.writeable
    if isinstance(old, list | tuple):
        assert [type(row) for row in new if not isinstance(row, str)] == [
            type(row) for row in old if not isinstance(row, str)
        ]
    if type(old).__module__.startswith("polars"):
        (kinds, before) = ((X if is_frame(X) else X.to_frame()).schema for X in (new, old))
        # An Enum has no room for other texts than its own.
        assert list(kinds) == list(before)
        assert [str(kind) for kind in kinds.values()] == [
            "String" if str(kind).startswith("Enum") else str(kind) for kind in before.values()
        ]
    if type(old).__module__.startswith("pyarrow"):
        kind, before = ((X.schema if is_frame(X) else X.type) for X in (new, old))
        assert kind == before


# -- the estimators that take texts --------------------------------------------------------------------------------

ESTIMATORS = {
    "TextCleaner": lambda model, **params: TextCleaner(),
    "BertEmbedder": lambda model, **params: BertEmbedder(model, device="cpu", cache=None, **params),
    "BertSentimentClassifier": lambda model, **params: BertSentimentClassifier(
        BertEmbedder(model, device="cpu", cache=None, **params),
        hidden_layer_sizes=(8,),
        learning_rate_init=0.01,
        max_iter=3,
        early_stopping=False,
        device="cpu",
        random_state=0,
    ),
}
TRANSFORMERS = [name for name in ESTIMATORS if not name.endswith("Classifier")]


def labels_of(rows: Sequence[Any]) -> np.ndarray:
    """Return a label for each row, two classes in turn."""
    return np.array(["bad", "good"] * len(rows))[: len(rows)]


def outputs(estimator: Any, X: Any) -> dict[str, Any]:
    """Return what each method that takes X alone gives."""
    methods = ("transform", "predict", "predict_proba", "decision_function")
    return {method: getattr(estimator, method)(X) for method in methods if hasattr(estimator, method)}


def comparable(out: Any) -> np.ndarray:
    """Return an output as an array to compare; texts come out of their container."""
    if isinstance(out, np.ndarray) and out.dtype.kind in "f":
        return out
    return objects(check_texts(out, missing="keep").items)


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Check that two sets of outputs are equal to the bit."""
    assert found.keys() == expected.keys()
    for method, out in found.items():
        np.testing.assert_array_equal(comparable(out), comparable(expected[method]), err_msg=method, strict=True)
