"""Every example has the form of a gallery's. ``make docs`` runs them all; a warning or a file left is a fault there.

Some have tests of their own, of what they print: test_demo.py, test_inspection_display.py, test_inspection_words.py.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples"
EXAMPLES = sorted(FOLDER.glob("plot_*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_has_the_form_of_a_gallery(path):
    """It begins with a title in reStructuredText, and has cells."""
    source = path.read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(source))
    above, title, below = docstring.splitlines()[:3]
    assert set(above) == set(below) == {"="}
    assert len(above) == len(below) >= len(title)
    assert source.count("\n# %%\n") >= 3


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_when_not_to_use_it(path):
    """It has a section of that name, with something in it."""
    source = path.read_text(encoding="utf-8")
    section = re.search(r"^# When not to use it\n# -{18,}\n((?:#.*\n)+)", source, re.MULTILINE)
    assert section is not None
    assert len(section[1].split()) > 20


def test_each_example_has_its_place_in_the_gallery(monkeypatch):
    """The gallery's order names every example, and nothing else."""
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_extensions"))
    import gallery

    monkeypatch.delitem(sys.modules, "gallery")
    assert sorted(gallery.ORDER) == [path.name for path in EXAMPLES]
