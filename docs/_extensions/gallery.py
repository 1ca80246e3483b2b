"""The gallery: in which order, with which arguments, and links in pages that lead to it.

Sphinx-Gallery asks for the functions here by their names (``gallery.place_of``), since a configuration that holds
functions cannot be kept from one build to the next.
"""

from __future__ import annotations

import os
import re
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sphinx.errors import ExtensionError

import skbert

if TYPE_CHECKING:
    from sphinx.application import Sphinx

# From the first steps to the odd cases.
ORDER = [
    "plot_tweet_sentiment.py",
    "plot_grid_search.py",
    "plot_layers_and_pooling.py",
    "plot_copies_across_folds.py",
    "plot_imbalanced_classes.py",
    "plot_tfidf_and_bert.py",
    "plot_numbers_beside_text.py",
    "plot_long_reviews.py",
    "plot_pairs.py",
    "plot_map_of_tweets.py",
    "plot_words_in_context.py",
    "plot_attention.py",
    "plot_explanation.py",
]
# What the demo writes; gone when Sphinx ends.
DEMO_OUTPUT = tempfile.TemporaryDirectory(prefix="skbert-docs-")
BUILT = {"_build", "_generated", "gallery", "generated", "build", "dist", "demo_output"}
# How things were before the example that runs now
before: dict[str, Any] = {}
# On GitHub such a link leads to the source of an example.
EXAMPLE = re.compile(r"\]\((?:\.\./)+examples/(plot_\w+)\.py\)")
# And so does one to a page beside docs/, which is no part of the site.
BESIDE = re.compile(r"\[([^\]]+)\]\(\.\./\.\./([\w./]+\.md)(?:#[\w-]+)?\)")


def place_of(filename: str) -> tuple[int, str]:
    """Return where an example stands; one that is not named above comes last."""
    return (ORDER.index(filename) if filename in ORDER else len(ORDER), filename)


def arguments_of(_: object, script: dict[str, Any]) -> list[str]:
    """Give the demo a folder to write to; the other examples take no arguments."""
    return ["--output", DEMO_OUTPUT.name] if str(script["src_file"]).endswith("plot_tweet_sentiment.py") else []


def files_of(checkout: Path) -> dict[Path, tuple[int, int]]:
    """Return every file but what is built, installed or cached, with size and time where examples are.

    Elsewhere somebody may be writing while the site is built.
    """
    found = {}
    for folder, inner, names in os.walk(checkout):
        inner[:] = [name for name in inner if not name.startswith((".", "__pycache__")) and name not in BUILT]
        for path in (Path(folder, name) for name in names if not name.startswith(".")):
            state = path.stat() if path.parent.name == "examples" else None
            found[path] = (state.st_size, state.st_mtime_ns) if state else (0, 0)
    return found


def watch_example(conf: dict[str, Any], name: str, when: str) -> None:
    """Let an example start with nothing in memory, as when it is run alone.

    What it warns of is a fault, and so is a file that it leaves in the checkout, or that it draws nothing.
    """
    checkout = Path(conf["src_dir"]).parent
    if when == "before":
        skbert.clear_cache("memory")
        before["filters"], before["files"] = warnings.catch_warnings(), files_of(checkout)
        before["filters"].__enter__()
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # other libraries', among themselves
        warnings.filterwarnings("error", category=DeprecationWarning, module=r"skbert|__main__")
        warnings.filterwarnings("ignore", message=".*non-interactive")  # what Agg says of plt.show()
        return
    before["filters"].__exit__(None, None, None)
    changed = sorted(str(path) for path, _ in before["files"].items() ^ files_of(checkout).items())
    if changed:
        message = f"{name} left files, or changed them: {changed}"
        raise ExtensionError(message)
    if not Path(conf["src_dir"], "gallery", "images", f"sphx_glr_{Path(name).stem}_001.png").exists():
        message = f"{name} draws nothing."
        raise ExtensionError(message)


def link_to_gallery(app: Sphinx, name: str, source: list[str]) -> None:
    """Turn a link to the source of an example into one to its page, and one to a page beside docs/ into its name."""
    if not name.startswith("gallery/"):
        source[0] = BESIDE.sub(r"\1 (`\2`)", EXAMPLE.sub(r"](/gallery/\1.rst)", source[0]))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("source-read", link_to_gallery)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
