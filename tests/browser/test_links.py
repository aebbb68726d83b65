"""Links into the dashboard lead to their page, and to no other server."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from browser.browsing import IN_ONE_LOOP, reader
from browser.test_gate import client
from runed import runed

pytestmark = [IN_ONE_LOOP, pytest.mark.system, pytest.mark.timeout(90)]


LEADS = {
    "/alerts?status=all": "/alerts?status=all", "": "/", "evil": "/", "//evil.example": "/",
    "/\\evil.example": "/", "/\t/evil.example": "/", "https://evil.example": "/",
}  # fmt: skip


async def test_a_log_in_leads_to_a_page_of_this_server_alone(tmp_path: Path) -> None:
    async with runed(tmp_path / "data") as server, client(server) as http:
        for asked, leads in LEADS.items():
            given = {"token": server.token, "to": asked}
            answer = await http.post("/login", data=given, headers={"origin": f"http://{server.http}"})
            assert answer.headers["location"] == leads


@pytest.mark.requires("chromium")
async def test_a_link_leads_to_its_page_through_the_log_in_and_from_another_site(
    browser: Browser, tmp_path: Path
) -> None:
    async with runed(tmp_path / "data") as server, reader(browser, server) as found:
        page, at = found.page, f"http://{server.http}/alerts?status=all"
        await page.goto(at)
        await page.get_by_label("Token").fill("wrong")
        await page.get_by_role("button", name="Log in").click()
        await page.get_by_label("Token").fill(server.token)
        await page.get_by_role("button", name="Log in").click()
        await expect(page).to_have_url(at)
        letter = f'<a href="{at}">an alert</a>'
        await page.route(
            "http://mail.example/", lambda route: route.fulfill(body=letter, content_type="text/html")
        )
        await page.goto("http://mail.example/")
        await page.get_by_role("link", name="an alert").click()
        await expect(page).to_have_url(at)
        await expect(page.get_by_role("heading", name="Alerts", exact=True)).to_be_visible()
