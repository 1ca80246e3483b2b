"""EncoderSpec: the identity of a vector. Imports nothing of skbert.

Everything that changes a vector is in the spec, and nothing else is: no
device, no batch size, no path and no name. Two specs are equal exactly when
their vectors may stand in for each other.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any, NamedTuple

__all__ = ["FORMAT", "EncoderSpec", "Unit", "text_key"]

FORMAT = 1  # raised whenever the same spec would give another vector than before


class Unit(NamedTuple):
    """What a store keeps one vector a text of: one hidden layer, pooled one way, not normalised."""

    layer: int  # index into hidden_states: 0 the embeddings, n the last layer
    pooling: str


@dataclasses.dataclass(frozen=True)
class EncoderSpec:
    """The identity of the vectors that an embedder makes.

    Attributes
    ----------
    weights : str
        SHA-256 of the weights, hexadecimal.
    config, tokenizer : str
        Digests of the model's configuration and of its tokenizer files.
    max_length : int
        Tokens, special ones counted.
    long_texts : {'truncate', 'head_tail', 'chunk'}
        What a longer text gets; "warn" and "error" are "truncate" here, since
        they make the same vectors.
    prompt : str
        Put before each text.
    dtype : str
        Compute dtype of the forward pass.
    units : tuple of Unit
        The layers and poolings asked for, in the order of the output's columns.
    format : int
        Number of this recipe.
    """

    weights: str
    config: str
    tokenizer: str
    max_length: int
    long_texts: str
    prompt: str
    dtype: str
    units: tuple[Unit, ...]
    format: int = FORMAT

    def namespace(self, unit: Unit) -> bytes:
        """Return the 16 bytes under which a store keeps the vectors of `unit`, which need not be one of `units`."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "units"}
        fields["unit"] = list(unit)
        # Not escaped to ASCII, where one character and its two surrogate halves would look alike.
        raw = json.dumps(fields, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(raw, digest_size=16).digest()

    def encoder_key(self) -> bytes:
        """Return 16 bytes that stand for the model and its dtype: for what is loaded, whatever is asked of it."""
        loaded = [self.weights, self.config, self.tokenizer, self.dtype]
        return hashlib.blake2b(json.dumps(loaded).encode(), digest_size=16).digest()

    def facts(self, unit: Unit) -> dict[str, Any]:
        """Return what is worth telling about the vectors of `unit`."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "units"}
        return {**fields, "layer": unit.layer, "pooling": unit.pooling}


def text_key(item: str | tuple[str, str]) -> bytes:
    """Return the 16-byte BLAKE2b digest that stands for a text, or for a pair of texts.

    The length of a pair's first text is hashed before it, and `person` keeps
    texts and pairs apart, so that ("ab", "c"), ("a", "bc") and "abc" differ.
    """
    if isinstance(item, str):
        return hashlib.blake2b(item.encode(), digest_size=16).digest()
    first, second = item[0].encode(), item[1].encode()
    digest = hashlib.blake2b(len(first).to_bytes(8, "little"), digest_size=16, person=b"skbert pair")
    digest.update(first)
    digest.update(second)
    return digest.digest()
