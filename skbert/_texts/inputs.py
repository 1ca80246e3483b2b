"""Checks X into texts or pairs, and says what is wrong with it. Part of ``_texts``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from scipy import sparse

from skbert._texts.containers import comes_from, frame_columns, frame_parts, is_arrow, is_missing, show
from skbert.exceptions import MissingTextError, TextInputError

__all__ = ["Item", "TextInput", "check_names", "check_texts"]

Item: TypeAlias = str | tuple[str, str] | None
_SHOWN_ROWS = 5  # rows that an error lists before it says "…"
_SEQUENCE = ("__len__", "__getitem__", "__iter__")  # of a user's own class, which need not derive from Sequence


class TextInput(NamedTuple):
    """A checked X.

    `items` has one entry a row: a str, a tuple of two str (a pair), or, under
    ``missing="keep"``, None for a missing value. `columns` holds the names of
    a frame's columns, else None; `has_names` says whether they all are str, as
    scikit-learn wants it for `feature_names_in_`.
    """

    items: list[Item]
    is_pairs: bool
    columns: tuple[str, ...] | None
    has_names: bool = False


def check_texts(
    X: Any,
    *,
    missing: str = "error",
    estimator: str = "This estimator",
    embedder: str | None = None,
    is_transformer: bool = True,
) -> TextInput:
    """Check that X is a sequence of texts, or of pairs of texts.

    Parameters
    ----------
    X : list, tuple, 1-D array, Series of str, (n, 1) array or one-column frame; for pairs a list of 2-tuples, an \
(n, 2) array or a two-column frame
        pandas, polars and pyarrow alike.
    missing : {'error', 'empty', 'keep'}, default='error'
        What None, NaN and pd.NA become: an error that names the rows, the
        empty text, or None. A pair with one side missing is missing whole.
    estimator : str, default='This estimator'
        Who asks, for the messages.
    embedder : str or None, default=None
        Where a classifier asks, the class of its embedder: that has the
        parameter `missing`, and can stand in a ColumnTransformer.
    is_transformer : bool, default=True
        Whether who asks, or its embedder, can stand in a ColumnTransformer:
        the message about columns beside the texts says how.

    Returns
    -------
    TextInput
        Plain Python strings, in the order of X.

    Raises
    ------
    TextInputError
        X is not such a sequence; the message names the row or the columns.
    MissingTextError
        X holds missing values and `missing` is "error".
    """
    transformer = (embedder or estimator) if is_transformer else ""
    values, columns = _to_rows(X, estimator, transformer)
    if len(values) == 0:
        shape = getattr(X, "shape", (0,))
        msg = (
            f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required by {estimator}. "
            "Pass at least one text."
        )
        raise TextInputError(msg)

    # The common case costs one pass in C: nothing but str.
    if set(map(type, values)) == {str}:
        items: list[Item] = list(values)
        is_pairs = False
    else:
        is_pairs = _holds_pairs(values)
        if is_pairs and columns is not None:
            _check_columns(values, columns, estimator, transformer)
        items = [_check_row(row, value, is_pairs, estimator) for row, value in enumerate(values)]
    _check_encodable(items)

    absent = [row for row, item in enumerate(items) if item is None]
    if absent and missing == "error":
        what = "None, NaN or pd.NA" if not is_pairs else "None, NaN or pd.NA on one side or both"
        msg = (
            f"X has {len(absent)} missing text(s) ({what}) in {_rows(absent)}. Drop these rows, fill them, "
            f"or set {'embedder__' if embedder else ''}missing='empty' to give them the vector of the empty text."
        )
        raise MissingTextError(msg)
    if absent and missing == "empty":
        items = ["" if item is None else item for item in items]
    names = columns or ()
    has_names = bool(names) and all(isinstance(name, str) for name in names)
    return TextInput(items, is_pairs, None if columns is None else tuple(map(str, names)), has_names)


def check_names(
    texts: TextInput, fitted: Sequence[str] | np.ndarray | None, n_fitted: int | None, estimator: str
) -> None:
    """Refuse a frame with other columns than at the fit: swapped, they would be other pairs.

    Parameters
    ----------
    texts : TextInput
        What is there now.
    fitted : sequence of str or None
        The columns of the fit, if it had a frame with names.
    n_fitted : int or None
        Their number, or that of the sides of each row, if there was a fit.
    estimator : str
        Who asks, for the message.

    Raises
    ------
    TextInputError
        Names both.
    """
    n_sides = 1 + texts.is_pairs
    # Rows that are all missing are of either kind.
    if n_fitted not in (None, n_sides) and any(texts.items):
        msg = (
            f"X has {n_sides} features, but {estimator} is expecting {n_fitted} features as input: single texts are "
            "one, pairs are two. Pass what the fit had, or fit again."
        )
        raise TextInputError(msg)
    if fitted is not None and texts.columns is not None and texts.columns != tuple(fitted):
        msg = (
            f"The feature names should match those that were passed during fit, in the same order: "
            f"{list(fitted)}, got {list(texts.columns)}. Select or rename the columns, or fit again."
        )
        raise TextInputError(msg)


def _to_rows(X: Any, estimator: str, transformer: str) -> tuple[Sequence[Any], list[Any] | None]:
    """Return the rows of X as a sequence, and the column names where X is a frame."""
    if isinstance(X, str | bytes | bytearray):
        kind = "string" if isinstance(X, str) else type(X).__name__
        msg = f"Iterable over raw text documents expected, {kind} object received. For one text, pass [text]."
        raise TextInputError(msg)
    if sparse.issparse(X):
        msg = f"Sparse data was passed for X, but {estimator} takes texts. Pass a list, an array or a Series of str."
        raise TextInputError(msg)
    if isinstance(X, Iterator):
        msg = f"A generator or iterator ({type(X).__name__}) can be read only once. Pass list(X) instead."
        raise TextInputError(msg)
    if comes_from(X, "polars") and hasattr(X, "collect"):
        msg = f"A polars {type(X).__name__} holds no texts yet. Pass X.collect() instead."
        raise TextInputError(msg)
    columns = frame_columns(X)
    if columns is not None:
        if len(columns) > 2 or len(columns) == 0:
            raise TextInputError(_too_wide(len(columns), estimator, transformer, list(columns)))
        parts = [_to_rows(part, estimator, transformer)[0] for part in frame_parts(X)]
        rows = parts[0] if len(parts) == 1 else list(zip(*parts, strict=True))
        return rows, columns
    if isinstance(X, list | tuple):
        return X, None
    if isinstance(X, pd.Series | pd.Index) or comes_from(X, "polars"):
        return X.to_list(), None
    if is_arrow(X):
        return X.to_pylist(), None
    if isinstance(X, Mapping | Set | type) or np.isscalar(X):
        raise TextInputError(_no_sequence(X, estimator))
    if hasattr(X, "__array__"):
        # A mask survives: what it hides is missing.
        array = X if isinstance(X, np.ma.MaskedArray) else np.asarray(X)
        return _array_rows(array, estimator, transformer), None
    # Not by way of NumPy, which would turn numbers among texts into texts, and NaN into "nan".
    if all(hasattr(X, name) for name in _SEQUENCE):
        return list(X), None
    raise TextInputError(_no_sequence(X, estimator))


def _no_sequence(X: Any, estimator: str) -> str:
    # The order of a set is nobody's choice.
    listed = isinstance(X, Iterable) and not isinstance(X, Mapping | set | frozenset | type)
    return (
        f"{estimator} takes a list, a tuple, a 1-D array or a Series of str, got {type(X).__name__}: {show(X)}. "
        f"Pass a sequence of texts{', for example list(X)' if listed else ''}."
    )


def _array_rows(X: np.ndarray, estimator: str, transformer: str) -> Sequence[Any]:
    if np.iscomplexobj(X):
        msg = f"Complex data not supported: {estimator} takes texts."
        raise TextInputError(msg)
    if X.ndim == 1:
        return X.tolist()
    if X.ndim == 2 and X.shape[1] in (1, 2):
        return X.ravel().tolist() if X.shape[1] == 1 else [tuple(row) for row in X.tolist()]
    if X.ndim == 2:
        raise TextInputError(_too_wide(X.shape[1], estimator, transformer))
    # With more than two dimensions it begins as scikit-learn's message does.
    many = f"Found array with dim {X.ndim}, while dim <= 2 is required by {estimator}. " if X.ndim > 2 else ""
    msg = (
        f"{many}Expected a 1-D array of texts, or a 2-D array of one or two columns, got an array of shape {X.shape}. "
        "Reshape your data with X.ravel() if it holds one text a sample."
    )
    raise TextInputError(msg)


def _too_wide(n_columns: int, estimator: str, transformer: str, names: list[Any] | None = None) -> str:
    named = f": {names}" if names else ""
    return (
        f"{estimator} takes one column of texts or two columns of sentence pairs, got {n_columns} columns{named}. "
        f"{_in_transformer(transformer, names)}"
    )


def _in_transformer(transformer: str, columns: Sequence[Any] | None) -> str:
    first = columns[0] if columns else 0
    if not transformer:
        return f"Pass the texts alone: {f'X[{first!r}]' if columns else 'X[:, 0]'}."
    return (
        "Name the text column in a ColumnTransformer: "
        f"make_column_transformer(({transformer}(), [{first!r}]), remainder='drop')."
    )


def _holds_pairs(values: Sequence[Any]) -> bool:
    """Say whether the rows are pairs, by the first one that is neither missing nor a one-item row."""
    for value in values:
        if isinstance(value, list | tuple):
            if len(value) != 1:
                return True
        elif not is_missing(value):
            return False
    return False


def _check_columns(rows: Sequence[Any], columns: Sequence[Any], estimator: str, transformer: str) -> None:
    """Refuse a frame of texts beside numbers, which two columns would make pairs of."""
    for row, sides in enumerate(rows):
        for column, value in zip(columns, sides, strict=True):
            if not isinstance(value, str | bytes) and not is_missing(value):
                msg = (
                    f"{estimator} reads the two columns {list(columns)} as sentence pairs, but row {row} of {column!r} "
                    f"is of type {type(value).__name__}: {show(value)}. {_in_transformer(transformer, columns)}"
                )
                raise TextInputError(msg)


def _check_row(row: int, value: Any, is_pairs: bool, estimator: str) -> Item:
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if is_missing(value):
        return None
    if is_pairs:
        if not isinstance(value, list | tuple) or len(value) != 2:
            msg = (
                f"Row {row} of X must be a pair of texts, as X holds pairs, got {show(value)}. "
                "Pass 2-tuples of str in every row, or one str in every row."
            )
            raise TextInputError(msg)
        first, second = value
        if is_missing(first) or is_missing(second):
            return None
        return _check_str(row, first, estimator), _check_str(row, second, estimator)
    return _check_str(row, value, estimator)


def _check_str(row: int, value: Any, estimator: str) -> str:
    if isinstance(value, str):
        return str(value)  # a np.str_ becomes a plain str, whose hash and type later code may rely on
    if isinstance(value, bytes | bytearray):
        remedy = "Decode it first, for example text.decode('utf-8')."
    elif isinstance(value, list | tuple):
        remedy = "Pass 2-tuples of str in every row for sentence pairs, or one str in every row."
    elif isinstance(value, np.ndarray):
        remedy = "Pass lists as rows: [row.tolist() for row in X]."
    else:
        remedy = "Convert it first, for example with X.astype(str), or with [str(text) for text in X] if X is a list."
    kind = "Complex data not supported: " if isinstance(value, complex | np.complexfloating) else ""
    found = f"row {row} of X is of type {type(value).__name__}: {show(value)}"
    msg = f"{kind}{estimator} takes texts, but {found}. {remedy}"
    raise TextInputError(msg)


def _check_encodable(items: list[Item]) -> None:
    """Refuse lone surrogates: no tokenizer takes them, and they have no bytes to be a key."""
    for row, item in enumerate(items):
        text = item if isinstance(item, str) else "".join(item or ())
        if text.isascii():  # a flag that Python keeps: most texts cost no more
            continue
        try:
            text.encode()
        except UnicodeEncodeError as error:
            msg = (
                f"Row {row} of X holds a lone surrogate ({text[error.start]!r}), which is no character: "
                f"{show(text)}. Clean it, for example with text.encode('utf-8', 'replace').decode('utf-8')."
            )
            raise TextInputError(msg) from None


def _rows(rows: list[int]) -> str:
    shown = ", ".join(map(str, rows[:_SHOWN_ROWS]))
    noun = "row" if len(rows) == 1 else "rows"
    return f"{noun} {shown}{', …' if len(rows) > _SHOWN_ROWS else ''}"
