"""What the pages hold: blocks of code by kind, commands of a shell, and how close two outputs are."""

from __future__ import annotations

import ast
import inspect
import math
import re
import shlex
import tomllib
from importlib.util import find_spec
from pathlib import Path
from pydoc import locate
from typing import Any, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
MADE = {"_build", "_generated", "gallery", "generated"}  # by `make docs`
PAGES = [
    ROOT / "README.md",
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if not MADE.intersection(path.parts)),
]
# python runs alone; py cannot run everywhere and is read only; sh is a command; text is an output, of the block
# of python that it follows at once, or of something else; {…} are Sphinx's.
KINDS = {"python", "py", "sh", "text", "{toctree}", "{include} _generated/unreleased.md", "{include} ../CHANGELOG.md"}
FENCE = re.compile(r"^(?P<fence>`{3,})(?P<kind>[^\n`]*)\n(?P<code>.*?)^(?P=fence)$", re.MULTILINE | re.DOTALL)
# Code that the tests would not see: indented, as in a list, or between other marks.
HIDDEN = re.compile(r"^(?:[ \t]+`{3,}|[ \t]*~{3,})[^`~]*$", re.MULTILINE)
WORD = re.compile(r"[-+−]?\d+\.\d*(?:e[-+]?\d+)?(?!\w)|\w+|[^\w\s]")
DECIMAL = re.compile(r"[-+−]?\d+\.\d*(?:e[-+]?\d+)?")


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
    """Say whether two outputs have the same words and whole numbers, and decimals that are the same but for rounding.

    On another processor a vector differs in its last bits, and a score by a hundredth.
    """
    words, others = WORD.findall(shown), WORD.findall(printed)
    return len(words) == len(others) and all(map(is_same_word, words, others))


def is_same_word(shown: str, printed: str) -> bool:
    """Say whether two words are the same, or two decimals that differ in rounding."""
    if shown == printed:
        return True
    shown, printed = shown.replace("−", "-"), printed.replace("−", "-")  # a minus as matplotlib and people write it
    if not (DECIMAL.fullmatch(shown) and DECIMAL.fullmatch(printed)):
        return False
    # One in the last place that is shown, and two hundredths of the number; at most a hundredth where it is a share.
    last_place = 10.0 ** -len(shown.partition(".")[2])
    return math.isclose(float(shown), float(printed), rel_tol=0.02, abs_tol=max(1.01 * last_place, 0.011))


def check_code(code: str) -> list[str]:
    """Return what is wrong with code that is not run: names that skbert does not have, and parameters.

    Code of other libraries has to be Python, and that is all that is asked of it.
    """
    faults = []
    names: dict[str, Any] = {}
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "skbert":
                    faults += [] if locate(alias.name) is not None else [f"there is no {alias.name}"]
                    names[alias.asname or "skbert"] = locate(alias.name if alias.asname else "skbert")
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "skbert":
            for alias in node.names:
                found = locate(f"{node.module}.{alias.name}")
                if found is None:
                    faults.append(f"{node.module} has no {alias.name}")
                else:
                    names[alias.asname or alias.name] = found
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            faults += check_call(node, names)
    return faults


def check_call(node: ast.Call, names: dict[str, Any]) -> list[str]:
    """Return what is wrong with a call of something of skbert's, as far as it can be told without running it."""
    path = ast.unparse(node.func).split(".")
    if path[0] not in names:
        return []
    called: Any = names[path[0]]
    for part in path[1:]:
        called = getattr(called, part, None)
    if not callable(called):
        return [f"there is no {'.'.join(path)}"]
    if any(isinstance(argument, ast.Starred) for argument in node.args):
        return []
    given = {keyword.arg: None for keyword in node.keywords if keyword.arg is not None}
    try:
        inspect.signature(called).bind_partial(*node.args, **given)
    except TypeError as error:
        return [f"{'.'.join(path)}: {error}"]
    return []


# -- commands ----------------------------------------------------------------------------------------------------------

SHELL = {".", "export", "cd", "ray", "tail"}
HEREDOC = re.compile(r"<<'(\w+)'[^\n]*\n(.*?)^\1$", re.MULTILINE | re.DOTALL)


def check_commands(code: str) -> list[str]:
    """Return what is wrong with commands: targets, programs, options, extras and files that are not there."""
    faults = [fault for match in HEREDOC.finditer(code) for fault in check_code(match[2])]
    for line in HEREDOC.sub("\n", code).replace("\\\n", " ").splitlines():
        command: list[str] = []
        for word in [*shlex.split(line, comments=True), ";"]:
            if word in ("&&", "||", "|", ";"):
                faults += check_command(command)
                command = []
            else:
                command.append(word)
    return faults


def check_command(words: list[str]) -> list[str]:
    """Return what is wrong with one command."""
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    if not words:
        return []
    program, words = words[0], words[1:]
    if program == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
        asked = [word for word in words if "=" not in word and not word.startswith("-")]
        return [f"no target {word}" for word in asked if word not in targets]
    if program in ("python", "python3", ".venv/bin/python"):
        return check_python(words)
    if program == "pip":
        return check_pip(words)
    return [] if program in SHELL else [f"{program} is not a command that the tests know"]


def check_python(words: list[str]) -> list[str]:
    """Return what is wrong with the arguments of python."""
    if words[0] == "-":
        return []
    if words[:2] == ["-m", "pip"]:
        return check_pip(words[2:])
    if words[:2] == ["-m", "pytest"]:
        return [f"no file {word}" for word in words if word.startswith("tests/") and not (ROOT / word).exists()]
    if words[0] == "-m":
        spec = find_spec(words[1])
        if spec is None:
            return [f"no module {words[1]}"]
        if not words[1].startswith("skbert"):
            return []
        program = Path(str(spec.origin)).with_name("__main__.py")
    else:
        program = ROOT / words[0]
        if not program.exists():
            return [f"no file {words[0]}"]
    # Some options are written out, others are made of the name of a field; a program's may be in a module beside it.
    text = program.read_text(encoding="utf-8")
    beside = (program.with_name(f"{module}.py") for module in re.findall(r"^from (_\w+) import", text, re.MULTILINE))
    text += "".join(path.read_text(encoding="utf-8") for path in beside if path.exists())
    options = [word.partition("=")[0] for word in words[1:] if word.startswith("--")]
    return [
        f"{' '.join(words[:2])} has no {option}"
        for option in options
        if f'"{option}"' not in text and not re.search(rf"^    {option[2:].replace('-', '_')}: ", text, re.MULTILINE)
    ]


def check_pip(words: list[str]) -> list[str]:
    """Return what is wrong with the arguments of pip."""
    if words[:1] != ["install"]:
        return [f"pip {' '.join(words)} is not a command that the tests know"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    needs = [*project["dependencies"], *(need for some in extras.values() for need in some)]
    known = {canonicalize_name(Requirement(need).name) for need in needs}
    faults = []
    for before, word in zip(["", *words[1:]], words[1:], strict=False):
        if before in ("-c", "-r"):
            faults += [] if (ROOT / word).exists() else [f"no file {word}"]
        elif not word.startswith("-"):
            place, _, asked = word.partition("[")
            if place != "." and canonicalize_name(place) not in known | {"skbert", "selenium"}:
                faults.append(f"skbert knows nothing of {word}")
            unknown = set(filter(None, asked.partition("]")[0].split(","))) - set(extras)
            faults += [f"no extra {extra}" for extra in sorted(unknown)] if place in (".", "skbert") else []
    return faults
