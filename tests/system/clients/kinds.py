"""The kinds of resources that everybody must be able to create, read, watch, change and delete."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import yaml

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind, how its example is made and changed, and what tells one from the other."""

    noun: str
    plural: str
    path: str
    """Its collection over REST."""
    service: str
    """Its gRPC service."""
    example: Json
    change: Json
    """Fields of the example that an update changes; empty where there is no update."""
    seen: str
    """The field that shows the change."""
    fixed: Json = field(default_factory=dict[str, Any])
    """Fields of a delete's request."""
    method: str = ""
    """What it is called in names of methods, unless that is the noun."""

    @property
    def word(self) -> str:
        """What it is called in the names of methods."""
        return self.method or self.noun.capitalize()

    @property
    def name(self) -> str:
        """The example's name."""
        return self.example["name"]

    def changed(self, read: Json) -> Json:
        """The update of what was read."""
        return {**read, **self.change}

    def file(self, resource: Json) -> str:
        """The resource as somebody would write it into a file."""
        return yaml.safe_dump({self.noun: json.loads(json.dumps(resource))})


SLEEP = {"command": "sleep", "args": ["1000"]}
KINDS = (
    Kind(
        noun="namespace",
        plural="namespaces",
        path="/v1/namespaces",
        service="NamespaceService",
        example={"name": "lab", "labels": {"team": "one"}},
        change={},
        seen="labels",
    ),
    Kind(
        noun="service",
        plural="services",
        path="/v1/namespaces/default/services",
        service="ServiceService",
        example={"name": "web", "namespace": "default", "scale": 1, "process": SLEEP},
        change={"labels": {"tier": "front"}},
        seen="labels",
    ),
    Kind(
        noun="configmap",
        plural="configmaps",
        path="/v1/namespaces/default/configmaps",
        service="ConfigmapService",
        example={"name": "settings", "namespace": "default", "data": {"colour": "red"}},
        change={"data": {"colour": "blue"}},
        seen="data",
    ),
    Kind(
        noun="secret",
        plural="secrets",
        path="/v1/namespaces/default/secrets",
        service="SecretService",
        example={"name": "keys", "namespace": "default", "data": {"pin": "1234"}},
        change={"data": {"pin": "5678", "puk": "9"}},
        seen="version",
    ),
)
