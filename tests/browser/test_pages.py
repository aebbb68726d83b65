"""Every page, on desktop and phone: it opens, complains of nothing, fits, and axe finds nothing serious."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.async_api import Browser, Page, expect

from browser.browsing import DESKTOP, IN_ONE_LOOP, PHONE, logged_in
from browser.furniture import furnish
from browser.pictures import paths, take, visit
from browser.test_guard import HOSTILE, send
from promises import promise

pytestmark = [IN_ONE_LOOP, pytest.mark.system, pytest.mark.requires("chromium"), pytest.mark.timeout(150)]
AXE = "axe-core@4"
RULES = {"light": None, "dark": ["color-contrast"]}
"""What axe looks for: in the dark nothing but the colours differs."""
RUN = """only => axe
    .run(document, {resultTypes: ['violations'], preload: false, ...(only && {runOnly: only})})
    .then(found => found.violations
    .filter(each => ['serious', 'critical'].includes(each.impact))
    .map(each => `${each.id}: ${each.nodes[0].html.slice(0, 200)}`))"""


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe, fetched into a folder of its own; skips where that cannot be had."""
    if not shutil.which("npm"):
        pytest.skip("needs npm (apt-get install nodejs npm)")
    folder = tmp_path_factory.mktemp("axe")
    found = folder / "node_modules/axe-core/axe.min.js"
    asyncio.run(_fetch(folder))
    if not found.exists():
        pytest.skip("needs axe-core (npm could not fetch it)")
    return found.read_text(encoding="utf-8")


async def _fetch(folder: Path) -> None:
    command = ("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), AXE)
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(90):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


@promise("dashboard.accessible")
@promise("dashboard.pictures")
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_every_page_opens_fits_and_is_accessible(
    browser: Browser, tmp_path: Path, axe: str, size: tuple[int, int]
) -> None:
    async with logged_in(browser, tmp_path, size) as (server, reader):
        known = await furnish(server)
        await reader.page.evaluate(f"{axe};0")
        wrong: list[str] = []
        for template, path in paths(known).items():
            await visit(reader.page, path)
            wrong += [f"{path}: {found}" for found in await _look(reader.page)]
            await take(reader.page, template, size)
        await send(server, HOSTILE)
        for path in ("/agents", f"/agents/{quote(HOSTILE, safe='')}", "/events", "/alerts", "/"):
            await visit(reader.page, path)
            wrong += [f"{path} with a long name: {found}" for found in await _look(reader.page)]
        await reader.page.keyboard.press("?")
        await expect(reader.page.get_by_role("dialog")).to_be_visible()
        wrong += [f"the list of keys: {found}" for found in await _look(reader.page)]
        await take(reader.page, "/keys", size)
        for path in ("/enter", "/login"):
            await reader.page.goto(f"http://{server.http}{path}")
            await reader.page.evaluate(f"{axe};0")
            wrong += [f"{path}: {found}" for found in await _look(reader.page)]
            await take(reader.page, path, size)
        assert not wrong, "\n".join(wrong)


async def _look(page: Page) -> list[str]:
    """What is wrong with a page, in light and in dark; it is light afterwards."""
    found: list[str] = []
    for scheme in ("dark", "light"):
        await page.emulate_media(color_scheme=scheme)
        found += [f"{scheme}: {each}" for each in await page.evaluate(RUN, RULES[scheme])]
    if await page.locator("main .trouble").count():
        found.append(await page.locator("main .trouble").first.inner_text())
    if await page.evaluate("document.documentElement.scrollWidth > innerWidth + 1"):
        found.append("wider than the screen")
    return found


async def test_an_empty_server_teaches(browser: Browser, tmp_path: Path) -> None:
    async with logged_in(browser, tmp_path) as (_, reader):
        for path, words in (
            ("/services", "rune cast"),
            ("/agents", "Shield"),
            ("/policies", "rules:"),
            ("/approvals", "require_approval"),
            ("/secrets", "rune create secret"),
            ("/webhooks", "rune alerts webhook create"),
            ("/registries", "rune admin registries add"),
            ("/deletions", "rune delete"),
        ):
            await reader.open(path)
            await expect(reader.page.locator(".empty")).to_contain_text(words)


async def test_the_keyboard_leads_everywhere(browser: Browser, tmp_path: Path) -> None:
    async with logged_in(browser, tmp_path) as (server, reader):
        page = reader.page
        await server.cast("web", ["/bin/sleep", "1000"])
        await page.locator("h1").click()
        await page.keyboard.press("g")
        await page.keyboard.press("s")
        await expect(page.get_by_role("heading", name="Services")).to_be_focused()
        await page.keyboard.press("j")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="web")).to_be_focused()
        await page.keyboard.press("/")
        await page.keyboard.type("web")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Search")).to_be_visible()
        before = await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        await page.get_by_role("heading", name="Search").click()
        await page.keyboard.press("t")
        assert await page.evaluate("getComputedStyle(document.documentElement).backgroundColor") != before
        await page.keyboard.press("?")
        await expect(page.get_by_role("dialog")).to_contain_text("next and previous row")


async def test_a_new_api_key_is_shown_once(browser: Browser, tmp_path: Path) -> None:
    async with logged_in(browser, tmp_path) as (_, reader):
        page = reader.page
        await reader.open("/settings/keys")
        await page.get_by_text("New API key").click()
        await page.get_by_role("textbox", name="Name").fill("bot")
        await page.get_by_role("button", name="Make key").click()
        await expect(page.get_by_role("dialog").locator("code")).to_contain_text("rune_live_")
        key = await page.get_by_role("dialog").locator("code").inner_text()
        await page.get_by_role("button", name="Close").click()
        await page.reload()
        await expect(page.get_by_role("table", name="API keys")).to_contain_text("bot")
        assert key not in await page.content()
