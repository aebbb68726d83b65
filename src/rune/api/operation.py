"""Operation, a row of the table, and Kind, which declares the usual operations of a noun.

A row is all that Rune knows of an operation but its handler: every surface (gRPC, REST, OpenAPI, client, CLI,
MCP tools, permissions, audit names, docs) is derived from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Generic, TypeVar

from rune.api import shape
from rune.api.fields import Message

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


class Rate(StrEnum):
    """The bucket its calls are counted in."""

    CONTROL = "control"
    STREAM = "stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """How it is called over REST, in the words of google.api.http.

    Names in braces are fields of the request (`{service.namespace}`); `body` names the field that the
    body fills, `*` for the whole request; the query string fills the rest.
    """

    verb: str
    path: str
    body: str = ""

    @property
    def parameters(self) -> tuple[str, ...]:
        """The request's fields that the path fills, dotted."""
        return tuple(re.findall(r"{([a-z_.]+)}", self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Generic[In, Out]):
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
    watch: str = ""
    """On a list: the name of the operation that `?watch=true` turns it into."""
    unsupported: str = ""
    """Why this release refuses it; empty for an operation that works."""
    scope: str | None = None
    """The dotted field of the request that holds the namespace; empty for what belongs to no namespace, `*` for
    what spans them all and shows the caller's part. Derived from the request unless given."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or snake(self.method))
        object.__setattr__(self, "scope", _scope(self.request) if self.scope is None else self.scope)

    @property
    def permission(self) -> str:
        """What a grant must cover: `services:get`."""
        return f"{self.resource}:{self.verb}"

    @property
    def path(self) -> str:
        """The HTTP/2 path of the gRPC method."""
        return f"/{self.package}.{self.service}/{self.method}"

    @property
    def streams(self) -> bool:
        """The answer is a stream."""
        return self.streaming is not Streaming.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A noun, and where its operations live. Its methods declare the usual ones."""

    noun: str
    service: str
    path: str
    """The collection's REST path, such as `/v1/namespaces/{namespace}/services`."""
    plural: str = ""
    item: str = "{name}"
    cli: bool = True
    """Whether the usual verbs become commands of their own (`rune get NOUN` and the like are written by hand)."""

    @property
    def nouns(self) -> str:
        """The plural, which is also the permission's noun."""
        return self.plural or f"{self.noun}s"

    def create(self, request: type[In], response: type[Out], **more: object) -> Operation[In, Out]:
        """POST to the collection, with the resource as the body."""
        path = self.path.replace("{namespace}", f"{{{self.noun}.namespace}}")
        http = Http(verb="POST", path=path, body=self.noun)
        return self._operation("create", request, response, f"Create a {self.noun}.", http, Effect.CHANGE, more)

    def get(self, request: type[In], response: type[Out], **more: object) -> Operation[In, Out]:
        """GET of an item."""
        http = Http(verb="GET", path=f"{self.path}/{self.item}")
        return self._operation("get", request, response, f"Get a {self.noun}.", http, Effect.READ, more)

    def list(self, request: type[In], response: type[Out], **more: object) -> Operation[In, Out]:
        """GET of the collection."""
        http = Http(verb="GET", path=self.path)
        return self._operation("list", request, response, f"List {self.nouns}.", http, Effect.READ, more)

    def watch(self, request: type[In], response: type[Out], **more: object) -> Operation[In, Out]:
        """The collection as a stream of changes; over REST it is the list with `?watch=true`."""
        summary = f"Watch {self.nouns}: what there is, then every change."
        more = {"streaming": Streaming.SERVER, "rate": Rate.STREAM, **more}
        return self._operation("watch", request, response, summary, None, Effect.READ, more)

    def update(self, request: type[In], response: type[Out], **more: object) -> Operation[In, Out]:
        """PUT of an item, with the resource as the body."""
        item = f"{self.path}/{self.item}"
        path = re.sub(r"{(\w+)}", lambda found: f"{{{self.noun}.{found[1]}}}", item)
        http = Http(verb="PUT", path=path, body=self.noun)
        return self._operation("update", request, response, f"Update a {self.noun}.", http, Effect.SETTLE, more)

    def delete(self, request: type[In], response: type[Out], **more: object) -> Operation[In, Out]:
        """DELETE of an item."""
        http = Http(verb="DELETE", path=f"{self.path}/{self.item}")
        return self._operation("delete", request, response, f"Delete a {self.noun}.", http, Effect.DESTROY, more)

    def _operation(
        self,
        verb: str,
        request: type[In],
        response: type[Out],
        summary: str,
        http: Http | None,
        effect: Effect,
        more: dict[str, object],
    ) -> Operation[In, Out]:
        noun = self.nouns if verb in {"list", "watch"} else self.noun
        row: dict[str, object] = {
            "service": self.service,
            "method": verb.capitalize() + noun.capitalize(),
            "request": request,
            "response": response,
            "summary": summary,
            "resource": self.nouns,
            "verb": verb,
            "http": http,
            "effect": effect,
        }
        return Operation(**{**row, **more})  # pyright: ignore[reportArgumentType] - rows are checked by tests over the table


def snake(name: str) -> str:
    """`ListDeletionOperations` → `list_deletion_operations`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _scope(request: type[Message]) -> str:
    for field in shape.fields(request):
        if field.is_scope:
            return field.name
    for field in shape.fields(request):
        if isinstance(field.model, type) and issubclass(field.model, Message) and not field.repeated:
            inner = next((part.name for part in shape.fields(field.model) if part.is_scope), "")
            if inner:
                return f"{field.name}.{inner}"
    return ""
