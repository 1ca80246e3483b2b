"""What a fitted head answers. Part of ``_head``: the half of HeadClassifier that comes after the training."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted, validate_data

from skbert._head import weights
from skbert._head.calibration import at_temperature

__all__ = ["DTYPES", "Predictions"]

# float64 first: what is neither (ints, say) is converted to the first.
DTYPES = (np.float64, np.float32)


class Predictions:
    """The methods that predict, for an estimator with what a fit of HeadClassifier learns."""

    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    mean_: np.ndarray
    scale_: np.ndarray
    temperature_: float
    classes_: np.ndarray

    def decision_function(self, X: Any) -> np.ndarray:
        """Return a score for each class, monotone in its probability.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of finite numbers.

        Returns
        -------
        float64 ndarray of shape (n_samples,) or (n_samples, n_classes)
            Two classes: the log-odds of ``classes_[1]``. More: the logarithm
            of each class's probability, which does not run into 0 or 1.
        """
        log_p = self._log_proba(X)
        return log_p[:, 1] - log_p[:, 0] if log_p.shape[1] == 2 else log_p

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of finite numbers.

        Returns
        -------
        float64 ndarray of shape (n_samples, n_classes)
            Columns in the order of `classes_`; each row sums to 1.
        """
        return np.exp(self._log_proba(X))

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of finite numbers.

        Returns
        -------
        ndarray of shape (n_samples,)
            Of the dtype of `classes_`.
        """
        codes = self._log_proba(X).argmax(axis=1)  # first, since it is what checks that there was a fit
        return self.classes_[codes]

    def _log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithm of the class probabilities."""
        check_is_fitted(self, "coefs_")
        X = validate_data(self, X, dtype=DTYPES, reset=False)
        log_p = weights.log_proba(self.coefs_, self.intercepts_, X, self.mean_, self.scale_)
        return at_temperature(log_p, self.temperature_)
