"""From an embedder's parameters and a model's files to the spec of its vectors. Part of ``_embedder``."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from skbert._engine.devices import resolve_devices, resolve_dtype
from skbert._engine.encode import EncodeOptions
from skbert._engine.probing import is_quiet, may_store
from skbert._engine.sources import ModelFiles
from skbert._engine.spec import EncoderSpec, Unit
from skbert._store.caches import open_store
from skbert.exceptions import InvalidParameterError, ModelFilesError

__all__ = ["make_plan", "prompt_of", "token_limit", "units_asked"]

_POOLINGS = ("mean", "cls", "max")


def make_plan(embedder: Any, files: ModelFiles) -> tuple[EncoderSpec, EncodeOptions]:
    """Return the identity of the vectors asked for, and how they are to be made."""
    devices = resolve_devices(embedder.device, type(embedder).__name__)
    dtype = resolve_dtype(embedder.dtype, devices)
    spec = EncoderSpec(
        weights=files.weights_sha256,
        config=files.config_digest,
        tokenizer=files.tokenizer_digest,
        max_length=token_limit(embedder, files),
        long_texts=embedder.long_texts if embedder.long_texts in ("head_tail", "chunk") else "truncate",
        prompt=prompt_of(embedder, files),
        dtype=str(dtype).removeprefix("torch."),
        units=units_asked(embedder, files),
    )
    normalize = embedder.normalize
    if normalize == "auto":
        normalize = embedder.pooling == "auto" and files.settings.normalize
    options = EncodeOptions(
        files=files,
        devices=devices,
        dtype=dtype,
        store=open_store(embedder.cache) if may_store() else None,
        normalize=bool(normalize),
        long_texts=spec.long_texts if is_quiet() else embedder.long_texts,
        extra_units=_extra_units(embedder, files),
        batch_tokens=embedder.batch_tokens,
        verbose=0 if is_quiet() else int(embedder.verbose),
        name=os.path.abspath(embedder.model) if os.path.isdir(embedder.model) else str(embedder.model),
        estimator=type(embedder).__name__,
    )
    return spec, options


def units_asked(embedder: Any, files: ModelFiles) -> tuple[Unit, ...]:
    """Return the layers and the pooling asked for, layers counted from 0."""
    pooling = _pooling(embedder, files)
    asked = [int(layer) for layer in np.atleast_1d(np.asarray(embedder.layers))]
    layers = [_layer(embedder, layer, files, "layers") for layer in asked]
    if pooling == "pooler":
        if layers != [files.n_layers]:
            msg = (
                f"pooling='pooler' reads the last layer only: the 'layers' parameter of {type(embedder).__name__} "
                f"must be -1. Got {embedder.layers!r} instead."
            )
            raise InvalidParameterError(msg)
        if not files.has_pooler:
            msg = (
                f"pooling='pooler' needs pooler weights, and the file of {str(embedder.model)!r} has none. "
                "Use pooling='cls' or 'mean'."
            )
            raise ModelFilesError(msg)
    return tuple(Unit(layer, pooling) for layer in layers)


def _pooling(embedder: Any, files: ModelFiles) -> str:
    if embedder.pooling != "auto":
        return embedder.pooling
    if files.settings.unsupported is not None:
        msg = (
            f"pooling='auto' does as the files of {str(embedder.model)!r} say, and they ask for "
            f"{files.settings.unsupported}, which skbert does not have. Choose pooling='mean', 'cls' or 'max' "
            "to go without."
        )
        raise ModelFilesError(msg)
    return files.settings.pooling or "mean"


def _extra_units(embedder: Any, files: ModelFiles) -> tuple[Unit, ...]:
    if embedder.store_layers is None:
        return ()
    if isinstance(embedder.store_layers, str):  # "all"
        layers = list(range(files.n_layers + 1))
    else:
        layers = [_layer(embedder, int(layer), files, "store_layers") for layer in embedder.store_layers]
    return tuple(Unit(layer, pooling) for layer in layers for pooling in _POOLINGS)


def _layer(embedder: Any, layer: int, files: ModelFiles, parameter: str) -> int:
    count = files.n_layers + 1  # the embeddings are hidden state 0
    if not -count <= layer < count:
        msg = (
            f"The {parameter!r} parameter of {type(embedder).__name__} must be in the range [-{count}, {count - 1}] "
            f"for {str(embedder.model)!r}, which has {files.n_layers} layers over its embeddings. Got {layer} instead."
        )
        raise InvalidParameterError(msg)
    return layer % count


def prompt_of(embedder: Any, files: ModelFiles) -> str:
    """Return what is put before each text."""
    return (files.settings.prompt or "") if embedder.prompt is None else embedder.prompt


def token_limit(embedder: Any, files: ModelFiles) -> int:
    """Return the longest input in tokens, special ones counted."""
    if embedder.max_length is None:
        return files.default_length
    if embedder.max_length > files.limit:
        msg = (
            f"The 'max_length' parameter of {type(embedder).__name__} must be None or an int of at most "
            f"{files.limit}, the limit of {str(embedder.model)!r} in tokens. Got {embedder.max_length} instead. "
            "For longer texts see long_texts='chunk' and 'head_tail'."
        )
        raise InvalidParameterError(msg)
    return int(embedder.max_length)
