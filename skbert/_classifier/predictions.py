"""What a fitted classifier of texts answers. Part of ``_classifier``: the half that comes after the training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from skbert._classifier.checks import check_same_kind, texts_of
from skbert._embedder import BertEmbedder
from skbert._head import HeadClassifier
from skbert._params import check_params
from skbert._texts import TextInput

__all__ = ["TextPredictions", "as_matrix"]


def as_matrix(embedder: BertEmbedder, X: Any) -> np.ndarray:
    """Return the vectors as an array, also where `set_output` or a global setting makes a frame of them."""
    return np.ascontiguousarray(embedder.transform(X), dtype=np.float32)


class TextPredictions:
    """The methods that predict, for an estimator with `embedder_`, `head_` and `_is_pairs`."""

    embedder_: BertEmbedder
    head_: HeadClassifier
    _is_pairs: bool
    _serving_embedder: Callable[[], BertEmbedder]  # the fit's, with the weights and on the device of now

    def predict(self, X: Any) -> np.ndarray:
        """Predict the label of each text.

        Parameters
        ----------
        X : sequence of str or of pairs of str, of shape (n_samples,)
            See :class:`BertEmbedder`.

        Returns
        -------
        ndarray of shape (n_samples,)
            Of the dtype of `classes_`.
        """
        self._ready()
        return self.head_.predict(self._vectors(X))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict the probability of each label.

        Parameters
        ----------
        X : sequence of str or of pairs of str, of shape (n_samples,)
            See :class:`BertEmbedder`.

        Returns
        -------
        float64 ndarray of shape (n_samples, n_classes)
            Columns in the order of `classes_`; rows sum to 1.
        """
        self._ready()
        return self.head_.predict_proba(self._vectors(X))

    def decision_function(self, X: Any) -> np.ndarray:
        """Return a score for each label, monotone in its probability.

        Parameters
        ----------
        X : sequence of str or of pairs of str, of shape (n_samples,)
            See :class:`BertEmbedder`.

        Returns
        -------
        float64 ndarray of shape (n_samples,) or (n_samples, n_classes)
            One column with two labels, where above 0 means ``classes_[1]``.
        """
        self._ready()
        return self.head_.decision_function(self._vectors(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy on texts and their labels.

        Parameters
        ----------
        X : sequence of str or of pairs of str, of shape (n_samples,)
            See :class:`BertEmbedder`.
        y : array-like of shape (n_samples,)
            True labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        float
            Share of the texts whose label is right.

        Raises
        ------
        ValueError
            X, y or `sample_weight` is wrong; told before a text is embedded.
        """
        self._ready()
        texts = self._texts(X)
        # What is wrong with y or the weights is told before a text is embedded: by scoring a constant answer.
        check_consistent_length(texts.items, y)
        accuracy_score(y, np.full(len(texts.items), self.head_.classes_[0]), sample_weight=sample_weight)
        return float(accuracy_score(y, self.predict(X), sample_weight=sample_weight))

    def _ready(self) -> None:
        check_is_fitted(self)
        check_params(self)

    def _texts(self, X: Any) -> TextInput:
        name = type(self).__name__
        texts = texts_of(X, self.embedder_, name)
        check_same_kind(texts, self._is_pairs, name)
        return texts

    def _vectors(self, X: Any) -> np.ndarray:
        self._texts(X)  # tells what is wrong under the classifier's name
        return as_matrix(self._serving_embedder(), X)
