"""The rows of a training, and the mini-batches that are made of them. Part of ``_training``."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from skbert._training.gradients import Batch

__all__ = ["Draws", "Part", "Rows", "portions"]


class Part(NamedTuple):
    """Rows that belong together: the training part or the validation part. All on one device."""

    X: Tensor  # (n, n_features), float32
    y: Tensor  # (n,), int64, codes of the classes
    weight: Tensor  # (n,), float32, what a row counts in the loss
    tally: Tensor  # (n,), float32, what a row counts in the accuracy: its weight without that of its class


class Rows(NamedTuple):
    """What tasks are trained on, and in which order. Tasks that share the object share the mini-batches."""

    training: Part
    validation: Part | None
    seed: int  # of the order and of the dropout masks


def _generators(seed: int, device: torch.device) -> tuple[torch.Generator, torch.Generator]:
    """Return generators for the order of the rows and for dropout: two, so that one does not depend on the other."""
    rows, masks = torch.Generator(device), torch.Generator(device)
    rows.manual_seed(seed)
    # Seeds that lie next to each other give unrelated streams in torch's generators, but seeds of users lie next to
    # each other as well; a large odd step keeps the two families apart.
    masks.manual_seed((seed + 0x9E3779B97F4A7C15) % 2**63)
    return rows, masks


def portions(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return which row each draw of an epoch takes, and with which weight; the weights have mean one.

    A row that weighs five times the mean is drawn five times with a fifth of
    its weight. Drawn once with all of it, it alone would decide the step of
    the mini-batch it falls into. There are at most twice as many draws as rows.
    """
    weight = weight / weight.mean()
    times = weight.round().clamp(min=1).long()
    row = torch.repeat_interleave(torch.arange(len(weight), dtype=torch.int64, device=weight.device), times)
    return row, (weight / times)[row] * (len(row) / len(weight))


class Draws:
    """The mini-batches of one training: all rows in an order that is new in each epoch.

    Parameters
    ----------
    rows : Rows
        What is drawn from.
    batch_size : int
        Rows of a mini-batch, at most.
    """

    def __init__(self, rows: Rows, batch_size: int) -> None:
        self.part = rows.training
        self._order, self.masks = _generators(rows.seed, self.part.X.device)
        self._row, self._weight = portions(self.part.weight)
        self.n = len(self._row)
        self.n_batches = math.ceil(self.n / batch_size)
        # As even as possible: 1,030 rows in batches of at most 256 are five of 206, not four of 256 and one of 6 rows
        # whose step would be as long as that of the others.
        self._size = math.ceil(self.n / self.n_batches)
        self._epoch: tuple[Tensor, ...] = ()

    def sizes(self) -> list[int]:
        """Return the numbers of rows of an epoch's mini-batches."""
        return [min(self._size, self.n - start) for start in range(0, self.n, self._size)]

    def shuffle(self) -> None:
        """Begin an epoch."""
        self._epoch = torch.randperm(self.n, generator=self._order, dtype=torch.int64, device=self.part.X.device).split(
            self._size
        )

    def batch(self, k: int, filled_up: int) -> Batch:
        """Return mini-batch `k` of the epoch, filled up to so many rows."""
        drawn = self._epoch[k]
        row, weight, missing = self._row[drawn], self._weight[drawn], filled_up - len(drawn)
        if missing:
            row, weight = torch.cat([row, row[:1].expand(missing)]), torch.cat([weight, weight.new_zeros(missing)])
        return Batch(self.part.X.index_select(0, row), self.part.y[row], weight, len(drawn))
