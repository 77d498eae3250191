"""A page in a real browser, offline: what the tests of pages share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = Path(__file__).resolve().parents[3] / "node_modules" / "axe-core" / "axe.min.js"
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")


@contextmanager
def running_browser() -> Iterator[Any]:
    """Run Chromium; skip where playwright is not installed."""
    api: Any = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield running
        running.close()


class Tab:
    """An open page, and everything it asked for or complained about.

    Parameters
    ----------
    browser : running.
    file : the page.
    hash : state in the address, without its ``#``.
    script : text of a script that runs before the page does.
    settings : of the browser context.
    """

    def __init__(self, browser: Any, file: Path, *, hash: str = "", script: str = "", **settings: Any) -> None:  # noqa: A002
        usual = {"viewport": {"width": 1440, "height": 900}, "reduced_motion": "reduce"}
        self.context = browser.new_context(offline=True, **(usual | settings))
        self.page = self.context.new_page()
        if script:
            self.page.add_init_script(script)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(file.as_uri() + ("#" + hash if hash else ""))
        self.page.wait_for_selector("html[data-ready=yes]")

    @property
    def hash(self) -> str:
        """State in the address, without its ``#``."""
        return str(self.page.evaluate("location.hash")).removeprefix("#")
