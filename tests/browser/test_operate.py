"""Running things from a browser: services as they change, live logs, a terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from browser.browsing import DESKTOP, IN_ONE_LOOP, PHONE, logged_in
from promises import promise
from rune.api.orchestrator import instances, services

pytestmark = [IN_ONE_LOOP, pytest.mark.system, pytest.mark.requires("chromium"), pytest.mark.timeout(90)]

TALKS = 'i=0; while :; do i=$((i+1)); echo "line $i <b id=fat>fat</b>"; sleep 0.2; done'


async def delay_of(page: Page, words: str) -> float:
    """Milliseconds from now until the words are on screen; the page itself keeps the time."""
    return await page.evaluate(
        """words => new Promise((done) => {
            const now = () => performance.now(), begun = now();
            const there = () => document.body.innerText.includes(words);
            const look = () => there() && (seen.disconnect(), done(now() - begun));
            const seen = new MutationObserver(look);
            seen.observe(document.body, { subtree: true, childList: true, characterData: true });
            look();
        })""",
        words,
    )


@promise("dashboard.live")
async def test_a_change_is_on_the_screen_half_a_second_after_the_store_has_it(
    browser: Browser, tmp_path: Path
) -> None:
    async with logged_in(browser, tmp_path) as (server, reader):
        await reader.open("/services")
        await expect(reader.page.get_by_text("No services yet")).to_be_visible()
        delays: list[float] = []
        for number in range(5):
            name = f"fresh-{number}"
            await server.cast(name, ["/bin/sleep", "1000"])
            delays.append(await delay_of(reader.page, name))
        assert sorted(delays)[2] < 500, delays


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_a_service_is_scaled_and_its_log_and_terminal_work(
    browser: Browser, tmp_path: Path, size: tuple[int, int]
) -> None:
    async with logged_in(browser, tmp_path, size) as (server, reader):
        page = reader.page
        await server.cast("web", ["/bin/sh", "-c", TALKS])
        await server.until_running("web")
        await reader.open("/services")
        await page.get_by_role("link", name="web", exact=True).click()
        await page.get_by_role("spinbutton", name="Copies").fill("2")
        await page.get_by_role("button", name="Scale").click()
        await expect(page.get_by_text("being scaled to 2")).to_be_visible()
        await expect(page.get_by_role("table", name="Instances").locator("tbody tr")).to_have_count(2)
        await page.get_by_role("link", name="Logs").first.click()
        lines = page.get_by_role("log")
        await expect(lines).to_contain_text("<b id=fat>fat</b>")
        assert await page.locator("#fat").count() == 0
        await page.get_by_label("Only lines with").fill("line 3 ")
        await expect(lines.locator("div").first).to_contain_text("line 3 ")
        await _terminal(page, (await server.copies("web"))[0].id, server.http)


async def _terminal(page: Page, instance: str, http: str) -> None:
    await page.goto(f"http://{http}/instances/default/{instance}/terminal")
    await page.get_by_role("button", name="Connect").click()
    await expect(page.get_by_role("status").filter(has_text="connected")).to_be_visible()
    screen = page.locator("[data-screen]")
    await screen.focus()
    await page.keyboard.type("echo $((6*7))-$TERM; printf '\\033[31mred\\033[0m\\n'; stty size\n")
    await expect(screen).to_contain_text("42-xterm-256color")
    await expect(screen.locator("span", has_text=re.compile("^red$"))).to_have_css(
        "color", "rgb(239, 83, 80)"
    )
    await expect(screen).to_contain_text(re.compile(r"\d+ \d+"))
    await page.keyboard.type("exit 3\n")
    await expect(page.get_by_text("ended with 3")).to_be_visible()


async def test_a_destructive_button_asks_first(browser: Browser, tmp_path: Path) -> None:
    async with logged_in(browser, tmp_path) as (server, reader):
        await server.cast("web", ["/bin/sleep", "1000"])
        await reader.open("/services/default/web")
        await reader.page.get_by_role("button", name="Delete").click()
        await reader.page.get_by_role("button", name="Cancel").click()
        assert (await server.service("web")).name == "web"
        await reader.page.get_by_role("button", name="Delete").click()
        await reader.agree()
        await expect(reader.page.get_by_text("No services yet")).to_be_visible()
        left = await server.call(services.list_, services.ListServicesRequest())
        assert not left.services


async def test_a_service_is_restarted_and_goes_back_to_an_earlier_revision(
    browser: Browser, tmp_path: Path
) -> None:
    async with logged_in(browser, tmp_path) as (server, reader):
        page = reader.page
        await server.cast("web", ["/bin/sleep", "1000"])
        before = (await server.until_running("web")).instances[0].id
        await reader.open("/services/default/web")
        await page.get_by_role("button", name="Restart").click()
        await reader.agree()
        await server.until(
            "web", lambda web: [each.ready for each in web.instances if each.id != before] == [True]
        )
        await server.update("web", ["/bin/sleep", "2000"])
        await page.get_by_role("button", name="Back to 1").click()
        await reader.agree()
        await expect(page.get_by_text("again what it was at revision 1")).to_be_visible()
        assert (await server.service("web")).process.args == ["1000"]  # pyright: ignore[reportOptionalMemberAccess] - it has one


async def test_an_instance_is_stopped_and_started(browser: Browser, tmp_path: Path) -> None:
    async with logged_in(browser, tmp_path) as (server, reader):
        await server.cast("web", ["/bin/sleep", "1000"])
        await server.until_running("web")
        copy = (await server.call(instances.list_, instances.ListInstancesRequest())).instances[0]
        await reader.open(f"/instances/default/{copy.id}")
        await reader.page.get_by_role("button", name="Stop").click()
        await reader.agree()
        await expect(reader.page.locator("dd .badge").first).to_have_text(re.compile("stopped|exited"))
        await reader.page.get_by_role("button", name="Start", exact=True).click()
        await expect(reader.page.locator("dd .badge").first).to_have_text("running")
