"""What a model's sentence-transformers files say: pooling, normalising, length, prompt. Reads small JSON files only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from skbert.exceptions import ModelFilesError

__all__ = ["SentenceSettings", "read_json", "read_sentence_settings"]

_POOLINGS = ("mean", "cls", "max")
# The booleans of older files, and the names that newer ones write.
_OLD_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


class SentenceSettings(NamedTuple):
    """What the files say; every field has its neutral value where they say nothing.

    `unsupported` is why ``pooling="auto"`` cannot be honoured, or None.
    """

    pooling: str | None = None
    normalize: bool = False
    max_seq_length: int | None = None
    lowercase: bool = False
    prompt: str | None = None
    unsupported: str | None = None
    subfolder: str = ""


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, None where there is no file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        msg = f"The file {str(path)!r} cannot be read as JSON: {error}. Download the model again."
        raise ModelFilesError(msg) from error


def read_sentence_settings(folder: Path) -> SentenceSettings:
    """Read the sentence-transformers files in a model's folder, if there are any."""
    modules = read_json(folder / "modules.json")
    if not isinstance(modules, list):
        return SentenceSettings()
    pooling, normalize, unsupported, subfolder = None, False, None, ""
    for module in sorted(modules, key=lambda entry: entry.get("idx", 0)):
        kind, path = str(module.get("type", "")).rpartition(".")[2], str(module.get("path", ""))
        if kind == "Transformer":
            subfolder = path
        elif kind == "Pooling" and pooling is None:
            pooling, problem = _read_pooling(folder / path)
            unsupported = unsupported or problem
        elif kind == "Normalize":
            normalize = True
        elif kind != "Dropout":  # dropout does nothing in a frozen model
            unsupported = unsupported or f"a module {kind or 'without a type'}"
    stated: dict[str, Any] = {}
    for file in sorted((folder / subfolder).glob("sentence_*_config.json")):
        stated |= read_json(file) or {}
    return SentenceSettings(
        pooling=pooling,
        normalize=normalize,
        max_seq_length=stated.get("max_seq_length"),
        lowercase=bool(stated.get("do_lower_case", False)),
        prompt=_read_prompt(folder),
        unsupported=unsupported,
        subfolder=subfolder,
    )


def _read_pooling(folder: Path) -> tuple[str | None, str | None]:
    """Return the pooling in a module's folder, and what there cannot be honoured."""
    config = read_json(folder / "config.json") or {}
    stated = config.get("pooling_mode")
    modes = [stated] if isinstance(stated, str) else list(stated or [])
    modes += [name for key, name in _OLD_MODES.items() if config.get(key)]
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        return None, f"the pooling {'+'.join(map(str, modes)) or 'that its config.json leaves open'}"
    if config.get("include_prompt") is False:
        return modes[0], "a pooling that leaves the prompt out (include_prompt=false)"
    return modes[0], None


def _read_prompt(folder: Path) -> str | None:
    config = read_json(folder / "config_sentence_transformers.json") or {}
    name = config.get("default_prompt_name")
    return (config.get("prompts") or {}).get(name) if name else None
