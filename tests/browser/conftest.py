"""One Chromium for all tests of a worker; each opens a context of its own, so none sees another's cookies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor

import pytest_asyncio
from playwright.async_api import Browser

from browser.browsing import chromium


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncGenerator[Browser]:
    """The machine's browser, started when the first test wants it."""
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def _threads_of_its_own() -> AsyncGenerator[None]:
    """The loop outlives a test; the threads that it made for one do not."""
    with ThreadPoolExecutor() as threads:
        asyncio.get_running_loop().set_default_executor(threads)
        yield
