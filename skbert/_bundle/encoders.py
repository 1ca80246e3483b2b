"""The frozen models of an estimator: found, taken out, copied and put back. Middle of the room.

Within a bundle every embedder's `model` is a mark, "bundle:encoders/0". What
it stands for is decided where the bundle is loaded.
"""

from __future__ import annotations

import copy
import functools
import os
import re
import shutil
import types
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from skbert._bundle.codec import describe
from skbert._classifier import BertSentimentClassifier
from skbert._embedder import BertEmbedder
from skbert._engine.pipeline_files import read_json
from skbert._engine.sources import ModelFiles, resolve_model
from skbert._params import check_params
from skbert._sklearn import CALLBACKS
from skbert._store.base import VectorStore
from skbert.exceptions import BundleError

__all__ = ["Encoder", "attach", "copy_encoder", "detach", "reachable", "snapshot"]

_MARK = re.compile(r"bundle:encoders/([0-9]{1,9})")
# What a model is, beside its weights: a list of what may come along, so that no pickle and no code does.
_TOKENIZER = ("tokenizer*", "vocab*", "special_tokens_map.json", "added_tokens.json", "merges.txt", "*.model")
_SUFFIXES = (".json", ".txt", ".model")
_PAPERS = ("LICENSE*", "LICENCE*", "NOTICE*", "README.md")  # whoever passes a model on passes its licence on


class Encoder(NamedTuple):
    """A frozen model that embedders of an estimator use."""

    files: ModelFiles
    model: str  # as the user named it; a folder by its absolute path where it is only referred to
    revision: str | None


def reachable(root: Any) -> Iterator[Any]:
    """Yield every object that is part of `root`, `root` included, each once; callbacks and stored vectors are none."""
    seen: dict[int, Any] = {}  # with the objects, lest an id be used again
    waiting = [root]
    while waiting:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, str | bytes | int | float | np.generic | type | types.ModuleType):
            continue
        seen[id(value)] = value
        yield value
        if isinstance(value, VectorStore):
            continue
        if isinstance(value, np.ndarray):
            waiting += value.ravel().tolist() if value.dtype == object else []
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple | set | frozenset):
            waiting += value
        elif isinstance(value, functools.partial):
            waiting += [value.func, *value.args, *value.keywords.values()]
        elif isinstance(value, types.MethodType):
            waiting.append(value.__self__)
        attributes = getattr(value, "__dict__", None)
        if isinstance(attributes, dict):
            waiting += [item for name, item in attributes.items() if not name.startswith(CALLBACKS)]


def snapshot(estimator: Any) -> Any:
    """Return a copy of the estimator that may be changed, without callbacks; arrays, which are not, are shared."""
    known: dict[int, Any] = {}
    for value in reachable(estimator):
        if isinstance(value, np.ndarray) and value.dtype != object:
            known[id(value)] = value
        for name, item in list(getattr(value, "__dict__", {}).items()):
            if name.startswith(CALLBACKS):
                known[id(item)] = None  # not copied: it may hold anything, open files and locks among it
    try:
        copied = copy.deepcopy(estimator, known)
    except Exception as error:
        msg = (
            f"{describe(estimator)[2:]} cannot be copied, and so not be saved: {type(error).__name__}: {error}. "
            "Remove what holds open files, locks or connections from its parameters."
        )
        raise BundleError(msg) from error
    for value in reachable(copied):
        attributes = getattr(value, "__dict__", {})
        for name in [name for name in attributes if name.startswith(CALLBACKS)]:
            del attributes[name]
    return copied


def detach(estimator: Any, how: str) -> list[Encoder]:
    """Replace the `model` of every embedder within `estimator` by a mark, and return what the marks stand for.

    Parameters
    ----------
    estimator : estimator
        Is changed.
    how : {'copy', 'reference'}
        Whether models are one where their content is, or where their name is.

    Returns
    -------
    list of Encoder
        In the order of the marks' numbers.

    Raises
    ------
    FingerprintError
        The weights are not those of a fit.
    ModelNotFoundError, ModelFilesError
        A model cannot be had, or not be used.
    """
    found = list(reachable(estimator))
    uses: list[tuple[BertEmbedder, ModelFiles, BertEmbedder]] = []  # embedder, its files, and where they are named
    for classifier in (value for value in found if isinstance(value, BertSentimentClassifier)):
        source = classifier._source()
        if not isinstance(source, BertEmbedder):
            continue  # no parameter that `fit` would take; it is kept as any other value
        if classifier.embedder is None and how == "copy":
            classifier.embedder = source  # what None stands for would be looked for under its name
        fitted = getattr(classifier, "embedder_", None)
        concerned = [embedder for embedder in (classifier.embedder, fitted) if embedder is not None]
        if concerned:
            serving = source if fitted is None else classifier._serving_embedder()
            check_params(serving)
            files = serving._resolve()
            uses += [(embedder, files, source) for embedder in concerned]
    known = {id(embedder) for embedder, _, _ in uses}
    for embedder in (value for value in found if isinstance(value, BertEmbedder) and id(value) not in known):
        check_params(embedder)
        uses.append((embedder, embedder._resolve(), embedder))

    encoders: dict[Any, Encoder] = {}
    marks = []
    for _, files, source in uses:
        named = os.fspath(source.model)
        if how == "reference" and os.path.isdir(os.path.expanduser(named)):
            named = os.path.abspath(os.path.expanduser(named))  # a relative path means something only here
        key = _identity(files) if how == "copy" else (named, source.revision)
        encoders.setdefault(key, Encoder(files, named, source.revision))
        marks.append(f"bundle:encoders/{list(encoders).index(key)}")
    for (embedder, _, _), mark in zip(uses, marks, strict=True):  # last of all, since two may share an embedder
        embedder.model = mark
        if isinstance(embedder.cache, os.PathLike):
            embedder.cache = os.fspath(embedder.cache)  # a path of this system may be of no class on another
    return list(encoders.values())


def attach(estimator: Any, models: list[str]) -> None:
    """Replace each mark by the model that it stands for.

    Raises
    ------
    BundleError
        An embedder has no mark, or one that stands for nothing. A bundle's
        embedders read what the bundle names, and nothing else.
    """
    for value in reachable(estimator):
        if isinstance(value, BertEmbedder):
            match = _MARK.fullmatch(str(getattr(value, "model", None)))
            if match is None or int(match[1]) >= len(models):
                msg = (
                    f"An embedder of the bundle has model={getattr(value, 'model', None)!r}, which is none of the "
                    f"{len(models)} encoders of the bundle. It was not made by save_bundle."
                )
                raise BundleError(msg)
            value.model = models[int(match[1])]


def copy_encoder(encoder: Encoder, target: Path) -> None:
    """Copy the files that make a model, and see that the copy is the same model.

    Parameters
    ----------
    encoder : Encoder
        What to copy.
    target : Path
        The folder to make.

    Raises
    ------
    BundleError
        The model's files lie where they cannot be copied from, or the copy is
        another model.
    """
    files = encoder.files
    inside = PurePosixPath(files.settings.subfolder)
    if inside.is_absolute() or ".." in inside.parts:
        msg = (
            f"The model {encoder.model!r} keeps its weights outside its folder (modules.json says "
            f"{files.settings.subfolder!r}), so it cannot be copied. Save with encoder='reference'."
        )
        raise BundleError(msg)
    root = files.folder.parents[len(inside.parts) - 1] if inside.parts else files.folder
    for path in sorted(_paths(root, files)):
        copied = target / path.relative_to(root)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copied)
    if _identity(resolve_model(target)) != _identity(files):
        msg = (
            f"The copy of the model {encoder.model!r} is not the same model: its files were changed while they were "
            "copied. Save again."
        )
        raise BundleError(msg)


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


def _identity(files: ModelFiles) -> ModelFiles:
    """Return what two copies of a model have in common."""
    return files._replace(name="", folder=Path(), weights=())
