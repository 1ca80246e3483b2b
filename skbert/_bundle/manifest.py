"""bundle.json, and the files that it lists: written, read and checked. Lowest of the room; knows no estimators.

What is read here may come from anyone, so nothing in it is believed before it
has been looked at. The digests notice damage; against somebody who writes a
whole bundle they are no help, and the codec does not need it.
"""

from __future__ import annotations

import hashlib
import json
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from skbert.exceptions import BundleError, StateFormatError

__all__ = ["ARRAYS", "MANIFEST", "listed_files", "part_name", "read_manifest", "write_manifest"]

FORMAT = 1  # of the folder; the estimators' states have a number of their own
MANIFEST = "bundle.json"
ARRAYS = "arrays.safetensors"

_MAX_BYTES = 2**26  # of bundle.json, whose numbers are elsewhere: more is no bundle
_NAMES = re.compile(r"arrays\.safetensors|parts/[0-9]+\.skops|encoders/[0-9]+/[^\\:\0]+")
_TOLD = ("skbert", "scikit-learn", "numpy", "torch", "transformers", "skops")


def part_name(number: int) -> str:
    """Return where the part of this number lies."""
    return f"parts/{number}.skops"


def write_manifest(folder: Path, estimator: Any, encoders: list[dict[str, Any]]) -> None:
    """Write bundle.json, last of all: it lists what the folder holds.

    Parameters
    ----------
    folder : Path
        Holds all the other files.
    estimator : JSON value
        The estimator's tree.
    encoders : list of dict
        What is known of each encoder.

    Raises
    ------
    BundleError
        The tree is too large to be read again.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    content = {
        "format": FORMAT,
        "written_with": {name: found for name in _TOLD if (found := _version(name)) is not None},
        "estimator": estimator,
        "encoders": encoders,
        "files": {path.relative_to(folder).as_posix(): _facts(path) for path in paths},
    }
    text = json.dumps({**content, "digest": _digest(content)}, indent=1, allow_nan=False)
    if len(text) > _MAX_BYTES:
        msg = (
            f"The estimator's texts and parameters take {len(text):,} bytes, and a bundle may have {_MAX_BYTES:,}. "
            "Is there a long collection of texts among its parameters?"
        )
        raise BundleError(msg)
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read bundle.json and check every file that it lists.

    Parameters
    ----------
    folder : Path
        A bundle, or what is said to be one.

    Returns
    -------
    dict
        With "estimator", "encoders" (a list of dict) and "files" (names to sizes and digests).

    Raises
    ------
    BundleError
        The folder is no bundle, or something in it is missing or damaged.
    StateFormatError
        A newer skbert wrote it.
    """
    path = folder / MANIFEST
    if not path.is_file():
        msg = (
            f"The folder {str(folder)!r} is no bundle: there is no {MANIFEST}. Pass the folder that save_bundle wrote."
        )
        raise BundleError(msg)
    if path.stat().st_size > _MAX_BYTES:
        msg = f"The file {str(path)!r} has {path.stat().st_size:,} bytes; no skbert writes more than {_MAX_BYTES:,}."
        raise BundleError(msg)
    try:
        content = json.loads(path.read_bytes(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BundleError(_damaged(path, f"it cannot be read as JSON ({_short(error)})")) from error
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise BundleError(_damaged(path, "it does not say its format"))
    if content["format"] != FORMAT:
        msg = (
            f"The bundle {str(folder)!r} has format {content['format']}, and this skbert reads format {FORMAT}. "
            "Install the skbert that wrote it, or a newer one: pip install --upgrade skbert."
        )
        raise StateFormatError(msg)
    written = content.pop("digest", None)
    try:
        matches = written == _digest(content)
    except RecursionError as error:
        raise BundleError(_damaged(path, "it is nested too deeply")) from error
    if not matches:
        raise BundleError(_damaged(path, "its content does not have the digest that it states"))
    encoders, files = content.get("encoders"), content.get("files")
    if not isinstance(encoders, list) or not all(isinstance(entry, dict) for entry in encoders):
        raise BundleError(_damaged(path, "it has no list of encoders"))
    if not isinstance(files, dict) or not all(isinstance(facts, dict) for facts in files.values()):
        raise BundleError(_damaged(path, "it has no table of files"))
    for name, facts in files.items():
        _check_file(folder, name, facts)
    for number in range(len(encoders)):
        _check_nothing_else(folder, f"encoders/{number}", files)
    for name in ("encoders", "parts", *(f"encoders/{number}" for number in range(len(encoders)))):
        if (folder / name).is_symlink():
            raise BundleError(_link(folder, name))
    return content


def listed_files(folder: Path) -> set[str]:
    """Return the names of a bundle's files, bundle.json among them; none where that is not one that skbert wrote."""
    try:
        content = json.loads((folder / MANIFEST).read_bytes())
        ours = isinstance(content["format"], int) and "skbert" in content["written_with"]
        return {MANIFEST, *content["files"]} if ours else set()
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return set()


def _check_file(folder: Path, name: str, facts: dict[str, Any]) -> None:
    pure = PurePosixPath(name)
    # Names only, no links: where a link leads, the same bytes must be, so it can show nothing that is not known.
    if not _NAMES.fullmatch(name) or str(pure) != name or ".." in pure.parts:
        msg = f"The bundle {str(folder)!r} lists a file {name!r}, which no bundle has. It was not made by save_bundle."
        raise BundleError(msg)
    path = folder / name
    if not path.is_file():
        msg = f"The bundle {str(folder)!r} lacks its file {name!r}. Copy the whole folder again."
        raise BundleError(msg)
    if path.stat().st_size != facts.get("size"):
        raise BundleError(_damaged(path, f"it has {path.stat().st_size} bytes instead of {facts.get('size')}"))
    if _sha256(path) != facts.get("sha256"):
        raise BundleError(_damaged(path, "its SHA-256 is another than when it was saved"))


def _check_nothing_else(folder: Path, place: str, files: dict[str, Any]) -> None:
    """Refuse a file that is not listed where any file may change what a model does; hidden ones do not."""
    for path in (folder / place).rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() and path.is_dir():  # what lies there need not be listed, and may be a model
            raise BundleError(_link(folder, name))
        if name not in files and not path.is_dir() and not path.name.startswith("."):
            msg = (
                f"The bundle {str(folder)!r} holds a file {name!r} that was not there when it was saved. "
                "Remove it: files beside a model change what the model does."
            )
            raise BundleError(msg)


def _facts(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "sha256": _sha256(path)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _damaged(path: Path, what: str) -> str:
    return f"The file {str(path)!r} is damaged: {what}. Copy the bundle again, or save it again."


def _link(folder: Path, name: str) -> str:
    return f"The bundle {str(folder)!r} holds a link to a folder, {name!r}. Copy the folder itself."


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def _refuse(constant: str) -> NoReturn:
    msg = f"{constant} is no JSON"
    raise ValueError(msg)
