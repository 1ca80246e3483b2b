"""What skbert's estimators have in common: pickles with a format number, links to the documentation, callbacks.

Low room: imports ``_sklearn`` and ``exceptions``.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any, ClassVar

from sklearn.base import BaseEstimator

from skbert._sklearn import CallbackSupportMixin
from skbert.exceptions import StateFormatError

__all__ = ["DOCUMENTATION", "STATE_FORMAT", "SkbertEstimator", "is_fitted_name"]

DOCUMENTATION = "https://skbert.readthedocs.io/en/latest"  # as in pyproject.toml; a test holds the two together

# The layout of an estimator's state, which pickles, deep copies and bundles share. Raised whenever an attribute gets
# another form; `_upgrade` then brings older states up, one step a number.
# 1: no number. 2: HeadClassifier._moments is a plain tuple; a fitted BertEmbedder has _vector_format and
# _model_defaults (from format 1, without the latter, the files of now decide).
# 3: a fitted HeadClassifier has temperature_.
STATE_FORMAT = 3


def is_fitted_name(name: str) -> bool:
    """Say whether an attribute's name is of the kind that a fit leaves."""
    return name.endswith("_") and not name.startswith("_")


class SkbertEstimator(CallbackSupportMixin, BaseEstimator):
    """Base of the public estimators."""

    # What a fit leaves beside the attributes whose names end with an underscore.
    _also_fitted: ClassVar[tuple[str, ...]] = ()
    # scikit-learn's HTML representation makes a link of these.
    _doc_link_module = "skbert"
    _doc_link_template = f"{DOCUMENTATION}/reference/generated/skbert.{{estimator_name}}.html"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give the methods the module of their class, by which skops and others tell whose they are."""
        super().__init_subclass__(**kwargs)
        for name, value in vars(cls).items():
            # Those that were defined in the class's body: a function that is only named there is somebody else's.
            if isinstance(value, FunctionType) and value.__qualname__ == f"{cls.__qualname__}.{name}":
                value.__module__ = cls.__module__

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes, with the number of their layout."""
        state = dict(super().__getstate__())
        return {**state, "_skbert_format": STATE_FORMAT}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the attributes of this layout or of an older one.

        Raises
        ------
        StateFormatError
            A newer skbert wrote them.
        """
        state = dict(state)
        found = state.pop("_skbert_format", 1)
        if not isinstance(found, int) or not 1 <= found <= STATE_FORMAT:
            msg = (
                f"This {type(self).__name__} was saved in format {found!r}, and this skbert reads formats 1 to "
                f"{STATE_FORMAT}. Install the skbert that wrote it, or a newer one."
            )
            raise StateFormatError(msg)
        for number in range(found, STATE_FORMAT):
            state = self._upgrade(state, number)
        super().__setstate__(state)

    def _forget(self) -> None:
        """Drop all that an earlier fit has left."""
        for name in [name for name in vars(self) if is_fitted_name(name) or name in self._also_fitted]:
            delattr(self, name)

    @classmethod
    def _upgrade(cls, state: dict[str, Any], number: int) -> dict[str, Any]:
        """Return a state of layout `number` in the layout after it."""
        return state
