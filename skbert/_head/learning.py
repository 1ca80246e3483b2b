"""How a head learns. Part of ``_head``: the half of HeadClassifier that comes before the predictions.

Takes its epochs from ``_training``.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from typing import Any, Self

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from skbert import _training
from skbert._head import fitting, inputs, rows, starting, weights
from skbert._head.calibration import find_temperature
from skbert._head.predictions import DTYPES
from skbert._params import check_params

__all__ = ["Learning"]

# Epochs over which fit averages the weights. In the validation parts of benchmarks/bench_quality.py 1, 2 and 3
# did equally well, and better than none at each learning rate that was tried.
_AVERAGING = 2.0


class Learning:
    """The private methods that train, for an estimator with HeadClassifier's parameters."""

    hidden_layer_sizes: Any
    dropout: float
    weight_decay: float
    batch_size: int
    learning_rate_init: float
    max_iter: int
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    tol: float
    class_weight: Any
    n_heads: int
    warm_start: bool
    device: str
    random_state: Any

    n_features_in_: int
    classes_: np.ndarray
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    temperature_: float
    loss_curve_: list[float]
    n_iter_: int
    _moments: tuple[Any, ...]
    _optimizer: weights.Memory | None
    _forget: Callable[[], None]

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, monitor: fitting.FitMonitor, near: np.ndarray | None = None
    ) -> Self:
        """Train as `fit` does, before another monitor: that of the classifier which this is the head of.

        `near` are numbers, the same for rows whose texts are nearly the same.
        """
        trained = copy(self)  # a fit that fails leaves the earlier one whole, and one may predict meanwhile
        trained._train(X, y, sample_weight, monitor, near)
        return self._become(trained)

    def _train(self, X: Any, y: Any, sample_weight: Any, monitor: fitting.FitMonitor, near: np.ndarray | None) -> None:
        check_params(self)
        device = inputs.resolve_device(self.device, type(self).__name__)
        warm = self.warm_start and hasattr(self, "coefs_")
        if not warm:
            self._forget()
        X, y, weight = self._check_data(X, y, sample_weight, reset=not warm)
        classes = inputs.classes_of_fit(y, self.classes_ if warm else None, type(self).__name__)
        merged = rows.merge_copies(X, inputs.encode_labels(y, classes), weight)
        factors = inputs.class_factors(self.class_weight, classes, merged.y, merged.weight, type(self).__name__)
        near = inputs.of_counted_rows(near, sample_weight)

        start = starting.begin(X, merged, classes, near=near, **self._start_params())
        network = self._network(len(classes), start.moments, start.seed_weights, device, fresh=not warm)
        # The weights of an epoch, with the score of that epoch; which one is the best is known at the end.
        monitor.begin(
            lambda network, history: fitting.learned(
                network, replace(history, best_epoch=len(history.loss)), start.moments, classes, temperature=1.0
            )
        )
        parts = start.rows(factors, device)
        history = fitting.run(network, parts, self._settings(), monitor=monitor)
        self._learn(network, history, start, parts)

    def _start_params(self) -> dict[str, Any]:
        """Return the parameters by which rows are split and seeds drawn."""
        names = ("random_state", "early_stopping", "validation_fraction", "max_iter")
        return {name: getattr(self, name) for name in names}

    def _learn(
        self, network: _training.Network, history: _training.History, start: starting.Start, parts: _training.Rows
    ) -> None:
        """Take over the outcome of a training that has ended well."""
        temperature = find_temperature(network, parts.validation)
        self._optimizer = None  # AdamW's, which partial_fit keeps
        self.__dict__.update(fitting.learned(network, history, start.moments, start.classes, temperature))
        fitting.warn_of_end(history)

    def _fit_part(self, X: Any, y: Any, classes: Any, sample_weight: Any) -> Self:
        """Train as `partial_fit` does."""
        trained = copy(self)
        trained._train_part(X, y, classes, sample_weight)
        return self._become(trained)

    def _train_part(self, X: Any, y: Any, classes: Any, sample_weight: Any) -> None:
        check_params(self)
        device = inputs.resolve_device(self.device, type(self).__name__)
        inputs.check_class_weight_of_part(self.class_weight, type(self).__name__)
        first = not hasattr(self, "coefs_")
        if first:
            self._forget()
        known = inputs.known_classes(classes, None if first else self.classes_, type(self).__name__)
        X, y, weight = self._check_data(X, y, sample_weight, reset=first)
        merged = rows.merge_copies(X, inputs.encode_labels(y, known), weight)
        factors = inputs.class_factors(self.class_weight, known, merged.y, merged.weight, type(self).__name__)

        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        done = 0 if first else self.n_iter_
        batch = rows.measure(X, merged.rows, merged.weight)
        moments = batch if first else rows.Moments(*self._moments) + batch
        network = self._network(len(known), moments, seed, device, fresh=first)
        kept = None if first or self._optimizer is None else weights.to_memory(self._optimizer, device)
        memory = _training.AdamMoments.zeros(network) if kept is None else kept
        # With the number of calls so far in the seed: parts of one size are not each drawn in the same order.
        seed = int(np.random.SeedSequence([seed, done]).generate_state(1)[0])
        part = weights.make_part(X, merged, np.ones(len(merged.y), dtype=bool), factors, moments, device)
        settings = replace(self._settings(), max_epochs=1, averaging=0.0)
        history = fitting.run(network, _training.Rows(part, None, seed), settings, moments=memory)
        if history.interrupted:
            raise KeyboardInterrupt  # a part is lost, not hours; and the loop over the parts must end
        losses = [*([] if first else self.loss_curve_), *history.loss]
        self.__dict__.update(
            fitting.learned(
                network,
                replace(history, loss=losses, best_epoch=len(losses)),
                moments,
                known,
                temperature=1.0 if first else self.temperature_,
            )
        )
        self._optimizer = weights.memory_arrays(memory)
        fitting.warn_of_end(history)

    def _become(self, trained: Self) -> Self:
        """Take over what a copy has learned."""
        self._forget()
        self.__dict__.update(vars(trained))
        return self

    def _check_data(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> tuple[np.ndarray, ...]:
        """Return X, y and the weights, all three without the rows of weight zero."""
        inputs.check_labels_present(y, type(self).__name__)
        X, y = validate_data(self, X, y, dtype=DTYPES, reset=reset)
        check_classification_targets(y)
        weight = inputs.check_sample_weight(sample_weight, len(y))
        counts = weight > 0
        return (X, y, weight) if counts.all() else (X[counts], y[counts], weight[counts])

    def _network(
        self, n_classes: int, moments: rows.Moments, seed: int, device: Any, *, fresh: bool
    ) -> _training.Network:
        """Return the network to train: newly drawn, or the present one rewritten for the new standardisation."""
        sizes = self._sizes(len(moments.mean), n_classes)
        if fresh:
            return weights.new_network(sizes, self.n_heads, seed, device)
        self._check_shapes()
        before = rows.Moments(*self._moments)
        return weights.to_network(*weights.rebase(self.coefs_, self.intercepts_, before, moments), device)

    def _sizes(self, n_features: int, n_classes: int) -> list[int]:
        hidden = np.atleast_1d(np.asarray(self.hidden_layer_sizes, dtype=int)).tolist()
        return [n_features, *hidden, n_classes]

    def _check_shapes(self) -> None:
        """Refuse to go on with weights of another shape than the parameters ask for."""
        weights.check_shapes(self.coefs_, self._sizes(self.n_features_in_, len(self.classes_)), self.n_heads)

    def _settings(self) -> _training.Settings:
        """Return the parameters in the words of ``_training``."""
        return _training.Settings(
            batch_size=self.batch_size,
            learning_rate=self.learning_rate_init,
            weight_decay=self.weight_decay,
            dropout=self.dropout,
            max_epochs=self.max_iter,
            patience=self.n_iter_no_change,
            tol=self.tol,
            averaging=_AVERAGING,
        )
