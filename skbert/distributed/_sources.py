"""Which rows there are to embed: a folder of Parquet files, cut into parts. Part of ``distributed``.

Knows files and pyarrow, and nothing of Ray.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from skbert.distributed._engine import Columns, check_columns
from skbert.exceptions import TargetError, TextInputError

__all__ = [
    "Part",
    "SourceFile",
    "cut",
    "list_files",
    "list_sources",
    "rows_a_part",
    "sha256_of",
    "with_digests",
]

SUFFIX = ".parquet"
# Rows a part, no fewer than a batch on a CPU, and how many parts a small source is cut into.
_FEWEST, _MOST, _PARTS = 2_048, 65_536, 64
_READ = 2**22  # bytes


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """A file of the source: its path in the folder, and what tells it from another."""

    path: str
    rows: int
    bytes: int
    mtime_ns: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Part:
    """Rows `start` to `stop` of a source file, which become the file `path` of the target.

    `sha256`, `bytes` and `mtime_ns` are the source file's.
    """

    path: str
    source: str
    sha256: str
    start: int
    stop: int
    rows_per_part: int
    bytes: int
    mtime_ns: int

    @property
    def rows(self) -> int:
        return self.stop - self.start

    def facts(self) -> dict[str, Any]:
        """Return what a written part says of its origin."""
        return {
            "source": self.source,
            "source_sha256": self.sha256,
            "start": self.start,
            "stop": self.stop,
            "rows_per_part": self.rows_per_part,
        }


def list_files(folder: Path) -> list[str]:
    """Return the paths in a folder of its Parquet files, sorted; links are followed, and hidden files left out.

    Hidden is, as for all that read such folders, what begins with "." or "_".
    """
    found = []
    for name in _walk(folder, frozenset()):
        path = name.relative_to(folder)
        if path.suffix.lower() == SUFFIX and not any(part.startswith((".", "_")) for part in path.parts):
            found.append(path.as_posix())
    return sorted(found)


def _walk(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    stat = folder.stat()
    here = (stat.st_dev, stat.st_ino)
    if here in above:  # a link to a folder above itself
        return
    for entry in os.scandir(folder):
        if entry.is_dir():
            yield from _walk(Path(entry.path), above | {here})
        else:
            yield Path(entry.path)


def list_sources(source: Path, columns: Columns, known: Iterable[SourceFile] = ()) -> list[SourceFile]:
    """Return the Parquet files of a folder, or the one file that `source` is, in the order of their parts.

    Parameters
    ----------
    source : Path
    columns : Columns
        Each file is checked for these.
    known : iterable of SourceFile
        Of an earlier run. A file of the same size and time of change is taken
        to be the same. The others have no SHA-256 yet (see `with_digests`).

    Raises
    ------
    TextInputError
        There is no Parquet file, or one cannot be read.
    InvalidParameterError
        A file has no such column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder, names = (source.parent, [source.name]) if source.is_file() else (source, [])
    if not source.exists():
        msg = (
            f"The 'source' parameter of embed_parquet must be a folder with Parquet files, or one. {source} is missing."
        )
        raise TextInputError(msg)
    names = names or list_files(folder)
    if not names:
        msg = f"The 'source' parameter of embed_parquet must be a folder of *{SUFFIX} files. {source} has none."
        raise TextInputError(msg)
    before = {file.path: file for file in known}
    files = []
    for name in names:
        path = folder / name
        try:
            with pq.ParquetFile(path) as opened:
                rows, schema = opened.metadata.num_rows, opened.schema_arrow
        except (OSError, pa.ArrowException) as error:
            msg = f"{path} cannot be read as Parquet: {error}. Repair it, or take it out of the source."
            raise TextInputError(msg) from error
        check_columns(schema, columns, repr(name), has_rows=rows > 0)
        stat = path.stat()
        old = before.get(name)
        is_same = old is not None and (old.bytes, old.mtime_ns, old.rows) == (stat.st_size, stat.st_mtime_ns, rows)
        digest = old.sha256 if old is not None and is_same else ""
        files.append(SourceFile(name, rows, stat.st_size, stat.st_mtime_ns, digest))
    return files


def with_digests(
    files: list[SourceFile], folder: Path, compute: Callable[[list[Path]], list[str]] | None = None
) -> list[SourceFile]:
    """Return the files with the SHA-256 of each; `compute` has it for paths, and without it they are read in turn."""
    unknown = [folder / file.path for file in files if not file.sha256]
    found = dict(zip(unknown, (compute or _one_by_one)(unknown), strict=True))
    return [dataclasses.replace(file, sha256=file.sha256 or found[folder / file.path]) for file in files]


def _one_by_one(paths: list[Path]) -> list[str]:
    return [sha256_of(path) for path in paths]


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ):
            digest.update(block)
    return digest.hexdigest()


def rows_a_part(files: list[SourceFile]) -> int:
    """Return how many rows a part gets where nobody says: a 64th of all, but 2,048 at least and 65,536 at most."""
    total = sum(file.rows for file in files)
    return min(max(-(-total // _PARTS), _FEWEST), _MOST)


def cut(files: list[SourceFile], rows: int) -> list[Part]:
    """Return the parts of files, at most `rows` rows each; a file without rows is one part.

    They are in the order of their names, in which the target is read: that of
    the files' names, unless one is another's with ".pa…" behind it.
    """
    parts = []
    for file in files:
        stem = file.path[: -len(SUFFIX)]
        for k, start in enumerate(range(0, max(file.rows, 1), rows)):
            stop = min(start + rows, file.rows)
            path = f"{stem}.part-{k:06d}{SUFFIX}"
            parts.append(Part(path, file.path, file.sha256, start, stop, rows, file.bytes, file.mtime_ns))
    twice = {part.path for part in parts}
    if len(twice) != len(parts):
        msg = "Two files of the source would have parts of the same name. Rename one of them."
        raise TargetError(msg)
    return sorted(parts, key=lambda part: part.path)
