"""What the loaders share: checks, packaged files, the Bunch. A leaf of the house: imports only ``exceptions``."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from skbert.exceptions import InvalidParameterError

__all__ = ["DATA_MODULE", "SENTIMENTS", "build_bunch", "check_flags", "packaged"]

DATA_MODULE = "skbert.datasets"
SENTIMENTS = ("negative", "neutral", "positive")


def check_flags(loader: str, **flags: Any) -> None:
    """Check that every one of `flags` is a bool.

    Parameters
    ----------
    loader : str
        The name of the public function, for the message.
    **flags : object
        Its parameters.

    Raises
    ------
    InvalidParameterError
        Names the first parameter that is no bool.
    """
    for name, value in flags.items():
        if not isinstance(value, bool | np.bool_):
            msg = f"The {name!r} parameter of {loader} must be a bool. Got {value!r} instead."
            raise InvalidParameterError(msg)


def packaged(filename: str) -> Traversable:
    """Return a file of the folder ``data``; it may lie in a zip, so it has no path, only ``read_bytes``."""
    return resources.files(DATA_MODULE).joinpath(filename)


def build_bunch(frame: pd.DataFrame, *, as_frame: bool, return_X_y: bool, **extra: Any) -> Any:
    """Turn a frame with the columns "text" and "sentiment" into what a loader returns.

    Parameters
    ----------
    frame : DataFrame
        Fresh: the caller keeps no reference to it.
    as_frame, return_X_y : bool
        As in the loaders.
    **extra : object
        More entries of the Bunch.

    Returns
    -------
    Bunch or tuple
        As the loaders say.
    """
    text, sentiment = frame["text"], frame["sentiment"]
    # object, not frame["text"].values: since pandas 3 that is an Arrow array, which scikit-learn cannot index.
    data = text if as_frame else text.to_numpy(dtype=object)
    target = sentiment if as_frame else sentiment.to_numpy(dtype=object)
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        frame=frame if as_frame else None,
        target_names=list(SENTIMENTS),
        **extra,
    )
