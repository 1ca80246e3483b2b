"""README.md and docs/ keep their word: their Python code runs as pasted, and their links lead somewhere."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MAX_PICTURE_BYTES = 150_000

CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# What no page may hold: marks that were left to be filled in.
UNFINISHED = re.compile(r"@[A-Z]+@|\bT[O]DO\b|\bF[I]XME\b")


def blocks():
    """Return every block of Python code, with a name that says where it begins."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in CODE.finditer(text):
            line = text.count("\n", 0, match.start(1)) + 1
            found.append(pytest.param(page, line, match[1], id=f"{page.name}:{line}"))
    return found


@pytest.mark.parametrize(("page", "line", "code"), blocks())
def test_code_runs_as_pasted(page, line, code, minilm, tmp_path, monkeypatch):
    """Each block runs alone, says something, and leaves no file."""
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), {"__name__": "__main__"})
    assert printed.getvalue()
    assert list(tmp_path.iterdir()) == []


def test_the_readme_has_ten_lines_of_code():
    """The first block is the one that people paste."""
    code = CODE.search((ROOT / "README.md").read_text(encoding="utf-8"))[1]
    assert len([line for line in code.splitlines() if line.strip()]) == 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """A link to a file names one that is there, a link to the net is https, and pictures are small."""
    text = page.read_text(encoding="utf-8")
    assert not UNFINISHED.findall(text)
    for target in LINK.findall(CODE.sub("", text)):
        if "://" in target:
            assert target.startswith("https://"), target
            continue
        path = page.parent / target.partition("#")[0]
        assert path.resolve().is_relative_to(ROOT), target
        assert path.exists(), f"{page.name} links to {target}, which is not there."
        if path.suffix == ".png":
            assert path.stat().st_size < MAX_PICTURE_BYTES, target


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_two_commands_are_there(target):
    """README names the targets that the Makefile has."""
    assert f"make {target}" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
