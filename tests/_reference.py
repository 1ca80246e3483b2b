"""The independent reference: plain padded transformers, with nothing of skbert in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer


def padded_vectors(
    folder: str | Path,
    texts: list[Any],
    *,
    layer: int = -1,
    pooling: str = "mean",
    max_length: int | None = None,
    batch_size: int = 64,
) -> np.ndarray:
    """Embed as any tutorial does: tokenizer with padding and mask, eager attention, masked pooling, float32."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        model = AutoModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    rows = []
    for start in range(0, len(texts), batch_size):
        part = texts[start : start + batch_size]
        columns = [part] if isinstance(part[0], str) else [list(side) for side in zip(*part, strict=True)]
        batch = tokenizer(
            *columns, padding=True, truncation="longest_first", max_length=max_length, return_tensors="pt"
        )
        with torch.inference_mode():
            outputs = model(**batch, output_hidden_states=True)
        states, mask = outputs.hidden_states[layer], batch["attention_mask"][:, :, None]
        if pooling == "mean":
            pooled = (states * mask).sum(1) / mask.sum(1)
        elif pooling == "max":
            pooled = states.masked_fill(mask == 0, -torch.inf).amax(1)
        elif pooling == "cls":
            pooled = states[:, 0]
        else:
            pooled = outputs.pooler_output
        rows.append(pooled.numpy())
    return np.concatenate(rows)


def relative_difference(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest difference of a row, relative to max(1, the largest absolute value of the vector)."""
    scale = np.maximum(1.0, np.abs(b).max(axis=1))
    return float((np.abs(a - b).max(axis=1) / scale).max())
