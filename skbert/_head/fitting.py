"""One training from its split to its last word to the user. Part of ``_head``; calls ``_training``."""

from __future__ import annotations

import warnings

import numpy as np
from tqdm import tqdm

from skbert._head.rows import Merged, split_off
from skbert._training import AdamMoments, History, Network, Part, Settings, train
from skbert.exceptions import SkbertWarning, ValidationSplitWarning

__all__ = ["hold_out", "run", "warn_of_end"]

_TO_CALLER = 3  # stacklevel: from here past the estimator to the line that called fit


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
    warnings.warn(msg, ValidationSplitWarning, stacklevel=_TO_CALLER)
    return None


def run(
    network: Network,
    training: Part,
    validation: Part | None,
    settings: Settings,
    seed: int,
    *,
    moments: AdamMoments | None = None,
    verbose: int = 0,
) -> History:
    """Train the network in place, with a bar on stderr where `verbose` is not 0.

    Raises
    ------
    ValueError
        The loss was no longer a finite number, and there is no earlier epoch
        to go back to.
    """
    with tqdm(total=settings.max_epochs, desc="HeadClassifier", unit="epoch", disable=not verbose) as bar:
        history = train(
            network,
            training,
            validation,
            settings,
            seed=seed,
            moments=moments,
            on_epoch=lambda so_far: _show(bar, so_far),
        )
    if history.diverged and not history.validation_loss:
        msg = (
            f"The loss was no longer a finite number in epoch {len(history.loss) + 1}. Lower learning_rate_init "
            f"(it is {settings.learning_rate}), and look for extreme values in X and sample_weight."
        )
        raise ValueError(msg)
    return history


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
    warnings.warn(msg, SkbertWarning, stacklevel=_TO_CALLER)
