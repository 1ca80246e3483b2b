"""The folder of a DiskStore: whose it is, what lies in it, its format, where it may not lie, and its end."""

from __future__ import annotations

import ast
import os
import pickle
import re
import shutil
import stat
from pathlib import Path

import lmdb
import pytest

import skbert._store
from skbert import DiskStore, cache_info, clear_cache
from skbert._store.disk import places
from skbert._store.disk.database import Database
from skbert._store.disk.folder import folder_at
from skbert._store.disk.soundness import Unusable
from skbert.exceptions import CacheFormatError, InvalidParameterError
from tests._disk import (
    SIZE,
    SPACE,
    TEXTS,
    close,
    commits_held_back,
    in_child,
    is_healthy,
    keys,
    put,
    right,
    there,
    transform,
    values,
)

LABEL = "skbert-store.txt"


# -- what lies in the folder -----------------------------------------------------------------------------------


def test_folder_and_files_are_their_owners_only(tiny_bert_folder, tmp_path):
    """With any umask; a folder that is there already keeps its mode."""
    made, given = tmp_path / "made", tmp_path / "given"
    before = os.umask(0)
    try:
        given.mkdir(mode=0o755)
        for folder in (made, given):
            transform(tiny_bert_folder, folder, TEXTS)
            cache_info(folder)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (made, given)] == [0o700, 0o755]
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for folder in (made, given) for file in folder.iterdir()}
    assert len(modes) >= 5
    assert set(modes.values()) == {0o600}, modes


def test_no_text_can_be_read_from_the_folder(tiny_bert_folder, tmp_path):
    """Texts leave only digests."""
    transform(tiny_bert_folder, tmp_path, ["confidential clown", "another candidate"])
    raw = b"".join(file.read_bytes() for file in tmp_path.iterdir()).lower()
    assert tiny_bert_folder.encode().lower() in raw  # facts for people are there
    assert not re.search(rb"confidential|clown|candidate", raw)


def test_nothing_that_unpickles_is_imported():
    """The room of the stores knows no module that makes objects out of bytes."""
    unsafe = {"pickle", "_pickle", "cPickle", "joblib", "shelve", "marshal", "dill", "cloudpickle", "torch", "dbm"}
    files = sorted(Path(skbert._store.__path__[0]).rglob("*.py"))
    assert len(files) > 5
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & unsafe, file
            if isinstance(node, ast.Attribute):
                assert (node.attr, getattr(node.value, "id", "")) != ("load", "np"), file


class _Planted:
    def __reduce__(self):
        return os.mkdir, ("planted",)


def test_a_planted_pickle_is_a_miss(tmp_path, monkeypatch):
    """Pickles in the place of all that is stored are neither vectors nor executed."""
    monkeypatch.chdir(tmp_path)
    store, some = DiskStore(tmp_path / "store"), keys(range(10))
    store.describe(SPACE, {"names": ["model"], "weights": "w", "layer": 1, "pooling": "mean"})
    put(store, some)
    close(tmp_path / "store")
    with lmdb.open(str(tmp_path / "store")) as env, env.begin(write=True) as txn:
        stored = list(txn.cursor().iternext(values=False))
        assert len(stored) >= len(some)
        for key in stored:
            txn.put(key, pickle.dumps(_Planted()))
    assert not there(store, some).any()
    assert len(store.info().models) <= 1
    put(store, some)
    assert there(store, some).all()
    assert not (tmp_path / "planted").exists()


def test_a_newer_format_is_refused_clearly(tiny_bert_folder, tmp_path):
    """The error names the folder, both numbers and what to do; nothing in the folder changes."""
    transform(tiny_bert_folder, tmp_path, TEXTS)
    close(tmp_path)
    label = (tmp_path / LABEL).read_text()
    (tmp_path / LABEL).write_text(re.sub(r"format (\d+)", "format 99", label))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    for use in (lambda: transform(tiny_bert_folder, tmp_path, TEXTS), lambda: cache_info(tmp_path)):
        with pytest.raises(CacheFormatError, match=r"99.*up to 1\b.*Upgrade skbert, or give") as refused:
            use()
        assert str(tmp_path) in str(refused.value)
    with pytest.raises(CacheFormatError):
        clear_cache(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    (tmp_path / LABEL).write_text(label)
    assert transform(tiny_bert_folder, tmp_path, TEXTS)[1] == []
    assert cache_info(tmp_path).hits == len(TEXTS)


@pytest.mark.parametrize("label", [b"", b"\xff\xfe\x00", b"format", b"format one", b"format -3\n"])
def test_a_garbled_label_is_written_anew(tmp_path, label):
    """Vectors outlive their label."""
    store = DiskStore(tmp_path)
    put(store, keys(1))
    close(tmp_path)
    (tmp_path / LABEL).write_bytes(label)
    assert there(store, keys(1)).all()
    assert store.troubles() == []


def test_one_folder_under_two_names_is_one_store(tmp_path, monkeypatch):
    """A link and "~" lead to the same vectors."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    put(DiskStore(tmp_path / "real"), keys(1))
    assert there(DiskStore(tmp_path / "link"), keys(1)).all()
    assert there(DiskStore("~/real"), keys(1)).all()
    assert DiskStore("~/real").troubles() == []


# -- where it may not lie ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_there", [True, False])
def test_a_network_mount(tiny_bert_folder, tmp_path, monkeypatch, is_there):
    """One warning names the file system, vectors are right, and nothing is written there."""
    folder = tmp_path / "share"
    if is_there:
        folder.mkdir()
    monkeypatch.setattr(places, "network_file_system", lambda *args: "nfs4")
    told = right(tiny_bert_folder, folder) + right(tiny_bert_folder, folder)
    assert len(told) == 1, told
    assert "nfs4" in told[0]
    assert cache_info(folder).vectors == 0
    assert (sorted(folder.iterdir()) if is_there else not folder.exists()) in ([], True)


def test_network_mounts_are_known_by_the_deepest_mount(tmp_path):
    """Of the mounts above a folder the deepest counts, of equals the last; blanks in names are escaped."""
    mounts, home = tmp_path / "mounts", os.path.realpath(tmp_path)

    def kind(folder, *lines):
        mounts.write_text("".join(f"{line}\n" for line in ("/dev/sda / ext4 rw 0 0", *lines)))
        return places.network_file_system(Path(home) / folder, mounts)

    assert kind("a") is None
    assert kind("a", f"server:/x {home} nfs4 rw 0 0") == "nfs4"
    assert kind("a/b", f"server:/x {home} nfs rw 0 0", f"/dev/sdb {home}/a ext4 rw 0 0") is None
    assert kind("a/b", f"/dev/sdb {home}/a ext4 rw 0 0", f"server:/x {home} nfs rw 0 0") is None
    assert kind("a", f"server:/x {home} nfs rw 0 0", f"/dev/sdb {home} ext4 rw 0 0") is None
    assert kind("a b/c", rf"//server/x {home}/a\040b cifs rw 0 0") == "cifs"
    assert kind("ab", f"server:/x {home}/a nfs rw 0 0") is None
    assert kind("a", f"me@server: {home}/a fuse.sshfs rw 0 0") == "fuse.sshfs"
    assert kind("a", f"disk {home}/a fuse.ntfs-3g rw 0 0") is None
    assert places.network_file_system(tmp_path, tmp_path / "no such file") is None


# -- deleted underneath ----------------------------------------------------------------------------------------


def test_a_folder_deleted_between_calls(tiny_bert_folder, tmp_path):
    """Right vectors, one warning, and the folder is there again with them."""
    folder = tmp_path / "store"
    assert right(tiny_bert_folder, folder) == []
    shutil.rmtree(folder)
    (told,) = right(tiny_bert_folder, folder)
    assert "CacheWarning" in told
    assert right(tiny_bert_folder, folder) == []
    assert cache_info(folder).vectors == len(TEXTS)
    close(folder)
    is_healthy(tiny_bert_folder, folder)


def test_a_folder_deleted_between_put_and_flush(tmp_path):
    """What was on its way is in the new folder."""
    store = DiskStore(tmp_path / "store")
    put(store, keys(1))
    with commits_held_back() as go:
        store.put_many(SPACE, keys(2), values(keys(2)))
        shutil.rmtree(tmp_path / "store")
        go.set()
        store.flush()
    assert there(store, keys(2)).all()
    assert len(store.troubles()) == 1
    in_child(lambda: there(DiskStore(tmp_path / "store"), keys(2)).all())


def test_a_folder_cleared_by_another_process(tiny_bert_folder, tmp_path):
    """Somebody else's wish is no fault: right vectors, nothing told."""
    assert right(tiny_bert_folder, tmp_path) == []
    in_child(clear_cache, tmp_path)
    assert cache_info(tmp_path).vectors == 0
    assert right(tiny_bert_folder, tmp_path) == []
    assert cache_info(tmp_path).vectors == len(TEXTS)


def test_a_folder_whose_place_a_file_took(tmp_path):
    """No error, a miss, and the file is left alone."""
    folder = tmp_path / "store"
    store = DiskStore(folder)
    put(store, keys(range(100)))
    shutil.rmtree(folder)
    folder.write_text("mine")
    put(store, keys(range(100)))
    store.tally(1, 1)
    assert not there(store, keys(range(100))).any()
    assert store.get_many(SPACE, keys(range(100)), SIZE)[1].shape == (0, SIZE)
    assert store.troubles() != store.troubles() == []
    assert folder.read_text() == "mine"


# -- whose folder ------------------------------------------------------------------------------------------------


def test_a_database_of_others_is_refused_and_left_as_it_is(tiny_bert_folder, tmp_path):
    """LMDB data sets have the same file names; without skbert's label nothing is written, renamed or deleted."""
    with lmdb.open(str(tmp_path), map_size=2**20) as env, env.begin(write=True) as txn:
        txn.put(b"an image", b"of theirs")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(CacheFormatError, match=r"that skbert did not make.*Give `cache` a folder of its own"):
        transform(tiny_bert_folder, tmp_path, TEXTS)
    assert cache_info(tmp_path).vectors == 0
    clear_cache(tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert {file.name for file in tmp_path.iterdir()} - set(before) <= {"open.lock"}


def test_asking_makes_no_store(tmp_path):
    """cache_info and clear_cache leave a folder that is no store, and one that is not there, as they are."""
    (tmp_path / "data.mdb").write_bytes(b"notes")
    for folder in (tmp_path, tmp_path / "none"):
        assert cache_info(folder).bytes == 0
        clear_cache(folder)
        with pytest.raises(InvalidParameterError, match="no model"):
            clear_cache(folder, model="x")
    assert [file.name for file in tmp_path.iterdir()] == ["data.mdb"]


def test_a_model_is_named_as_it_was_used(tiny_bert_folder, tmp_path, monkeypatch):
    """Its folder from anywhere, its SHA-256, or the first digits of that."""
    (weights,) = {model.weights for model in _after(tiny_bert_folder, tmp_path).models}
    monkeypatch.chdir(Path(tiny_bert_folder).parent)
    for name in (tiny_bert_folder, Path(tiny_bert_folder).name, f"{tiny_bert_folder}/", weights, weights[:12]):
        assert _after(tiny_bert_folder, tmp_path).vectors == len(TEXTS)
        clear_cache(tmp_path, model=name)
        assert cache_info(tmp_path).vectors == 0
    with pytest.raises(InvalidParameterError, match=r"'model' parameter of clear_cache .* Got 5 instead"):
        clear_cache(tmp_path, model=5)


def _after(model, folder):
    transform(model, folder, TEXTS)
    return cache_info(folder)


@pytest.mark.parametrize("fault", [MemoryError(), RuntimeError("odd"), OSError(5, "Input/output error")])
def test_no_fault_of_writing_is_the_callers(tiny_bert_folder, tmp_path, monkeypatch, fault):
    """Whatever the writer meets: the vectors come, one warning too, and the next call is well again."""

    def failing(*_):
        raise fault

    store = DiskStore(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Database, "commit", failing)
        assert len(right(tiny_bert_folder, store)) == 1
    assert right(tiny_bert_folder, store) == []
    assert store.info().vectors == len(TEXTS)


def test_a_place_where_no_file_can_be_made_does_not_hang(tiny_bert_folder):
    """Where making a file says "not there", a lock would be tried for ever."""
    if not Path("/proc/self").exists():
        pytest.skip("needs /proc")
    (told,) = right(tiny_bert_folder, "/proc")
    assert "goes on without it" in told


def test_mount_points_may_have_any_name(tmp_path):
    """Other people's mounts are read as the system writes them: octal escapes, any alphabet, even no text."""
    table = tmp_path / "mounts"
    lines = "/dev/a / ext4 rw\n/dev/b /media/łódź\\0401 vfat rw\nhost:/x /tmp/łódź\\0401 nfs4 rw\n"
    table.write_bytes(lines.encode() + b"c /\xff ext4\n")
    assert places.network_file_system(Path("/tmp/łódź 1/vectors"), table) == "nfs4"
    assert places.network_file_system(Path("/media/łódź 1/vectors"), table) is None


def test_a_failed_write_while_another_reads_loses_neither(tmp_path, monkeypatch):
    """The files are not opened a second time under a reader; the write is tried once more."""
    store, some, failures = DiskStore(tmp_path), keys(range(5)), [Unusable("no room, once")]
    put(store, some)
    commit = Database.commit

    def failing_once(self, *args):
        if failures:
            raise failures.pop()
        return commit(self, *args)

    monkeypatch.setattr(Database, "commit", failing_once)
    with folder_at(tmp_path).use():
        put(store, keys(range(5, 9)))
        assert there(store, some).all()
    assert there(store, keys(range(9))).all()
    assert store.troubles() == []
