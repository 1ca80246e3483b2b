"""What a page of the reference shows of a class: skbert's own members whole, those of other libraries by name.

Docstrings that scikit-learn and pandas wrote refer to pages and terms of theirs, and nobody looks for them here.
"""

from __future__ import annotations

import inspect
import re
import sys
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator

if TYPE_CHECKING:
    from sphinx.application import Sphinx

# A word of scikit-learn's glossary, in the docstring of a property that numpydoc shows among the attributes.
TERM = re.compile(r":term:`([^`<]+)`")


def written_in(member: object) -> str:
    """Return the package in which a method or property is written, "" where that cannot be told."""
    for inner in ("fget", "func", "__func__"):
        member = getattr(member, inner, None) or member
    return str(getattr(member, "__module__", None) or "").partition(".")[0]


def skip_foreign(app: Sphinx, what: str, name: str, member: object, skip: bool, options: Any) -> bool | None:
    """Leave out what other libraries wrote; None leaves the choice to autodoc."""
    return True if what == "class" and written_in(member) in {"sklearn", "pandas"} else None


def name_inherited(app: Sphinx, what: str, name: str, member: object, options: Any, lines: list[str]) -> None:
    """Say at the end of an estimator's docstring what it has from scikit-learn."""
    if what != "class" or not (inspect.isclass(member) and issubclass(member, BaseEstimator)):
        return
    documented = set(re.findall(r"\b\w+_\b", "\n".join(lines)))  # attributes, which the docstring has
    inherited = [
        f"``{called}``"
        for called, found in inspect.getmembers(member)
        if not called.startswith("_") and written_in(found) == "sklearn" and called not in documented
    ]
    lines[:] = [TERM.sub(r"``\1``", line) for line in lines]
    lines += ["", ".. rubric:: Inherited from scikit-learn", "", ", ".join(inherited), ""]


def written_where(app: Sphinx, module: str, name: str) -> str | None:
    """Return the module that a public name is written in; estimators call themselves by the public one."""
    found = getattr(sys.modules.get(module), name.partition(".")[0], None)
    functions = [found, *vars(found).values()] if inspect.isclass(found) else [found]
    files = [function.__code__.co_filename for function in functions if inspect.isfunction(function)]
    modules = {getattr(known, "__file__", None): key for key, known in list(sys.modules.items())}
    return next((modules[file] for file in files if file in modules), None)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("autodoc-skip-member", skip_foreign)
    app.connect("viewcode-follow-imported", written_where)
    # after numpydoc, which rewrites the lines
    app.connect("autodoc-process-docstring", name_inherited, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
