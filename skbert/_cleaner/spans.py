"""Which characters of a text before a change each character after it came from. Lowest file of ``_cleaner``.

A range is a half-open pair of places in the text before. Along the text after, neither starts nor ends decrease. What
was put in, and came from nothing, has an empty range.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

__all__ = ["Range", "compose", "differences", "same", "thinned", "whole"]

Range = tuple[int, int]

# How far `differences` looks for the next place where both texts go on alike, and how much must be alike there; one
# after the other, so that two small changes close together are not taken for one.
_REACHES = ((8, 3), (8, 2), (24, 3))


def same(start: int, end: int) -> Iterable[Range]:
    """Return the ranges of what stays: one character each."""
    return zip(range(start, end), range(start + 1, end + 1), strict=True)


def compose(spans: np.ndarray, ranges: Iterable[Range] | np.ndarray) -> np.ndarray:
    """Return where each character after a change came from, beyond the text just before it.

    Parameters
    ----------
    spans : ndarray of shape (n_before, 2) and dtype int64
        Where each character before the change came from.
    ranges : iterable of pairs, or ndarray of shape (n_after, 2)
        Which characters before the change each one after it came from.

    Returns
    -------
    ndarray of shape (n_after, 2) and dtype int64
        From the start of the first to the end of the last of them. What was
        put in is empty at the end of what stands before it, unless it was put
        into the midst of one thing, to which it then belongs.
    """
    places = np.array(ranges if isinstance(ranges, np.ndarray) else list(ranges), dtype=np.int64).reshape(-1, 2)
    if not len(spans):
        return np.zeros_like(places)
    first, stop = places[:, 0], places[:, 1]
    here, before = np.minimum(first, len(spans) - 1), np.maximum(first - 1, 0)
    composed = np.stack([spans[here, 0], spans[np.maximum(stop - 1, 0), 1]], axis=1)
    is_empty = first == stop
    is_apart = (first == len(spans)) | (spans[before, 1] <= spans[here, 0])
    between = np.where(is_apart[:, None], spans[before, 1][:, None], spans[before])
    between = np.where((first == 0)[:, None], spans[0, 0], between)
    return np.where(is_empty[:, None], between, composed)


def whole(old: str, new: str) -> list[Range]:
    """Return the ranges of a word that replaces a token: all of it, but for the blanks around the word."""
    n_before = len(new) - len(new.lstrip(" "))
    n_behind = len(new) - n_before - len(new.strip(" "))
    n_old = len(old)
    return [(0, 0)] * n_before + [(0, n_old)] * (len(new) - n_before - n_behind) + [(n_old, n_old)] * n_behind


def thinned(old: str, new: str) -> list[Range]:
    """Return the ranges where a text has lost characters and been given blanks, and nothing else.

    Parameters
    ----------
    old, new : str
        The text before and after.

    Returns
    -------
    list of pairs
        The last that was kept of a run of one character covers those that
        were not. Other lost characters are in no range.
    """
    ranges: list[Range] = []
    place = 0
    for char in new:
        if char == " " and old[place : place + 1] != " ":
            ranges.append((place, place))
            continue
        while old[place : place + 1] != char:
            if place == len(old):
                return whole(old, new)  # something else was changed as well
            _lengthen(ranges, old, place)
            place += 1
        ranges.append((place, place + 1))
        place += 1
    for rest in range(place, len(old)):
        _lengthen(ranges, old, rest)
    return ranges


def _lengthen(ranges: list[Range], old: str, place: int) -> None:
    """Let the last range cover the character at `place` if that goes on with its run."""
    if ranges and ranges[-1][1] == place > ranges[-1][0] and old[place - 1] == old[place]:
        ranges[-1] = (ranges[-1][0], place + 1)


def differences(before: str | bytes, after: str | bytes) -> list[Range]:
    """Return the ranges of a change of which nothing is known but its outcome.

    Where the two differ, the nearest place is looked for from which they go on
    alike, within a bounded distance; beyond it the rest is shared out evenly.
    So the time grows with the length, not with its square.

    Parameters
    ----------
    before, after : str or bytes
        The same kind both.

    Returns
    -------
    list of pairs
        One for each element of `after`.
    """
    n_alike = 0
    for old, new in zip(reversed(before), reversed(after), strict=False):
        if old != new:
            break
        n_alike += 1
    n_before, n_after = len(before) - n_alike, len(after) - n_alike
    ranges: list[Range] = []
    place = 0
    while len(ranges) < n_after:
        made = len(ranges)
        if place < n_before and before[place] == after[made]:
            ranges.append((place, place + 1))
            place += 1
            continue
        gap = _gap(before, after, place, made)
        if gap is None or place + gap[0] > n_before or made + gap[1] > n_after:
            gap = n_before - place, n_after - made
        n_old, n_new = gap
        ranges += ((place + k * n_old // n_new, place + -(-(k + 1) * n_old // n_new)) for k in range(n_new))
        place += n_old
    ranges += same(n_before, len(before))
    return ranges


def _gap(before: str | bytes, after: str | bytes, place: int, made: int) -> tuple[int, int] | None:
    """Return how many elements of each to skip until both go on alike, None if that is too far."""
    for reach, n_alike in _REACHES:
        for distance in range(1, reach + 1):
            for n_new in range(distance + 1):
                old_place, new_place = place + distance - n_new, made + n_new
                if before[old_place : old_place + n_alike] == after[new_place : new_place + n_alike]:
                    return distance - n_new, n_new
    return None
