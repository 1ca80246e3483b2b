"""Check what ``python -m build`` has put into dist/: look into the wheel and the sdist, then install and use each.

Each archive must hold exactly the package, its data and its papers: no tests,
benchmarks, docs, examples, tools or caches. Each is installed into a new, empty
environment in a temporary folder, with the versions of constraints.txt, and a
small program is run there from an empty folder. Needs pip's network, or what
pip has instead of one; ``--files-only`` looks into the archives and stops.
Exits with 1, and one line a fault, where something is wrong.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Sequence
from email import message_from_string
from email.message import Message
from pathlib import Path

ROOT = Path(__file__).parents[1]
DATA = ("datasets/data/gop_debate.rst", "datasets/data/sample_tweets.csv", "datasets/data/sample_tweets.rst")
WHEEL_PAPERS = {"METADATA", "WHEEL", "RECORD", "top_level.txt", "licenses/LICENSE"}
EGG_INFO = ("PKG-INFO", "SOURCES.txt", "dependency_links.txt", "requires.txt", "top_level.txt")
SDIST_PAPERS = {
    *("CHANGELOG.md", "LICENSE", "MANIFEST.in", "PKG-INFO", "README.md", "pyproject.toml", "setup.cfg"),
    *(f"skbert.egg-info/{name}" for name in EGG_INFO),
}

SMOKE = """
import sys, tempfile
from importlib.util import find_spec
from pathlib import Path

home, checkout = Path(find_spec("skbert").origin).resolve().parent, sys.argv[1]
assert home.parent.name == "site-packages" and Path(sys.prefix).resolve() in home.parents, f"{home} is not installed"
assert not any(Path(entry).resolve() == Path(checkout) for entry in sys.path if entry), sys.path
assert (home / "py.typed").is_file(), "py.typed is missing"

from importlib.metadata import version
import skbert
assert version("skbert") == skbert.__version__ == sys.argv[2], (version("skbert"), skbert.__version__)

from sklearn.pipeline import make_pipeline
from skbert import BertEmbedder, BertSentimentClassifier, TextCleaner, load_bundle, save_bundle
from skbert.datasets import load_sample_tweets
tweets = load_sample_tweets()
assert tweets.data.shape == (538,) and len(tweets.DESCR) > 1000
X, y = tweets.data[:60], tweets.target[:60]
head = BertSentimentClassifier(BertEmbedder("all-MiniLM-L6-v2"), early_stopping=False, max_iter=20, random_state=0)
model = make_pipeline(TextCleaner(), head).fit(X, y)
found = model.predict(X)
accuracy = (found == y).mean()
assert accuracy > 0.8, f"accuracy {accuracy:.2f} on what it was trained with"
with tempfile.TemporaryDirectory() as folder:
    save_bundle(model, Path(folder) / "bundle")
    assert (load_bundle(Path(folder) / "bundle").predict(X) == found).all(), "the bundle predicts something else"
print(f"skbert {skbert.__version__}: accuracy {accuracy:.2f} on its own 60 training tweets, and the bundle agrees")
"""
# Without the extra `ray`, the command's help works, and the command itself says what to install.
EMBED = ("embed", "source", "target", "--text-column", "text")
SAYS_INSTALL = "pip install 'skbert[ray]'"


def package_files(root: Path = ROOT) -> set[str]:
    """Return the files that belong into the package, relative to its folder."""
    package = root / "skbert"
    return {path.relative_to(package).as_posix() for path in package.rglob("*.py")} | {"py.typed", *DATA}


def project(root: Path = ROOT) -> dict:
    """Return the table [project] of pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def expected(kind: str, root: Path = ROOT) -> set[str]:
    """Return the files of a "wheel" or of an "sdist", folders of its own name included."""
    version = project(root)["version"]
    package = {f"skbert/{name}" for name in package_files(root)}
    if kind == "wheel":
        return package | {f"skbert-{version}.dist-info/{name}" for name in WHEEL_PAPERS}
    return {f"skbert-{version}/{name}" for name in package | SDIST_PAPERS}


def read_archive(archive: Path) -> tuple[set[str], Message]:
    """Return the names of the files in a wheel or an sdist, and its metadata."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            names = {name for name in opened.namelist() if not name.endswith("/")}
            metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
            return names, message_from_string(opened.read(metadata).decode())
    with tarfile.open(archive) as opened:
        members = opened.getmembers()
        names = {member.name for member in members if not member.isdir()}
        metadata = opened.extractfile(min((name for name in names if name.endswith("/PKG-INFO")), key=len))
        return names, message_from_string(metadata.read().decode())


def faults(archive: Path, root: Path = ROOT) -> list[str]:
    """Return what is wrong with the files and the metadata of an archive."""
    names, metadata = read_archive(archive)
    want = expected("wheel" if archive.suffix == ".whl" else "sdist", root)
    found = [f"{archive.name}: {name} does not belong there" for name in sorted(names - want)]
    found += [f"{archive.name}: {name} is missing" for name in sorted(want - names)]
    told, readme = project(root), (root / "README.md").read_text(encoding="utf-8")
    facts = {
        "Name": ("skbert", metadata["Name"]),
        "Version": (told["version"], metadata["Version"]),
        "Summary": (told["description"], metadata["Summary"]),
        "Requires-Python": (told["requires-python"], metadata["Requires-Python"]),
        "License-Expression": (told["license"], metadata["License-Expression"]),
        "Description-Content-Type": ("text/markdown", metadata["Description-Content-Type"]),
        "Provides-Extra": (sorted(told["optional-dependencies"]), sorted(metadata.get_all("Provides-Extra", []))),
        "description": (readme.strip(), metadata.get_payload().strip()),
    }
    return found + [
        f"{archive.name}: the metadata's {fact} is {str(got)[:200]!r}, not that of the project"
        for fact, (wanted, got) in facts.items()
        if wanted != got
    ]


def run(command: Sequence[str | Path], folder: Path, *, status: int = 0) -> str:
    """Run a command in a folder, without what the caller's environment says to Python, and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"HF_HOME": str(folder / "hub"), "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(
        [*map(str, command)], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=1800
    )
    said = done.stdout + done.stderr
    if done.returncode != status:
        msg = f"{' '.join(map(str, command))[:200]} ended with {done.returncode}:\n{said[-3000:]}"
        raise RuntimeError(msg)
    return said


def use(archive: Path) -> str:
    """Install an archive into a new environment, use it from an empty folder, and return what it said.

    Raises
    ------
    RuntimeError
        A step failed; it says which, and what it printed.
    """
    with tempfile.TemporaryDirectory(prefix="skbert-dist-") as made:
        place, work = Path(made) / "venv", Path(made) / "work"
        work.mkdir()
        run([sys.executable, "-m", "venv", place], work)
        python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        pip = [python, "-m", "pip", "install", "--quiet", "--no-input", "--no-compile"]
        run([*pip, "-c", ROOT / "constraints.txt", f"{archive}[minilm]"], work)
        said = run([python, "-c", SMOKE, ROOT, project()["version"]], work)
        module = [python, "-m", "skbert.distributed"]
        if "--text-column" not in run([*module, "embed", "--help"], work):
            msg = "python -m skbert.distributed embed --help does not name --text-column"
            raise RuntimeError(msg)
        (work / "source").mkdir()
        refused = run([*module, *EMBED], work, status=1)
        if SAYS_INSTALL not in refused or "Traceback" in refused:
            msg = f"python -m skbert.distributed embed without Ray does not say {SAYS_INSTALL}:\n{refused}"
            raise RuntimeError(msg)
        shutil.rmtree(work / "source")
        if left := sorted(path.name for path in work.iterdir() if path.name != "hub"):
            msg = f"left in the working folder: {', '.join(left)}"
            raise RuntimeError(msg)
        return said.strip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the archives, and return the exit status."""
    parser = argparse.ArgumentParser(description="Check the wheel and the sdist in dist/.")
    parser.add_argument("--files-only", action="store_true", help="look into the archives, install nothing")
    parser.add_argument("--folder", type=Path, default=ROOT / "dist")
    given = parser.parse_args(arguments)
    archives = sorted([*given.folder.glob("*.whl"), *given.folder.glob("*.tar.gz")])
    found = 0

    def tell(fault: str) -> None:
        nonlocal found
        found += 1
        print(fault, file=sys.stderr, flush=True)

    if [archive.suffix for archive in archives] != [".whl", ".gz"]:
        names = ", ".join(archive.name for archive in archives) or "nothing"
        tell(f"{given.folder} must hold one wheel and one sdist; it holds {names}")
    for archive in archives:
        print(f"{archive.name}: {archive.stat().st_size:,} bytes, {len(read_archive(archive)[0])} files", flush=True)
        wrong = faults(archive)
        for fault in wrong:
            tell(fault)
        if not wrong and not given.files_only:
            began = time.monotonic()
            try:
                said = use(archive.resolve())
            except RuntimeError as error:
                tell(f"{archive.name}: {error}")
            else:
                print(f"{archive.name}: {said} ({time.monotonic() - began:.0f} seconds)", flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
