"""From estimator to tensors and back: training parts, learned weights. Part of ``_head``; calls ``_training``.

What an estimator keeps is numpy: a pickle then needs no torch to be read, holds
no device, and predictions can be computed in float64, in which a row's
probabilities depend on the rows that come with it by rounding in float64 only.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch

from skbert._head.rows import Merged, Moments, row_chunks, standardise
from skbert._training import AdamMoments, Network, Part, initialise

__all__ = [
    "Memory",
    "check_shapes",
    "log_proba",
    "make_part",
    "memory_arrays",
    "network_arrays",
    "new_network",
    "rebase",
    "to_memory",
    "to_network",
    "weights_of",
]

Arrays = tuple[list[np.ndarray], list[np.ndarray]]  # coefs, (n_heads, n_in, n_out); intercepts, (n_heads, n_out)
Memory = tuple[Arrays, Arrays, int]  # AdamW's running means of the gradients and of their squares, steps made


def make_part(
    X: np.ndarray, merged: Merged, chosen: np.ndarray, factors: np.ndarray, moments: Moments, device: torch.device
) -> Part:
    """Put the chosen rows on the device, standardised, with weights of mean one.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        The rows as given.
    merged : Merged
        The distinct ones.
    chosen : ndarray
        Bool mask over `merged`.
    factors : ndarray of shape (n_classes,)
        Weights of the classes.
    moments : Moments
        Mean and scale of the columns.
    device : torch.device
        Where the part is to lie.

    Returns
    -------
    Part
        In memory of its own.
    """
    Z = standardise(X, merged.rows[chosen], moments)
    weight, tally = weights_of(merged, chosen, factors)
    return Part(
        torch.from_numpy(Z).to(device),
        torch.from_numpy(merged.y[chosen]).to(device, torch.int64),
        weight.to(device),
        tally.to(device),
    )


def weights_of(merged: Merged, chosen: np.ndarray, factors: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what the chosen rows count in the loss and in the accuracy, each with mean one, float32 on the CPU."""
    y, count = merged.y[chosen], merged.weight[chosen]
    weight = count * factors[y]
    return (
        torch.from_numpy((weight / weight.mean()).astype(np.float32)),
        torch.from_numpy((count / count.mean()).astype(np.float32)),
    )


def new_network(sizes: Sequence[int], n_heads: int, seed: int, device: torch.device) -> Network:
    """Return initial weights on the device, the same on every device."""
    drawn = initialise(sizes, n_heads, seed)
    return Network([w.to(device) for w in drawn.weights], [b.to(device) for b in drawn.biases])


def check_shapes(coefs: Sequence[np.ndarray], sizes: Sequence[int], n_heads: int) -> None:
    """Raise a ValueError where the present weights are not those of the network that is asked for."""
    asked = [(n_heads, *pair) for pair in pairwise(sizes)]
    present = [w.shape for w in coefs]
    if asked != present:
        msg = (
            "hidden_layer_sizes or n_heads has changed since the fit that is to be gone on from: its layers have the "
            f"shapes {present}, {asked} are asked for. Set them back, or set warm_start=False and call fit."
        )
        raise ValueError(msg)


def to_network(coefs: Sequence[np.ndarray], intercepts: Sequence[np.ndarray], device: torch.device) -> Network:
    """Return copies of the arrays as a network on the device."""
    weights = [torch.tensor(w, dtype=torch.float32, device=device) for w in coefs]
    return Network(weights, [torch.tensor(b[:, None], dtype=torch.float32, device=device) for b in intercepts])


def network_arrays(network: Network) -> Arrays:
    """Return copies of a network's weights as float32 arrays."""
    weights = [w.detach().cpu().numpy().copy() for w in network.weights]
    return weights, [b.detach().cpu().numpy()[:, 0].copy() for b in network.biases]


def to_memory(arrays: Memory, device: torch.device) -> AdamMoments:
    """Return the optimiser's memory that :func:`memory_arrays` took down."""
    first, second, steps = arrays
    return AdamMoments(to_network(*first, device), to_network(*second, device), steps)


def memory_arrays(memory: AdamMoments) -> Memory:
    """Take the optimiser's memory down in numpy."""
    return network_arrays(memory.first), network_arrays(memory.second), memory.steps


def rebase(coefs: Sequence[np.ndarray], intercepts: Sequence[np.ndarray], old: Moments, new: Moments) -> Arrays:
    """Rewrite the first layer for another standardisation, so that the network answers as before.

    With ``z = (x - m) / s`` and ``z' = (x - m') / s'``, the sum ``z W + b`` is
    ``z' W' + b'`` for ``W' = (s' / s) W`` and ``b' = b + ((m' - m) / s) W``.

    Parameters
    ----------
    coefs, intercepts : sequence of ndarray
        Weights that go with `old`.
    old, new : Moments
        The standardisations.

    Returns
    -------
    tuple of list of ndarray
        Weights that go with `new`.
    """
    # A column that was constant so far had z = 0, and its weights are still those of the initial draw: meant for a
    # column of spread one, so they are kept rather than multiplied by the spread that the column now turns out to have.
    ratio = np.where(old.constant, 1.0, new.scale / old.scale)
    first = coefs[0] * ratio[:, None]  # float64
    shift = ((new.mean - old.mean) / new.scale) @ first  # (n_heads, n_out)
    return (
        [first.astype(np.float32), *coefs[1:]],
        [(intercepts[0] + shift).astype(np.float32), *intercepts[1:]],
    )


def log_proba(
    coefs: Sequence[np.ndarray], intercepts: Sequence[np.ndarray], X: np.ndarray, mean: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """Return the logarithm of the heads' mean probabilities, in float64, a piece of X at a time.

    Parameters
    ----------
    coefs, intercepts : sequence of ndarray
        The learned weights.
    X : ndarray of shape (n, n_features)
        Rows as given.
    mean, scale : ndarray of shape (n_features,)
        The standardisation.

    Returns
    -------
    ndarray of shape (n, n_classes)
        Float64.
    """
    layers = [(w.astype(np.float64), b[:, None].astype(np.float64)) for w, b in zip(coefs, intercepts, strict=True)]
    n_heads, n_classes = intercepts[-1].shape
    out = np.empty((len(X), n_classes))
    for piece in row_chunks(len(X), max([X.shape[1], *(n_heads * b.shape[1] for b in intercepts)])):
        a = ((X[piece] - mean) / scale)[None]  # (1, rows, n_features); the product spreads it over the heads
        for w, b in layers[:-1]:
            a = np.maximum(a @ w + b, 0.0)
        w, b = layers[-1]
        z = a @ w + b  # (n_heads, rows, n_classes)
        z -= np.logaddexp.reduce(z, axis=2, keepdims=True)
        out[piece] = np.logaddexp.reduce(z, axis=0) - np.log(n_heads)
    return out
