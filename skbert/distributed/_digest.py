"""A digest of estimators: the same for the same steps in any process, another where functions differ.

Part of ``distributed``.
"""

from __future__ import annotations

import functools
import hashlib
from types import CodeType, FunctionType
from typing import Any

import joblib

from skbert._texts import show
from skbert.exceptions import InvalidParameterError

__all__ = ["digest_of"]


def digest_of(steps: list[Any]) -> str:
    """Return a digest of estimators: their classes, parameters, what they learnt, and the code of functions.

    Not of what these functions call, nor of the code of classes.

    Raises
    ------
    InvalidParameterError
        Something in them can be told by nothing but its address.
    """
    return hashlib.sha256(repr(_facts(steps)).encode()).hexdigest()


def _facts(value: Any) -> Any:
    """Return what tells a value from others, of str, tuples and numbers."""
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        return (
            "function",
            value.__name__,
            _code(value.__code__),
            _facts([value.__defaults__, value.__kwdefaults__, cells]),
        )
    if isinstance(value, functools.partial):
        return ("partial", _facts([value.func, value.args, value.keywords]))
    if isinstance(value, dict):
        return ("dict", *sorted((repr(_facts(key)), _facts(item)) for key, item in value.items()))
    if isinstance(value, set | frozenset):
        return ("set", *sorted(repr(_facts(item)) for item in value))
    if isinstance(value, list | tuple):
        return (type(value).__name__, *map(_facts, value))
    if hasattr(value, "get_params") and not isinstance(value, type):
        state = value.__getstate__()
        return (type(value).__module__, type(value).__qualname__, _facts(state if isinstance(state, dict) else [state]))
    try:
        return str(joblib.hash(value))
    except Exception as error:
        msg = (
            "The 'embedder' parameter of embed_parquet must be a Pipeline whose steps can be told from others when the "
            f"work goes on after a crash. Got {show(value)} in one of them instead ({error}). Use a function."
        )
        raise InvalidParameterError(msg) from error


def _code(code: CodeType) -> Any:
    """Return what a function does, without the file and the lines where it stands."""
    consts = [_code(one) if isinstance(one, CodeType) else _facts(one) for one in code.co_consts]
    return (code.co_code, code.co_names, code.co_varnames, code.co_freevars, tuple(consts))
