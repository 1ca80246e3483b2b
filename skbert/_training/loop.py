"""Epochs: early stopping and best weights, for one task or for many at once. Part of ``_training``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from skbert._training.network import Network
from skbert._training.optimiser import AdamMoments
from skbert._training.rows import Draws, Part, Rows
from skbert._training.stack import Stack, shape_of
from skbert._training.tasks import History, Monitor, Settings, Task

__all__ = ["train", "train_together"]

# Weights of one stack, at most. What is kept for each (the weights, their mean, the best ones, gradients, the
# optimiser's memory) makes seven times four bytes of it: 120 MB on a CPU, where larger stacks gain nothing any more.
_STACK_WEIGHTS = {"cpu": 2**22}
_STACK_WEIGHTS_ELSEWHERE = 2**26  # by arithmetic: 2 GB, and a GPU's products stay large while tasks end


class _Watch:
    """Early stopping of one task: what it has reached, and the weights of its best epoch."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.best: Network | None = None
        self._least = self._reference = math.inf
        self._waited = 0

    def see(self, loss: float, validated: tuple[float, float] | None, outcome: Network) -> bool:
        """Take in an epoch; return whether the training is over."""
        history, settings = self.task.history, self.task.settings
        if not math.isfinite(loss) or (validated is not None and not math.isfinite(validated[0])):
            history.diverged = True
            return True
        history.loss.append(loss)
        epoch = len(history.loss)
        if validated is None:
            history.best_epoch = epoch
        else:
            value, accuracy = validated
            history.validation_loss.append(value)
            history.validation_accuracy.append(accuracy)
            if value < self._least:  # any gain is worth keeping; only one above tol is worth going on for
                self.best, self._least, history.best_epoch = outcome.copy(), value, epoch
            if value < self._reference - settings.tol:
                self._waited, self._reference = 0, value
            else:
                self._waited += 1
        stop = self.task.monitor.end_epoch(history, outcome)
        return stop or self._waited >= settings.patience or epoch >= settings.max_epochs

    def finish(self, outcome: Network) -> None:
        """Give the task the weights of its best epoch."""
        network, history = self.task.network, self.task.history
        network.load(outcome if self.best is None else self.best)
        # The last step of all may blow up after a loss that was finite; a validation part would have seen it.
        if self.best is None and not all(bool(tensor.isfinite().all()) for tensor in network.tensors()):
            history.diverged = True
            del history.loss[-1:]  # the epoch in which it happened


def _run(tasks: Sequence[Task], moments: AdamMoments | None = None) -> None:
    """Train tasks that lie in one stack until the last of them is over, in float32 whatever autocast the user is in."""
    with torch.autocast(tasks[0].rows.training.X.device.type, enabled=False):
        _run_stack(Stack(tasks, moments))


def _run_stack(stack: Stack) -> None:
    watches = [_Watch(task) for task in stack.tasks]
    try:
        while watches:
            for task in stack.tasks:
                task.monitor.begin_epoch()
            losses = stack.epoch()
            validated = [None] * len(losses) if stack.tasks[0].rows.validation is None else stack.validate()
            over = [
                watch.see(loss, value, stack.outcome_of(k))
                for k, (watch, loss, value) in enumerate(zip(watches, losses, validated, strict=True))
            ]
            if any(over):
                for k in (k for k, is_over in enumerate(over) if is_over):
                    watches[k].finish(stack.outcome_of(k))
                going_on = [k for k, is_over in enumerate(over) if not is_over]
                if going_on:
                    stack.keep(going_on)
                watches = [watches[k] for k in going_on]
    except KeyboardInterrupt:
        for k, watch in enumerate(watches):
            watch.task.history.interrupted = True
            watch.finish(stack.outcome_of(k))


@torch.no_grad()
def train(
    network: Network,
    training: Part,
    validation: Part | None,
    settings: Settings,
    *,
    seed: int,
    moments: AdamMoments | None = None,
    monitor: Monitor | None = None,
) -> History:
    """Train `network` in place.

    With a validation part, training stops once its loss has not fallen by
    more than `tol` for `patience` epochs in a row, and the network ends with
    the weights of the epoch whose validation loss was least. Without one, it
    runs for `max_epochs` epochs and ends with the last weights. With
    `averaging`, "weights" are the mean of those of the last steps throughout:
    the mean is what is validated and what is kept.

    Parameters
    ----------
    network : Network
        Initial weights; changed in place.
    training, validation : Part
        Rows on the network's device. The scale of their weights does not
        matter.
    settings : Settings
        How to train.
    seed : int
        Seed of the order of rows and of the dropout masks.
    moments : AdamMoments or None, default=None
        The optimiser's memory, changed in place; None starts afresh.
    monitor : Monitor or None, default=None
        Told before and after each epoch. Where it asks to stop, the training
        ends as if early stopping had ended it.

    Returns
    -------
    History
        Curves and how it ended. A KeyboardInterrupt is caught: the best
        weights so far are kept and `interrupted` is set. A loss that is not
        finite ends the training likewise with `diverged`; without an earlier
        good epoch, `best_epoch` is 0 and the weights are worthless.
    """
    rows = Rows(training, validation, seed)
    task = Task(network, rows, settings, Monitor() if monitor is None else monitor)
    _run([task], moments)
    return task.history


@torch.no_grad()
def train_together(tasks: Sequence[Task]) -> None:
    """Train the networks of many tasks in place, those that are alike at once.

    Each task ends as :func:`train` would leave it, to rounding: it has the
    order of rows and the dropout masks of its own seed, its own settings and
    its own end. Tasks are alike where their networks have the same shape and
    their epochs the same number of steps. Those that share their `rows`
    object and batch size share the mini-batches and the drawing of masks.

    Parameters
    ----------
    tasks : sequence of Task
        Their `network` and `history` are changed in place. After a
        KeyboardInterrupt, those that were not over have `interrupted` set,
        those that had not begun as well; their weights mean nothing.
    """
    stacks: dict[tuple[Any, ...], list[Task]] = {}
    first_seen: dict[int, int] = {}
    steps: dict[tuple[int, int], int] = {}  # in an epoch
    for task in tasks:
        first_seen.setdefault(id(task.rows), len(first_seen))
        batches = (id(task.rows), task.settings.batch_size)
        if batches not in steps:
            steps[batches] = Draws(task.rows, task.settings.batch_size).n_batches
        stacks.setdefault((steps[batches], *shape_of(task)), []).append(task)
    interrupted = False
    for alike in stacks.values():
        # Those who share mini-batches, and of these those who share masks, stand together.
        alike.sort(key=lambda task: (first_seen[id(task.rows)], task.settings.dropout))
        most = _STACK_WEIGHTS.get(alike[0].rows.training.X.device.type, _STACK_WEIGHTS_ELSEWHERE)
        size = max(1, most // sum(tensor.numel() for tensor in alike[0].network.tensors()))
        for start in range(0, len(alike), size):
            part = alike[start : start + size]
            if interrupted:
                for task in part:
                    task.history.interrupted = True
                continue
            _run(part)
            interrupted = any(task.history.interrupted for task in part)
