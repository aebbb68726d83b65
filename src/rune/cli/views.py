"""How each kind of resource is asked for and shown. A view's module is imported when it is looked at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from typing import Any

import msgspec

from rune.api.operation import Operation
from rune.cli.output import age, word

Cell = Callable[[Any, datetime], str]


class Column(msgspec.Struct, frozen=True):
    """A heading and what stands below it."""

    heading: str
    cell: Cell


class View(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of resource."""

    noun: str
    module: str
    columns: tuple[Column, ...]
    list_name: str = "list_"
    get_name: str = "get"
    watch_name: str = ""
    items: str = ""
    """The field of the list's answer with the items; the noun in the plural unless given."""
    item: str = ""
    wide: tuple[Column, ...] = ()
    words: tuple[str, ...] = ()
    """Other names for it."""
    is_scoped: bool = True

    @property
    def plural(self) -> str:
        """What it is called in `rune get …`."""
        return f"{self.noun[:-1]}ies" if self.noun.endswith("y") else f"{self.noun}s"

    def operation(self, name: str) -> Operation[Any, Any]:
        """One of its operations, `module:name` where another module has it."""
        module, colon, word = name.rpartition(":")
        return getattr(import_module(f"rune.api.orchestrator.{module if colon else self.module}"), word)

    def listed(self, answer: Any) -> list[Any]:  # noqa: ANN401 - the list operation's answer
        """The items of a list."""
        return getattr(answer, self.items or self.plural)

    def got(self, answer: Any) -> Any:  # noqa: ANN401 - the get operation's answer
        """The item of a get."""
        return getattr(answer, self.item or self.noun)


def _field(name: str) -> Cell:
    return lambda item, _now: str(getattr(item, name) or "-")


def _made(item: Any, now: datetime) -> str:  # noqa: ANN401 - a resource of any kind
    return age(getattr(item, "created_at", None), now)


def _service_made(item: Any, now: datetime) -> str:  # noqa: ANN401 - a service
    return age(item.metadata.created_at if item.metadata else None, now)


def _status(item: Any, _now: datetime) -> str:  # noqa: ANN401 - a service or an instance
    return word(item.status) or "-"


def ready(service: Any) -> int:  # noqa: ANN401 - a service
    """How many copies are ready; a watch tells of the count, a list of the copies."""
    if service.instances:
        return sum(copy.ready for copy in service.instances)
    return service.update.available if service.update else 0


def _runtime(item: Any, _now: datetime) -> str:  # noqa: ANN401 - a service
    return item.runtime or ("process" if item.process else "docker" if item.image else "-")


def external(item: Any, _now: datetime | None = None) -> str:  # noqa: ANN401 - a service
    """Where a service is exposed, and whether it is."""
    if not item.exposure:
        return "-"
    return item.exposure.address + ("" if item.exposure.is_open else " (closed)")


def _ports(item: Any, _now: datetime) -> str:  # noqa: ANN401 - a service
    return ",".join(f"{port.port}/{port.protocol or 'tcp'}" for port in item.ports) or "-"


def _labels(item: Any, _now: datetime) -> str:  # noqa: ANN401 - whatever has labels
    return ",".join(f"{key}={value}" for key, value in sorted(item.labels.items())) or "-"


def _reason(item: Any, _now: datetime) -> str:  # noqa: ANN401 - a service
    return ": ".join(filter(None, (item.status_reason, item.status_message))) or "-"


def _autoscale(item: Any, _now: datetime) -> str:  # noqa: ANN401 - a service
    asked = item.autoscale
    if asked is None or not asked.enabled:
        return "-"
    told = item.autoscaling.reason if item.autoscaling else ""
    return f"{asked.min}-{asked.max} {asked.metric or 'cpu'} {asked.target:g} {told}".rstrip()


def _restarts(item: Any, _now: datetime) -> str:  # noqa: ANN401 - an instance
    return str(item.metadata.restart_count if item.metadata else 0)


def _rules(item: Any, _now: datetime) -> str:  # noqa: ANN401 - a grant
    return "; ".join(f"{r.resource}:{','.join(r.verbs)}@{r.namespace or '*'}" for r in item.rules) or "-"


def _when(name: str, never: str) -> Cell:
    def cell(item: Any, now: datetime) -> str:  # noqa: ANN401 - a token
        at = getattr(item, name)
        if at is None:
            return never
        return age(at, now) if at <= now else f"in {age(now, at)}"

    return cell


VIEWS = (
    View(
        noun="service",
        module="services",
        words=("svc",),
        watch_name="watch",
        columns=(
            Column("NAME", _field("name")),
            Column("TYPE", _runtime),
            Column("STATUS", _status),
            Column("INSTANCES", lambda item, _now: f"{ready(item)}/{item.scale}"),
            Column("EXTERNAL", external),
            Column("GENERATION", lambda item, _now: str(item.metadata.generation if item.metadata else 0)),
            Column("AGE", _service_made),
        ),
        wide=(
            Column("ADDRESS", _field("address")),
            Column("PORTS", _ports),
            Column("LABELS", _labels),
            Column("AUTOSCALE", _autoscale),
            Column("MESSAGE", _reason),
        ),
    ),
    View(
        noun="instance",
        module="instances",
        words=("inst",),
        watch_name="watch",
        columns=(
            Column("INSTANCE ID", _field("id")),
            Column("SERVICE", _field("service_name")),
            Column("NODE", _field("node_id")),
            Column("STATUS", _status),
            Column("READY", lambda item, _now: "yes" if item.ready else "no"),
            Column("RESTARTS", _restarts),
            Column("AGE", _made),
        ),
        wide=(
            Column("PID", _field("pid")),
            Column("IP", _field("ip")),
            Column("MESSAGE", _field("status_message")),
        ),
    ),
    View(
        noun="namespace",
        module="namespaces",
        words=("ns",),
        watch_name="watch",
        is_scoped=False,
        columns=(Column("NAME", _field("name")), Column("AGE", _made), Column("LABELS", _labels)),
        wide=(Column("DESCRIPTION", _field("description")),),
    ),
    View(
        noun="configmap",
        module="configmaps",
        watch_name="watch",
        words=("cm", "config", "cfg"),
        columns=(
            Column("NAME", _field("name")),
            Column("KEYS", lambda item, _now: str(len(item.data))),
            Column("VERSION", _field("version")),
            Column("AGE", _made),
        ),
    ),
    View(
        noun="secret",
        module="secrets",
        watch_name="watch",
        columns=(
            Column("NAME", _field("name")),
            Column("TYPE", lambda item, _now: item.type or "static"),
            Column("KEYS", lambda item, _now: str(len(item.data_keys))),
            Column("VERSION", _field("version")),
            Column("AGE", _made),
        ),
    ),
    View(
        noun="deletion",
        module="deletions",
        watch_name="watch",
        items="operations",
        item="operation",
        columns=(
            Column("ID", _field("id")),
            Column("SERVICE", _field("service_name")),
            Column("STATUS", _field("status")),
            Column("PROGRESS", lambda item, _now: f"{item.deleted_instances}/{item.total_instances}"),
            Column("AGE", lambda item, now: age(item.start_time, now)),
        ),
        wide=(Column("REASON", _field("failure_reason")),),
    ),
    View(
        noun="user",
        module="admin",
        watch_name="following:watch_users",
        list_name="list_users",
        get_name="",
        is_scoped=False,
        columns=(
            Column("NAME", _field("name")),
            Column("KIND", lambda item, _now: item.kind or "user"),
            Column("EMAIL", _field("email")),
            Column("POLICIES", lambda item, _now: ",".join(item.policies) or "-"),
        ),
        wide=(Column("ID", _field("id")),),
    ),
    View(
        noun="policy",
        module="admin",
        watch_name="following:watch_grants",
        list_name="list_grants",
        get_name="get_grant",
        item="policy",
        is_scoped=False,
        columns=(
            Column("NAME", _field("name")),
            Column("BUILTIN", lambda item, _now: "yes" if item.builtin else "no"),
            Column("DESCRIPTION", _field("description")),
        ),
        wide=(Column("RULES", _rules),),
    ),
    View(
        noun="registry",
        module="registries",
        list_name="list_registries",
        get_name="get_registry",
        watch_name="following:watch_registries",
        is_scoped=False,
        columns=(
            Column("NAME", _field("name")),
            Column("REGISTRY", _field("registry")),
            Column("TYPE", lambda item, _now: (item.auth and item.auth.type) or "basic"),
        ),
    ),
    View(
        noun="token",
        module="admin",
        watch_name="following:watch_tokens",
        list_name="list_tokens",
        get_name="",
        is_scoped=False,
        columns=(
            Column("ID", _field("id")),
            Column("NAME", _field("name")),
            Column("SUBJECT", _field("subject_id")),
            Column("REVOKED", lambda item, _now: "yes" if item.revoked else "no"),
            Column("EXPIRES", _when("expires_at", "never")),
            Column("LAST USED", _when("last_used_at", "never")),
        ),
        wide=(Column("DESCRIPTION", _field("description")),),
    ),
)

BY_WORD = {word: view for view in VIEWS for word in (view.noun, view.plural, *view.words)}
