"""How a person looks at the page: by width, color scheme and with or without scripts; and what axe-core finds."""

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tests.support.browser import Page

DESKTOP, PHONE = 1280, 390
# WCAG 2.2 AA with what it builds on, and the practices that axe-core adds.
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def look(page: Page, width: int = DESKTOP, scheme: str = "light", height: int = 900, scale: int = 1) -> None:
    """Choose the window and the color scheme. A phone has a touch screen."""
    page.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=width < 600
    )
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])


def use_scripts(page: Page, enabled: bool) -> None:
    """Load the page's scripts or not, from the next page on. All of them are files, so without them no script runs.

    The browser's own switch would also stop the scripts of a test.
    """
    page.call("Network.setBlockedURLs", urls=[] if enabled else ["*.js*"])


def violations(page: Page) -> list[str]:
    """Return what axe-core finds in the current page."""
    page.run(f"{_axe()}\nwindow.axe = window.axe || axe;")
    found = page.run(
        f"const run = await axe.run(document, {{ runOnly: {{ type: 'tag', values: {json.dumps(_TAGS)} }} }});"
        "return run.violations.map((each) => [each.id, each.help, each.nodes.map((node) => node.html)])"
    )
    return [f"{rule}: {text}: {nodes}" for rule, text, nodes in found]


def overflow(page: Page) -> int:
    """Return by how many pixels the page is wider than its window."""
    return page.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")


@cache
def _axe() -> str:
    spec = find_spec("axe_playwright_python")
    assert spec is not None
    assert spec.submodule_search_locations
    return (Path(spec.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")
