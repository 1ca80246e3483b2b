"""The house of docs/: imports go down only and are absolute, and each library has its one place.

Reads the source of every module, so it sees imports inside functions and under
``TYPE_CHECKING`` as well: a hint that looks upward is a tie all the same.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "skbert"
MAX_LINES = 450

# A room may import rooms of lower levels, never one of its own level or above.
LEVELS = {
    "exceptions": 0,
    "_params": 1,
    "_sklearn": 1,
    "_warnings": 1,
    "_base": 2,
    "_texts": 2,
    "_store": 2,
    "_engine": 3,
    "_training": 3,
    "_embedder": 4,
    "_head": 4,
    "_cleaner": 4,
    "datasets": 4,
    "_classifier": 5,
    "_displays": 5,
    "inspection": 6,
    "distributed": 6,
    "_search": 6,
    "_bundle": 6,
    "_report": 6,
    "__init__": 7,
}

# The only files, or rooms, that may import a library.
OWNERS = {
    "transformers": ("_engine/loading.py", "_engine/sources.py", "_engine/attention.py"),
    "lmdb": ("_store/disk/database.py", "_store/disk/soundness.py"),
    "filelock": ("_store/disk/", "distributed/_folders.py"),
    "ray": ("distributed/",),
    "skops": ("_bundle/parts.py",),
    "safetensors": ("_bundle/bundle.py",),
}
# The only file that may know scikit-learn's private modules and names.
OF_SKLEARN = "_sklearn.py"
# What a file, or a room, may not know.
STRANGERS = {
    "_store/": {"torch", "transformers", "sklearn", "tokenizers", "huggingface_hub", "pandas"},
    "_engine/batching.py": {"torch", "transformers", "sklearn", "tokenizers", "pandas"},
    "_training.py": {"sklearn", "transformers", "pandas"},
    "_training/": {"sklearn", "transformers", "pandas"},
}
# The only rooms of skbert that a file, or a room, may import, its own aside, where that is less than its level allows.
MAY_ASK = {
    "_params.py": {"exceptions"},
    "_sklearn.py": set(),
    "_base.py": {"exceptions", "_sklearn"},
    "_texts/": {"exceptions"},
    "_engine/batching.py": {"exceptions"},
    "_store/": {"exceptions", "_params", "_warnings"},
}


class Import(NamedTuple):
    """One imported module, as ``skbert._engine.spec`` or ``torch``, and where it stands."""

    module: str
    line: int
    function: str | None  # the innermost function around it


def imports_of(tree: ast.Module) -> Iterator[Import]:
    """Yield every import of a module: statements, and ``import_module("…")`` with a literal name."""

    def walk(node: ast.AST, function: str | None) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, function)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                # `from skbert import _texts` names a room; other names are parts of the module
                yield Import(f"{module}.{alias.name}" if module == "skbert" else module, node.lineno, function)
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
            named = [argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)]
            yield from (Import(str(name), node.lineno, function) for name in named)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function = node.name
        for child in ast.iter_child_nodes(node):
            yield from walk(child, function)

    return walk(tree, None)


def _called(node: ast.Call) -> str | None:
    return getattr(node.func, "attr", getattr(node.func, "id", None))


def room_of(path: str) -> str:
    """Return the room of a file: ``_engine`` for ``_engine/spec.py``, ``_texts`` for ``_texts.py``."""
    return path.partition("/")[0].removesuffix(".py")


def _concerns(path: str, place: str) -> bool:
    return path.startswith(place) if place.endswith("/") else path == place


def faults(path: str, source: str) -> list[str]:
    """Return what is wrong with the imports of the file at `path` (relative to the package)."""
    tree = ast.parse(source)
    room, found = room_of(path), []
    if room not in LEVELS:
        return [f"{path}: the room {room!r} is unknown; give it a level in LEVELS of tests/test_house.py."]
    for module, line, function in imports_of(tree):
        where = f"{path}:{line}"
        top, *rest = module.split(".")
        if module.startswith("."):
            found.append(f"{where}: relative import of {module}; write skbert.… in full.")
        elif top == "skbert":
            found += _inward(path, where, rest[0] if rest else "__init__")
        else:
            found += _outward(path, where, top, function)
    if path != OF_SKLEARN:
        found += [
            f"{path}:{line}: {what} is private to scikit-learn; ask {OF_SKLEARN}." for what, line in _private(tree)
        ]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            found.append(f"{path}:{node.lineno}: star import; name what is needed.")
        is_command = path.endswith("__main__.py")
        is_print = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        if is_print and not is_command:
            found.append(f"{path}:{node.lineno}: print; return it, warn, or show it with tqdm.")
    return found


def _private(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield what a module takes from scikit-learn by a name with an underscore, and its attributes on estimators."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import) and not getattr(node, "level", 0):
            module = getattr(node, "module", None)
            names = [f"{module}.{alias.name}" if module else alias.name for alias in node.names]
            yield from ((n, node.lineno) for n in names if n.startswith("sklearn.") and "._" in n)
        text = getattr(node, "attr", None) or (node.value if isinstance(node, ast.Constant) else None)
        if isinstance(text, str) and text.startswith(("_skl_", "_sklearn_output", "_callback_fit", "_parent_callback")):
            yield text, node.lineno


def _inward(path: str, where: str, asked: str) -> list[str]:
    room = room_of(path)
    if asked == room and asked != "__init__":
        return []
    if asked not in LEVELS or asked == "__init__":
        return [
            f"{where}: skbert.{asked} is no room of the house (tests/test_house.py); import from the room that has it."
        ]
    if LEVELS[asked] >= LEVELS[room]:
        return [f"{where}: {room} imports {asked}, which does not lie below it; imports go down only."]
    limits = [allowed for place, allowed in MAY_ASK.items() if _concerns(path, place)]
    return [f"{where}: {path} may not know skbert.{asked}." for allowed in limits if asked not in allowed]


def _outward(path: str, where: str, library: str, function: str | None) -> list[str]:
    found = []
    owners = OWNERS.get(library)
    if owners is not None and not any(_concerns(path, owner) for owner in owners):
        found.append(f"{where}: {library} is imported only in {', '.join(owners)}.")
    if library == "matplotlib" and function != "plot":
        found.append(f"{where}: matplotlib is imported only inside a method called plot.")
    for place, strangers in STRANGERS.items():
        if _concerns(path, place) and library in strangers:
            found.append(f"{where}: {place} does not know {library}.")
    return found


FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES)
def test_imports_go_down_only(path):
    """Every module imports absolutely, downward, and only the libraries that have their place there."""
    assert faults(path, (PACKAGE / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", FILES)
def test_modules_stay_small_and_say_what_they_are(path):
    """A module has a docstring and no more than 450 lines."""
    source = (PACKAGE / path).read_text(encoding="utf-8")
    lines = source.count("\n")
    assert lines <= MAX_LINES, f"skbert/{path} has {lines} lines; a second job is probably hidden in it."
    if source.strip():
        assert ast.get_docstring(ast.parse(source)), f"skbert/{path} has no docstring that says its place."


@pytest.mark.parametrize(
    ("path", "source", "message"),
    [
        ("_store/memory.py", "from skbert._engine.spec import EncoderSpec", "go down only"),
        ("_embedder.py", "from skbert._head import HeadClassifier", "go down only"),
        ("_engine/encode.py", "def f():\n    from skbert._embedder import BertEmbedder", "_engine/encode.py:2"),
        ("_texts.py", "if TYPE_CHECKING:\n    from skbert import _embedder", "go down only"),
        ("_report.py", "from skbert._bundle import load_bundle", "go down only"),
        ("_classifier.py", "from skbert import BertEmbedder", "no room"),
        ("_classifier.py", "import skbert", "no room"),
        ("_embedder.py", "from ._texts import check_texts", "relative import"),
        ("_embedder.py", "from . import _texts", "relative import"),
        ("_novelty.py", "import numpy", "give it a level"),
        ("_embedder.py", "from skbert._novelty import x", "no room"),
        ("_embedder.py", "import transformers", "transformers is imported only in"),
        ("_engine/encode.py", "import importlib\nimportlib.import_module('transformers.utils')", "encode.py:2"),
        ("_store/memory.py", "import lmdb", "lmdb is imported only in"),
        ("_report.py", "import ray.data", "ray is imported only in"),
        ("_displays.py", "import matplotlib.pyplot as plt", "inside a method called plot"),
        ("_displays.py", "def from_estimator():\n    import matplotlib", "inside a method called plot"),
        ("_store/base.py", "import torch", "does not know torch"),
        ("_store/base.py", "from skbert._texts import check_texts", "go down only"),
        ("_engine/batching.py", "import torch", "does not know torch"),
        ("_engine/batching.py", "from skbert._store.memory import MemoryStore", "may not know"),
        ("_training.py", "from sklearn.base import BaseEstimator", "does not know sklearn"),
        ("_cleaner.py", "from skbert._texts import *", "star import"),
        ("_cleaner.py", "print('x')", "print"),
        ("_head/inputs.py", "from sklearn.utils._param_validation import Interval", "private to scikit-learn"),
        ("_head/inputs.py", "from sklearn.utils.validation import _num_samples", "private to scikit-learn"),
        ("_cleaner.py", "getattr(estimator, '_sklearn_output_config', {})", "private to scikit-learn"),
        ("_head/inputs.py", "estimator._skl_callbacks = []", "private to scikit-learn"),
    ],
)
def test_the_rules_see(path, source, message):
    """Each rule notices a breach of it, and says where."""
    assert any(message in fault for fault in faults(path, source))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "__init__.py",
            "from skbert._embedder import BertEmbedder\nfrom skbert._engine.registry import release_models",
        ),
        ("_embedder.py", "from skbert._engine import encode\nfrom skbert import _texts"),
        (
            "_engine/encode.py",
            "from skbert._engine.spec import EncoderSpec\nfrom skbert._store.base import VectorStore",
        ),
        ("_engine/loading.py", "import torch\nfrom transformers import AutoModel"),
        ("_displays.py", "class D:\n    def plot(self):\n        import matplotlib.pyplot as plt"),
        ("distributed/_actor.py", "import ray"),
    ],
)
def test_the_rules_let_pass(path, source):
    """What the house allows is no fault."""
    assert faults(path, source) == []
