"""What the head is given besides X: parameters, weights, classes, a device. Part of ``_head``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.utils import check_array
from sklearn.utils.multiclass import unique_labels

from skbert._params import Rule, Rules, anything, boolean, instance, integer, none, one_of, real, sequence
from skbert.exceptions import InvalidParameterError

__all__ = [
    "PARAMETER_RULES",
    "check_class_weight_of_part",
    "check_labels_present",
    "check_sample_weight",
    "class_factors",
    "classes_of_fit",
    "encode_labels",
    "known_classes",
    "of_counted_rows",
    "resolve_device",
]

DEVICE_RULE: Rule = anything(
    "'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'",
    lambda value: isinstance(value, str) and re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value) is not None,
)

_WEIGHT = real(0, float("inf"), closed="left")
CLASS_WEIGHT_RULE: Rule = anything(
    "a dict of class to weight, a finite number from 0 up",
    lambda value: isinstance(value, Mapping) and all(map(_WEIGHT.holds, value.values())),
)

PARAMETER_RULES: Rules = {
    "hidden_layer_sizes": (sequence(integer(1), "a sequence of ints from 1 up", min_size=0), integer(1)),
    "dropout": (real(0, 1, closed="left"),),
    "weight_decay": (real(0, float("inf"), closed="left"),),
    "batch_size": (integer(1),),
    "learning_rate_init": (real(0, float("inf"), closed="neither"),),
    "max_iter": (integer(1),),
    "early_stopping": (boolean(),),
    "validation_fraction": (real(0, 1, closed="neither"),),
    "n_iter_no_change": (integer(1),),
    "tol": (real(0, float("inf"), closed="left"),),
    "class_weight": (none(), one_of("balanced", "balanced_sqrt"), CLASS_WEIGHT_RULE),
    "n_heads": (integer(1),),
    "warm_start": (boolean(),),
    "device": (DEVICE_RULE,),
    "random_state": (none(), integer(0, 2**32 - 1), instance(np.random.RandomState)),
    "verbose": (integer(0), boolean()),
}


# These functions are told which estimator asks, for their messages: HeadClassifier, or a class that has one inside and
# wants the user's mistakes told before a text is embedded.


def resolve_device(name: str, estimator: str) -> torch.device:
    """Return the device of that name, "auto" being the GPU if there is one.

    Raises
    ------
    InvalidParameterError
        The device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    there = None
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        there = f"{torch.cuda.device_count()} CUDA device(s)" if torch.cuda.is_available() else "no CUDA device"
    elif kind == "mps" and not torch.backends.mps.is_available():
        there = "no MPS device"
    if there is not None:
        msg = (
            f"The 'device' parameter of {estimator} must be a device that is there, and torch sees {there}. "
            f"Got {name!r} instead. Use device='auto' to take what is there."
        )
        raise InvalidParameterError(msg)
    return torch.device(name)


def check_sample_weight(sample_weight: Any, n: int) -> np.ndarray:
    """Return the weights as float64, one a row; all ones for None.

    Raises
    ------
    ValueError
        They are not finite, negative, all zero, or not one a row.
    """
    if sample_weight is None:
        return np.ones(n)
    weight = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weight.shape != (n,):
        msg = f"sample_weight.shape == {weight.shape}, expected {(n,)}: one weight for each row of X."
        raise ValueError(msg)
    if (weight < 0).any():
        rows = np.flatnonzero(weight < 0)
        msg = f"sample_weight has {len(rows)} negative values, the first in row {rows[0]}: a weight is zero or more."
        raise ValueError(msg)
    if not weight.any():
        msg = "The values of sample_weight are all zero: there is nothing to learn from. One at least must be positive."
        raise ValueError(msg)
    return weight


def of_counted_rows(values: np.ndarray | None, sample_weight: Any) -> np.ndarray | None:
    """Return the values of the rows whose weight is not zero."""
    return None if values is None else values[check_sample_weight(sample_weight, len(values)) > 0]


def check_labels_present(y: Any, estimator: str) -> None:
    """Raise a ValueError that names the rows where labels are None, NaN or pd.NA, which cannot be sorted."""
    # Texts in a list one by one: NumPy would make the text "nan" of a NaN among them, and a class of it.
    has_texts = isinstance(y, list | tuple) and any(isinstance(label, str) for label in y)
    labels = np.asarray(y, dtype=object if has_texts else None)
    absent = np.flatnonzero(pd.isna(labels)).tolist() if labels.ndim == 1 and labels.dtype.kind == "O" else []
    if absent:
        rows = ", ".join(map(str, absent[:5])) + (", …" if len(absent) > 5 else "")
        msg = (
            f"Input contains NaN, None or pd.NA as labels: {estimator} found {len(absent)} missing in y, in row(s) "
            f"{rows}. Drop these rows, or give them a label of their own."
        )
        raise ValueError(msg)


def classes_of_fit(y: np.ndarray, before: np.ndarray | None, estimator: str) -> np.ndarray:
    """Return the classes that fit works with, sorted: those in y.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Labels of the rows that count, one row at least.
    before : ndarray or None
        The classes of the fit that a warm start goes on from.
    estimator : str
        Who asks, for the message.

    Raises
    ------
    ValueError
        There is nothing to tell apart, or they are not those of before.
    """
    classes = np.unique(y)
    if len(classes) < 2:
        msg = (
            f"{estimator} needs samples of at least 2 classes, but y holds only one class: {classes.tolist()[0]!r} "
            "(rows of weight zero do not count). Check the labels, or the split that made this part of the data, or "
            "use sklearn.dummy.DummyClassifier where a constant answer is meant."
        )
        raise ValueError(msg)
    if before is not None and not np.array_equal(classes, before):
        msg = (
            "warm_start=True goes on from the last fit and needs the same classes. "
            f"That fit had {before.tolist()}, y has {classes.tolist()}."
        )
        raise ValueError(msg)
    return classes


def known_classes(classes: Any, before: np.ndarray | None, estimator: str) -> np.ndarray:
    """Return the classes that partial_fit works with, sorted: those of the first call.

    Parameters
    ----------
    classes : array-like or None
        As given to partial_fit.
    before : ndarray or None
        The classes of the calls before; None at the first one.
    estimator : str
        Who asks, for the message.

    Raises
    ------
    ValueError
        There are none at the first call, fewer than two, or not those of
        before.
    """
    if classes is None:
        if before is None:
            msg = "classes must be passed on the first call to partial_fit."
            raise ValueError(msg)
        return before
    known = unique_labels(classes)
    if len(known) < 2:
        msg = (
            f"The 'classes' of partial_fit of {estimator} must be all labels that will ever come, at least 2 of them. "
            f"Got {classes!r} instead."
        )
        raise ValueError(msg)
    if before is not None and not np.array_equal(known, before):
        msg = f"classes={classes!r} are not those of the call before, which were {before.tolist()}."
        raise ValueError(msg)
    return known


def encode_labels(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the place of each label in the sorted `classes`.

    Raises
    ------
    ValueError
        Names the labels that are not among them.
    """
    codes = np.searchsorted(classes, y).clip(max=len(classes) - 1)
    strange = classes[codes] != y
    if strange.any():
        names = np.unique(y[strange]).tolist()
        msg = f"y holds labels {names} that are not among the classes {classes.tolist()} of the first call."
        raise ValueError(msg)
    return codes


def check_class_weight_of_part(class_weight: Any, estimator: str) -> None:
    """Raise an error where partial_fit, which sees a part of the data, is asked to balance all of it."""
    if isinstance(class_weight, str):
        msg = (
            f"The 'class_weight' parameter of {estimator} must be None or a dict of class to weight for partial_fit, "
            f"which sees only a part of the data. Got {class_weight!r} instead. "
            "sklearn.utils.class_weight.compute_class_weight computes balanced weights."
        )
        raise InvalidParameterError(msg)


def class_factors(
    class_weight: Any, classes: np.ndarray, y: np.ndarray, weight: np.ndarray, estimator: str
) -> np.ndarray:
    """Return by how much the weight of a row of each class is multiplied.

    Parameters
    ----------
    class_weight : None, "balanced", "balanced_sqrt" or dict
        The parameter, right by its rule.
    classes : ndarray of shape (n_classes,)
        Sorted labels.
    y : ndarray of shape (n,)
        Codes of the classes.
    weight : ndarray of shape (n,)
        Weights of the rows, so that a row of weight 2 counts as two.
    estimator : str
        Who asks, for the message.

    Returns
    -------
    ndarray of shape (n_classes,)
        Float64.

    Raises
    ------
    InvalidParameterError
        A dict has keys that are no classes while some class has no key, or
        takes away all weight.
    """
    if class_weight is None:
        return np.ones(len(classes))
    totals = np.bincount(y, weights=weight, minlength=len(classes))
    if not isinstance(class_weight, Mapping):
        balanced = totals.sum() / (len(classes) * totals)
        return np.sqrt(balanced) if class_weight == "balanced_sqrt" else balanced
    factors = np.array([class_weight.get(label, 1.0) for label in classes.tolist()], dtype=np.float64)
    unnamed = [label for label in classes.tolist() if label not in class_weight]
    # A key that is no class may be a class that a fold of a cross-validation lacks. It is a mistake when a class goes
    # without a weight at the same time.
    strange = [key for key in class_weight if key not in set(classes.tolist())]
    if unnamed and strange:
        msg = (
            f"The 'class_weight' parameter of {estimator} must be a dict whose keys are classes. Got {class_weight!r} "
            f"instead, with the keys {strange}, which are no classes, and none for the classes {unnamed}."
        )
        raise InvalidParameterError(msg)
    if not (factors * totals).any():
        msg = (
            f"The 'class_weight' parameter of {estimator} must be a dict that leaves weight to a class in y. "
            f"Got {class_weight!r} instead."
        )
        raise InvalidParameterError(msg)
    return factors
