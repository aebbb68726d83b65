"""Operation, a row of the table, and Kind, which declares the usual operations of a noun.

A row is all that Rune knows of an operation but its handler: every surface (gRPC, REST, OpenAPI, client, CLI,
MCP tools, permissions, audit names, docs) is derived from it.
"""

from __future__ import annotations

import re
from enum import Enum, StrEnum
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec

from rune.api.fields import Message
from rune.api.shape import fields

SECURITY = "rune.security.v1"
"""The gRPC package of the agent-security plane."""
In = TypeVar("In", bound=Message)
Out = TypeVar("Out", bound=Message)


class Streaming(Enum):
    """Which sides send more than one message."""

    NONE = "none"
    SERVER = "server"
    BOTH = "both"


class Access(Enum):
    """What a caller must bring."""

    PUBLIC = "public"
    """Nothing: no credential is asked for."""
    KNOWN = "known"
    """Any valid credential."""
    GRANTED = "granted"
    """A credential with the operation's permission."""


class Effect(StrEnum):
    """What it does to the world; tools and audit read this."""

    READ = "read"
    CHANGE = "change"
    """It changes something; done twice, it may change something twice."""
    SETTLE = "settle"
    """It changes something; done twice, it is as if done once."""
    DESTROY = "destroy"
    RECORD = "record"
    """It only adds to a record of its own: the audit log is not told of each, nor is anybody to be warned."""


class Rate(StrEnum):
    """The bucket its calls are counted in."""

    CONTROL = "control"
    STREAM = "stream"
    READ = "read"
    """Reading of the security plane. This and what follows is counted for an organization, not a caller."""
    WRITE = "write"
    EVENTS = "events"
    """Counted in events, not in calls."""
    SDK = "sdk"
    """What agents ask by themselves, apart so that many of them never starve people."""
    APPROVAL = "approval"
    """What a Shield asks while calls wait for a person; counted for each key, apart from all the rest."""


class Http(msgspec.Struct, frozen=True, kw_only=True):
    """How it is called over REST, in the words of google.api.http.

    Names in braces are fields of the request (`{service.namespace}`); `body` names the field that the
    body fills, `*` for the whole request; the query string fills the rest.
    """

    verb: str
    path: str
    body: str = ""
    status: int = 200
    """Of an answer that is no failure."""
    most_bytes: int = 4 << 20
    """Of a body."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """The request's fields that the path fills, dotted."""
        return tuple(re.findall(r"{([a-z_.]+)}", self.path))


class Operation(msgspec.Struct, Generic[In, Out], frozen=True, kw_only=True, eq=False):
    """One thing that Rune can be asked to do."""

    service: str
    """The gRPC service, such as `ServiceService`."""
    method: str
    """The gRPC method, such as `GetService`."""
    request: type[In]
    response: type[Out]
    summary: str
    """One sentence in the imperative, shown in every surface."""
    resource: str
    """The permission's noun, in the plural: `services`."""
    verb: str
    """The permission's verb: get list watch create update delete scale exec …"""
    name: str = ""
    """Its name everywhere but on the wire: `get_service`. Derived from the method unless given."""
    package: str = "rune.api"
    http: Http | None = None
    cli: str = ""
    """The derived command, such as `admin user create {name}`; words in braces are positional arguments."""
    streaming: Streaming = Streaming.NONE
    access: Access = Access.GRANTED
    effect: Effect = Effect.READ
    rate: Rate = Rate.CONTROL
    local_only: bool = False
    """Refused from other machines unless `auth.allow_remote_admin` is on."""
    counts: str = ""
    """The repeated field whose items are what the limit counts; empty counts calls."""
    reason: str = ""
    """The field of the request that says why, in words that the audit log keeps."""
    watch: str = ""
    """On a list: the name of the operation that `?watch=true` turns it into."""
    unsupported: str = ""
    """Why this release refuses it; empty for an operation that works."""
    scoped_by: str | None = None
    """The dotted field of the request that holds the namespace; empty for what belongs to no namespace,
    `*` for what spans them all and shows the caller's part. None: found in the request."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "name", self.name or snake(self.method))

    @property
    def scope(self) -> str:
        """The dotted field of the request that holds the namespace, empty, or `*`."""
        return _scope(self.request) if self.scoped_by is None else self.scoped_by

    @property
    def permission(self) -> str:
        """What a grant must cover: `services:get`."""
        return f"{self.resource}:{self.verb}"

    @property
    def path(self) -> str:
        """The HTTP/2 path of the gRPC method."""
        return f"/{self.package}.{self.service}/{self.method}"

    @property
    def is_security(self) -> bool:
        """It belongs to the agent-security plane, which takes API keys."""
        return self.package == SECURITY

    @property
    def streams(self) -> bool:
        """The answer is a stream."""
        return self.streaming is not Streaming.NONE


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A noun, and where its operations live. Its methods declare the usual ones."""

    noun: str
    service: str
    path: str
    """The collection's REST path, such as `/v1/namespaces/{namespace}/services`."""
    plural: str = ""
    item: str = "{name}"

    @property
    def nouns(self) -> str:
        """The plural, which is also the permission's noun."""
        return self.plural or f"{self.noun}s"

    def create(self, request: type[In], response: type[Out], **more: Any) -> Operation[In, Out]:
        """POST to the collection, with the resource as the body."""
        path = self.path.replace("{namespace}", f"{{{self.noun}.namespace}}")
        http = Http(verb="POST", path=path, body=self.noun)
        row = self._row("create", http=http, effect=Effect.CHANGE)
        return Operation(request=request, response=response, **{**row, **more})

    def get(self, request: type[In], response: type[Out], **more: Any) -> Operation[In, Out]:
        """GET of an item."""
        row = self._row("get", http=Http(verb="GET", path=f"{self.path}/{self.item}"))
        return Operation(request=request, response=response, **{**row, **more})

    def list(self, request: type[In], response: type[Out], **more: Any) -> Operation[In, Out]:
        """GET of the collection."""
        row = self._row("list", http=Http(verb="GET", path=self.path))
        return Operation(request=request, response=response, **{**row, **more})

    def watch(self, request: type[In], response: type[Out], **more: Any) -> Operation[In, Out]:
        """The collection as a stream of changes; over REST it is the list with `?watch=true`."""
        summary = f"Watch {self.nouns}: what there is, then every change."
        row = self._row("watch", streaming=Streaming.SERVER, rate=Rate.STREAM, summary=summary)
        return Operation(request=request, response=response, **{**row, **more})

    def update(self, request: type[In], response: type[Out], **more: Any) -> Operation[In, Out]:
        """PUT of an item, with the resource as the body."""
        path = re.sub(r"{(\w+)}", rf"{{{self.noun}.\1}}", f"{self.path}/{self.item}")
        http = Http(verb="PUT", path=path, body=self.noun)
        row = self._row("update", http=http, effect=Effect.SETTLE)
        return Operation(request=request, response=response, **{**row, **more})

    def delete(self, request: type[In], response: type[Out], **more: Any) -> Operation[In, Out]:
        """DELETE of an item."""
        http = Http(verb="DELETE", path=f"{self.path}/{self.item}")
        row = self._row("delete", http=http, effect=Effect.DESTROY)
        return Operation(request=request, response=response, **{**row, **more})

    def _row(self, verb: str, **more: Any) -> dict[str, Any]:
        noun = self.nouns if verb in {"list", "watch"} else self.noun
        article = "" if noun == self.nouns else "an " if noun[0] in "aeiou" else "a "
        row = {
            "service": self.service,
            "method": verb.capitalize() + noun.capitalize(),
            "summary": f"{verb.capitalize()} {article}{noun}.",
            "resource": self.nouns,
            "verb": verb,
        }
        return {**row, **more}


def snake(name: str) -> str:
    """`ListDeletionOperations` → `list_deletion_operations`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


@cache
def _scope(request: type[Message]) -> str:
    for field in fields(request):
        if field.is_scope:
            return field.name
    for field in fields(request):
        if isinstance(field.model, type) and issubclass(field.model, Message) and not field.repeated:
            inner = next((part.name for part in fields(field.model) if part.is_scope), "")
            if inner:
                return f"{field.name}.{inner}"
    return ""
