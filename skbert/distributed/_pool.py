"""The parts go through Ray: asked of one worker first, then shared out to a pool of them. Part of ``distributed``.

The pool is Ray Data's, over a Dataset of the parts' descriptions: it starts workers that die again, with their parts.
"""

from __future__ import annotations

import os
import pickle
import socket
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skbert.distributed._engine import Columns, Engine
from skbert.distributed._folders import Folders
from skbert.distributed._manifest import make_request
from skbert.distributed._parts import Outcome, PartWriter
from skbert.distributed._sources import Part, sha256_of
from skbert.distributed._workers import Workers
from skbert.exceptions import FingerprintError, SkbertError

__all__ = ["ask_worker", "digest_on_ray", "embed"]


def ask_worker(ray: Any, workers: Workers, embedder: Any, columns: Columns) -> tuple[Any, bool, int]:
    """Return the identity of the vectors, as a worker sees it: it may have another device, and other files."""
    # Its process, with the model in it, is then free to become one of the pool's.
    task = ray.remote(**workers.resources())(_describe)
    return _get(ray, task.remote(embedder, columns, workers.device))


def digest_on_ray(ray: Any, paths: list[Path]) -> list[str]:
    """Return the SHA-256 of files, which as many tasks read as there are CPUs: of terabytes it takes its time."""
    task = ray.remote(num_cpus=1)(sha256_of)
    return _get(ray, [task.remote(path) for path in paths])


def _get(ray: Any, found: Any) -> Any:
    """Return what tasks return, or raise what they raised."""
    try:
        return ray.get(found)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, SkbertError | OSError):
            raise error.cause from None
        raise
    except BaseException:  # Ctrl-C: what nobody waits for is not to be done
        for reference in found if isinstance(found, list) else [found]:
            ray.cancel(reference)
        raise


def _describe(embedder: Any, columns: Columns, device: str) -> tuple[Any, bool, int]:
    engine = Engine(embedder, columns, device=device)
    return *engine.identity(), engine.width


def embed(ray: Any, workers: Workers, job: tuple[Any, ...], parts: list[Part]) -> Iterator[Outcome]:
    """Yield the outcome of each part, as they are finished."""
    if not parts:
        return
    # A block each, so that they are shared out one by one, and told of one by one.
    dataset = ray.data.from_items([{"part": pickle.dumps(part)} for part in parts], override_num_blocks=len(parts))
    dataset.context.enable_progress_bars = False  # the bar here counts rows
    if hasattr(dataset.context, "print_on_execution_start"):
        dataset.context.print_on_execution_start = False
    outcomes = dataset.map_batches(
        _PartWorker,
        batch_size=1,
        batch_format="pyarrow",
        compute=workers.pool(ray, in_flight=1, most=len(parts)),
        fn_constructor_args=job,
        **workers.resources(),
    )
    for batch in outcomes.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for raw in batch.column("outcome").to_pylist():
            outcome = pickle.loads(raw)
            if isinstance(outcome, BaseException):
                raise outcome
            yield outcome


class _PartWorker:
    """One actor: it writes parts. What goes wrong is returned, and raised by the driver as what it is."""

    def __init__(
        self,
        embedder: Any,
        columns: Columns,
        workers: Workers,
        request: dict[str, Any],
        folders: Folders,
        unfinished: Path,
    ) -> None:
        self._fault: Exception | None = None
        try:
            engine = Engine(embedder, columns, device=workers.device, dtype=request["spec"]["dtype"])
            _check_identity(engine, request, columns)
            self._writer = PartWriter(
                engine, columns, folders.base, folders.target, unfinished, workers.batch_size, request
            )
        except Exception as error:
            self._fault = error

    def __call__(self, batch: Any) -> Any:
        import pyarrow as pa

        try:
            if self._fault is not None:
                raise self._fault
            raw = pickle.dumps(self._writer.write(pickle.loads(batch.column("part")[0].as_py())))
        except Exception as error:
            raw = _packed(error)
        return pa.table({"outcome": pa.array([raw], pa.binary())})


def _packed(error: Exception) -> bytes:
    """Return an exception pickled, with where it happened; or one with its words, where it is of no class to pickle."""
    from ray import cloudpickle

    note = f"In a worker on {socket.gethostname()}, process {os.getpid()}."
    if not isinstance(error, SkbertError):  # of these the message says all
        note += "\n" + "".join(traceback.format_exception(error)).rstrip()
    error.add_note(note)
    try:
        raw = cloudpickle.dumps(error)
        pickle.loads(raw)
    except Exception:
        stand_in = RuntimeError(f"{type(error).__name__}: {error}")
        stand_in.add_note(note)
        raw = pickle.dumps(stand_in)
    return raw


def _check_identity(engine: Engine, request: dict[str, Any], columns: Columns) -> None:
    own = make_request(*engine.identity(), engine.width, columns, [])
    differing = [key for key in ("normalize", "width") if own[key] != request[key]]
    differing += [key for key, value in request["spec"].items() if own["spec"][key] != value]
    if differing:
        msg = (
            f"A worker on {socket.gethostname()} would make other vectors than the first one: its "
            f"{', '.join(differing)} differ(s). Put the same model files and the same skbert on all machines."
        )
        raise FingerprintError(msg)
