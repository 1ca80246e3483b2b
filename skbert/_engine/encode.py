"""The one way from texts to vectors: dedupe, look up, tokenise, plan, forward, store, scatter.

Top of the engine: what embedders call.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from tqdm.auto import tqdm

from skbert._engine.ahead import Ahead
from skbert._engine.batching import plan_batches
from skbert._engine.chunks import Chunks
from skbert._engine.crew import Crew, Task, left_out, raise_and_forget
from skbert._engine.devices import auto_batch_tokens
from skbert._engine.registry import get_encoder
from skbert._engine.room import check_room, refuse_long, warn_of_cuts
from skbert._engine.shelf import Shelf
from skbert._engine.sources import ModelFiles
from skbert._engine.spec import EncoderSpec, Unit
from skbert._engine.table import SequenceTable, tabulate
from skbert._store.base import VectorStore
from skbert._warnings import warn
from skbert.exceptions import (
    CacheWarning,
    DeviceError,
    DeviceWarning,
    TextInputError,
)

if TYPE_CHECKING:
    from skbert._engine.encoder import Encoder

__all__ = ["EncodeOptions", "encode"]

Text = str | tuple[str, str]

_LOOK_UP = 8_192  # keys a look-up, so that the bytes found are never held twice for a whole call
# Texts that are tokenised and sorted together, and their characters: both bound the memory, whatever the call's size.
# Where processes share a store they take turns window by window, so that one takes seconds rather than minutes.
_WINDOW_TEXTS = {"cuda": 32_768, "cpu": 2_048}
_WINDOW_CHARS = 8_000_000
# Texts that are tokenised at once while a GPU works; few at first, so that it begins soon.
_FIRST_PORTION, _PORTION = {"cuda": 512}, 4_096
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
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to tell
            job.tally()
        raise
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
        self.n_found = self.n_embedded = 0
        self.warned_of_eviction = False
        self.done = np.zeros(len(self.texts), dtype=bool)  # found in the store
        self.first_only = self._reads_first_tokens_only()
        self.shelf = Shelf(options.store, self.texts, spec, self.units, self.width)

    def _reads_first_tokens_only(self) -> bool:
        """Say whether of the highest layer only first tokens are pooled; with a store and without it the same."""
        units = {*self.spec.units, *self.options.extra_units}
        top = max(unit.layer for unit in units)
        return top == max(unit.layer for unit in self.units) and all(
            unit.pooling in ("cls", "pooler") for unit in units if unit.layer == top
        )

    # -- the store ---------------------------------------------------------------------------------------------

    def look_up(self) -> None:
        """Fill in what the store has."""
        if self.options.store is not None:
            self.missing = self.missing[~self._take_stored(self.missing)]

    def _take_stored(self, places: np.ndarray) -> np.ndarray:
        """Copy stored vectors of the texts at `places` to the output; say which texts had all units stored."""
        found = np.zeros(len(places), dtype=bool)
        for start in range(0, len(places), _LOOK_UP):
            part = places[start : start + _LOOK_UP]
            whole, vectors, cut = self.shelf.take(part)
            found[start : start + _LOOK_UP] = whole
            rows = self.rows[part[whole]]
            for k, column in enumerate(vectors):
                self.out[rows, k * self.width : (k + 1) * self.width] = column
            self.cut[part[whole]] = cut
        self.n_found += int(found.sum())
        return found

    def tally(self) -> None:
        """Tell the store what it was asked."""
        self.shelf.tally(self.n_found, self.n_embedded)

    # -- the forward -------------------------------------------------------------------------------------------

    def embed_missing(self) -> None:
        """Run the model over the texts that the store does not have.

        Windows of texts are the measure of a turn, and of what is stored at
        once; portions of them that of tokenising. While the device works on
        one portion, the next ones are tokenised, beyond the window's end too.
        """
        if len(self.missing) == 0:  # no bar either: in a search, bars show what is really embedded
            return
        description = f"embedding (asked {len(self.items):,}, different {len(self.texts):,})"
        windows = list(self._windows())
        # Without a store no text can be embedded twice, so that threads need not take turns. A GPU orders their work by
        # itself, and need not come to rest between windows; on a CPU they would only be in each other's way.
        free = self.options.store is None and self.options.devices[0].type == "cuda"
        if free:
            windows = [[portion for window in windows for portion in window]]
        with contextlib.ExitStack() as stack:
            self.bar = stack.enter_context(
                tqdm(
                    total=len(self.texts),
                    initial=len(self.texts) - len(self.missing),
                    desc=description,
                    unit="text",
                    disable=not self.options.verbose,
                )
            )
            crew: Crew | None = None
            for number, window in enumerate(windows):
                places = np.concatenate(window)
                self.bar.set_postfix_str("waiting for its turn")
                with self.shelf.turn():
                    self.bar.set_postfix_str("", refresh=False)
                    # Another thread or process may have stored some of them while this one waited. Only now is the
                    # model loaded: who finds everything never needs it, nor the device.
                    found = self._take_stored(places)
                    self.done[places[found]] = True
                    self.bar.update(int(found.sum()))
                    if crew is None and not found.all():
                        crew = self._load()
                        portions = [portion for later in windows[number:] for portion in later]
                        ahead = self._ahead(portions, crew.encoders[0])
                        prepared = iter(stack.enter_context(ahead))
                    if crew is not None:
                        with contextlib.nullcontext() if free else crew.encoders[0].lock:
                            crew.run(self._tasks(prepared, len(window), crew))
                if self.shelf.n_dropped and not self.warned_of_eviction:
                    self.warned_of_eviction = True
                    warn(self.shelf.too_small(), CacheWarning)

    def _check_room(self, encoder: Encoder) -> None:
        has_pairs = any(not isinstance(text, str) for text in self.texts)
        check_room(self.spec.max_length, encoder.template, has_pairs=has_pairs, estimator=self.options.estimator)

    def _windows(self) -> Iterator[list[np.ndarray]]:
        """Yield windows of the missing texts, each as a list of portions."""
        kind = self.options.devices[0].type
        most, portion = _WINDOW_TEXTS.get(kind, _WINDOW_TEXTS["cpu"]), _FIRST_PORTION.get(kind, _WINDOW_TEXTS["cpu"])
        window: list[np.ndarray] = []
        begin = start = chars = 0  # of the window, of the portion, and the window's characters
        for k, place in enumerate(self.missing.tolist(), start=1):
            text = self.texts[place]
            chars += len(text) if isinstance(text, str) else len(text[0]) + len(text[1])
            full = k - begin == most or chars >= _WINDOW_CHARS
            if full or k - start == portion or k == len(self.missing):
                window.append(self.missing[start:k])
                start, portion = k, min(2 * portion, _PORTION)
            if full or k == len(self.missing):
                yield window
                window, begin, chars = [], k, 0

    def _load(self) -> Crew:
        files, dtype, devices = self.options.files, self.options.dtype, self.options.devices
        encoders, errors = [], []
        for k, device in enumerate(devices):
            try:
                encoders.append(get_encoder(files, device, dtype, devices[:k].count(device)))
            except DeviceError:
                raise
            except RuntimeError as error:  # torch's own; what is wrong with the files has other classes
                errors.append((device, error))
        messages = [left_out(*failed) for failed in errors]
        if not encoders:
            raise_and_forget([error for _, error in errors], errors)
        errors.clear()
        for message in messages:
            warn(message, DeviceWarning)
        self._check_room(encoders[0])
        self.shelf.describe(self.options.name)
        return Crew(encoders, self.units, self.first_only, self._deliver)

    def _ahead(self, portions: list[np.ndarray], encoder: Encoder) -> Ahead[np.ndarray, _Portion]:
        # A CPU has no time that tokenising could use, and one portion nothing to overlap with. Beside a GPU one thread
        # lays out what the other has tokenised.
        depth, threads = (3, 2) if encoder.device.type == "cuda" and len(portions) > 1 else (0, 1)
        return Ahead(lambda places: self._tokenize(places, encoder), portions, depth=depth, threads=threads)

    def _tasks(self, prepared: Iterator[tuple[np.ndarray, _Portion]], count: int, crew: Crew) -> Iterator[Task]:
        """Yield the batches of the next `count` portions."""
        for _ in range(count):
            _, portion = next(prepared)
            # What was found since it was tokenised.
            left = np.flatnonzero(~self.done[portion.owners])
            chunks = Chunks(portion.owners, portion.table.weights)
            encoders = crew.encoders
            budget = self.options.batch_tokens
            if budget == "auto":
                budget = min(auto_batch_tokens(encoder.device, self.width) for encoder in encoders)
            limits = [encoder.max_tokens for encoder in encoders if encoder.max_tokens is not None]
            padded = not all(encoder.packs for encoder in encoders)
            batches = plan_batches(portion.table.lengths[left], min([int(budget), *limits]), padded=padded)
            for batch in batches:
                places = left[batch]
                yield Task(portion.table.take(places), (chunks, places))

    def _tokenize(self, places: np.ndarray, encoder: Encoder) -> _Portion:
        """Return the sequences of the texts at `places` that are not done."""
        spec, places = self.spec, places[~self.done[places]]
        tables, owners = [], []
        for start in range(0, len(places), _TOKENIZE):
            part = places[start : start + _TOKENIZE]
            texts = [self.texts[place] for place in part.tolist()]
            # The prompt stands before a text, and before the first of a pair.
            firsts = [spec.prompt + (text if isinstance(text, str) else text[0]) for text in texts]
            seconds = [text[1] for text in texts if not isinstance(text, str)]
            pieces, second_pieces = encoder.pieces(firsts), iter(encoder.pieces(seconds) if seconds else [])
            sides = [None if isinstance(text, str) else next(second_pieces) for text in texts]
            table, owner, cut = tabulate(
                pieces, sides, encoder.template, spec.max_length, spec.long_texts, self.rows[part]
            )
            self.cut[part] = cut
            if cut.any() and self.options.long_texts == "error":
                self._refuse_long(int(part[np.flatnonzero(cut)[0]]))
            if len(table) and not table.lengths.all():
                self._refuse_empty(int(part[owner[np.flatnonzero(table.lengths == 0)[0]]]))
            tables.append(table)
            owners.append(part[owner])
        return _Portion(SequenceTable.join(tables or [SequenceTable.of([])]), np.concatenate([places[:0], *owners]))

    def _deliver(self, label: tuple[Chunks, np.ndarray], vectors: np.ndarray) -> None:
        """Put the vectors (n, units, width) of a finished batch into the output and into the store."""
        chunks, batch = label
        places, vectors = chunks.take(batch, vectors, self.units)
        rows = self.rows[places]
        for k, column in enumerate(self.columns):
            self.out[rows, k * self.width : (k + 1) * self.width] = vectors[:, column]
        self.n_embedded += len(places)
        self.shelf.put(places, vectors, self.cut[places])
        self.bar.update(len(places))

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
        for trouble in self.shelf.troubles():
            warn(trouble, CacheWarning)
        cut = np.flatnonzero(self.cut)
        if len(cut) == 0:
            return
        if self.options.long_texts == "error":
            self._refuse_long(int(cut[0]))
        if self.options.long_texts == "warn":
            first = int(self.rows[cut[0]]), int(self.cut[cut[0]])
            of = f"{len(self.texts):,} different texts"
            warn_of_cuts(first, len(cut), int(self.cut.sum()), of, self.spec.max_length)

    def _normalize(self) -> None:
        # In slices, so that no second matrix of the output's size is made.
        for start in range(0, len(self.out), _LOOK_UP):
            part = self.out[start : start + _LOOK_UP].reshape(-1, len(self.spec.units), self.width)
            lengths = np.sqrt(np.add.reduce(part * part, axis=2, keepdims=True))
            part /= np.maximum(lengths, 1e-12)

    def _refuse_long(self, place: int) -> None:
        refuse_long(int(self.rows[place]), int(self.cut[place]), self.spec.max_length)

    def _refuse_empty(self, place: int) -> None:
        msg = (
            f"Row {self.rows[place]} of X has no tokens for {self.options.name!r}, whose tokenizer adds none of its "
            f"own: {self.texts[place]!r}. Leave it out, or put words in its place."
        )
        raise TextInputError(msg)


class _Portion(NamedTuple):
    """Tokenised texts: their sequences, and the text of each."""

    table: SequenceTable
    owners: np.ndarray
