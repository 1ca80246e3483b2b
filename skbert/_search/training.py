"""Fits all candidates in all folds, the heads together. Part of ``_search``."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import ClassifierMixin, clone

from skbert._engine.devices import is_out_of_memory
from skbert._head import HeadClassifier
from skbert._head.predictions import Predictions
from skbert._head.together import Job, Outcome, fit_together
from skbert._search.candidates import Candidate, group
from skbert._search.front import Front, size_of
from skbert._sklearn import slice_params, take_rows
from skbert._store.memory import MemoryStore

__all__ = ["Answers", "Fitted", "SearchEndedError", "Split", "Training"]

_AT_ONCE = 2**30  # bytes of training vectors and heads: more together make larger products, and need more memory
_HEADS_OF_A_JOB = 2**27  # bytes, by which a fold's heads are divided
_COPIES_OF_A_HEAD = 2  # its weights as they are trained, and as it keeps them; more in a stack, which is bounded
_UNBOUNDED = 2**40  # bytes: the store lives as long as the fits of one group, whose vectors are in memory anyway


class Split(NamedTuple):
    """One fold, as positions of rows."""

    train: np.ndarray
    test: np.ndarray


class Answers(Predictions, ClassifierMixin):
    """What a head said about the rows that it will be scored on, so that the head need not be kept.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        The labels that it knows.
    said : list of tuple
        Positions of rows, and the logarithm of each one's probabilities or
        the error that came instead.
    """

    def __init__(self, classes: np.ndarray, said: list[tuple[np.ndarray, np.ndarray | Exception]]) -> None:
        self.classes_ = classes
        self._said = said

    def _log_proba(self, X: Any) -> np.ndarray:
        log_p = next(log_p for rows, log_p in self._said if np.array_equal(rows, X))
        if isinstance(log_p, Exception):
            raise log_p
        return log_p


class Fitted(NamedTuple):
    """One candidate after the fit in one fold: an error, or what can be asked."""

    candidate: Candidate
    error: Exception | None = None
    answers: Answers | None = None  # by the position of rows
    whole: Any = None  # the fitted estimator, which takes rows of X


class _Batch(NamedTuple):
    """Heads that learn from the same vectors: those of one group in one fold."""

    fold: int
    members: list[int]
    front: Front
    job: Job


class SearchEndedError(BaseException):
    """Carries an error that is no candidate's past scikit-learn, which would take it for the first candidate's."""


class Training:
    """The fits of a search, done when the first one is asked for.

    Parameters
    ----------
    candidates : sequence of Candidate
        In the order of the grid.
    X, y : sequence
        As in `fit` of the search.
    fit_params : dict
        What goes to the estimator's `fit` besides.
    jobs : dict
        Arguments of joblib's Parallel, for the candidates that share nothing.
    train_scores : bool
        Whether training rows will be scored too.
    whole : bool
        Whether fitted estimators will be asked for, and not predictions only.
    raise_errors : bool
        Whether the first error ends it all.

    Attributes
    ----------
    fit_seconds, score_seconds : ndarray of shape (n_candidates, n_splits)
        Time that each took; work for several is divided equally among them.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        X: Any,
        y: Any,
        fit_params: dict[str, Any],
        *,
        jobs: dict[str, Any],
        train_scores: bool,
        whole: bool,
        raise_errors: bool,
    ) -> None:
        self.candidates = candidates
        self._X, self._y, self._fit_params = X, y, fit_params
        self._jobs, self._train_scores, self._whole = jobs, train_scores, whole
        self._raise_errors = raise_errors
        self._done: dict[tuple[int, int], Fitted] = {}
        self._ran = False

    def take(self, candidate: int, fold: int, splits: Sequence[Split]) -> Fitted:
        """Return how one fit went, once."""
        if not self._ran:
            try:
                self._run(splits)
            except Exception as error:
                if self._raise_errors:
                    raise
                raise SearchEndedError(error) from error
        if (candidate, fold) not in self._done:
            self._fit_the_other(candidate, fold)
        return self._done.pop((candidate, fold))

    def _run(self, splits: Sequence[Split]) -> None:
        self._ran = True
        self._splits = splits
        self.fit_seconds = np.zeros((len(self.candidates), len(splits)))
        self.score_seconds = np.zeros_like(self.fit_seconds)
        pending: list[_Batch] = []
        held = 0
        for members in group(self.candidates):
            store = MemoryStore(_UNBOUNDED)
            for fold in range(len(splits)):
                batch = self._prepare(members, fold, store)
                if batch is None:
                    continue
                for part, size in _in_parts(batch):
                    pending.append(part)
                    held += size
                    if held + size > _AT_ONCE:  # the next one is likely as large
                        self._train(pending)
                        pending, held = [], 0
                del batch, part  # or they would live on while the next fold is read
            del store
        self._train(pending)
        del pending
        if self._jobs["n_jobs"] not in (None, 1):
            self._fit_the_others()

    def _prepare(self, members: list[int], fold: int, store: MemoryStore) -> _Batch | None:
        """Return the heads of a group and the vectors of a fold; take down whose parameters or data are wrong."""
        train = self._splits[fold].train
        first = self.candidates[members[0]]
        y = take_rows(self._y, train)
        weight = None if first.weight is None else slice_params(self._X, self._fit_params, train)[first.weight]
        heads: dict[int, HeadClassifier] = {}
        labels = y
        start = time.perf_counter()
        try:
            front = Front(first, store)
            front.begin(take_rows(self._X, train), y)
            for place in members:
                try:
                    heads[place], labels = front.head(self.candidates[place], y, weight)
                except Exception as error:
                    self._fail(place, fold, error)
            vectors = front.vectors() if heads else None
        except Exception as error:
            for place in members:
                if (place, fold) not in self._done:
                    self._fail(place, fold, error)
            heads = {}
        self._share(self.fit_seconds, members, fold, start)
        if not heads:
            return None
        return _Batch(fold, list(heads), front, Job(list(heads.values()), vectors, labels, weight, front.near))

    def _train(self, batches: list[_Batch]) -> None:
        """Train all heads of the batches, and let them answer."""
        for batch, outcomes in zip(batches, _fit_or_halve([batch.job for batch in batches]), strict=True):
            good: dict[int, HeadClassifier] = {}
            for place, head, outcome in zip(batch.members, batch.job.heads, outcomes, strict=True):
                self.fit_seconds[place, batch.fold] += outcome.seconds
                if outcome.error is None:
                    good[place] = head
                else:
                    self._fail(place, batch.fold, outcome.error)
            self._answer(batch, good)

    def _answer(self, batch: _Batch, heads: dict[int, HeadClassifier]) -> None:
        """Keep what the fitted heads of a batch say about the rows that they will be scored on."""
        said: dict[int, list[tuple[np.ndarray, np.ndarray | Exception]]] = {place: [] for place in heads}
        split = self._splits[batch.fold]
        for rows in (split.test, split.train)[: 1 + self._train_scores]:
            vectors: Any = None
            start = time.perf_counter()
            try:
                vectors = batch.front.read(take_rows(self._X, rows)) if heads else None
            except Exception as error:
                for place in heads:
                    said[place].append((rows, error))
                continue
            finally:
                if rows is split.test:
                    self._share(self.score_seconds, list(heads), batch.fold, start)
            for place, head in heads.items():
                start = time.perf_counter()
                try:
                    said[place].append((rows, head._log_proba(vectors)))
                except Exception as error:
                    said[place].append((rows, error))
                if rows is split.test:
                    self.score_seconds[place, batch.fold] += time.perf_counter() - start
        for place, head in heads.items():
            candidate = self.candidates[place]
            answers = Answers(head.classes_, said[place])
            whole = batch.front.whole(candidate, head) if self._whole else None
            self._keep(place, batch.fold, Fitted(candidate, answers=answers, whole=whole))

    def _fit_the_other(self, place: int, fold: int) -> None:
        """Fit a candidate that shares nothing by its own `fit`, when its turn has come: so it need not be kept."""
        train = self._splits[fold].train
        X, y = take_rows(self._X, train), take_rows(self._y, train)
        fit_params = slice_params(self._X, self._fit_params, train)
        fitted = _fit_alone(clone(self.candidates[place].built), X, y, fit_params, self._raise_errors)
        self._take_down(place, fold, *fitted)

    def _take_down(self, place: int, fold: int, whole: Any, error: Exception | None, seconds: float) -> None:
        self.fit_seconds[place, fold] = seconds
        if error is not None:
            self._fail(place, fold, error)
        else:
            self._keep(place, fold, Fitted(self.candidates[place], whole=whole))

    def _fit_the_others(self) -> None:
        """Fit the candidates that share nothing, each by its own `fit`, in several processes."""
        alone = [place for place, candidate in enumerate(self.candidates) if not candidate.shares]
        pairs = [(place, fold) for place in alone for fold in range(len(self._splits))]
        if not pairs:
            return
        fits = (
            delayed(_fit_alone)(
                clone(self.candidates[place].built),
                take_rows(self._X, self._splits[fold].train),
                take_rows(self._y, self._splits[fold].train),
                slice_params(self._X, self._fit_params, self._splits[fold].train),
                self._raise_errors,
            )
            for place, fold in pairs
        )
        for (place, fold), fitted in zip(pairs, Parallel(**self._jobs)(fits), strict=True):
            self._take_down(place, fold, *fitted)

    def _keep(self, place: int, fold: int, fitted: Fitted) -> None:
        self._done[place, fold] = fitted

    def _fail(self, place: int, fold: int, error: Exception) -> None:
        """Take an error down, for scikit-learn to deal with in its turn."""
        if self._raise_errors:
            raise error
        # As text: its frames, and those that called them, would keep the vectors of the fold alive.
        error.add_note("".join(traceback.format_exception(error)))
        error.__traceback__ = error.__context__ = error.__cause__ = None
        self._keep(place, fold, Fitted(self.candidates[place], error=error))

    @staticmethod
    def _share(seconds: np.ndarray, members: list[int], fold: int, start: float) -> None:
        """Divide the time since `start` equally among the members."""
        if members:
            seconds[members, fold] += (time.perf_counter() - start) / len(members)


def _bytes_of(head: HeadClassifier, vectors: Any, n_classes: int) -> int:
    """Return about how many bytes a head takes while it is trained and until it has answered."""
    width = np.shape(vectors)[1] if np.ndim(vectors) == 2 else 0
    try:
        sizes = [width, *np.atleast_1d(np.asarray(head.hidden_layer_sizes, dtype=int)).tolist(), n_classes]
        return _COPIES_OF_A_HEAD * 4 * int(head.n_heads) * sum(a * b for a, b in pairwise(sizes))
    except (TypeError, ValueError):  # wrong parameters, of which its fit will complain
        return 0


def _in_parts(batch: _Batch) -> list[tuple[_Batch, int]]:
    """Divide a batch whose heads alone would take too much memory; return the parts, usually one, and their bytes."""
    n_classes = len(np.unique(np.asarray(batch.job.y, dtype=object).astype(str)))
    sizes = [_bytes_of(head, batch.job.X, n_classes) for head in batch.job.heads]
    parts: list[list[int]] = [[]]
    held = 0
    for k, size in enumerate(sizes):
        if parts[-1] and held + size > _HEADS_OF_A_JOB:
            parts.append([])
            held = 0
        parts[-1].append(k)
        held += size
    return [
        (
            batch._replace(
                members=[batch.members[k] for k in part],
                job=batch.job._replace(heads=[batch.job.heads[k] for k in part]),
            ),
            size_of(batch.job.X) + sum(sizes[k] for k in part),
        )
        for part in parts
    ]


def _fit_or_halve(jobs: list[Job]) -> list[list[Outcome]]:
    """Fit together; in halves where the memory does not suffice, until what is left is one head's own failure."""
    try:
        return fit_together(jobs) if jobs else []
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        if len(jobs) == len(jobs[0].heads) == 1:
            return [[Outcome(error, 0.0)]]
    # Out here, where the error is gone, and with it what its frames held.
    for job in jobs:
        for head in job.heads:
            head._forget()
    if len(jobs) > 1:
        half = len(jobs) // 2
        return _fit_or_halve(jobs[:half]) + _fit_or_halve(jobs[half:])
    (job,) = jobs
    half = len(job.heads) // 2
    parts = [job._replace(heads=job.heads[:half]), job._replace(heads=job.heads[half:])]
    return [[outcome for part in parts for outcome in _fit_or_halve([part])[0]]]


def _fit_alone(
    estimator: Any, X: Any, y: Any, fit_params: dict[str, Any], raise_errors: bool
) -> tuple[Any, Exception | None, float]:
    """Return the fitted estimator or the error, and the seconds; a function of its own for other processes."""
    start = time.perf_counter()
    try:
        estimator.fit(X, y, **fit_params)
    except Exception as error:
        if raise_errors:
            raise
        return None, error, time.perf_counter() - start
    return estimator, None, time.perf_counter() - start
