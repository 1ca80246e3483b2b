"""Draw docs/images/house.svg: the rooms of skbert on their levels, and which imports which.

Reads the levels from tests/test_house.py and the imports from the source, so
that the picture cannot say what the code does not; a test compares the two.
Where a room stands from left to right, and its few words, are below. An arrow
that follows from others (a imports b, b imports c, and a imports c too) is left
out, and so are those to the cellar: small things for the rooms above.
``--check`` writes nothing, and exits with 1 where the file is out of date.
"""

from __future__ import annotations

import ast
import importlib.util
import itertools
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "house.svg"
WIDTH, BOX, HEIGHT, GAP, ROOF, MARGIN = 376, 86, 42, 32, 66, 12

# The middle of each room from left to right, its row, and what it is for in about 16 characters. Rooms of one level
# may stand in several rows.
PLACES = {
    "_report": (50, 0, "texts, looked at"),
    "inspection": (142, 0, "seeing inside"),
    "_bundle": (234, 0, "folders to keep"),
    "_search": (326, 0, "heads together"),
    "distributed": (50, 1, "many machines"),
    "_classifier": (234, 2, "BERT and a head"),
    "_displays": (326, 2, "curves"),
    "_cleaner": (50, 3, "texts to texts"),
    "_embedder": (142, 3, "texts to vectors"),
    "_head": (234, 3, "vectors to labels"),
    "datasets": (326, 3, "sample tweets"),
    "_engine": (168, 4, "runs the model"),
    "_training": (258, 4, "epochs, tensors"),
    "_texts": (50, 5, "what is a text"),
    "_store": (168, 5, "keeps vectors"),
}
ROOM_OF_ROOF = "__init__"
CELLAR = ("_base", "_params", "_sklearn", "_warnings", "exceptions")
INK, PAPER, LINE, ROOM, OPEN_ROOM, GROUND = "#16212b", "#ffffff", "#44586a", "#e8f1f8", "#fdf0d5", "#e3e3e3"


def load_rules() -> ModuleType:
    """Return tests/test_house.py as a module."""
    spec = importlib.util.spec_from_file_location("house_rules", ROOT / "tests" / "test_house.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def imports(rules: ModuleType) -> dict[str, set[str]]:
    """Return for each room the other rooms that its files import."""
    found: dict[str, set[str]] = {room: set() for room in rules.LEVELS}
    for path in rules.FILES:
        tree = ast.parse((rules.PACKAGE / path).read_text(encoding="utf-8"))
        for imported in rules.imports_of(tree):
            top, *rest = imported.module.split(".")
            if top == "skbert" and rest and rest[0] in rules.LEVELS:
                found[rules.room_of(path)].add(rest[0])
    return {room: asked - {room} for room, asked in found.items()}


def arrows(asked: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Return the imports to draw: between rooms that stand in the picture, and none that follows from others."""
    drawn = {room: {other for other in asked[room] if other in PLACES} for room in PLACES}

    def reaches(room: str) -> set[str]:
        return drawn[room].union(*(reaches(other) for other in drawn[room]))

    return [
        (room, other)
        for room in PLACES
        for other in sorted(drawn[room])
        if not any(other in reaches(between) for between in drawn[room] - {other})
    ]


def box_of(room: str) -> tuple[float, float]:
    """Return the middle and the top of a room."""
    x, row, _ = PLACES[room]
    return x, ROOF + MARGIN + row * (HEIGHT + GAP)


def check_places(lines: list[tuple[str, str]], rules: ModuleType) -> None:
    """Raise ValueError for a room without a place or on another's level, an overlap, an arrow through a room."""
    if missing := set(rules.LEVELS) ^ {*PLACES, *CELLAR, ROOM_OF_ROOF}:
        msg = f"PLACES and CELLAR of tools/draw_house.py and LEVELS of tests/test_house.py differ in {sorted(missing)}"
        raise ValueError(msg)
    rows = [[rules.LEVELS[room] for room in PLACES if PLACES[room][1] == row] for row in range(6)]
    if any(min(upper) < max(lower) or len({*lower}) > 1 for upper, lower in itertools.pairwise(rows)):
        msg = f"the rows of PLACES do not follow LEVELS of tests/test_house.py: {rows}"
        raise ValueError(msg)
    boxes = {room: box_of(room) for room in PLACES}
    at = defaultdict(list)
    for room, (x, top) in boxes.items():
        at[top].append((x, room))
    for row in at.values():
        for (x, room), (right, other) in zip(sorted(row), sorted(row)[1:], strict=False):
            if right - x < BOX:
                msg = f"{room} and {other} overlap"
                raise ValueError(msg)
    for room, other in lines:
        (x1, y1), (x2, y2) = boxes[room], boxes[other]
        y1 += HEIGHT
        for through, (x, top) in boxes.items():
            crossings = [x1 + (x2 - x1) * (y - y1) / (y2 - y1) for y in (top, top + HEIGHT) if y1 < y < y2]
            if any(abs(crossing - x) < BOX / 2 + 4 for crossing in crossings):
                msg = f"the arrow from {room} to {other} runs through {through}; move it in PLACES"
                raise ValueError(msg)


def text(x: float, y: float, words: str, size: float, *, code: bool = False, bold: bool = False) -> str:
    """Return one line of text around `x`."""
    family = "ui-monospace, Menlo, Consolas, monospace" if code else "system-ui, Helvetica, Arial, sans-serif"
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" font-family="{family}"{weight} fill="{INK}" '
        f'text-anchor="middle">{escape(words)}</text>'
    )


def parts(rules: ModuleType) -> Iterator[str]:
    """Yield the elements of the picture."""
    lines = arrows(imports(rules))
    check_places(lines, rules)
    bottom = max(box_of(room)[1] for room in PLACES) + HEIGHT
    height = bottom + GAP + HEIGHT + 2 * MARGIN + 18
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" '
        f'height="{height:g}" role="img" aria-labelledby="house-title house-words">'
    )
    yield '<title id="house-title">The house of skbert</title>'
    told = "; ".join(f"{room} imports {other}" for room, other in lines)
    yield f'<desc id="house-words">Rooms on levels; imports go down only. {told}.</desc>'
    yield (
        f'<defs><marker id="tip" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0 0 8 4 0 8z" fill="{LINE}"/></marker></defs>'
    )
    yield f'<rect width="{WIDTH}" height="{height:g}" rx="6" fill="{PAPER}"/>'
    yield f'<path d="M4 {ROOF - 6} {WIDTH / 2:g} 6 {WIDTH - 4} {ROOF - 6}z" fill="{ROOM}" stroke="{LINE}"/>'
    yield text(WIDTH / 2, 38, "skbert", 14, code=True, bold=True)
    yield text(WIDTH / 2, 53, "the public names, nothing else", 11)
    for room, other in lines:
        (x1, y1), (x2, y2) = box_of(room), box_of(other)
        yield (
            f'<line x1="{x1:g}" y1="{y1 + HEIGHT:g}" x2="{x2:g}" y2="{y2 - 1:g}" stroke="{LINE}" '
            f'stroke-width="1.3" marker-end="url(#tip)"/>'
        )
    for room, (x, _, words) in PLACES.items():
        top, fill = box_of(room)[1], ROOM if room.startswith("_") else OPEN_ROOM
        yield (
            f'<rect x="{x - BOX / 2:g}" y="{top:g}" width="{BOX}" height="{HEIGHT}" rx="4" fill="{fill}" '
            f'stroke="{LINE}"/>'
        )
        yield text(x, top + 18, room, 12, code=True, bold=True)
        yield text(x, top + 34, words, 10.5)
    top = bottom + GAP
    yield f'<rect x="8" y="{top:g}" width="{WIDTH - 16}" height="{HEIGHT}" rx="4" fill="{GROUND}" stroke="{LINE}"/>'
    yield text(WIDTH / 2, top + 18, "  ".join(CELLAR), 12.5, code=True, bold=True)
    yield text(WIDTH / 2, top + 34, "the cellar: small things for the rooms above", 10.5)
    yield text(
        WIDTH / 2, top + HEIGHT + 22, "An arrow: imports. Yellow: public by its own name, as is exceptions.", 10.5
    )
    yield "</svg>"


def main() -> int:
    """Write the picture, or compare it, and return the exit status."""
    drawn = "\n".join(parts(load_rules())) + "\n"
    if "--check" not in sys.argv[1:]:
        PICTURE.write_text(drawn, encoding="utf-8")
    elif not PICTURE.exists() or PICTURE.read_text(encoding="utf-8") != drawn:
        print(f"{PICTURE.relative_to(ROOT)} is out of date: run tools/draw_house.py.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
