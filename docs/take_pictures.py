"""Take the README's pictures from a running site: `python docs/take_pictures.py [--all FOLDER]`.

Start `make run` first and let it run some minutes, so that the charts have something to show. The
site's address and staff login are those of the running stack. `--all` takes every page, dark and
light, wide and narrow, to look at.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from protipp import env  # noqa: E402 - it stands beside this folder

WIDE = {"width": 1400, "height": 900}
NARROW = {"width": 390, "height": 844}
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
PUBLIC = {"board": "/", "arbitrage": "/arbitrage/?bankroll=1000"}
STAFF = {
    name: f"/admin/performance/{name}/"
    for name in ("monitor", "cache", "queries", "cdn", "balancer", "alerts")
} | {"admin": "/admin/"}
SETTLE_MS = 4_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every page into this folder")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    site = env.text("SITE_URL")
    if not site:
        parser.error("No stack is running here: start `make run` and wait for its address.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=ARGUMENTS)
        if options.all:
            take_all(browser, site, options.all)
        else:
            context = signed_in(browser, site, scheme="dark", size=WIDE)
            take(context.new_page(), PUBLIC["board"], HERE / "pictures" / "board.png")
            take(context.new_page(), STAFF["monitor"], HERE / "pictures" / "monitor.png")
        browser.close()


def take_all(browser: Browser, site: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for scheme in ("dark", "light"):
        for size, breadth in ((WIDE, "wide"), (NARROW, "narrow")):
            context = signed_in(browser, site, scheme=scheme, size=size)
            page = context.new_page()
            page.goto("/")
            event = page.locator("a[href^='/events/']").first.get_attribute("href") or "/"
            for name, path in {**PUBLIC, "event": event, **STAFF}.items():
                target = folder / f"{name}-{scheme}-{breadth}.png"
                take(page, path, target, whole=True)
            context.close()


def signed_in(browser: Browser, site: str, *, scheme: str, size: dict[str, int]) -> BrowserContext:
    context = browser.new_context(base_url=site, color_scheme=scheme, viewport=size)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto("/admin/login/?next=/admin/")
    page.fill("#id_username", "admin")
    page.fill("#id_password", password())
    page.click("[type=submit]")
    page.wait_for_url("**/admin/")
    page.close()
    return context


def take(page: Page, path: str, target: Path, *, whole: bool = False) -> None:
    page.goto(path)
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=target, full_page=whole)
    sys.stdout.write(f"{target.name}: {page.title()}\n")


def password() -> str:
    """The running stack's staff password; STAFF_PASSWORD for a site that was not `make run`."""
    if given := os.environ.get("STAFF_PASSWORD"):
        return given
    return (env.LOCAL_DIR / "admin-password").read_text().strip()


if __name__ == "__main__":
    main()
