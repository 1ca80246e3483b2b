"""README.md and docs/ keep their word: every block of code is run or read, and their links lead somewhere."""

from __future__ import annotations

import contextlib
import io
import re
import tomllib
import warnings
from urllib.parse import unquote

import pytest

from skbert import clear_cache
from tests._pages import FENCE, HIDDEN, KINDS, PAGES, ROOT, blocks, check_code, check_commands, is_alike

MAX_PICTURE_BYTES = 150_000

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# What no page may hold: marks that were left to be filled in.
UNFINISHED = re.compile(r"@[A-Z]+@|\bT[O]DO\b|\bF[I]XME\b")


def name_of(value):
    """Name a case by where it stands."""
    return getattr(value, "name", None) or str(value)


@pytest.mark.parametrize("block", blocks("python"), ids=name_of)
def test_code_runs_as_pasted(block, minilm, tmp_path, monkeypatch):
    """Each block runs alone without a warning, prints what the page says right below it, and leaves no file."""
    monkeypatch.chdir(tmp_path)
    clear_cache("memory")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # other libraries', among themselves
        exec(compile("\n" * (block.line - 1) + block.code, str(block.page), "exec"), {"__name__": "__main__"})
    assert printed.getvalue()
    assert list(tmp_path.iterdir()) == []
    if block.printed is not None:
        assert is_alike(block.printed, printed.getvalue()), printed.getvalue()


@pytest.mark.parametrize("block", blocks("py"), ids=name_of)
def test_code_that_cannot_run_here_names_what_there_is(block):
    """It needs a cluster, a hub or another library; what it imports of skbert is there, and takes its keywords."""
    assert check_code(block.code) == []


@pytest.mark.parametrize("block", blocks("sh"), ids=name_of)
def test_commands_name_what_there_is(block):
    """Targets of make, programs, their options, files and extras are there."""
    assert check_commands(block.code) == []


def test_every_block_is_of_a_kind_that_is_tested():
    """A block is code of one of three kinds, output, or Sphinx's, and none is indented, where it would not be seen."""
    assert [block.name for block in blocks() if block.kind not in KINDS] == []
    assert [str(page) for page in PAGES if HIDDEN.search(FENCE.sub("", page.read_text(encoding="utf-8")))] == []


@pytest.mark.parametrize(
    ("shown", "printed", "alike"),
    [
        ("score 0.81\n", "score 0.80\n", True),
        ("score 0.81\n", "score 0.71\n", False),
        ("1e-5", "1e-2", False),
        ("538 texts", "530 texts", False),
        ("53aa51172d", "54aa51100d", False),
        ("1,234 texts", "1,234 texts", True),
        ("1,234 texts", "1,434 texts", False),
        ("1,234 texts", "1,234 words", False),
        ("[1 2 3]", "[1 2]", False),
    ],
)
def test_outputs_are_compared_by_words_and_numbers(shown, printed, alike):
    """Another word, another count or a number that is clearly another one is found."""
    assert is_alike(shown, printed) is alike


@pytest.mark.parametrize(
    "code",
    [
        "from skbert import Nothing",
        "import skbert.nothing",
        "import skbert\nskbert.Nothing()",
        "import skbert\nskbert.BertEmbedder(layer=2)",
        "from skbert import BertEmbedder\nBertEmbedder(layer=2)",
        "from skbert import BertEmbedder\nBertEmbedder('a', 'main')",
        "from skbert.datasets import load_gop_debate\nload_gop_debate(as_table=True)",
    ],
)
def test_wrong_code_is_found(code):
    """The check of code that is not run sees a name and a parameter that are not there."""
    assert len(check_code(code)) == 1


@pytest.mark.parametrize(
    "command",
    [
        "make nothing",
        "python benchmarks/nothing.py",
        "python benchmarks/bench_encode.py --nothing",
        "pip install 'skbert[nothing]'",
        "python -m pip install 'skbert[nothing]'",
        "pip install -r nothing.txt",
        "pip install nothing",
        "cd x && python nothing.py",
        "python -m pytest tests/nothing.py",
        "python -m skbert.distributed embed --nothing",
        "nothing",
    ],
)
def test_wrong_commands_are_found(command):
    """The check of commands sees what is not there."""
    assert len(check_commands(command)) == 1


def test_the_readme_has_ten_lines_of_code():
    """The first block is the one that people paste."""
    first = next(block for block in blocks("python") if block.page.name == "README.md")
    assert len([line for line in first.code.splitlines() if line.strip()]) == 10


def test_the_badges_are_true():
    """What they say of Python, scikit-learn and the licence is what pyproject.toml says."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = [line.rpartition(" ")[2] for line in project["classifiers"] if "Python :: 3." in line]
    oldest = next(need.partition(">=")[2] for need in project["dependencies"] if need.startswith("scikit-learn"))
    badges = [unquote(badge) for badge in re.findall(r"img.shields.io/badge/([^)]*)-2a6f97", readme)]
    assert badges == [
        f"python-{'_|_'.join(versions)}",
        f"scikit--learn->={oldest}",
        "typed-py.typed",
        f"licence-{project['license'].replace('-', '--')}",
    ]
    assert (ROOT / "skbert" / "py.typed").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    """A link to a file names one that is there, a link to the net is https, and pictures are small."""
    text = page.read_text(encoding="utf-8")
    assert not UNFINISHED.findall(text)
    for target in LINK.findall(FENCE.sub("", text)):
        if "://" in target:
            assert target.startswith("https://"), target
            continue
        path = page.parent / target.partition("#")[0]
        assert path.resolve().is_relative_to(ROOT), target
        assert path.exists(), f"{page.name} links to {target}, which is not there."
        if path.suffix in (".png", ".svg"):
            assert path.stat().st_size < MAX_PICTURE_BYTES, target


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_two_commands_are_there(target):
    """README names the targets that the Makefile has."""
    assert f"make {target}" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
