"""Encoder: a loaded frozen model and its tokenizer, shared by every clone in the process.

Upper part of the engine: the one place where weights are loaded and run.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import threading
from collections.abc import Iterator, Sequence as Rows
from typing import Any

import numpy as np
import torch
import transformers
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from transformers.utils import logging as transformers_logging

from skbert._engine.attention import PACKED, PackedLayout, register_packed_attention, supports_varlen
from skbert._engine.devices import exact_float32, half_bound
from skbert._engine.pooling import pool
from skbert._engine.sources import ModelFiles
from skbert._engine.spec import Unit
from skbert._engine.tokens import Sequence, Template
from skbert.exceptions import ModelFilesError

__all__ = ["Encoder"]

# Lengths of the at most 6 texts that compare the packed form with the padded one: unequal ones, a run of equal ones,
# and one beyond the window of a local layer (64 tokens to each side in ModernBERT).
_PROBE_LENGTHS = (150, 40, 17, 9, 9, 3)


class Encoder:
    """A frozen model on one device.

    Parameters
    ----------
    files : ModelFiles
        What to load.
    device : torch.device
    dtype : torch.dtype
        Of the weights and of the computation.

    Attributes
    ----------
    packs : bool
        Whether the packed form gave the padded form's states on probe texts.
    template : Template
        The tokenizer's special tokens.
    n_texts : int
        Texts (chunks, where texts are chunked) run so far, probe texts not counted.
    max_tokens : int or None
        Most tokens that a forward of several texts may have since memory ran
        short: half of what did not fit. None while it never did.
    lock : threading.Lock
        Held while texts are embedded, so that threads don't embed one text twice.
    """

    def __init__(self, files: ModelFiles, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self.lock = threading.Lock()
        # Transformers 5.0 collects hidden states in wrappers of the model's own modules: one forward at a time.
        self._forward_lock = threading.Lock()
        self.n_texts = 0
        self.max_tokens: int | None = None
        self._lowercase = files.settings.lowercase
        self._backend = _load_tokenizer(files)
        self.template = _probe_template(self._backend, files)
        self._model, self._pooler, self._pad_id = _load_model(files)
        takes = inspect.signature(self._model.forward).parameters
        self._takes_segments = "token_type_ids" in takes and getattr(self._model.config, "type_vocab_size", 0) > 1
        self._varlen = False
        self._position_start = 0
        self.packs = self._try_packing()
        if (device.type, dtype) != ("cpu", torch.float32):
            self._model.to(device=device, dtype=dtype)
            heads = getattr(self._model.config, "num_attention_heads", 1)
            self._varlen = supports_varlen(device, dtype, files.hidden_size // heads)
            # Once more, where and how it will run: another kernel, another rounding.
            self.packs = self.packs and self._packed_equals_padded(half_bound(dtype))
        if not self.packs:
            self._use_attention(self._own_attention)

    def pieces(self, texts: list[str]) -> list[list[int]]:
        """Return the ids of the word pieces of each text, without special tokens and of any length."""
        if self._lowercase:
            texts = [text.lower() for text in texts]
        return [encoding.ids for encoding in self._backend.encode_batch_fast(texts, add_special_tokens=False)]

    def run(self, sequences: Rows[Sequence], units: Rows[Unit]) -> np.ndarray:
        """Run the model over sequences and pool its states.

        Parameters
        ----------
        sequences : sequence of Sequence
            One batch; neighbours of equal length are cheapest.
        units : sequence of Unit
            Layers and poolings asked for.

        Returns
        -------
        float32 ndarray of shape (n_sequences, n_units, width)

        Raises
        ------
        torch.OutOfMemoryError
            Not even one sequence fits into the device's memory.

        Notes
        -----
        Where memory is short, the batch is halved until it fits, and later
        batches are kept as small from the start.
        """
        tokens = sum(len(sequence.ids) for sequence in sequences)
        fits = self.max_tokens is None or tokens <= self.max_tokens or len(sequences) == 1
        if fits:
            try:
                pooled = self._run_once(sequences, units)
            except torch.OutOfMemoryError:
                if len(sequences) == 1:
                    raise
                self.max_tokens = tokens // 2
            else:
                self.n_texts += len(sequences)
                return pooled
            # Out of the handler, so that the failed forward's tensors are gone before the next try.
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        half = len(sequences) // 2
        return np.concatenate([self.run(sequences[:half], units), self.run(sequences[half:], units)])

    def _run_once(self, sequences: Rows[Sequence], units: Rows[Unit]) -> np.ndarray:
        lengths = np.array([len(sequence.ids) for sequence in sequences])
        layers = {unit.layer for unit in units}
        with torch.inference_mode(), exact_float32(self.device, self.dtype):
            with self._forward_lock:
                states, layout = self._states(sequences, lengths, layers)
            pooled = torch.stack([self._pool(states[unit.layer], layout, unit.pooling) for unit in units], dim=1)
            return pooled.cpu().numpy()

    def _pool(self, states: torch.Tensor, layout: PackedLayout, pooling: str) -> torch.Tensor:
        if pooling != "pooler":
            return pool(states, layout, pooling)
        if self._pooler is None:
            msg = f"pooling='pooler' needs a pooler, and a {type(self._model).__name__} has none. Use 'cls' or 'mean'."
            raise ModelFilesError(msg)
        first = states[layout.borders[:-1].long()]
        return self._pooler(first[:, None, :]).float()  # a pooler reads the first token of each row

    def _states(
        self, sequences: Rows[Sequence], lengths: np.ndarray, layers: set[int]
    ) -> tuple[dict[int, torch.Tensor], PackedLayout]:
        """Return the states (tokens, width) of each layer, texts end to end."""
        last = self._model.config.num_hidden_layers
        wants_all = layers != {last}
        ids = np.concatenate([sequence.ids for sequence in sequences]).astype(np.int64)
        segments = self._segments(sequences, lengths)
        if not self.packs:
            return self._padded_states(ids, segments, lengths, layers)
        layout = PackedLayout.of(lengths, self.device, varlen=self._varlen)
        inputs = {"input_ids": ids, "position_ids": _positions(lengths) + self._position_start}
        if segments is not None:
            inputs["token_type_ids"] = segments
        outputs = self._model(
            **{name: self._to_device(values)[None] for name, values in inputs.items()},
            skbert_layout=layout,
            output_hidden_states=wants_all,
            return_dict=True,
        )
        found = outputs.hidden_states if wants_all else {last: outputs.last_hidden_state}
        return {layer: found[layer][0] for layer in layers}, layout

    def _padded_states(
        self, ids: np.ndarray, segments: np.ndarray | None, lengths: np.ndarray, layers: set[int]
    ) -> tuple[dict[int, torch.Tensor], PackedLayout]:
        """Do the same in the plain way: a padded batch with a mask, padding taken out afterwards."""
        real = np.arange(lengths.max())[None, :] < lengths[:, None]
        inputs = {"input_ids": np.full(real.shape, self._pad_id), "attention_mask": real.astype(np.int64)}
        inputs["input_ids"][real] = ids
        if segments is not None:
            inputs["token_type_ids"] = np.zeros(real.shape, dtype=np.int64)
            inputs["token_type_ids"][real] = segments
        outputs = self._model(
            **{name: self._to_device(values) for name, values in inputs.items()},
            output_hidden_states=True,
            return_dict=True,
        )
        mask = self._to_device(real)
        layout = PackedLayout.of(lengths, self.device, varlen=self.device.type == "cuda")
        return {layer: outputs.hidden_states[layer][mask] for layer in layers}, layout

    def _segments(self, sequences: Rows[Sequence], lengths: np.ndarray) -> np.ndarray | None:
        if not self._takes_segments or all(sequence.segments is None for sequence in sequences):
            return None  # the model's own default is zeros
        parts = [
            np.zeros(length, dtype=np.int8) if sequence.segments is None else sequence.segments
            for sequence, length in zip(sequences, lengths.tolist(), strict=True)
        ]
        return np.concatenate(parts).astype(np.int64)

    def _to_device(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(self.device, non_blocking=True)

    def _try_packing(self) -> bool:
        """Say whether the model packs, by trying where its positions begin: at 0, or after the padding index."""
        self._own_attention = self._model.config._attn_implementation
        register_packed_attention()
        if not self._use_attention(PACKED):
            return False
        for start in (0, self._pad_id + 1):
            self._position_start = start
            if self._packed_equals_padded(half_bound(torch.float32)):
                return True
        return False

    def _use_attention(self, name: str) -> bool:
        with _quiet_transformers(), contextlib.suppress(ValueError):
            self._model.set_attn_implementation(name)
        return self._model.config._attn_implementation == name

    def _packed_equals_padded(self, bound: float) -> bool:
        """Compare the last states of both forms on a few sequences of random ids.

        The padded form runs with the model's own attention and its own
        positions, so that it owes nothing to this package.
        """
        config, special = self._model.config, set(map(int, self._special_ids()))
        limit = getattr(config, "max_position_embeddings", 512) - self._pad_id - 1
        ordinary = np.array([k for k in range(min(config.vocab_size, 30_000)) if k not in special], dtype=np.int32)
        draw = np.random.default_rng(0)
        probes = [Sequence(draw.choice(ordinary, min(n, max(1, limit))), None, n) for n in _PROBE_LENGTHS]
        lengths = np.array([len(probe.ids) for probe in probes])
        last = {config.num_hidden_layers}
        with torch.inference_mode(), exact_float32(self.device, self.dtype):
            self.packs = False
            self._use_attention(self._own_attention)
            padded = self._states(probes, lengths, last)[0].popitem()[1].float()
            self.packs = True
            self._use_attention(PACKED)
            try:
                packed = self._states(probes, lengths, last)[0].popitem()[1].float()
            except (RuntimeError, TypeError, ValueError, IndexError):
                return False  # the family cannot take such a call at all
        scale = max(1.0, float(padded.abs().max()))
        return bool((packed - padded).abs().max() <= bound * scale)

    def _special_ids(self) -> list[int]:
        return [token for token, added in self._backend.get_added_tokens_decoder().items() if added.special]


def _positions(lengths: np.ndarray) -> np.ndarray:
    starts = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum(), dtype=np.int64) - np.repeat(starts, lengths)


def _load_tokenizer(files: ModelFiles) -> Any:
    try:
        with _quiet_transformers():
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                files.folder, local_files_only=True, trust_remote_code=False
            )
        backend = tokenizer.backend_tokenizer
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        msg = f"The tokenizer in {str(files.folder)!r} cannot be used: {type(error).__name__}: {reason}"
        raise ModelFilesError(msg) from error
    backend.no_padding()
    backend.no_truncation()
    return backend


def _probe_template(backend: Any, files: ModelFiles) -> Template:
    for word in ("a", "the", "1", "."):
        if backend.encode(word, add_special_tokens=False).ids:
            return Template.probe(backend, word)
    msg = (
        f"The tokenizer in {str(files.folder)!r} makes no piece of the simplest words. Save it again beside its model."
    )
    raise ModelFilesError(msg)


def _load_model(files: ModelFiles) -> tuple[Any, Any, int]:
    """Return the frozen model without its pooler, the pooler or None, and the padding id."""
    try:
        # fork_rng: transformers draws random values for weights that a file lacks, from the user's own generator.
        with _quiet_transformers(), torch.random.fork_rng(devices=[]):
            config = transformers.AutoConfig.from_pretrained(
                files.folder, local_files_only=True, trust_remote_code=False
            )
            # A config.json may name a kernel on the hub, which transformers would download and run.
            for part in (config, *(getattr(config, name, None) for name in getattr(config, "sub_configs", ()))):
                if part is not None:
                    part._attn_implementation = None
            model, report = transformers.AutoModel.from_pretrained(
                files.folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        msg = f"The model in {str(files.folder)!r} cannot be loaded: {type(error).__name__}: {reason}"
        raise ModelFilesError(msg) from error
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if missing:
        msg = (
            f"The weights in {str(files.folder)!r} lack {len(missing)} tensors that a {type(model).__name__} needs, "
            f"for example {missing[0]!r}; its vectors would be partly random. "
            "The config.json and the weights do not belong together: download the model again."
        )
        raise ModelFilesError(msg)
    model.eval().requires_grad_(False)
    pooler = getattr(model, "pooler", None)
    if pooler is not None:
        model.pooler = None  # it would read one row's first token; `_pool` gives it every text's
    pad_id = model.config.pad_token_id
    return model, pooler if files.has_pooler else None, 0 if pad_id is None else int(pad_id)


_quiet_lock = threading.RLock()


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Hold back transformers' bars and remarks about loading, and put its settings back afterwards.

    What its remarks say that matters (missing weights) is an error here.
    """
    logger = logging.getLogger("transformers")
    with _quiet_lock:
        level, bars = logger.level, transformers_logging.is_progress_bar_enabled()
        hub_bars = not are_progress_bars_disabled()
        logger.setLevel(logging.CRITICAL)
        transformers_logging.disable_progress_bar()  # switches the hub's bars off too
        try:
            yield
        finally:
            logger.setLevel(level)
            if bars:
                transformers_logging.enable_progress_bar()
            if hub_bars:
                enable_progress_bars()
            else:
                disable_progress_bars()
