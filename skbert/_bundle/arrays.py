"""Arrays and numpy's scalars to JSON and safetensors, and back to the bit. Low in the room; knows no estimators."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["ArrayReader", "ArrayWriter", "is_text_dtype", "read_scalar", "write_scalar"]

# Of fixed-width text, whose width a few characters of JSON could make anything: so many bytes for each character of
# its items, and an allowance for all arrays of a bundle that are wider than what is in them.
_TEXT_GROWTH, _TEXT_ALLOWANCE = 64, 2**24


def _is_numeric(dtype: np.dtype) -> bool:
    return dtype.kind in "biuf" and dtype.itemsize <= 8  # what safetensors knows; a longdouble differs by machine


def is_text_dtype(dtype: np.dtype) -> bool:
    """Say whether an array of this dtype is written as a list of its items."""
    return dtype.kind in "UO" or (
        dtype.kind == "T" and dtype == np.dtypes.StringDType()
    )  # with no object for "missing"


class _Allowance:
    """What is left for arrays of text that take more memory than their items. Spent when saving as when loading."""

    def __init__(self) -> None:
        self._left = _TEXT_ALLOWANCE

    def spend(self, dtype: np.dtype, items: list[Any]) -> None:
        if dtype.kind == "U":
            self._left -= max(0, dtype.itemsize * len(items) - _TEXT_GROWTH * sum(map(len, items)))
        if self._left < 0:
            msg = f"an array of {len(items)} texts of dtype {dtype} is too large for what is in it"
            raise ValueError(msg)


class ArrayWriter:
    """Collects numeric arrays under names. An array that comes twice is kept once, and is one array again when read."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._allowance = _Allowance()
        self._nodes: dict[int, tuple[np.ndarray, dict[str, Any]]] = {}  # with the array, lest its id be used again

    def write(self, array: np.ndarray) -> dict[str, Any] | None:
        """Return what stands for the array, or None where it cannot be kept."""
        if not _is_numeric(array.dtype):
            return None
        if id(array) not in self._nodes:
            # The order in memory decides which path BLAS takes, and so the last bit of a product.
            transposed = array.flags.f_contiguous and not array.flags.c_contiguous
            plain = array.T if transposed else array
            name = f"a{len(self.arrays)}"
            # safetensors takes an array's bytes as they lie, whatever its strides; bytes in other orders come back so.
            self.arrays[name] = np.ascontiguousarray(plain, dtype=array.dtype.newbyteorder("<")).reshape(plain.shape)
            node = {"is": "array", "name": name, "dtype": array.dtype.str, "transposed": transposed}
            self._nodes[id(array)] = array, node
        return self._nodes[id(array)][1]

    def write_texts(self, array: np.ndarray, items: list[Any]) -> dict[str, Any]:
        """Return what stands for an array of text or of plain objects, whose items in JSON are `items`.

        Raises
        ------
        ValueError
            The array is far wider than its items, so that it would not be read.
        """
        self._allowance.spend(array.dtype, items)
        dtype = "T" if array.dtype.kind == "T" else array.dtype.str
        return {"is": "texts", "dtype": dtype, "shape": list(array.shape), "items": items}


class ArrayReader:
    """Gives the arrays back by what stands for them."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self._arrays = arrays
        self._allowance = _Allowance()
        self._read: dict[tuple[str, str, bool], np.ndarray] = {}

    def read(self, node: dict[str, Any]) -> np.ndarray:
        """Return the array. Raise a ValueError, KeyError or TypeError where there can be none."""
        name, transposed, dtype = str(node["name"]), bool(node["transposed"]), np.dtype(str(node["dtype"]))
        key = name, dtype.str, transposed
        if key not in self._read:
            found = self._arrays[name]
            if not _is_numeric(dtype) or found.dtype.newbyteorder("=") != dtype.newbyteorder("="):
                msg = f"the array {name!r} has dtype {found.dtype}, not {dtype}"
                raise ValueError(msg)
            found = found.astype(dtype, copy=False)
            self._read[key] = found.T if transposed else found
        return self._read[key]

    def read_texts(self, node: dict[str, Any], items: list[Any]) -> np.ndarray:
        """Return the array of `items`. Raise a ValueError, KeyError or TypeError where there can be none."""
        shape = tuple(int(size) for size in node["shape"])
        dtype = np.dtypes.StringDType() if node["dtype"] == "T" else np.dtype(str(node["dtype"]))
        if not is_text_dtype(dtype) or min(shape, default=0) < 0 or math.prod(shape) != len(items):
            msg = f"{len(items)} items are no array of shape {shape} and dtype {dtype}"
            raise ValueError(msg)
        if dtype.kind != "O" and not all(isinstance(item, str) for item in items):
            msg = "an array of text has an item that is no text"
            raise TypeError(msg)
        self._allowance.spend(dtype, items)
        array = np.empty(len(items), dtype=dtype)
        for row, item in enumerate(items):
            array[row] = item
        return array.reshape(shape)


def write_scalar(value: np.generic) -> dict[str, Any] | None:
    """Return what stands for one of numpy's scalars, or None where it cannot be kept."""
    if isinstance(value, np.str_):
        return {"is": "scalar", "dtype": "str", "value": str(value)}
    if not _is_numeric(value.dtype):
        return None
    return {"is": "scalar", "dtype": value.dtype.str, "value": value.tobytes().hex()}


def read_scalar(node: dict[str, Any]) -> np.generic:
    """Return the scalar. Raise a ValueError, KeyError or TypeError where there can be none."""
    if node["dtype"] == "str":
        return np.str_(node["value"])
    dtype, raw = np.dtype(str(node["dtype"])), bytes.fromhex(node["value"])
    if not _is_numeric(dtype) or len(raw) != dtype.itemsize:
        msg = f"{node['value']!r} is no scalar of dtype {dtype}"
        raise ValueError(msg)
    return np.frombuffer(raw, dtype=dtype)[0]
