"""Check that constraints.txt pins all that ``skbert[all,dev]`` brings in, and that these versions are installed.

Walks the requirements of the installed packages, so it sees what belongs to
this system and this Python; other packages in the environment do not matter.
Checks too that constraints-oldest.txt pins each package that ``skbert[test]``
names at the lower bound that is stated for it.
Exits with 1, and one line a fault, where something is wrong.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

PACKAGE, EXTRAS = "skbert", ("all", "dev")
NOT_OLDEST = {"torch"}  # constraints-oldest.txt says why
OTHERS = {"pyparsing"}  # the same


def read_pins(path: Path) -> dict[str, Requirement]:
    """Return the pins of a constraints file by the names of their packages."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    pins = [Requirement(line) for line in lines if line]
    return {canonicalize_name(pin.name): pin for pin in pins}


def pinned_version(pin: Requirement) -> Version | None:
    """Return the one version that a pin allows, or None where it is no pin with ==."""
    parts = list(pin.specifier)
    if len(parts) != 1 or parts[0].operator != "==":
        return None
    try:
        return Version(parts[0].version)
    except InvalidVersion:  # ==1.6.*, which is a range
        return None


def walk_requirements() -> set[str]:
    """Return the names of all packages that the package and its extras need here, directly or not."""
    needed: set[tuple[str, str]] = set()
    ahead = [(PACKAGE, extra) for extra in ("", *EXTRAS)]
    while ahead:
        name, extra = ahead.pop()
        if (name, extra) in needed:
            continue
        needed.add((name, extra))
        try:
            lines = distribution(name).requires or ()
        except PackageNotFoundError:
            continue  # told by main
        for requirement in map(Requirement, lines):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                ahead += [(canonicalize_name(requirement.name), more) for more in ("", *requirement.extras)]
    return {name for name, _ in needed} - {PACKAGE}


def oldest_faults(pins: dict[str, Requirement]) -> list[str]:
    """Return where the oldest versions differ from the lower bounds that skbert states."""
    bounds: dict[str, str] = {}
    ahead, seen = ["", "test"], set()
    while ahead:
        extra = ahead.pop()
        seen.add(extra)
        for requirement in map(Requirement, distribution(PACKAGE).requires or ()):
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
                continue
            if canonicalize_name(requirement.name) == PACKAGE:
                ahead += [more for more in requirement.extras if more not in seen]
                continue
            lower = [part.version for part in requirement.specifier if part.operator in (">=", "==")]
            bounds[canonicalize_name(requirement.name)] = lower[0] if lower else ""
    faults = [f"{name}: named in constraints-oldest.txt only" for name in sorted(set(pins) - set(bounds) - OTHERS)]
    for name in sorted(set(bounds) - NOT_OLDEST):
        pin = pins.get(name)
        bound = Version(bounds[name]) if bounds[name] else None
        if pin is None or bound is None or pinned_version(pin) != bound:
            faults.append(f"{name}: from {bound or 'no lower bound'} on, but constraints-oldest.txt has {pin}")
    faults += [
        f"{pin}: not pinned with ==" for name, pin in pins.items() if name in NOT_OLDEST and not pinned_version(pin)
    ]
    return faults


def main() -> int:
    """Print the faults, and return the exit status."""
    root = Path(__file__).parents[1]
    pins = read_pins(root / "constraints.txt")
    faults = [f"{pin}: not pinned with ==" for pin in pins.values() if pinned_version(pin) is None]
    needed = walk_requirements()
    for name in sorted(needed):
        try:
            version = distribution(name).version
        except PackageNotFoundError:
            faults.append(f"{name}: needed, and not installed")
            continue
        if name not in pins:
            faults.append(f"{name}: needed, and not pinned; {name}=={version} is installed")
        elif not pins[name].specifier.contains(version, prereleases=True):
            faults.append(f"{name}: pinned as {pins[name]}, but {version} is installed")
    faults += oldest_faults(read_pins(root / "constraints-oldest.txt"))
    print(*faults, sep="\n", end="\n" if faults else "")
    print(f"constraints.txt: {len(needed)} packages needed, {len(faults)} faults", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
