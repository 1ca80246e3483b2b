"""Validate the docstrings of everything public with numpydoc, by the rules in pyproject.toml.

Public is every name in the ``__all__`` of a module without an underscore in its
path, and every public method and property that skbert itself gives to such a
class. Exits with 1, and one line a fault, where something is wrong.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numpydoc.validate import ERROR_MSGS, validate

PACKAGE = "skbert"


def public_modules() -> Iterator[Any]:
    """Yield the package and its public modules."""
    package = importlib.import_module(PACKAGE)
    yield package
    for found in pkgutil.walk_packages(package.__path__, f"{PACKAGE}."):
        if not any(part.startswith("_") for part in found.name.split(".")):
            yield importlib.import_module(found.name)


def public_objects() -> Iterator[tuple[str, str]]:
    """Yield the dotted name and the kind (class, exception, function, method) of everything public, once."""
    seen = set()
    for module in public_modules():
        for name in module.__all__:
            thing = getattr(module, name)
            if id(thing) in seen or not callable(thing):
                continue
            seen.add(id(thing))
            dotted = f"{module.__name__}.{name}"
            if inspect.isclass(thing):
                yield dotted, "exception" if issubclass(thing, BaseException) else "class"
                yield from ((documented(thing, method, dotted), "method") for method in own_methods(thing))
            else:
                yield dotted, "function"


def own_methods(cls: type) -> list[str]:
    """Return the public methods and properties that skbert, not scikit-learn, gives to `cls`."""
    found = []
    for name in dir(cls):
        raw = inspect.getattr_static(cls, name)
        function = getattr(raw, "__func__", getattr(raw, "fget", raw))
        if name.startswith("_") or not (inspect.isfunction(function) or isinstance(raw, property)):
            continue
        if (getattr(function, "__module__", None) or "").split(".")[0] == PACKAGE:
            found.append(name)
    return found


def documented(cls: type, method: str, dotted: str) -> str:
    """Return the dotted name of `method` in the class that documents it: `cls`, or one that it inherits from."""
    holders = [base for base in cls.__mro__ if getattr(vars(base).get(method), "__doc__", None)]
    if not holders or holders[0] is cls:
        return f"{dotted}.{method}"
    return f"{holders[0].__module__}.{holders[0].__qualname__}.{method}"


def checks_for(kind: str, settings: dict[str, Any]) -> set[str]:
    """Return the codes that count for a kind of object."""
    return set(ERROR_MSGS) - set(settings["never"]) - set(settings.get(f"not_for_{kind}", ()))


def main() -> int:
    """Print the faults, and return the exit status."""
    pyproject = Path(__file__).parents[1] / "pyproject.toml"
    settings = tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"][PACKAGE]["docstrings"]
    objects = dict(public_objects())
    n_faults = 0
    for dotted, kind in objects.items():
        result = validate(dotted)
        for code, message in result["errors"]:
            if code in checks_for(kind, settings):
                n_faults += 1
                where = Path(result["file"]).relative_to(pyproject.parent) if result["file"] else PACKAGE
                print(f"{where}:{result['file_line']}: {dotted}: {code} {message}")
    print(f"numpydoc: {len(objects)} public docstrings, {n_faults} faults", file=sys.stderr)
    return 1 if n_faults else 0


if __name__ == "__main__":
    sys.exit(main())
