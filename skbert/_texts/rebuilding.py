"""Puts results back into the kind of container that X is. Part of ``_texts``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from skbert._texts.containers import comes_from, frame_columns, frame_parts, is_arrow
from skbert._texts.inputs import Item

__all__ = ["rebuild"]


def rebuild(X: Any, items: Sequence[Item]) -> Any:
    """Put `items` back into the kind of container that X is.

    Parameters
    ----------
    X : any input that :func:`check_texts` takes
        The model for the result: its type, index, name and columns.
    items : sequence of str, tuple of two str or None
        One for each row of X.

    Returns
    -------
    like X
        A Series for a Series (index and name kept), an array for an array, and
        so on. Missing rows keep the missing value that X has there.
    """
    columns = frame_columns(X)
    if columns is not None:
        sides = [items] if len(columns) == 1 else [[_side(item, k) for item in items] for k in (0, 1)]
        parts = [rebuild(part, side) for part, side in zip(frame_parts(X), sides, strict=True)]
        if comes_from(X, "polars"):
            return type(X)(parts)
        if comes_from(X, "pyarrow"):
            return type(X).from_arrays(parts, schema=X.schema)
        frame = type(X)(pd.concat(parts, axis="columns"))
        frame.columns = X.columns
        return frame
    if isinstance(X, pd.Series | pd.Index):
        return _rebuild_pandas(X, items)
    if isinstance(X, pd.api.extensions.ExtensionArray):
        return _rebuild_pandas(pd.Series(X), items).array
    if comes_from(X, "polars"):
        # An Enum has no room for a new text.
        dtype = None if str(X.dtype).startswith("Enum") else X.dtype
        return type(X)(X.name, _keep_rows(X.to_list(), items), dtype=dtype)
    if is_arrow(X):
        return _rebuild_arrow(X, items)
    if isinstance(X, np.ma.MaskedArray):
        return np.ma.array(_rebuild_array(X.data, items), mask=X.mask)
    if hasattr(X, "__array__"):
        return _rebuild_array(np.asarray(X), items)
    rebuilt = _keep_rows(X, items)
    return tuple(rebuilt) if isinstance(X, tuple) else rebuilt


def _rebuild_pandas(X: Any, items: Sequence[Item]) -> Any:
    values = _keep_rows(X.tolist(), items)
    is_category = isinstance(X.dtype, pd.CategoricalDtype)
    dtype = "object" if is_category else X.dtype
    if isinstance(X, pd.Index):
        new: Any = pd.Index(values, dtype=dtype).set_names(X.names)
    else:
        new = pd.Series(values, index=X.index, name=X.name, dtype=dtype)
    return new.astype("category") if is_category else new


def _rebuild_arrow(X: Any, items: Sequence[Item]) -> Any:
    arrow: Any = sys.modules["pyarrow"]  # X is there, so it is loaded
    values = _keep_rows(X.to_pylist(), items)
    return arrow.chunked_array([values], X.type) if hasattr(X, "chunks") else arrow.array(values, X.type)


def _rebuild_array(X: np.ndarray, items: Sequence[Item]) -> np.ndarray:
    cells: list[Any] = list(items)
    if X.ndim == 2 and X.shape[1] == 2:
        cells = [_side(item, k) for item in items for k in (0, 1)]
    values = _keep_rows(X.ravel().tolist(), cells)
    if X.dtype.kind == "O":
        flat = np.empty(len(values), dtype=object)
        flat[:] = values
    else:
        # dtype "U" without a length: a replaced word may be longer than the widest old one
        flat = np.array(values, dtype=np.str_ if X.dtype.kind == "U" else X.dtype)
    return flat.reshape(X.shape)


def _keep_rows(old: Iterable[Any], new: Iterable[Item]) -> list[Any]:
    """Return the new rows in the form of the old ones; a row that is None stays what it was."""
    return [_keep_row(before, after) for before, after in zip(old, new, strict=True)]


def _keep_row(old: Any, new: Item) -> Any:
    if new is None:
        return old
    if isinstance(old, list):
        return list(new) if isinstance(new, tuple) else [new]
    return (new,) if isinstance(old, tuple) and len(old) == 1 else new


def _side(item: Item, k: int) -> str | None:
    return item[k] if isinstance(item, tuple) else None
