"""Folders of Parquet files for the tests of ``skbert.distributed``, and a way to embed parts without Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from skbert.distributed._engine import Columns, Engine
from skbert.distributed._folders import Folders
from skbert.distributed._manifest import make_request
from skbert.distributed._parts import PartWriter

WORDS = "a great answer what bore loved the debate nothing new tonight painful to watch".split()


def make_texts(n: int, seed: int = 0) -> list[str]:
    """Return n different texts of 3 to 12 words."""
    rng = np.random.default_rng(seed)
    return [" ".join([*rng.choice(WORDS, size=rng.integers(3, 12)), str(k)]) for k in range(n)]


def write_source(folder: Path, sizes: dict[str, int], *, row_group_size: int = 40, seed: int = 0) -> pd.DataFrame:
    """Write files of so many rows, and return all rows in the order of the files' sorted paths."""
    frames = []
    texts = make_texts(sum(sizes.values()), seed)
    done = 0
    for name in sorted(sizes):
        count = sizes[name]
        frame = pd.DataFrame({"id": np.arange(done, done + count), "text": texts[done : done + count]})
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Types of columns do not depend on whether a file has rows.
        schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
        table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
        pq.write_table(table, path, row_group_size=row_group_size)
        frames.append(frame)
        done += count
    return pd.concat(frames, ignore_index=True)


def make_writer(
    embedder: Any, source: Path, target: Path, columns: Columns | None = None, *, batch_size: int = 32
) -> tuple[PartWriter, dict[str, Any]]:
    """Return what a worker has, in this process, and the request that its parts carry."""
    columns = columns or Columns("text", "embedding")
    folders = Folders.of(source, target)
    folders.target.mkdir(exist_ok=True)
    folders.unfinished.mkdir(exist_ok=True)
    engine = Engine(embedder, columns, device="cpu")
    request = make_request(*engine.identity(), engine.width, columns, [])
    writer = PartWriter(engine, columns, folders.base, folders.target, folders.unfinished, batch_size, request)
    return writer, request


def read_vectors(target: Path, column: str = "embedding") -> np.ndarray:
    """Return the vectors of all rows of a folder, in the order of its sorted files."""
    tables = [pq.read_table(path) for path in sorted(target.rglob("*.parquet"), key=lambda path: path.as_posix())]
    return np.concatenate(
        [
            table.column(column).combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
            for table in tables
            if table.num_rows
        ]
    )
