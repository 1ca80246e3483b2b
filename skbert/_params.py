"""Checks of constructor parameters, in scikit-learn's wording. Beside ``exceptions``: imports nothing else of skbert.

Each estimator declares ``_parameter_rules``, a dict from the name of a
parameter to the rules of which one must hold, and calls :func:`check_params`
where it starts to work (``fit``, ``transform``, ``predict``), never in
``__init__``. scikit-learn's own checker has the same form, but is private.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from skbert.exceptions import InvalidParameterError

__all__ = [
    "Rule",
    "anything",
    "boolean",
    "check_arguments",
    "check_params",
    "instance",
    "integer",
    "none",
    "one_of",
    "real",
    "sequence",
]


class Rule(NamedTuple):
    """One way in which a value may be right, and how an error message says it."""

    text: str
    holds: Callable[[Any], bool]


Rules = dict[str, tuple[Rule, ...]]


def one_of(*values: str) -> Rule:
    """Return the rule "a str among …"."""
    listed = ", ".join(repr(value) for value in values)
    return Rule(f"a str among {{{listed}}}", lambda value: isinstance(value, str) and value in values)


def integer(low: int | None = None, high: int | None = None) -> Rule:
    """Return the rule "an int in the range [low, high]"; a bool is no int here."""

    def holds(value: Any) -> bool:
        if not isinstance(value, Integral) or isinstance(value, bool | np.bool_):
            return False
        number = int(value)
        return (low is None or number >= low) and (high is None or number <= high)

    if low is None and high is None:
        return Rule("an int", holds)
    left = "(-inf" if low is None else f"[{low}"
    right = "inf)" if high is None else f"{high}]"
    return Rule(f"an int in the range {left}, {right}", holds)


def real(low: float, high: float, closed: str = "both") -> Rule:
    """Return the rule "a float in the range …"; ``closed`` is "both", "left", "right" or "neither"."""
    open_left, open_right = closed in ("right", "neither"), closed in ("left", "neither")

    def holds(value: Any) -> bool:
        if not isinstance(value, Real) or isinstance(value, bool | np.bool_):
            return False
        number = float(value)
        above = number > low if open_left else number >= low
        below = number < high if open_right else number <= high
        return above and below  # NaN is neither

    brackets = ("(" if open_left else "[", ")" if open_right else "]")
    return Rule(f"a float in the range {brackets[0]}{low}, {high}{brackets[1]}", holds)


def boolean() -> Rule:
    """Return the rule "a bool"."""
    return Rule("a bool", lambda value: isinstance(value, bool | np.bool_))


def none() -> Rule:
    """Return the rule "None"."""
    return Rule("None", lambda value: value is None)


def instance(*classes: type, text: str | None = None) -> Rule:
    """Return the rule "an instance of …"; `text` replaces these words."""
    names = " or ".join(cls.__name__ for cls in classes)
    return Rule(text or f"an instance of {names}", lambda value: isinstance(value, classes))


def anything(text: str, holds: Callable[[Any], bool]) -> Rule:
    """Return a rule in its author's own words."""
    return Rule(text, holds)


def sequence(of: Rule, text: str, min_size: int = 1) -> Rule:
    """Return the rule that a list, tuple or 1-D array holds at least `min_size` values, each right by `of`."""

    def holds(value: Any) -> bool:
        if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray) or np.ndim(value) > 1:
            return False
        return len(value) >= min_size and all(of.holds(item) for item in value)

    return Rule(text, holds)


def check_params(estimator: Any, rules: Rules | None = None) -> None:
    """Check the parameters of `estimator` against its rules.

    Parameters
    ----------
    estimator : object
        Has `get_params` and, where `rules` is None, `_parameter_rules`.
    rules : dict of str to tuple of Rule, default=None
        The rules to use instead.

    Raises
    ------
    InvalidParameterError
        Names the first wrong parameter, what it must be, and what it is.
    """
    rules = estimator._parameter_rules if rules is None else rules
    check_arguments(type(estimator).__name__, {name: getattr(estimator, name) for name in rules}, rules)


def check_arguments(owner: str, values: dict[str, Any], rules: Rules) -> None:
    """Check the arguments of the function or class `owner`, as :func:`check_params` does; `values` has all of them."""
    for name, allowed in rules.items():
        value = values[name]
        if any(rule.holds(value) for rule in allowed):
            continue
        texts = [rule.text for rule in allowed]
        must = texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}"
        msg = f"The {name!r} parameter of {owner} must be {must}. Got {value!r} instead."
        raise InvalidParameterError(msg)
