"""The developers' pages are as the code is: the house's picture and table, the tests and files that a page names."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests import test_house

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "developing").glob("*.md"))
# A test may be named with its file: `tests/test_laws.py::test_x`.
NAMED_TEST = re.compile(r"(?:`(tests/\w+\.py)::)?`?\b(test_\w+)\b(?!\.py|\w|\*)")
NAMED_FILE = re.compile(r"`((?:skbert|tests|tools|docs|benchmarks|examples|_\w+)/(?!_build)[\w./-]*\w/?)(?:::\w+)?`")


@pytest.fixture(scope="module")
def drawing():
    """Return tools/draw_house.py as a module."""
    spec = importlib.util.spec_from_file_location("draw_house", ROOT / "tools" / "draw_house.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def functions_of(path):
    """Return the names of the test functions in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


FILES = sorted((ROOT / "tests").glob("test_*.py"))
TESTS = {f"tests/{path.name}": functions_of(path) for path in FILES}


def test_the_picture_is_up_to_date(drawing):
    """It shows the real imports between the levels of tests/test_house.py."""
    done = subprocess.run(
        [sys.executable, "tools/draw_house.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    root = ElementTree.fromstring(drawing.PICTURE.read_text(encoding="utf-8"))
    words = " ".join("".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text"))
    assert set(test_house.LEVELS) - {"__init__"} <= set(words.split())


def test_a_picture_that_would_mislead_is_refused(drawing, monkeypatch):
    """A room without a place, and an arrow through another room, are errors that name them."""
    rules = drawing.load_rules()
    lines = drawing.arrows(drawing.imports(rules))
    assert all(rules.LEVELS[other] < rules.LEVELS[room] for room, other in lines)
    monkeypatch.setitem(drawing.PLACES, "distributed", (142, 1, ""))
    with pytest.raises(ValueError, match="runs through distributed"):
        drawing.check_places(lines, rules)
    monkeypatch.setitem(rules.LEVELS, "_novelty", 3)
    with pytest.raises(ValueError, match=r"differ in .*_novelty"):
        drawing.check_places(lines, rules)


def test_the_table_of_the_house_has_the_real_imports(drawing):
    """Each room has one line, from the top of the house down, with the rooms that it imports."""
    page = (ROOT / "docs" / "developing" / "house.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| .*? \| ([`\w, ]*?) ?\| .*\|$", page, re.MULTILINE)
    told = {room: set(re.findall(r"`(\w+)`", asked)) for room, asked in rows}
    assert told == drawing.imports(test_house)
    levels = [test_house.LEVELS[room] for room, _ in rows]
    assert levels == sorted(levels, reverse=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_and_file_that_a_page_names_exists(page):
    """A law whose test was renamed would be a law without a test."""
    text = page.read_text(encoding="utf-8")
    for name in NAMED_FILE.findall(text):
        place = ROOT / name if not name.startswith("_") else ROOT / "skbert" / name
        assert place.exists(), f"{page.name} names {name}, which is not there."
    everywhere = set().union(*TESTS.values())
    for file, name in NAMED_TEST.findall(text):
        known = TESTS.get(file, set()) if file else everywhere
        assert name in known, f"{page.name} names {name}, which {file or 'no file of tests/'} does not have."


def test_the_laws_have_their_tests():
    """Each of the nine laws names at least two tests, each with its file."""
    page = (ROOT / "docs" / "developing" / "laws.md").read_text(encoding="utf-8")
    laws = re.split(r"^## (?=\d)", page, flags=re.MULTILINE)[1:]
    assert [law[0] for law in laws] == list("123456789")
    assert all(len(re.findall(r"`tests/\w+\.py::test_\w+`", law)) >= 2 for law in laws)


def test_the_page_of_commands_has_every_target():
    """And names no other."""
    page = (ROOT / "docs" / "developing" / "commands.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)) - {"help"}
    assert set(re.findall(r"\bmake ([a-z-]+)", page)) - {"help"} == targets
