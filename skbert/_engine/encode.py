"""The one way from texts to vectors: dedupe, look up, tokenise, plan, forward, store, scatter.

Top of the engine: what embedders call.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections import deque
from collections.abc import Iterator, Sequence as Rows
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm.auto import tqdm

from skbert._engine.batching import plan_batches
from skbert._engine.devices import auto_batch_tokens
from skbert._engine.registry import get_encoder
from skbert._engine.sources import ModelFiles
from skbert._engine.spec import EncoderSpec, Unit, text_key
from skbert._engine.tokens import Sequence, build_sequences
from skbert._store.base import VectorStore
from skbert._warnings import warn
from skbert.exceptions import CacheWarning, InvalidParameterError, TextInputError, TruncationWarning

if TYPE_CHECKING:
    from skbert._engine.encoder import Encoder

__all__ = ["EncodeOptions", "encode"]

Text = str | tuple[str, str]

_LOOK_UP = 8_192  # keys a look-up, so that the bytes found are never held twice for a whole call
# Texts that are tokenised and sorted together, and their characters: both bound the memory, whatever the call's size.
# Where processes share a store they take turns window by window, so that one takes seconds rather than minutes.
_WINDOW_TEXTS = {"cuda": 32_768, "cpu": 2_048}
_WINDOW_CHARS = 8_000_000
_TOKENIZE = 2_048  # texts a call of the tokenizer, whose own records are many times the ids


@dataclasses.dataclass(frozen=True)
class EncodeOptions:
    """What an embedding call needs and a vector's identity does not.

    `extra_units` are stored beside the spec's own, `long_texts` is the policy
    as the user wrote it ("warn" and "error" differ only here), `name` is how
    the user calls the model, for what a store tells about itself.
    """

    files: ModelFiles
    devices: tuple[torch.device, ...]
    dtype: torch.dtype
    store: VectorStore | None
    normalize: bool
    long_texts: str = "warn"
    extra_units: tuple[Unit, ...] = ()
    batch_tokens: int | str = "auto"
    verbose: int = 0
    name: str = ""
    estimator: str = "BertEmbedder"


def encode(items: list[Text], spec: EncoderSpec, options: EncodeOptions) -> np.ndarray:
    """Return the vectors of texts and pairs.

    Parameters
    ----------
    items : list of str or tuple of two str
    spec : EncoderSpec
        The identity of the vectors wanted.
    options : EncodeOptions

    Returns
    -------
    float32 ndarray of shape (n_items, n_units * width)
        The units of the spec side by side.
    """
    job = _Job(items, spec, options)
    try:
        job.look_up()
        job.embed_missing()
    finally:
        job.tally()
    job.finish()
    return job.out


class _Job:
    """One call of `encode`: the output and what is still missing in it."""

    def __init__(self, items: list[Text], spec: EncoderSpec, options: EncodeOptions) -> None:
        self.items, self.spec, self.options = items, spec, options
        first_row: dict[Text, int] = {}
        for row, item in enumerate(items):
            first_row.setdefault(item, row)
        self.first_row = first_row
        self.texts = list(first_row)  # the different ones
        self.rows = np.fromiter(first_row.values(), dtype=np.intp, count=len(self.texts))
        self.width = options.files.hidden_size
        self.out = np.empty((len(items), len(spec.units) * self.width), dtype=np.float32)
        self.cut = np.zeros(len(self.texts), dtype=np.uint32)  # tokens that each text lost
        self.missing = np.arange(len(self.texts))
        # Vectors that nobody asked for are worth computing only where they can be kept.
        extra = options.extra_units if options.store is not None else ()
        self.units = tuple(dict.fromkeys((*spec.units, *extra)))
        self.columns = [self.units.index(unit) for unit in spec.units]
        self.n_found = self.n_embedded = self.n_dropped = 0  # texts, texts, vectors
        self.warned_of_eviction = False
        self.guard = threading.Lock()  # around what several replicas write
        if options.store is not None:
            self.keys = [text_key(text) for text in self.texts]
            self.namespaces = {unit: spec.namespace(unit) for unit in self.units}
            self.stored = {unit: np.zeros(len(self.texts), dtype=bool) for unit in spec.units}

    # -- the store ---------------------------------------------------------------------------------------------

    def look_up(self) -> None:
        """Fill in what the store has."""
        if self.options.store is None:
            return
        self.missing = self.missing[~self._take_stored(self.missing)]

    def _take_stored(self, places: np.ndarray) -> np.ndarray:
        """Copy stored vectors of the texts at `places` to the output; say which texts had all units stored."""
        store = self.options.store
        found = np.zeros(len(places), dtype=bool)
        if store is None:
            return found
        size = (self.width + 1) * self.out.itemsize
        for start in range(0, len(places), _LOOK_UP):
            part = places[start : start + _LOOK_UP]
            keys = [self.keys[place] for place in part.tolist()]
            columns = [store.get_many(self.namespaces[unit], keys, size) for unit in self.spec.units]
            whole = np.logical_and.reduce([mask for mask, _ in columns])
            for unit, (mask, _) in zip(self.spec.units, columns, strict=True):
                self.stored[unit][part] = mask
            if whole.any():
                values = [rows if mask.sum() == whole.sum() else rows[whole[mask]] for mask, rows in columns]
                self._place_stored(part[whole], values)
            found[start : start + _LOOK_UP] = whole
        self.n_found += int(found.sum())
        return found

    def _place_stored(self, places: np.ndarray, values: list[np.ndarray]) -> None:
        rows = self.rows[places]
        for k, column in enumerate(values):
            block = column.view(np.float32)
            self.out[rows, k * self.width : (k + 1) * self.width] = block[:, :-1]
        self.cut[places] = np.ascontiguousarray(block[:, -1]).view(np.uint32)  # the same with every unit

    def _put(self, places: np.ndarray, vectors: np.ndarray) -> None:
        """Store the vectors (n, units, width) of the texts at `places`.

        A value is the vector, and behind it how many tokens the text lost, so
        that a stored text is warned of, or refused, like a new one.
        """
        self.n_embedded += len(places)
        store = self.options.store
        if store is None:
            return
        cut = self.cut[places].view(np.float32)
        for k, unit in enumerate(self.units):
            # What is stored stays: the same call shall find the same bits again, whatever other calls came between.
            # Of the units asked for it is known what is stored and sound.
            asked = unit in self.stored
            new = np.flatnonzero(~self.stored[unit][places]) if asked else np.arange(len(places))
            block = np.empty((len(new), self.width + 1), dtype=np.float32)  # the store may keep it: one for each unit
            block[:, :-1] = vectors[new, k]
            block[:, -1] = cut[new]
            keys = [self.keys[place] for place in places[new].tolist()]
            store.put_many(self.namespaces[unit], keys, block.view(np.uint8), overwrite=asked)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait until nobody else who shares the store works with this model; at the end everything put is kept."""
        store = self.options.store
        if store is None:
            yield
            return
        with store.turn(self.spec.encoder_key()):
            try:
                yield
            finally:
                self.n_dropped += store.flush()

    def tally(self) -> None:
        """Tell the store what it was asked."""
        if self.options.store is not None:
            self.options.store.tally(self.n_found, self.n_embedded)

    # -- the forward -------------------------------------------------------------------------------------------

    def embed_missing(self) -> None:
        """Run the model over the texts that the store does not have."""
        if len(self.missing) == 0:  # no bar either: in a search, bars show what is really embedded
            return
        description = f"embedding (asked {len(self.items):,}, different {len(self.texts):,})"
        with tqdm(
            total=len(self.texts),
            initial=len(self.texts) - len(self.missing),
            desc=description,
            unit="text",
            disable=not self.options.verbose,
        ) as bar:
            for places in self._windows():
                bar.set_postfix_str("waiting for its turn")
                with self._turn():
                    bar.set_postfix_str("", refresh=False)
                    # Another thread or process may have stored some of them while this one waited. Only now is the
                    # model loaded: who finds everything never needs it, nor the device.
                    new = places[~self._take_stored(places)]
                    bar.update(len(places) - len(new))
                    if len(new):
                        self._embed_window(new, bar)
                if self.n_dropped and not self.warned_of_eviction:
                    self.warned_of_eviction = True
                    warn(self._too_small(), CacheWarning)

    def _too_small(self) -> str:
        store = self.options.store
        assert store is not None
        needed = len(self.texts) * len(self.units) * store.cost((self.width + 1) * self.out.itemsize)
        return (
            f"{store!r} is too small and drops the vectors {store.goes_first}, which will be computed again. "
            f"This call alone needs {needed:,} bytes: {len(self.texts):,} different texts with {len(self.units)} "
            f"vector(s) each. Pass a larger one: {store.larger(2 * needed)}."
        )

    def _check_room(self, encoder: Encoder) -> None:
        has_pairs = any(not isinstance(text, str) for text in self.texts)
        special = encoder.template.n_special_pair if has_pairs else encoder.template.n_special
        if self.spec.max_length <= special:
            msg = (
                f"The 'max_length' parameter of {self.options.estimator} must be greater than {special}, the number of "
                f"special tokens that this model puts around {'a pair' if has_pairs else 'a text'}. "
                f"Got {self.spec.max_length} instead."
            )
            raise InvalidParameterError(msg)

    def _windows(self) -> Iterator[np.ndarray]:
        start = chars = 0
        most = _WINDOW_TEXTS.get(self.options.devices[0].type, _WINDOW_TEXTS["cpu"])
        for k, place in enumerate(self.missing.tolist()):
            text = self.texts[place]
            chars += len(text) if isinstance(text, str) else len(text[0]) + len(text[1])
            if k + 1 - start == most or chars >= _WINDOW_CHARS:
                yield self.missing[start : k + 1]
                start, chars = k + 1, 0
        if start < len(self.missing):
            yield self.missing[start:]

    def _embed_window(self, places: np.ndarray, bar: tqdm) -> None:
        files, dtype, store = self.options.files, self.options.dtype, self.options.store
        encoders = [get_encoder(files, device, dtype) for device in self.options.devices]
        self._check_room(encoders[0])
        if store is not None:
            for unit, namespace in self.namespaces.items():
                store.describe(namespace, {"names": [self.options.name], **self.spec.facts(unit)})
        with encoders[0].lock:
            self._embed(places, encoders, bar)

    def _embed(self, places: np.ndarray, encoders: list[Encoder], bar: tqdm) -> None:
        sequences, owners = self._tokenize(places, encoders[0])
        lengths = np.array([len(sequence.ids) for sequence in sequences])
        shares = _Shares(sequences, owners)
        budget = self.options.batch_tokens
        tokens = min(auto_batch_tokens(encoder.device) for encoder in encoders) if budget == "auto" else int(budget)
        batches = deque(plan_batches(lengths, tokens, padded=not encoders[0].packs))

        def work(encoder: Encoder) -> None:
            while True:
                try:
                    batch = batches.popleft()
                except IndexError:
                    return
                pooled = encoder.run([sequences[k] for k in batch.tolist()], self.units)
                with self.guard:
                    ready, vectors = shares.take(batch, pooled, self.units)
                    self._deliver(places[ready], vectors)
                    bar.update(len(ready))

        if len(encoders) == 1:
            work(encoders[0])
            return
        with ThreadPoolExecutor(len(encoders)) as pool:
            for outcome in [pool.submit(work, encoder) for encoder in encoders]:
                outcome.result()

    def _tokenize(self, places: np.ndarray, encoder: Encoder) -> tuple[list[Sequence], np.ndarray]:
        """Return the sequences of the texts at `places`, and which of `places` each belongs to."""
        spec = self.spec
        sequences: list[Sequence] = []
        owners: list[int] = []
        for start in range(0, len(places), _TOKENIZE):
            texts = [self.texts[place] for place in places[start : start + _TOKENIZE].tolist()]
            # The prompt stands before a text, and before the first of a pair.
            firsts = [spec.prompt + (text if isinstance(text, str) else text[0]) for text in texts]
            seconds = [text[1] for text in texts if not isinstance(text, str)]
            pieces, second_pieces = encoder.pieces(firsts), iter(encoder.pieces(seconds) if seconds else [])
            for k, text in enumerate(texts):
                second = None if isinstance(text, str) else next(second_pieces)
                made, n_cut = build_sequences(pieces[k], second, encoder.template, spec.max_length, spec.long_texts)
                place = int(places[start + k])
                self.cut[place] = n_cut
                if n_cut and self.options.long_texts == "error":
                    self._refuse_long(place)
                sequences.extend(made)
                owners.extend([start + k] * len(made))
        return sequences, np.array(owners)

    def _deliver(self, places: np.ndarray, vectors: np.ndarray) -> None:
        """Put finished vectors (n, units, width) into the output and into the store."""
        rows = self.rows[places]
        for k, column in enumerate(self.columns):
            self.out[rows, k * self.width : (k + 1) * self.width] = vectors[:, column]
        self._put(places, vectors)

    # -- the end -----------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Scatter to copies, normalise, and say what was cut."""
        if len(self.texts) < len(self.items):
            sources = np.fromiter((self.first_row[item] for item in self.items), dtype=np.intp, count=len(self.items))
            copies = np.flatnonzero(sources != np.arange(len(sources)))
            for start in range(0, len(copies), _LOOK_UP):
                part = copies[start : start + _LOOK_UP]
                self.out[part] = self.out[sources[part]]
        if self.options.normalize:
            self._normalize()
        if self.options.verbose:
            tqdm.write(  # to stdout, as scikit-learn's verbose, and past any bar
                f"[{self.options.estimator}] asked {len(self.items):,}, different {len(self.texts):,}, "
                f"found {self.n_found:,}, embedded {self.n_embedded:,}"
            )
        for trouble in self.options.store.troubles() if self.options.store is not None else ():
            warn(trouble, CacheWarning)
        cut = np.flatnonzero(self.cut)
        if len(cut) == 0:
            return
        if self.options.long_texts == "error":
            self._refuse_long(int(cut[0]))
        if self.options.long_texts == "warn":
            msg = (
                f"{len(cut):,} of {len(self.texts):,} different texts are longer than max_length="
                f"{self.spec.max_length} tokens and were cut: {int(self.cut.sum()):,} tokens are lost (row "
                f"{self.rows[cut[0]]} loses {self.cut[cut[0]]:,}). Choose long_texts='truncate' to accept this, "
                "'head_tail' or 'chunk' to use more of the text, or 'error'."
            )
            warn(msg, TruncationWarning)

    def _normalize(self) -> None:
        # In slices, so that no second matrix of the output's size is made.
        for start in range(0, len(self.out), _LOOK_UP):
            part = self.out[start : start + _LOOK_UP].reshape(-1, len(self.spec.units), self.width)
            lengths = np.sqrt(np.add.reduce(part * part, axis=2, keepdims=True))
            part /= np.maximum(lengths, 1e-12)

    def _refuse_long(self, place: int) -> None:
        msg = (
            f"Row {self.rows[place]} of X is longer than max_length={self.spec.max_length} tokens by "
            f"{self.cut[place]:,}, and long_texts='error'. Shorten it, or choose long_texts='truncate', 'head_tail' "
            "or 'chunk'."
        )
        raise TextInputError(msg)


class _Shares:
    """Brings the chunks of a text together again: a weighted mean, for "max" the maximum, of their vectors."""

    def __init__(self, sequences: Rows[Sequence], owners: np.ndarray) -> None:
        self._owners = owners
        counts = np.bincount(owners)
        self._chunked = bool((counts > 1).any())
        self._counts = counts
        self._weights = np.array([sequence.weight for sequence in sequences], dtype=np.float32)
        self._open: dict[int, list[tuple[int, np.ndarray]]] = {}

    def take(self, batch: np.ndarray, pooled: np.ndarray, units: Rows[Unit]) -> tuple[np.ndarray, np.ndarray]:
        """Return which texts are whole now, and their vectors (n, units, width)."""
        owners = self._owners[batch]
        if not self._chunked:
            return owners, pooled
        ready, vectors = [], []
        for k, owner in enumerate(owners.tolist()):
            chunks = self._open.setdefault(owner, [])
            chunks.append((int(batch[k]), pooled[k]))
            if len(chunks) == self._counts[owner]:
                ready.append(owner)
                vectors.append(self._join(self._open.pop(owner), units))
        return np.array(ready, dtype=np.intp), np.array(vectors, dtype=np.float32).reshape(
            len(ready), *pooled.shape[1:]
        )

    def _join(self, chunks: list[tuple[int, np.ndarray]], units: Rows[Unit]) -> np.ndarray:
        if len(chunks) == 1:
            return chunks[0][1]
        chunks.sort(key=lambda chunk: chunk[0])  # in the text's order, whatever order the batches came in
        stacked = np.stack([vectors for _, vectors in chunks])  # (chunks, units, width)
        weights = self._weights[[place for place, _ in chunks]]
        joined = np.average(stacked, axis=0, weights=weights).astype(np.float32)
        for k, unit in enumerate(units):
            if unit.pooling == "max":
                joined[k] = stacked[:, k].max(axis=0)
        return joined
