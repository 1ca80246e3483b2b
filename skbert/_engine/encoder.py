"""Encoder: a loaded frozen model and its tokenizer, shared by every clone in the process.

Upper part of the engine: the one place where a model runs. How it is read from its files is in ``loading``.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence as Rows
from typing import TypeVar

import numpy as np
import torch

from skbert._engine.attention import PACKED, PackedLayout, borders_of, register_packed_attention, supports_varlen
from skbert._engine.devices import exact_float32, half_bound, is_out_of_memory
from skbert._engine.loading import load_model, load_tokenizer, probe_template, quiet_transformers
from skbert._engine.pieces import PieceMaker, Pieces
from skbert._engine.pooling import pool
from skbert._engine.sources import ModelFiles, reason_of
from skbert._engine.spec import Unit
from skbert._engine.stack import LayerStack
from skbert._engine.table import SequenceTable
from skbert._engine.tokens import Template, build_sequences
from skbert.exceptions import ModelFilesError

__all__ = ["Encoder"]

Result = TypeVar("Result")

# Lengths of the at most 6 texts that compare the packed forms with the padded one: unequal ones, a run of equal ones,
# and one beyond the window of a local layer (64 tokens to each side in ModernBERT).
_PROBE_LENGTHS = (150, 40, 17, 9, 9, 3)
# Batches that wait on a GPU while it works, so that it never waits for Python; and whose inputs and outputs it holds.
_AHEAD = 3


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
    form : {'stack', 'packed', 'padded'}
        How the model runs: its layers as skbert's own `LayerStack`, or as
        transformers' with packed attention, where that gave the padded form's
        states on probe texts; else in transformers' plain padded form.
    packs : bool
        Whether texts run end to end, without padding.
    template : Template
        The tokenizer's special tokens.
    n_texts : int
        Texts (chunks, where texts are chunked) run so far, probe texts not counted.
    max_tokens : int or None
        Most tokens that a forward of several texts may have since memory ran
        short: half of what did not fit. None while it never did.
    depth : int
        Batches that may be started before the first one's vectors are asked for.
    lock : threading.Lock
        Of the first encoder of a call, held while texts are embedded, so that threads don't embed one text twice. An
        encoder that also works for other calls needs none.
    """

    def __init__(self, files: ModelFiles, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = torch.device("cpu"), torch.float32  # where the model is read
        self.depth = _AHEAD if device.type == "cuda" else 0
        self.lock = threading.Lock()
        # Transformers 5.0 collects hidden states in wrappers of the model's own modules: one such forward at a time.
        self._forward_lock = threading.Lock()
        self._count_lock = threading.Lock()
        self.n_texts = 0
        self.max_tokens: int | None = None
        self._backend = load_tokenizer(files)
        self._make_pieces = PieceMaker(self._backend, files.settings.lowercase)
        self.template: Template = probe_template(self._backend, files)
        self._model, self._pooler, self._pad_id = load_model(files)
        self._last = int(self._model.config.num_hidden_layers)
        takes = inspect.signature(self._model.forward).parameters
        self._takes_segments = "token_type_ids" in takes and getattr(self._model.config, "type_vocab_size", 0) > 1
        self._stack: LayerStack | None = None
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._varlen = False
        self._position_start = 0
        self._choose_form(files, device, dtype)

    @property
    def packs(self) -> bool:
        return self.form != "padded"

    def pieces(self, texts: list[str]) -> list[Pieces]:
        """Return the ids of the word pieces of each text, without special tokens and of any length."""
        return self._make_pieces(texts)

    def run(self, batch: SequenceTable, units: Rows[Unit], *, first_only: bool = False) -> np.ndarray:
        """Run the model over sequences and return their vectors: `start`, and wait for it."""
        return self.start(batch, units, first_only=first_only)()

    def start(self, batch: SequenceTable, units: Rows[Unit], *, first_only: bool = False) -> Callable[[], np.ndarray]:
        """Run the model over sequences and pool its states.

        Parameters
        ----------
        batch : SequenceTable
            One batch; neighbours of equal length are cheapest.
        units : sequence of Unit
            Layers and poolings asked for.
        first_only : bool, default=False
            Whether the highest layer is pooled from first tokens alone, so that
            nothing else of it need be computed.

        Returns
        -------
        callable without parameters
            Waits until a GPU is done with the batch, and returns the vectors:
            float32 ndarray of shape (n_sequences, n_units, width).

        Raises
        ------
        torch.OutOfMemoryError
            Not even one sequence fits into the device's memory.

        Notes
        -----
        Where memory is short, the batch is halved until it fits, and later
        batches are kept as small from the start.
        """
        parts = self._in_fitting_parts(batch, lambda part: self._run_once(part, units, first_only))
        return parts[0] if len(parts) == 1 else lambda: np.concatenate([vectors() for vectors in parts])

    def token_states(self, batch: SequenceTable, layers: Rows[int]) -> np.ndarray:
        """Run the model over sequences and return the states of each token.

        Parameters
        ----------
        batch : SequenceTable
            One batch.
        layers : sequence of int
            Hidden layers, counted from 0, the embeddings.

        Returns
        -------
        float32 ndarray of shape (n_tokens, n_layers_asked, width)
            Tokens of the sequences end to end.
        """

        def run(part: SequenceTable) -> np.ndarray:
            with self._mode():
                layout, inputs = self._inputs(part)
                states = dict(self._states(part, layout, inputs, set(layers)))
                return torch.stack([states[layer].float() for layer in layers], dim=1).cpu().numpy()

        return np.concatenate(self._in_fitting_parts(batch, run))

    def _in_fitting_parts(self, batch: SequenceTable, run: Callable[[SequenceTable], Result]) -> list[Result]:
        """Run over a batch, or over halves and theirs where memory is short, and return what came of each in order."""
        if self.max_tokens is None or batch.n_tokens <= self.max_tokens or len(batch) == 1:
            try:
                found = run(batch)
            except (RuntimeError, MemoryError) as error:
                if len(batch) == 1 or not is_out_of_memory(error):
                    raise
                self.max_tokens = batch.n_tokens // 2
            else:
                with self._count_lock:
                    self.n_texts += len(batch)
                return [found]
            # Out of the handler, so that the failed forward's tensors are gone before the next try.
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        middle = len(batch) // 2
        halves = (np.arange(middle), np.arange(middle, len(batch)))
        return [result for places in halves for result in self._in_fitting_parts(batch.take(places), run)]

    def _run_once(self, batch: SequenceTable, units: Rows[Unit], first_only: bool) -> Callable[[], np.ndarray]:
        layers = {unit.layer for unit in units}
        pooled: dict[Unit, torch.Tensor] = {}
        with self._mode():
            layout, inputs = self._inputs(batch)
            for layer, states in self._states(batch, layout, inputs, layers, first_only):
                for unit in units:
                    if unit.layer == layer:
                        pooled[unit] = self._pool(states, layout, unit.pooling)
            return self._fetch(torch.stack([pooled[unit] for unit in units], dim=1))

    @contextlib.contextmanager
    def _mode(self) -> Iterator[None]:
        """Compute without gradients, in the dtype asked for whatever the caller's modes, on the current device."""
        current = torch.cuda.device(self.device) if self.device.type == "cuda" else contextlib.nullcontext()
        as_asked = torch.autocast(self.device.type, enabled=False)
        with current, as_asked, torch.inference_mode(), exact_float32(self.device, self.dtype):
            yield

    def _fetch(self, pooled: torch.Tensor) -> Callable[[], np.ndarray]:
        """Bring vectors to the CPU; from a GPU beside its further work, without waiting here."""
        if self._copies is None:
            vectors = pooled.cpu().numpy()
            return lambda: vectors
        host = torch.empty(pooled.shape, dtype=pooled.dtype, device="cpu", pin_memory=True)
        self._copies.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._copies):
            host.copy_(pooled, non_blocking=True)
            done = torch.cuda.Event()
            done.record()
        pooled.record_stream(self._copies)  # not to be given to others before the copy is made

        def wait() -> np.ndarray:
            done.synchronize()
            return host.numpy()

        return wait

    def _pool(self, states: torch.Tensor, layout: PackedLayout, pooling: str) -> torch.Tensor:
        if pooling not in ("cls", "pooler"):
            return pool(states, layout, pooling)
        n_texts = len(layout.lengths)
        # As many states as texts: first tokens alone, of which the highest layer may consist.
        first = states if len(states) == n_texts else states[layout.borders[:-1].long()]
        if pooling == "cls":
            return first.float()
        if self._pooler is None:
            msg = f"pooling='pooler' needs a pooler, and a {type(self._model).__name__} has none. Use 'cls' or 'mean'."
            raise ModelFilesError(msg)
        return self._pooler(first[:, None, :].float())  # a pooler reads the first token of each row

    # -- the three forms ---------------------------------------------------------------------------------------

    def _inputs(self, batch: SequenceTable) -> tuple[PackedLayout, dict[str, torch.Tensor]]:
        """Return what the packed forms read, brought to the device in one piece."""
        names = ["input_ids", "position_ids"]
        columns = [batch.ids.astype(np.int64), self._positions(batch)]
        if self._takes_segments and batch.segments is not None:  # the model's own default is zeros
            names.append("token_type_ids")
            columns.append(batch.segments.astype(np.int64))
        whole = torch.from_numpy(np.concatenate([*columns, borders_of(batch.lengths)]))
        if self.device.type == "cuda":
            whole = whole.pin_memory()
        whole = whole.to(self.device, non_blocking=True)
        *parts, borders = whole.split([batch.n_tokens] * len(columns) + [len(batch) + 1])
        varlen = self._varlen or (self.device.type == "cuda" and not self.packs)
        layout = PackedLayout.of(batch.lengths, borders.int(), varlen=varlen)
        return layout, {name: part[None] for name, part in zip(names, parts, strict=True)}

    def _positions(self, batch: SequenceTable) -> np.ndarray:
        """Return the position of each token as the model counts them."""
        is_pad = batch.ids == self._pad_id
        if self._position_start == 0 or not is_pad.any():
            return batch.positions + self._position_start
        # Somebody wrote "<pad>". Families that count from behind the padding's position give padding none of its own.
        counts = np.cumsum(~is_pad)
        before = np.repeat(np.concatenate(([0], counts))[batch.starts], batch.lengths)
        return np.where(is_pad, self._pad_id, counts - before + self._pad_id)

    def _states(
        self,
        batch: SequenceTable,
        layout: PackedLayout,
        inputs: dict[str, torch.Tensor],
        layers: set[int],
        first_only: bool = False,
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield the states (tokens, width) of each layer asked for, texts end to end."""
        if self._stack is not None:
            embedded = self._model.embeddings(**inputs)
            if hasattr(self._model, "embeddings_project"):  # ELECTRA's are narrower than its layers
                embedded = self._model.embeddings_project(embedded)
            yield from self._stack.run(embedded[0], layout, layers, first_only=first_only)
            return
        # ModernBERT of transformers 5.0, which runs padded, has another last hidden state than last_hidden_state.
        wants_all = layers != {self._last} or not self.packs
        if not self.packs:
            inputs, mask = self._padded_inputs(batch)
            extra = {}
        else:
            extra = {"skbert_layout": layout}
        with self._forward_lock:
            outputs = self._model(**inputs, **extra, output_hidden_states=wants_all, return_dict=True)
        for layer in layers:
            states = outputs.hidden_states[layer] if wants_all else outputs.last_hidden_state
            yield layer, states[0] if self.packs else states[mask]

    def _padded_inputs(self, batch: SequenceTable) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Return the plain input of transformers, a padded batch with a mask, and the mask of what is no padding."""
        real = np.arange(batch.lengths.max())[None, :] < batch.lengths[:, None]
        inputs = {"input_ids": np.full(real.shape, self._pad_id), "attention_mask": real.astype(np.int64)}
        inputs["input_ids"][real] = batch.ids
        if self._takes_segments and batch.segments is not None:
            inputs["token_type_ids"] = np.zeros(real.shape, dtype=np.int64)
            inputs["token_type_ids"][real] = batch.segments
        mask = torch.from_numpy(real).to(self.device)
        return {name: torch.from_numpy(values).to(self.device) for name, values in inputs.items()}, mask

    def _choose_form(self, files: ModelFiles, device: torch.device, dtype: torch.dtype) -> None:
        """Take the fastest form that gives the padded form's states, in float32 and then where and as it will run."""
        self._own_attention = self._model.config._attn_implementation
        register_packed_attention()
        chosen = self._first_right(files, ("stack", "packed"), (0, self._pad_id + 1), half_bound(torch.float32))
        if (device, dtype) != (self.device, self.dtype):
            self.device, self.dtype = device, dtype
            self._stack = None
            self._model.to(device=device, dtype=dtype)
            if self._pooler is not None:
                self._pooler.to(device=device)  # in float32: one small product a text
            heads = getattr(self._model.config, "num_attention_heads", 1)
            self._varlen = supports_varlen(device, dtype, files.hidden_size // heads)
            # Once more, where and how it will run: another kernel, another rounding.
            forms = ("stack", "packed")[("stack", "packed").index(chosen) :] if chosen != "padded" else ()
            chosen = self._first_right(files, forms, (self._position_start,), half_bound(dtype))
        self._use(chosen)
        if self._stack is not None:  # it has the layers' weights, and one copy of them is enough
            for name in ("encoder", "transformer"):
                if hasattr(self._model, name):
                    setattr(self._model, name, None)

    def _first_right(self, files: ModelFiles, forms: Rows[str], position_starts: Rows[int], bound: float) -> str:
        """Return the first of `forms` whose last states equal the padded form's on a few sequences of random ids.

        The padded form runs with the model's own attention and its own
        positions, so that it owes nothing to this package. Positions begin at
        0, or after the padding index: that is found out too.
        """
        probes = self._probes(files.limit)
        try:
            expected = self._last_states("padded", probes)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            reason = f"{type(error).__name__}: {reason_of(error)}"
            msg = (
                f"The model in {str(files.folder)!r}, a {type(self._model).__name__}, does not run on texts alone, as "
                f"an encoder does: {reason}. Take a model of BERT's kind."
            )
            raise ModelFilesError(msg) from error
        scale = max(1.0, float(expected.abs().max()))
        kernels = (True, False) if self._varlen else (False,)  # attention by borders may be missing from a build
        for form, self._varlen, self._position_start in itertools.product(forms, kernels, position_starts):
            try:
                found = self._last_states(form, probes)
            except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
                if is_out_of_memory(error):
                    raise
                continue  # not every family can take a packed call at all
            if found.shape == expected.shape and bool((found - expected).abs().max() <= bound * scale):
                return form
        return "padded"

    def _last_states(self, form: str, probes: SequenceTable) -> torch.Tensor:
        self._use(form)
        with self._mode():
            layout, inputs = self._inputs(probes)
            (_, states), *_ = self._states(probes, layout, inputs, {self._last})
            return states.float()

    def _use(self, form: str) -> None:
        """Run in this form from now on; ValueError where the model is not of a kind that can."""
        self.form = form
        if form != "stack":
            self._stack = None
        elif self._stack is None:
            self._stack = LayerStack.of(self._model)
            if self._stack is None:
                msg = "other layers than BERT's"
                raise ValueError(msg)
        with quiet_transformers(), contextlib.suppress(ValueError):
            self._model.set_attn_implementation(PACKED if form == "packed" else self._own_attention)
        if form == "packed" and self._model.config._attn_implementation != PACKED:
            msg = "takes no attention function"
            raise ValueError(msg)

    def _probes(self, limit: int) -> SequenceTable:
        """Return sequences of random pieces between special tokens, none longer than `limit`."""
        special = set(map(int, self._special_ids()))
        size = min(self._model.config.vocab_size, 30_000)
        ordinary = np.array([k for k in range(size) if k not in special], dtype=np.int32)
        draw = np.random.default_rng(0)
        limit = max(limit, self.template.n_special + 1)
        return SequenceTable.of(
            [
                build_sequences(draw.choice(ordinary, n).tolist(), None, self.template, limit, "truncate")[0][0]
                for n in _PROBE_LENGTHS
            ]
        )

    def _special_ids(self) -> list[int]:
        return [token for token, added in self._backend.get_added_tokens_decoder().items() if added.special]
