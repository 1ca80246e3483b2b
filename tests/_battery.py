"""scikit-learn's common checks for estimators of text, which `check_estimator` passes over.

`check_estimator` runs one check of about fifty where an estimator says
honestly that it takes no matrices of numbers. Here each estimator gets a
subclass that takes such a matrix, writes each row as a text, and hands the
texts on. What skbert itself has a rule for (nothing at all, sparse, complex
and missing input) reaches it as it is, so that its own errors are checked.

The texts are read by one of two backbones: the tiny random BERT, or a stand-in
for the forward pass which reads the numbers back, so that checks of accuracy
mean something. All around it is skbert's own: parameters, checks of input,
fingerprints, tags, output.
"""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils.validation import check_is_fitted, validate_data

from skbert import BertEmbedder, BertSentimentClassifier, TextCleaner
from tests._models import build_tiny_model

WIDTH = 32  # of the tiny BERT, and more columns than any common check has


@functools.cache
def _tiny_folder() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="skbert-battery-")
    build_tiny_model(folder.name, "bert")
    return folder


class TinyBert(os.PathLike):
    """The folder of a tiny random BERT, which is built when it is first asked for."""

    def __fspath__(self) -> str:
        return _tiny_folder().name

    def __repr__(self) -> str:
        return "TinyBert()"


def write_rows(X: Any) -> list[str | None]:
    """Return each row as a text of numbers, exactly; a row with something that is not finite is missing."""
    values = np.asarray(X, dtype=np.float64)
    return [" ".join(map(repr, row.tolist())) if np.isfinite(row).all() else None for row in values]


def read_rows(texts: list[str | None]) -> np.ndarray:
    """Return the numbers that are in texts, one row each; a missing one is a row of NaN."""
    rows = [None if text is None else [float(number) for number in text.split()] for text in texts]
    width = next(len(row) for row in rows if row is not None)
    return np.array([[np.nan] * width if row is None else row for row in rows])


def read_vectors(texts: list[str], spec: Any, options: Any) -> np.ndarray:
    """Stand in for the engine: the vector of a text is the numbers in it, filled up with zeros."""
    vectors = np.zeros((len(texts), WIDTH * len(spec.units)), dtype=np.float32)
    numbers = read_rows(texts)
    vectors[:, : numbers.shape[1]] = numbers
    return vectors


class Numeric:
    """Mixin that makes an estimator of text one of numbers."""

    def _write(self, X: Any, *, reset: bool) -> Any:
        if isinstance(X, list | pd.Series) and len(X) and isinstance(next(iter(X)), str):
            return X  # written already, by a method that calls another
        if sparse.issparse(X) or np.asarray(X).dtype.kind == "c":
            return X
        if len(np.asarray(X)) == 0:
            return []
        texts = write_rows(validate_data(self, X, reset=reset, dtype="numeric", ensure_all_finite=False))
        return pd.Series(texts, index=X.index, dtype=object) if isinstance(X, pd.DataFrame) else texts

    @contextlib.contextmanager
    def _as_texts(self) -> Iterator[None]:
        # For the estimator itself a row is one text, however many numbers are in it.
        width = vars(self).pop("n_features_in_", None)
        try:
            yield
        finally:
            if width is not None:
                self.n_features_in_ = width

    def _fitted(self, X: Any) -> Any:
        # Again, for the estimator itself has seen a list, which has no columns to remember.
        validate_data(self, X, reset=True, skip_check_array=True)
        return self

    def fit(self, X: Any, y: Any = None) -> Any:
        """Write the rows, then fit."""
        super().fit(self._write(X, reset=True), y)
        return self._fitted(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.one_d_array = False
        return tags


class NumericEmbedder(Numeric, BertEmbedder):
    """BertEmbedder for rows of numbers."""

    def transform(self, X: Any) -> np.ndarray:
        """Write the rows, then embed."""
        rows = self._write(X, reset=not hasattr(self, "n_features_in_"))
        with self._as_texts():
            return super().transform(rows)


class NumericCleaner(Numeric, TextCleaner):
    """TextCleaner for rows of numbers, which it leaves as they are."""

    def transform(self, X: Any) -> np.ndarray:
        """Write the rows, clean the texts, read them back."""
        rows = self._write(X, reset=not hasattr(self, "n_features_in_"))
        with self._as_texts():
            return read_rows(super().transform(rows))


class NumericClassifier(Numeric, BertSentimentClassifier):
    """BertSentimentClassifier for rows of numbers."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Write the rows, then train on them."""
        BertSentimentClassifier.fit(self, self._write(X, reset=True), y, sample_weight)
        return self._fitted(X)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Any:
        """Write the rows, then train on them."""
        first = not hasattr(self, "n_features_in_")
        super().partial_fit(self._write(X, reset=first), y, classes, sample_weight)
        return self._fitted(X) if first else self

    def _read(self, X: Any) -> Any:
        check_is_fitted(self)
        return self._write(X, reset=False)

    def predict(self, X: Any) -> np.ndarray:
        """Write the rows, then predict."""
        return super().predict(self._read(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Write the rows, then score."""
        return super().score(self._read(X), y, sample_weight)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Write the rows, then predict."""
        return super().predict_proba(self._read(X))

    def decision_function(self, X: Any) -> np.ndarray:
        """Write the rows, then ask."""
        return super().decision_function(self._read(X))


class OnTinyBert:
    """Mixin for the tiny random BERT, which is not expected to classify well."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if tags.classifier_tags is not None:
            tags.classifier_tags.poor_score = True
        return tags


class TinyBertEmbedder(OnTinyBert, NumericEmbedder):
    """The same through a real forward pass."""


class TinyBertClassifier(OnTinyBert, NumericClassifier):
    """The same through a real forward pass."""
