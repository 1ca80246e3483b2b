"""What there is to say about texts, labels and groups. Part of ``_report``: integers and counts, no containers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from skbert._texts import Item, exact_keys, near_keys

__all__ = [
    "Finding",
    "Rows",
    "Values",
    "about_groups",
    "about_labels",
    "about_texts",
    "joined_groups",
    "percent",
]

_IMBALANCE = 3  # how many times as large as the smallest class the largest is before the report speaks of it
_NO_ROWS = np.empty(0, dtype=np.intp)


@dataclasses.dataclass(frozen=True)
class Finding:
    """One row of the report: so many of all there are of a unit, the rows of X concerned, and what to do."""

    name: str
    count: int
    of: int | None
    unit: str
    rows: np.ndarray = dataclasses.field(default_factory=lambda: _NO_ROWS)
    advice: str = ""


class Rows(NamedTuple):
    """The rows of X, each of which is missing, empty (nothing but blanks), or used.

    `exact` and `near` have one number a row, the same where texts are
    identical, or nearly so. No missing and no empty row has another's number.
    """

    items: Sequence[Item]
    is_missing: np.ndarray
    is_empty: np.ndarray
    exact: np.ndarray
    near: np.ndarray

    @classmethod
    def of(cls, items: Sequence[Item]) -> Rows:
        """Compare the texts."""
        is_missing = np.fromiter((item is None for item in items), dtype=bool, count=len(items))
        is_empty = np.fromiter((item is not None and not _has_text(item) for item in items), bool, len(items))
        exact, near = exact_keys(items), near_keys(items)
        # What an empty text is a copy of says nothing.
        empty = np.flatnonzero(is_empty)
        for keys in (exact, near):
            keys[empty] = len(items) + np.arange(len(empty))
        return cls(items, is_missing, is_empty, exact, near)

    @property
    def is_used(self) -> np.ndarray:
        """Say for each row whether it has a text to compare."""
        return ~(self.is_missing | self.is_empty)


class Values(NamedTuple):
    """Labels, or groups: a number for each row, -1 where it has none, and what the numbers stand for."""

    codes: np.ndarray
    names: list[Any]

    @property
    def is_known(self) -> np.ndarray:
        """Say for each row whether it has a value."""
        return self.codes >= 0

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the values of some rows, None where there is none."""
        return np.asarray([None if code < 0 else self.names[code] for code in self.codes[rows].tolist()])


def percent(part: float, whole: float) -> str:
    """Return a part of a whole in per cent, which is 0.0% and 100.0% only where that is the whole truth."""
    value = 100 * part / whole
    if 0 < value < 0.1:
        return "<0.1%"
    return ">99.9%" if 99.9 < value < 100 else f"{value:.1f}%"


def about_texts(rows: Rows, remedy: str) -> Iterator[Finding]:
    """Yield what there is to say about the texts alone; `remedy` is what to do about copies."""
    n = len(rows.items)
    used = np.flatnonzero(rows.is_used)
    yield Finding("texts", n, n, "texts")
    missing, empty = np.flatnonzero(rows.is_missing), np.flatnonzero(rows.is_empty)
    what = "Drop these rows, or give them the vector of the empty text: BertEmbedder(missing='empty')."
    yield Finding("missing texts", len(missing), n, "texts", missing, what if len(missing) else "")
    what = "Drop these rows: an empty text says nothing about its label."
    yield Finding("empty texts", len(empty), n, "texts", empty, what if len(empty) else "")
    copies = {}
    for name, keys in (("exact", rows.exact), ("near", rows.near)):
        firsts = np.unique(keys[used], return_index=True)[1]
        copies[name] = np.delete(used, firsts)
    yield Finding("different texts", len(used) - len(copies["exact"]), n, "texts")
    yield Finding("identical texts", len(copies["exact"]), n, "texts", copies["exact"])
    what = remedy if len(copies["near"]) else ""
    yield Finding("near-identical texts", len(copies["near"]), n, "texts", copies["near"], what)
    lengths = np.fromiter(map(_length, rows.items), dtype=np.int64, count=n)
    longest = int(lengths.argmax())
    yield Finding("longest text", int(lengths[longest]), None, "characters", np.array([longest]))


def about_labels(rows: Rows, labels: Values, *, are_classes: bool) -> Iterator[Finding]:
    """Yield what there is to say about the labels, classes first where they are some."""
    n = len(rows.items)
    missing = np.flatnonzero(~labels.is_known)
    what = "Label these rows, or drop them: no classifier can be fitted with them." if len(missing) else ""
    yield Finding("missing labels", len(missing), n, "labels", missing, what)
    if are_classes:
        yield from _about_classes(labels)
    known = np.flatnonzero(rows.is_used & labels.is_known)
    what = "Read these rows: one of the labels must be wrong, or the text alone does not decide."
    if are_classes:
        best = _ceiling(rows.exact[known], labels.codes[known])
        what += "" if best.startswith(">") else f" By the text alone {best} of the labelled rows can be got right."
    yield _conflicts("conflicting labels", "different texts", rows.exact, labels, known, what)
    what = "Read these rows: what sets such texts apart may matter here, or labels are wrong."
    yield _conflicts("conflicting labels, near-identical", "near-distinct texts", rows.near, labels, known, what)


def _about_classes(labels: Values) -> Iterator[Finding]:
    known = np.flatnonzero(labels.is_known)
    sizes = np.bincount(labels.codes[known], minlength=len(labels.names))
    what = ""
    if len(sizes) == 1:
        what = "There is one class only: nothing can be learned from it."
    elif len(sizes) and sizes.max() > _IMBALANCE * sizes.min():
        times, always = sizes.max() / sizes.min(), percent(sizes.max(), sizes.sum())
        what = (
            f"The largest class is {times:.1f} times the smallest, and to name it always is right in {always}: set "
            "class_weight='balanced_sqrt' of skbert's classifiers, or 'balanced', and judge by balanced accuracy or "
            "macro F1."
        )
    yield Finding("classes", len(sizes), None, "classes", advice=what)
    order = np.argsort(labels.codes, kind="stable")[len(labels.codes) - len(known) :]
    members = np.split(order, np.cumsum(sizes)[:-1]) if len(sizes) else []
    texts = [str(name) for name in labels.names]
    clear = len(set(texts)) == len(texts)  # 1 and "1" are two classes
    for name, text, of_class in zip(labels.names, texts, members, strict=True):
        yield Finding(f"class {text if clear else repr(name)}", len(of_class), len(known), "labels", of_class)
    single = np.flatnonzero(sizes == 1)
    what = "Leave such classes out or merge them: one text cannot be on both sides of a stratified split."
    lone = np.sort(np.concatenate([_NO_ROWS, *(members[k] for k in single)]))
    yield Finding("classes with one text", len(single), len(sizes), "classes", lone, what if len(single) else "")


def about_groups(rows: Rows, groups: Values) -> Iterator[Finding]:
    """Yield which texts stand in several of the groups that were given."""
    known = np.flatnonzero(rows.is_used & groups.is_known)
    yield _conflicts("identical across groups", "different texts", rows.exact, groups, known, "")
    what = "A split by these groups puts copies on both sides. Split by report.groups, which joins such groups."
    yield _conflicts("near-identical across groups", "near-distinct texts", rows.near, groups, known, what)


def joined_groups(rows: Rows, groups: Values | None) -> np.ndarray:
    """Return the finest groups that keep near-identical texts together, and those of each group that was given."""
    keys = np.unique(rows.near, return_inverse=True)[1]
    if groups is not None:
        known = np.flatnonzero(groups.is_known)
        n_keys, n_nodes = keys.max() + 1, keys.max() + 1 + len(groups.names)
        # Of 32 bits: csgraph of scipy 1.11 reads no others.
        ends = keys[known].astype(np.int32), (n_keys + groups.codes[known]).astype(np.int32)
        graph = coo_array((np.ones(len(known)), ends), shape=(n_nodes, n_nodes))
        keys = connected_components(graph, directed=False)[1][keys]
    _, firsts, places = np.unique(keys, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(firsts))[places]


def _conflicts(name: str, unit: str, keys: np.ndarray, values: Values, known: np.ndarray, advice: str) -> Finding:
    """Return the finding of the texts whose copies have different values, among the rows `known`."""
    _, firsts, places = np.unique(keys[known], return_index=True, return_inverse=True)
    codes = values.codes[known]
    several = np.zeros(len(firsts), dtype=bool)
    several[places[codes != codes[firsts[places]]]] = True
    count = int(several.sum())
    return Finding(name, count, len(firsts), unit, known[several[places]], advice if count else "")


def _ceiling(keys: np.ndarray, codes: np.ndarray) -> str:
    """Return the best accuracy that there can be where each text has one answer: that of its commonest label."""
    if len(keys) == 0:
        return percent(1, 1)
    (texts, _), counts = np.unique(np.stack([keys, codes]), axis=1, return_counts=True)
    starts = np.flatnonzero(np.diff(texts, prepend=-1))  # sorted by text
    return percent(np.maximum.reduceat(counts, starts).sum(), len(keys))


def _has_text(item: Item) -> bool:
    return bool(item.strip()) if isinstance(item, str) else any(side.strip() for side in item or ())


def _length(item: Item) -> int:
    return len(item) if isinstance(item, str) else sum(map(len, item or ()))
