"""Workers on a GPU: what Ray gives them is what they use, and the vectors are those of one process on it."""

from __future__ import annotations

import pandas as pd
import pytest

from skbert import BertEmbedder
from tests._reference import relative_difference

ray = pytest.importorskip("ray")
pa = pytest.importorskip("pyarrow")

from skbert.distributed import embed_dataset, embed_parquet  # noqa: E402
from tests._parts import make_texts, read_vectors, write_source  # noqa: E402
from tests._ray import local_cluster  # noqa: E402

pytestmark = [pytest.mark.ray, pytest.mark.gpu]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Start one cluster for this file; it finds the GPUs itself."""
    with local_cluster(num_cpus=4) as started:
        yield started


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_workers_share_a_gpu_in_its_own_dtype(tiny_bert_folder, tmp_path, device):
    """Two of them, half a GPU each; the manifest has the dtype that "auto" became there, and no other is mixed in."""
    frame = write_source(tmp_path / "source", {"a.parquet": 200})
    embedder = BertEmbedder(tiny_bert_folder, device=device, cache=None)
    manifest = embed_parquet(
        tmp_path / "source",
        tmp_path / "target",
        embedder,
        text_column="text",
        num_gpus=0.5,
        concurrency=2,
        rows_per_part=50,
        progress=False,
    )
    spec, _ = embedder._identity()
    assert manifest["request"]["spec"]["dtype"] == spec.dtype != "float32"
    # The same batches of 50, so that half precision differs by nothing but the order within them.
    expected = embedder.transform(frame["text"])
    assert relative_difference(read_vectors(tmp_path / "target"), expected) < 2e-2


def test_a_dataset_takes_a_gpu_by_itself(tiny_bert_folder):
    """Without num_gpus, where there is one; in float32 within the bound of float32."""
    frame = pd.DataFrame({"id": range(60), "text": make_texts(60)})
    embedder = BertEmbedder(tiny_bert_folder, dtype="float32", cache=None)
    dataset = ray.data.from_arrow(pa.Table.from_pandas(frame, preserve_index=False))
    rows = embed_dataset(dataset, embedder, text_column="text", concurrency=1).take_all()
    vectors = pd.DataFrame(rows)["embedding"].tolist()
    assert [row["id"] for row in rows] == list(range(60))
    assert relative_difference(pd.DataFrame(vectors).to_numpy(), embedder.transform(frame["text"])) < 1e-5


def test_workers_on_a_cpu_leave_the_gpu_alone(tiny_bert_folder, tmp_path):
    """With num_gpus=0 the work is done on CPUs, whatever the process could see."""
    write_source(tmp_path / "source", {"a.parquet": 20})
    embedder = BertEmbedder(tiny_bert_folder, cache=None)
    manifest = embed_parquet(
        tmp_path / "source",
        tmp_path / "target",
        embedder,
        text_column="text",
        num_gpus=0,
        concurrency=1,
        progress=False,
    )
    assert manifest["request"]["spec"]["dtype"] == "float32"
