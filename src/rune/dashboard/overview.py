"""The first page: both planes at a glance, and what wants attention."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from rune.api.orchestrator import instances as instances_api
from rune.api.orchestrator import services as services_api
from rune.api.orchestrator.services import Service, ServiceStatus
from rune.api.security import alerts as alerts_api
from rune.api.security import stats
from rune.dashboard import alerts, services
from rune.dashboard.ask import Action, Ask, Link, Page, Screen
from rune.dashboard.html import el
from rune.dashboard.parts import empty, heading, row, section, spark, table, tiles

LINKS: Final = (Link(path="/", label="Overview"),)
SHOWN: Final = 8


async def show(ask: Ask) -> Screen:
    """What runs, what is guarded, and what is wrong."""
    ran = await _services(ask)
    running = sum(each.status is ServiceStatus.RUNNING for each in ran)
    numbers: list[tuple[str, str, str]] = []
    if ask.may(services_api.list_):
        numbers.append(("services running", f"{running} of {len(ran)}", "/services"))
    if ask.may(instances_api.list_):
        found = await ask.call(instances_api.list_, instances_api.ListInstancesRequest(namespace="*"))
        ready = sum(each.ready for each in found.instances)
        numbers.append(("instances ready", f"{ready} of {len(found.instances)}", "/instances"))
    body: list[Markup | None] = []
    if ask.may(stats.overview):
        figures = await ask.call(stats.overview, stats.GetOverviewRequest())
        numbers += [
            ("agents active", f"{figures.active_agents} of {figures.agents}", "/agents"),
            ("open alerts", f"{figures.open_alerts}", "/alerts"),
            ("critical", f"{figures.critical_alerts}", "/alerts?severity=critical"),
            ("blocked in 24 h", f"{figures.blocked} of {figures.events}", "/events?blocked=yes"),
        ]
        body.append(await _events(ask))
    return Screen(
        title="Overview",
        body=(heading("Overview"), tiles(numbers), await _alerts(ask), _trouble(ask, ran), *body),
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
    return section("Newest alerts", table(alerts.COLUMNS, rows, label="Newest alerts"))


async def _events(ask: Ask) -> Markup:
    series = await ask.call(stats.timeseries, stats.GetTimeseriesRequest())
    threats = await ask.call(stats.top_threats, stats.GetTopThreatsRequest())
    events, blocked = ([getattr(point, name) for point in series.points] for name in ("events", "blocked"))
    label = f"{sum(events)} events in the last 24 hours, {sum(blocked)} of them blocked"
    rows = (row(each.threat_type, each.threat_type, each.events, each.blocked) for each in threats.threats)
    shown = (
        table(("Threat", "Events", "Blocked"), rows, label="Most frequent threats")
        if threats.threats
        else None
    )
    return section("Security events", spark(events, label, over=blocked), el("p", label), shown)


PAGES: Final = (
    Page(
        path="/",
        show=show,
        watches=frozenset({"service", "instance", "security-alert", "security-agent", "detection"}),
        is_shared=True,
    ),
)
ACTIONS: Final[tuple[Action, ...]] = ()
