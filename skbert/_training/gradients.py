"""The loss of many heads on a mini-batch, and its gradients, written out. Part of ``_training``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from skbert._training.network import Network, class_gradients, class_sums, hidden_sums

__all__ = ["Batch", "Buffers", "Masked", "draw_masks", "gradients", "scale_of"]

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


class Buffers:
    """Memory that is used again in each step. New pieces cost as much as filling them."""

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._kept: dict[str, Tensor] = {}

    def get(self, name: str, *shape: int) -> Tensor:
        """Return a tensor of this shape with any content, in the memory that had this name before."""
        size = torch.Size(shape).numel()
        if name not in self._kept or self._kept[name].numel() < size:
            self._kept[name] = self._like.new_empty(size)
        return self._kept[name][:size].view(shape)


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


def _draw_bits(size: int, generator: torch.Generator) -> Tensor:
    """Return so many numbers of 16 bits."""
    device = generator.device
    if device.type not in ("cpu", "cuda"):  # others draw fewer bits at once
        return torch.randint(
            -_LEVELS // 2, _LEVELS // 2, (size,), dtype=torch.int32, generator=generator, device=device
        )
    # 64 bits at once, which are four numbers: on a CPU a quarter of the time of a float for each.
    drawn = torch.empty(-(-size // 4), dtype=torch.int64, device=device)
    return drawn.random_(-(2**63), None, generator=generator).view(torch.int16)[:size]


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
    bits = _draw_bits(size, generator).view(*shape)
    masks: list[Tensor | None] = []
    for dropout in dropouts:
        if not dropout:
            masks.append(None)
            continue
        # Not "<", whose right side would be one more than 16 bits hold where nearly all stay.
        masks.append((bits <= _kept(dropout) - 1 - _LEVELS // 2).to(torch.float32).mul_(scale_of(dropout)))
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
    buffers: Buffers,
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
    buffers : Buffers
        Memory to compute in.

    Returns
    -------
    Tensor of shape (n_heads,)
        Sums of weight x cross-entropy over the rows of the mini-batch.
    """
    n_heads, n_layers = network.n_heads, len(network.weights)
    n = batches[0][1].X.shape[0]
    n_classes = network.biases[-1].shape[2]
    hidden = [buffers.get(f"hidden {i}", n_heads, n, bias.shape[2]) for i, bias in enumerate(network.biases[:-1])]
    for i, a in enumerate(hidden):
        if i == 0:
            for heads, batch in batches:
                hidden_sums(batch.X, network.weights[0][heads], network.biases[0][heads], out=a[heads])
        else:
            torch.baddbmm(network.biases[i], hidden[i - 1], network.weights[i], out=a)
        _leave_out(a.relu_(), masked)

    delta = buffers.get("delta", n_heads, n_classes, n)
    losses = network.weights[0].new_empty(n_heads)
    for heads, batch in batches:
        inputs = hidden[-1][heads] if hidden else batch.X
        sums = class_sums(inputs, network.weights[-1][heads], network.biases[-1][heads], out=delta[heads])
        log_p = torch.log_softmax(sums, 1)
        target = batch.y.expand(log_p.shape[0], 1, -1)
        losses[heads] = -(log_p.gather(1, target)[:, 0] * batch.weight).sum(1)
        # The derivative of the loss by a layer's sums. For softmax and cross-entropy it is p - [class is y].
        torch.exp(log_p, out=sums).scatter_add_(1, target, sums.new_full((1, 1, 1), -1.0).expand(target.shape))
        sums.mul_(batch.weight / batch.n_rows)
        class_gradients(inputs, sums, into.weights[-1][heads])
    into.biases[-1].copy_(delta.sum(2, keepdim=True).mT)
    delta = delta.mT  # (n_heads, n, n_classes), as the layers below have it
    for i in range(n_layers - 2, -1, -1):
        # A unit that was off, by the ReLU or by its mask, has the output 0 and passes nothing on; the others pass on
        # what the mask had scaled up. So the masks need not be kept.
        scaled = delta if rescale is None else delta * rescale
        delta = torch.bmm(scaled, network.weights[i + 1].mT, out=buffers.get(f"delta {i}", *hidden[i].shape))
        # The derivative of ReLU, in one pass and in place; `delta * (outputs > 0)` makes three.
        torch.ops.aten.threshold_backward.grad_input(delta, hidden[i], 0, grad_input=delta)
        torch.sum(delta, 1, keepdim=True, out=into.biases[i])
        if i:
            torch.bmm(hidden[i - 1].mT, delta, out=into.weights[i])
        else:
            for heads, batch in batches:
                rows = batch.X.expand(heads.stop - heads.start, -1, -1)
                torch.bmm(rows.mT, delta[heads], out=into.weights[0][heads])
    return losses
