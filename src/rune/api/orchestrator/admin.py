"""Admin: the first token, users, grants (policies on the wire) and tokens."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from rune.api.fields import Message, Name, Text, Uint32, Uint64, UnixSeconds
from rune.api.operation import Access, Effect, Http, Operation
from rune.api.resource import Key, Resource

Token64 = Annotated[str, Meta(max_length=64)]


class Subject(Resource):
    """Somebody or something that tokens speak for."""

    KIND: ClassVar[str] = "subject"

    id: str = ""
    kind: str = ""
    """`user` or `service`."""
    name: Name
    email: Text = ""
    policies: list[str] = []
    """The names of the attached grants."""

    @property
    def key(self) -> Key:
        """Subjects live in the `system` namespace, by name."""
        return Key(self.KIND, "system", self.name)


class AdminBootstrapRequest(Message):
    """Nothing to say."""


class AdminBootstrapResponse(Message):
    """The root token. Its secret is shown this once."""

    token_id: str = ""
    token_secret: str = ""
    subject_id: str = ""


class PolicyRule(Message):
    """What is allowed: any of the verbs on a resource, in a namespace (all when empty or `*`)."""

    resource: Annotated[str, Meta(min_length=1, max_length=64)]
    verbs: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(min_length=1, max_length=64)
    ]
    namespace: Annotated[str, Meta(max_length=63)] = ""


class Grant(Resource):
    """A set of rules that is attached to subjects; on the wire its name is Policy."""

    KIND: ClassVar[str] = "grant"
    PROTO: ClassVar[str] = "Policy"

    id: str = ""
    name: Name
    description: Text = ""
    rules: Annotated[list[PolicyRule], Meta(max_length=256)] = []
    builtin: bool = False
    """Shipped with the server; it can be neither changed nor deleted."""

    @property
    def key(self) -> Key:
        """Grants live in the `system` namespace, by name."""
        return Key(self.KIND, "system", self.name)


class PolicyCreateRequest(Message):
    """The grant to create."""

    policy: Grant


class PolicyCreateResponse(Message):
    """The grant as it was stored."""

    policy: Grant | None = None


class PolicyUpdateRequest(Message):
    """The grant as it should be, whole."""

    policy: Grant


class PolicyUpdateResponse(Message):
    """The grant as it was stored."""

    policy: Grant | None = None


class PolicyDeleteRequest(Message):
    """Which grant, by name or id. It is taken off every subject as well."""

    id: Token64 = ""
    name: Text = ""


class PolicyDeleteResponse(Message):
    """Whether it was deleted."""

    deleted: bool = False


class PolicyGetRequest(Message):
    """Which grant, by name or id."""

    id: Token64 = ""
    name: Text = ""


class PolicyGetResponse(Message):
    """The grant."""

    policy: Grant | None = None


class PolicyListRequest(Message):
    """Nothing to say."""


class PolicyListResponse(Message):
    """The grants, by name."""

    policies: list[Grant] = []
    revision: Uint64 = 0
    """Watch from here and nothing is missed."""


class PolicyAttachToSubjectRequest(Message):
    """Which grant to give to whom, each by name or id."""

    policy_id: Token64 = ""
    policy_name: Text = ""
    subject_id: Token64 = ""
    subject_name: Text = ""
    subject_kind: Text = ""


class PolicyAttachToSubjectResponse(Message):
    """Whether it is attached; a second time is fine."""

    attached: bool = False


class PolicyDetachFromSubjectRequest(Message):
    """Which grant to take from whom, each by name or id."""

    policy_id: Token64 = ""
    policy_name: Text = ""
    subject_id: Token64 = ""
    subject_name: Text = ""
    subject_kind: Text = ""


class PolicyDetachFromSubjectResponse(Message):
    """Whether it is detached; a second time is fine."""

    detached: bool = False


class UserCreateRequest(Message):
    """The user to create, with its grants (`readonly` when there are none)."""

    name: Name
    email: Text = ""
    policies: list[Text] = []


class UserCreateResponse(Message):
    """The user as it was stored."""

    user: Subject | None = None


class UserListRequest(Message):
    """Nothing to say."""


class UserListResponse(Message):
    """The users, by name."""

    users: list[Subject] = []
    revision: Uint64 = 0
    """Watch from here and nothing is missed."""


class TokenInfo(Message):
    """A token, without its secret."""

    id: str = ""
    name: str = ""
    subject_id: str = ""
    subject_type: str = ""
    description: str = ""
    issued_at: UnixSeconds = None
    expires_at: UnixSeconds = None
    revoked: bool = False
    kind: str = ""
    last_used_at: UnixSeconds = None


class TokenListRequest(Message):
    """Nothing to say."""


class TokenListResponse(Message):
    """The tokens, newest first."""

    tokens: list[TokenInfo] = []
    revision: Uint64 = 0
    """Watch from here and nothing is missed."""


class NetworkStatusRequest(Message):
    """Nothing to say."""


class NetworkAllocation(Message):
    """A service's address."""

    service_id: str = ""
    vip: str = ""


class NetworkStatusResponse(Message):
    """How addresses are given out."""

    cidr: str = ""
    allocations: list[NetworkAllocation] = []
    free_list_size: Uint32 = 0
    pending_releases: Uint32 = 0
    capacity: Uint32 = 0


class UpgradeServerRequest(Message):
    """Which version to install."""

    version: Text = ""
    sha256: Text = ""
    allow_downgrade: bool = False


class UpgradeServerResponse(Message):
    """What will run after the next start."""

    staged_version: str = ""


# The permission is `admin:*`: only a rule with the verb `*` covers it, so that no role that may create
# everything (`*:create`) may create users, and with them roles for itself.
ADMIN: dict[str, Any] = {"service": "AdminService", "resource": "admin", "verb": "*", "local_only": True}
"""What the operations of AdminService share."""

_POLICIES = "/v1/admin/policies"

bootstrap = Operation(
    method="AdminBootstrap",
    request=AdminBootstrapRequest,
    response=AdminBootstrapResponse,
    summary="Make the first token of a new server; works once.",
    http=Http(verb="POST", path="/v1/admin/bootstrap", body="*"),
    name="bootstrap",
    access=Access.PUBLIC,
    effect=Effect.CHANGE,
    **ADMIN,
)
create_grant = Operation(
    method="PolicyCreate",
    request=PolicyCreateRequest,
    response=PolicyCreateResponse,
    summary="Create a grant.",
    http=Http(verb="POST", path=_POLICIES, body="policy"),
    name="create_grant",
    effect=Effect.CHANGE,
    **ADMIN,
)
update_grant = Operation(
    method="PolicyUpdate",
    request=PolicyUpdateRequest,
    response=PolicyUpdateResponse,
    summary="Replace the rules of a grant.",
    http=Http(verb="PUT", path=f"{_POLICIES}/{{policy.name}}", body="policy"),
    name="update_grant",
    effect=Effect.SETTLE,
    **ADMIN,
)
delete_grant = Operation(
    method="PolicyDelete",
    request=PolicyDeleteRequest,
    response=PolicyDeleteResponse,
    summary="Delete a grant, and take it off every subject.",
    http=Http(verb="DELETE", path=f"{_POLICIES}/{{name}}"),
    name="delete_grant",
    cli="admin policy delete {name}",
    effect=Effect.DESTROY,
    **ADMIN,
)
get_grant = Operation(
    method="PolicyGet",
    request=PolicyGetRequest,
    response=PolicyGetResponse,
    summary="Get a grant.",
    http=Http(verb="GET", path=f"{_POLICIES}/{{name}}"),
    name="get_grant",
    cli="admin policy get {name}",
    **ADMIN,
)
list_grants = Operation(
    method="PolicyList",
    request=PolicyListRequest,
    response=PolicyListResponse,
    summary="List grants.",
    http=Http(verb="GET", path=_POLICIES),
    name="list_grants",
    cli="admin policy list",
    watch="watch_grants",
    **ADMIN,
)
attach_grant = Operation(
    method="PolicyAttachToSubject",
    request=PolicyAttachToSubjectRequest,
    response=PolicyAttachToSubjectResponse,
    summary="Attach a grant to a user or a service account.",
    http=Http(verb="POST", path=f"{_POLICIES}/{{policy_name}}/attach", body="*"),
    name="attach_grant",
    cli="admin policy attach {policy_name} {subject_name}",
    effect=Effect.SETTLE,
    **ADMIN,
)
detach_grant = Operation(
    method="PolicyDetachFromSubject",
    request=PolicyDetachFromSubjectRequest,
    response=PolicyDetachFromSubjectResponse,
    summary="Take a grant off a user or a service account.",
    http=Http(verb="POST", path=f"{_POLICIES}/{{policy_name}}/detach", body="*"),
    name="detach_grant",
    cli="admin policy detach {policy_name} {subject_name}",
    effect=Effect.SETTLE,
    **ADMIN,
)
create_user = Operation(
    method="UserCreate",
    request=UserCreateRequest,
    response=UserCreateResponse,
    summary="Create a user.",
    http=Http(verb="POST", path="/v1/admin/users", body="*"),
    name="create_user",
    cli="admin user create {name}",
    effect=Effect.CHANGE,
    **ADMIN,
)
list_users = Operation(
    method="UserList",
    request=UserListRequest,
    response=UserListResponse,
    summary="List users.",
    http=Http(verb="GET", path="/v1/admin/users"),
    name="list_users",
    cli="admin user list",
    watch="watch_users",
    **ADMIN,
)
list_tokens = Operation(
    method="TokenList",
    request=TokenListRequest,
    response=TokenListResponse,
    summary="List tokens, without their secrets.",
    http=Http(verb="GET", path="/v1/admin/tokens"),
    name="list_tokens",
    cli="admin token list",
    watch="watch_tokens",
    **ADMIN,
)
network_status = Operation(
    method="NetworkStatus",
    request=NetworkStatusRequest,
    response=NetworkStatusResponse,
    summary="See how service addresses are given out.",
    http=Http(verb="GET", path="/v1/admin/network"),
    unsupported="service networks are not part of this release",
    **ADMIN,
)
upgrade_server = Operation(
    method="UpgradeServer",
    request=UpgradeServerRequest,
    response=UpgradeServerResponse,
    summary="Stage another version of the server.",
    effect=Effect.CHANGE,
    unsupported="runed is upgraded by its package manager; workloads stay up while it restarts",
    **ADMIN,
)
