"""What a limit of tokens means: whether a text has room in it, and what is said of texts that have not.

Lower part of the engine: integers.
"""

from __future__ import annotations

from typing import NoReturn

from skbert._engine.tokens import Template
from skbert._warnings import warn
from skbert.exceptions import InvalidParameterError, TextInputError, TruncationWarning

__all__ = ["check_room", "refuse_long", "warn_of_cuts"]


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


def refuse_long(row: int, n_cut: int, max_length: int) -> NoReturn:
    """Raise the error for a text that is longer than the limit, where ``long_texts='error'``."""
    msg = (
        f"Row {row} of X is longer than max_length={max_length} tokens by {n_cut:,}, and long_texts='error'. Shorten "
        "it, or choose long_texts='truncate', 'head_tail' or 'chunk'."
    )
    raise TextInputError(msg)


def warn_of_cuts(first: tuple[int, int], n_texts: int, n_tokens: int, of: str, max_length: int) -> None:
    """Warn of texts that were cut.

    Parameters
    ----------
    first : (int, int)
        Row and lost tokens of the first of them.
    n_texts, n_tokens : int
        Of all that were cut, and what they lost together.
    of : str
        All that there were, as "1,000 texts".
    max_length : int
    """
    msg = (
        f"{n_texts:,} of {of} are longer than max_length={max_length} tokens and were cut: {n_tokens:,} tokens are "
        f"lost (row {first[0]} loses {first[1]:,}). Choose long_texts='truncate' to accept this, 'head_tail' or "
        "'chunk' to use more of the text, or 'error'."
    )
    warn(msg, TruncationWarning)
