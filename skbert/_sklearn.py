"""What scikit-learn has in private modules, or only in newer versions: the one file that knows. Lowest room.

Callbacks came with scikit-learn 1.9. Below it the estimators have no
``set_callbacks``, and all that is here does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from sklearn import get_config
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_feature_names_in, _check_method_params, _num_samples

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands where scikit-learn has no callbacks."""

    def with_callbacks(method: Any) -> Any:
        """Return the method as it is."""
        return method


__all__ = [
    "CALLBACKS",
    "CallbackSupportMixin",
    "FitTask",
    "check_input_features",
    "copy_requests",
    "count_rows",
    "is_output_wrapped",
    "is_watched",
    "keep_index",
    "slice_params",
    "take_rows",
    "with_callbacks",
]

# How scikit-learn's names for callbacks begin: they belong to a fit, not to what it has learned.
CALLBACKS = "_skl_callbacks"


def check_input_features(estimator: Any, input_features: Any) -> None:
    """Refuse names for `get_feature_names_out` that are not those of the fit."""
    _check_feature_names_in(estimator, input_features, generate_names=False)


def _output_container(estimator: Any) -> str:
    return getattr(estimator, "_sklearn_output_config", {}).get("transform", get_config()["transform_output"])


def is_output_wrapped(estimator: Any) -> bool:
    """Say whether ``set_output``, or scikit-learn's configuration, turns what `transform` returns into a frame."""
    return _output_container(estimator) != "default"


def keep_index(estimator: Any, output: Any, X: Any) -> Any:
    """Return what `transform` is to return, so that a frame which becomes of it has the index of the Series X.

    scikit-learn 1.6 keeps the index of a frame only. Without this, a
    ColumnTransformer would put the vectors beside the columns of other rows.
    """
    if isinstance(X, pd.Series) and _output_container(estimator) == "pandas":
        return pd.DataFrame(output, index=X.index, copy=False)
    return output


def count_rows(X: Any) -> int:
    """Return the number of rows of whatever scikit-learn takes as X."""
    return int(_num_samples(X))


def take_rows(X: Any, rows: Any) -> Any:
    """Return these rows of X, in a container of its kind, as cross-validation does."""
    return _safe_indexing(X, rows)


def slice_params(X: Any, params: dict[str, Any], rows: Any) -> dict[str, Any]:
    """Return parameters of `fit` for these rows of X: those with a value a row are sliced, as cross-validation does."""
    return dict(_check_method_params(X, params, indices=rows))


def copy_requests(source: Any, target: Any) -> None:
    """Let `target` ask for the metadata that `source` was told to ask for; scikit-learn 1.6 looks at this name."""
    if hasattr(source, "_metadata_request"):
        target._metadata_request = source._metadata_request


def is_watched(*estimators: Any) -> bool:
    """Say whether there are callbacks on an estimator or on one that is among its parameters."""
    parts = [part for one in estimators for part in (one, *one.get_params(deep=True).values())]
    return any(getattr(part, CALLBACKS, None) for part in parts)


class FitTask:
    """A fit, as the estimator's callbacks see it: one task with one subtask an epoch.

    Does nothing, and costs nothing, where the estimator has no callbacks. To
    be used within a method under ``with_callbacks``.

    Parameters
    ----------
    estimator : estimator
        The one that is fitted.
    X, y : sequence
        What it is fitted on, as the user gave it.
    sample_weight : array-like or None
        The same.
    max_epochs : int, default=0
        Largest number of subtasks.
    """

    def __init__(self, estimator: Any, X: Any, y: Any = None, sample_weight: Any = None, max_epochs: int = 0) -> None:
        self._facts: dict[str, Any] = {"estimator": estimator, "X": X, "y": y}
        if sample_weight is not None:
            self._facts["metadata"] = {"sample_weight": sample_weight}
        self._max_epochs = max_epochs
        self._task: Any = None
        self._epoch: Any = None

    @property
    def is_watched(self) -> bool:
        """Whether there are callbacks."""
        return bool(getattr(self._facts["estimator"], CALLBACKS, None))

    def begin(self) -> FitTask:
        """Tell that the fit begins, once nothing can be wrong with its input any more; a second time is not told."""
        if self.is_watched and self._task is None:
            self._task = self._facts["estimator"]._init_callback_context(max_subtasks=self._max_epochs)
            self._task.call_on_fit_task_begin(**self._facts)
        return self

    def begin_epoch(self) -> None:
        """Tell that an epoch begins."""
        if self._task is not None:
            self._epoch = self._task.subcontext(task_name="epoch")
            self._epoch.call_on_fit_task_begin(**self._facts)

    def end_epoch(self, learned: Callable[[], dict[str, Any]]) -> bool:
        """Tell that an epoch has ended; return whether a callback asks to stop.

        `learned` gives the attributes that make the estimator predict with
        the weights of this epoch. It is called only where a callback wants them.
        """
        if self._epoch is None:
            return False
        return bool(self._epoch.call_on_fit_task_end(**self._facts, reconstruction_attributes=learned))

    def end(self, **attributes: Any) -> None:
        """Tell that the fit has ended; the estimator can predict as it is, or with these attributes."""
        if self._task is not None:
            self._task.call_on_fit_task_end(**self._facts, reconstruction_attributes=attributes)
