"""Epochs on tensors: mini-batches, AdamW, early stopping, best state. Below ``_head``; knows torch and no scikit-learn.

Several networks of the same shape ("heads") are trained at once: their weights
lie in one tensor with the head first, so that a step for all of them is one
batched matrix product. Each head has its own initial weights and its own
dropout masks and sees the same mini-batches; none influences another.

The backward pass is written out. For a plain multilayer perceptron it is a
dozen lines, and without the bookkeeping of autograd, with gradients that are
written into buffers kept for the whole training, an epoch on a CPU takes
little more than its matrix products.

Every random number comes from generators made here from one seed; torch's
global generators are neither read nor moved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim.adamw import adamw

__all__ = [
    "AdamMoments",
    "Average",
    "History",
    "Monitor",
    "Network",
    "Part",
    "Settings",
    "initialise",
    "log_proba",
    "train",
]

# Rows of one forward pass without gradients: enough to fill any device, little enough to be small beside the data.
_FORWARD_ROWS = 16_384

# The last layer starts small: what the network says at first is noise, and where early stopping comes after twenty
# steps, as it does on a few hundred rows, much of that noise would still be in its answers.
_LAST_GAIN = 0.1

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8  # AdamW's own


class Network(NamedTuple):
    """Weights of `n_heads` multilayer perceptrons of one shape, one entry a layer."""

    weights: list[Tensor]  # (n_heads, n_in, n_out), float32
    biases: list[Tensor]  # (n_heads, 1, n_out), float32

    def copy(self) -> Network:
        """Return a network with the same values in memory of its own."""
        return Network([w.clone() for w in self.weights], [b.clone() for b in self.biases])

    def tensors(self) -> list[Tensor]:
        """Return all tensors in one list."""
        return [*self.weights, *self.biases]

    def load(self, other: Network) -> None:
        """Take over the values of `other`."""
        for mine, theirs in zip(self.tensors(), other.tensors(), strict=True):
            mine.copy_(theirs)


class Part(NamedTuple):
    """Rows that belong together: the training part or the validation part. All on one device."""

    X: Tensor  # (n, n_features), float32
    y: Tensor  # (n,), int64, codes of the classes
    weight: Tensor  # (n,), float32, what a row counts in the loss
    tally: Tensor  # (n,), float32, what a row counts in the accuracy: its weight without that of its class


@dataclass
class AdamMoments:
    """What AdamW remembers from step to step, so that a later call can go on where this one ends."""

    first: Network  # running means of the gradients
    second: Network  # and of their squares
    steps: int = 0  # made so far

    @classmethod
    def zeros(cls, network: Network) -> AdamMoments:
        """Return the memory of an optimiser that has not made a step."""
        first, second = network.copy(), network.copy()
        for tensor in [*first.tensors(), *second.tensors()]:
            tensor.zero_()
        return cls(first, second)


@dataclass(frozen=True)
class Settings:
    """How to train."""

    batch_size: int
    learning_rate: float
    weight_decay: float
    dropout: float
    max_epochs: int
    patience: int = 5
    tol: float = 1e-4
    averaging: float = 0.0  # epochs over which weights are averaged; 0 keeps those of the last step


class Average:
    """The mean of a network's weights over its last steps (Polyak and Juditsky, 1992), fading exponentially.

    The weights of single steps jump about an optimum, the more the higher the
    learning rate; their mean lies nearer to it.
    """

    def __init__(self, network: Network, n_steps: float) -> None:
        self.network = network.copy()
        self._n_steps = n_steps
        self._seen = 0

    def add(self, network: Network) -> None:
        """Take in the weights after another step."""
        self._seen += 1
        # The plain mean until there are enough, so that the initial weights have no part in it.
        share = 1.0 / min(self._seen, max(self._n_steps, 1.0))
        for mean, new in zip(self.network.tensors(), network.tensors(), strict=True):
            mean.lerp_(new, share)


@dataclass
class History:
    """What happened in a training, one entry an epoch."""

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    best_epoch: int = 0  # counted from 1; the epoch whose weights were kept
    interrupted: bool = False  # by the keyboard
    diverged: bool = False  # a loss was NaN or infinite


class Monitor:
    """Is told of each epoch, and may stop the training. This one does nothing."""

    def begin_epoch(self) -> None:
        """Take notice that an epoch begins."""

    def end_epoch(self, history: History, network: Network) -> bool:
        """Take notice of an epoch that has ended with these weights; return whether to stop."""
        return False


def _generators(seed: int, device: torch.device) -> tuple[torch.Generator, torch.Generator]:
    """Return generators for the order of the rows and for dropout: two, so that one does not depend on the other."""
    rows, masks = torch.Generator(device), torch.Generator(device)
    rows.manual_seed(seed)
    # Seeds that lie next to each other give unrelated streams in torch's generators, but seeds of users lie next to
    # each other as well; a large odd step keeps the two families apart.
    masks.manual_seed((seed + 0x9E3779B97F4A7C15) % 2**63)
    return rows, masks


def initialise(sizes: Sequence[int], n_heads: int, seed: int) -> Network:
    """Draw initial weights on the CPU, so that they are the same for every device.

    Hidden layers are drawn as by He et al. (2015), the last layer with a tenth
    of the spread that would keep the variance of its inputs; biases are zero.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of features, of units in each hidden layer, and of classes.
    n_heads : int
        Number of networks. The first heads do not depend on how many follow.
    seed : int
        Seed of the draw.

    Returns
    -------
    Network
        Float32, on the CPU.
    """
    generator = torch.Generator().manual_seed(seed)
    n_layers = len(sizes) - 1
    heads = []
    for _ in range(n_heads):  # head by head, so that head k is the same in an ensemble of any size
        layers = []
        for i in range(n_layers):
            gain = math.sqrt(2.0) if i < n_layers - 1 else _LAST_GAIN
            weight = torch.empty(sizes[i], sizes[i + 1])
            layers.append(weight.normal_(0.0, gain / math.sqrt(sizes[i]), generator=generator))
        heads.append(layers)
    weights = [torch.stack([layers[i] for layers in heads]) for i in range(n_layers)]
    return Network(weights, [torch.zeros(n_heads, 1, size) for size in sizes[1:]])


def _logits(network: Network, X: Tensor) -> Tensor:
    """Return the last layer's sums, (n_heads, n, n_classes), with no dropout."""
    a = X.expand(network.weights[0].shape[0], -1, -1)
    for weight, bias in zip(network.weights[:-1], network.biases[:-1], strict=True):
        a = torch.baddbmm(bias, a, weight).relu_()
    return torch.baddbmm(network.biases[-1], a, network.weights[-1])


@torch.no_grad()
def log_proba(network: Network, X: Tensor) -> Tensor:
    """Return the logarithm of the heads' mean probabilities.

    Parameters
    ----------
    network : Network
        The trained heads.
    X : Tensor of shape (n, n_features)
        Standardised rows.

    Returns
    -------
    Tensor of shape (n, n_classes)
        In `X`'s dtype.
    """
    n_heads = network.weights[0].shape[0]
    parts = [torch.log_softmax(_logits(network, rows), 2).logsumexp(0) for rows in X.split(_FORWARD_ROWS)]
    return torch.cat(parts) - math.log(n_heads)


def _gradients(network: Network, X: Tensor, y: Tensor, weight: Tensor, into: Network, dropout: float, masks) -> Tensor:
    """Write the gradients of each head's loss on a mini-batch into `into`; return the sum of the heads' losses.

    A head's loss is the sum of weight x cross-entropy over the rows, divided
    by their number. The weights have mean one over the *whole* training part,
    so the gradient is unbiased whichever rows a mini-batch happens to hold.
    """
    n_heads, n_layers = network.weights[0].shape[0], len(network.weights)
    keep = 1.0 - dropout
    outputs = [X.expand(n_heads, -1, -1)]  # of each layer, the input first: (n_heads, batch, units)
    for w, b in zip(network.weights[:-1], network.biases[:-1], strict=True):
        a = torch.baddbmm(b, outputs[-1], w).relu_()
        if dropout:
            # Not bernoulli_, which takes four times as long on a CPU as a comparison of uniform numbers does.
            a.mul_(torch.empty_like(a).uniform_(generator=masks) < keep).mul_(1.0 / keep)
        outputs.append(a)
    log_p = torch.log_softmax(torch.baddbmm(network.biases[-1], outputs[-1], network.weights[-1]), 2)

    target = y.view(1, -1, 1).expand(n_heads, -1, 1)
    share = (weight / len(y)).view(1, -1, 1)
    loss = -(log_p.gather(2, target) * share).sum()

    # delta: the derivative of the loss by a layer's sums. For softmax and cross-entropy it is p - [class is y].
    delta = log_p.exp_().scatter_add_(2, target, share.new_full((1, 1, 1), -1.0).expand(target.shape)).mul_(share)
    for i in range(n_layers - 1, -1, -1):
        torch.bmm(outputs[i].mT, delta, out=into.weights[i])
        torch.sum(delta, 1, keepdim=True, out=into.biases[i])
        if i:
            # A unit that was off, by the ReLU or by its mask, has the output 0 and passes nothing on; the others
            # pass on what the mask had scaled up. So the masks need not be kept.
            delta = torch.bmm(delta, network.weights[i].mT).mul_(outputs[i] > 0)
            if dropout:
                delta.mul_(1.0 / keep)
    return loss


def _update(network: Network, gradients: Network, moments: AdamMoments, settings: Settings) -> None:
    """Make one step of AdamW. Biases do not decay: they do not make a network more complex."""
    # The function behind torch.optim.AdamW, for two reasons: building the class loads torch's compiler (a second),
    # and here the optimiser's memory lies in plain tensors, which partial_fit keeps.
    device = network.weights[0].device
    for name, decay in (("weights", settings.weight_decay), ("biases", 0.0)):
        params = getattr(network, name)
        adamw(
            params,
            getattr(gradients, name),
            getattr(moments.first, name),
            getattr(moments.second, name),
            [],
            # It adds one itself. A fill, not a transfer: a GPU need not wait.
            [torch.full((), float(moments.steps), device=device) for _ in params],
            fused=True,
            amsgrad=False,
            beta1=_BETA_1,
            beta2=_BETA_2,
            lr=settings.learning_rate,
            weight_decay=decay,
            eps=_EPSILON,
            maximize=False,
        )
    moments.steps += 1


def _portions(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return which row each draw of an epoch takes, and with which weight; the weights have mean one.

    A row that weighs five times the mean is drawn five times with a fifth of
    its weight. Drawn once with all of it, it alone would decide the step of
    the mini-batch it falls into. There are at most twice as many draws as rows.
    """
    weight = weight / weight.mean()
    times = weight.round().clamp(min=1).long()
    row = torch.repeat_interleave(torch.arange(len(weight), device=weight.device), times)
    return row, (weight / times)[row] * (len(row) / len(weight))


def _n_batches(n: int, batch_size: int) -> int:
    return math.ceil(n / batch_size)


def _epoch(network, gradients, moments, average, part: Part, draws, settings: Settings, rows, masks) -> Tensor:
    """Go once through the training part in random order; return the mean loss of the heads, on the device."""
    n, n_heads = len(draws[0]), network.weights[0].shape[0]
    # As even as possible: 1,030 rows in batches of at most 256 are five of 206, not four of 256 and one of 6 rows
    # whose step would be as long as that of the others.
    size = math.ceil(n / _n_batches(n, settings.batch_size))
    total = torch.zeros((), device=part.X.device)
    for batch in torch.randperm(n, generator=rows, device=part.X.device).split(size):
        chosen, weight = draws[0][batch], draws[1][batch]
        X, y = part.X.index_select(0, chosen), part.y[chosen]
        loss = _gradients(network, X, y, weight, gradients, settings.dropout, masks)
        _update(network, gradients, moments, settings)
        if average is not None:
            average.add(network)
        total += loss * (len(batch) / (n * n_heads))  # no .item(): it would make a GPU wait at every step
    return total


def _validate(network: Network, part: Part) -> tuple[float, float]:
    """Return the weighted loss and the accuracy of the heads together."""
    log_p = log_proba(network, part.X)
    loss = -(log_p.gather(1, part.y[:, None])[:, 0] * part.weight).sum() / part.weight.sum()
    hit = ((log_p.argmax(1) == part.y) * part.tally).sum() / part.tally.sum()
    values = torch.stack([loss, hit]).tolist()
    return values[0], values[1]


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
    rows, masks = _generators(seed, training.X.device)
    moments = AdamMoments.zeros(network) if moments is None else moments
    gradients = network.copy()
    draws = _portions(training.weight)
    average = None
    if settings.averaging:
        average = Average(network, settings.averaging * _n_batches(len(draws[0]), settings.batch_size))
    outcome = network if average is None else average.network
    monitor = Monitor() if monitor is None else monitor
    history = History()
    best: Network | None = None
    least = reference = math.inf
    waited = 0
    try:
        for epoch in range(1, settings.max_epochs + 1):
            monitor.begin_epoch()
            loss = float(_epoch(network, gradients, moments, average, training, draws, settings, rows, masks))
            value, accuracy = (math.nan, math.nan) if validation is None else _validate(outcome, validation)
            if not math.isfinite(loss) or (validation is not None and not math.isfinite(value)):
                history.diverged = True
                break
            history.loss.append(loss)
            if validation is None:
                history.best_epoch = epoch
            else:
                history.validation_loss.append(value)
                history.validation_accuracy.append(accuracy)
                if value < least:  # any gain is worth keeping; only one above tol is worth going on for
                    best, least, history.best_epoch = outcome.copy(), value, epoch
                waited, reference = (0, value) if value < reference - settings.tol else (waited + 1, reference)
            if monitor.end_epoch(history, outcome) or waited >= settings.patience:
                break
    except KeyboardInterrupt:
        history.interrupted = True
    network.load(outcome if best is None else best)
    # The last step of all may blow up after a loss that was finite; a validation part would have seen it.
    if best is None and not all(bool(tensor.isfinite().all()) for tensor in network.tensors()):
        history.diverged = True
        del history.loss[-1:]  # the epoch in which it happened
    return history
