"""The words of a file where they are not those of the wire: spellings, short forms, what comes later."""

from __future__ import annotations

from collections.abc import Callable

from rune.api.fields import Message, WireEnum
from rune.api.orchestrator import configmaps, namespaces, secrets, services, specs
from rune.positions.nodes import Node

SPELLINGS: dict[type[Message], dict[str, str]] = {
    services.Service: {"configMounts": "configmap_mounts"},
    specs.ProcessSpec: {"workdir": "working_dir"},
    specs.ProcessSecurityContext: {"readOnlyFS": "read_only_fs"},
    specs.Probe: {"intervalSeconds": "period_seconds"},
    specs.EnvFromSource: {
        "secret": "secret_name",
        "secretRef": "secret_name",
        "configmap": "configmap_name",
        "configRef": "configmap_name",
        "configmapRef": "configmap_name",
        "configName": "configmap_name",
    },
    specs.SecretMount: {"secret": "secret_name"},
    specs.ConfigmapMount: {"configmap": "configmap_name", "configName": "configmap_name"},
    specs.DependencyRef: {"name": "service"},
    specs.ExposeServiceTLS: {"secretName": "secret"},
}
"""Other names that a key may have."""

WRITTEN_BY_SERVER: dict[type[Message], frozenset[str]] = {
    services.Service: frozenset(
        {
            "id",
            "status",
            "metadata",
            "status_reason",
            "status_message",
            "instances",
            "ingress_cert",
            "update",
            "address",
            "shares_ports",
            "exposure",
            "revision",
            "deletion_id",
            "scaling",
            "autoscaling",
            "guard",
        }
    ),
    namespaces.Namespace: frozenset({"id", "created_at", "updated_at", "revision"}),
    configmaps.Configmap: frozenset({"version", "created_at", "updated_at", "revision"}),
    secrets.Secret: frozenset({"version", "created_at", "updated_at", "data_keys"}),
    specs.VolumeMount: frozenset({"fs_user_set", "fs_group_set"}),
    specs.InitStep: frozenset({"volumes_set", "secret_mounts_set", "configmap_mounts_set", "timeout_nanos"}),
    specs.ServiceDiscovery: frozenset({"vip"}),
}
"""Fields that no file has."""

_AFTER = "is not part of this release"
_REGISTRY = "the server knows its registries, not a service: rune admin registries add"
NOT_YET: dict[type[Message], dict[str, str]] = {
    services.Service: {
        "affinity": f"placement {_AFTER}",
        "imageRegistry": _REGISTRY,
        "registry": _REGISTRY,
    },
    specs.InitStep: {"timeout": specs.VOLUMES.replace("volumes are", "a time limit for init steps is")},
    secrets.Secret: {"engine": f"secrets that an engine makes: {_AFTER}"},
}
"""Keys of the format that this release has nothing for: they are read, and refused with the reason."""

MEANT: dict[str, str] = {
    "cmd": "command",
    "cwd": "workdir",
    "dependsOn": "dependencies",
    "depends_on": "dependencies",
    "entrypoint": "command",
    "environment": "env",
    "healthcheck": "health",
    "instances": "scale",
    "probe": "health",
    "probes": "health",
    "replicas": "scale",
    "restart": "restartPolicy",
    "test": "command",
}
"""What people who come from elsewhere call things."""

ENUM_WORDS: dict[type[WireEnum], dict[str, str]] = {specs.ProbeType: {"command": specs.ProbeType.EXEC}}


def enum_words(words: type[WireEnum]) -> dict[str, str]:
    """The words of a file and what they are on the wire: `on-failure` and `OnFailure` are the same."""
    prefix = next(iter(words)).value.removesuffix("UNSPECIFIED")
    known = {word.value.removeprefix(prefix).lower(): word.value for word in list(words)[1:]}
    return {key.replace("_", "-"): value for key, value in known.items()} | ENUM_WORDS.get(words, {})


def _mapping(node: Node, **texts: str) -> Node:
    entries = [
        (Node("scalar", node.spot, key), Node("scalar", node.spot, text)) for key, text in texts.items()
    ]
    return Node("mapping", node.spot, entries=entries)


def _env_from(node: Node) -> Node:
    kind, _, name = node.text.removeprefix("{{").removesuffix("}}").strip().partition(":")
    key = {"secret": "secretName", "configmap": "configmapName", "config": "configmapName"}.get(kind.strip())
    return _mapping(node, **{key: name.strip()}) if key and name.strip() else node


def _dependency(node: Node) -> Node:
    kind, colon, name = node.text.partition(":")
    if colon and kind in ("service", "secret", "configmap") and name:
        return _mapping(node, **{kind: name})
    name, *rest = node.text.removesuffix(".rune").split(".")
    return (
        _mapping(node, service=name, **({"namespace": rest[0]} if len(rest) == 1 else {}))
        if len(rest) <= 1
        else node
    )


def _port(node: Node) -> Node:
    return _mapping(node, port=node.text) if node.text.isdecimal() else node


SHORT: dict[type[Message], tuple[Callable[[Node], Node], str]] = {
    specs.EnvFromSource: (_env_from, "`secret:NAME` or `configmap:NAME`"),
    specs.DependencyRef: (
        _dependency,
        "a service's name, `NAME.NAMESPACE.rune`, `secret:NAME` or `configmap:NAME`",
    ),
    specs.UpdateStrategy: (lambda node: _mapping(node, type=node.text), "`rolling` or `recreate`"),
    specs.ServicePort: (_port, "a port's number"),
}
"""What may stand as one word instead of a mapping, and how that is said."""
