"""Packed token states to one vector a text. Middle of the engine: knows tensors and layouts only."""

from __future__ import annotations

import torch

from skbert._engine.attention import PackedLayout

__all__ = ["pool"]


def pool(states: torch.Tensor, layout: PackedLayout, pooling: str) -> torch.Tensor:
    """Pool the token states of each text of a packed row.

    Parameters
    ----------
    states : tensor of shape (tokens, width)
        Of any floating dtype; sums run in float32.
    layout : PackedLayout
        Which tokens belong together.
    pooling : {'mean', 'cls', 'max'}
        "mean" and "max" count the special tokens too, as sentence-transformers
        does; "cls" is the first token.

    Returns
    -------
    float32 tensor of shape (n_texts, width)
    """
    if pooling == "cls":
        return states[layout.borders[:-1].long()].float()
    if layout.varlen:
        lengths = layout.borders.diff().long()
        return torch.segment_reduce(
            states.float(), pooling, lengths=lengths, axis=0, unsafe=True
        )  # checks nothing: no sync
    parts = []
    for first, count, length in layout.runs:
        run = states[first : first + count * length].view(count, length, -1).float()
        parts.append(run.mean(dim=1) if pooling == "mean" else run.amax(dim=1))
    return parts[0] if len(parts) == 1 else torch.cat(parts)
