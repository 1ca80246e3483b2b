"""What the splits of a cross-validation put on both sides. Part of ``_report``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.model_selection import check_cv

from skbert._report.findings import Finding, Rows, Values
from skbert._texts import show
from skbert.exceptions import InvalidParameterError

__all__ = ["about_splits"]

_NO_ROWS = np.empty(0, dtype=np.intp)
Split = tuple[np.ndarray, np.ndarray]


class _Tally:
    """Counts the test rows that have a copy in their training part, over splits that come one by one."""

    def __init__(self, rows: Rows, keys: np.ndarray) -> None:
        self._keys, self._is_used = keys, rows.is_used
        self._hit = np.zeros(len(keys), dtype=bool)
        self.count = self.of = 0
        self.worst = (_NO_ROWS, 0)  # the rows of one split, and its test rows

    def add(self, train: np.ndarray, test: np.ndarray) -> None:
        """Count one split."""
        used = test[self._is_used[test]]
        found = used[np.isin(self._keys[used], self._keys[train])]
        self._hit[found] = True
        self.count, self.of = self.count + len(found), self.of + len(test)
        before, of = self.worst
        if of == 0 or len(found) * of > len(before) * len(test):
            self.worst = found, len(test)

    @property
    def rows(self) -> np.ndarray:
        """Return the rows that were found in any split."""
        return np.flatnonzero(self._hit)


def about_splits(
    rows: Rows,
    cv: Any,
    X: Any,
    y: Any,
    groups: Any,
    labels: Values | None,
    group_values: Values | None,
    remedy: str,
) -> Iterator[Finding]:
    """Yield how many test rows have a copy in their training part, over all splits and in the worst one.

    Parameters
    ----------
    rows : Rows
    cv : int, splitter or iterable of pairs of row numbers
    X, y, groups : as the user gave them
        For the splitter.
    labels, group_values : Values or None
        The same, checked. A row without a label takes no part in the splits
        that an int or a splitter makes: nobody can train or score with it.
    remedy : str
        What to do where there are copies on both sides.
    """
    kinds = {"identical": rows.exact, "near-identical": rows.near}
    tallies = {kind: _Tally(rows, keys) for kind, keys in kinds.items()}
    n_splits = 0
    for train, test in _splits(cv, rows, X, y, groups, labels, group_values):
        n_splits += 1
        for tally in tallies.values():
            tally.add(train, test)
    if n_splits == 0:
        raise _wrong(cv, "give one split at least")
    for kind, tally in tallies.items():
        what = remedy if tally.count and kind == "near-identical" else ""
        yield Finding(f"{kind} across splits", tally.count, tally.of, "test rows", tally.rows, what)
        found, of = tally.worst
        yield Finding(f"{kind} in the worst split", len(found), of, "test rows", found)


def _splits(
    cv: Any, rows: Rows, X: Any, y: Any, groups: Any, labels: Values | None, group_values: Values | None
) -> Iterator[Split]:
    n = len(rows.items)
    is_number = isinstance(cv, Integral) and not isinstance(cv, bool | np.bool_) and int(cv) >= 2
    is_text = isinstance(cv, str | bytes)  # which has a method of that name too
    if is_number or (hasattr(cv, "split") and not is_text):
        here = np.arange(n)
        if labels is not None and not labels.is_known.all():
            here = np.flatnonzero(labels.is_known)
            X = [rows.items[row] for row in here.tolist()]
            y = labels.take(here)
            groups = None if group_values is None else group_values.take(here)
        # The splitters that an int stands for only warn that they have no use for groups.
        groups = None if is_number else groups
        for train, test in check_cv(cv, y, classifier=True).split(X, y, groups):
            yield here[train], here[test]
        return
    if not isinstance(cv, Iterable) or is_text or isinstance(cv, Mapping):
        raise _wrong(cv, "be None, an int from 2 up, a splitter with a method 'split', or an iterable of (train, test)")
    for number, split in enumerate(cv):  # read once: it may be a generator
        try:
            train, test = split
        except (TypeError, ValueError):
            raise _wrong(split, "be pairs of row numbers, (train, test), where it is an iterable", number) from None
        yield _row_numbers(train, n, number), np.unique(_row_numbers(test, n, number))


def _row_numbers(side: Any, n: int, number: int) -> np.ndarray:
    """Return one side of a split as row numbers from 0; it may be a mask, and count from behind."""
    rows = np.asarray(side)
    if rows.dtype == bool and rows.shape == (n,):
        return np.flatnonzero(rows)
    if rows.size == 0:
        return np.empty(0, dtype=np.intp)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise _wrong(side, "hold row numbers where it is an iterable of (train, test)", number)
    if rows.max() >= n or rows.min() < -n:
        raise _wrong(side, f"hold row numbers below {n}, the number of rows of X", number)
    return rows % n


def _wrong(value: Any, must: str, number: int | None = None) -> InvalidParameterError:
    where = "" if number is None else f" in split {number}"
    return InvalidParameterError(f"The 'cv' parameter of text_report must {must}. Got {show(value)}{where} instead.")
