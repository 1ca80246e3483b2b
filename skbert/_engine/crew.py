"""Crew: one or several encoders that share batches, and stand in for one that fails. Upper part of the engine."""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence as Rows
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

import numpy as np
import torch

from skbert._engine.sources import reason_of
from skbert._engine.spec import Unit
from skbert._engine.table import SequenceTable
from skbert._warnings import warn
from skbert.exceptions import DeviceWarning, SkbertError

if TYPE_CHECKING:
    from skbert._engine.encoder import Encoder

__all__ = ["Crew", "Task", "left_out", "raise_and_forget"]

Result = TypeVar("Result")


class Task(NamedTuple):
    """One batch: the sequences, and whatever `deliver` needs to know their vectors by."""

    batch: SequenceTable
    label: Any


class _DeviceFailedError(Exception):
    """A device raised `error`; not one of skbert's own or of the store's."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def left_out(device: torch.device, error: BaseException) -> str:
    """Return what the user is told when one of several devices fails."""
    return (
        f"The device {str(device)!r} failed and is left out; the others do its work. "
        f"{type(error).__name__}: {reason_of(error)}"
    )


def raise_and_forget(errors: list[BaseException], *holders: list[Any]) -> NoReturn:
    """Raise the first of `errors`, and let nothing that its traceback reaches hold it.

    Such a circle would keep the tensors of a forward that ran out of memory until the garbage is collected.
    """
    error = errors[0]
    errors.clear()
    for holder in holders:
        holder.clear()
    try:
        raise error
    finally:
        del error


class Crew:
    """Run tasks on encoders, one thread for each; with a single encoder in the caller's own.

    Each takes the next batch when it has room for one, so that a faster device
    does more. A device that fails gives its unfinished batches to the others,
    and is left out from then on, with a warning. When the last one fails, its
    error is raised; of several that fail together, the first error.

    Parameters
    ----------
    encoders : sequence of Encoder
    units : sequence of Unit
        Layers and poolings asked for.
    first_only : bool
        See :meth:`Encoder.start`.
    deliver : callable(label, vectors)
        Gets the vectors of each finished batch; one call at a time.
    """

    def __init__(
        self,
        encoders: Rows[Encoder],
        units: Rows[Unit],
        first_only: bool,
        deliver: Callable[[Any, np.ndarray], None],
    ) -> None:
        self._encoders, self._units, self._first_only = list(encoders), units, first_only
        self._deliver = deliver
        self._taking, self._delivering = threading.Lock(), threading.Lock()
        self._returned: deque[Task] = deque()  # by devices that failed
        self._stop = False
        self._error: BaseException | None = None

    @property
    def encoders(self) -> list[Encoder]:
        """Those that have not failed."""
        return self._encoders

    def run(self, tasks: Iterator[Task]) -> None:
        """Run all tasks; on an error or Ctrl-C, none is begun any more."""
        self._stop, self._error = False, None
        while failures := self._all_work(tasks):
            if len(failures) == len(self._encoders):
                raise_and_forget([error for _, error in failures], failures)
            messages = [left_out(encoder.device, error) for encoder, error in failures]
            for encoder, _ in failures:
                self._encoders.remove(encoder)
            encoder = failures = None  # type: ignore[assignment]  # nor the errors, which hold what failed
            for message in messages:
                warn(message, DeviceWarning)

    def _all_work(self, tasks: Iterator[Task]) -> list[tuple[Encoder, BaseException]]:
        """Let each encoder work until nothing is left to begin; return those that failed."""
        failures: list[tuple[Encoder, BaseException]] = []
        if len(self._encoders) == 1:
            self._try(self._encoders[0], tasks, failures)
        else:
            with ThreadPoolExecutor(len(self._encoders), thread_name_prefix="skbert-device") as threads:
                try:
                    for future in [threads.submit(self._try, encoder, tasks, failures) for encoder in self._encoders]:
                        future.result()
                except BaseException:
                    self._stop = True  # the pool's end waits for the batches that are being run
                    raise
        if self._error is not None:
            errors, self._error = [self._error], None
            raise_and_forget(errors)
        return failures

    def _try(self, encoder: Encoder, tasks: Iterator[Task], failures: list[tuple[Encoder, BaseException]]) -> None:
        try:
            self._work(encoder, tasks)
        except _DeviceFailedError as failure:
            failures.append((encoder, failure.error))
        except BaseException as error:
            self._stop = True
            self._error = self._error or error  # of several, the first

    def _work(self, encoder: Encoder, tasks: Iterator[Task]) -> None:
        begun: deque[tuple[Task, Callable[[], np.ndarray]]] = deque()  # on a GPU several wait while it works
        task = None
        try:
            while (task := self._next(tasks)) is not None:
                start = functools.partial(encoder.start, task.batch, self._units, first_only=self._first_only)
                begun.append((task, self._on_device(start)))
                task = None
                while len(begun) > encoder.depth:
                    self._finish(begun)
            while begun:
                self._finish(begun)
        except _DeviceFailedError:
            with self._taking:
                self._returned.extend([*(other for other, _ in begun), *([task] if task is not None else [])])
            raise

    def _next(self, tasks: Iterator[Task]) -> Task | None:
        with self._taking:
            if self._stop:
                return None
            return self._returned.popleft() if self._returned else next(tasks, None)

    def _finish(self, begun: deque[tuple[Task, Callable[[], np.ndarray]]]) -> None:
        task, wait = begun[0]
        vectors = self._on_device(wait)
        begun.popleft()
        with self._delivering:
            self._deliver(task.label, vectors)

    @staticmethod
    def _on_device(function: Callable[[], Result]) -> Result:
        try:
            return function()
        except SkbertError:
            raise
        except (RuntimeError, MemoryError) as error:  # what torch raises when a device cannot go on
            raise _DeviceFailedError(error) from error
