"""What containers of texts are, whichever library they come from. Lowest file of ``_texts``: imports nothing of skbert.

A container is known by its class and what it offers; no library is imported to
find that out, so that polars and pyarrow stay optional.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

__all__ = ["comes_from", "frame_columns", "frame_parts", "is_arrow", "is_missing", "show"]


def comes_from(X: Any, library: str) -> bool:
    """Say whether the class of X is one of `library`."""
    return type(X).__module__.partition(".")[0] == library  # without importing it


def is_arrow(X: Any) -> bool:
    """Say whether X is an Array or a ChunkedArray of pyarrow."""
    return comes_from(X, "pyarrow") and hasattr(X, "to_pylist") and not hasattr(X, "columns")


def frame_columns(X: Any) -> list[Any] | None:
    """Return the names of the columns of X, or None where X is no frame."""
    if isinstance(X, pd.DataFrame) or (comes_from(X, "polars") and hasattr(X, "columns")):
        return list(X.columns)
    if comes_from(X, "pyarrow") and hasattr(X, "column_names"):
        return list(X.column_names)
    return None


def frame_parts(X: Any) -> list[Any]:
    """Return the columns of a frame by position: pandas allows two of one name."""
    if isinstance(X, pd.DataFrame):
        return [X.iloc[:, k] for k in range(X.shape[1])]
    return X.get_columns() if comes_from(X, "polars") else X.columns


def is_missing(value: Any) -> bool:
    """Say whether a value is None, NaN, pd.NA or pd.NaT."""
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    return isinstance(value, float | np.floating) and bool(value != value)


def show(value: Any, width: int = 60) -> str:
    """Return a value as an error message shows it, in at most `width` characters."""
    text = repr(value)
    return text if len(text) <= width else text[: width - 1] + "…"
