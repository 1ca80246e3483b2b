"""Whether a limit of tokens leaves room for a text between the special tokens. Lower part of the engine: integers."""

from __future__ import annotations

from skbert._engine.tokens import Template
from skbert.exceptions import InvalidParameterError

__all__ = ["check_room"]


def check_room(max_length: int, template: Template, *, has_pairs: bool, estimator: str) -> int:
    """Return how many special tokens there are around a text, or a pair; refuse a limit that they fill."""
    n_special = template.n_special_pair if has_pairs else template.n_special
    if max_length <= n_special:
        msg = (
            f"The 'max_length' parameter of {estimator} must be greater than {n_special}, the number of special tokens "
            f"that this model puts around {'a pair' if has_pairs else 'a text'}. Got {max_length} instead."
        )
        raise InvalidParameterError(msg)
    return n_special
