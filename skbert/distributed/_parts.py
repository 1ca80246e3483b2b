"""One part of the work: rows of a source file are read, embedded, and become a file of the target. All or nothing.

Part of ``distributed``; this is what a worker does. Knows pyarrow, and nothing of Ray.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import socket
import time
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skbert.distributed._engine import Columns, Engine
from skbert.distributed._sources import Part
from skbert.exceptions import TargetError

__all__ = ["Outcome", "PartWriter", "fsync_folder", "is_part", "read_facts"]

_KEY = b"skbert"  # of the facts in the metadata of a part
_CHANGED = "{!r} has changed while the source was embedded. Start again when nothing writes to it any more."
_MOST_TRIES = 5  # of a part by workers that die over it
_ROW_GROUP = 2**26  # bytes of a row group of the target, of which one is held in memory


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a worker tells of a part. `embedded` is False where the part was there already, finished and sound."""

    path: str
    rows: int
    embedded: bool
    n_missing: int
    seconds: float
    started: float  # seconds since the epoch
    worker: str
    peak_bytes: int  # of the worker's memory so far
    warnings: tuple[tuple[str, int, str], ...] = ()  # of each kind how many, and the first


@dataclasses.dataclass(frozen=True)
class _FilePlace:
    """Rows of a source file, which is what errors name."""

    path: str
    first: int
    count: int

    def row(self, row: int) -> str:
        return f"row {self.first + row:,}"

    def whole(self) -> str:
        return f"rows {self.first:,} to {self.first + max(self.count - 1, 0):,} of {self.path!r}"


class PartWriter:
    """Embeds parts, one after the other.

    Parameters
    ----------
    engine : Engine
    columns : Columns
    source, target, unfinished : Path
        Folders; a part is written into `unfinished` and renamed into `target`.
    batch_size : int
        Rows a call of the engine.
    request : dict
        What was asked for (see ``_manifest``); each part keeps it.
    """

    def __init__(
        self,
        engine: Engine,
        columns: Columns,
        source: Path,
        target: Path,
        unfinished: Path,
        batch_size: int,
        request: dict[str, Any],
    ) -> None:
        self._engine, self._columns = engine, columns
        self._source, self._target, self._unfinished = source, target, unfinished
        self._batch_size, self._request = batch_size, request

    def write(self, part: Part) -> Outcome:
        """Embed a part, unless it is there already, finished and sound."""
        import pyarrow.parquet as pq

        started, began = time.time(), time.perf_counter()
        final = self._target / part.path
        told: list[tuple[str, int, str]] = []
        embedded = not is_part(final, part, self._request, whole=True)
        n_missing = 0
        if embedded:
            final.parent.mkdir(parents=True, exist_ok=True)
            with self._staged(part) as staged, _kept_warnings(told):
                n_missing = self._fill(staged, part)
                if not is_part(staged, part, self._request):
                    msg = f"{staged} is not what was written to it. Check the disk and its free space."
                    raise TargetError(msg)
                os.replace(staged, final)
            fsync_folder(final.parent)
        else:
            with pq.ParquetFile(final) as file:
                n_missing = _count_missing(file.read(columns=list(self._columns.read)), self._columns)
        worker = f"{socket.gethostname()}:{os.getpid()}"
        seconds = time.perf_counter() - began
        return Outcome(part.path, part.rows, embedded, n_missing, seconds, started, worker, _peak(), tuple(told))

    @contextlib.contextmanager
    def _staged(self, part: Part) -> Iterator[Path]:
        # A name of its own for each try: another worker may still be at the same part, if it was only believed dead.
        name = hashlib.blake2b(part.path.encode(), digest_size=8).hexdigest()
        # A worker that is killed leaves its try behind. Ray would give the part to the next one for ever.
        tries = len(list(self._unfinished.glob(f"{name}.*")))
        if tries >= _MOST_TRIES:
            msg = (
                f"{tries} workers died over rows {part.start:,} to {part.stop - 1:,} of {part.source!r}, for want of "
                "memory perhaps. Give workers more of it, lower batch_size or batch_tokens, or look at these rows."
            )
            raise TargetError(msg)
        staged = self._unfinished / f"{name}.{uuid.uuid4().hex}.parquet"
        try:
            yield staged
        finally:
            staged.unlink(missing_ok=True)

    def _fill(self, path: Path, part: Part) -> int:
        """Write the rows of a part and their vectors to a file; return how many have no text."""
        import pyarrow.parquet as pq

        facts = {"format": 1, "request": self._request, **part.facts()}
        n_missing = written = 0
        self._check_source(part)
        with pq.ParquetFile(self._source / part.source, buffer_size=2**20) as source:
            schema = source.schema_arrow.append(self._engine.field())
            metadata = {**(schema.metadata or {}), _KEY: json.dumps(facts).encode()}
            with path.open("wb") as file:
                with self._writer(file, schema.with_metadata(metadata)) as writer:
                    waiting: list[Any] = []
                    for first, table in self._tables(source, part):
                        n_missing += _count_missing(table, self._columns)
                        place = _FilePlace(part.source, first, table.num_rows)
                        waiting.append(self._engine.add_vectors(table, place))
                        written += table.num_rows
                        if sum(one.nbytes for one in waiting) >= _ROW_GROUP:
                            _write(writer, waiting)
                    _write(writer, waiting)
                file.flush()
                os.fsync(file.fileno())
        self._check_source(part)
        if written != part.rows:
            raise TargetError(_CHANGED.format(part.source))
        return n_missing

    def _check_source(self, part: Part) -> None:
        stat = (self._source / part.source).stat()
        if (stat.st_size, stat.st_mtime_ns) != (part.bytes, part.mtime_ns):
            raise TargetError(_CHANGED.format(part.source))

    def _writer(self, file: Any, schema: Any) -> Any:
        import pyarrow.parquet as pq

        # Vectors neither repeat nor compress, and their smallest value tells nobody anything.
        others = [path for path in _leaves(schema) if path != f"{self._columns.output}.list.element"]
        return pq.ParquetWriter(
            file,
            schema,
            compression=dict.fromkeys(others, "snappy"),
            use_dictionary=others,
            write_statistics=others,
            write_page_checksum=True,
        )

    def _tables(self, source: Any, part: Part) -> Iterator[tuple[int, Any]]:
        """Yield the rows of a part in tables of at most `batch_size` rows, each with the number of its first row."""
        import pyarrow as pa

        groups: list[int] = []
        skipped = end = 0
        for k in range(source.metadata.num_row_groups):
            begin, end = end, end + source.metadata.row_group(k).num_rows
            if begin < part.stop and end > part.start:
                if not groups:
                    skipped = begin
                groups.append(k)
        if not groups:  # no rows; older pyarrow knows no empty list of row groups
            return
        # Of one size: a small rest is embedded less well, and sizes that vary leave the memory in pieces.
        size = -(-part.rows // max(1, -(-part.rows // self._batch_size))) or 1
        row, first, waiting = skipped, part.start, source.schema_arrow.empty_table()
        for batch in source.iter_batches(batch_size=size, row_groups=groups):
            begin, end = max(part.start - row, 0), min(part.stop - row, batch.num_rows)
            row += batch.num_rows
            if begin < end:
                waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch.slice(begin, end - begin)])])
            while waiting.num_rows >= size or (waiting.num_rows and row >= part.stop):
                yield first, waiting.slice(0, size)
                first, waiting = first + min(size, waiting.num_rows), waiting.slice(size)
            if row >= part.stop:
                return
        if waiting.num_rows:  # the file has fewer rows than it had
            yield first, waiting


def is_part(path: Path, part: Part, request: dict[str, Any], *, whole: bool = False) -> bool:
    """Say whether a file is this part, finished.

    Its footer, which is written last, tells the number of rows, where they come
    from and what was asked for; with `whole`, every page is read and its
    checksum verified.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        facts = read_facts(path)
        if facts is None or {key: facts.get(key) for key in part.facts()} != part.facts():
            return False
        if facts.get("request") != request:
            return False
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if file.metadata.num_rows != part.rows:
                return False
            if whole:
                for _ in file.iter_batches():
                    pass
    except (OSError, ValueError, pa.ArrowException):  # not there, cut short, or damaged
        return False
    return True


def read_facts(path: Path) -> dict[str, Any] | None:
    """Return what a file says of itself, or None where it is no part that embed_parquet wrote."""
    import pyarrow.parquet as pq

    raw = (pq.read_schema(path).metadata or {}).get(_KEY)
    facts = None if raw is None else json.loads(raw)
    return facts if isinstance(facts, dict) else None


def fsync_folder(folder: Path) -> None:
    """Have the names of a folder written to the disk, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _write(writer: Any, waiting: list[Any]) -> None:
    """Write tables as one row group, and forget them."""
    import pyarrow as pa

    if waiting:
        table = pa.concat_tables(waiting)
        writer.write_table(table, row_group_size=max(1, table.num_rows))
        waiting.clear()


def _leaves(schema: Any) -> list[str]:
    """Return the paths of a schema's columns as Parquet has them, a list's or struct's own columns among them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    return [column.path for column in pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema]


def _count_missing(table: Any, columns: Columns) -> int:
    import pyarrow.compute as pc

    nulls = [pc.is_null(table.column(name)) for name in columns.read]
    either = nulls[0] if len(nulls) == 1 else pc.or_(*nulls)
    return int(pc.sum(either).as_py() or 0)


@contextlib.contextmanager
def _kept_warnings(told: list[tuple[str, int, str]]) -> Iterator[None]:
    """Keep the warnings, instead of writing them to a worker's output: of each kind how many, and the first."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")  # what libraries say of each other is no news of a part
        warnings.simplefilter("always", UserWarning)
        yield
    for category in dict.fromkeys(warning.category for warning in caught):
        messages = [str(warning.message) for warning in caught if warning.category is category]
        told.append((category.__name__, len(messages), messages[0]))


def _peak() -> int:
    """Return the most bytes of memory that this process has held, or 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
