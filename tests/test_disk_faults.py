"""DiskStore among faults: right vectors, no crash, one warning where something was lost, and the next run healthy."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
from pathlib import Path

import lmdb
import numpy as np
import pytest

from skbert import DiskStore, cache_info, clear_cache
from skbert._store.disk.database import Database
from skbert._store.disk.folder import folder_at
from skbert._store.disk.soundness import Damaged
from skbert.exceptions import CacheWarning
from tests._disk import SPACE, TEXTS, close, in_child, is_healthy, keys, put, right, there, transform

resource = pytest.importorskip("resource", reason="needs the limits of a Unix system")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

SOME = keys(range(600))
DATA = "data.mdb"
NOBODY = 65534


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Return a folder with the values of SOME in two namespaces, closed."""
    folder = tmp_path_factory.mktemp("sound")

    def fill():
        store = DiskStore(folder)
        for space in (SPACE, b"m" * 16):
            store.describe(space, {"names": [str(space)], "weights": "w", "layer": 1, "pooling": "mean"})
            for k in range(0, 600, 100):
                put(store, SOME[k : k + 100], space)

    in_child(fill)
    return folder


@pytest.fixture
def damaged(sound, tmp_path):
    """Return a function that makes a folder with other bytes in the place of the sound data."""

    def make(raw, number=0):
        folder = tmp_path / f"damaged-{number}"
        shutil.copytree(sound, folder)
        (folder / DATA).write_bytes(raw)
        return folder

    return make


@pytest.fixture
def mounted(tmp_path):
    """Return a function that mounts a small file system and returns its folder."""
    made = []

    def mount(size):
        folder = tmp_path / f"mounted-{len(made)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("needs the right to mount")
        made.append(folder)
        return folder

    yield mount
    for folder in made:
        subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


def mend(folder):
    """Read what there is, put what is missing until nothing is; return how many were missing, and what was told."""
    store, counts = DiskStore(folder), []
    for _ in range(4):
        counts.append(0)
        for space in (SPACE, b"m" * 16):
            gone = [key for key, found in zip(SOME, there(store, SOME, space), strict=True) if not found]
            counts[-1] += len(gone)
            if gone:
                put(store, gone, space)
        if not counts[-1]:
            break
    assert counts[-1] == 0, counts
    store.info()
    return counts[0], store.troubles()


def is_whole(folder):
    """Check that a new process finds all, has nothing to tell, and can write."""
    store = DiskStore(folder)
    assert all(there(store, SOME, space).all() for space in (SPACE, b"m" * 16))
    put(store, keys(-1))
    assert there(store, keys(-1)).all()
    assert store.troubles() == []


# -- damage ----------------------------------------------------------------------------------------------------


def test_a_truncated_file_is_set_aside(sound, damaged):
    """At any length: one warning if vectors are lost, none is wrong, all can be put again, the next run is healthy."""
    raw, page = (sound / DATA).read_bytes(), 4096
    with lmdb.open(str(sound), readonly=True, lock=False) as env:
        needed = (env.info()["last_pgno"] + 1) * page  # what is behind may go
    lengths = [0, 1, page, 2 * page, 2 * page + 1, needed // 2, needed // 2 // page * page, needed - page, needed - 1]
    for length in [*lengths, needed, needed + 1, len(raw)]:
        folder = damaged(raw[:length], length)
        lost, told = in_child(mend, folder)
        assert len(told) == (1 if lost else 0), (length, lost, told)
        assert all(str(folder) in message for message in told)
        assert bool(lost) == (length < needed - page) or length in (needed - page, needed - 1), (length, lost)
        in_child(is_whole, folder)


_META = {"version of LMDB": (20, 4, 2**14 + 1), "map size": (32, 8, 2**60), "number of pages": (136, 8, 2**50)}


@pytest.mark.parametrize("what", ["noise", "text", "zeros", "first page gone", *_META])
def test_a_file_that_is_no_database_is_set_aside(sound, damaged, what):
    """One warning if anything is lost, begun afresh, and the file is still there to be looked at."""
    raw = bytearray((sound / DATA).read_bytes())
    if what in _META:
        start, size, value = _META[what]
        for page in (0, 4096):
            raw[page + start : page + start + size] = value.to_bytes(size, "little")
    elif what == "first page gone":
        raw[:4096] = bytes(4096)
    else:
        raw = {"noise": random.Random(0).randbytes(9000), "text": b"my notes\n" * 1000, "zeros": bytes(8192)}[what]
    folder = damaged(raw)
    lost, told = in_child(mend, folder)
    assert len(told) == (1 if lost else 0), told
    assert not lost or bytes(raw) in [file.read_bytes() for file in folder.iterdir()]
    in_child(is_whole, folder)


def flipped(raw, rng, where):
    """Return `raw` with 40 bits flipped: anywhere, or only in one to 40 places of the pages that hold the trees."""
    raw = bytearray(raw)
    if where == "anywhere":
        spots = [rng.randrange(len(raw)) for _ in range(40)]
    else:
        flags = {page: int.from_bytes(raw[page + 10 : page + 12], "little") for page in range(0, len(raw), 4096)}
        named = [page for page in flags if int.from_bytes(raw[page : page + 8], "little") == page // 4096]
        trees = [page for page in named if flags[page] in (0x01, 0x02, 0x08)]  # branch, leaf, meta
        spots = [rng.choice(trees) + rng.randrange(rng.choice([16, 64, 4096])) for _ in range(rng.choice([1, 3, 40]))]
    for spot in spots:
        raw[spot] ^= 1 << rng.randrange(8)
    return raw


@pytest.mark.parametrize("where", ["anywhere", "in the trees"])
def test_flipped_bits_are_a_miss(sound, damaged, where):
    """Sixty times: no value is wrong, what is missing can be put again, and the next process finds all."""
    raw, faults = (sound / DATA).read_bytes(), {}
    for seed in range(60):
        folder = damaged(flipped(raw, random.Random(seed), where), seed)
        try:
            in_child(mend, folder)
            in_child(is_whole, folder)
        except AssertionError as fault:
            faults[seed] = str(fault)
        shutil.rmtree(folder)
    assert faults == {}


def test_flipped_bits_are_told_once(tiny_bert_folder, tmp_path):
    """Through an embedder, in vectors of several layers: right vectors, one warning, and the next run is healthy."""
    layers = (0, 1, 2)

    def work(cache):
        return transform(tiny_bert_folder, cache, TEXTS, layers=layers)

    cold, _ = in_child(work, tmp_path)
    close(tmp_path)
    raw, rng = bytearray((tmp_path / DATA).read_bytes()), random.Random(0)
    for k in range(40):
        row, layer = divmod(k, len(layers))
        start = raw.index(cold[row, 32 * layer : 32 * layer + 32].tobytes())  # a vector, as it is stored
        raw[start + rng.randrange(128)] ^= 1 << rng.randrange(8)
    (tmp_path / DATA).write_bytes(raw)
    vectors, told = in_child(work, tmp_path)
    assert np.abs(vectors - cold).max() <= 1e-5
    assert len(told) == 1, told
    assert "CacheWarning" in told[0]
    again, told = in_child(work, tmp_path)
    assert np.array_equal(again, vectors)
    assert told == []
    is_healthy(tiny_bert_folder, tmp_path)


def test_a_torn_record_spoils_no_other_count(tmp_path):
    """A full disk or a crash may cut a record of the counts short; those before and after it are right."""
    store = DiskStore(tmp_path)
    put(store, keys(1))
    store.tally(3, 4)
    (log,) = tmp_path.glob("usage*")
    with log.open("ab") as file:
        file.write(b"\x01\x00\x00\x00\x00")
    store.tally(10, 20)
    info = store.info()
    assert (info.hits, info.misses, info.evictions) == (13, 24, 0)


# -- no room ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before the first opening", "while open", "in the second run"])
def test_a_quota(tiny_bert_folder, tmp_path, when):
    """Where files may not grow: right vectors and one warning; once they may, the same process keeps vectors again."""

    def work():
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        if when == "while open":
            assert right(tiny_bert_folder, tmp_path, TEXTS[:5]) == []
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        told = right(tiny_bert_folder, tmp_path) + right(tiny_bert_folder, tmp_path, TEXTS[::-1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        return told, right(tiny_bert_folder, tmp_path), cache_info(tmp_path).vectors

    if when == "in the second run":
        in_child(right, tiny_bert_folder, tmp_path, TEXTS[:5])
    told, told_later, vectors = in_child(work)
    assert len(told) == 1, told
    assert "CacheWarning" in told[0]
    assert str(tmp_path) in told[0]
    assert (told_later, vectors) == ([], len(TEXTS))
    is_healthy(tiny_bert_folder, tmp_path)


@pytest.mark.parametrize("room", [0, 50_000, 100_000, 150_000, "while open"])
def test_a_full_disk(tiny_bert_folder, mounted, room):
    """With little or no room left on it: right vectors and one warning; with room, the next run is healthy."""
    disk = mounted("2M")
    folder, ballast = disk / "store", disk / "ballast"
    many = [f"{text} {k}" for text in TEXTS for k in range(20)]

    def fill(left):
        status = os.statvfs(disk)
        ballast.write_bytes(bytes(max(0, status.f_bavail * status.f_frsize - left)))

    def work():
        if room == "while open":
            assert right(tiny_bert_folder, folder, TEXTS[:5]) == []
        fill(0 if room == "while open" else room)
        return right(tiny_bert_folder, folder, many) + right(tiny_bert_folder, folder, many[::-1])

    told = in_child(work)
    assert len(told) == 1, told
    assert "CacheWarning" in told[0]
    ballast.unlink()
    is_healthy(tiny_bert_folder, folder)
    close(folder)


def test_too_many_open_files(tmp_path):
    """Where no file can be opened vectors are a miss, told once; when one can, the store works."""

    def work():
        store, limits = DiskStore(tmp_path), resource.getrlimit(resource.RLIMIT_NOFILE)
        there(store, SOME), np.random.default_rng(0)
        close(tmp_path)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))  # of lower numbers none is free
        put(store, SOME)
        found = there(store, SOME)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        told = store.troubles()
        put(store, SOME)
        return found.any(), len(told), there(store, SOME).all(), store.troubles()

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc")
    assert in_child(work) == (False, 1, True, [])


def test_forgetting_a_model_on_a_full_disk_is_told(tiny_bert_folder, tmp_path):
    """clear_cache(model=…) that cannot write gives a CacheWarning and leaves the vectors sound."""

    def work():
        assert right(tiny_bert_folder, tmp_path) == []
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        with pytest.warns(CacheWarning) as told:
            clear_cache(tmp_path, model=tiny_bert_folder)
        return len(told)

    assert in_child(work) == 1
    is_healthy(tiny_bert_folder, tmp_path)


# -- places that cannot be written to --------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["empty", "with vectors", "with vectors and readable", "out of reach", "nowhere"])
def test_a_folder_that_may_not_be_written_to(tiny_bert_folder, what):
    """For another user's folder, or one below it: right vectors and one warning; the owner's vectors stay."""
    base = Path(tempfile.mkdtemp(dir="/tmp"))  # pytest's own folders may not be entered by others
    model, folder = base / "model", base / "store"
    shutil.copytree(tiny_bert_folder, model)
    base.chmod(0o755), model.chmod(0o755), folder.mkdir(mode=0o755)
    cache = folder / "below" if what in ("out of reach", "nowhere") else folder
    if "vectors" in what:
        in_child(right, str(model), folder)
    readable = "readable" in what
    for file in folder.iterdir():
        file.chmod(0o644 if readable else 0o600)
    for path in (base, folder):
        path.chmod(0o700 if what == "out of reach" and path == folder else 0o755)

    def work():
        right(str(model), base / "other")  # another user may not even import what comes late
        if os.geteuid() == 0:
            os.setgid(NOBODY), os.setuid(NOBODY)
        else:
            [path.chmod(0o500 if path.is_dir() else 0o400) for path in [*folder.iterdir(), folder]]
            folder.chmod(0o000 if what == "out of reach" else 0o500)
        told = right(str(model), cache) + right(str(model), str(cache))
        return told, cache_info(cache).vectors

    try:
        told, vectors = in_child(work)
        folder.chmod(0o700)
        [file.chmod(0o600) for file in folder.iterdir()]
        assert len(told) == 1, told
        assert "CacheWarning" in told[0]
        assert str(cache) in told[0]
        assert vectors == 0 or readable
        is_healthy(str(model), folder)
    finally:
        shutil.rmtree(base)


@pytest.mark.parametrize("what", ["empty", "with vectors"])
def test_a_read_only_disk(tiny_bert_folder, mounted, what):
    """Right vectors and one warning; writable again, it is healthy and has what it had."""
    disk = mounted("8M")
    if what == "with vectors":
        in_child(right, tiny_bert_folder, disk)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    before = {file.name: file.read_bytes() for file in disk.iterdir()}

    def work():
        return right(tiny_bert_folder, disk) + right(tiny_bert_folder, disk)

    (told,) = in_child(work)
    assert "CacheWarning" in told
    assert {file.name: file.read_bytes() for file in disk.iterdir()} == before
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert cache_info(disk).vectors == (len(TEXTS) if before else 0)
    close(disk)
    is_healthy(tiny_bert_folder, disk)
    close(disk)


def test_a_file_set_aside_while_it_is_read_is_one_warning(tiny_bert_folder, tmp_path, monkeypatch):
    """What was wrong with single vectors goes with the file, and the store works on: nothing says otherwise."""
    transform(tiny_bert_folder, tmp_path, TEXTS)
    folder, failures = folder_at(tmp_path), [Damaged("a page is not there")]
    get_many = Database.get_many

    def failing_once(self, *args):
        if failures:
            folder._tell("some of its vectors were damaged, and are computed again")
            raise failures.pop()
        return get_many(self, *args)

    monkeypatch.setattr(Database, "get_many", failing_once)
    (told,) = right(tiny_bert_folder, tmp_path)
    assert "set aside as 'data.mdb.damaged'" in told
    assert right(tiny_bert_folder, tmp_path) == []
    assert cache_info(tmp_path).vectors == len(TEXTS)
