"""save_bundle and load_bundle. Top of the room."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, numpy as safetensors

from skbert._bundle.attributes import check_attributes
from skbert._bundle.codec import Reader, Writer, describe
from skbert._bundle.copies import check_inside, copy_model
from skbert._bundle.encoders import Encoder, Model, attach, detach, snapshot
from skbert._bundle.folders import beside, check_free, move, place
from skbert._bundle.manifest import ARRAYS, part_name, read_manifest, write_manifest
from skbert._bundle.parts import check_trusted, load_part, save_part
from skbert._warnings import warn
from skbert.exceptions import BundleError, InvalidParameterError, ModelFilesError, SkbertWarning

__all__ = ["load_bundle", "save_bundle"]


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
        named, or there is something in `folder`, or it lies within another
        bundle, or cannot be made.
    FingerprintError
        A model's weights are not those of the fit any more.
    ModelNotFoundError, ModelFilesError
        A model cannot be had, or its files cannot be used.

    Warns
    -----
    SkbertWarning
        `load_bundle` will need a list of types in `trusted`, which is given
        with the steps that have them. Trees and forests are such.

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
    target = place(folder, "save_bundle")
    check_free(target, overwrite)
    taken = snapshot(estimator)
    check_attributes(taken)
    encoders = detach(taken, encoder)
    needed: dict[str, list[str]] = {}  # the types that have to be trusted, by step
    with beside(target) as made:
        parts: list[str] = []

        def keep(part: Any, where: str) -> int:
            parts.append(where)
            needed[where] = save_part(part, made / part_name(len(parts) - 1), where)
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
        check_free(target, overwrite)  # once more: copying takes a while
        move(made, target)
    _tell_what_is_needed({where: types for where, types in needed.items() if types})
    return target


def copy_encoder(encoder: Encoder, target: Path) -> None:
    """Copy the files of a model into the bundle."""
    copy_model(encoder.files, encoder.model, target)


def _tell_what_is_needed(needed: dict[str, list[str]]) -> None:
    """Warn of types that have to be named when the bundle is loaded, where there may be nobody to ask."""
    if needed:
        types = sorted({name for names in needed.values() for name in names})
        msg = (
            f"{', '.join(needed)}: to load this bundle is to trust types that can run code of theirs or crash where a "
            f"file is forged. Load it by load_bundle(folder, trusted={types!r})."
        )
        warn(msg, SkbertWarning)


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
        skbert's: trees, and steps that are neither scikit-learn's nor skbert's.
        Loading runs their code, so name only what you know. A warning of
        `save_bundle` said which are there, and an error does.

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
    FingerprintError
        An embedder without a fit, saved by reference, would use other weights.
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
    root = place(folder, "load_bundle")
    content = read_manifest(root)
    if ARRAYS not in content["files"]:
        msg = f"The bundle {str(root)!r} lists no {ARRAYS}. It was not made by save_bundle."
        raise BundleError(msg)
    try:
        arrays = safetensors.load_file(root / ARRAYS)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:  # the last: no such dtype
        msg = f"The file {str(root / ARRAYS)!r} cannot be read: {error}. Save the bundle again."
        raise BundleError(msg) from error

    taken: set[int] = set()
    needed: set[str] = set()

    def part(number: int, where: str) -> Any:
        name = part_name(number)
        if number in taken:  # small in the file, and in memory as often as it is named
            msg = f"The bundle {str(root)!r} names its {name!r} twice. It was not made by save_bundle."
            raise BundleError(msg)
        taken.add(number)
        if name not in content["files"]:
            msg = f"The bundle {str(root)!r} lists no file {name!r}. It was not made by save_bundle."
            raise BundleError(msg)
        return load_part(root / name, known, where, needed)

    models = [_model(root, number, entry) for number, entry in enumerate(content["encoders"])]
    estimator = Reader(arrays, part).read(content.get("estimator"))
    if not hasattr(estimator, "get_params"):
        msg = f"The bundle {str(root)!r} holds {describe(estimator)}, no estimator. It was not made by save_bundle."
        raise BundleError(msg)
    attach(estimator, models)
    check_attributes(estimator)
    return estimator


def _model(root: Path, number: int, entry: dict[str, Any]) -> Model:
    """Return where a model of the bundle is."""
    if entry.get("how") == "copy":
        folder = root / "encoders" / str(number)
        try:
            check_inside(folder)
        except (ModelFilesError, RecursionError) as error:
            msg = f"The model in {str(folder)!r} cannot be read: {error}. It was not made by save_bundle."
            raise BundleError(msg) from error
        return Model(str(folder), None, None)
    model, fingerprint, revision = (entry.get(key) for key in ("model", "fingerprint", "revision"))
    if entry.get("how") == "reference" and isinstance(model, str) and isinstance(fingerprint, str):
        return Model(model, fingerprint, revision if isinstance(revision, str) else None)
    msg = f"The bundle {str(root)!r} does not say where its encoder {number} is. It was not made by save_bundle."
    raise BundleError(msg)
