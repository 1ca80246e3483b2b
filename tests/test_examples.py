"""Every example runs from end to end, as a reader would run it; some have tests of their own, of what they print."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = sorted(path for path in FOLDER.glob("plot_*.py") if path.name != "plot_tweet_sentiment.py")
# Run in test_inspection_display.py and test_inspection_words.py.
RUN_ELSEWHERE = {"plot_explanation", "plot_words_in_context"}


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


def test_there_are_examples():
    """The folder was found."""
    assert EXAMPLES
