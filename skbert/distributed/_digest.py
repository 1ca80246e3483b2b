"""A digest of estimators: the same for the same steps in any process, another where functions differ.

Part of ``distributed``.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from types import CodeType, FunctionType, ModuleType
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
    return hashlib.sha256(repr(_facts(steps, ())).encode()).hexdigest()


def _facts(value: Any, around: tuple[int, ...]) -> Any:
    """Return what tells a value from others, as str, tuples and numbers; `around` has the functions it stands in."""
    facts = functools.partial(_facts, around=around)
    if isinstance(value, FunctionType):
        return ("function", value.__name__, *(_of_function(value, around) if id(value) not in around else ()))
    if isinstance(value, functools.partial):
        return ("partial", facts([value.func, value.args, value.keywords]))
    if isinstance(value, type):
        return ("class", value.__module__, value.__qualname__)
    if isinstance(value, ModuleType):
        return ("module", value.__name__)
    if isinstance(value, dict):
        return ("dict", *sorted((repr(facts(key)), facts(item)) for key, item in value.items()))
    if isinstance(value, set | frozenset):
        return ("set", *sorted(repr(facts(item)) for item in value))
    if isinstance(value, list | tuple):
        return (type(value).__name__, *map(facts, value))
    if hasattr(value, "get_params"):
        state = value.__getstate__()
        if isinstance(state, dict):
            state = {name: item for name, item in state.items() if name != "_sklearn_version"}
        return (type(value).__module__, type(value).__qualname__, facts(state))
    try:
        return str(joblib.hash(value))
    except Exception as error:
        msg = (
            "The 'embedder' parameter of embed_parquet must be a Pipeline whose steps can be told from others when the "
            f"work goes on after a crash. Got {show(value)} in one of them instead ({error}). Use a function."
        )
        raise InvalidParameterError(msg) from error


def _of_function(function: FunctionType, around: tuple[int, ...]) -> tuple[Any, ...]:
    cells = []
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # nothing is in it yet
            cells.append(cell.cell_contents)
    values = [function.__defaults__, function.__kwdefaults__, cells]
    return _code(function.__code__), _facts(values, (*around, id(function)))


def _code(code: CodeType) -> Any:
    """Return what a function does, without the file and the lines where it stands."""
    consts = [_code(one) if isinstance(one, CodeType) else _facts(one, ()) for one in code.co_consts]
    return (code.co_code, code.co_names, code.co_varnames, code.co_freevars, tuple(consts))
