"""What a part costs besides its embedding: the numbers that simulate_cluster.py takes for granted, measured here.

    python benchmarks/study_cluster_costs.py [--parts 4000]

- parts a second that Ray Data's driver hands out to two actors which do nothing, and the bytes it keeps of each;
- seconds of processor that a text's vector takes to become Parquet, as `embed_parquet` writes it, and its bytes there;
- bytes a second of SHA-256, with which the driver tells source files apart;
- seconds from a new process to its first vector, all-MiniLM-L6-v2 on a CPU;
- bytes a second that go through Ray's object store where vectors are returned to it, as `embed_dataset` does.

Not a comparison. Needs the extras ray and minilm; takes a minute or two, and writes a row to results/cluster.jsonl.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import torch
from _common import clocked, memory_of_process, new_row, timed, write_row

ROWS = 65_536
FIRST_VECTOR = "from skbert import BertEmbedder; BertEmbedder('all-MiniLM-L6-v2', cache=None).transform(['a text'])"


class Nothing:
    """An actor that hands back a small row for a part."""

    def __call__(self, batch):
        return {"path": batch["path"], "rows": batch["rows"], "seconds": np.zeros(len(batch["rows"]))}


class Vectors:
    """An actor that makes vectors out of nothing."""

    def __call__(self, batch):
        return {"id": batch["id"], "embedding": np.full((len(batch["id"]), 384), 0.1, np.float32)}


def handing_out(parts):
    """Return parts a second, and the bytes that the driver's memory grew by for each."""
    items = [{"path": f"texts/file.part-{k:06d}.parquet", "rows": ROWS, "sha256": "0" * 64} for k in range(parts)]
    before = memory_of_process()
    data = ray.data.from_items(items, override_num_blocks=parts)
    data = data.map_batches(Nothing, batch_size=None, compute=ray.data.ActorPoolStrategy(size=2))
    seconds, rows = timed(lambda: sum(1 for _ in data.iter_rows()))
    if rows != parts:
        sys.exit(f"FAILED: {rows} rows came back of {parts}.")
    growth = memory_of_process()["VmRSS"] - before["VmRSS"] if before else float("nan")
    return {"parts_a_second": round(parts / seconds, 1), "driver_bytes_a_part": round(growth / parts)}


def through_the_store(texts=1_000_000):
    """Return the megabytes a second of vectors that are returned to Ray and read by the driver."""
    data = ray.data.range(texts, override_num_blocks=64)
    data = data.map_batches(Vectors, batch_size=4_096, compute=ray.data.ActorPoolStrategy(size=2))
    start, size = time.perf_counter(), 0
    for batch in data.iter_batches(batch_size=16_384):
        size += batch["embedding"].nbytes
    return round(size / (time.perf_counter() - start) / 1e6)


def parquet(width, dtype, compression="none"):
    """Return the microseconds of processor and the bytes of one vector in a Parquet file, the best of five times."""
    vectors = np.random.default_rng(0).standard_normal((ROWS, width)).astype(np.float32)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(dtype)
    table = pa.table({"embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), width)})
    options = {"use_dictionary": False, "write_statistics": False, "write_page_checksum": True}
    spent = []
    for _ in range(5):
        file = io.BytesIO()
        _, cpu, _ = clocked(lambda file=file: pq.write_table(table, file, compression=compression, **options))
        spent.append(cpu)
    return {"microseconds": round(min(spent) * 1e6 / ROWS, 2), "bytes": round(len(file.getvalue()) / ROWS, 1)}


def main():
    """Measure, and write the row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, default=4_000)
    options = parser.parse_args()
    row = new_row("costs of a part besides its embedding", torch, ray, pa)
    forms = [(width, dtype, "none") for width in (384, 768) for dtype in ("float32", "float16")]
    row["parquet"] = {
        f"{width} {dtype} {compression}": parquet(width, dtype, compression)
        for width, dtype, compression in [*forms, (768, "float32", "zstd")]
    }
    data = np.random.default_rng(0).bytes(2**28)
    row["sha256_mb_a_second"] = round(2**28 / 1e6 / clocked(lambda: hashlib.sha256(data).hexdigest())[1])
    row["first_vector_seconds"] = round(
        timed(lambda: subprocess.run([sys.executable, "-c", FIRST_VECTOR], check=True))[0], 1
    )
    ray.init(
        address="local", num_cpus=3, include_dashboard=False, object_store_memory=2**29, log_to_driver=False,
        logging_level="error", _node_ip_address="127.0.0.1",
    )  # fmt: skip
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        row |= handing_out(options.parts)
        row["object_store_mb_a_second"] = through_the_store()
    finally:
        ray.shutdown()
    write_row("cluster", row)


if __name__ == "__main__":
    main()
