"""One story that uses every operation of the orchestrator, told twice: once over gRPC, once over REST.

Each teller has a namespace and names of its own: `{w}` stands for its letter, and what an answer is kept as
stands in braces as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
SLEEP: Json = {"command": "sh", "args": ["-c", "echo begun; exec sleep 1000"]}
AT_ONCE: Json = {"minReadySeconds": 0}
WEB: Json = {"name": "web", "namespace": "{w}", "scale": 1, "process": SLEEP, "rollout": AT_ONCE}
CONFIG: Json = {"name": "settings", "namespace": "{w}", "data": {"colour": "red"}}
SECRET: Json = {"name": "keys", "namespace": "{w}", "data": {"pin": "1234"}}
HERE: Json = {"namespace": "{w}"}
RULES = [{"resource": "services", "verbs": ["get"], "namespace": "{w}"}]
HUB: Json = {"name": "hub-{w}", "registry": "127.0.0.1:9", "auth": {"type": "basic", "username": "a"}}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One operation and what it is asked; `keep` names parts of the answer for later steps."""

    operation: str
    ask: Json = field(default_factory=dict[str, Any])
    keep: dict[str, str] = field(default_factory=dict[str, str])
    until: str = ""
    """What the service must be before the step is taken."""
    items: int = 0
    """How many items of a stream are read; 0 reads to its end."""


def step(operation: str, /, *, keep: Json | None = None, until: str = "", items: int = 0, **ask: Any) -> Step:
    """A step, its request as keywords."""
    return Step(operation=operation, ask=ask, keep=keep or {}, until=until, items=items)


STORY = (
    step("create_namespace", namespace={"name": "{w}", "labels": {"team": "one"}}),
    step("get_namespace", name="{w}"),
    step("list_namespaces", label_selector={"team": "one"}),
    step("watch_namespaces", items=1, field_selector={"name": "{w}"}),
    step("create_configmap", configmap=CONFIG),
    step("get_configmap", name="settings", **HERE),
    step("list_configmaps", **HERE),
    step("watch_configmaps", items=1, **HERE),
    step("update_configmap", configmap={**CONFIG, "data": {"colour": "blue"}}),
    step("patch_configmap", name="settings", set={"size": "1"}, unset=["colour"], **HERE),
    step("list_configmap_versions", name="settings", **HERE),
    step("rollback_configmap", name="settings", to_version=1, **HERE),
    step("delete_configmap", name="settings", **HERE),
    step("create_secret", secret=SECRET),
    step("get_secret", name="keys", **HERE),
    step("list_secrets", **HERE),
    step("watch_secrets", items=1, **HERE),
    step("update_secret", secret={**SECRET, "data": {"pin": "5678"}}),
    step("patch_secret", name="keys", set={"puk": "9"}, **HERE),
    step("reveal_secret", name="keys", **HERE),
    step("list_secret_versions", name="keys", **HERE),
    step("reveal_secret_version", name="keys", version=1, **HERE),
    step("rollback_secret", name="keys", to_version=1, **HERE),
    step("delete_secret", name="keys", **HERE),
    step("rotate_kek"),
    step("create_service", service=WEB),
    step("get_service", until="running", name="web", **HERE),
    step("list_services", **HERE),
    step("watch_services", items=1, **HERE),
    step("list_service_instances", service_name="web", keep={"instance": "instances.0.id"}, **HERE),
    step("list_instances", **HERE),
    step("watch_instances", items=1, **HERE),
    step("get_instance", id="{instance}", **HERE),
    step("get_logs", resource_target="web", tail=10, **HERE),
    step("run_command", target="{instance}", command=["echo", "hello"], **HERE),
    step("get_workload_health", component_type="service", name="web", include_checks=True, **HERE),
    step("get_server_version"),
    step("restart_instance", id="{instance}", **HERE),
    step("stop_instance", until="running", id="{instance}", **HERE),
    step("start_instance", id="{instance}", **HERE),
    step("update_service", until="running", service={**WEB, "env": {"MODE": "b"}}),
    step("scale_service", until="running", name="web", scale=2, **HERE),
    step("watch_scaling", items=1, service_name="web", **HERE),
    step("restart_service", until="running", name="web", **HERE),
    step("list_revisions", until="running", name="web", **HERE),
    step("rollback_service", name="web", to=1, **HERE),
    step("delete_service", until="running", name="web", **HERE),
    step("get_deletion_status", name="web", **HERE),
    step("list_deletion_operations", keep={"deletion": "operations.0.id"}, **HERE),
    step("watch_deletions", items=1, **HERE),
    step("retry_deletion", name="{deletion}", **HERE),
    step("force_deletion", name="{deletion}", **HERE),
    step("who_am_i"),
    step("list_permissions"),
    step("create_user", name="ann-{w}", policies=["readonly"]),
    step("get_user", name="ann-{w}"),
    step("update_user", name="ann-{w}", email="ann@example.com", policies=["readwrite"]),
    step("list_users"),
    step("watch_users", items=1),
    step("create_grant", policy={"name": "rule-{w}", "rules": RULES}),
    step("get_grant", name="rule-{w}"),
    step("update_grant", policy={"name": "rule-{w}", "rules": RULES, "description": "one more"}),
    step("list_grants"),
    step("watch_grants", items=1),
    step("attach_grant", policy_name="rule-{w}", subject_name="ann-{w}"),
    step("detach_grant", policy_name="rule-{w}", subject_name="ann-{w}"),
    step("delete_grant", name="rule-{w}"),
    step("create_token", name="ci-{w}", subject_name="ann-{w}", keep={"token": "id"}),
    step("list_tokens"),
    step("watch_tokens", items=1),
    step("revoke_token", id="{token}"),
    step("set_password", name="ann-{w}", password="correct horse battery"),
    step("log_in", name="ann-{w}", password="correct horse battery", keep={"traded": "refreshToken"}),
    step("refresh_session", refresh_token="{traded}"),
    step("begin_session", keep={"session": "sessionId"}),
    step("list_sessions"),
    step("revoke_session", id="{session}"),
    step("log_out"),
    step("create_enrollment", subject_name="ann-{w}", keep={"code": "code"}),
    step("redeem_enrollment", code="{code}"),
    step("delete_user", name="ann-{w}"),
    step("add_registry", registry=HUB),
    step("get_registry", name="hub-{w}"),
    step("list_registries"),
    step("watch_registries", items=1),
    step("update_registry", registry={**HUB, "registry": "127.0.0.1:10"}),
    step("bootstrap_registries", name="hub-{w}"),
    step("test_registry", name="hub-{w}"),
    step("registries_status"),
    step("remove_registry", name="hub-{w}"),
    step("list_audit_events", namespace="{w}", limit=1),
    step("verify_audit"),
    step("export_audit", items=1),
    step("backup", items=1),
    step("bootstrap"),
    step("delete_namespace", name="{w}", force=True),
    step("get_namespace", name="{w}"),
)
