"""The ways beside skbert: sentence-transformers as good as it can be had, and plain padded transformers."""

from __future__ import annotations

import importlib.util
import logging
import time

import numpy as np
import torch
import transformers

try:
    import sentence_transformers
except ImportError:  # a machine without it still measures the rest
    sentence_transformers = None

# What is tried for sentence-transformers on a GPU, the first best; it drops the padding where a kernel can do that.
_FLASH = (("flash_attention_3", ("flash_attn_interface", "kernels")), ("flash_attention_2", ("flash_attn", "kernels")))
BATCH_SIZES = (32, 256, 1024)
_TRIAL_CHARS = 800_000  # of the texts that the batch sizes are tried on, which are a full batch at least


class SentenceTransformers:
    """sentence-transformers' encode: float32 and batches of 32 on a CPU; on a GPU the best attention and batch size."""

    name = "sentence-transformers"

    def __init__(self, folder, device, dtype):
        self.device, self.dtype = device, dtype
        self.attention, self.model = self._load(str(folder))
        self.batch_size = 32
        self.tried = {}
        self._own_length = self.model.max_seq_length

    def _load(self, folder):
        kinds = []
        if self.device == "cuda" and self.dtype != "float32":
            kinds = [kind for kind, packages in _FLASH if any(map(importlib.util.find_spec, packages))]
        for kind in (*kinds, "sdpa"):
            try:
                # As a user writes it, but that the dtype is said: the checkpoint's own may be another.
                model = sentence_transformers.SentenceTransformer(
                    folder,
                    device=self.device,
                    local_files_only=True,
                    model_kwargs={"dtype": getattr(torch, self.dtype), "attn_implementation": kind},
                )
                model.encode(["a", "few words"])
            except Exception as error:  # of many kinds: no kernel for this machine, no network to fetch one, ...
                if kind == "sdpa":
                    raise
                logging.warning("sentence-transformers cannot run with %s: %s", kind, error)
            else:
                return kind, model
        raise AssertionError

    def set_length(self, max_length):
        """Cut texts at so many tokens; None is the model's own number."""
        self.model.max_seq_length = max_length or self._own_length

    def choose_batch_size(self, texts):
        """On a GPU, take the batch size that is fastest on these texts; the peer is the best of them."""
        self.batch_size, self.tried = min(BATCH_SIZES), {}
        if self.device != "cuda" or len(texts) <= min(BATCH_SIZES):
            return
        mean = max(1, sum(map(len, texts)) // len(texts))
        some = texts[: max(max(BATCH_SIZES), _TRIAL_CHARS // mean)]
        for size in BATCH_SIZES:
            seconds = []
            for _ in range(2):  # the first is the warm-up of these shapes
                start = time.perf_counter()
                self.model.encode(some, batch_size=size)
                seconds.append(time.perf_counter() - start)
            self.tried[size] = round(len(some) / min(seconds), 1)
        self.batch_size = max(self.tried, key=self.tried.get)

    def encode(self, texts):
        """Return the vectors as float32."""
        return self.model.encode(texts, batch_size=self.batch_size).astype(np.float32)

    def describe(self):
        """Say how it was configured."""
        unpadded = bool(getattr(self.model[0], "unpad_inputs", False))
        tried = f" (texts a second by batch size: {self.tried})" if self.tried else ""
        padding = "without padding" if unpadded else "padded"
        return f"encode, batch_size {self.batch_size}{tried}, {self.dtype}, attention {self.attention}, {padding}"


class Padded:
    """What one writes by hand: sorted by length, padded batches, AutoModel, mean of the states, scaled to length 1."""

    name = "padded transformers"

    def __init__(self, folder, device, dtype):
        self.device, self.dtype = device, dtype
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.model = transformers.AutoModel.from_pretrained(
            folder, dtype=getattr(torch, dtype), local_files_only=True, use_safetensors=True
        )
        self.model.to(device).eval()
        self.batch_size = 256 if device == "cuda" else 32
        self._max_length = None

    def set_length(self, max_length):
        """Cut texts at so many tokens."""
        self._max_length = max_length

    def encode(self, texts):
        """Return the vectors as float32."""
        rows = self.tokenizer(texts, truncation=True, max_length=self._max_length)["input_ids"]
        order = np.argsort([-len(row) for row in rows], kind="stable")
        parts = []
        with torch.inference_mode():
            for start in range(0, len(order), self.batch_size):
                some = {"input_ids": [rows[k] for k in order[start : start + self.batch_size]]}
                batch = self.tokenizer.pad(some, return_tensors="pt").to(self.device)
                states = self.model(**batch).last_hidden_state
                mask = batch["attention_mask"][..., None].float()
                means = (states * mask).sum(dim=1) / mask.sum(dim=1)
                parts.append(torch.nn.functional.normalize(means, dim=1))
        vectors = torch.cat(parts).float().cpu().numpy()
        found = np.empty_like(vectors)
        found[order] = vectors
        return found

    def describe(self):
        """Say how it was configured."""
        attention = self.model.config._attn_implementation
        return f"sorted by token length, batches of {self.batch_size}, {self.dtype}, attention {attention}"


def load_peers(folder, device, dtype, wanted):
    """Return the peers that can be had here, of those `wanted` by name."""
    kinds = [kind for kind in (SentenceTransformers, Padded) if kind.name in wanted]
    if sentence_transformers is None and SentenceTransformers in kinds:
        print("sentence-transformers is not installed: its column stays empty")
        kinds.remove(SentenceTransformers)
    return [kind(folder, device, dtype) for kind in kinds]
