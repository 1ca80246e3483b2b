"""What no estimator of a bundle may have been given: attributes in the place of what its class says. Upper room."""

from __future__ import annotations

import re
from typing import Any

from skbert._bundle.codec import ESTIMATORS
from skbert._bundle.encoders import reachable
from skbert._sklearn import CALLBACKS
from skbert.exceptions import BundleError

__all__ = ["check_attributes"]

# What notebooks ask an object for, and scikit-learn's link to the documentation, which it puts into HTML as it is.
_SHOWN = re.compile(r"_+(doc_link|repr_|html_repr|ipython_|sk_visual_block).*|__.*")


def check_attributes(estimator: Any) -> None:
    """Refuse an attribute that stands for a method, a link or a display of the estimator's class.

    Raises
    ------
    BundleError
        `estimator`, or what is in it, has one.
    """
    for value in reachable(estimator):
        if not hasattr(value, "get_params"):
            continue
        cls = type(value)
        ours, known = cls in ESTIMATORS.values(), cls.__module__.partition(".")[0] in ("sklearn", "skbert")
        for name in map(str, vars(value)):
            method = known and callable(getattr(cls, name, None))
            if _SHOWN.fullmatch(name) or name.startswith(CALLBACKS) or method or (ours and hasattr(cls, name)):
                msg = (
                    f"A {cls.__name__} of the bundle has an attribute {name!r} of its own, where its class decides; "
                    "such may put a script into a notebook. Remove the attribute before saving."
                )
                raise BundleError(msg)
