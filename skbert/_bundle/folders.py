"""Where a bundle may be put, and how it gets there whole. Low in the room; knows no estimators."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skbert._bundle.manifest import ARRAYS, MANIFEST, listed_files
from skbert.exceptions import BundleError, InvalidParameterError

__all__ = ["beside", "check_free", "move", "place"]

_OWN = {MANIFEST, ARRAYS, "encoders", "parts"}


def place(folder: Any, function: str) -> Path:
    """Return the folder that a user named, as an absolute path.

    Raises
    ------
    InvalidParameterError
        It is no path.
    BundleError
        It is one that this system has no place for.
    """
    if not isinstance(folder, str | os.PathLike) or not os.fspath(folder):
        msg = f"The 'folder' parameter of {function} must be a path. Got {folder!r} instead."
        raise InvalidParameterError(msg)
    try:
        # Links are followed first, so that what is moved into place replaces a folder and never a link to one.
        found = Path(os.path.realpath(os.path.expanduser(folder)))
        with contextlib.suppress(FileNotFoundError):
            found.lstat()  # too long a name is told here, and not after a model has been copied
    except (OSError, ValueError) as error:
        msg = f"The 'folder' parameter of {function} cannot be {os.fspath(folder)!r}: {_reason(error)}. Choose another."
        raise BundleError(msg) from error
    return found


def check_free(target: Path, overwrite: bool) -> None:
    """Refuse to put a bundle where there is anything but an empty folder or, if so wanted, a bundle.

    Raises
    ------
    BundleError
        There is something else, or the place is within another bundle.
    """
    for outer in target.parents:
        if listed_files(outer):
            msg = (
                f"The folder {str(target)!r} lies within another bundle, {str(outer)!r}, which would go with it when "
                "that one is replaced. Choose a folder outside."
            )
            raise BundleError(msg)
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
    what = _strange(target)
    if what is not None:
        msg = f"The folder {str(target)!r} is not replaced: {what}. Choose another, or empty it yourself."
        raise BundleError(msg)


def _strange(target: Path) -> str | None:
    """Say why a folder is no bundle that may be removed; None where it is one, and nothing else."""
    listed = listed_files(target)
    there = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_symlink() or path.is_file()}
    others = sorted(there - listed if listed else {name for name in there if name.partition("/")[0] not in _OWN})
    if others:
        return f"it holds {others[0]!r}, which is no part of a bundle"
    if listed:
        return None
    return f"its {MANIFEST} is none that save_bundle wrote" if MANIFEST in there else f"it holds no {MANIFEST}"


@contextlib.contextmanager
def beside(target: Path) -> Iterator[Path]:
    """Make a folder beside `target`, on the same disk, and remove what is left of it.

    Raises
    ------
    BundleError
        None can be made there.
    """
    made = target.parent / f".skbert-{secrets.token_hex(6)}.partial"  # shorter than `target` may be long
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        made.mkdir()
    except OSError as error:
        msg = f"The folder {str(target)!r} cannot be made: {_reason(error)}. Choose another."
        raise BundleError(msg) from error
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def move(made: Path, target: Path) -> None:
    """Put the finished folder in its place; an older one there is removed when that has been done."""
    if not target.exists():
        made.rename(target)
        return
    old = made.with_suffix(".old")
    target.rename(old)
    try:
        made.rename(target)
    except BaseException:  # Ctrl-C too: what was there goes back before anything else
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _reason(error: BaseException) -> str:
    """Return what the system says, without the path, which may be one that no user has named."""
    return getattr(error, "strerror", None) or str(error)
