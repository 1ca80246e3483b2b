"""All that comes before the heads, fitted once for all candidates that share it. Part of ``_search``."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from skbert._classifier import BertSentimentClassifier
from skbert._classifier.checks import check_labels, texts_of
from skbert._classifier.predictions import as_matrix
from skbert._head import HeadClassifier, inputs
from skbert._params import check_params
from skbert._search.candidates import Candidate
from skbert._store.memory import MemoryStore
from skbert._texts import near_keys

__all__ = ["Front", "size_of"]


class Front:
    """What candidates with one key have before their heads, for one fold.

    It does step by step what the `fit` of such an estimator does, so that the
    shared steps can be left out the second time.

    Parameters
    ----------
    candidate : Candidate
        Any one of those that share.
    store : MemoryStore
        Keeps vectors where the embedder itself keeps none, so that a text
        which is in several folds goes through BERT once.
    """

    def __init__(self, candidate: Candidate, store: MemoryStore) -> None:
        self._store = store
        built = clone(candidate.built)
        self._steps: Pipeline | None = None
        self._final = built
        if isinstance(built, Pipeline):
            self._final = built.steps[-1][1]
            self._steps = built[:-1] if len(built.steps) > 1 else None
        self._reader: BertSentimentClassifier | None = None  # once it is fitted

    @property
    def _name(self) -> str:
        return type(self._final).__name__

    def begin(self, X: Any, y: Any) -> None:
        """Fit the steps before the classifier, and check the texts if it reads texts."""
        self._X = X if self._steps is None else self._steps.fit_transform(X, y)
        self._n = 0
        self.near: np.ndarray | None = None  # numbers, the same for texts that are nearly the same
        if isinstance(self._final, BertSentimentClassifier):
            source = self._final._source()
            check_params(source)
            texts = texts_of(self._X, source, self._name)
            self._n, self._is_pairs = len(texts.items), texts.is_pairs
            self.near = near_keys(texts.items)

    def head(self, candidate: Candidate, y: Any, sample_weight: Any) -> tuple[HeadClassifier, Any]:
        """Return the candidate's head, unfitted, and the labels that it is to learn, after checks as in its `fit`."""
        if not isinstance(candidate.final, BertSentimentClassifier):
            return clone(candidate.final), y
        final = clone(candidate.final)
        check_params(final)
        inputs.resolve_device(final.device, self._name)
        labels = check_labels(y, sample_weight, None, None, final.class_weight, self._n, self._name, whole=True)
        return final._head(going_on=False), labels

    def vectors(self) -> Any:
        """Return what the heads are to be trained on."""
        X, self._X = self._X, None
        if not isinstance(self._final, BertSentimentClassifier):
            return X
        reader = self._final
        reader.embedder_ = clone(reader._source()).fit(X)
        reader._is_pairs = self._is_pairs
        if reader.embedder_.cache is None:
            reader.embedder = reader._like(reader.embedder_, cache=self._store)
        self._reader = reader
        return as_matrix(reader._serving_embedder(), X)

    def read(self, X: Any) -> Any:
        """Return what the heads see of other rows."""
        # One by one: a Pipeline of these alone would ask whether its last step looks fitted, and the whole asks its
        # classifier.
        for _, step in [] if self._steps is None else self._steps.steps:
            X = X if step is None or step == "passthrough" else step.transform(X)
        return X if self._reader is None else self._reader._vectors(X)

    def whole(self, candidate: Candidate, head: HeadClassifier) -> Any:
        """Return the candidate's estimator as its own `fit` would leave it, with this fitted head."""
        final: Any = head
        if self._reader is not None:
            final = clone(candidate.final)
            final.__dict__.update(final._learned(self._reader.embedder_, head, self._is_pairs))
            if self._reader.embedder_.cache is None:
                final.embedder = self._reader.embedder  # with the store
        if candidate.name is None:
            return final
        whole = copy(candidate.built)
        whole.steps = [*([] if self._steps is None else self._steps.steps), (candidate.name, final)]
        return whole


def size_of(vectors: Any) -> int:
    """Return about how many bytes a matrix of vectors takes; lists are the user's own and count as nothing."""
    return int(np.prod(getattr(vectors, "shape", 0))) * getattr(getattr(vectors, "dtype", None), "itemsize", 8)
