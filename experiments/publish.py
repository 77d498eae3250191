"""Copy the reviewed results of a run to reports/published/NAME: numbers, card, manifest, and the first screen.

    python experiments/publish.py reports/runs/heart/1a2b3c4d heart

The dashboard itself is not committed; it is rebuilt from the run by `scanwise stage=report from_run=...`.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

FILES = ("report.json", "protocol-card.md", "manifest.json", "config.yaml")


def first_screen(dashboard: Path, picture: Path, width: int = 1440, height: int = 1180) -> None:
    """Take a picture of the first screen, offline, with the Chromium of the system."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("publish.py needs a Chromium for the picture; install the package chromium")
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = browser.new_context(offline=True, viewport={"width": width, "height": height}).new_page()
        page.goto(dashboard.resolve().as_uri())
        page.wait_for_selector(".main-svg")
        page.wait_for_timeout(1500)
        page.screenshot(path=picture)
        browser.close()


def main() -> None:
    """Publish one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder, e.g. reports/runs/heart/1a2b3c4d")
    parser.add_argument("name", help="name below reports/published")
    parser.add_argument("--out", type=Path, default=Path("reports/published"))
    arguments = parser.parse_args()
    target = arguments.out / arguments.name
    target.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(arguments.run / name, target / name)
    first_screen(arguments.run / "dashboard.html", target / "first-screen.png")
    print(f"published {', '.join(FILES)} and first-screen.png to {target.as_posix()}")


if __name__ == "__main__":
    main()
