"""Warnings that point at the user's line, however many frames of ours and of scikit-learn lie between."""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn"]

_BETWEEN = ("skbert", "sklearn", "joblib", "contextlib")


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the innermost line that is neither ours nor scikit-learn's, nor joblib's."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
