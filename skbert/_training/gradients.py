"""The loss of many heads on a mini-batch, and its gradients, written out. Part of ``_training``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from skbert._training.network import Network, product, transposed_product

__all__ = ["Batch", "Masked", "draw_masks", "gradients", "scale_of"]

_LEVELS = 2**16  # of the numbers that decide who is left out: a dropout is exact to 1 in 65,536


class Batch(NamedTuple):
    """The mini-batch of some heads: rows, codes of their classes and weights in the loss, all of one length.

    Heads of one step may have mini-batches of different sizes. A smaller one
    is filled up with rows of weight zero.
    """

    X: Tensor  # (n, n_features)
    y: Tensor  # (n,)
    weight: Tensor  # (n,)
    n_rows: int  # without those that fill it up


class Masked(NamedTuple):
    """Heads that have the same dropout and draw the same masks."""

    heads: slice
    dropout: float
    n_heads: int  # of a task; the masks of each task are the same
    generator: torch.Generator
    n_rows: int  # of their mini-batch


def _kept(dropout: float) -> int:
    """Return how many of the levels stay."""
    return max(1, round((1.0 - dropout) * _LEVELS))


def scale_of(dropout: float) -> float:
    """Return what makes up for the units that are left out."""
    return _LEVELS / _kept(dropout)


def draw_masks(shape: Sequence[int], dropouts: Sequence[float], generator: torch.Generator) -> list[Tensor | None]:
    """Draw which units stay, once for all dropouts.

    Parameters
    ----------
    shape : sequence of int
        Shape of the masks.
    dropouts : sequence of float
        Shares to leave out, each in [0, 1). A 0 has no mask.
    generator : torch.Generator
        Source of the numbers, on the device of the masks. It moves on by as
        much whatever the dropouts are, unless all are 0.

    Returns
    -------
    list of (Tensor or None)
        For each dropout a float32 mask: 0 where a unit is left out, and
        elsewhere what makes up for that.
    """
    if not any(dropouts):
        return [None] * len(dropouts)
    size = torch.Size(shape).numel()
    # 16 bits decide on a unit, and 64 are drawn at once: on a CPU a quarter of the time of a float for each.
    drawn = torch.empty(-(-size // 4), dtype=torch.int64, device=generator.device)
    bits = drawn.random_(-(2**63), None, generator=generator).view(torch.int16)[:size].view(*shape)
    masks: list[Tensor | None] = []
    for dropout in dropouts:
        if not dropout:
            masks.append(None)
            continue
        masks.append((bits < _kept(dropout) - _LEVELS // 2).to(torch.float32).mul_(scale_of(dropout)))
    return masks


def _by_generator(masked: Sequence[Masked]) -> list[list[Masked]]:
    """Bring those together that draw from one generator; they stand one after the other."""
    groups: list[list[Masked]] = []
    for one in masked:
        if groups and groups[-1][0].generator is one.generator:
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups


def _leave_out(a: Tensor, masked: Sequence[Masked]) -> None:
    """Multiply a hidden layer's outputs, (n_heads, n, units), by their masks, in place."""
    for group in _by_generator(masked):
        n_heads, n_rows = group[0].n_heads, group[0].n_rows
        masks = draw_masks((n_heads, n_rows, a.shape[2]), [one.dropout for one in group], group[0].generator)
        for one, mask in zip(group, masks, strict=True):
            if mask is not None:
                part = a[one.heads, :n_rows]
                part.view(-1, n_heads, *part.shape[1:]).mul_(mask)


def gradients(
    network: Network,
    batches: Sequence[tuple[slice, Batch]],
    masked: Sequence[Masked],
    rescale: Tensor | None,
    into: Network,
) -> Tensor:
    """Write the gradients of each head's loss on its mini-batch into `into`; return the losses.

    A head's loss is the sum of weight x cross-entropy over the rows, divided
    by their number. The weights have mean one over the *whole* training part,
    so the gradient is unbiased whichever rows a mini-batch happens to hold.

    Parameters
    ----------
    network : Network
        The present weights of `n_heads` heads.
    batches : sequence of (slice, Batch)
        Which heads see which mini-batch; together they are all heads.
    masked : sequence of Masked
        Who leaves out what.
    rescale : Tensor of shape (n_heads, 1, 1), or None
        What makes up for the units that are left out; None where there are
        none.
    into : Network
        Where to put the gradients.

    Returns
    -------
    Tensor of shape (n_heads,)
        Sums of weight x cross-entropy over the rows of the mini-batch.
    """
    n_heads, n_layers = network.n_heads, len(network.weights)
    n = batches[0][1].X.shape[0]
    if len(batches) == 1:
        a = product(batches[0][1].X, network.weights[0], network.biases[0])
    else:
        a = network.weights[0].new_empty(n_heads, n, network.weights[0].shape[2])
        for heads, batch in batches:
            product(batch.X, network.weights[0][heads], network.biases[0][heads], out=a[heads])
    hidden = []  # outputs of the hidden layers, (n_heads, n, units)
    for weight, bias in zip(network.weights[1:], network.biases[1:], strict=True):
        _leave_out(a.relu_(), masked)
        hidden.append(a)
        a = torch.baddbmm(bias, a, weight)

    delta = torch.log_softmax(a, 2)
    losses = network.weights[0].new_empty(n_heads)
    for heads, batch in batches:
        log_p = delta[heads]
        target = batch.y.view(1, -1, 1).expand(log_p.shape[0], -1, 1)
        losses[heads] = -(log_p.gather(2, target)[..., 0] * batch.weight).sum(1)
        # The derivative of the loss by a layer's sums. For softmax and cross-entropy it is p - [class is y].
        log_p.exp_().scatter_add_(2, target, log_p.new_full((1, 1, 1), -1.0).expand(target.shape))
        log_p.mul_((batch.weight / batch.n_rows).view(1, -1, 1))
    for i in range(n_layers - 1, 0, -1):
        torch.bmm(hidden[i - 1].mT, delta, out=into.weights[i])
        torch.sum(delta, 1, keepdim=True, out=into.biases[i])
        # A unit that was off, by the ReLU or by its mask, has the output 0 and passes nothing on; the others pass on
        # what the mask had scaled up. So the masks need not be kept.
        delta = torch.bmm(delta if rescale is None else delta * rescale, network.weights[i].mT)
        delta = torch.ops.aten.threshold_backward(delta, hidden[i - 1], 0)
    torch.sum(delta, 1, keepdim=True, out=into.biases[0])
    for heads, batch in batches:
        transposed_product(batch.X, delta[heads], out=into.weights[0][heads])
    return losses
