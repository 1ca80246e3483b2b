"""What a call takes of memory when all its texts are stored."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from skbert import BertEmbedder, DiskStore, MemoryStore
from skbert._engine.spec import text_key

N, WIDTH = 60_000, 384


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_a_warm_call_takes_its_output_and_a_little_more(minilm, tmp_path, kind):
    """Vectors are read in parts: beside the output there are never all of them twice."""
    store = MemoryStore(2**28) if kind == "memory" else DiskStore(tmp_path)
    embedder = BertEmbedder(minilm, device="cpu", cache=store)
    texts = [f"text number {k}" for k in range(N)]
    spec, _ = embedder._identity()
    values = np.random.default_rng(0).standard_normal((N, WIDTH + 1), dtype=np.float32)
    values[:, -1] = 0  # tokens that were cut
    for start in range(0, N, 5_000):
        part = slice(start, start + 5_000)
        keys = [text_key(text) for text in texts[part]]
        store.put_many(spec.namespace(spec.units[0]), keys, values[part].view(np.uint8))
    store.flush()
    tracemalloc.start()
    try:
        found = embedder.transform(texts)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    lengths = np.linalg.norm(values[:, :-1], axis=1, keepdims=True)  # this model's files ask for unit vectors
    np.testing.assert_allclose(found, values[:, :-1] / lengths, atol=1e-6)
    assert peak < found.nbytes + 60e6, f"{peak:,} bytes for an output of {found.nbytes:,}"
