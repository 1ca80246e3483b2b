"""Multilayer perceptrons of one shape, side by side. Part of ``_training``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = [
    "Network",
    "class_gradients",
    "class_sums",
    "hidden_sums",
    "initialise",
    "log_proba",
    "log_proba_by_task",
]

# Numbers in the widest hidden layer of one forward pass without gradients: 32 MB, enough to fill any device.
_FORWARD_NUMBERS = 2**23

# The last layer starts small: what the network says at first is noise, and where early stopping comes after twenty
# steps, as it does on a few hundred rows, much of that noise would still be in its answers.
_LAST_GAIN = 0.1


class Network(NamedTuple):
    """Weights of `n_heads` multilayer perceptrons of one shape, one entry a layer."""

    weights: list[Tensor]  # (n_heads, n_in, n_out), float32
    biases: list[Tensor]  # (n_heads, 1, n_out), float32

    @property
    def n_heads(self) -> int:
        """Number of perceptrons."""
        return self.weights[0].shape[0]

    def copy(self) -> Network:
        """Return a network with the same values in memory of its own."""
        return Network([w.clone() for w in self.weights], [b.clone() for b in self.biases])

    def zeros(self) -> Network:
        """Return a network of the same shape whose weights are zero."""
        return Network([torch.zeros_like(w) for w in self.weights], [torch.zeros_like(b) for b in self.biases])

    def tensors(self) -> list[Tensor]:
        """Return all tensors in one list."""
        return [*self.weights, *self.biases]

    def load(self, other: Network) -> None:
        """Take over the values of `other`."""
        for mine, theirs in zip(self.tensors(), other.tensors(), strict=True):
            mine.copy_(theirs)

    def part(self, span: slice) -> Network:
        """Return some of the heads, in the same memory."""
        return Network([w[span] for w in self.weights], [b[span] for b in self.biases])

    def pick(self, heads: Tensor) -> Network:
        """Return the heads of these numbers, in memory of their own."""
        return Network([w[heads] for w in self.weights], [b[heads] for b in self.biases])

    @classmethod
    def join(cls, networks: Sequence[Network]) -> Network:
        """Return the heads of all networks in one, in memory of its own; that of a single one is taken over."""
        if len(networks) == 1:
            return networks[0]
        n_layers = range(len(networks[0].weights))
        return cls(
            [torch.cat([network.weights[i] for network in networks]) for i in n_layers],
            [torch.cat([network.biases[i] for network in networks]) for i in n_layers],
        )


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
    generator = torch.Generator("cpu").manual_seed(seed)
    as_drawn: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}  # whatever the user's defaults are
    n_layers = len(sizes) - 1
    heads = []
    for _ in range(n_heads):  # head by head, so that head k is the same in an ensemble of any size
        layers = []
        for i in range(n_layers):
            gain = math.sqrt(2.0) if i < n_layers - 1 else _LAST_GAIN
            weight = torch.empty(sizes[i], sizes[i + 1], **as_drawn)
            layers.append(weight.normal_(0.0, gain / math.sqrt(sizes[i]), generator=generator))
        heads.append(layers)
    weights = [torch.stack([layers[i] for layers in heads]) for i in range(n_layers)]
    return Network(weights, [torch.zeros(n_heads, 1, size, **as_drawn) for size in sizes[1:]])


def hidden_sums(X: Tensor, weight: Tensor, bias: Tensor, out: Tensor | None = None) -> Tensor:
    """Return ``X @ weight + bias`` for rows that all heads share.

    Parameters
    ----------
    X : Tensor of shape (n, n_in)
        The rows.
    weight : Tensor of shape (n_heads, n_in, n_out)
        Weights of each head.
    bias : Tensor of shape (n_heads, 1, n_out)
        Biases of each head.
    out : Tensor of shape (n_heads, n, n_out), default=None
        Where to put it.

    Returns
    -------
    Tensor of shape (n_heads, n, n_out)
        Of the dtype of all of them.
    """
    return torch.baddbmm(bias, X.expand(weight.shape[0], -1, -1), weight, out=out)


def class_sums(inputs: Tensor, weight: Tensor, bias: Tensor, out: Tensor | None = None) -> Tensor:
    """Return the last layer's sums, rows last: with few classes, that is several times as fast as rows first.

    Parameters
    ----------
    inputs : Tensor of shape (n, n_in) or (n_heads, n, n_in)
        Rows that all heads share, or the outputs of the layer before.
    weight : Tensor of shape (n_heads, n_in, n_classes)
        Weights of each head.
    bias : Tensor of shape (n_heads, 1, n_classes)
        Biases of each head.
    out : Tensor of shape (n_heads, n_classes, n), default=None
        Where to put it.

    Returns
    -------
    Tensor of shape (n_heads, n_classes, n)
        Of the dtype of all of them.
    """
    turned = weight.mT.contiguous()
    if inputs.ndim == 3:
        return torch.baddbmm(bias.mT, turned, inputs.mT, out=out)
    # One product for all heads, so that the rows are read once.
    sums = turned.view(-1, inputs.shape[1]) @ inputs.T
    return torch.add(sums.view(*turned.shape[:2], -1), bias.mT, out=out)


def class_gradients(inputs: Tensor, delta: Tensor, out: Tensor) -> None:
    """Write the gradients of the last layer's weights into `out`.

    Parameters
    ----------
    inputs : Tensor of shape (n, n_in) or (n_heads, n, n_in)
        As for `class_sums`.
    delta : Tensor of shape (n_heads, n_classes, n)
        Derivative of the loss by the sums.
    out : Tensor of shape (n_heads, n_in, n_classes)
        Where to put it.
    """
    if inputs.ndim == 3:
        out.copy_(torch.bmm(delta, inputs).mT)
    else:
        out.copy_((delta.reshape(-1, delta.shape[2]) @ inputs).view(*delta.shape[:2], -1).mT)


def class_sums_of(network: Network, X: Tensor) -> Tensor:
    """Return the last layer's sums, (n_heads, n_classes, n), with no dropout."""
    a = X
    for weight, bias in zip(network.weights[:-1], network.biases[:-1], strict=True):
        a = hidden_sums(a, weight, bias) if a is X else torch.baddbmm(bias, a, weight)
        a.relu_()
    return class_sums(a, network.weights[-1], network.biases[-1])


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
    return log_proba_by_task(network, X, 1)[0].T


@torch.no_grad()
def log_proba_by_task(network: Network, X: Tensor, n_tasks: int) -> Tensor:
    """Return the same, rows last, for several tasks whose heads stand one after the other, as many for each.

    Parameters
    ----------
    network : Network
        The heads of all tasks.
    X : Tensor of shape (n, n_features)
        Standardised rows.
    n_tasks : int
        Number of tasks.

    Returns
    -------
    Tensor of shape (n_tasks, n_classes, n)
        In `X`'s dtype.
    """
    widest = max(bias.shape[2] for bias in network.biases)
    parts = []
    with torch.autocast(X.device.type, enabled=False):
        for rows in X.split(max(1, _FORWARD_NUMBERS // (network.n_heads * widest))):
            log_p = torch.log_softmax(class_sums_of(network, rows), 1)
            parts.append(log_p.view(n_tasks, -1, *log_p.shape[1:]).logsumexp(1))
    return torch.cat(parts, 2) - math.log(network.n_heads // n_tasks)
