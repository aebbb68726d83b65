"""Guarding agents from a browser: alerts are triaged, policies edited, agents cut off."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from browser.browsing import DESKTOP, IN_ONE_LOOP, PHONE, logged_in
from promises import promise
from rune.api.orchestrator import sessions
from rune.api.security import agents, alerts, approvals, events, policies
from rune.api.security.events import EventScan, EventTool, SecurityEvent
from rune.core.clock import SystemClock
from runed import Runed

pytestmark = [IN_ONE_LOOP, pytest.mark.system, pytest.mark.requires("chromium"), pytest.mark.timeout(90)]

SIZES = pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
HOSTILE = '<img src=x onerror="document.title=1">'
POLICY = 'version: "1.0"\nrules:\n  - {name: block, scanner: prompt_injection, action: block}\n'


async def send(server: Runed, *agent_ids: str) -> None:
    """An event of each that raises an alert."""
    scan = EventScan(risk_score=0.95, blocked=True, threat_type="prompt_injection", l1_result="block")
    batch = [
        SecurityEvent(
            event_id=f"event-{number}", timestamp=SystemClock().now(), agent_id=agent_id, event_type="scan",
            scan_result=scan, tool=EventTool(name=f"tool-{number}"),
        )
        for number, agent_id in enumerate(agent_ids)
    ]  # fmt: skip
    await server.call(events.ingest, events.IngestEventsRequest(events=batch))


@SIZES
async def test_alerts_appear_by_themselves_and_are_triaged(
    browser: Browser, tmp_path: Path, size: tuple[int, int]
) -> None:
    async with logged_in(browser, tmp_path, size) as (server, reader):
        page = reader.page
        await reader.open("/alerts")
        await expect(page.get_by_text("No alerts")).to_be_visible()
        await send(server, "bot-1", "bot-2", "bot-3")
        rows = page.get_by_role("table", name="Alerts").locator("tbody tr")
        await expect(rows).to_have_count(3)
        await page.get_by_role("button", name="Pick all in view").click()
        await page.get_by_label("Picked become").select_option("investigating")
        await page.get_by_label("Note").fill("looking")
        await page.get_by_role("button", name="Apply").last.click()
        await expect(page.get_by_text("3 alerts are investigating now")).to_be_visible()
        await page.get_by_role("link", name="Investigating").click()
        await page.get_by_role("link", name="bot-2").first.wait_for()
        await rows.nth(0).get_by_role("link").first.click()
        await page.get_by_role("combobox", name="Status").select_option("false_positive")
        await page.get_by_label("Note").fill("a test of ours")
        await page.get_by_role("button", name="Change").click()
        await expect(page.locator("ol.timeline li")).to_have_count(2)
        taught = await server.call(alerts.list_false_positives, alerts.ListFalsePositivesRequest())
        assert len(taught.false_positives) == 1
        found = await server.call(alerts.list_, alerts.ListAlertsRequest(status="investigating"))
        assert len(found.alerts) == 2


@SIZES
async def test_the_list_of_agents_shows_what_each_sent_in_the_last_day(
    browser: Browser, tmp_path: Path, size: tuple[int, int]
) -> None:
    async with logged_in(browser, tmp_path, size) as (server, reader):
        await send(server, "busy", "busy", "calm")
        await server.call(agents.register, agents.RegisterAgentRequest(agent_id="silent"))
        await reader.open("/agents")
        rows = reader.page.get_by_role("table", name="Agents").locator("tbody tr")
        await expect(rows).to_have_count(3)
        busy = rows.filter(has_text="busy").get_by_role("img")
        await expect(busy).to_have_accessible_name("2 events in 24 hours, 2 blocked")
        await expect(busy.locator("path.bad")).to_have_attribute("d", "M231 40v-40.0h8V40z")
        await expect(rows.filter(has_text="calm").get_by_role("img")).to_be_visible()
        await expect(rows.filter(has_text="silent").get_by_role("img")).to_have_count(0)


@SIZES
async def test_a_policy_is_checked_while_it_is_typed_saved_and_rolled_back(
    browser: Browser, tmp_path: Path, size: tuple[int, int]
) -> None:
    async with logged_in(browser, tmp_path, size) as (server, reader):
        page = reader.page
        await reader.open("/policies")
        await page.get_by_role("link", name="New policy").click()
        await page.get_by_role("textbox", name="Name").fill("production")
        editor = page.get_by_label("YAML")
        await editor.fill(POLICY.replace("prompt_injection", "prompt_injektion"))
        await expect(page.locator("#verdict")).to_contain_text("line 3")
        await expect(page.locator(".lines-at .bad")).to_have_text("3")
        await editor.fill(POLICY)
        await expect(page.locator("#verdict")).to_have_text("This is a good policy.")
        await page.get_by_role("button", name="Create").click()
        await expect(page.get_by_role("heading", name="production")).to_be_visible()
        await page.get_by_label("YAML").fill(POLICY.replace("action: block", "action: alert"))
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("table", name="Versions").locator("tbody tr")).to_have_count(2)
        await page.get_by_role("button", name="Roll back").click()
        await reader.agree()
        await expect(page.get_by_label("YAML")).to_have_value(POLICY)
        await page.get_by_role("link", name="Changes").nth(1).click()
        await expect(page.locator(".diff .plus").first).to_contain_text("action: alert")
        await page.get_by_role("link", name="the policy").click()
        await page.get_by_role("button", name="Roll back").first.click()
        await reader.agree()
        await expect(page.get_by_label("YAML")).to_have_value(
            POLICY.replace("action: block", "action: alert")
        )
        found = (await server.call(policies.list_, policies.ListPoliciesRequest())).policies[0]
        assert found.version == 4


async def test_two_people_who_edit_a_policy_do_not_write_over_each_other(
    browser: Browser, tmp_path: Path
) -> None:
    async with logged_in(browser, tmp_path) as (server, reader):
        page = reader.page
        made = await server.call(
            policies.create, policies.CreateSecurityPolicyRequest(name="p", yaml_content=POLICY)
        )
        await reader.open(f"/policies/{made.id}")
        mine, theirs = POLICY.replace("action: block", "action: alert"), POLICY + "  # theirs\n"
        await page.get_by_label("YAML").fill(mine)
        await server.call(
            policies.update, policies.UpdateSecurityPolicyRequest(policy_id=made.id, yaml_content=theirs)
        )
        await expect(page.get_by_role("alert")).to_contain_text("Somebody else has saved another version")
        await expect(page.get_by_label("YAML")).to_have_value(mine)
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator("#said")).to_contain_text("has version 2 by now")
        found = await server.call(policies.get, policies.GetSecurityPolicyRequest(policy_id=made.id))
        assert (found.version, found.yaml_content) == (2, theirs)
        assert any("409" in each for each in reader.complaints)
        reader.complaints.clear()
        await page.reload()
        await page.get_by_label("YAML").fill(mine)
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("table", name="Versions").locator("tbody tr")).to_have_count(3)


async def test_what_is_being_written_survives_the_end_of_the_session(
    browser: Browser, tmp_path: Path
) -> None:
    async with logged_in(browser, tmp_path) as (server, reader):
        page = reader.page
        made = await server.call(
            policies.create, policies.CreateSecurityPolicyRequest(name="p", yaml_content=POLICY)
        )
        await reader.open(f"/policies/{made.id}")
        mine = POLICY.replace("action: block", "action: alert")
        await page.get_by_label("YAML").fill("rules: 1")
        await expect(page.locator("#verdict.bad")).to_be_visible()
        await page.get_by_label("YAML").fill(mine)
        await expect(page.locator("#verdict")).to_have_text("This is a good policy.")
        everybody = (await server.call(sessions.list_, sessions.ListSessionsRequest(everybody=True))).sessions
        for each in everybody:
            await server.call(sessions.revoke, sessions.RevokeSessionRequest(id=each.id))
        await expect(page.locator("#lost")).to_contain_text("Your session has ended")
        async with reader.context.expect_page() as opened:
            await page.get_by_role("link", name="log in in another tab").click()
        again = await opened.value
        await again.get_by_label("Token").fill(server.token)
        await again.get_by_role("button", name="Log in").click()
        await expect(again.locator("body[data-live]")).to_be_attached()
        await expect(page.get_by_label("YAML")).to_have_value(mine)
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("table", name="Versions").locator("tbody tr")).to_have_count(2)
        await expect(page.locator("#lost")).to_be_hidden()


async def test_a_policy_is_tried_and_replayed_before_it_is_saved(browser: Browser, tmp_path: Path) -> None:
    async with logged_in(browser, tmp_path) as (server, reader):
        page = reader.page
        await send(server, "bot-1", "bot-2")
        made = await server.call(
            policies.create, policies.CreateSecurityPolicyRequest(name="p", yaml_content=POLICY)
        )
        await reader.open(f"/policies/{made.id}")
        await page.get_by_label("YAML").fill(
            'version: "1.0"\nrules:\n  - {name: no-pay, type: tool_denylist, tools: [pay], action: block}\n'
        )
        await page.get_by_text("Test", exact=True).click()
        await page.get_by_label("Tool", exact=True).fill("pay")
        await page.get_by_role("button", name="Decide").click()
        await expect(page.get_by_role("dialog")).to_contain_text("no-pay")
        await page.get_by_role("button", name="Close").click()
        await page.get_by_text("Replay", exact=True).first.click()
        await page.get_by_role("button", name="Replay").click()
        await expect(page.get_by_role("dialog")).to_contain_text("2 events judged")


@promise("dashboard.escapes")
async def test_what_an_agent_calls_itself_is_text_and_nothing_else(browser: Browser, tmp_path: Path) -> None:
    async with logged_in(browser, tmp_path) as (server, reader):
        page = reader.page
        await send(server, HOSTILE, "a/b")
        await reader.open("/agents")
        await page.get_by_role("link", name=HOSTILE).click()
        await expect(page.get_by_role("heading", name=HOSTILE)).to_be_visible()
        await expect(page.get_by_role("table", name="Tools")).to_contain_text("tool-0")
        await expect(page.get_by_role("img", name="events came in the last 24 hours")).to_be_visible()
        await expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
        assert await page.locator("main img").count() == 0
        assert "Rune" in await page.title()
        await page.get_by_role("button", name="Quarantine").click()
        await reader.agree()
        await expect(page.get_by_text("quarantined").first).to_be_visible()
        found = await server.call(agents.get, agents.GetAgentRequest(agent_id=HOSTILE))
        assert found.agent.status == "quarantined"
        await page.get_by_role("button", name="Release").click()
        await reader.agree()
        await expect(page.get_by_role("button", name="Quarantine")).to_be_visible()
        await reader.open("/agents/a%2Fb")
        await expect(page.get_by_role("heading", name="a/b")).to_be_visible()


@promise("dashboard.approvals")
@SIZES
async def test_a_call_that_waits_appears_by_itself_and_is_decided_once(
    browser: Browser, tmp_path: Path, size: tuple[int, int]
) -> None:
    async with logged_in(browser, tmp_path, size) as (server, reader):
        page = reader.page
        for number in (1, 2):
            ask = approvals.RequestApprovalRequest(
                approval_id=f"apr_{number:032}", waiter="f" * 32, agent_id="billing-bot",
                tool=f"pay-{number}", arguments='{"amount": 4200}',
            )  # fmt: skip
            await server.call(approvals.request, ask)
        waiting = page.get_by_role("table", name="Waiting for approval")
        await expect(waiting.locator("tbody tr")).to_have_count(2)
        await waiting.locator("tr", has_text="pay-1").get_by_role("button", name="Deny").click()
        await reader.agree()
        await expect(waiting.locator("tbody tr")).to_have_count(1)
        await waiting.get_by_role("link", name="pay-2").click()
        await expect(page.get_by_role("region", name="Arguments")).to_contain_text("4200")
        await page.get_by_label("Note, for the audit log").fill("the usual")
        await page.get_by_role("button", name="Approve").click()
        await expect(page.locator("dd .badge").first).to_have_text("approved")
        await expect(page.get_by_role("button", name="Deny")).to_have_count(0)
        found = (await server.call(approvals.list_, approvals.ListApprovalsRequest(status="all"))).approvals
        assert {each.tool: (each.status, each.note) for each in found} == {
            "pay-1": ("denied", ""),
            "pay-2": ("approved", "the usual"),
        }


async def test_events_are_narrowed_by_what_became_of_them(browser: Browser, tmp_path: Path) -> None:
    async with logged_in(browser, tmp_path) as (server, reader):
        page = reader.page
        await send(server, "bot-1", "bot-2")
        await reader.open("/events")
        rows = page.get_by_role("table", name="Events").locator("tbody tr")
        await expect(rows).to_have_count(2)
        await page.get_by_label("Verdict").select_option("no")
        await expect(page.get_by_text("Nothing was reported that fits")).to_be_visible()
        await page.get_by_label("Verdict").select_option("yes")
        await expect(rows).to_have_count(2)
        await page.get_by_label("Agent").fill("bot-2")
        await page.get_by_role("button", name="Apply").click()
        await expect(rows).to_have_count(1)
