"""Look at the built site in a real browser, wide and narrow, light and dark: what does not fit, or cannot be read?

    pip install selenium            # and Debian's packages chromium and chromium-driver
    python tools/look_at_site.py docs/_build/html --pictures /tmp/pages [PAGE ...]

On each page: nothing is wider than the window unless it scrolls by itself; text has a contrast of 4.5 to 1 (3 to 1
where it is large, WCAG 2.2); pictures have the pixels that a dense screen shows. On one page the button beside a block
of code copies it, and the search finds a word, from the disk. Exits with 1, and one line a fault, where something is
wrong.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

PAGES = [
    "index.html",
    "five_minutes.html",
    "guide/cache.html",
    "guide/speed.html",
    "gallery/index.html",
    "gallery/plot_tweet_sentiment.html",
    "reference/generated/skbert.BertEmbedder.html",
    "reference/exceptions.html",
    "developing/house.html",
    "coming_from/tutorial.html",
    "whats_new.html",
]
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=2",
]
LOOK = (Path(__file__).parent / "look_at_page.js").read_text(encoding="utf-8")


def start(profile: str) -> webdriver.Chrome:
    """Start the browser with a profile of its own, at a density of two."""
    options = Options()
    for flag in [*FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # Without its place Selenium would look for a driver on the network.
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


def look(browser: webdriver.Chrome, url: str, size: tuple[int, int], theme: str) -> list[str]:
    """Open a page and return what is wrong with it."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": size[0], "height": size[1], "deviceScaleFactor": 2, "mobile": size[0] < 600},
    )
    browser.get(url)
    browser.execute_script(
        "document.documentElement.dataset.theme = arguments[0]; document.documentElement.dataset.mode = arguments[0];"
        "for (const i of document.images) i.loading = 'eager';",
        theme,
    )
    time.sleep(0.6)
    faults = list(browser.execute_script(LOOK))
    told = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    return faults + [f"console: {message}" for message in told]


def check_copying(browser: webdriver.Chrome, url: str) -> list[str]:
    """Press the button beside the first block of code, and compare what it hands over with what is shown."""
    browser.get(url)
    browser.execute_script(
        "window.copied = null;"
        "document.addEventListener('copy', () => { window.copied = document.activeElement.value; }, true);"
        "if (navigator.clipboard) navigator.clipboard.writeText = async t => { window.copied = t; };"
    )
    shown = browser.find_element(By.CSS_SELECTOR, "div.highlight-python pre").text
    button = browser.find_element(By.CSS_SELECTOR, "div.highlight-python button.copybtn")
    ActionChains(browser).move_to_element(button).click().perform()  # it is seen only where the pointer is
    time.sleep(0.3)
    copied = browser.execute_script("return window.copied")
    return [] if copied is not None and copied.split() == shown.split() else [f"copied {copied!r} of {shown!r}"]


def check_search(browser: webdriver.Chrome, folder: Path, word: str) -> list[str]:
    """Search for a word and wait for a page that has it."""
    browser.get(f"{folder.as_uri()}/search.html?q={word}")
    for _ in range(40):
        found = browser.find_elements(By.CSS_SELECTOR, "#search-results li a")
        if found:
            return []
        time.sleep(0.25)
    return [f"the search finds nothing for {word!r}"]


def main() -> int:
    """Look at the pages and say what is wrong."""
    parser = argparse.ArgumentParser(description="Look at the built site in a real browser.")
    parser.add_argument("folder", type=Path, help="where index.html is")
    parser.add_argument("pages", nargs="*", default=PAGES, help="default: one of each kind")
    parser.add_argument("--pictures", type=Path, help="write a picture of each page here")
    options = parser.parse_args()
    folder = options.folder.resolve()
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as profile:
        browser = start(profile)
        try:
            for page in options.pages:
                for kind, size in SIZES.items():
                    for theme in ("light", "dark"):
                        found = look(browser, f"{folder.as_uri()}/{page}", size, theme)
                        faults += [f"{page}, {kind}, {theme}: {fault}" for fault in found]
                        if options.pictures is not None:
                            options.pictures.mkdir(parents=True, exist_ok=True)
                            name = page.removesuffix(".html").replace("/", "-")
                            browser.save_screenshot(str(options.pictures / f"{name}-{kind}-{theme}.png"))
            faults += check_copying(browser, f"{folder.as_uri()}/five_minutes.html")
            faults += check_search(browser, folder, "fingerprint")
        finally:
            browser.quit()
    print("\n".join(faults) or "nothing wrong")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
