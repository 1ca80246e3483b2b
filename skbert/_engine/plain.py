"""PlainModel: transformers' own padded forward, for what the packed forms do not tell. Upper part of the engine.

Attention weights never exist in the packed kernels, and those keep no way back to the word embeddings. Whoever wants
to look inside gets the model once more, as transformers runs it, in float32: slower, and kept only while in use.
"""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Iterator, Sequence as Rows
from typing import Any, NoReturn

import numpy as np
import torch

from skbert._engine.devices import exact_float32, is_out_of_memory
from skbert._engine.loading import load_model, quiet_transformers
from skbert._engine.sources import ModelFiles, reason_of
from skbert.exceptions import ModelFilesError

__all__ = ["PlainModel"]

_BOUND = 1e-5  # relative to the largest state, as for the packed forms


class PlainModel:
    """A frozen model that shows its attention, and takes embeddings in place of ids.

    Parameters
    ----------
    files : ModelFiles
    device : torch.device

    Attributes
    ----------
    pad_id : int
        Of the padding piece.
    pooler : module or None
        BERT's own pooler, which takes (n, 1, width) and reads the first token.
    """

    def __init__(self, files: ModelFiles, device: torch.device) -> None:
        self.device = device
        self._folder = str(files.folder)
        self._model, self.pooler, self.pad_id = load_model(files)
        with quiet_transformers(), contextlib.suppress(ValueError):
            self._model.set_attn_implementation("eager")  # the one that keeps its weights
        self._model.to(device)
        if self.pooler is not None:
            self.pooler.requires_grad_(False).to(device)
        takes = inspect.signature(self._model.forward).parameters
        self._takes_segments = "token_type_ids" in takes and getattr(self._model.config, "type_vocab_size", 0) > 1
        self._lock = threading.Lock()  # some versions collect states in wrappers of the model's own modules
        self._takes_embeddings: bool | None = None  # not known yet
        self._attention_shape: tuple[int, int] | None = None  # nor this

    @property
    def name(self) -> str:
        """The model's class, as an error names it."""
        return type(self._model).__name__

    def attentions(
        self, ids: np.ndarray, segments: np.ndarray, layers: Rows[int] | None = None, heads: Rows[int] | None = None
    ) -> np.ndarray:
        """Return the attention weights of one sequence.

        Parameters
        ----------
        ids, segments : int ndarrays of shape (n_tokens,)
        layers, heads : sequence of int or None, default=None
            Which ones, counted from 0; None is all.

        Returns
        -------
        float32 ndarray of shape (n_layers, n_heads, n_tokens, n_tokens)
            Row i says where token i looks; rows sum to 1.

        Raises
        ------
        ModelFilesError
            The model has no attention weights, or others than these.
        """
        n_layers, n_heads = self.attention_shape
        chosen = list(range(n_layers) if layers is None else layers)
        found = self._attentions(ids, segments)
        self._check_attentions(found, len(ids))
        out = np.empty((len(chosen), n_heads if heads is None else len(heads), len(ids), len(ids)), dtype=np.float32)
        for k, layer in enumerate(chosen):  # one by one: together they can be gigabytes
            weights = found[layer][0] if heads is None else found[layer][0, list(heads)]
            out[k] = weights.float().cpu().numpy()
        return out

    @property
    def attention_shape(self) -> tuple[int, int]:
        """How many layers and how many heads a layer `attentions` has; refuses models without such weights."""
        if self._attention_shape is None:
            config = self._model.config
            if getattr(config, "attention_type", None) == "block_sparse":  # what the model does depends on the length
                self._refuse_attention("it attends in blocks (attention_type='block_sparse')")
            # At two lengths: attention within a window gives a square at one.
            for size in (5, 12):
                ids = self._sample_ids(size)
                found = self._attentions(ids, np.zeros_like(ids))
                self._check_attentions(found, size)
            n_layers, n_heads = len(found), int(found[0].shape[1])
            expected = config.num_hidden_layers, config.num_attention_heads
            if (n_layers, n_heads) != expected:
                self._refuse_attention(
                    f"it shows those of {n_layers} layers with {n_heads} heads each, and its config.json names "
                    f"{expected[0]} and {expected[1]}"
                )
            self._attention_shape = n_layers, n_heads
        return self._attention_shape

    def _attentions(self, ids: np.ndarray, segments: np.ndarray) -> Any:
        with self.exact(), self._lock, torch.no_grad():
            try:
                return self._run(segments[None], input_ids=self._tensor(ids[None]), output_attentions=True).attentions
            except (TypeError, ValueError, AttributeError, NotImplementedError, RuntimeError, IndexError) as error:
                if is_out_of_memory(error):
                    raise
                self._refuse_attention(reason_of(error), error)

    def _check_attentions(self, found: Any, n_tokens: int) -> None:
        if not found or any(weights is None for weights in found):
            self._refuse_attention("it returned none")
        shapes = {tuple(weights.shape) for weights in found}
        shape = next(iter(shapes))
        if len(shapes) != 1 or len(shape) != 4 or shape[-2:] != (n_tokens, n_tokens):
            self._refuse_attention(f"for {n_tokens} pieces they have the shapes {sorted(shapes)}")
        if not all(torch.allclose(sums := weights.sum(-1), torch.ones_like(sums), atol=1e-3) for weights in found):
            self._refuse_attention("their rows do not sum to 1")

    def _refuse_attention(self, reason: str, error: Exception | None = None) -> NoReturn:
        msg = (
            f"The model in {self._folder!r}, a {self.name}, has no attention weights of every piece to every other one "
            f"to show: {reason}. Take a model whose layers attend as BERT's do."
        )
        raise ModelFilesError(msg) from error

    def embed(self, ids: np.ndarray) -> torch.Tensor:
        """Return the word embeddings (…, width) of ids, which the model's own embedding layer begins with.

        Raises
        ------
        ModelFilesError
            The model does not go on from them.
        """
        self._check_embeddings()
        with torch.no_grad():
            return self._model.get_input_embeddings()(self._tensor(ids))

    def states(
        self, embeddings: torch.Tensor, ids: np.ndarray, segments: np.ndarray, lengths: np.ndarray
    ) -> tuple[torch.Tensor, ...]:
        """Return the hidden states of sequences of word embeddings, with gradients where they are asked for.

        Parameters
        ----------
        embeddings : tensor of shape (n, n_tokens, width)
            What is behind a sequence's end does not count.
        ids, segments : int ndarrays of shape (n, n_tokens)
            The ids tell the positions, which some families count by them; behind the end they are `pad_id`.
        lengths : int ndarray of shape (n,)

        Returns
        -------
        tuple of n_layers + 1 tensors of shape (n, n_tokens, width)
        """
        mask = self._tensor((np.arange(embeddings.shape[1])[None, :] < lengths[:, None]).astype(np.int64))
        put_in: list[bool] = []

        def put(module: torch.nn.Module, args: Any, own: torch.Tensor) -> torch.Tensor:
            put_in.append(own.shape == embeddings.shape)
            return embeddings

        # In the place of what the embedding layer gives, and not as `inputs_embeds`: without ids, families that leave
        # padding out of their count of positions would count a "<pad>" that somebody wrote.
        with self.exact(), self._lock:
            hook = self._model.get_input_embeddings().register_forward_hook(put)
            try:
                out = self._run(segments, input_ids=self._tensor(ids), attention_mask=mask, output_hidden_states=True)
            finally:
                hook.remove()
        if put_in != [True]:
            msg = "the embedding layer is not called once"
            raise ValueError(msg)
        return tuple(out.hidden_states)

    def _check_embeddings(self) -> None:
        if self._takes_embeddings is None:
            ids = self._sample_ids(12)[None]
            segments = np.zeros_like(ids)
            try:
                with torch.no_grad():
                    embedded = self._model.get_input_embeddings()(self._tensor(ids))
                    found = self.states(embedded, ids, segments, np.array([ids.shape[1]]))[-1]
                    with self.exact(), self._lock:
                        out = self._run(segments, input_ids=self._tensor(ids), output_hidden_states=True)
                expected = out.hidden_states[-1]
                scale = max(1.0, float(expected.abs().max()))
                self._takes_embeddings = bool((found - expected).abs().max() <= _BOUND * scale)
            except (TypeError, ValueError, AttributeError, NotImplementedError, RuntimeError, MemoryError) as error:
                if is_out_of_memory(error):
                    raise
                self._takes_embeddings = False
        if not self._takes_embeddings:
            msg = (
                f"The model in {self._folder!r}, a {self.name}, gives no states, or others, where its word embeddings "
                "are put in from outside, so that its gradients would tell of another model. Use "
                "method='leave_one_out'."
            )
            raise ModelFilesError(msg)

    def _sample_ids(self, n_tokens: int) -> np.ndarray:
        size = min(self._model.config.vocab_size, 200)
        ids = np.random.default_rng(0).integers(size // 2, size, size=n_tokens)
        ids[ids == self.pad_id] += 1
        return ids

    def _run(self, segments: np.ndarray, **inputs: Any) -> Any:
        if self._takes_segments:
            inputs["token_type_ids"] = self._tensor(segments)
        return self._model(**inputs, return_dict=True)

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(values, dtype=np.int64)).to(self.device)

    @contextlib.contextmanager
    def exact(self) -> Iterator[None]:
        """Compute in float32 whatever the caller's modes; on a GPU without TF32."""
        as_asked = torch.autocast(self.device.type, enabled=False)
        with as_asked, exact_float32(self.device, torch.float32):
            yield
