"""A public name in backticks becomes a link to its page in the reference, once in each section.

So pages in Markdown need no roles, and read as well where they are not built.
"""

from __future__ import annotations

import importlib
import re
from pydoc import locate
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx

LOG = logging.getLogger(__name__)
DOTTED = re.compile(r"skbert(\.\w+)+")
MODULES = ("skbert", "skbert.inspection", "skbert.datasets", "skbert.distributed", "skbert.exceptions")


def public_names() -> dict[str, str]:
    """Return what a page may call each public name, and its full name."""
    names: dict[str, str] = {}
    for module in MODULES:
        for name in importlib.import_module(module).__all__:
            full = f"{module}.{name}"
            for called in (name, full, full.removeprefix("skbert.")):
                names.setdefault(called, full)
    return names


class LinkNames(SphinxTransform):
    """Wrap inline code that is a public name into a reference."""

    default_priority = 600

    def apply(self, **kwargs: Any) -> None:
        """Walk the page; headings, links and the reference's own pages stay as they are."""
        if self.env.docname.startswith(("reference/", "gallery/")):
            return
        names = public_names()
        linked: set[tuple[int, str]] = set()
        for node in list(self.document.findall(nodes.literal)):
            text = node.astext()
            full = names.get(text.removesuffix("()"))
            if DOTTED.fullmatch(text) and locate(text) is None:
                LOG.warning("there is no %s", text, location=node, type="name_links")
            if full is None or inside(node, (nodes.title, nodes.reference, addnodes.pending_xref)):
                continue
            place = (id(section_of(node)), full)
            if place in linked:
                continue
            linked.add(place)
            link = addnodes.pending_xref(
                "", refdomain="py", reftype="obj", reftarget=full, refdoc=self.env.docname, refwarn=True
            )
            node.replace_self(link)
            link += nodes.literal("", text, classes=["xref", "py"])


def inside(node: nodes.Node, kinds: tuple[type, ...]) -> bool:
    """Say whether a node stands in one of such a kind."""
    while node.parent is not None:
        node = node.parent
        if isinstance(node, kinds):
            return True
    return False


def section_of(node: nodes.Node) -> nodes.Node:
    """Return the section that a node stands in."""
    while node.parent is not None and not isinstance(node, nodes.section):
        node = node.parent
    return node


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_transform(LinkNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
