"""Every page, on desktop and phone: it opens, complains of nothing, fits, and axe finds nothing serious."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from browser.browsing import DESKTOP, PHONE, Reader, logged_in
from browser.test_guard import HOSTILE, POLICY, send
from browser.test_settle import settled
from promises import promise
from rune.api.orchestrator import configmaps, secrets
from rune.api.orchestrator.configmaps import Configmap
from rune.api.orchestrator.secrets import Secret
from rune.api.security import alerts, policies
from rune.dashboard.book import PARTS
from runed import Runed

pytestmark = [pytest.mark.system, pytest.mark.requires("chromium"), pytest.mark.timeout(150)]
AXE = "axe-core@4"
RUN = """axe.run(document, {resultTypes: ['violations']}).then(found => found.violations
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


async def furnished(server: Runed) -> dict[str, str]:
    """What stands in the braces of the pages' paths, once there is something of everything."""
    await server.cast("web", ["/bin/sleep", "1000"], scale=2)
    await server.cast("broken", ["/bin/false"])
    await server.until_running("web")
    await server.call(secrets.create, secrets.CreateSecretRequest(secret=Secret(name="web", data={"k": "v"})))
    await server.call(
        configmaps.create, configmaps.CreateConfigmapRequest(configmap=Configmap(name="web", data={"k": "v"}))
    )
    await send(server, "bot", HOSTILE)
    await settled(server)
    made = await server.call(
        policies.create, policies.CreateSecurityPolicyRequest(name="p", yaml_content=POLICY)
    )
    async with asyncio.timeout(10):
        while not (found := (await server.call(alerts.list_, alerts.ListAlertsRequest())).alerts):  # noqa: ASYNC110 - nothing tells a client of alerts
            await asyncio.sleep(0.05)  # noqa: TID251 - as above
    return {
        "namespace": "default", "name": "web", "version": "1", "instance": (await server.copies("web"))[0].id,
        "agent": "bot", "alert": found[0].id, "event": "event-0", "policy": made.id,
    }  # fmt: skip


def paths(known: dict[str, str]) -> list[str]:
    """Every page of the book."""
    nouns = {
        "instances": "instance",
        "agents": "agent",
        "alerts": "alert",
        "events": "event",
        "policies": "policy",
    }

    def filled(template: str) -> str:
        known_id = known.get(nouns.get(template.split("/")[1], ""), "")
        return re.sub(r"\{(\w+)\}", lambda name: known_id if name[1] == "id" else known[name[1]], template)

    return [filled(page.path) for part in PARTS for page in part.PAGES]


@promise("dashboard.accessible")
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_opens_fits_and_is_accessible(
    tmp_path: Path, axe: str, size: tuple[int, int], scheme: str
) -> None:
    async with logged_in(tmp_path, size) as (server, reader):
        await reader.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        known = await furnished(server)
        wrong = [f"{path}: {found}" for path in paths(known) for found in await _look(reader, path, axe)]
        assert not wrong, "\n".join(wrong)


async def _look(reader: Reader, path: str, axe: str) -> list[str]:
    """What is wrong with a page."""
    page = reader.page
    await reader.open(path)
    await expect(page.locator("h1")).to_be_visible()
    found = await _heard(page, axe)
    if await page.locator("main .trouble").count():
        found.append(await page.locator("main .trouble").inner_text())
    if await page.evaluate("document.documentElement.scrollWidth > innerWidth + 1"):
        found.append("wider than the screen")
    return found


async def _heard(page: Page, axe: str) -> list[str]:
    await page.evaluate(f"{axe};0")
    return await page.evaluate(RUN)


async def test_an_empty_server_teaches(tmp_path: Path) -> None:
    async with logged_in(tmp_path) as (_, reader):
        for path, words in (
            ("/services", "rune cast"),
            ("/agents", "Shield"),
            ("/policies", "rules:"),
            ("/secrets", "rune create secret"),
            ("/webhooks", "rune alerts webhook create"),
            ("/registries", "rune admin registries add"),
            ("/deletions", "rune delete"),
        ):
            await reader.open(path)
            await expect(reader.page.locator(".empty")).to_contain_text(words)


async def test_the_keyboard_leads_everywhere(tmp_path: Path) -> None:
    async with logged_in(tmp_path) as (server, reader):
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


async def test_a_new_api_key_is_shown_once(tmp_path: Path) -> None:
    async with logged_in(tmp_path) as (_, reader):
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
