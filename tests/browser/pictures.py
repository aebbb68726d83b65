"""Pictures of every page, for people: tests take them in passing, `make docs` shows the main ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from playwright.async_api import Page, expect

from browser.browsing import DESKTOP
from rune.dashboard.book import PARTS

FOLDER: Final = Path(__file__).parents[2] / "artifacts" / "dashboard"
ALSO_DARK: Final = frozenset({
    "/", "/agents/{id}", "/alerts", "/approvals/{id}", "/policies/{id}", "/services/{namespace}/{name}",
    "/instances/{namespace}/{id}/terminal",
})  # fmt: skip
"""The main pages."""


def name(template: str, *, is_dark: bool = False) -> str:
    """The file that shows a page: /agents/{id} is agents-id.png."""
    plain = "-".join(re.findall(r"\w+", template)) or "overview"
    return f"{plain}{'-dark' if is_dark else ''}.png"


def paths(known: dict[str, str]) -> dict[str, str]:
    """Every page of the book, with something in its braces: the page's own id where they say `id`."""
    nouns = {
        "instances": "instance", "agents": "agent", "alerts": "alert", "events": "event",
        "policies": "policy", "approvals": "approval",
    }  # fmt: skip

    def filled(template: str) -> str:
        known_id = known.get(nouns.get(template.split("/")[1], ""), "")
        return re.sub(r"\{(\w+)\}", lambda hit: known_id if hit[1] == "id" else known[hit[1]], template)

    return {template: filled(template) for template in templates()}


def templates() -> list[str]:
    """The paths of every page, with braces."""
    return [page.path for part in PARTS for page in part.PAGES]


async def visit(page: Page, path: str) -> None:
    """Go to a page as a link does: the frame, and what was put into it, stay."""
    await page.evaluate(
        """path => {
            document.querySelector("h1").id = "before";
            history.pushState(null, "", path);
            dispatchEvent(new PopStateEvent("popstate"));
        }""",
        path,
    )
    await expect(page.locator("h1:not(#before)")).to_be_visible()


async def take(page: Page, template: str, size: tuple[int, int]) -> None:
    """The page as it is, and a main page in the dark as well."""
    await _prepare(page, template)
    folder = FOLDER / ("desktop" if size == DESKTOP else "phone")
    await page.screenshot(path=folder / name(template))
    if template in ALSO_DARK:
        await page.emulate_media(color_scheme="dark")
        await page.screenshot(path=folder / name(template, is_dark=True))
        await page.emulate_media(color_scheme="light")


async def _prepare(page: Page, template: str) -> None:
    """What a picture without any reader would not show."""
    if template.endswith("/terminal"):
        await page.get_by_role("button", name="Connect").click()
        await expect(page.get_by_role("status").filter(has_text="connected")).to_be_visible()
        screen = page.locator("[data-screen]")
        await expect(screen).to_contain_text(re.compile(r"[#$]"))
        await page.keyboard.type("uname -s; seq 3; printf '\\033[32m%s\\033[0m\\n' $COLOUR\n")
        await expect(screen.locator("span", has_text=re.compile("^green$"))).to_be_visible()
    if template.endswith("/logs"):
        await expect(page.locator("[data-lines]")).to_contain_text("orders")
