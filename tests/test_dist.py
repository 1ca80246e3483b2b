"""What is in the wheel and in the sdist, and that the check of `make dist` sees what does not belong there.

Builds both without a network, from a copy of the checkout with things lying about that must stay out.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import skbert

pytest.importorskip("setuptools", minversion="77", reason="the backend that pyproject.toml asks for")
ROOT = Path(__file__).parents[1]
PAPERS = ("CHANGELOG.md", "LICENSE", "MANIFEST.in", "README.md", "pyproject.toml")
LITTER = (
    *("tests/test_something.py", "tests/__init__.py", "benchmarks/bench_something.py", "docs/page.md", "docs/conf.py"),
    *("examples/plot_something.py", "tools/check_something.py", "changelog.d/1.fix.md", ".ci/run", "data/tweets.csv"),
    *("skbert/__pycache__/_base.cpython-311.pyc", "skbert/_engine/notes.txt", "skbert/datasets/data/.DS_Store"),
    *("build/lib/skbert/_gone.py", "demo_output/picture.png", "constraints.txt", "Makefile"),
)
# As `python -m build` does: the sdist from the folder, the wheel from the sdist.
BUILD = """
import os, shutil, sys
from setuptools import build_meta
dist = sys.argv[1]
name = build_meta.build_sdist(dist)
shutil.unpack_archive(os.path.join(dist, name), "unpacked", filter="data")
os.chdir(os.path.join("unpacked", name.removesuffix(".tar.gz")))
build_meta.build_wheel(dist)
"""


def _load():
    spec = importlib.util.spec_from_file_location("check_dist", ROOT / "tools" / "check_dist.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


check_dist = _load()


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Return the wheel and the sdist."""
    copy, dist = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("dist")
    shutil.copytree(ROOT / "skbert", copy / "skbert", ignore=shutil.ignore_patterns("__pycache__"))
    for name in PAPERS:
        shutil.copy(ROOT / name, copy / name)
    for name in LITTER:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("")
    done = subprocess.run(
        [sys.executable, "-c", BUILD, dist], cwd=copy, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    return {"wheel": wheel, "sdist": sdist}


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_archives_hold_the_package_and_its_papers_and_nothing_else(archives, kind):
    """No tests, benchmarks, docs, examples, tools, caches or left-overs; the metadata is that of pyproject.toml."""
    assert check_dist.faults(archives[kind]) == []


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_data_types_and_licence_are_inside(archives, kind):
    """What no `import` would miss: the sample tweets, their description, py.typed, the licence."""
    names, metadata = check_dist.read_archive(archives[kind])
    for end in ("skbert/py.typed", "sample_tweets.csv", "sample_tweets.rst", "gop_debate.rst", "/LICENSE"):
        assert any(name.endswith(end) for name in names), end
    assert not [name for name in names if name.split("/")[0] in ("tests", "benchmarks") or "/tests/" in name]
    assert metadata["Version"] == skbert.__version__


def test_the_check_sees_what_is_wrong(archives, tmp_path):
    """A file too many, one too few, and another version are named."""
    bad = tmp_path / archives["wheel"].name
    with zipfile.ZipFile(archives["wheel"]) as old, zipfile.ZipFile(bad, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("METADATA"):
                content = content.replace(f"Version: {skbert.__version__}\n".encode(), b"Version: 9\n")
            if not name.endswith("py.typed"):
                new.writestr(name, content)
        new.writestr("tests/test_house.py", "")
    found = check_dist.faults(bad)
    assert [fault.partition(": ")[2] for fault in found] == [
        "tests/test_house.py does not belong there",
        "skbert/py.typed is missing",
        "the metadata's Version is '9', not that of the project",
    ]


def test_the_smoke_program_runs_on_the_checkout_but_for_its_place(minilm, tmp_path):
    """Its first lines refuse the checkout, which is what they are for; the program itself is sound Python."""
    compile(check_dist.SMOKE, "smoke", "exec")
    done = subprocess.run(
        [sys.executable, "-c", check_dist.SMOKE, str(ROOT), skbert.__version__],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert "is not installed" in done.stderr
