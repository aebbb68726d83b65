"""Chromium for tests: a browser, somebody logged in to a real runed, and what a page complained of."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

import machine
from runed import Runed, runed

DESKTOP, PHONE = (1280, 800), (390, 800)
IN_ONE_LOOP = pytest.mark.asyncio(loop_scope="session")
"""A browser belongs to the loop that started it, so all tests that share it run in that one."""
PATIENCE = 10_000.0
"""Milliseconds that a page has to show something."""


@dataclass
class Reader:
    """Somebody at a browser."""

    server: Runed
    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list[str])
    """What the browser wrote to its console: errors, and what the content policy refused."""

    async def open(self, path: str) -> None:
        """Go to a page and wait until it is kept up to date."""
        await self.page.goto(f"http://{self.server.http}{path}")
        await expect(self.page.locator("body[data-live]")).to_be_attached()

    async def enter(self, token: str = "") -> None:
        """Log in with a token, the server's own unless another is given."""
        await self.page.goto(f"http://{self.server.http}/")
        await self.page.get_by_label("Token").fill(token or self.server.token)
        await self.page.get_by_role("button", name="Log in").click()
        await expect(self.page.locator("body[data-live]")).to_be_attached()

    async def agree(self) -> None:
        """Say yes to what is asked."""
        await self.page.get_by_role("button", name="Go on").click()


@asynccontextmanager
async def chromium() -> AsyncGenerator[Browser]:
    """The machine's own browser, without a window."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=machine.browser(), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def reader(browser: Browser, server: Runed, size: tuple[int, int] = DESKTOP) -> AsyncGenerator[Reader]:
    """Somebody with a browser of their own, not logged in."""
    context = await browser.new_context(viewport={"width": size[0], "height": size[1]})
    context.set_default_timeout(PATIENCE)
    page = await context.new_page()
    found = Reader(server, context, page)
    page.on("console", lambda said: found.complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    try:
        yield found
    finally:
        await context.close()


@asynccontextmanager
async def logged_in(
    browser: Browser, folder: Path, size: tuple[int, int] = DESKTOP, *flags: str
) -> AsyncGenerator[tuple[Runed, Reader]]:
    """A server of the test's own, and somebody who is logged in to it as root."""
    async with (
        runed(folder / "data", *flags) as server,
        reader(browser, server, size) as found,
    ):
        await found.enter()
        yield server, found
        assert not found.complaints, found.complaints
