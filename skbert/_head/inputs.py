"""What the head is given besides X: parameters, weights, classes, a device. Part of ``_head``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_array
from sklearn.utils.multiclass import unique_labels

from skbert._params import Rule, Rules, anything, boolean, instance, integer, none, one_of, real, sequence

__all__ = [
    "PARAMETER_RULES",
    "check_class_weight_of_part",
    "check_same_classes",
    "check_sample_weight",
    "check_two_classes",
    "class_factors",
    "encode_labels",
    "known_classes",
    "resolve_device",
]

DEVICE_RULE: Rule = anything(
    "'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'",
    lambda value: isinstance(value, str) and re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value) is not None,
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
    "class_weight": (none(), one_of("balanced"), instance(Mapping, text="a dict of class to weight")),
    "n_heads": (integer(1),),
    "warm_start": (boolean(),),
    "device": (DEVICE_RULE,),
    "random_state": (none(), integer(0, 2**32 - 1), instance(np.random.RandomState)),
    "verbose": (integer(0), boolean()),
}


def resolve_device(name: str) -> torch.device:
    """Return the device of that name, "auto" being the GPU if there is one.

    Raises
    ------
    ValueError
        The device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        there = f"{torch.cuda.device_count()} CUDA devices" if torch.cuda.is_available() else "no CUDA device"
        msg = f"device={name!r} was asked for, but torch sees {there}. Use device='auto' to take what is there."
        raise ValueError(msg)
    if kind == "mps" and not torch.backends.mps.is_available():
        msg = "device='mps' was asked for, but torch sees no MPS device. Use device='auto' to take what is there."
        raise ValueError(msg)
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


def check_two_classes(classes: np.ndarray) -> None:
    """Raise a ValueError where there is nothing to tell apart."""
    if len(classes) < 2:
        msg = (
            "HeadClassifier needs samples of at least 2 classes, but the data holds only one class: "
            f"{classes.tolist()[0]!r} (rows of weight zero do not count). Pass samples of another class, or use "
            "sklearn.dummy.DummyClassifier where a constant answer is meant."
        )
        raise ValueError(msg)


def check_same_classes(classes: np.ndarray, before: np.ndarray) -> None:
    """Raise a ValueError where a warm start has other classes than the fit it goes on from."""
    if not np.array_equal(classes, before):
        msg = (
            "warm_start=True goes on from the last fit and needs the same classes. "
            f"That fit had {before.tolist()}, y has {classes.tolist()}."
        )
        raise ValueError(msg)


def known_classes(classes: Any, before: np.ndarray | None) -> np.ndarray:
    """Return the classes that partial_fit works with, sorted: those of the first call.

    Parameters
    ----------
    classes : array-like or None
        As given to partial_fit.
    before : ndarray or None
        The classes of the calls before; None at the first one.

    Raises
    ------
    ValueError
        There are none at the first call, only one, or not those of before.
    """
    if classes is None:
        if before is None:
            msg = "classes must be passed on the first call to partial_fit."
            raise ValueError(msg)
        return before
    known = unique_labels(classes)
    check_two_classes(known)
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


def check_class_weight_of_part(class_weight: Any) -> None:
    """Raise a ValueError where partial_fit, which sees a part of the data, is asked to balance all of it."""
    if isinstance(class_weight, str):
        msg = (
            "class_weight='balanced' needs all data at once, and partial_fit sees a part. Pass a dict of class to "
            "weight instead; sklearn.utils.class_weight.compute_class_weight computes one."
        )
        raise ValueError(msg)


def class_factors(class_weight: Any, classes: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return by how much the weight of a row of each class is multiplied.

    Parameters
    ----------
    class_weight : None, "balanced" or dict
        As given to HeadClassifier.
    classes : ndarray of shape (n_classes,)
        Sorted labels.
    y : ndarray of shape (n,)
        Codes of the classes.
    weight : ndarray of shape (n,)
        Weights of the rows, so that a row of weight 2 counts as two.

    Returns
    -------
    ndarray of shape (n_classes,)
        Float64.

    Raises
    ------
    ValueError
        A dict has keys that are no classes while some class has no key, or a
        value that is not a number from 0 up, or takes away all weight.
    """
    if class_weight is None:
        return np.ones(len(classes))
    totals = np.bincount(y, weights=weight, minlength=len(classes))
    if not isinstance(class_weight, Mapping):  # "balanced"
        return totals.sum() / (len(classes) * totals)
    factors = np.array([class_weight.get(label, 1.0) for label in classes.tolist()], dtype=np.float64)
    unnamed = [label for label in classes.tolist() if label not in class_weight]
    # A key that is no class may be a class that a fold of a cross-validation lacks. It is a mistake when a class goes
    # without a weight at the same time.
    strange = [key for key in class_weight if key not in set(classes.tolist())]
    if unnamed and strange:
        msg = f"class_weight has the keys {strange}, which are no classes, and none for the classes {unnamed}."
        raise ValueError(msg)
    if not (np.isfinite(factors).all() and (factors >= 0).all() and (factors * totals).any()):
        msg = f"class_weight must hold finite numbers from 0 up, not all of them 0. Got {class_weight!r} instead."
        raise ValueError(msg)
    return factors
