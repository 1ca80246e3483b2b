"""Estimators that are not skbert's own, as files of skops. Middle of the room; the one place that imports skops."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skbert._bundle.codec import ESTIMATORS, describe
from skbert._bundle.encoders import reachable
from skbert.exceptions import BundleError, InvalidParameterError

__all__ = ["check_trusted", "load_part", "save_part"]

_INSTALL = "pip install 'skbert[skops]'"
# Beyond skops' own list: skbert's classes, in whichever of its files they were when they were saved, and a few of
# scikit-learn's that only hold what they are given: the dict of voting and stacking, ColumnTransformer's list of
# columns (to 1.7), and what calibration and `set_fit_request` leave behind. No trees: scikit-learn's compiled code
# follows their numbers wherever they point.
_OWN = "|".join([*(name for name in ESTIMATORS if name != "Pipeline"), "MemoryStore", "DiskStore"])
_HARMLESS = re.compile(
    rf"skbert\.([a-z_]+\.)*({_OWN})"
    r"|sklearn\.utils\._bunch\.Bunch"
    r"|sklearn\.compose\._column_transformer\._RemainderColsList"
    r"|sklearn\.calibration\.(_CalibratedClassifier|_SigmoidCalibration)"
    r"|sklearn\.utils\._metadata_requests\.(MetadataRequest|MethodMetadataRequest)"
)


def save_part(estimator: Any, path: Path, where: str) -> None:
    """Write an estimator to a file.

    Parameters
    ----------
    estimator : estimator
        One that is not skbert's; skbert's own may be within it.
    path : Path
        The file to write.
    where : str
        How a user finds the estimator, for error messages.

    Raises
    ------
    BundleError
        skops is not installed, or cannot keep the estimator.
    """
    skops_io = _skops(f"{where} is a {type(estimator).__name__}, which is not one of skbert's own estimators")
    for value in reachable(estimator):
        if isinstance(value, dict) and any(type(key) in (bool, np.bool_) for key in value):
            msg = (
                f"{where} holds a dict with bools as keys ({describe(value)[2:]}), which skops, which keeps it, would "
                "give back with other keys. Use 0 and 1."
            )
            raise BundleError(msg)
    path.parent.mkdir(exist_ok=True)
    try:
        skops_io.dump(estimator, path)
        # Some of what it takes it cannot give back, and then now is the time to know: a dict with the key None, say.
        skops_io.load(path, trusted=skops_io.get_untrusted_types(file=path))
    # skops has several kinds of error for what it cannot keep, and Python others.
    except Exception as error:
        msg = (
            f"{where} is {describe(estimator)}, and skops, which keeps it, cannot: {type(error).__name__}: {error}. "
            "Leave this step out of the bundle, or use a pickle between machines that trust each other."
        )
        raise BundleError(msg) from error


def load_part(path: Path, trusted: Sequence[str | type]) -> Any:
    """Read an estimator from a file of skops.

    Parameters
    ----------
    path : Path
        The file.
    trusted : sequence of str or type
        Types beyond skops' own list and skbert's that may be loaded.

    Raises
    ------
    BundleError
        skops is not installed, the file is damaged, or it holds other types.
    """
    skops_io = _skops(f"The bundle's {path.name!r} holds an estimator that is not one of skbert's own")
    named = {entry if isinstance(entry, str) else f"{entry.__module__}.{entry.__name__}" for entry in trusted}
    try:
        asked = set(skops_io.get_untrusted_types(file=path))
        unknown = sorted(name for name in asked - named if not _HARMLESS.fullmatch(name))
        if not unknown:
            return skops_io.load(path, trusted=sorted(asked))
    # The file comes from anyone, and skops says in many ways that it is none of its own.
    except Exception as error:
        reason = "it is no zip file" if isinstance(error, zipfile.BadZipFile) else f"{type(error).__name__}: {error}"
        msg = f"The bundle's {path.name!r} cannot be read by skops: {reason}. Save the bundle again."
        raise BundleError(msg) from error
    msg = (
        f"The bundle's {path.name!r} holds types that neither skops nor skbert trusts: {', '.join(unknown)}. "
        "To load them is to run their code: if you know and trust all of them, "
        f"load_bundle(folder, trusted={unknown!r})."
    )
    raise BundleError(msg)


def check_trusted(trusted: Any) -> tuple[str | type, ...]:
    """Return what the user trusts as a tuple."""
    if trusted is None:
        return ()
    if isinstance(trusted, list | tuple | set | frozenset) and all(isinstance(entry, str | type) for entry in trusted):
        return tuple(trusted)
    msg = (
        "The 'trusted' parameter of load_bundle must be a list of types or of their full names "
        f"('package.module.Class'), or None. Got {trusted!r} instead."
    )
    raise InvalidParameterError(msg)


def _skops(why: str) -> Any:
    try:
        import skops.io as skops_io
    except ImportError as error:
        msg = f"{why}; skbert keeps such by means of skops, which is not installed: {_INSTALL}."
        raise BundleError(msg) from error
    return skops_io
