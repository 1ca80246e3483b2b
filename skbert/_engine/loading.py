"""From a model's files to its tokenizer and its frozen modules, quietly. Upper part of the engine."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any

import torch
import transformers
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from transformers.utils import logging as transformers_logging

from skbert._engine.sources import ModelFiles, reason_of
from skbert._engine.tokens import Template
from skbert.exceptions import ModelFilesError

__all__ = [
    "load_model",
    "load_tokenizer",
    "load_tokenizer_and_unknown",
    "probe_template",
    "quiet_transformers",
]


def load_tokenizer(files: ModelFiles) -> Any:
    return load_tokenizer_and_unknown(files)[0]


def load_tokenizer_and_unknown(files: ModelFiles) -> tuple[Any, int | None]:
    """Return the fast tokenizer, and the id of the piece that stands for what it does not know, if it has one."""
    try:
        with quiet_transformers():
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                files.folder, local_files_only=True, trust_remote_code=False
            )
            unknown = tokenizer.unk_token_id
    except Exception as error:
        msg = f"The tokenizer in {str(files.folder)!r} cannot be used: {type(error).__name__}: {reason_of(error)}"
        raise ModelFilesError(msg) from error
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        msg = (
            f"The tokenizer in {str(files.folder)!r} is a {type(tokenizer).__name__}, which is no fast tokenizer: it "
            "does not tell which characters became which piece. Take a model whose tokenizer has a tokenizer.json."
        )
        raise ModelFilesError(msg)
    backend.no_padding()
    backend.no_truncation()
    return backend, unknown


def probe_template(backend: Any, files: ModelFiles) -> Template:
    for word in ("a", "the", "1", "."):
        if backend.encode(word, add_special_tokens=False).ids:
            return Template.probe(backend, word)
    msg = (
        f"The tokenizer in {str(files.folder)!r} makes no piece of the simplest words. Save it again beside its model."
    )
    raise ModelFilesError(msg)


class _NoPooler(torch.nn.Module):
    """Stands where some models call their pooler without asking whether there is one."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return the states, which nobody reads; ALBERT and BigBird go on computing with what they get."""
        return states


def load_model(files: ModelFiles) -> tuple[Any, Any, int]:
    """Return the frozen model without its pooler, the pooler or None, and the padding id."""
    try:
        # fork_rng: transformers draws random values for weights that a file lacks, from the user's own generator.
        # torch.device: the user's default device may be another.
        with quiet_transformers(), torch.random.fork_rng(devices=[]), torch.device("cpu"):
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
        msg = f"The model in {str(files.folder)!r} cannot be loaded: {type(error).__name__}: {reason_of(error)}"
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
        model.pooler = _NoPooler()  # it would read one row's first token; `Encoder` gives it every text's
    pad_id = model.config.pad_token_id
    return model, pooler if files.has_pooler else None, 0 if pad_id is None else int(pad_id)


_quiet_lock = threading.RLock()


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
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
