"""What is settled now and then: webhooks, organizations, registries, deletions and sessions."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from browser.browsing import DESKTOP, IN_ONE_LOOP, PHONE, logged_in
from promises import promise
from rune.api.orchestrator import admin, registries, services, sessions
from rune.api.orchestrator.registries import RegistryAuthConfig, RegistryConfig
from rune.api.security import organizations, webhooks
from runed import Runed

pytestmark = [IN_ONE_LOOP, pytest.mark.system, pytest.mark.requires("chromium"), pytest.mark.timeout(90)]

SIZES = pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
SECRET = "never-to-be-seen"
STUBBORN = ["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]


async def settled(server: Runed) -> None:
    """One of each of what these pages show."""
    await server.call(webhooks.create, webhooks.CreateWebhookRequest(url="https://hooks.example.com/first"))
    made = organizations.CreateOrganizationRequest(name="acme", display_name="Acme")
    await server.call(organizations.create, made)
    auth = RegistryAuthConfig(username="me", password=SECRET)
    hub = RegistryConfig(name="hub", registry="registry.example.com", auth=auth)
    await server.call(registries.add_registry, registries.AddRegistryRequest(registry=hub))


@promise("dashboard.webhooks")
@SIZES
async def test_a_webhook_is_made_shown_once_and_deleted(
    browser: Browser, tmp_path: Path, size: tuple[int, int]
) -> None:
    async with logged_in(browser, tmp_path, size) as (server, reader):
        page = reader.page
        await reader.open("/webhooks")
        await expect(page.locator(".empty")).to_contain_text("signed")
        await page.get_by_text("New webhook").click()
        await page.get_by_role("textbox", name="Address").fill("https://hooks.example.com/rune")
        await page.get_by_role("combobox", name="At least").select_option("high")
        await page.get_by_role("button", name="Make webhook").click()
        secret = await page.get_by_role("dialog").locator("code").inner_text()
        await page.get_by_role("button", name="Close").click()
        await expect(page.get_by_role("table", name="Webhooks")).to_contain_text("hooks.example.com/rune")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        assert secret not in await page.content()
        await server.call(webhooks.create, webhooks.CreateWebhookRequest(url="https://other.example.com/"))
        await expect(page.get_by_role("table", name="Webhooks").locator("tbody tr")).to_have_count(2)
        await page.get_by_role("button", name="Delete").first.click()
        await reader.agree()
        await expect(page.get_by_role("table", name="Webhooks").locator("tbody tr")).to_have_count(1)


async def test_an_organization_is_made_and_gets_limits_of_its_own(browser: Browser, tmp_path: Path) -> None:
    async with logged_in(browser, tmp_path) as (server, reader):
        page = reader.page
        await reader.open("/settings/organizations")
        await expect(page.get_by_role("table", name="Organizations")).to_contain_text("default")
        await page.get_by_text("New organization").click()
        await page.get_by_role("textbox", name="Name", exact=True).fill("acme")
        await page.get_by_role("spinbutton", name="Events a second", exact=True).fill("50")
        await page.get_by_role("button", name="Create").click()
        await expect(page.get_by_role("table", name="Organizations")).to_contain_text("acme")
        found = (
            await server.call(organizations.list_, organizations.ListOrganizationsRequest())
        ).organizations
        assert {each.name: each.limits.events_per_second for each in found} == {"acme": 50, "default": 0}


@promise("dashboard.registries")
async def test_a_registry_is_added_without_its_password_being_shown(browser: Browser, tmp_path: Path) -> None:
    async with logged_in(browser, tmp_path) as (server, reader):
        page = reader.page
        await reader.open("/registries")
        await page.get_by_text("New registry").click()
        await page.get_by_role("textbox", name="Name", exact=True).fill("hub")
        await page.get_by_role("textbox", name="Host").fill("127.0.0.1:1")
        await page.get_by_role("textbox", name="User, or id").fill("me")
        await page.get_by_label("Password, or secret").fill(SECRET)
        await page.get_by_role("button", name="Add").click()
        row = page.get_by_role("table", name="Registries").locator("tbody tr")
        await expect(row).to_contain_text("kept")
        await page.reload()
        assert SECRET not in await page.content()
        await page.get_by_role("button", name="Test").click()
        await expect(page.locator("#said")).to_contain_text("hub does not let us in")
        await page.get_by_role("button", name="Remove").click()
        await reader.agree()
        await expect(page.locator(".empty")).to_contain_text("No registries")
        assert not (
            await server.call(registries.list_registries, registries.ListRegistriesRequest())
        ).registries


async def test_a_deletion_is_followed_to_its_end_and_a_stuck_one_tried_again(
    browser: Browser, tmp_path: Path
) -> None:
    async with logged_in(browser, tmp_path) as (server, reader):
        page = reader.page
        await server.cast("stubborn", STUBBORN)
        await server.lines("stubborn", 1)
        await reader.open("/deletions")
        await server.call(
            services.delete, services.DeleteServiceRequest(name="stubborn", detach=True, grace_period=60)
        )
        row = page.get_by_role("table", name="Deletions").locator("tbody tr")
        await expect(row).to_contain_text("default/stubborn")
        await page.get_by_role("button", name="Try again").click()
        await expect(row.locator(".badge").first).to_have_text("completed")


@promise("dashboard.ending-sessions")
@SIZES
async def test_a_session_that_is_ended_is_over_in_its_browser_at_once(
    browser: Browser, tmp_path: Path, size: tuple[int, int]
) -> None:
    async with logged_in(browser, tmp_path, size) as (server, reader):
        page = reader.page
        await server.call(admin.create_user, admin.UserCreateRequest(name="ann"))
        ask = sessions.SetPasswordRequest(name="ann", password="correct horse battery")
        await server.call(sessions.set_password, ask)
        await reader.open("/settings/sessions")
        await expect(page.get_by_role("table", name="Sessions")).to_contain_text("current")
        other = await (await browser.new_context()).new_page()
        await other.goto(f"http://{server.http}/")
        await other.get_by_label("User").fill("ann")
        await other.get_by_label("Password").fill("correct horse battery")
        await other.get_by_role("button", name="Log in").click()
        await expect(other.locator("body[data-live]")).to_be_attached()
        await page.get_by_role("link", name="Everybody's").click()
        row = page.get_by_role("table", name="Sessions").locator("tbody tr", has_text="ann")
        await expect(row).to_contain_text("a password")
        await row.get_by_role("button", name="End").click()
        await reader.agree()
        await expect(other.get_by_label("User")).to_be_visible()
        await other.context.close()
        await expect(row).to_have_count(0)
