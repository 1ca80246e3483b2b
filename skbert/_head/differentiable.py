"""What a fitted head answers, with a way back to the vectors. Part of ``_head``; the same sums as in ``weights``."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["log_odds"]


def log_odds(head: Any, vectors: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the log-odds of one class a row, in float64.

    Parameters
    ----------
    head : HeadClassifier
        A fitted one.
    vectors : tensor of shape (n, n_features)
        Rows as `predict_proba` takes them.
    targets : int64 tensor of shape (n,)
        Places in `classes_`.

    Returns
    -------
    float64 tensor of shape (n,)
        The logarithm of the class's probability over that of all the others.
    """

    def constant(values: Any) -> torch.Tensor:
        return torch.as_tensor(values, dtype=torch.float64, device=vectors.device)

    a = ((vectors.double() - constant(head.mean_)) / constant(head.scale_))[None]
    layers = list(zip(head.coefs_, head.intercepts_, strict=True))
    for number, (weights, biases) in enumerate(layers, start=1):
        a = a @ constant(weights) + constant(biases)[:, None]
        if number < len(layers):
            a = torch.relu(a)
    # The mean over the heads needs no division by their number: what follows is the same for all classes.
    log_p = torch.logsumexp(torch.log_softmax(a, dim=2), dim=0) / head.temperature_
    chosen = log_p.gather(1, targets[:, None])[:, 0]
    others = log_p.masked_fill(torch.nn.functional.one_hot(targets, log_p.shape[1]).bool(), -torch.inf)
    return chosen - torch.logsumexp(others, dim=1)
