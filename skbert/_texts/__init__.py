"""What counts as a text input: checks X into texts or pairs, and gives results back in the kind of X.

Low room: imports only ``exceptions``. Knows containers, not models.
"""

from skbert._texts.containers import is_missing, show
from skbert._texts.copies import exact_keys, near_keys
from skbert._texts.inputs import Item, TextInput, check_names, check_texts
from skbert._texts.rebuilding import rebuild

__all__ = [
    "Item",
    "TextInput",
    "check_names",
    "check_texts",
    "exact_keys",
    "is_missing",
    "near_keys",
    "rebuild",
    "show",
]
