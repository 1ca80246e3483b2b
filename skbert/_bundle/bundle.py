"""save_bundle and load_bundle. Top of the room."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, numpy as safetensors

from skbert._bundle.codec import Reader, Writer, describe
from skbert._bundle.encoders import attach, copy_encoder, detach, snapshot
from skbert._bundle.manifest import ARRAYS, MANIFEST, part_name, read_manifest, write_manifest
from skbert._bundle.parts import check_trusted, load_part, save_part
from skbert.exceptions import BundleError, InvalidParameterError

__all__ = ["load_bundle", "save_bundle"]

_OWN = {MANIFEST, ARRAYS, "encoders", "parts"}


def save_bundle(
    estimator: Any, folder: str | os.PathLike[str], *, encoder: str = "copy", overwrite: bool = False
) -> Path:
    """Save an estimator to a folder that holds no pickle, and with it the models that it needs.

    The folder can be copied to a machine without a network, and loaded there
    with :func:`load_bundle`. It predicts to the bit what the estimator
    predicts here, on the same hardware.

    Parameters
    ----------
    estimator : estimator
        A `TextCleaner`, `BertEmbedder`, `BertSentimentClassifier` or
        `HeadClassifier`, a scikit-learn pipeline of them, or any estimator of
        scikit-learn that holds some. Fitted or not; it is not changed. What is
        not skbert's own, nor a pipeline, is kept by skops: ``pip install
        'skbert[skops]'``.
    folder : str or path
        Where to save. It is made; it may be there if it is empty.
    encoder : {'copy', 'reference'}, default='copy'
        "copy" puts the files of each model into the bundle, once for all the
        embedders that use it (88 MB for all-MiniLM-L6-v2). "reference" writes
        down the model's name or absolute path, and its fingerprint: a few
        hundred kilobytes in all, for a machine that has the model.
    overwrite : bool, default=False
        Whether to replace an older bundle in `folder`. Anything else there is
        never replaced.

    Returns
    -------
    Path
        The folder, as an absolute path.

    Raises
    ------
    BundleError
        The estimator holds something that a bundle cannot hold, which is
        named, or there is something in `folder`.
    FingerprintError
        A model's weights are not those of the fit any more.
    ModelNotFoundError, ModelFilesError
        A model cannot be had, or its files cannot be used.

    See Also
    --------
    load_bundle : Gives the estimator back.

    Notes
    -----
    *Layout.* ``bundle.json`` (parameters, texts, and the size and SHA-256 of
    every other file), ``arrays.safetensors`` (all numbers), ``encoders/0/``
    (the files of a model), ``parts/0.skops`` (what skops keeps).

    *All or nothing.* The bundle is written beside `folder`, under a name that
    begins with a dot, and moved there when it is whole. With
    ``overwrite=True`` the older one is moved away a moment before.

    *What is left out.* Callbacks, and the vectors of a `MemoryStore`, which
    comes back empty. ``cache="some/folder"`` is kept as it is given.
    ``embedder=None`` of a classifier becomes the `BertEmbedder` that it stands
    for, where the encoder is copied.

    Examples
    --------
    >>> import tempfile
    >>> from skbert import BertEmbedder, BertSentimentClassifier, load_bundle, save_bundle
    >>> X = ["great answer", "what a bore", "loved it", "painful to watch"]
    >>> classifier = BertSentimentClassifier(BertEmbedder("all-MiniLM-L6-v2"), early_stopping=False, random_state=0)
    >>> classifier = classifier.fit(X, [1, 0, 1, 0])
    >>> with tempfile.TemporaryDirectory() as place:
    ...     folder = save_bundle(classifier, f"{place}/sentiment")
    ...     loaded = load_bundle(folder)
    ...     (loaded.predict_proba(X) == classifier.predict_proba(X)).all()
    np.True_
    """
    if not hasattr(estimator, "get_params") or isinstance(estimator, type):
        msg = f"The 'estimator' parameter of save_bundle must be an estimator. Got {estimator!r} instead."
        raise InvalidParameterError(msg)
    if encoder not in ("copy", "reference"):
        msg = (
            "The 'encoder' parameter of save_bundle must be a str among {'copy', 'reference'}. "
            f"Got {encoder!r} instead."
        )
        raise InvalidParameterError(msg)
    target = _place(folder, "save_bundle")
    _check_free(target, overwrite)
    taken = snapshot(estimator)
    encoders = detach(taken, encoder)
    with _beside(target) as made:
        parts: list[str] = []

        def keep(part: Any, where: str) -> int:
            parts.append(where)
            save_part(part, made / part_name(len(parts) - 1), where)
            return len(parts) - 1

        writer = Writer(keep)
        try:
            tree = writer.write(taken, type(estimator).__name__)
        except RecursionError as error:
            msg = f"The {type(estimator).__name__} holds itself, or is nested too deeply for a bundle."
            raise BundleError(msg) from error
        safetensors.save_file(writer.arrays, made / ARRAYS)
        if encoder == "copy":
            for number, entry in enumerate(encoders):
                copy_encoder(entry, made / "encoders" / str(number))
        facts = [
            {"how": encoder, "model": entry.model, "revision": entry.revision, "fingerprint": entry.files.fingerprint}
            for entry in encoders
        ]
        write_manifest(made, tree, facts)
        _check_free(target, overwrite)  # once more: copying takes a while
        _move(made, target)
    return target


def load_bundle(folder: str | os.PathLike[str], *, trusted: Sequence[str | type] | None = None) -> Any:
    """Load the estimator that :func:`save_bundle` saved.

    No code of the bundle is run, whoever made it: a name in it is one of a
    short list of classes, or an error. Every file is checked against its
    SHA-256 first.

    Parameters
    ----------
    folder : str or path
        The bundle; it may have been moved or copied since.
    trusted : list of str or type, default=None
        Types, or their full names, that skops may load beyond its own list and
        skbert's: steps that are neither scikit-learn's nor skbert's. Loading
        runs their code, so name only what you know. An error says which are
        there.

    Returns
    -------
    estimator
        As it was saved. Its embedders' `model` is the copy in the bundle's
        folder, which therefore has to stay, or the name that was saved.

    Raises
    ------
    BundleError
        The folder is no bundle, something in it is missing or damaged, or it
        holds what may not be loaded.
    StateFormatError
        A newer skbert wrote it.

    See Also
    --------
    save_bundle : Saves an estimator, and has an example.

    Notes
    -----
    A bundle says which folder vectors are kept in (`cache`), on which device
    to compute, and with ``encoder="reference"`` which model to use, and the
    estimator does so when it is used: look at its parameters if the bundle is
    from somebody else. The digests show damage, not who made the bundle.

    Examples
    --------
    >>> import tempfile
    >>> from skbert import TextCleaner, load_bundle, save_bundle
    >>> with tempfile.TemporaryDirectory() as place:
    ...     folder = save_bundle(TextCleaner(case="lower"), f"{place}/cleaner")
    ...     load_bundle(folder)
    TextCleaner(case='lower')
    """
    known = check_trusted(trusted)
    place = _place(folder, "load_bundle")
    content = read_manifest(place)
    if ARRAYS not in content["files"]:
        msg = f"The bundle {str(place)!r} lists no {ARRAYS}. It was not made by save_bundle."
        raise BundleError(msg)
    try:
        arrays = safetensors.load_file(place / ARRAYS)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        msg = f"The file {str(place / ARRAYS)!r} cannot be read: {error}. Save the bundle again."
        raise BundleError(msg) from error

    def part(number: int) -> Any:
        name = part_name(number)
        if name not in content["files"]:
            msg = f"The bundle {str(place)!r} lists no file {name!r}. It was not made by save_bundle."
            raise BundleError(msg)
        return load_part(place / name, known)

    models = [_model(place, number, entry) for number, entry in enumerate(content["encoders"])]
    estimator = Reader(arrays, part).read(content.get("estimator"))
    if not hasattr(estimator, "get_params"):
        msg = f"The bundle {str(place)!r} holds {describe(estimator)}, no estimator. It was not made by save_bundle."
        raise BundleError(msg)
    attach(estimator, models)
    return estimator


def _model(place: Path, number: int, entry: dict[str, Any]) -> str:
    """Return the folder or the name of a model of the bundle."""
    if entry.get("how") == "copy":
        return str(place / "encoders" / str(number))
    if entry.get("how") == "reference" and isinstance(entry.get("model"), str):
        return str(entry["model"])
    msg = f"The bundle {str(place)!r} does not say where its encoder {number} is. It was not made by save_bundle."
    raise BundleError(msg)


def _place(folder: Any, function: str) -> Path:
    if not isinstance(folder, str | os.PathLike) or not os.fspath(folder):
        msg = f"The 'folder' parameter of {function} must be a path. Got {folder!r} instead."
        raise InvalidParameterError(msg)
    # Links are followed first, so that what is moved into place replaces a folder and never a link to one.
    return Path(os.path.realpath(os.path.expanduser(folder)))


def _check_free(target: Path, overwrite: bool) -> None:
    """Refuse to put a bundle where there is anything but an empty folder or, if so wanted, a bundle."""
    if not target.exists():
        return
    if not target.is_dir():
        msg = f"The 'folder' parameter of save_bundle must be a folder. Got {str(target)!r} instead, a file."
        raise BundleError(msg)
    there = sorted(path.name for path in target.iterdir())
    if not there:
        return
    if not overwrite:
        msg = (
            f"The folder {str(target)!r} is not empty: it holds {there[0]!r}. Choose another, or pass overwrite=True "
            "to replace a bundle."
        )
        raise BundleError(msg)
    strange = [name for name in there if name not in _OWN]
    if strange or MANIFEST not in there:
        what = f"it holds {strange[0]!r}, which is no part of a bundle" if strange else f"it holds no {MANIFEST}"
        msg = f"The folder {str(target)!r} is not replaced: {what}. Choose another, or empty it yourself."
        raise BundleError(msg)


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Make a folder beside `target`, on the same disk, and remove what is left of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    made = target.parent / f".{target.name}-{secrets.token_hex(6)}.partial"
    made.mkdir()
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _move(made: Path, target: Path) -> None:
    """Put the finished folder in its place; an older one there is removed when that has been done."""
    if not target.exists():
        made.rename(target)
        return
    old = made.with_suffix(".old")
    target.rename(old)
    try:
        made.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
