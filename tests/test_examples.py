"""Every example runs from end to end, as a reader would run it, and has the form of a gallery's.

Some have tests of their own, of what they print: test_demo.py, test_inspection_display.py, test_inspection_words.py.
``make docs`` runs all of them once more, in one process, for their pages.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples"
EXAMPLES = sorted(FOLDER.glob("plot_*.py"))
RUN_ELSEWHERE = {"plot_explanation", "plot_tweet_sentiment", "plot_words_in_context"}


@pytest.mark.parametrize(
    "path", [path for path in EXAMPLES if path.stem not in RUN_ELSEWHERE], ids=lambda path: path.stem
)
def test_an_example_runs_from_end_to_end(path, minilm, tmp_path):
    """In an interpreter of its own it ends well, prints something, warns of nothing, and leaves no file."""
    folder, home = tmp_path / "empty", tmp_path / "matplotlib"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, str(path)],
        cwd=folder,
        env=os.environ | {"MPLBACKEND": "Agg", "MPLCONFIGDIR": str(home), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    assert done.stdout.strip()
    # What Agg says about plt.show() is no fault of the example.
    told = [line for line in done.stderr.splitlines() if "Warning" in line and "non-interactive" not in line]
    assert told == []
    assert list(folder.iterdir()) == []


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
