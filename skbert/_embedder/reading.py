"""What an embedder's model reads of texts, and the states of what it read. Part of ``_embedder``, beside ``plan``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from skbert._embedder.plan import make_plan
from skbert._engine.batching import plan_batches
from skbert._engine.devices import auto_batch_tokens
from skbert._engine.encode import EncodeOptions
from skbert._engine.registry import get_encoder, get_plain, get_reader
from skbert._engine.room import refuse_long, warn_of_cuts
from skbert._engine.sources import ModelFiles
from skbert._engine.spec import EncoderSpec
from skbert._engine.table import SequenceTable
from skbert._params import check_params

if TYPE_CHECKING:  # it imports transformers, which takes a second
    from skbert._engine.reading import Reader, Reading

__all__ = ["TextReader"]

Text = str | tuple[str, str]


class TextReader:
    """An embedder's way of reading texts, by its parameters and its model's files.

    Parameters
    ----------
    embedder : BertEmbedder
        Fitted or not; nothing of it is changed.

    Attributes
    ----------
    spec : EncoderSpec
    options : EncodeOptions
    reader : Reader
        Its tokenizer.
    """

    def __init__(self, embedder: Any) -> None:
        check_params(embedder)
        self.files: ModelFiles = embedder._resolve()
        spec, options = make_plan(embedder, self.files)
        self.spec: EncoderSpec = spec
        self.options: EncodeOptions = options
        self.reader: Reader = get_reader(self.files)

    @property
    def layers(self) -> list[int]:
        """Hidden layers asked for, counted from 0, the embeddings."""
        return [unit.layer for unit in self.spec.units]

    @property
    def plain(self) -> Any:
        """Transformers' own form of the model, on the embedder's first device, in float32."""
        return get_plain(self.files, self.options.devices[0])

    def read(self, items: Sequence[Text]) -> list[Reading]:
        """Tokenise texts and pairs; what is cut is in the readings, and neither warned of nor refused."""
        return self.reader.read(
            items,
            prompt=self.spec.prompt,
            max_length=self.spec.max_length,
            long_texts=self.spec.long_texts,
            estimator=self.options.estimator,
        )

    def tell_of_cuts(self, readings: Sequence[Reading]) -> None:
        """Warn of texts that were cut, or refuse them, as `long_texts` wants."""
        if self.options.long_texts not in ("warn", "error"):
            return
        cut = {row: n_cut for row, reading in enumerate(readings) if (n_cut := reading.n_cut)}
        if not cut:
            return
        row, n_cut = next(iter(cut.items()))
        if self.options.long_texts == "error":
            refuse_long(row, n_cut, self.spec.max_length)
        warn_of_cuts((row, n_cut), len(cut), sum(cut.values()), f"{len(readings):,} texts", self.spec.max_length)

    def states(self, readings: Sequence[Reading], layers: Sequence[int]) -> Iterator[tuple[int, list[np.ndarray]]]:
        """Run the model over texts, and yield each text's states as soon as it is whole.

        Parameters
        ----------
        readings : sequence of Reading
        layers : sequence of int
            Counted from 0, the embeddings.

        Yields
        ------
        row : int
            In any order.
        states : list of float32 ndarray of shape (n_tokens, n_layers_asked, width)
            One for each sequence of the reading; special tokens included.
        """
        encoder = get_encoder(self.files, self.options.devices[0], self.options.dtype)
        budget = self.options.batch_tokens
        if budget == "auto":
            budget = auto_batch_tokens(encoder.device, self.files.hidden_size)
        limits = [int(budget), *([] if encoder.max_tokens is None else [encoder.max_tokens])]
        table = SequenceTable.join([reading.table() for reading in readings])
        counts = [len(reading.sequences) for reading in readings]
        owners = np.repeat(np.arange(len(readings)), counts)
        number = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
        pending: dict[int, dict[int, np.ndarray]] = {}
        for places in plan_batches(table.lengths, min(limits), padded=not encoder.packs):
            found = encoder.token_states(table.take(places), layers)
            parts = np.split(found, np.cumsum(table.lengths[places])[:-1])
            for place, part in zip(places.tolist(), parts, strict=True):
                row = int(owners[place])
                chunks = pending.setdefault(row, {})
                chunks[int(number[place])] = part
                if len(chunks) == counts[row]:
                    del pending[row]
                    yield row, [chunks[k] for k in range(counts[row])]
