"""LayerStack: BERT's own architecture over a loaded model's weights, in fewer and larger operations.

Middle of the engine: knows tensors and layouts, not texts; imports no model code. transformers' layers are written to
be read and changed: three products for query, key and value, a new tensor for every bias, residual and activation, all
layers whatever is asked for. Here a layer is four products over packed rows, the activation comes out of the third one
where the processor's library can do that, layers above the highest one asked for are left out, and where only first
tokens are asked for, the highest layer computes nothing else.

Whether that is the same computation is not known from a model's name: the encoder compares the states with the plain
padded forward's on load, and where they differ, or a layer has other parts, transformers' own layers run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch.nn.functional import layer_norm, linear

from skbert._engine.attention import PackedLayout, attend

__all__ = ["LayerStack"]


class _Norm(NamedTuple):
    weight: torch.Tensor
    bias: torch.Tensor
    eps: float

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        return layer_norm(states, self.weight.shape, self.weight, self.bias, self.eps)


class _Linear:
    """A product with fixed weights, with GELU behind it on request.

    On a CPU in float32 oneDNN's product takes weights that are brought into
    its own order once, which makes it up to 1.15 times as fast as the
    general one, and applies GELU while the result is still in the cache.
    PyTorch's compiler calls the same two operators; they have no public name,
    so that where they are not there, or don't do the same, the general
    product runs.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self.bias = bias
        self._ordered = _ordered(weight, bias)
        self._weight = weight if self._ordered is None else None  # one copy is enough

    def __call__(self, states: torch.Tensor, *, gelu: bool = False) -> torch.Tensor:
        if self._ordered is not None:
            return _ordered_product(states, self._ordered, self.bias, "gelu" if gelu else "none")
        assert self._weight is not None
        out = linear(states, self._weight, self.bias)
        return torch.ops.aten.gelu_(out) if gelu else out


def _ordered(weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor | None:
    """Return the weights in oneDNN's order, None where that is of no use here."""
    if weight.device.type != "cpu" or weight.dtype != torch.float32 or not torch.backends.mkldnn.is_available():
        return None
    try:
        ordered = torch.ops.mkldnn._reorder_linear_weight(weight, None)
        probe = torch.linspace(-1, 1, 3 * weight.shape[1], dtype=weight.dtype, device=weight.device).view(3, -1)
        found = _ordered_product(probe, ordered, bias, "gelu")
    except (RuntimeError, AttributeError, TypeError):
        return None
    expected = torch.nn.functional.gelu(linear(probe, weight, bias))
    return ordered if torch.allclose(found, expected, rtol=1e-4, atol=1e-4) else None


def _ordered_product(states: torch.Tensor, ordered: torch.Tensor, bias: torch.Tensor, after: str) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(states, ordered, bias, after, [], "none")


class _Layer(NamedTuple):
    qkv: _Linear  # the query's weights, then the key's, then the value's
    out: _Linear
    norm: _Norm
    up: _Linear
    activation: Callable[[torch.Tensor], torch.Tensor] | None  # None is exact GELU
    down: _Linear
    last_norm: _Norm


class LayerStack:
    """The layers of a BERT, for packed rows.

    Parameters
    ----------
    layers : list of _Layer
    heads : int
    scaling : float
        Factor of the attention's products.

    See Also
    --------
    LayerStack.of : Makes one from a model.
    """

    def __init__(self, layers: list[_Layer], heads: int, scaling: float) -> None:
        self._layers, self._heads, self._scaling = layers, heads, scaling

    @classmethod
    def of(cls, model: Any) -> LayerStack | None:
        """Take over the layers of a model, or return None where they are of another kind.

        They stay in their dtype and on their device; those of query, key and value are copied into one, and all of
        them where oneDNN's order is used.
        """
        if getattr(model.config, "attention_window", None) or hasattr(model.config, "attention_type"):
            return None  # Longformer and BigBird see all of a short text and less of a long one
        try:
            blocks = (model.encoder if hasattr(model, "encoder") else model.transformer).layer
            parts = [_parts_of(block) for block in blocks]
            heads = int(model.config.num_attention_heads)
        except (AttributeError, TypeError, ValueError):
            return None
        if not parts:
            return None
        size = parts[0].out.bias.shape[0] // heads
        return cls(parts, heads, size**-0.5)

    def run(
        self, states: torch.Tensor, layout: PackedLayout, layers: set[int], *, first_only: bool = False
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """Go through the layers, and stop at each one asked for.

        Parameters
        ----------
        states : tensor of shape (tokens, width)
            The embeddings: layer 0.
        layout : PackedLayout
        layers : set of int
            Those whose states are wanted; the highest is the last to be run.
        first_only : bool, default=False
            Whether of the highest one only the first token of each text is wanted.

        Yields
        ------
        layer : int
        states : tensor of shape (tokens, width)
            Of shape (n_texts, width) with `first_only` at the highest layer.
        """
        top, tokens = max(layers), len(states)
        if 0 in layers:
            yield 0, states[layout.borders[:-1].long()] if first_only and top == 0 else states
        states = _rounded(states)
        for number, layer in enumerate(self._layers[:top], start=1):
            states = self._step(layer, states, layout, first_only=first_only and number == top)
            if number in layers:
                yield number, states[: len(layout.lengths) if first_only and number == top else tokens]

    def _step(self, layer: _Layer, states: torch.Tensor, layout: PackedLayout, *, first_only: bool) -> torch.Tensor:
        width = states.shape[1]
        qkv = layer.qkv(states).view(len(states), 3, self._heads, width // self._heads)
        query, key, value = qkv.unbind(1)
        if first_only:
            firsts = layout.borders[:-1].long()
            query, states = query[firsts], _rounded(states[firsts])
        attended = attend(query, key, value, layout, self._scaling).view(len(query), width)
        if first_only:
            attended = _rounded(attended)
        middle = layer.norm(layer.out(attended).add_(states))
        inner = layer.up(middle, gelu=True) if layer.activation is None else layer.activation(layer.up(middle))
        return layer.last_norm(layer.down(inner).add_(middle))


def _rounded(states: torch.Tensor) -> torch.Tensor:
    """On a CPU, add rows of zeros, which belong to no text, up to a round number of rows.

    oneDNN prepares a product for each number of rows and keeps up to a
    thousand of them, 150 kB each; and batches of 2,031 and of 2,045 tokens
    leave holes of nearly fitting size behind them in the memory. Together that
    was 300 MB. There are 56 round numbers up to 2,048.
    """
    rows = len(states)
    extra = -rows % (64 if rows >= 512 else 32 if rows >= 256 else 16 if rows >= 128 else 8)
    if states.device.type != "cpu" or not extra:
        return states
    return torch.cat([states, states.new_zeros(extra, states.shape[1])])


def _parts_of(block: Any) -> _Layer:
    """Read one layer by the names that transformers gives its parts; AttributeError where there are others."""
    if hasattr(block, "sa_layer_norm"):  # DistilBERT
        attention, feed = block.attention, block.ffn
        projections = (attention.q_lin, attention.k_lin, attention.v_lin)
        rest = (attention.out_lin, block.sa_layer_norm, feed.lin1, feed.activation, feed.lin2, block.output_layer_norm)
    else:
        attention, output = block.attention, block.output
        projections = (attention.self.query, attention.self.key, attention.self.value)
        up, activation = block.intermediate.dense, block.intermediate.intermediate_act_fn
        rest = (attention.output.dense, attention.output.LayerNorm, up, activation, output.dense, output.LayerNorm)
    out, norm, up, activation, down, last_norm = rest
    taken = sum(part.weight.numel() + part.bias.numel() for part in (*projections, out, norm, up, down, last_norm))
    if taken != sum(weights.numel() for weights in block.parameters()):
        msg = "the layer has parts that none of these is"
        raise AttributeError(msg)
    qkv = _Linear(
        torch.cat([part.weight.detach() for part in projections]),
        torch.cat([part.bias.detach() for part in projections]),
    )
    return _Layer(
        qkv,
        _Linear(out.weight.detach(), out.bias.detach()),
        _norm_of(norm),
        _Linear(up.weight.detach(), up.bias.detach()),
        None if _is_exact_gelu(activation) else activation,
        _Linear(down.weight.detach(), down.bias.detach()),
        _norm_of(last_norm),
    )


def _norm_of(module: Any) -> _Norm:
    return _Norm(module.weight.detach(), module.bias.detach(), module.eps)


def _is_exact_gelu(activation: Callable[[torch.Tensor], torch.Tensor]) -> bool:
    probe = torch.linspace(-40, 40, 401, dtype=torch.float32, device="cpu")
    return torch.equal(activation(probe), torch.nn.functional.gelu(probe))
