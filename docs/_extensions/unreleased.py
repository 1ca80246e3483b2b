"""What the next release will say, from the fragments in ``changelog.d``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

MARK = re.compile(r"^## .*$", re.MULTILINE)

# A page of the site, as a fragment names it.
PAGE = re.compile(r"`docs/(\w+/\w+\.md)`")


def write_unreleased(root: Path, target: Path) -> None:
    """Write the part of the changelog that towncrier would put together now."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "towncrier",
            "build",
            "--draft",
            "--config",
            str(root / "pyproject.toml"),
            "--dir",
            str(root),
        ],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    title = MARK.search(done.stdout)
    if title is None:
        message = f"towncrier's draft has no title:\n{done.stdout}"
        raise ValueError(message)
    target.parent.mkdir(exist_ok=True)
    news = PAGE.sub(r"[\1](\1)", done.stdout[title.end() :])
    target.write_text(f"## Not released yet\n{news}", encoding="utf-8")
