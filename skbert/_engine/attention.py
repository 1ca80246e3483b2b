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

__all__ = ["PACKED", "PackedLayout", "register_packed_attention"]

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
    varlen : bool
        Whether attention takes the borders rather than the runs.
    """

    lengths: np.ndarray
    runs: list[tuple[int, int, int]]
    borders: torch.Tensor
    varlen: bool

    @classmethod
    def of(cls, lengths: np.ndarray, device: torch.device, *, varlen: bool) -> PackedLayout:
        """Lay out texts of these lengths in this order."""
        borders = torch.from_numpy(np.concatenate(([0], np.cumsum(lengths))).astype(np.int32))
        return cls(lengths, runs_of(lengths), borders.to(device), varlen)


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
    if skbert_layout.varlen:
        return _by_borders(query, key, value, scaling, sliding_window, skbert_layout), None
    return _by_runs(query, key, value, scaling, sliding_window, skbert_layout), None


def _by_borders(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    sliding_window: int | None,
    layout: PackedLayout,
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn  # where torch is too old for it, no layout says varlen

    # transformers counts the window with its centre, the kernel without
    window = (-1, -1) if sliding_window is None else (sliding_window - 1, sliding_window - 1)
    q, k, v = (states.transpose(1, 2).squeeze(0) for states in (query, key, value))  # (tokens, heads, size), views
    borders, longest = layout.borders, int(layout.lengths.max())
    out = varlen_attn(q, k, v, borders, borders, longest, longest, scale=scaling, window_size=window)
    assert isinstance(out, torch.Tensor)  # a tuple only with return_aux
    return out.unsqueeze(0)


def _by_runs(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    sliding_window: int | None,
    layout: PackedLayout,
) -> torch.Tensor:
    _, heads, tokens, size = query.shape
    packed = [states.transpose(1, 2).reshape(tokens, heads, size) for states in (query, key, value)]
    parts = []
    for first, count, length in layout.runs:
        q, k, v = (states[first : first + count * length].view(count, length, heads, size) for states in packed)
        attended = scaled_dot_product_attention(
            q.transpose(1, 2),
            k.transpose(1, 2),
            v.transpose(1, 2),
            attn_mask=_band(length, sliding_window, query.device),
            scale=scaling,
        )
        parts.append(attended.transpose(1, 2).reshape(count * length, heads, size))
    out = parts[0] if len(parts) == 1 else torch.cat(parts)
    return out.unsqueeze(0)


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
