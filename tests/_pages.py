"""What the pages hold: blocks of code by kind, commands of a shell, and how close two outputs are."""

from __future__ import annotations

import ast
import importlib
import inspect
import math
import re
import shlex
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
MADE = {"_build", "_generated", "gallery", "generated"}  # by `make docs`
PAGES = [
    ROOT / "README.md",
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if not MADE.intersection(path.parts)),
]
# python runs alone; py cannot run everywhere and is read only; sh is a command; text is what the block above it prints;
# "" is what something printed once; {…} is Sphinx's.
KINDS = {"python", "py", "sh", "text", ""}
FENCE = re.compile(r"^(?P<fence>`{3,})(?P<kind>[^\n`]*)\n(?P<code>.*?)^(?P=fence)$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"[-+]?\d+(?:,\d{3})*(?:\.\d*)?(?:e[-+]?\d+)?")


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    line: int  # of its first line of code, from 1
    kind: str
    code: str
    printed: str | None  # what the page says that it prints, where a text block follows at once

    @property
    def name(self) -> str:
        """Return where it stands."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(*kinds: str) -> list[Block]:
    """Return the blocks of all pages, or those of some kinds."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        matches = list(FENCE.finditer(text))
        for match, after in zip(matches, [*matches[1:], None], strict=False):
            line = text.count("\n", 0, match.start("code")) + 1
            follows = after is not None and after["kind"] == "text" and not text[match.end() : after.start()].strip()
            found.append(Block(page, line, match["kind"], match["code"], after["code"] if follows else None))
    return [block for block in found if not kinds or block.kind in kinds]


def is_alike(shown: str, printed: str) -> bool:
    """Say whether two outputs have the same words, and numbers that are the same but for rounding.

    On another processor a vector differs in its last bits, and a score by a hundredth.
    """
    if NUMBER.sub("#", shown).split() != NUMBER.sub("#", printed).split():
        return False
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True)
    return all(
        math.isclose(float(a.replace(",", "")), float(b.replace(",", "")), rel_tol=0.02, abs_tol=0.011)
        for a, b in pairs
    )


def check_code(code: str) -> list[str]:
    """Return what is wrong with code that is not run: names that skbert does not have, and parameters.

    Code of other libraries has to be Python, and that is all that is asked of it.
    """
    faults = []
    names: dict[str, Any] = {}
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "skbert":
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                if not hasattr(module, alias.name):
                    faults.append(f"{node.module} has no {alias.name}")
                else:
                    names[alias.asname or alias.name] = getattr(module, alias.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            known = inspect.signature(names[node.func.id]).parameters
            if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
                continue
            unknown = [keyword.arg for keyword in node.keywords if keyword.arg is not None and keyword.arg not in known]
            faults += [f"{node.func.id} has no parameter {name}" for name in unknown]
    return faults


# -- commands ----------------------------------------------------------------------------------------------------------

SHELL = {".", "export", "cd", "mkdir", "cp", "git", "ray", "tar", "rsync", "ls"}
HEREDOC = re.compile(r"<<'(\w+)'[^\n]*\n(.*?)^\1$", re.MULTILINE | re.DOTALL)


def check_commands(code: str) -> list[str]:
    """Return what is wrong with commands: targets, programs, options, extras and files that are not there."""
    faults = [fault for match in HEREDOC.finditer(code) for fault in check_code(match[2])]
    lines = HEREDOC.sub("\n", code).replace("\\\n", " ").splitlines()
    for line in lines:
        words = shlex.split(line, comments=True)
        while words and re.match(r"[A-Z_]+=", words[0]):
            words.pop(0)
        if words:
            faults += check_command(words[0], words[1:])
    return faults


def check_command(program: str, words: list[str]) -> list[str]:
    """Return what is wrong with one command."""
    if program == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
        return [f"no target {word}" for word in words if "=" not in word and not word.startswith("-")
                and word not in targets]  # fmt: skip
    if program in ("python", "python3", ".venv/bin/python"):
        return check_python(words)
    if program == "pip" and words[:1] == ["install"]:
        return check_pip(words[1:])
    return [] if program in SHELL else [f"{program} is not a command that the tests know"]


def check_python(words: list[str]) -> list[str]:
    """Return what is wrong with the arguments of python."""
    if words[0] == "-":
        return []
    if words[0] == "-m":
        spec = find_spec(words[1])
        if spec is None:
            return [f"no module {words[1]}"]
        if not words[1].startswith("skbert"):
            return []
        sources = list(Path(str(spec.origin)).parent.glob("*.py"))
    elif not (ROOT / words[0]).exists():
        return [f"no file {words[0]}"]
    else:
        sources = list((ROOT / words[0]).parent.glob("*.py"))
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    options = [word.partition("=")[0] for word in words[1:] if word.startswith("--")]
    # Some are written out, others are made of the name of a field.
    return [
        f"{' '.join(words[:2])} has no {option}"
        for option in options
        if f'"{option}"' not in text and not re.search(rf"^    {option[2:].replace('-', '_')}: ", text, re.MULTILINE)
    ]


def check_pip(words: list[str]) -> list[str]:
    """Return what is wrong with the arguments of pip install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    faults = []
    for word in words:
        if word.endswith(".txt") and not (ROOT / word).exists():
            faults.append(f"no file {word}")
        if match := re.fullmatch(r"(?:skbert|\.)\[(.*)\]", word):
            unknown = set(match[1].split(",")) - set(project["optional-dependencies"])
            faults += [f"no extra {extra}" for extra in sorted(unknown)]
    return faults
