"""Rows become parts, and parts become files: whole, verified, in order. Without Ray, which only shares them out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skbert import BertEmbedder, DiskStore, MemoryStore, TextCleaner
from skbert.exceptions import InvalidParameterError, MissingTextError, TargetError, TextInputError, TruncationWarning
from tests._reference import padded_vectors, relative_difference

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from skbert.distributed._digest import digest_of  # noqa: E402
from skbert.distributed._engine import Columns, Engine  # noqa: E402
from skbert.distributed._folders import Folders  # noqa: E402
from skbert.distributed._manifest import Manifest, manifest_path  # noqa: E402
from skbert.distributed._parts import is_part, read_facts  # noqa: E402
from skbert.distributed._sources import cut, list_files, list_sources, rows_a_part, with_digests  # noqa: E402
from tests._parts import make_texts, make_writer, read_vectors, write_source  # noqa: E402

COLUMNS = Columns("text", "embedding")
# Names that a careless scheme would sort otherwise than the source's own.
NAMES = {
    "b.parquet": 90,
    "a.parquet": 50,
    "a-b.parquet": 7,
    "a.c.parquet": 3,
    "deep/er/z.parquet": 41,
    "none.parquet": 0,
}


@pytest.fixture
def embedder(tiny_bert_folder):
    """Return an embedder without a store, so that each call embeds."""
    return BertEmbedder(tiny_bert_folder, device="cpu", cache=None)


def sources(source, columns=COLUMNS, known=()):
    """Return the files of a source with their digests."""
    return with_digests(list_sources(source, columns, known), source.parent if source.is_file() else source)


def embed_all(embedder, source, target, rows=32, columns=COLUMNS, batch_size=20):
    """Write all parts, and return them with their request and outcomes."""
    writer, request = make_writer(embedder, source, target, columns, batch_size=batch_size)
    parts = cut(sources(source, columns), rows)
    return parts, request, [writer.write(part) for part in parts]


@pytest.mark.parametrize("rows", [1, 7, 40, 1_000])
def test_parts_hold_each_row_once_in_order(embedder, tmp_path, rows):
    """However the rows are cut, across the source's row groups too: each is there once, at its place, with its text."""
    frame = write_source(tmp_path / "source", NAMES if rows > 1 else {"a.parquet": 5})
    parts, _, outcomes = embed_all(embedder, tmp_path / "source", tmp_path / "target", rows)
    assert all(part.rows <= rows for part in parts)
    assert sum(outcome.rows for outcome in outcomes) == len(frame)
    read = pd.read_parquet(tmp_path / "target")
    assert read[["id", "text"]].to_numpy().tolist() == frame.to_numpy().tolist()
    assert list_files(tmp_path / "target") == [part.path for part in parts], "the names sort as the rows do"
    np.testing.assert_array_equal(read_vectors(tmp_path / "target"), np.stack(read["embedding"]))


def test_vectors_are_those_of_plain_transformers(embedder, tiny_bert_folder, tmp_path):
    """Within 1e-5 of the plain padded forward, whatever batches and parts a text comes in."""
    frame = write_source(tmp_path / "source", {"a.parquet": 70, "b.parquet": 30})
    embed_all(embedder, tmp_path / "source", tmp_path / "target", 17)
    expected = padded_vectors(tiny_bert_folder, frame["text"].tolist())
    assert relative_difference(read_vectors(tmp_path / "target"), expected) < 1e-5


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_pandas_pyarrow_and_polars_read_the_column(embedder, tmp_path, dtype):
    """A fixed-size list of float32 or float16 for each of them."""
    polars = pytest.importorskip("polars")
    frame = write_source(tmp_path / "source", {"a.parquet": 30})
    columns = Columns("text", "v", dtype=dtype)
    embed_all(embedder, tmp_path / "source", tmp_path / "target", 12, columns)
    expected = embedder.transform(frame["text"]).astype(dtype)
    table = pq.read_table(tmp_path / "target")
    assert table.schema.field("v").type == pa.list_({"float32": pa.float32(), "float16": pa.float16()}[dtype], 32)
    bound = 1e-5 if dtype == "float32" else 1e-3
    by_pandas = np.stack(pd.read_parquet(tmp_path / "target")["v"])
    assert by_pandas.dtype == dtype
    np.testing.assert_allclose(by_pandas, expected, atol=bound)
    np.testing.assert_allclose(read_vectors(tmp_path / "target", "v"), expected, atol=bound)
    if dtype == "float16" and not hasattr(polars, "Float16"):
        return  # polars of then knows no such numbers
    by_polars = polars.read_parquet(tmp_path / "target")["v"]
    assert by_polars.dtype == polars.Array(getattr(polars, dtype.capitalize()), 32)
    np.testing.assert_allclose(by_polars.to_numpy(), expected, atol=bound)


def test_all_other_columns_are_kept(embedder, tmp_path):
    """Nested ones, dictionaries, dates and nulls as well, with the metadata of the source."""
    table = pa.table(
        {
            "text": pa.array(["a", "b", "c"]).dictionary_encode(),
            "when": pa.array([1, None, 3], pa.timestamp("us", tz="UTC")),
            "tags": pa.array([["x"], [], None]),
            "user": pa.array([{"name": "n", "age": 1}, None, {"name": None, "age": 2}]),
            "dotted.name": pa.array([1.5, 2.5, None]),
            "": pa.array([1, 2, 3]),
        }
    ).replace_schema_metadata({"mine": "kept"})
    (tmp_path / "source").mkdir()
    pq.write_table(table, tmp_path / "source" / "a.parquet")
    embed_all(embedder, tmp_path / "source", tmp_path / "target", 2)
    read = pq.read_table(tmp_path / "target")
    assert read.drop_columns(["embedding"]).equals(table)
    assert read.schema.metadata[b"mine"] == b"kept"
    np.testing.assert_allclose(read_vectors(tmp_path / "target"), embedder.transform(["a", "b", "c"]), atol=1e-5)


def test_pairs_and_pipelines(embedder, tmp_path):
    """`pair_column` makes pairs, and a pipeline's steps come first; both as transform does it."""
    texts = make_texts(20)
    table = pa.table({"text": ["RT @you: " + text for text in texts], "second": texts[::-1]})
    (tmp_path / "source").mkdir()
    pq.write_table(table, tmp_path / "source" / "a.parquet")
    embed_all(embedder, tmp_path / "source", tmp_path / "pairs", 6, Columns("text", "embedding", "second"))
    expected = embedder.transform(list(zip(*table.to_pydict().values(), strict=True)))
    assert relative_difference(read_vectors(tmp_path / "pairs"), expected) < 1e-5

    pipeline = make_pipeline(TextCleaner(), embedder)
    embed_all(pipeline, tmp_path / "source", tmp_path / "cleaned", 6)
    expected = pipeline.transform(table.column("text").to_pylist())
    assert relative_difference(read_vectors(tmp_path / "cleaned"), expected) < 1e-5
    raw = embedder.transform(table.column("text").to_pylist())
    assert relative_difference(read_vectors(tmp_path / "cleaned"), raw) > 1e-3


def write_texts(folder: Path, texts: list[str | None], **more: list) -> None:
    """Write one file a.parquet with a column of texts."""
    folder.mkdir()
    pq.write_table(pa.table({"text": pa.array(texts, pa.string()), **more}), folder / "a.parquet", row_group_size=4)


def test_a_missing_text_is_named_by_its_row_in_the_file(embedder, tmp_path):
    """Not by that in the batch or the part; or it gets the vector of the empty text, and is counted."""
    texts: list[str | None] = [*make_texts(30)]
    texts[17] = texts[23] = None
    write_texts(tmp_path / "source", texts)
    with pytest.raises(MissingTextError, match=r"'text'.*2 missing.*'a\.parquet': row 17; row 23\..*missing='empty'"):
        embed_all(embedder, tmp_path / "source", tmp_path / "target", 16, batch_size=14)
    embedder.set_params(missing="empty")
    _, _, outcomes = embed_all(embedder, tmp_path / "source", tmp_path / "target", 16, batch_size=5)
    assert [outcome.n_missing for outcome in outcomes] == [0, 2]
    _, _, again = embed_all(embedder, tmp_path / "source", tmp_path / "target", 16)
    assert [(outcome.embedded, outcome.n_missing) for outcome in again] == [(False, 0), (False, 2)]
    filled = ["" if text is None else text for text in texts]
    assert relative_difference(read_vectors(tmp_path / "target"), embedder.transform(filled)) < 1e-5


def test_a_long_text_is_named_by_its_row_in_the_file(embedder, tmp_path):
    """Of an error of the embedder the rows are those of a batch, and it says which those are."""
    write_texts(tmp_path / "source", ["a", "b", "c", "d", "e", "word " * 100])
    embedder.set_params(long_texts="error")
    with pytest.raises(TextInputError, match=r"Row 1 of X.*X here is rows 4 to 5 of 'a\.parquet'\."):
        embed_all(embedder, tmp_path / "source", tmp_path / "target", 4, batch_size=2)


def test_what_a_worker_is_warned_of_is_told(embedder, tmp_path):
    """Cut texts are no error, and go to the manifest and the driver rather than to a worker's output."""
    write_texts(tmp_path / "source", ["a", "word " * 100, "b", "word " * 90])
    _, _, outcomes = embed_all(embedder, tmp_path / "source", tmp_path / "target", 2)
    for outcome in outcomes:
        ((category, count, message),) = outcome.warnings
        assert (category, count) == (TruncationWarning.__name__, 1)
        assert "max_length" in message


def test_a_memory_that_is_too_small_is_no_news_and_a_folder_that_is_is(embedder, tmp_path):
    """Of millions of texts memory keeps the last ones; a folder was meant to keep all."""
    write_source(tmp_path / "source", {"a.parquet": 200})
    embedder.set_params(cache=MemoryStore(max_bytes=10_000))
    _, _, outcomes = embed_all(embedder, tmp_path / "source", tmp_path / "memory", 200, batch_size=200)
    assert [outcome.warnings for outcome in outcomes] == [()]
    embedder.set_params(cache=DiskStore(tmp_path / "store", max_bytes=400_000))
    write_source(tmp_path / "more", {"a.parquet": 4_000})
    _, _, outcomes = embed_all(embedder, tmp_path / "more", tmp_path / "disk", 4_000, batch_size=4_000)
    assert [category for outcome in outcomes for category, _, _ in outcome.warnings] == ["CacheWarning"]


def test_float16_does_not_turn_large_values_into_infinity(embedder, tmp_path, monkeypatch):
    """A value beyond its range is an error that names the row and the way out."""
    write_texts(tmp_path / "source", ["a", "b", "c"])
    vectors = np.ones((3, 32), dtype=np.float32)
    vectors[2, 5] = -7e4
    writer, _ = make_writer(embedder, tmp_path / "source", tmp_path / "target", Columns("text", "v", dtype="float16"))
    monkeypatch.setattr(BertEmbedder, "transform", lambda self, X: vectors)
    (part,) = cut(sources(tmp_path / "source"), 10)
    with pytest.raises(ValueError, match=r"row 2 .*70000.*float16.*output_dtype='float32'"):
        writer.write(part)


# -- all or nothing ----------------------------------------------------------------------------------------------------


def test_a_finished_part_is_kept_and_a_damaged_one_is_embedded_again(embedder, tmp_path):
    """Every byte counts: cut short, a flipped bit among the vectors, another request, another source."""
    write_source(tmp_path / "source", {"a.parquet": 60})
    source, target = tmp_path / "source", tmp_path / "target"
    parts, request, outcomes = embed_all(embedder, source, target, 30)
    assert [outcome.embedded for outcome in outcomes] == [True, True]
    before = {part.path: (target / part.path).read_bytes() for part in parts}
    _, _, again = embed_all(embedder, source, target, 30)
    assert [outcome.embedded for outcome in again] == [False, False]

    path = target / parts[0].path
    whole = before[parts[0].path]
    vectors = embedder.transform(pd.read_parquet(path)["text"].tolist())
    place = whole.index(vectors[20].tobytes())  # they lie there as they are
    damaged = {
        "cut short": whole[:-20],
        "emptied": b"",
        "a flipped bit": whole[: place + 9] + bytes([whole[place + 9] ^ 1]) + whole[place + 10 :],
    }
    for what, content in damaged.items():
        path.write_bytes(content)
        assert not is_part(path, parts[0], request, whole=True), what
        _, _, mended = embed_all(embedder, source, target, 30)
        assert [outcome.embedded for outcome in mended] == [True, False], what
        assert pq.read_table(path).equals(pq.read_table(pa.BufferReader(whole))), what

    embedder.set_params(pooling="cls")
    _, _, others = embed_all(embedder, source, target, 30)
    assert [outcome.embedded for outcome in others] == [True, True]


def test_nothing_is_seen_of_a_part_that_fails(embedder, tmp_path):
    """Its final name appears when it is whole; what was written of it is removed."""
    texts: list[str | None] = [*make_texts(40)]
    texts[35] = None
    write_texts(tmp_path / "source", texts)
    with pytest.raises(MissingTextError):
        embed_all(embedder, tmp_path / "source", tmp_path / "target", 40, batch_size=10)
    assert list_files(tmp_path / "target") == []
    assert list((tmp_path / "target.unfinished").iterdir()) == []


def test_a_part_that_kills_each_worker_is_given_up(embedder, tmp_path, monkeypatch):
    """Ray gives it to a new worker each time; what the dead ones left is counted, part by part."""
    write_source(tmp_path / "source", {"a.parquet": 20})
    writer, _ = make_writer(embedder, tmp_path / "source", tmp_path / "target")
    first, second = cut(sources(tmp_path / "source"), 10)

    def die(self, X):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(BertEmbedder, "transform", die)
        patched.setattr(Path, "unlink", lambda self, missing_ok=False: None)  # as a killed process: nothing is tidied
        for _ in range(5):
            with pytest.raises(KeyboardInterrupt):
                writer.write(second)
        with pytest.raises(TargetError, match=r"5 workers died over rows 10 to 19 of 'a\.parquet'"):
            writer.write(second)
    assert writer.write(first).embedded


def test_a_part_says_what_it_is(embedder, tmp_path):
    """Its own metadata hold the identity of the vectors and the rows' origin."""
    write_source(tmp_path / "source", {"a.parquet": 10})
    (part,), _, _ = embed_all(embedder, tmp_path / "source", tmp_path / "target")
    facts = read_facts(tmp_path / "target" / part.path)
    spec, _ = embedder._identity()
    assert facts["request"]["spec"]["weights"] == spec.weights
    assert (facts["source"], facts["start"], facts["stop"]) == ("a.parquet", 0, 10)


@pytest.mark.parametrize("rows", [12, 20, 30])
def test_a_source_that_changes_under_way_is_told(embedder, tmp_path, rows):
    """With fewer rows, as many or more: they are not those that the part would say they are."""
    write_source(tmp_path / "source", {"a.parquet": 20})
    writer, _ = make_writer(embedder, tmp_path / "source", tmp_path / "target")
    (part,) = cut(sources(tmp_path / "source"), 100)
    write_source(tmp_path / "source", {"a.parquet": rows}, seed=1)
    with pytest.raises(TargetError, match=r"'a\.parquet' has changed while the source was embedded"):
        writer.write(part)
    assert list_files(tmp_path / "target") == []


# -- source and target -------------------------------------------------------------------------------------------------


def test_hidden_files_are_left_out_and_links_are_followed(tmp_path):
    """As by all that read such folders; a link to a folder above ends nowhere."""
    source = tmp_path / "source"
    write_source(source, {"a.parquet": 3, "_temporary/b.parquet": 3, ".hidden/c.parquet": 3, "d/_e.parquet": 3})
    write_source(tmp_path / "elsewhere", {"f.parquet": 4})
    (source / "notes.txt").write_text("no Parquet")
    (source / "linked").symlink_to(tmp_path / "elsewhere")
    (source / "round").symlink_to(source)
    assert list_files(source) == ["a.parquet", "linked/f.parquet"]


def test_one_file_is_a_source(embedder, tmp_path):
    """A path of a file stands for itself, whatever lies beside it."""
    frame = write_source(tmp_path / "source", {"a.parquet": 5, "b.parquet": 6})
    parts, _, _ = embed_all(embedder, tmp_path / "source" / "a.parquet", tmp_path / "target")
    assert [part.path for part in parts] == ["a.part-000000.parquet"]
    assert pd.read_parquet(tmp_path / "target")["id"].tolist() == frame["id"].tolist()[:5]


@pytest.mark.parametrize(
    ("columns", "error", "match"),
    [
        (Columns("tweet", "v"), InvalidParameterError, r"text_column='tweet'.*'a\.parquet'.*\['id', 'text'\]"),
        (Columns("text", "v", "two"), InvalidParameterError, r"pair_column='two' is not among.*'a\.parquet'"),
        (Columns("id", "v"), TextInputError, r"'id' of 'a\.parquet' must hold str, and is of type int64"),
        (Columns("text", "id"), InvalidParameterError, r"output_column='id' is already a column of 'a\.parquet'"),
    ],
    ids=["text", "pair", "type", "output"],
)
def test_a_file_with_other_columns_is_named(tmp_path, columns, error, match):
    """Before anything is embedded."""
    write_source(tmp_path / "source", {"a.parquet": 3})
    with pytest.raises(error, match=match):
        list_sources(tmp_path / "source", columns)


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    """And a source that is missing, or empty."""
    for name in ("nowhere", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(TextInputError, match=f"'source' parameter of embed_parquet.*{name}"):
            list_sources(tmp_path / name, COLUMNS)
    write_source(tmp_path / "source", {"a.parquet": 3})
    (tmp_path / "source" / "b.parquet").write_text("text,label")
    with pytest.raises(TextInputError, match=r"b\.parquet cannot be read as Parquet"):
        list_sources(tmp_path / "source", COLUMNS)


@pytest.mark.parametrize(("total", "rows"), [(0, 2_048), (20_000, 2_048), (1_000_000, 15_625), (10**9, 65_536)])
def test_rows_a_part(tmp_path, total, rows):
    """A 64th of all, within bounds."""
    write_source(tmp_path, {"a.parquet": 1})
    (file,) = list_sources(tmp_path, COLUMNS)
    assert rows_a_part([type(file)(**{**vars(file), "rows": total})]) == rows


def test_the_target_lies_outside_the_source(tmp_path):
    """Else its parts would be texts of the next run."""
    source = tmp_path / "source"
    write_source(source, {"a.parquet": 3})
    (tmp_path / "link").symlink_to(source)
    for target in (source, source / "inner", tmp_path, tmp_path / "link" / "inner"):
        with pytest.raises(TargetError, match="outside the source"):
            Folders.of(source, target)
    with pytest.raises(TargetError, match="is a file"):
        Folders.of(source / "a.parquet", __file__)


def test_two_runs_do_not_write_into_one_target(tmp_path):
    """The second is told; when the first has ended, nothing unfinished is left, nor an empty target."""
    write_source(tmp_path / "source", {"a.parquet": 3})
    folders = Folders.of(tmp_path / "source", tmp_path / "target")
    with folders.locked() as own:
        (own / "half.parquet").write_bytes(b"PAR1")
        with pytest.raises(TargetError, match="Another run"), Folders.of(folders.source, folders.target).locked():
            pass
        assert (own / "half.parquet").exists(), "the other run's work is left alone"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_what_a_killed_run_left_is_cleared_and_what_others_left_is_not(tmp_path):
    """A folder of that name may be somebody's; nothing in it is touched."""
    write_source(tmp_path / "source", {"a.parquet": 3})
    folders = Folders.of(tmp_path / "source", tmp_path / "target")
    left = folders.unfinished / ("0123456789abcdef" * 2)
    left.mkdir(parents=True)
    (left / "half.parquet").write_bytes(b"PAR1")
    with folders.locked() as own:
        assert sorted(path.name for path in folders.unfinished.iterdir()) == sorted(["lock", own.name])
    folders.unfinished.mkdir()
    (folders.unfinished / "mine.parquet").write_bytes(b"mine")
    with pytest.raises(TargetError, match=r"holds something else: mine\.parquet"), folders.locked():
        pass
    assert (folders.unfinished / "mine.parquet").read_bytes() == b"mine"


def test_a_target_with_other_files_is_left_alone(embedder, tmp_path):
    """Files of others, parts of files that are gone, cut otherwise or with other vectors: each is told by name."""
    source, target = tmp_path / "source", tmp_path / "target"
    write_source(source, {"a.parquet": 40, "b.parquet": 10})
    _, request, _ = embed_all(embedder, source, target, 20)
    files = sources(source)
    folders, none = Folders.of(source, target), Manifest.read(target)
    assert folders.rows_per_part() == 20, "without a manifest too"
    assert folders.superseded(files, cut(files, 20), request, none) == []
    with pytest.raises(TargetError, match=r"2 file\(s\) that are cut otherwise.*a\.part-000001"):
        folders.superseded(files, cut(files, 40)[:1], request, none)
    with pytest.raises(TargetError, match=r"1 file\(s\) of source files that are no longer there.*b\.part-000000"):
        folders.superseded(files[:1], cut(files[:1], 20), request, none)
    other = {**request, "spec": {**request["spec"], "units": [[2, "cls"]]}}
    with pytest.raises(TargetError, match=r"other settings, by the part .*a\.part-000000.*spec\.units"):
        folders.superseded(files, cut(files, 20), other, none)

    write_source(target, {"mine.parquet": 2})
    with pytest.raises(TargetError, match=r"1 file\(s\) that embed_parquet did not write.*mine\.parquet"):
        folders.superseded(files, cut(files, 20), request, none)
    (target / "mine.parquet").replace(target / "b.part-000000.parquet")
    with pytest.raises(TargetError, match=r"1 file\(s\) that embed_parquet did not write.*b\.part-000000"):
        folders.superseded(files, cut(files, 20), request, none)
    (target / "b.part-000000.parquet").write_bytes(b"PAR1")
    assert folders.superseded(files, cut(files, 20), request, none) == [], "a damaged one is embedded again"

    write_source(source, {"a.parquet": 15}, seed=1)
    files = sources(source)
    assert folders.superseded(files, cut(files, 20), request, none) == ["a.part-000001.parquet"], "what the file was"


def test_a_source_file_is_known_by_size_and_time_or_else_by_content(tmp_path):
    """A copy with another time is the same file; another text in it makes it another."""
    write_source(tmp_path, {"a.parquet": 9})
    (file,) = sources(tmp_path)
    believed = type(file)(**{**vars(file), "sha256": "as it was"})
    assert sources(tmp_path, COLUMNS, [believed]) == [believed], "not read again"
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(content)
    (touched,) = sources(tmp_path, COLUMNS, [believed])
    assert touched.sha256 == file.sha256
    write_source(tmp_path, {"a.parquet": 9}, seed=5)
    assert sources(tmp_path, COLUMNS, [file])[0].sha256 != file.sha256


def test_a_manifest_of_others_is_refused(tmp_path):
    """No JSON, or of a later format; the target is named, and what to do."""
    path = manifest_path(tmp_path / "target")
    assert path == tmp_path / "target.manifest.json"
    sound = {"format": 1, "request": {}, "sources": [], "parts": {}, "runs": [], "rows_per_part": 5}
    wrong = [{}, {"parts": 5}, {"parts": {"a": 1}}, {"rows_per_part": -3}, {"sources": [{}]}]
    cases = [("{", "is no manifest"), ("[]", "is no manifest"), (json.dumps({"format": 99}), "newer")]
    cases += [(json.dumps({**sound, **fault} if fault else {"format": 1}), "is no manifest") for fault in wrong]
    path.write_text(json.dumps(sound))
    assert Manifest.read(tmp_path / "target").rows_per_part is None, "sound, and without a part it binds nothing"
    for content, match in cases:
        path.write_text(content)
        with pytest.raises(TargetError, match=match):
            Manifest.read(tmp_path / "target")


def test_texts_that_pandas_holds_as_objects_are_looked_at_one_by_one(embedder, tmp_path):
    """A file without rows may have its column in another type; a home folder is found."""
    write_texts(tmp_path / "source", ["a", "b"])
    pq.write_table(pa.table({"text": pa.array([], pa.float64())}), tmp_path / "source" / "B.PARQUET")
    assert [file.path for file in list_sources(tmp_path / "source", COLUMNS)] == ["B.PARQUET", "a.parquet"]
    parts, _, _ = embed_all(embedder, tmp_path / "source", tmp_path / "target")
    assert [part.path for part in parts] == ["B.part-000000.parquet", "a.part-000000.parquet"]
    assert Folders.of("~/nowhere", tmp_path / "x").source == Path("~/nowhere").expanduser()


def make_step(kind: str):
    """Return a step that changes with its kind in one thing."""
    words = {"rt", "via", "amp"} if kind != "another set" else {"rt", "via", "amps"}

    def step(X, times=2 if kind != "another default" else 3):
        return [text.lower() * times for text in X if text not in words and text not in {"a", "the", "of"}]

    def other(X, times=2):
        return [text.upper() * times for text in X if text not in words and text not in {"a", "the", "of"}]

    other.__name__ = step.__name__
    chosen = other if kind == "another code" else step
    return FunctionTransformer(chosen, kw_args={"times": 1} if kind == "another parameter" else None)


DIGEST = """
import sys
from tests.test_distributed_parts import make_step
from skbert import TextCleaner
from skbert.distributed._digest import digest_of
print(digest_of([make_step(sys.argv[1]), TextCleaner()]))
"""


def test_the_digest_of_steps_is_the_same_in_any_process():
    """Though sets have another order in each; a lambda, or a function of a script, is known by its code."""
    digests = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], str(Path(__file__).parents[1])])
        done = subprocess.run(
            [sys.executable, "-c", DIGEST, "same"], env=environment, capture_output=True, text=True, check=True
        )
        digests.append(done.stdout)
    assert digests[0] == digests[1]
    kinds = ["same", "another code", "another set", "another default", "another parameter"]
    own = {kind: digest_of([make_step(kind), TextCleaner()]) for kind in kinds}
    assert own["same"] == digests[0].strip()
    assert len(set(own.values())) == len(kinds)

    def itself(X, again=True):
        return json.loads(json.dumps(itself(X, again=False))) if again else X

    assert digest_of([FunctionTransformer(itself)]) != digest_of([FunctionTransformer(str)])
    assert digest_of([TextCleaner(case="lower")]) != digest_of([TextCleaner(case="keep")])


def test_an_engine_leaves_the_embedder_as_it_was(embedder):
    """It has its own copy, with the worker's device."""
    pipeline = make_pipeline(TextCleaner(), embedder)
    embedder.set_params(device="auto")
    Engine(pipeline, COLUMNS, device="cpu", dtype="float32")
    assert (embedder.device, embedder.dtype) == ("auto", "auto")
