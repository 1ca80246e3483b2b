"""Estimators that are not skbert's own, as files of skops. Middle of the room; the one place that imports skops."""

from __future__ import annotations

import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skbert._bundle.codec import ESTIMATORS, describe
from skbert._bundle.encoders import reachable
from skbert._bundle.routing import ROUTING, ask, requested
from skbert.exceptions import BundleError, InvalidParameterError

__all__ = ["check_trusted", "load_part", "save_part"]

_INSTALL = "pip install 'skbert[skops]'"
# Beyond skops' own list: skbert's classes, in whichever of its files they were when they were saved, and some of
# scikit-learn's that only hold what they are given, or only compute. None is compiled code that follows the numbers of
# the file, as trees do, wherever they point.
_OWN = "|".join([*(name for name in ESTIMATORS if name != "Pipeline"), "MemoryStore", "DiskStore", "HeadSearchCV"])
_HARMLESS = re.compile(
    rf"skbert\.([a-z_]+\.)*({_OWN})"
    r"|sklearn\.utils\._bunch\.Bunch"  # voting and stacking
    r"|sklearn\.compose\._column_transformer\.(_RemainderColsList|make_column_selector)"
    r"|sklearn\.calibration\.(_CalibratedClassifier|_SigmoidCalibration|_TemperatureScaling)"
    r"|sklearn\.neural_network\._stochastic_optimizers\.(AdamOptimizer|SGDOptimizer)"
    r"|sklearn\.feature_selection\._univariate_selection\.(chi2|f_classif|f_oneway|f_regression|r_regression)"
    r"|sklearn\.feature_selection\._mutual_info\.mutual_info_(classif|regression)"
    r"|sklearn\.model_selection\._split\.[A-Z][A-Za-z]*(Fold|Split)"
    r"|sklearn\.metrics\._scorer\.(_CurveScorer|_PassthroughScorer|_Scorer)"
    r"|sklearn\.metrics\._(classification|ranking)\.[a-z][a-z0-9_]*_(score|loss)"
)
_GROWTH, _ALLOWANCE = 64, 2**24  # of sparse matrices, by which they may be larger than their files, in bytes
_TREE = "sklearn.tree._tree.Tree"  # which older versions of skops trust by themselves


def save_part(estimator: Any, path: Path, where: str) -> list[str]:
    """Write an estimator to a file.

    Parameters
    ----------
    estimator : estimator
        One that is not skbert's; skbert's own may be within it.
    path : Path
        The file to write.
    where : str
        How a user finds the estimator, for error messages.

    Returns
    -------
    list of str
        The types that `load_part` will want to be trusted.

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
        attributes = getattr(value, "__dict__", {})
        if ROUTING in attributes:
            attributes[ROUTING] = requested(attributes[ROUTING])
    path.parent.mkdir(exist_ok=True)
    try:
        skops_io.dump(estimator, path)
        asked = _asked(skops_io, path)
        # Some of what it takes it cannot give back, and then now is the time to know: a dict with the key None, say.
        _ask_again(skops_io.load(path, trusted=sorted(asked)))
        return _unknown(asked)
    except BundleError:
        raise
    # skops has several kinds of error for what it cannot keep, and Python others.
    except Exception as error:
        msg = (
            f"{where} is {describe(estimator)}, and skops, which keeps it, cannot: {type(error).__name__}: {error}. "
            "Leave this step out of the bundle, or use a pickle between machines that trust each other."
        )
        raise BundleError(msg) from error


def load_part(path: Path, trusted: Sequence[str | type], where: str, needed: set[str]) -> Any:
    """Read an estimator from a file of skops.

    Parameters
    ----------
    path : Path
        The file.
    trusted : sequence of str or type
        Types beyond skops' own list and skbert's that may be loaded.
    where : str
        How a user finds the estimator, for error messages.
    needed : set of str
        The types that parts before this one needed, to which its own are added.

    Raises
    ------
    BundleError
        skops is not installed, the file is damaged, or it holds other types.
    """
    step = f"The bundle's {where:.200} in {path.name!r}"
    skops_io = _skops(f"{step} holds an estimator that is not one of skbert's own")
    named = {entry if isinstance(entry, str) else f"{entry.__module__}.{entry.__name__}" for entry in trusted}
    try:
        asked = _asked(skops_io, path)
        needed.update(_unknown(asked))
        unknown = [name for name in _unknown(asked) if name not in named]
        if not unknown:
            estimator = skops_io.load(path, trusted=sorted(asked))
            _ask_again(estimator)
            return estimator
    except BundleError:
        raise
    # The file comes from anyone, and skops says in many ways that it is none of its own.
    except Exception as error:
        reason = "it is no zip file" if isinstance(error, zipfile.BadZipFile) else f"{type(error).__name__}: {error}"
        msg = f"{step} cannot be read by skops: {reason}. Save the bundle again."
        raise BundleError(msg) from error
    msg = (
        f"{step} holds types that neither skops nor skbert trusts: {', '.join(unknown)}. "
        "To load them is to run their code: if you know and trust all of them, "
        f"load_bundle(folder, trusted={sorted(needed)!r})."
    )
    raise BundleError(msg)


def _asked(skops_io: Any, path: Path) -> set[str]:
    """Return the types in a file of skops that skops does not trust by itself; refuse what is more than it seems."""
    with zipfile.ZipFile(path) as archive:
        # skops compresses nothing unless it is told to, and what is small here must not be huge in memory.
        members, size = archive.infolist(), path.stat().st_size
        large = sum(info.file_size for info in members) > size
        # Sparse matrices are archives within it, which scipy does compress.
        large = large or sum(_inner_size(archive, info) for info in members) > _GROWTH * size + _ALLOWANCE
        schema = json.loads(archive.read("schema.json")) if not large else None
    nodes = list(_nodes(schema))
    files = Counter(name for name, _ in {(str(node["file"]), node.get("__id__")) for node in nodes if "file" in node})
    often = [name for name, times in files.items() if times > 1]
    if large or often:
        what = f"names its {often[0]!r} more than once" if often else "has compressed members"
        msg = f"The bundle's {path.name!r} {what}. It was not made by save_bundle."
        raise BundleError(msg)
    asked = set(skops_io.get_untrusted_types(file=path))
    return asked | {_TREE} if any(node.get("__loader__") == "TreeNode" for node in nodes) else asked


def _inner_size(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    with archive.open(info) as file:
        if not zipfile.is_zipfile(file):
            return 0
        with zipfile.ZipFile(file) as inner:
            return sum(member.file_size for member in inner.infolist())


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _unknown(asked: set[str]) -> list[str]:
    return sorted(name for name in asked if not _HARMLESS.fullmatch(name))


def _ask_again(estimator: Any) -> None:
    """Make requests of the plain dicts that `save_part` has put in their place."""
    for value in reachable(estimator):
        attributes = getattr(value, "__dict__", {})
        if ROUTING in attributes:
            ask(value, attributes.pop(ROUTING))


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
