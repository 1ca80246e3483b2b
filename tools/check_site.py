"""Check the links of the built site: every one that stays inside leads to a page, and to a place on it that is there.

    python tools/check_site.py docs/_build/html [--outside]

Pictures, scripts and style sheets count too. Nothing may come from the network: a page must be whole without one.
``--outside`` lists the links that lead out; they are not followed. Exits with 1, and one line a fault, where
something is wrong.
"""

from __future__ import annotations

import argparse
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser fetches by itself to show a page; a link is only followed when somebody clicks on it.
FETCHED = {("img", "src"), ("script", "src"), ("source", "src"), ("iframe", "src"), ("link", "href")}
FOLLOWED = {("a", "href")}
NOT_FETCHED = {"canonical", "next", "prev", "search", "index", "author", "help"}  # what <link> may say of other pages


class Page(HTMLParser):
    """The links of a page, and the places on it that others may name."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.places: set[str] = set()
        self.fetched: list[str] = []
        self.followed: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag names and where it leads."""
        given = {name: value or "" for name, value in attrs}
        self.places.update(given[name] for name in ("id", "name") if name in given)
        for name, value in given.items():
            if name == "srcset":
                self.fetched += [part.split()[0] for part in value.split(",") if part.strip()]
            elif (tag, name) in FETCHED and given.get("rel") not in NOT_FETCHED:
                self.fetched.append(value)
            elif (tag, name) in FOLLOWED or (tag, name) in FETCHED:
                self.followed.append(value)


def check(folder: Path) -> tuple[list[str], dict[str, list[str]], int]:
    """Return the faults, the links that lead out with the pages they stand on, and how many links were looked at."""
    found = (path for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts)  # templates of the theme
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in found}
    faults: list[str] = []
    outside: dict[str, list[str]] = {}
    n_links = 0
    if (folder / "index.html").resolve() not in pages:
        faults.append(f"{folder}/index.html: not there")
    for path, page in pages.items():
        name = path.relative_to(folder.resolve())
        for link in page.fetched + page.followed:
            n_links += 1
            parts = urlsplit(link)
            if parts.scheme in ("data", "mailto", "javascript"):
                continue
            if parts.scheme or parts.netloc:
                outside.setdefault(link, []).append(str(name))
                if link in page.fetched:
                    faults.append(f"{name}: {link} is fetched from the network")
                elif parts.scheme != "https":
                    faults.append(f"{name}: {link} is not https")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                faults.append(f"{name}: {link} leads nowhere")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places:
                faults.append(f"{name}: {link} leads to no place on that page")
    return faults, outside, n_links


def main() -> int:
    """Check a folder and say what is wrong."""
    parser = argparse.ArgumentParser(description="Check the links of the built site.")
    parser.add_argument("folder", type=Path, help="where index.html is")
    parser.add_argument("--outside", action="store_true", help="list the links that lead out")
    options = parser.parse_args()
    faults, outside, n_links = check(options.folder)
    for fault in sorted(set(faults)):
        print(fault)
    if options.outside:
        for link, names in sorted(outside.items()):
            print(f"{link}  ({names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''})")
    print(f"{options.folder}: {n_links:,} links, {len(outside)} different ones lead out, {len(set(faults))} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
