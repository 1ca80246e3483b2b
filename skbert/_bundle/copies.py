"""The files of a model within a bundle: which they are, copied, and looked at before they are used. Low in the room."""

from __future__ import annotations

import fnmatch
import os
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from skbert._engine.pipeline_files import read_json
from skbert._engine.sources import ModelFiles, resolve_model
from skbert.exceptions import BundleError

__all__ = ["check_inside", "copy_model", "identity"]

# What a model is, beside its weights: a list of what may come along, so that no pickle and no code does.
_TOKENIZER = ("tokenizer*", "vocab*", "special_tokens_map.json", "added_tokens.json", "merges.txt", "*.model")
_SUFFIXES = (".json", ".txt", ".model")
_SETTINGS = ("config.json", "modules.json", "config_sentence_transformers.json", "sentence_*_config.json")
_WEIGHTS = ("*.safetensors", "model.safetensors.index.json")
_PAPERS = ("LICENSE*", "LICENCE*", "NOTICE*", "README.md")  # whoever passes a model on passes its licence on
# In tokenizer_config.json: read by nobody, and in many a published model a path of the machine that made it.
_IDLE = ("special_tokens_map_file",)


def copy_model(files: ModelFiles, model: str, target: Path) -> None:
    """Copy the files that make a model, and see that the copy is the same model.

    Parameters
    ----------
    files : ModelFiles
        What to copy.
    model : str
        As the user named it.
    target : Path
        The folder to make.

    Raises
    ------
    BundleError
        The model's files lie where they cannot be copied from, or the copy is
        another model.
    """
    inside = PurePosixPath(files.settings.subfolder)
    if inside.is_absolute() or ".." in inside.parts:
        msg = (
            f"The model {model!r} keeps its weights outside its folder (modules.json says "
            f"{files.settings.subfolder!r}), so it cannot be copied. Save with encoder='reference'."
        )
        raise BundleError(msg)
    root = files.folder.parents[len(inside.parts) - 1] if inside.parts else files.folder
    for path in sorted(_paths(root, files)):
        copied = target / path.relative_to(root)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copied)
    check_inside(target)  # what would be refused when it is loaded is better refused now
    if identity(resolve_model(target)) != identity(files):
        msg = (
            f"The copy of the model {model!r} is not the same model: its files were changed while they were "
            "copied. Save again."
        )
        raise BundleError(msg)


def identity(files: ModelFiles) -> ModelFiles:
    """Return what two copies of a model have in common."""
    return files._replace(name="", folder=Path(), weights=())


def check_inside(folder: Path) -> None:
    """Refuse a model that has other files than a copied one, or whose files name others outside of its folder.

    Another library may follow what is in them: an adapter_config.json, say,
    to the model that the adapter is for.

    Raises
    ------
    BundleError
        There is such a file.
    """
    for path in folder.rglob("*"):
        if path.is_dir() or path.name.startswith("."):
            continue
        if not _is_a_models(path.name):
            msg = (
                f"The bundle's file {str(path)!r} is none that save_bundle copies with a model, and may change what "
                "the model does. Remove it, and save again."
            )
            raise BundleError(msg)
        for name in _named(path):
            if os.path.isabs(name) or ".." in PurePosixPath(name.replace("\\", "/")).parts or ":" in name:
                msg = (
                    f"The model's file {path.name!r} names a file outside of the model's folder, {name!r}, which a "
                    "bundle does not follow. Save with encoder='reference'."
                )
                raise BundleError(msg)


def _is_a_models(name: str) -> bool:
    patterns = (*_SETTINGS, *_WEIGHTS, *_PAPERS, *(_TOKENIZER if Path(name).suffix in _SUFFIXES else ()))
    # In any case, since some systems find `license.txt` when they look for LICENSE*.
    return any(fnmatch.fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)


def _named(path: Path) -> Iterator[str]:
    """Yield the files that one of a model's files names."""
    content: Any = read_json(path) if path.suffix == ".json" else None
    if path.name == "modules.json" and isinstance(content, list):
        yield from (str(entry.get("path", "")) for entry in content if isinstance(entry, dict))
    elif path.name.endswith(".index.json") and isinstance(content, dict):
        weights = content.get("weight_map")
        yield from map(str, weights.values() if isinstance(weights, dict) else [])
    elif path.name == "tokenizer_config.json" and isinstance(content, dict):
        for key, value in content.items():
            if key.endswith(("_file", "_files")) and key not in _IDLE:
                yield from (str(name) for name in (value if isinstance(value, list) else [value]) if name)


def _paths(root: Path, files: ModelFiles) -> set[Path]:
    """Return the files to copy: weights, configuration, tokenizer, what sentence-transformers says, and the licence."""
    model = files.folder
    paths = {*files.weights, model / "config.json", model / "model.safetensors.index.json"}
    paths |= {path for pattern in _TOKENIZER for path in model.glob(pattern) if path.suffix in _SUFFIXES}
    paths |= set(model.glob("sentence_*_config.json"))
    paths |= {root / "modules.json", root / "config_sentence_transformers.json"}
    paths |= {path for pattern in _PAPERS for path in root.glob(pattern)}
    for module in read_json(root / "modules.json") or []:
        place = PurePosixPath(str(module.get("path", "")))
        if place.parts and not place.is_absolute() and ".." not in place.parts:
            paths.add(root / place / "config.json")
    return {path for path in paths if path.is_file()}
