"""What was asked for by scikit-learn's set_fit_request and its sisters, as plain values. Low in the room.

scikit-learn has it as objects that know their owner and one another, which
skops cannot keep in every version; here it is a dict of dicts.
"""

from __future__ import annotations

import warnings
from typing import Any

from sklearn import config_context

from skbert.exceptions import BundleError

__all__ = ["ROUTING", "ask", "requested"]

ROUTING = "_metadata_request"  # the attribute
# The methods whose metadata a set_…_request asks for.
_ROUTED = (
    *("fit", "partial_fit", "predict", "predict_proba", "predict_log_proba", "decision_function"),
    *("transform", "inverse_transform", "score", "split"),
)


def requested(request: Any) -> dict[str, dict[str, Any]]:
    """Return what a `_metadata_request` holds: methods to names to True, False, None or another name."""
    if isinstance(request, dict):  # has been asked before: an estimator may have two places
        return request
    by_method = {method: dict(getattr(getattr(request, method, None), "requests", {})) for method in _ROUTED}
    return {method: requests for method, requests in by_method.items() if requests}


def ask(estimator: Any, requests: Any) -> None:
    """Ask for it again.

    Raises
    ------
    BundleError
        It is of another form, or the estimator takes no such request.
    """
    name = type(estimator).__name__
    if not isinstance(requests, dict) or not all(isinstance(names, dict) for names in requests.values()):
        msg = f"The bundle's {name} asks for metadata by {requests!r:.80}, which is of no form that save_bundle writes."
        raise BundleError(msg)
    # Scorers warn of what they were told in two ways, which was so when they were saved.
    with config_context(enable_metadata_routing=True), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for method, names in requests.items():
            if method not in _ROUTED:
                msg = f"The bundle asks for metadata of a method {method!r}, which is none of {', '.join(_ROUTED)}."
                raise BundleError(msg)
            try:
                getattr(estimator, f"set_{method}_request")(**names)
            except (AttributeError, TypeError, ValueError) as error:
                msg = (
                    f"{name}.set_{method}_request(**{names!r}), which the {name} was saved with, cannot be called: "
                    f"{error}. Remove the request before saving, and set it again after loading."
                )
                raise BundleError(msg) from error
