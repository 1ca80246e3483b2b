"""Integrated gradients: a classifier's log-odds shared out among the pieces it read. Part of ``inspection``.

Sundararajan, Taly and Yan (2017): go in a straight line from a baseline to the text, add the gradients up on the way,
and multiply them with the distance. The parts then sum to the difference between the ends. The line runs through the
word embeddings. At the baseline each piece of the text has that of padding: the piece that says nothing, and that every
model has. Special tokens, the prompt, positions and segments are the text's own all along, so that nothing of the
difference falls to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from skbert._classifier import BertSentimentClassifier
from skbert._embedder.reading import TextReader
from skbert._engine.attention import PackedLayout, borders_of
from skbert._engine.devices import auto_batch_tokens, is_out_of_memory
from skbert._engine.pooling import pool
from skbert._engine.spec import Unit
from skbert._head.differentiable import log_odds
from skbert._texts import show
from skbert._warnings import warn
from skbert.exceptions import SkbertWarning

if TYPE_CHECKING:  # they import transformers, which takes a second
    from skbert._engine.plain import PlainModel
    from skbert._engine.reading import Reading, ReadSequence

__all__ = ["PieceAttributions", "integrated_gradients"]

# The slope along the line has kinks (the head's ReLUs), so that rules for smooth functions gain nothing; and Simpson's
# doubles its steps without losing those it has made. On tweets it took 21 gradients a text, Gauss-Legendre 51.
_FIRST_STEPS, _MOST_STEPS = 8, 1_024
_TOLERANCE = 0.02  # of max(1, the difference), how far the sum may be from it

Text = str | tuple[str, str]


class PieceAttributions(NamedTuple):
    """What each piece of one text contributed to the log-odds of a class.

    Attributes
    ----------
    values : float64 ndarray of shape (n_pieces,)
        Of all pieces in reading order; 0 for those that are cut and for the
        prompt's. They sum to ``log_odds - baseline_log_odds``, within 2 % of
        max(1, that difference).
    spans : int64 ndarray of shape (n_pieces, 2)
        Characters [start, end) of the side's text, as the embedder gets it.
    sides : int8 ndarray of shape (n_pieces,)
        0, or 1 for the second text of a pair.
    log_odds, baseline_log_odds : float
        At the two ends of the line.
    n_steps : int
        Of Simpson's rule, which takes one gradient more.
    """

    values: np.ndarray
    spans: np.ndarray
    sides: np.ndarray
    log_odds: float
    baseline_log_odds: float
    n_steps: int


def integrated_gradients(
    classifier: BertSentimentClassifier, items: Sequence[Text], targets: Sequence[int]
) -> list[PieceAttributions]:
    """Attribute the log-odds of a class to the pieces of texts.

    Parameters
    ----------
    classifier : BertSentimentClassifier
        A fitted one.
    items : sequence of str or tuple of two str
    targets : sequence of int
        For each text the place of the explained class in `classes_`.

    Returns
    -------
    list of PieceAttributions, of length n_items

    Raises
    ------
    ModelFilesError
        The model can't be run from word embeddings.

    Notes
    -----
    In float32, whatever the embedder's dtype. The steps, 8 at first, are doubled
    until the parts sum to the difference within 2 % of max(1, that difference).
    A gradient costs twice a forward pass.
    """
    reader = TextReader(classifier._serving_embedder())
    readings = reader.read(items)
    lines = _Lines(reader, classifier.head_, readings, np.asarray(targets, dtype=np.int64))
    steps = np.full(len(readings), _FIRST_STEPS)
    open_rows = np.arange(len(readings))
    coarse = lines.trapezoids(open_rows, _FIRST_STEPS // 2)
    found = [np.empty(0)] * len(readings)
    while len(open_rows):
        n_steps = int(steps[open_rows[0]])
        between = lines.trapezoids(open_rows, n_steps, odd=True)
        for row in open_rows.tolist():
            fine = coarse[row] / 2 + between[row]
            found[row] = (4 * fine - coarse[row]) / 3  # Simpson's rule
            coarse[row] = fine
        errors = np.array([abs(found[row].sum() - lines.differences[row]) for row in open_rows])
        bounds = _TOLERANCE * np.maximum(1.0, np.abs(lines.differences[open_rows]))
        open_rows = open_rows[~(errors <= bounds)]
        if n_steps == _MOST_STEPS:
            break
        steps[open_rows] *= 2
    if len(open_rows):
        row = int(open_rows[0])
        msg = (
            f"The integrated gradients of {len(open_rows)} text(s) do not sum to the difference of the log-odds within "
            f"2 % after {_MOST_STEPS:,} steps (the first of them, {show(items[row])}: {found[row].sum():.3f} instead "
            f"of {lines.differences[row]:.3f}). Use method='leave_one_out' for these."
        )
        warn(msg, SkbertWarning)
    return [
        PieceAttributions(
            values=found[row],
            spans=reading.spans,
            sides=reading.sides,
            log_odds=float(lines.ends[1, row]),
            baseline_log_odds=float(lines.ends[0, row]),
            n_steps=int(steps[row]),
        )
        for row, reading in enumerate(readings)
    ]


class _Pass(NamedTuple):
    """A point on the line of one text: `share` of the way from the baseline to the text."""

    row: int
    share: float
    weight: float  # in the integral


def _budget(reader: TextReader) -> int:
    """Return the tokens of a forward whose graph is kept: on a GPU fewer than without, as all layers' states stay."""
    asked = reader.options.batch_tokens
    device = reader.plain.device
    auto = auto_batch_tokens(device, reader.files.hidden_size)
    return int(asked) if asked != "auto" else auto if device.type == "cpu" else auto // 4


class _Lines:
    """The lines from the baselines of texts to the texts, and the log-odds along them."""

    def __init__(self, reader: TextReader, head: Any, readings: list[Reading], targets: np.ndarray) -> None:
        self._head, self._readings, self._targets = head, readings, targets
        self._plain: PlainModel = reader.plain
        self._units: tuple[Unit, ...] = reader.spec.units
        self._normalize = reader.options.normalize
        self._budget = _budget(reader)
        self._tokens = np.array([sum(len(one.ids) for one in reading.sequences) for reading in readings])
        self._baseline = np.array(self._plain.pad_id)
        self.ends = np.full((2, len(readings)), np.nan)

    @property
    def differences(self) -> np.ndarray:
        """Log-odds of each text less those of its baseline."""
        return self.ends[1] - self.ends[0]

    def trapezoids(self, rows: np.ndarray, n_steps: int, *, odd: bool = False) -> dict[int, np.ndarray]:
        """Return the integral of each text's gradients times the way, a number a piece, by the trapezoidal rule.

        With `odd` only what the odd ones of the points add to the rule of half the steps. Without, the ends are among
        the points, and `ends` gets their log-odds.
        """
        places = range(1, n_steps, 2) if odd else range(n_steps + 1)
        points = [
            _Pass(row, place / n_steps, (0.5 if place in (0, n_steps) else 1.0) / n_steps)
            for row in rows.tolist()
            for place in places
        ]
        out = {row: np.zeros(len(self._readings[row].ids)) for row in rows.tolist()}
        # Whatever the caller's modes are; a graph is needed, and half precision or TF32 would show in the sums.
        with torch.inference_mode(False), torch.enable_grad(), self._plain.exact():
            for batch in self._batches(points):
                self._add_gradients(batch, out)
        return out

    def _batches(self, points: list[_Pass]) -> Iterator[list[_Pass]]:
        """Yield points of texts of similar length, as many as the budget of tokens allows, and at least one."""
        batch: list[_Pass] = []
        n_tokens = 0
        for point in sorted(points, key=lambda point: (self._tokens[point.row], point.row)):
            if batch and n_tokens + self._tokens[point.row] > self._budget:
                yield batch
                batch, n_tokens = [], 0
            batch.append(point)
            n_tokens += self._tokens[point.row]
        if batch:
            yield batch

    def _parts(self, batch: list[_Pass]) -> Iterator[list[tuple[_Pass, ReadSequence]]]:
        """Yield the sequences of a batch under the budget: in one part, or in several for one text of many chunks."""
        part: list[tuple[_Pass, ReadSequence]] = []
        n_tokens = 0
        for point in batch:
            for sequence in self._readings[point.row].sequences:
                if part and n_tokens + len(sequence.ids) > self._budget:
                    yield part
                    part, n_tokens = [], 0
                part.append((point, sequence))
                n_tokens += len(sequence.ids)
        if part:
            yield part

    def _add_gradients(self, batch: list[_Pass], out: dict[int, np.ndarray]) -> None:
        """Add the gradients of a batch; where memory is short, of halves, and keep later batches as small."""
        try:
            found = self._gradients(batch)
        except (RuntimeError, MemoryError) as error:
            n_sequences = sum(len(self._readings[point.row].sequences) for point in batch)
            if n_sequences == 1 or not is_out_of_memory(error):
                raise
            self._budget = max(1, min(self._budget, sum(int(self._tokens[point.row]) for point in batch)) // 2)
        else:
            for point, places, values in found:
                np.add.at(out[point.row], places, values)
            return
        # Out of the handler, so that the failed forward's tensors are gone before the next try.
        if self._plain.device.type == "cuda":
            torch.cuda.empty_cache()
        for part in self._batches(batch):
            self._add_gradients(part, out)

    def _gradients(self, batch: list[_Pass]) -> list[tuple[_Pass, np.ndarray, np.ndarray]]:
        """Return for each sequence of a batch its point, its pieces, and what these add to the integral."""
        parts = list(self._parts(batch))
        # A text of very many chunks goes twice through the model, so that never more than one part has its graph.
        kept = self._pooled(parts[0], gradients=True) if len(parts) == 1 else None
        with torch.no_grad():
            vectors = kept[0].detach() if kept else torch.cat([self._pooled(part)[0] for part in parts])
        vectors.requires_grad_()
        values = self._top(batch, vectors)
        (slopes,) = torch.autograd.grad(values.sum(), vectors)
        found = []
        start = 0
        for part in parts:
            pooled, embeddings, ways = kept or self._pooled(part, gradients=True)
            (gradients,) = torch.autograd.grad(pooled, embeddings, slopes[start : start + len(part)])
            start += len(part)
            sums = (gradients * ways).cpu().double().sum(dim=2).numpy()  # float64 on the CPU: not every device has it
            for (point, sequence), of_tokens in zip(part, sums, strict=True):
                is_piece = sequence.places >= 0
                tokens = of_tokens[: len(sequence.ids)][is_piece]
                found.append((point, sequence.places[is_piece], point.weight * tokens))
        for point, value in zip(batch, values.tolist(), strict=True):
            if point.share in (0.0, 1.0):
                self.ends[int(point.share), point.row] = value
        return found

    def _pooled(
        self, part: list[tuple[_Pass, ReadSequence]], *, gradients: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return pooled states (n, units, width), the embeddings they came from, and the ways there, (n, t, width)."""
        lengths = np.array([len(sequence.ids) for _, sequence in part])
        ids = np.full((len(part), lengths.max()), self._plain.pad_id, dtype=np.int64)
        segments, moves = np.zeros_like(ids), np.zeros(ids.shape, dtype=bool)
        for k, (point, sequence) in enumerate(part):
            inside = slice(len(sequence.ids))
            ids[k, inside], segments[k, inside] = sequence.ids, sequence.segments
            is_piece = sequence.places >= 0
            aside = self._readings[point.row].in_prompt
            moves[k, inside][is_piece] = ~aside[sequence.places[is_piece]]
        device = self._plain.device
        embedded = self._plain.embed(ids)
        ways = (embedded - self._plain.embed(self._baseline)) * torch.from_numpy(moves).to(device)[:, :, None]
        shares = torch.tensor([point.share for point, _ in part], dtype=embedded.dtype, device=device)
        embeddings = (embedded - (1 - shares)[:, None, None] * ways).requires_grad_(gradients)
        with torch.set_grad_enabled(gradients):
            states = self._plain.states(embeddings, ids, segments, lengths)
            real = torch.from_numpy(np.arange(ids.shape[1])[None, :] < lengths[:, None]).to(device)
            borders = torch.from_numpy(borders_of(lengths)).int().to(device)
            layout = PackedLayout.of(lengths, borders, varlen=False)
            pooled = torch.stack([self._pool(states[unit.layer][real], layout, unit) for unit in self._units], dim=1)
        return pooled, embeddings, ways

    def _pool(self, states: torch.Tensor, layout: PackedLayout, unit: Unit) -> torch.Tensor:
        if unit.pooling != "pooler":
            return pool(states, layout, unit.pooling)
        assert self._plain.pooler is not None  # the plan has refused others
        return self._plain.pooler(states[layout.borders[:-1].long()][:, None, :])

    def _top(self, batch: list[_Pass], vectors: torch.Tensor) -> torch.Tensor:
        """Return the log-odds of each point of a batch from the pooled states of its sequences."""
        vectors = vectors.cpu()  # float64, as the classifier itself computes; not every device has it
        joined, start = [], 0
        for point in batch:
            sequences = self._readings[point.row].sequences
            stacked = vectors[start : start + len(sequences)].double()  # (chunks, units, width)
            start += len(sequences)
            if len(sequences) == 1:
                joined.append(stacked[0])
                continue
            shares = torch.tensor([one.weight for one in sequences], dtype=torch.float64)
            mean = (stacked * (shares / shares.sum())[:, None, None]).sum(dim=0)
            peak = stacked.amax(dim=0)
            is_max = torch.tensor([unit.pooling == "max" for unit in self._units])
            joined.append(torch.where(is_max[:, None], peak, mean))
        whole = torch.stack(joined)
        if self._normalize:
            whole = torch.nn.functional.normalize(whole, dim=2)
        targets = torch.tensor([self._targets[point.row] for point in batch])
        return log_odds(self._head, whole.flatten(1), targets)
