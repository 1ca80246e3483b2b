"""Many heads fitted at once. Part of ``_head``; what a search over heads is built on."""

from __future__ import annotations

import copy
import pickle
import time
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from skbert._head import fitting, inputs, rows, starting, weights
from skbert._head.classifier import HeadClassifier
from skbert._params import check_params
from skbert._sklearn import FitTask
from skbert._training import History, Monitor, Network, Rows, Task, train_together

__all__ = ["Job", "Outcome", "fit_together"]


class Job(NamedTuple):
    """Rows, and the unfitted heads that are to learn from them."""

    heads: Sequence[HeadClassifier]
    X: Any  # (n_samples, n_features)
    y: Any  # (n_samples,)
    sample_weight: Any = None  # (n_samples,) or None
    near: np.ndarray | None = None  # (n_samples,), the same for rows whose texts are nearly the same


class Outcome(NamedTuple):
    """How the fit of one head went."""

    error: Exception | None  # what its `fit` would have raised; the head is unfitted then
    seconds: float  # its share of the time


class _Begun(NamedTuple):
    """A head whose training is prepared."""

    head: HeadClassifier
    start: starting.Start
    task: Task


class _Bar(Monitor):
    """Counts the epochs of all tasks; when they will end is not known."""

    def __init__(self, bar: tqdm) -> None:
        self._bar = bar

    def end_epoch(self, history: History, network: Network) -> bool:
        """Move the bar."""
        self._bar.update()
        return False


def fit_together(jobs: Sequence[Job]) -> list[list[Outcome]]:
    """Fit every head of every job in place, as its `fit` would, those that can share products at once.

    With an int as `random_state`, each head ends as its own `fit` would leave
    it, to rounding. With None, the heads of a job share their seed: the split,
    the order of the rows and the initial weights.

    Parameters
    ----------
    jobs : sequence of Job
        Training sets, such as the folds of a cross-validation. Rows of all of
        them lie on the device at once, standardised, in float32.

    Returns
    -------
    list of list of Outcome
        One a head, by job.

    Raises
    ------
    KeyboardInterrupt
        As it came. What was not fitted by then is not.
    """
    outcomes: dict[tuple[int, int], Outcome] = {}
    begun: dict[tuple[int, int], _Begun] = {}
    prepared: dict[tuple[int, int], float] = {}  # seconds
    for j, job in enumerate(jobs):
        clock = time.perf_counter()
        together: list[int] = []
        for k, head in enumerate(job.heads):
            if _goes_on(head):
                outcomes[j, k] = _fit_singly(head, job)
            else:
                together.append(k)
        singly = sum(outcomes[j, k].seconds for k in range(len(job.heads)) if (j, k) in outcomes)
        for k, one in zip(together, _begin([job.heads[k] for k in together], job), strict=True):
            if isinstance(one, Exception):
                outcomes[j, k] = Outcome(one, 0.0)
            else:
                begun[j, k] = one
        took = time.perf_counter() - clock - singly
        prepared |= {(j, k): took / len(together) for k in together if (j, k) in begun}

    clock = time.perf_counter()
    with tqdm(desc=f"{len(begun)} heads", unit="epoch", disable=not _is_verbose(jobs)) as bar:
        for one in begun.values():
            one.task.monitor = _Bar(bar)
        train_together([one.task for one in begun.values()])
    took = time.perf_counter() - clock
    if any(one.task.history.interrupted for one in begun.values()):
        raise KeyboardInterrupt
    epochs = sum(len(one.task.history.loss) for one in begun.values()) or 1
    for place in list(begun):
        head, start, task = begun.pop(place)  # what is not held here is freed: the head has its own copy of the weights
        seconds = prepared[place] + took * len(task.history.loss) / epochs
        try:
            fitting.check_end(task.history, task.settings)
            head._learn(task.network, task.history, start, task.rows)
        except Exception as error:  # a warning that the user has made an error is one
            head._forget()
            outcomes[place] = Outcome(error, seconds)
        else:
            outcomes[place] = Outcome(None, seconds)
    return [[outcomes[j, k] for k in range(len(job.heads))] for j, job in enumerate(jobs)]


def _goes_on(head: HeadClassifier) -> bool:
    """Say whether a head must be fitted by itself: it goes on from a fit, or is watched by callbacks."""
    return bool(head.warm_start and hasattr(head, "coefs_")) or FitTask(head, None).is_watched


def _is_verbose(jobs: Sequence[Job]) -> bool:
    return any(head.verbose for job in jobs for head in job.heads)


def _fit_singly(head: HeadClassifier, job: Job) -> Outcome:
    clock = time.perf_counter()
    error = None
    try:
        head.fit(job.X, job.y, job.sample_weight)
    except Exception as caught:
        error = caught
    return Outcome(error, time.perf_counter() - clock)


def _begin(heads: Sequence[HeadClassifier], job: Job) -> list[_Begun | Exception]:
    """Prepare heads that learn from the same rows; what they have in common is made once."""
    made: list[_Begun | Exception] = []
    data: tuple[np.ndarray, np.ndarray, rows.Merged] | Exception | None = None
    checked: HeadClassifier | None = None
    starts: dict[Hashable, starting.Start] = {}
    parts: dict[Hashable, dict[tuple[float, ...], Rows]] = {}
    for head in heads:
        try:
            check_params(head)
            device = inputs.resolve_device(head.device, type(head).__name__)
            head._forget()
            if data is None:
                data, checked = _data_of(head, job), head
            if isinstance(data, Exception):
                made.append(data)
                continue
            X, classes, merged = data
            _copy_columns(checked, head)
            factors = inputs.class_factors(head.class_weight, classes, merged.y, merged.weight, type(head).__name__)
            key = _key_of(head)
            if key not in starts:
                near = inputs.of_counted_rows(job.near, job.sample_weight)
                # A generator is copied, so that a call which must be made again finds it where it stood.
                params = copy.deepcopy(head._start_params())
                starts[key] = starting.begin(X, merged, classes, near=near, **params)
            made.append(_begin_one(head, starts[key], factors, device, parts.setdefault((key, device), {})))
        except Exception as error:
            made.append(error)
    return made


def _data_of(head: HeadClassifier, job: Job) -> tuple[np.ndarray, np.ndarray, rows.Merged] | Exception:
    """Return the checked rows, the classes and the distinct rows, or the error that each head would have raised."""
    try:
        X, y, weight = head._check_data(job.X, job.y, job.sample_weight, reset=True)
        classes = inputs.classes_of_fit(y, None, type(head).__name__)
        return X, classes, rows.merge_copies(X, inputs.encode_labels(y, classes), weight)
    except Exception as error:
        return error


def _copy_columns(checked: HeadClassifier | None, head: HeadClassifier) -> None:
    """Give a head what the check of X has told another one."""
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(checked, name):
            setattr(head, name, getattr(checked, name))


def _key_of(head: HeadClassifier) -> Hashable:
    """Return what heads must have in common to split the rows in the same way and to draw the same numbers."""
    state = head.random_state
    if isinstance(state, np.random.RandomState):
        state = pickle.dumps(state.get_state())
    return (state, head.validation_fraction if head.early_stopping else None)


def _begin_one(
    head: HeadClassifier,
    start: starting.Start,
    factors: np.ndarray,
    device: torch.device,
    parts: dict[tuple[float, ...], Rows],
) -> _Begun:
    weighted = tuple(factors.tolist())
    if weighted not in parts:
        known = next(iter(parts.values()), None)
        parts[weighted] = start.rows(factors, device) if known is None else start.reweighted(known, factors)
    sizes = head._sizes(len(start.moments.mean), len(start.classes))
    network = weights.new_network(sizes, head.n_heads, start.seed_weights, device)
    return _Begun(head, start, Task(network, parts[weighted], head._settings()))
