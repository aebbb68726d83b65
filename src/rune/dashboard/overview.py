"""The first page: both planes at a glance, and what wants attention."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from markupsafe import Markup

from rune.api.orchestrator import instances as instances_api
from rune.api.orchestrator import services as services_api
from rune.api.orchestrator.services import Service, ServiceStatus
from rune.api.security import alerts as alerts_api
from rune.api.security import stats
from rune.dashboard import alerts, approvals, services
from rune.dashboard.ask import Action, Ask, Link, Page, Screen
from rune.dashboard.html import Node, el
from rune.dashboard.parts import chart, empty, heading, link, row, section, table, tiles

LINKS: Final = (Link(path="/", label="Overview"),)
SHOWN: Final = 8
Tile = tuple[str, Node, str, str]


async def show(ask: Ask) -> Screen:
    """What runs, what is guarded, and what is wrong."""
    ran = await _services(ask)
    figures = await ask.call(stats.overview, stats.GetOverviewRequest()) if ask.may(stats.overview) else None
    numbers = (*await _running(ask, ran), *(_guarded(figures) if figures else ()))
    events = await _events(ask) if figures else None
    waiting = await approvals.waiting(ask, SHOWN)
    body = (heading("Overview"), tiles(numbers), *waiting, events, await _alerts(ask), _trouble(ask, ran))
    return Screen(title="Overview", body=body)


async def _running(ask: Ask, ran: list[Service]) -> Iterable[Tile]:
    running = sum(each.status is ServiceStatus.RUNNING for each in ran)
    found: list[Tile] = []
    if ask.may(services_api.list_):
        how = "" if running == len(ran) else "warn"
        found.append(("services running", f"{running} of {len(ran)}", "/services", how))
    if ask.may(instances_api.list_):
        answer = await ask.call(instances_api.list_, instances_api.ListInstancesRequest(namespace="*"))
        ready = sum(each.ready for each in answer.instances)
        found.append(("instances ready", f"{ready} of {len(answer.instances)}", "/instances", ""))
    return found


def _guarded(figures: stats.Overview) -> Iterable[Tile]:
    critical = "bad" if figures.critical_alerts else ""
    return (
        ("agents active", f"{figures.active_agents} of {figures.agents}", "/agents", ""),
        ("open alerts", f"{figures.open_alerts}", "/alerts", ""),
        ("critical alerts", f"{figures.critical_alerts}", "/alerts?severity=critical", critical),
        ("blocked in 24 h", f"{figures.blocked} of {figures.events}", "/events?blocked=yes", ""),
    )


async def _services(ask: Ask) -> list[Service]:
    if not ask.may(services_api.list_):
        return []
    return (await ask.call(services_api.list_, services_api.ListServicesRequest(namespace="*"))).services


def _trouble(ask: Ask, ran: list[Service]) -> Markup | None:
    if not ask.may(services_api.list_):
        return None
    if not ran:
        return section("Services", services.nothing())
    wrong = [each for each in ran if each.status is not ServiceStatus.RUNNING][:SHOWN]
    if not wrong:
        return section("Services", empty("All is well", "Every service runs as it should."))
    return section("Services that want attention", services.short_table(wrong))


async def _alerts(ask: Ask) -> Markup | None:
    if not ask.may(alerts_api.list_):
        return None
    found = await ask.call(alerts_api.list_, alerts_api.ListAlertsRequest(limit=SHOWN))
    if not found.alerts:
        return section("Newest alerts", alerts.nothing())
    rows = (alerts.alert_row(each, is_picked=False) for each in found.alerts)
    listing = table(alerts.COLUMNS, rows, label="Newest alerts")
    return section("Newest alerts", listing, beside=link("/alerts", "All alerts"))


async def _events(ask: Ask) -> Markup:
    series = await ask.call(stats.timeseries, stats.GetTimeseriesRequest())
    threats = await ask.call(stats.top_threats, stats.GetTopThreatsRequest())
    events, blocked = ([getattr(point, name) for point in series.points] for name in ("events", "blocked"))
    label = f"{sum(events)} events in the last 24 hours, {sum(blocked)} of them blocked"
    rows = (row(each.threat_type, each.threat_type, each.events, each.blocked) for each in threats.threats)
    shown = chart(events, label, ("24 h ago", "now"), over=blocked)
    if not threats.threats:
        return section("Security events", shown)
    listing = table(("Threat", "Events", "Blocked"), rows, label="Most frequent threats")
    return el("div", section("Security events", shown), section("Threats", listing), class_="beside")


PAGES: Final = (
    Page(
        path="/",
        show=show,
        watches=frozenset({"service", "instance", "security-alert", "security-agent", "detection"})
        | approvals.KINDS,
        is_shared=True,
    ),
)
ACTIONS: Final[tuple[Action, ...]] = ()
