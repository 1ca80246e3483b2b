"""Packed attention, registered with transformers. Middle of the engine: knows tensors and layouts, not texts.

Texts stand end to end in one row of tokens, with no padding; a text's tokens
may only attend to one another. There are two ways to have that: a kernel that
takes the borders (``varlen_attn``, on a GPU in half precision), and, elsewhere,
``scaled_dot_product_attention`` over runs of texts of equal length, which form
an ordinary batch without padding and without a mask.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from skbert._engine.batching import runs_of

__all__ = ["PACKED", "PackedLayout", "attend", "borders_of", "register_packed_attention", "supports_varlen"]

PACKED = "skbert_packed"  # the name under which transformers knows it


@dataclasses.dataclass(frozen=True)
class PackedLayout:
    """Where each text of a packed row begins.

    Attributes
    ----------
    lengths : ndarray of int of shape (n,)
        Tokens of each text.
    runs : list of (int, int, int)
        First token, number of texts and length of each run of equal lengths.
    borders : int32 tensor of shape (n + 1,) on the device
        First token of each text, then the number of tokens.
    longest : int
        Tokens of the longest text.
    varlen : bool
        Whether attention takes the borders rather than the runs.
    """

    lengths: np.ndarray
    runs: list[tuple[int, int, int]]
    borders: torch.Tensor
    longest: int
    varlen: bool

    @classmethod
    def of(cls, lengths: np.ndarray, borders: torch.Tensor, *, varlen: bool) -> PackedLayout:
        """Lay out texts of these lengths in this order; `borders` is the tensor that the attributes describe."""
        return cls(lengths, [] if varlen else runs_of(lengths), borders, int(lengths.max()), varlen)


def borders_of(lengths: np.ndarray) -> np.ndarray:
    """Return the first token of each text, then the number of tokens: int64 of shape (n + 1,)."""
    return np.concatenate(([0], np.cumsum(lengths)))


def supports_varlen(device: torch.device, dtype: torch.dtype, head_size: int) -> bool:
    """Say whether ``varlen_attn`` runs here: its FlashAttention kernels want Ampere or newer, a half, and 8 | head."""
    return (
        device.type == "cuda"
        and dtype in (torch.float16, torch.bfloat16)
        and head_size % 8 == 0
        and head_size <= 256
        and torch.cuda.get_device_capability(device) >= (8, 0)
    )


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    skbert_layout: PackedLayout | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attend within each text of a packed row.

    `query`, `key` and `value` have shape (1, heads, tokens, head size); the
    result has shape (1, tokens, heads, head size). Without a layout this is
    transformers' own SDPA, so that a padded call under this name stays right.
    """
    if skbert_layout is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, sliding_window=sliding_window, **kwargs
        )
    if attention_mask is not None:
        msg = "a packed row has no padding, so it takes no mask"
        raise RuntimeError(msg)
    # (1, heads, tokens, size) to (tokens, heads, size): views
    q, k, v = (states.transpose(1, 2).squeeze(0) for states in (query, key, value))
    return attend(q, k, v, skbert_layout, scaling, sliding_window).unsqueeze(0), None


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    layout: PackedLayout,
    scaling: float | None = None,
    sliding_window: int | None = None,
) -> torch.Tensor:
    """Attend within each text of a packed row.

    Parameters
    ----------
    query : tensor of shape (tokens, heads, size)
        Or (n_texts, heads, size): the first token of each text only. Rows
        behind the last text give 0, where runs are attended to.
    key, value : tensor of shape (tokens, heads, size)
        May be views into one another's memory; the last axis is contiguous.
    layout : PackedLayout
        Which tokens belong together.
    scaling : float or None, default=None
        Factor of the products; None is 1 / sqrt(size).
    sliding_window : int or None, default=None
        Tokens to each side that a token sees, itself counted; None is all.

    Returns
    -------
    tensor of the shape of `query`, contiguous
    """
    # A text of one token is its own first.
    first_only = len(query) == len(layout.lengths) and len(query) != len(key)
    if layout.varlen:
        return _by_borders(query, key, value, scaling, sliding_window, layout, first_only)
    return _by_runs(query, key, value, scaling, sliding_window, layout, first_only)


def _by_borders(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    sliding_window: int | None,
    layout: PackedLayout,
    first_only: bool,
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    # transformers counts the window with its centre, the kernel without
    window = (-1, -1) if sliding_window is None else (sliding_window - 1, sliding_window - 1)
    borders, longest = layout.borders, layout.longest
    borders_q, longest_q = borders, longest
    if first_only:
        borders_q, longest_q = torch.arange(len(borders), dtype=torch.int32, device=borders.device), 1
    out = varlen_attn(query, key, value, borders_q, borders, longest_q, longest, scale=scaling, window_size=window)
    assert isinstance(out, torch.Tensor)  # a tuple only with return_aux
    return out


def _by_runs(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    sliding_window: int | None,
    layout: PackedLayout,
    first_only: bool,
) -> torch.Tensor:
    heads, size = query.shape[1:]
    out = query.new_empty(query.shape)
    out[layout.lengths.sum() :] = 0  # rows that belong to no text
    text = 0
    for first, count, length in layout.runs:
        span = slice(first, first + count * length)
        rows, wide = (slice(text, text + count), 1) if first_only else (span, length)
        attended = scaled_dot_product_attention(
            query[rows].view(count, wide, heads, size).transpose(1, 2),
            key[span].view(count, length, heads, size).transpose(1, 2),
            value[span].view(count, length, heads, size).transpose(1, 2),
            attn_mask=None if first_only else _band(length, sliding_window, query.device),
            scale=scaling,
        )
        out[rows].view(count, wide, heads, size).copy_(attended.transpose(1, 2))
        text += count
    return out


def _band(length: int, sliding_window: int | None, device: torch.device) -> torch.Tensor | None:
    """Return the mask of a local layer, None where the window covers the whole text."""
    if sliding_window is None or length <= sliding_window:
        return None
    place = torch.arange(length, device=device)
    return (place[:, None] - place[None, :]).abs() < sliding_window


def _no_mask_or_sdpa(*args: Any, **kwargs: Any) -> torch.Tensor | None:
    """Make the mask for `packed_attention`: none for a packed row, SDPA's for a padded batch.

    Without a mask function under the same name, transformers would drop the
    padding mask of a padded batch and say nothing.
    """
    if kwargs.get("attention_mask") is None:
        return None
    from transformers.masking_utils import sdpa_mask

    return sdpa_mask(*args, **kwargs)


def register_packed_attention() -> None:
    """Make the name `PACKED` known to transformers; again and again does no harm."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(PACKED, packed_attention)
    AttentionMaskInterface.register(PACKED, _no_mask_or_sdpa)
