"""Multilayer perceptrons of one shape, side by side. Part of ``_training``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Network", "initialise", "log_proba", "log_proba_by_task", "product", "transposed_product"]

# Numbers in the widest hidden layer of one forward pass without gradients: 32 MB, enough to fill any device.
_FORWARD_NUMBERS = 2**23

# The last layer starts small: what the network says at first is noise, and where early stopping comes after twenty
# steps, as it does on a few hundred rows, much of that noise would still be in its answers.
_LAST_GAIN = 0.1

# A first layer as narrow as this, as that of a linear model, is one wide product for all heads. A batched product
# would read the rows once for each of them, to do little with them.
_NARROW = 16


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


def product(X: Tensor, weight: Tensor, bias: Tensor, out: Tensor | None = None) -> Tensor:
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
    n_heads, n_in, n_out = weight.shape
    if n_out > _NARROW or n_heads == 1:
        return torch.baddbmm(bias, X.expand(n_heads, -1, -1), weight, out=out)
    wide = X @ weight.transpose(0, 1).reshape(n_in, n_heads * n_out)
    return torch.add(wide.view(-1, n_heads, n_out).transpose(0, 1), bias, out=out)


def transposed_product(X: Tensor, delta: Tensor, out: Tensor) -> None:
    """Write ``X.T @ delta`` for rows that all heads share into `out`.

    Parameters
    ----------
    X : Tensor of shape (n, n_in)
        The rows.
    delta : Tensor of shape (n_heads, n, n_out)
        What each head has for them.
    out : Tensor of shape (n_heads, n_in, n_out)
        Where to put it.
    """
    n_heads, n, n_out = delta.shape
    if n_out > _NARROW or n_heads == 1:
        torch.bmm(X.expand(n_heads, -1, -1).mT, delta, out=out)
    else:
        wide = X.T @ delta.transpose(0, 1).reshape(n, n_heads * n_out)
        out.copy_(wide.view(-1, n_heads, n_out).transpose(0, 1))


def logits(network: Network, X: Tensor) -> Tensor:
    """Return the last layer's sums, (n_heads, n, n_classes), with no dropout."""
    a = product(X, network.weights[0], network.biases[0])
    for weight, bias in zip(network.weights[1:], network.biases[1:], strict=True):
        a = torch.baddbmm(bias, a.relu_(), weight)
    return a


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
    return log_proba_by_task(network, X, 1)[0]


@torch.no_grad()
def log_proba_by_task(network: Network, X: Tensor, n_tasks: int) -> Tensor:
    """Return the same for several tasks whose heads stand one after the other, as many for each.

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
    Tensor of shape (n_tasks, n, n_classes)
        In `X`'s dtype.
    """
    widest = max(bias.shape[2] for bias in network.biases)
    parts = []
    for rows in X.split(max(1, _FORWARD_NUMBERS // (network.n_heads * widest))):
        log_p = torch.log_softmax(logits(network, rows), 2)
        parts.append(log_p.view(n_tasks, -1, *log_p.shape[1:]).logsumexp(1))
    return torch.cat(parts, 1) - math.log(network.n_heads // n_tasks)
