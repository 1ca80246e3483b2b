"""Estimators and their values to JSON and arrays, and back. Middle of the room.

A value that JSON has stands for itself. Every other is an object with a key
"is", whose value is one of a fixed set of words: what is read can name no
module, no class and no function beyond those, and none is looked up by its name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from skbert._bundle.arrays import (
    ArrayReader,
    ArrayWriter,
    is_text_dtype,
    read_scalar,
    write_scalar,
)
from skbert._bundle.routing import ROUTING, ask, requested
from skbert._classifier import BertSentimentClassifier
from skbert._cleaner import TextCleaner
from skbert._embedder import BertEmbedder
from skbert._head import HeadClassifier
from skbert._store.disk import DiskStore
from skbert._store.memory import MemoryStore
from skbert.exceptions import BundleError, SkbertError

__all__ = ["ESTIMATORS", "Reader", "Writer", "describe"]

# By their public names, so that a bundle does not depend on which file of skbert a class is in.
ESTIMATORS: dict[str, Any] = {
    cls.__name__: cls for cls in (BertEmbedder, BertSentimentClassifier, HeadClassifier, TextCleaner, Pipeline)
}
_COLLECTIONS: dict[str, type] = {cls.__name__: cls for cls in (tuple, set, frozenset)}
_SAFE_INT = 2**53  # beyond it many a JSON reader rounds, and Python's own limits the digits


def describe(value: Any) -> str:
    """Return a short description of a value for an error message."""
    text = " ".join(repr(value).split())
    return f"a {type(value).__name__} ({text if len(text) <= 80 else text[:77] + '...'})"


class Writer:
    """Writes values.

    Parameters
    ----------
    part : callable
        Called with an estimator that this codec does not know and with the
        place where it stands; keeps it and returns its number.

    Attributes
    ----------
    arrays : dict of str to ndarray
        What is to be kept beside the JSON.
    """

    def __init__(self, part: Callable[[Any, str], int]) -> None:
        self._part = part
        self._arrays = ArrayWriter()

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return self._arrays.arrays

    def write(self, value: Any, where: str) -> Any:
        """Return what stands for `value` in JSON.

        Parameters
        ----------
        value : object
            An estimator, or what may be in one.
        where : str
            How a user finds the value, for error messages.

        Raises
        ------
        BundleError
            The value is of a kind that a bundle cannot hold.
        """
        kind = type(value)
        if value is None or kind in (bool, str):
            return value
        if kind is int:
            return value if abs(value) < _SAFE_INT else {"is": "int", "value": hex(value)}
        if kind is float:
            return value if math.isfinite(value) else {"is": "float", "value": repr(value)}
        if kind is list:
            return [self.write(item, f"{where}[{row}]") for row, item in enumerate(value)]
        if kind is dict:
            pairs = [
                [self.write(key, f"{where}: a key"), self.write(item, f"{where}[{key!r}]")]
                for key, item in value.items()
            ]
            return {"is": "dict", "items": pairs}
        if kind in (tuple, set, frozenset):
            items = [self.write(item, f"{where}[{row}]") for row, item in enumerate(value)]
            # The order of a set is another in every process.
            return {"is": kind.__name__, "items": items if kind is tuple else sorted(items, key=repr)}
        if kind is MemoryStore:
            return {"is": "MemoryStore", "max_bytes": value.max_bytes}
        if kind is DiskStore:
            return {"is": "DiskStore", "folder": str(value.folder), "max_bytes": value.max_bytes}
        if kind in ESTIMATORS.values():
            return self._write_estimator(value, where)
        node = self._write_numpy(value, where)
        if node is not None:
            return node
        if not isinstance(value, type) and (hasattr(value, "get_params") or hasattr(value, "fit")):
            return {"is": "part", "number": self._part(value, where), "where": where}
        msg = (
            f"{where} is {describe(value)}, which a bundle cannot hold: it holds plain values, numpy arrays and "
            "estimators. Set it to something plain before saving; for a random state, to an int or None."
        )
        raise BundleError(msg)

    def _write_numpy(self, value: Any, where: str) -> dict[str, Any] | None:
        if isinstance(value, np.generic):
            return write_scalar(value)
        if type(value) not in (np.ndarray, np.memmap):  # what is more than an array would lose it
            return None
        if not is_text_dtype(value.dtype):
            return self._arrays.write(value)
        items = value.ravel().tolist()
        if all(type(item) in (str, bool, int, float, type(None)) or isinstance(item, np.generic) for item in items):
            written = [self.write(item, f"{where}[{row}]") for row, item in enumerate(items)]
            try:
                return self._arrays.write_texts(value, written)
            except ValueError as error:
                msg = f"{where}: {error}, and a bundle keeps no such. Make it narrower: x.astype(object).astype(str)."
                raise BundleError(msg) from error
        return None

    def _write_estimator(self, estimator: Any, where: str) -> dict[str, Any]:
        name = type(estimator).__name__
        state = dict(vars(estimator) if name == "Pipeline" else estimator.__getstate__())
        routing = requested(state.pop(ROUTING, None))
        written = {key: self.write(value, f"{where}.{key}") for key, value in state.items() if key != "steps"}
        node = {"is": name, "state": written, "routing": routing}
        if name == "Pipeline":
            node["steps"] = [[step, self.write(value, f"{where}[{step!r}]")] for step, value in state["steps"]]
        return node


class Reader:
    """Reads values.

    Parameters
    ----------
    arrays : dict of str to ndarray
        Those that were kept beside the JSON.
    part : callable
        Called with the number of a part and the place where it stands; returns
        the estimator.
    """

    def __init__(self, arrays: dict[str, np.ndarray], part: Callable[[int, str], Any]) -> None:
        self._arrays = ArrayReader(arrays)
        self._part = part
        self._kinds: dict[str, Callable[[dict[str, Any]], Any]] = {
            "int": lambda node: int(node["value"], 16),
            "float": lambda node: _not_finite(node["value"]),
            "dict": lambda node: {self._read(key): self._read(item) for key, item in node["items"]},
            "scalar": read_scalar,
            "array": self._arrays.read,
            "texts": lambda node: self._arrays.read_texts(node, [self._read(item) for item in node["items"]]),
            "MemoryStore": lambda node: MemoryStore(node["max_bytes"]),
            "DiskStore": lambda node: DiskStore(node["folder"], node["max_bytes"]),
            "part": lambda node: self._part(int(node["number"]), str(node["where"])),
            **dict.fromkeys(_COLLECTIONS, self._collection),
            **dict.fromkeys(ESTIMATORS, self._estimator),
        }

    def read(self, node: Any) -> Any:
        """Return the value that `node` stands for.

        Raises
        ------
        BundleError
            It stands for none.
        """
        try:
            return self._read(node)
        except SkbertError:
            raise
        except RecursionError as error:
            msg = "The bundle's estimator is nested too deeply to be read. It was not made by save_bundle."
            raise BundleError(msg) from error
        # Whatever is wrong in what somebody else may have written.
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            msg = (
                f"The bundle's estimator cannot be read: {type(error).__name__}: {error}. Save the bundle again, "
                "or load it with the skbert that wrote it."
            )
            raise BundleError(msg) from error

    def _read(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self._read(item) for item in node]
        if not isinstance(node, dict):
            return node
        kind = node.get("is")
        if not isinstance(kind, str) or kind not in self._kinds:
            msg = (
                f"The bundle holds something that is {kind!r}, which this skbert does not know. It knows "
                f"{', '.join(sorted(self._kinds))}, and never looks another name up."
            )
            raise BundleError(msg)
        return self._kinds[kind](node)

    def _collection(self, node: dict[str, Any]) -> Any:
        return _COLLECTIONS[node["is"]]([self._read(item) for item in node["items"]])

    def _estimator(self, node: dict[str, Any]) -> Any:
        cls = ESTIMATORS[node["is"]]
        state = {key: self._read(value) for key, value in node["state"].items()}
        for key in state:
            # What the class has is no state: a forged `_doc_link_template`, say, would put a script into a notebook.
            if key.startswith("__") or hasattr(cls, key):
                msg = f"The bundle's {node['is']} has an attribute {key!r}, which is none of a {node['is']}'s."
                raise BundleError(msg)
        if cls is Pipeline:  # has learned nothing itself, so that its version is of no account
            estimator = Pipeline([(str(name), self._read(step)) for name, step in node["steps"]])
            vars(estimator).update(state)
        else:
            estimator = cls.__new__(cls)
            estimator.__setstate__(state)
        ask(estimator, node["routing"])
        return estimator


def _not_finite(text: str) -> float:
    return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[text]
