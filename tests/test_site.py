"""The site's reference has every public name once, and the check of its links finds what is broken."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = ("skbert", "skbert.inspection", "skbert.datasets", "skbert.distributed", "skbert.exceptions")
MODULE = re.compile(r"^\.\. currentmodule:: (\S+)$")
TABLE = re.compile(r"^\.\. autosummary::$")
SINGLE = re.compile(r"^\.\. auto(?:class|function|exception):: (\S+)$")
CHECK = ROOT / "tools" / "check_site.py"


def documented():
    """Count the names that the pages of the reference hold."""
    names = Counter()
    for path in sorted((ROOT / "docs" / "reference").glob("*.rst")):
        module, in_table = "", False
        for line in path.read_text(encoding="utf-8").splitlines():
            if match := MODULE.match(line):
                module = match[1]
            elif match := SINGLE.match(line):
                names[f"{module}.{match[1]}"] += 1
            elif TABLE.match(line):
                in_table = True
            elif in_table and line and not line.startswith("   "):
                in_table = False
            elif in_table and (name := line.strip()) and not name.startswith(":"):
                names[f"{module}.{name}"] += 1
    return names


def test_the_reference_has_every_public_name_once():
    """What a module has in ``__all__`` stands on one page, and nothing else does."""
    public = [f"{module}.{name}" for module in MODULES for name in importlib.import_module(module).__all__]
    assert documented() == Counter(public)


def test_the_public_modules_are_known():
    """A module without an underscore is one of those above."""
    here = ROOT / "skbert"
    found = {path.stem for path in here.glob("[a-z]*.py")} | {
        path.parent.name for path in here.glob("[a-z]*/__init__.py")
    }
    assert {f"skbert.{name}" for name in found} == set(MODULES) - {"skbert"}


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="other.html#here">x</a><img src="a.png"><a href="https://example.org">x</a>', None),
        ('<a href="#there">x</a><p id="there">', None),
        ('<a href="nothing.html">x</a>', "leads nowhere"),
        ('<a href="other.html#nothing">x</a>', "leads to no place"),
        ('<img src="nothing.png">', "leads nowhere"),
        ('<img src="a.png" srcset="a.png, nothing.png 2x">', "leads nowhere"),
        ('<script src="https://example.org/x.js"></script>', "fetched from the network"),
        ('<a href="http://example.org">x</a>', "not https"),
    ],
)
def test_broken_links_are_found(tmp_path, body, fault):
    """A link to no page, to no place on it, and whatever a page would fetch, is a fault; a sound page has none."""
    (tmp_path / "index.html").write_text(f"<html><body>{body}</body></html>", encoding="utf-8")
    (tmp_path / "other.html").write_text('<html><body><p id="here"></p></body></html>', encoding="utf-8")
    (tmp_path / "a.png").write_bytes(b"")
    done = subprocess.run([sys.executable, CHECK, tmp_path], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == (0 if fault is None else 1), done.stdout
    assert fault is None or fault in done.stdout
