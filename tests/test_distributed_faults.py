"""Workers that are killed and drivers that are killed: the result is complete and right, and nothing is done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skbert import BertEmbedder
from tests._reference import relative_difference

ray = pytest.importorskip("ray")
pa = pytest.importorskip("pyarrow")

from skbert.distributed import embed_dataset, embed_parquet  # noqa: E402
from tests._parts import make_texts, read_vectors, write_source  # noqa: E402
from tests._ray import local_cluster  # noqa: E402

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def cluster():
    """Start one cluster for the tests that need one of this process."""
    with local_cluster(num_cpus=2) as started:
        yield started


@pytest.fixture
def embedder(tiny_bert_folder):
    """Return an embedder without a store, so that each call embeds."""
    return BertEmbedder(tiny_bert_folder, device="cpu", cache=None)


def killed_at(text: str, notes: Path) -> FunctionTransformer:
    """Return a step that kills its process at the first batch that holds a text, and notes the texts of each batch."""

    def step(X):  # local, so that it travels by value
        import os
        import signal

        with open(os.path.join(notes, str(os.getpid())), "a") as file:
            file.writelines(f"{one}\n" for one in X)
        flag = os.path.join(notes, "killed")
        if text in X and not os.path.exists(flag):
            open(flag, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return X

    return FunctionTransformer(step)


def test_a_killed_worker_of_embed_parquet_costs_its_part_and_nothing_else(cluster, embedder, tmp_path):
    """Ray starts another, which embeds that part from its beginning; each row is there once, in order."""
    notes = tmp_path / "notes"
    notes.mkdir()
    frame = write_source(tmp_path / "source", {"a.parquet": 120})
    pipeline = make_pipeline(killed_at(frame["text"][75], notes), embedder)
    manifest = embed_parquet(
        tmp_path / "source",
        tmp_path / "target",
        pipeline,
        text_column="text",
        rows_per_part=20,
        batch_size=10,
        concurrency=2,
        progress=False,
    )
    assert (notes / "killed").exists()
    assert manifest["counts"]["rows_finished"] == 120
    assert pd.read_parquet(tmp_path / "target")["id"].tolist() == list(range(120))
    assert relative_difference(read_vectors(tmp_path / "target"), embedder.transform(frame["text"])) < 1e-5
    tried = pd.Series([line for path in notes.iterdir() for line in path.read_text().splitlines()]).value_counts()
    assert set(tried.index) == set(frame["text"])
    twice = sorted(tried.index[tried > 1], key=frame["text"].tolist().index)
    assert twice == frame["text"].tolist()[60:80], "the part of row 75, and no other"
    assert not (tmp_path / "target.unfinished").exists(), "what the killed worker left is cleared away"


def test_a_killed_worker_of_embed_dataset_loses_no_row(cluster, embedder, tmp_path):
    """Ray Data gives its blocks to others; rows come out once each, in order."""
    frame = pd.DataFrame({"id": range(200), "text": make_texts(200)})
    pipeline = make_pipeline(killed_at(frame["text"][110], tmp_path), embedder)
    tables = [pa.Table.from_pandas(frame[k : k + 20], preserve_index=False) for k in range(0, 200, 20)]
    embedded = embed_dataset(
        ray.data.from_arrow(tables), pipeline, text_column="text", concurrency=(2, 2), batch_size=10
    )
    rows = embedded.take_all()
    assert (tmp_path / "killed").exists()
    assert [row["id"] for row in rows] == list(range(200))
    vectors = np.stack([row["embedding"] for row in rows])
    assert relative_difference(vectors, embedder.transform(frame["text"])) < 1e-5


DRIVER = """
import os, sys, time
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from skbert import BertEmbedder
from skbert.distributed import embed_parquet

def main():
    source, target, model, notes = sys.argv[1:]
    def step(X, notes=notes):
        with open(os.path.join(notes, f"{os.getpid()}"), "a") as file:
            file.writelines(f"{text}\\n" for text in X)
        time.sleep(0.5)
        return X
    embedder = make_pipeline(FunctionTransformer(step), BertEmbedder(model, device="cpu", cache=None))
    embed_parquet(source, target, embedder, text_column="text", rows_per_part=20, concurrency=2, progress=False)

if __name__ == "__main__":
    main()
"""


def test_a_killed_driver_is_started_again_and_embeds_no_finished_part_twice(embedder, tiny_bert_folder, tmp_path):
    """Its own Ray dies with it. The next run keeps what is finished, by count and by what its workers saw."""
    source, target = tmp_path / "source", tmp_path / "target"
    frame = write_source(source, {"a.parquet": 200, "b.parquet": 100})
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], str(Path(__file__).parents[1])])

    notes = tmp_path / "notes"  # a file for each process, of the texts that it was given
    notes.mkdir()

    def start(name: str) -> subprocess.Popen:
        command = [sys.executable, script, source, target, tiny_bert_folder, notes]
        with (tmp_path / name).open("wb") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    first = start("first.log")
    deadline = time.monotonic() + 120
    while len(list(target.glob("*.parquet"))) < 5 and time.monotonic() < deadline and first.poll() is None:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert len(list(target.glob("*.parquet"))) >= 5, (tmp_path / "first.log").read_text()
    _wait_for_the_end_of(notes)
    earlier = set(notes.iterdir())
    finished = sorted(path.name for path in target.glob("*.parquet"))
    assert len(finished) < 15, "it was killed in the middle"
    for name in finished:
        assert len(pd.read_parquet(target / name)) == 20, "no part is half there"
    before = {name: (target / name).stat().st_mtime_ns for name in finished}
    done = {text for name in finished for text in pd.read_parquet(target / name)["text"]}

    second = start("second.log")
    assert second.wait(timeout=180) == 0, (tmp_path / "second.log").read_text()
    manifest = json.loads((tmp_path / "target.manifest.json").read_text())
    assert manifest["complete"] is True
    last = manifest["runs"][-1]
    assert (last["kept_parts"], last["embedded_parts"]) == (len(finished), 15 - len(finished))
    assert (last["kept_rows"], last["embedded_rows"]) == (20 * len(finished), 300 - 20 * len(finished))
    seen = [line for path in set(notes.iterdir()) - earlier for line in path.read_text().splitlines()]
    assert sorted(seen) == sorted(set(frame["text"]) - done), "each unfinished text once, and no finished one"
    assert {name: (target / name).stat().st_mtime_ns for name in finished} == before
    assert pd.read_parquet(target)["id"].tolist() == list(range(300))
    assert relative_difference(read_vectors(target), embedder.transform(frame["text"])) < 1e-5
    assert not (tmp_path / "target.unfinished").exists()


def _wait_for_the_end_of(notes: Path) -> None:
    """Wait until no process that wrote these notes is alive: Ray's workers end soon after their driver."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        alive = [path.name for path in notes.iterdir() if Path("/proc", path.name).exists()]
        if not alive:
            return
        time.sleep(0.2)
    pytest.fail(f"workers {alive} outlive their driver")
