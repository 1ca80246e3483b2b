"""One training from its split to its last word to the user. Part of ``_head``; calls ``_training``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

from skbert._head.rows import Merged, Moments, split_off
from skbert._head.weights import network_arrays
from skbert._sklearn import FitTask
from skbert._training import AdamMoments, History, Monitor, Network, Rows, Settings, train
from skbert._warnings import warn
from skbert.exceptions import SkbertWarning, ValidationSplitWarning

__all__ = ["FitMonitor", "check_end", "hold_out", "learned", "run", "warn_of_end"]


def hold_out(
    merged: Merged, classes: np.ndarray, fraction: float, rng: np.random.RandomState, max_iter: int
) -> np.ndarray | None:
    """Return the mask of the validation part, or None with a warning where a class is too small for one."""
    chosen, too_small = split_off(merged, fraction, rng)
    if not len(too_small):
        return chosen
    labels, counts = classes[too_small].tolist(), np.bincount(merged.y)[too_small].tolist()
    listed = ", ".join(f"{label!r} ({count})" for label, count in zip(labels, counts, strict=True))
    msg = (
        "No validation part could be split off, because of classes with too few different rows to be on both "
        f"sides: {listed}. Training runs for max_iter={max_iter} epochs without early stopping. Pass more "
        "samples of these classes, or set early_stopping=False."
    )
    warn(msg, ValidationSplitWarning)
    return None


class FitMonitor(Monitor):
    """Who follows a training: a bar on stderr where `verbose` is not 0, and the callbacks of the fit's `task`.

    Parameters
    ----------
    name : str, default='HeadClassifier'
        Who is fitted, as the user knows it.
    verbose : int, default=0
        Whether there is a bar.
    task : FitTask or None, default=None
        The fit as the callbacks see it.
    present : callable, default=dict
        Takes the attributes of the head to those with which the estimator of
        `task` predicts as the head does.
    """

    def __init__(
        self,
        name: str = "HeadClassifier",
        verbose: int = 0,
        task: FitTask | None = None,
        present: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    ) -> None:
        self._name, self._verbose, self._task, self._present = name, verbose, task, present

    def bar(self, max_epochs: int) -> tqdm:
        """Return the bar, to be entered as a context."""
        self._bar = tqdm(total=max_epochs, desc=self._name, unit="epoch", disable=not self._verbose)
        return self._bar

    def begin(self, learned: Callable[[Network, History], dict[str, Any]]) -> None:
        """Tell the callbacks that the fit begins; `learned` gives the head's attributes for a network and history."""
        self._learned = learned
        if self._task is not None:
            self._task.begin()

    def begin_epoch(self) -> None:
        """Tell the callbacks."""
        if self._task is not None:
            self._task.begin_epoch()

    def end_epoch(self, history: History, network: Network) -> bool:
        """Move the bar, and ask the callbacks whether to stop."""
        _show(self._bar, history)
        if self._task is None:
            return False
        return self._task.end_epoch(lambda: self._present(self._learned(network, history)))


def run(
    network: Network,
    rows: Rows,
    settings: Settings,
    *,
    moments: AdamMoments | None = None,
    monitor: FitMonitor | None = None,
) -> History:
    """Train the network in place, and let a monitor follow.

    Raises
    ------
    ValueError
        The loss was no longer a finite number, and there is no earlier epoch
        to go back to.
    """
    monitor = FitMonitor() if monitor is None else monitor
    with monitor.bar(settings.max_epochs):
        history = train(
            network,
            rows.training,
            rows.validation,
            settings,
            seed=rows.seed,
            moments=moments,
            monitor=monitor,
        )
    check_end(history, settings)
    return history


def check_end(history: History, settings: Settings) -> None:
    """Raise a ValueError where a training has left nothing that could be used."""
    if history.diverged and not history.validation_loss:
        msg = (
            f"The loss was no longer a finite number in epoch {len(history.loss) + 1}. Lower learning_rate_init "
            f"(it is {settings.learning_rate}), and look for extreme values in X and sample_weight."
        )
        raise ValueError(msg)


def _show(bar: tqdm, history: History) -> None:
    """Move the progress bar on by an epoch."""
    figures = {"loss": f"{history.loss[-1]:.4f}"}
    if history.validation_loss:
        figures["validation loss"] = f"{history.validation_loss[-1]:.4f}"
    bar.set_postfix(figures, refresh=False)
    bar.update()


def warn_of_end(history: History) -> None:
    """Say so where a training did not run to its end."""
    kept = f" The weights of epoch {history.best_epoch} are kept." if history.best_epoch else ""
    if history.interrupted:
        msg = f"Training was interrupted by the user in epoch {len(history.loss) + 1}.{kept}"
    elif history.diverged:
        msg = f"The loss was no longer a finite number in epoch {len(history.loss) + 1}, and training stopped.{kept}"
        msg += " Lower learning_rate_init to train on."
    else:
        return
    warn(msg, SkbertWarning)


def learned(
    network: Network, history: History, moments: Moments, classes: np.ndarray, temperature: float
) -> dict[str, Any]:
    """Return the attributes of a head that has learned this: numpy and plain values, no tensors."""
    coefs, intercepts = network_arrays(network)
    validated = bool(history.validation_loss)
    best = history.validation_accuracy[: history.best_epoch]
    return {
        "classes_": classes,
        "_moments": tuple(moments),  # a plain tuple, lest a pickle name a class of a private file
        "mean_": moments.mean,
        "scale_": moments.scale,
        "coefs_": coefs,
        "intercepts_": intercepts,
        "temperature_": temperature,
        "n_iter_": len(history.loss),
        "best_iter_": history.best_epoch,
        "loss_curve_": list(history.loss),
        "validation_loss_curve_": list(history.validation_loss) if validated else None,
        "validation_scores_": list(history.validation_accuracy) if validated else None,
        "best_validation_score_": best[-1] if best else None,
    }
