"""Tasks whose networks lie in one tensor, so that a step is made for all at once. Part of ``_training``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from skbert._training.gradients import Buffers, Masked, gradients, scale_of
from skbert._training.network import Network, log_proba_by_task
from skbert._training.optimiser import AdamMoments, Average, Optimiser
from skbert._training.rows import Draws, Part
from skbert._training.tasks import Task

__all__ = ["Stack", "scores", "shape_of"]


def shape_of(task: Task) -> tuple[Any, ...]:
    """Return what tasks must have in common to lie in one stack, beside the number of steps in an epoch."""
    shapes = tuple(tuple(weight.shape) for weight in task.network.weights)
    rows, settings = task.rows, task.settings
    return (shapes, settings.batch_size, settings.averaging, rows.training.X.device, rows.validation is None)


class Stack:
    """The weights of several tasks, and what is needed to train them.

    Parameters
    ----------
    tasks : sequence of Task
        Alike by :func:`shape_of`, with as many steps in an epoch. Those on the
        same rows stand together.
    moments : AdamMoments or None, default=None
        The optimiser's memory, changed in place; None starts afresh.
    """

    def __init__(self, tasks: Sequence[Task], moments: AdamMoments | None = None) -> None:
        self.tasks = list(tasks)
        draws: dict[int, Draws] = {}
        for task in tasks:
            if id(task.rows) not in draws:
                draws[id(task.rows)] = Draws(task.rows, task.settings.batch_size)
        self._draws = [draws[id(task.rows)] for task in tasks]
        self._n_heads = tasks[0].network.n_heads
        self._network = Network.join([task.network for task in tasks])
        self._moments = AdamMoments.zeros(self._network) if moments is None else moments
        self._average: Average | None = None
        if averaging := tasks[0].settings.averaging:
            self._average = Average(self._network, averaging * self._draws[0].n_batches)
        self._gradients = self._network.zeros()
        self._buffers = Buffers(self._network.weights[0])
        self._arrange()

    def _span(self, first: int, last: int) -> slice:
        """Return where the heads of tasks `first` up to `last`, without it, are."""
        return slice(first * self._n_heads, last * self._n_heads)

    def _arrange(self) -> None:
        """Note who shares what."""
        every = range(len(self.tasks))
        self._shared: list[tuple[Draws, int, int]] = []  # tasks on the same rows, from first to last
        self._masked: list[tuple[Draws, slice, float]] = []  # of these, those with the same dropout
        for _, run in groupby(every, key=lambda k: id(self._draws[k])):
            ks = list(run)
            self._shared.append((self._draws[ks[0]], ks[0], ks[-1] + 1))
            for dropout, alike in groupby(ks, key=lambda k: self.tasks[k].settings.dropout):
                same = list(alike)
                self._masked.append((self._draws[ks[0]], self._span(same[0], same[-1] + 1), dropout))
        rates: dict[tuple[float, float], list[slice]] = {}
        for k in every:
            settings = self.tasks[k].settings
            rates.setdefault((settings.learning_rate, settings.weight_decay), []).append(self._span(k, k + 1))
        merged = {settings: _merged(spans) for settings, spans in rates.items()}
        self._optimiser = Optimiser(self._network, self._gradients, self._moments, merged)
        scales = [scale_of(task.settings.dropout) for task in self.tasks for _ in range(self._n_heads)]
        self._rescale = None
        if any(scale != 1.0 for scale in scales):
            self._rescale = self._network.weights[0].new_tensor(scales).view(-1, 1, 1)

    @property
    def outcome(self) -> Network:
        """The weights that are validated and kept."""
        return self._network if self._average is None else self._average.network

    def outcome_of(self, k: int) -> Network:
        """Return those of task `k`, in the same memory."""
        return self.outcome.part(self._span(k, k + 1))

    def epoch(self) -> list[float]:
        """Go once through all rows in random order; return the mean loss of each task's heads."""
        total = self._network.weights[0].new_zeros(self._network.n_heads)
        for draws, _, _ in self._shared:
            draws.shuffle()
        for k, sizes in enumerate(zip(*(draws.sizes() for draws, _, _ in self._shared), strict=True)):
            largest = max(sizes)
            batches = [(self._span(first, last), draws.batch(k, largest)) for draws, first, last in self._shared]
            n_rows = {id(draws): size for (draws, _, _), size in zip(self._shared, sizes, strict=True)}
            masked = [
                Masked(heads, dropout, self._n_heads, draws.masks, n_rows[id(draws)])
                for draws, heads, dropout in self._masked
            ]
            total += gradients(self._network, batches, masked, self._rescale, self._gradients, self._buffers)
            self._optimiser.step()
            if self._average is not None:
                self._average.add(self._network)
        sums = total.view(-1, self._n_heads).mean(1).tolist()  # once an epoch: at every step, a GPU would have to wait
        return [value / draws.n for value, draws in zip(sums, self._draws, strict=True)]

    def validate(self) -> list[tuple[float, float]]:
        """Return the weighted loss and the accuracy of each task's heads together, on its validation part."""
        found = []
        for _, first, last in self._shared:
            part = self.tasks[first].rows.validation
            assert part is not None  # or there is nothing to ask for
            found.append(scores(self.outcome.part(self._span(first, last)), part, last - first))
        return [(loss, accuracy) for loss, accuracy in torch.cat(found).tolist()]

    def keep(self, kept: Sequence[int]) -> None:
        """Go on with these tasks alone."""
        numbers = [k * self._n_heads + head for k in kept for head in range(self._n_heads)]
        heads = torch.tensor(numbers, dtype=torch.int64, device=self._network.weights[0].device)
        self.tasks = [self.tasks[k] for k in kept]
        self._draws = [self._draws[k] for k in kept]
        self._network, self._gradients = self._network.pick(heads), self._gradients.part(slice(0, len(heads)))
        self._moments.first, self._moments.second = (
            self._moments.first.pick(heads),
            self._moments.second.pick(heads),
        )
        if self._average is not None:
            self._average.network = self._average.network.pick(heads)
        self._arrange()


def _merged(spans: Sequence[slice]) -> list[slice]:
    """Make one of slices that follow each other."""
    merged = [spans[0]]
    for span in spans[1:]:
        if span.start == merged[-1].stop:
            merged[-1] = slice(merged[-1].start, span.stop)
        else:
            merged.append(span)
    return merged


def scores(network: Network, part: Part, n_tasks: int) -> Tensor:
    """Return weighted loss and accuracy, (n_tasks, 2)."""
    log_p = log_proba_by_task(network, part.X, n_tasks)  # (n_tasks, n_classes, n)
    target = part.y.expand(n_tasks, 1, -1)
    losses = -(log_p.gather(1, target)[:, 0] * part.weight).sum(1) / part.weight.sum()
    hits = ((log_p.argmax(1) == part.y) * part.tally).sum(1) / part.tally.sum()
    return torch.stack([losses, hits], 1)
