"""Texts embedded by several processes of a real Ray cluster: the same vectors, all rows, in order, by more than one."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skbert import BertEmbedder
from skbert.exceptions import (
    InvalidParameterError,
    MissingTextError,
    ModelNotFoundError,
    SkbertWarning,
    TargetError,
    TruncationWarning,
)
from tests._reference import relative_difference

ray = pytest.importorskip("ray")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from skbert.distributed import embed_dataset, embed_parquet  # noqa: E402
from tests._parts import make_texts, read_vectors, write_source  # noqa: E402
from tests._ray import local_cluster  # noqa: E402

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Start one cluster for this file."""
    with local_cluster(num_cpus=3) as started:
        yield started


@pytest.fixture
def embedder(tiny_bert_folder):
    """Return an embedder without a store, so that each call embeds."""
    return BertEmbedder(tiny_bert_folder, device="cpu", cache=None)


def note_process(folder: Path, *, company: int = 1) -> FunctionTransformer:
    """Return a step that writes down which process it works in, and how many texts each call has.

    It waits until as many processes have as `company` says: a fast one could do all the work alone.
    """

    def note(X):  # local, so that it travels by value
        import os
        import time

        with open(os.path.join(folder, str(os.getpid())), "a") as file:
            file.write(f"{len(X)}\n")
        deadline = time.monotonic() + 120
        while len(os.listdir(folder)) < company and time.monotonic() < deadline:
            time.sleep(0.05)
        return X

    return FunctionTransformer(note)


def blocks(frame: pd.DataFrame, n: int):
    """Return a Dataset of n blocks."""
    bounds = np.linspace(0, len(frame), n + 1).astype(int)
    parts = [frame[a:b] for a, b in itertools.pairwise(bounds)]
    return ray.data.from_arrow([pa.Table.from_pandas(part, preserve_index=False) for part in parts])


def test_the_cluster_is_reached_from_this_machine_alone():
    """Whatever Ray makes of the address that it is given."""
    assert [node["NodeManagerAddress"] for node in ray.nodes()] == ["127.0.0.1"]


# -- embed_dataset -----------------------------------------------------------------------------------------------------


def test_a_dataset_gets_the_vectors_of_transform_in_order(embedder, tmp_path):
    """All columns kept, rows in order, by more than one process and not this one; nothing before it is asked for."""
    frame = pd.DataFrame({"id": range(400), "text": make_texts(400)})
    pipeline = make_pipeline(note_process(tmp_path, company=2), embedder)
    dataset = blocks(frame, 10)
    embedded = embed_dataset(dataset, pipeline, text_column="text", concurrency=(2, 2), batch_size=40)
    assert list(tmp_path.iterdir()) == [], "lazy"
    table = pa.concat_tables(ray.get(embedded.to_arrow_refs()))
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 32)
    assert table.column("id").to_pylist() == list(range(400))
    assert table.column("text").to_pylist() == frame["text"].tolist()
    vectors = np.stack(table.column("embedding").to_numpy(zero_copy_only=False))
    assert relative_difference(vectors, embedder.transform(frame["text"])) < 1e-5
    workers = {int(path.name) for path in tmp_path.iterdir()}
    assert len(workers) == 2
    assert os.getpid() not in workers


def test_a_dataset_of_pairs_read_and_written_as_parquet(embedder, tmp_path):
    """From files to files on all CPUs, which readers and writers need too; two columns, float16, another name."""
    texts = make_texts(120)
    for k in range(4):
        part = slice(30 * k, 30 * k + 30)
        table = pa.table({"id": range(30 * k, 30 * k + 30), "a": texts[part], "b": texts[::-1][part]})
        pq.write_table(table, tmp_path / f"{k}.parquet")
    dataset = ray.data.read_parquet(str(tmp_path))
    options = {"text_column": "a", "pair_column": "b", "output_column": "v", "output_dtype": "float16"}
    embed_dataset(dataset, embedder, **options).write_parquet(str(tmp_path / "out"))
    read = pq.read_table(tmp_path / "out").sort_by("id")
    assert read.schema.field("v").type == pa.list_(pa.float16(), 32)
    expected = embedder.transform(list(zip(texts, texts[::-1], strict=True)))
    vectors = np.stack(read.column("v").to_numpy(zero_copy_only=False)).astype(np.float32)
    np.testing.assert_allclose(vectors, expected, atol=2e-3)


def test_a_missing_text_of_a_dataset_is_told_by_its_row(embedder):
    """By its number in the batch and by what else stands in the row; or it gets the vector of the empty text."""
    frame = pd.DataFrame({"id": range(20), "text": pd.Series(make_texts(20), dtype="object")})
    frame.loc[13, "text"] = None
    with pytest.raises(ray.exceptions.RayTaskError, match=r"row 3 of the batch \(id=13\).*missing='empty'"):
        embed_dataset(blocks(frame, 2), embedder, text_column="text", batch_size=10).materialize()
    embedder.set_params(missing="empty")
    rows = embed_dataset(blocks(frame, 2), embedder, text_column="text").take_all()
    vectors = np.stack([row["embedding"] for row in rows])
    assert relative_difference(vectors, embedder.transform(frame["text"])) < 1e-5


def test_wrong_arguments_are_told_at_the_call(embedder, tmp_path):
    """Not by a worker, minutes later."""
    dataset = blocks(pd.DataFrame({"id": [1], "text": ["a"]}), 1)
    wrong = [
        ({"text_column": "tweet"}, "text_column='tweet' is not among the columns of the dataset"),
        ({"text_column": 3}, "'text_column' parameter of embed_dataset must be a str. Got 3 instead"),
        ({"output_column": "id"}, "output_column='id' is already a column"),
        ({"output_dtype": "int8"}, "'output_dtype' parameter of embed_dataset must be"),
        ({"concurrency": 0}, "'concurrency' parameter of embed_dataset must be None, an int"),
        ({"concurrency": (3, 2)}, "'concurrency' parameter of embed_dataset must be None, an int"),
        ({"num_gpus": -1}, "'num_gpus' parameter of embed_dataset must be"),
        ({"num_gpus": 1}, "'num_gpus' parameter of embed_dataset must be 0 or None.*device='cpu'.*Got 1"),
        ({"num_gpus": 2}, "'num_gpus' parameter of embed_dataset must be None or a float in the range"),
        ({"num_cpus": 99}, r"No machine of this Ray has room for a worker of embed_dataset with num_cpus=99.*3 CPUs"),
        ({"pair_column": "z"}, "pair_column='z' is not among the columns of the dataset"),
        ({"batch_size": "all"}, "'batch_size' parameter of embed_dataset must be"),
        ({"preserve_order": "yes"}, "'preserve_order' parameter of embed_dataset must be a bool"),
    ]
    for arguments, match in wrong:
        with pytest.raises(InvalidParameterError, match=match):
            embed_dataset(dataset, embedder, **{"text_column": "text", **arguments})
    with pytest.raises(InvalidParameterError, match=r"'dataset' parameter.*ray\.data\.Dataset\. Got list"):
        embed_dataset(["a"], embedder, text_column="text")
    with pytest.raises(InvalidParameterError, match=r"'embedder' parameter.*pass BertEmbedder\('bert'\)"):
        embed_dataset(dataset, "bert", text_column="text")
    with pytest.raises(InvalidParameterError, match=r"'device' parameter.*Ray gives each worker.*'cuda:1'"):
        embed_dataset(dataset, embedder.set_params(device="cuda:1"), text_column="text")
    with pytest.raises(InvalidParameterError, match=r"'num_gpus' parameter.*above 0 .*device='cuda'"):
        embed_dataset(dataset, embedder.set_params(device="cuda"), text_column="text", num_gpus=0)


def test_gpus_that_nobody_has_are_told_instead_of_waited_for(tiny_bert_folder, tmp_path):
    """Ray would wait for ever for a machine that has what a worker asks for."""
    if ray.cluster_resources().get("GPU"):
        pytest.skip("this cluster has one")
    write_source(tmp_path / "source", {"a.parquet": 3})
    for options in ({"device": "cuda"}, {"device": "auto"}):
        embedder = BertEmbedder(tiny_bert_folder, **options)
        with pytest.raises(InvalidParameterError, match=r"embed_parquet with num_gpus=1.*3 CPUs and 0 GPUs"):
            embed_parquet(tmp_path / "source", tmp_path / "target", embedder, text_column="text", num_gpus=1)


def test_an_error_of_a_step_keeps_its_words(embedder, tmp_path):
    """Of whatever class, with where it happened; also of one that does not survive a pickle."""
    write_source(tmp_path / "source", {"a.parquet": 3})

    class Odd(Exception):
        def __init__(self, one, two):
            super().__init__(f"{one} and {two}")

    def step(X):
        raise (Odd("this", "that") if len(X) else KeyError)

    pipeline = make_pipeline(FunctionTransformer(step), embedder)
    with pytest.raises(Exception, match="this and that") as raised:
        embed_parquet(tmp_path / "source", tmp_path / "target", pipeline, text_column="text", progress=False)
    (note,) = raised.value.__notes__
    assert "In a worker on" in note
    assert "in step" in note, "the traceback"


def test_texts_as_objects_with_nan_are_missing_as_in_transform(embedder):
    """What pandas reads from a file with gaps; Ray has a type of its own for such a column."""
    frame = pd.DataFrame({"id": range(4), "text": pd.Series(["a", np.nan, "b", None], dtype="object")})
    with pytest.raises(ray.exceptions.RayTaskError, match=r"2 missing.*row 1 of the batch \(id=1\); row 3"):
        embed_dataset(ray.data.from_pandas(frame), embedder, text_column="text").materialize()
    embedder.set_params(missing="empty")
    found = embed_dataset(ray.data.from_pandas(frame), embedder, text_column="text").to_pandas()
    assert relative_difference(np.stack(found["embedding"]), embedder.transform(frame["text"])) < 1e-5


# -- embed_parquet -----------------------------------------------------------------------------------------------------


def test_a_folder_becomes_a_folder_and_a_second_call_embeds_nothing(embedder, tmp_path):
    """Vectors of transform, rows in order, by more than one process; counts in the manifest; new files are added."""
    notes = tmp_path / "notes"
    notes.mkdir()
    source, target = tmp_path / "source", tmp_path / "target"
    frame = write_source(source, {"a.parquet": 100, "deep/b.parquet": 57})
    pipeline = make_pipeline(note_process(notes, company=2), embedder)
    options = {"text_column": "text", "rows_per_part": 20, "concurrency": 2, "progress": False}
    manifest = embed_parquet(source, target, pipeline, **options)
    assert pd.read_parquet(target)["id"].tolist() == frame["id"].tolist()
    assert relative_difference(read_vectors(target), embedder.transform(frame["text"])) < 1e-5
    processes = {int(path.name): sum(map(int, path.read_text().split())) for path in notes.iterdir()}
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert sum(processes.values()) == 157
    (run,) = manifest["runs"]
    assert {int(name.rpartition(":")[2]): worker["rows"] for name, worker in run["workers"].items()} == processes
    assert (run["embedded_rows"], run["embedded_parts"], run["kept_parts"]) == (157, 8, 0)
    assert manifest["counts"] == {
        "files": 2,
        "rows": 157,
        "parts": 8,
        "rows_finished": 157,
        "bytes": sum(path.stat().st_size for path in target.rglob("*.parquet")),
    }
    assert manifest["complete"] is True
    assert json.loads((tmp_path / "target.manifest.json").read_text()) == manifest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes", "source", "target", "target.manifest.json"]

    more = write_source(tmp_path / "more", {"c.parquet": 12}, seed=3)
    (tmp_path / "more" / "c.parquet").rename(source / "c.parquet")
    again = embed_parquet(source, target, pipeline, **options)
    assert [run["embedded_rows"] for run in again["runs"]] == [157, 12]
    assert again["runs"][-1]["kept_rows"] == 157
    read = pq.read_table(target / "c.part-000000.parquet")
    assert read.column("text").to_pylist() == more["text"].tolist()

    (tmp_path / "target.manifest.json").unlink()
    with pytest.raises(TargetError, match=r"other settings, by the part .*output_dtype 'float32', now 'float16'"):
        embed_parquet(source, target, pipeline, **options, output_dtype="float16")
    del options["rows_per_part"]
    found = embed_parquet(source, target, pipeline, **options)
    assert found["runs"][-1]["embedded_rows"] == 0, "a part says itself what it is"
    assert found["runs"][-1]["kept_rows"] == 169


def test_other_settings_do_not_go_into_the_same_target(embedder, tmp_path):
    """The error names what differs; a policy for missing texts makes no other vectors."""
    write_source(tmp_path / "source", {"a.parquet": 10})
    options = {"text_column": "text", "progress": False, "concurrency": 1}
    embed_parquet(tmp_path / "source", tmp_path / "target", embedder, **options)
    embedder.set_params(missing="empty", long_texts="truncate")
    manifest = embed_parquet(tmp_path / "source", tmp_path / "target", embedder, **options)
    assert manifest["runs"][-1]["kept_rows"] == 10
    embedder.set_params(pooling="cls")
    with pytest.raises(TargetError, match=r"other settings.*spec\.units \[\[2, 'mean'\]\], now \[\[2, 'cls'\]\]"):
        embed_parquet(tmp_path / "source", tmp_path / "target", embedder, **options)
    with pytest.raises(TargetError, match=r"begun with rows_per_part=2048\. Got 5"):
        embed_parquet(tmp_path / "source", tmp_path / "target", embedder, **options, rows_per_part=5)
    kept = json.loads((tmp_path / "target.manifest.json").read_text())
    assert (kept["complete"], len(kept["runs"])) == (True, 2), "a refused call changes nothing"


def test_an_error_of_a_worker_is_raised_as_what_it_is(embedder, tmp_path):
    """With the row in the file; what is finished stays, and the remedy goes on from there."""
    frame = write_source(tmp_path / "source", {"a.parquet": 40, "b.parquet": 40})
    frame = frame.astype({"text": "object"})
    frame.loc[70, "text"] = None
    pq.write_table(pa.Table.from_pandas(frame[40:], preserve_index=False), tmp_path / "source" / "b.parquet")
    options = {"text_column": "text", "rows_per_part": 20, "concurrency": 1, "progress": False}
    with pytest.raises(MissingTextError, match=r"'b\.parquet': row 30\."):
        embed_parquet(tmp_path / "source", tmp_path / "target", embedder, **options)
    broken = json.loads((tmp_path / "target.manifest.json").read_text())
    assert broken["complete"] is False
    assert "row 30" in broken["runs"][-1]["error"]
    assert broken["runs"][-1]["embedded_parts"] == 3
    embedder.set_params(missing="empty")
    manifest = embed_parquet(tmp_path / "source", tmp_path / "target", embedder, **options)
    assert (manifest["runs"][-1]["embedded_parts"], manifest["runs"][-1]["kept_parts"]) == (1, 3)
    assert manifest["parts"]["b.part-000001.parquet"]["n_missing"] == 1
    texts = frame["text"].fillna("").tolist()
    assert relative_difference(read_vectors(tmp_path / "target"), embedder.transform(texts)) < 1e-5


@pytest.mark.tries_network
def test_a_model_that_is_nowhere_is_told_before_anything_is_written(tmp_path):
    """As skbert's own error, and the folder of the result is not even made."""
    write_source(tmp_path / "source", {"a.parquet": 3})
    embedder = BertEmbedder(tmp_path / "no-model", device="cpu")
    with pytest.raises(ModelNotFoundError, match="no-model"):
        embed_parquet(tmp_path / "source", tmp_path / "target", embedder, text_column="text", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_cut_texts_are_told_once_with_their_parts(embedder, tmp_path):
    """By the driver, as the warning that transform gives; each part's in the manifest."""
    (tmp_path / "source").mkdir()
    table = pa.table({"text": ["a", "word " * 100, "b", "word " * 90]})
    pq.write_table(table, tmp_path / "source" / "a.parquet")
    with pytest.warns(TruncationWarning, match=r"Warnings of 2 part\(s\):\n.*a\.part-000000\.parquet: .*max_length"):
        manifest = embed_parquet(
            tmp_path / "source",
            tmp_path / "target",
            embedder,
            text_column="text",
            rows_per_part=2,
            concurrency=1,
            progress=False,
        )
    assert all(part["warnings"][0][0] == "TruncationWarning" for part in manifest["parts"].values())


def test_a_changed_source_is_embedded_again_with_a_warning(embedder, tmp_path):
    """Its old parts are replaced, those of rows that it no longer has are removed, other files are left alone."""
    source, target = tmp_path / "source", tmp_path / "target"
    write_source(source, {"a.parquet": 30, "b.parquet": 10})
    options = {"text_column": "text", "rows_per_part": 10, "concurrency": 1, "progress": False}
    embed_parquet(source, target, embedder, **options)
    frame = write_source(tmp_path / "new", {"a.parquet": 15}, seed=9)
    (tmp_path / "new" / "a.parquet").replace(source / "a.parquet")
    with pytest.warns(SkbertWarning, match=r"1 source file\(s\) changed.*a\.parquet"):
        manifest = embed_parquet(source, target, embedder, **options)
    assert (manifest["runs"][-1]["embedded_parts"], manifest["runs"][-1]["kept_parts"]) == (2, 1)
    assert len(list(target.iterdir())) == 3
    assert pd.read_parquet(target)["text"].tolist()[:15] == frame["text"].tolist()


# -- a Ray of its own --------------------------------------------------------------------------------------------------

ALONE = """
import ray, subprocess, sys
from skbert import BertEmbedder
from skbert.distributed import embed_parquet
from skbert.distributed._cluster import local_ray

if __name__ == "__main__":
    def look(X, notes=sys.argv[4]):
        import ray
        open(notes, "w").write(ray.get_runtime_context().gcs_address)
        return X
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer
    embedder = make_pipeline(FunctionTransformer(look), BertEmbedder(sys.argv[3], device="cpu", cache=None))
    embed_parquet(sys.argv[1], sys.argv[2], embedder, text_column="text", concurrency=1)
    print("left running:", ray.is_initialized())
"""


def test_where_no_ray_runs_one_is_started_on_the_loopback_and_stopped(tiny_bert_folder, tmp_path):
    """In a process of its own; with a bar, and without a dashboard's port."""
    write_source(tmp_path / "source", {"a.parquet": 10})
    script = tmp_path / "alone.py"
    script.write_text(ALONE)
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], str(Path(__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, script, tmp_path / "source", tmp_path / "target", tiny_bert_folder, tmp_path / "seen"],
        capture_output=True,
        text=True,
        timeout=180,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "left running: False" in done.stdout
    assert "10/10" in done.stderr, "the bar"
    assert (tmp_path / "seen").read_text().startswith("127.0.0.1:")
    assert len(pd.read_parquet(tmp_path / "target")) == 10


# -- the page ----------------------------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```py\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall((ROOT / "docs" / "guide" / "distributed.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_page_runs_as_pasted(number, minilm, tmp_path):
    """Each program of docs/guide/distributed.md, in a process and a folder of its own; it leaves vectors."""
    (tmp_path / "program.py").write_text(BLOCKS[number], encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], str(ROOT)])
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    assert done.stdout
    assert len(pd.read_parquet(tmp_path / "vectors")) == 538
