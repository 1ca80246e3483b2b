"""The frozen models of an estimator: found, taken out and put back. Middle of the room.

Within a bundle every embedder's `model` is a mark, "bundle:encoders/0". What
it stands for is decided where the bundle is loaded.
"""

from __future__ import annotations

import copy
import functools
import os
import re
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from skbert._bundle.codec import describe
from skbert._bundle.copies import identity
from skbert._classifier import BertSentimentClassifier
from skbert._embedder import BertEmbedder
from skbert._engine.sources import ModelFiles, is_here, resolve_model
from skbert._params import check_params
from skbert._sklearn import CALLBACKS
from skbert._store.base import VectorStore
from skbert.exceptions import BundleError, FingerprintError, SkbertError

__all__ = ["Encoder", "Model", "attach", "detach", "reachable", "snapshot"]

_MARK = re.compile(r"bundle:encoders/([0-9]{1,9})")


class Encoder(NamedTuple):
    """A frozen model that embedders of an estimator use."""

    files: ModelFiles
    model: str  # as the user named it; a folder by its absolute path where it is only referred to
    revision: str | None


class Model(NamedTuple):
    """What a mark stands for where a bundle is loaded."""

    place: str  # a folder or a name
    fingerprint: str | None  # of a model that is only referred to
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
            serving._resolve()  # refuses other weights than those of the fit
            files = resolve_model(source.model, source.revision)
            uses += [(embedder, files, source) for embedder in concerned]
    known = {id(embedder) for embedder, _, _ in uses}
    for embedder in (value for value in found if isinstance(value, BertEmbedder) and id(value) not in known):
        check_params(embedder)
        embedder._resolve()
        uses.append((embedder, resolve_model(embedder.model, embedder.revision), embedder))

    encoders: dict[Any, Encoder] = {}
    marks = []
    for _, files, source in uses:
        named = os.fspath(source.model)
        if how == "reference" and os.path.isdir(os.path.expanduser(named)):
            named = os.path.abspath(os.path.expanduser(named))  # a relative path means something only here
        key = identity(files) if how == "copy" else (named, source.revision)
        encoders.setdefault(key, Encoder(files, named, source.revision))
        marks.append(f"bundle:encoders/{list(encoders).index(key)}")
    for (embedder, _, _), mark in zip(uses, marks, strict=True):  # last of all, since two may share an embedder
        embedder.model = mark
        if isinstance(embedder.cache, os.PathLike):
            embedder.cache = os.fspath(embedder.cache)  # a path of this system may be of no class on another
    return list(encoders.values())


def attach(estimator: Any, models: list[Model]) -> None:
    """Replace each mark by the model that it stands for.

    Raises
    ------
    BundleError
        An embedder has no mark, or one that stands for nothing. A bundle's
        embedders read what the bundle names, and nothing else.
    FingerprintError
        An embedder would use other weights than it was saved with, and has no
        fit that would notice.
    """
    found = list(reachable(estimator))
    fitted = [value for value in found if isinstance(value, BertSentimentClassifier) and "embedder_" in vars(value)]
    # These notice when they are used, and until then can be pointed elsewhere.
    noticing = {id(value.embedder) for value in fitted}
    for value in (value for value in found if isinstance(value, BertEmbedder)):
        match = _MARK.fullmatch(str(getattr(value, "model", None)))
        if match is None or int(match[1]) >= len(models):
            msg = (
                f"An embedder of the bundle has model={getattr(value, 'model', None)!r}, which is none of the "
                f"{len(models)} encoders of the bundle. It was not made by save_bundle."
            )
            raise BundleError(msg)
        model = models[int(match[1])]
        value.model = model.place
        if id(value) not in noticing and not hasattr(value, "fingerprint_"):
            _check_reference(model)


def _check_reference(model: Model) -> None:
    """Refuse other weights than those that were saved; what is not on this machine can be told by nobody yet."""
    if model.fingerprint is None or not is_here(model.place, model.revision):
        return
    try:
        files = resolve_model(model.place, model.revision)
    except SkbertError:
        return  # its use will say what is wrong with the files
    if not files.is_model_of(model.fingerprint):
        msg = (
            f"The bundle was saved by reference to the model {model.place!r} with\n  {model.fingerprint}\nbut here it "
            f"is\n  {files.fingerprint}\nTheir vectors have nothing in common. Put the former files there, or save the "
            "bundle with encoder='copy'."
        )
        raise FingerprintError(msg)
