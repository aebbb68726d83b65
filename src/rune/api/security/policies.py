"""Security policies: what agents may do, in YAML, compiled before they are stored, every version kept."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from rune.api.common import WatchFrom
from rune.api.fields import Count, JsonObject, MaybeText, Message, UnixMillis
from rune.api.operation import SECURITY, Access, Effect, Http, Operation, Rate
from rune.api.security.words import (
    WATCH,
    Cursor,
    Deleted,
    Id,
    Label,
    Limit,
    NextCursor,
    ShownId,
    Updated,
    Watched,
)

PolicyName = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00-\x1f\x7f]{1,200}$(?!\n)",
        description="1 to 200 characters, no control characters.",
    ),
]
Yaml = Annotated[str, Meta(min_length=1, max_length=256 << 10)]


class SecurityPolicy(Message):
    """A policy, without its text."""

    id: ShownId
    name: str
    version: Count
    active: bool
    updated_at: UnixMillis = None


class ListPoliciesRequest(Message):
    """Which policies."""

    include_inactive: bool = False
    limit: Limit = 50
    cursor: Cursor = ""


class ListPoliciesResponse(Message):
    """The policies of the organization, the oldest first."""

    policies: list[SecurityPolicy] = []
    next_cursor: NextCursor = None


class WatchPoliciesRequest(WatchFrom):
    """Which policies, and from where on."""

    include_inactive: bool = False


class WatchPoliciesResponse(Watched):
    """One change: a policy that is switched off is deleted, unless inactive ones are asked for.
    An item without a policy ends what there was at the start.
    """

    policy: SecurityPolicy | None = None


class CreateSecurityPolicyRequest(Message):
    """The policy to create; it is active at once."""

    name: PolicyName
    yaml_content: Yaml


class CreateSecurityPolicyResponse(Message):
    """The policy was created."""

    id: str
    name: str


class GetSecurityPolicyRequest(Message):
    """Which policy."""

    policy_id: Id


class GetSecurityPolicyResponse(Message):
    """A policy whole."""

    id: ShownId
    name: str
    version: Count
    active: bool
    yaml_content: str
    compiled: JsonObject
    created_at: UnixMillis = None
    updated_at: UnixMillis = None


class UpdateSecurityPolicyRequest(Message):
    """What to change; what is absent stays. Other YAML makes the version one higher."""

    policy_id: Id
    name: PolicyName | None = None
    yaml_content: Yaml | None = None
    version: Count | None = None
    """Refused (ABORTED) unless this is the newest version: nobody's change is lost under another's."""


class TogglePolicyRequest(Message):
    """Which policy, and whether it is in force."""

    policy_id: Id
    active: bool


class DeletePolicyRequest(Message):
    """Which policy."""

    policy_id: Id


class ValidatePolicyRequest(Message):
    """The text to look at."""

    yaml_content: Annotated[str, Meta(max_length=256 << 10)]


class ValidatePolicyResponse(Message):
    """What the text means, or what is wrong with it and where."""

    valid: bool
    compiled: JsonObject | None = None
    error: MaybeText = None


class PolicyVersion(Message):
    """A version of a policy."""

    version: Count
    yaml_content: str
    created_at: UnixMillis = None
    created_by: Label = ""


class ListPolicyVersionsRequest(Message):
    """Whose versions."""

    policy_id: Id
    limit: Limit = 50
    cursor: Cursor = ""


class ListPolicyVersionsResponse(Message):
    """The versions, newest first."""

    versions: list[PolicyVersion] = []
    next_cursor: NextCursor = None


class RollbackPolicyRequest(Message):
    """Which version's text becomes the newest version."""

    policy_id: Id
    version: Annotated[int, Meta(ge=1, le=2**31 - 1, extra={"proto": "int32"})]


class RollbackPolicyResponse(Message):
    """It was rolled back."""

    updated: bool = True
    version: Count = 0
    """The new version, which has the old one's text."""


list_ = Operation(
    package=SECURITY,
    service="SecurityPolicyService",
    resource="policies",
    method="ListPolicies",
    request=ListPoliciesRequest,
    response=ListPoliciesResponse,
    summary="List the active policies.",
    verb="list",
    http=Http(verb="GET", path="/v1/policies"),
    cli="policy list",
    rate=Rate.READ,
    watch="watch_policies",
)
watch = Operation(
    package=SECURITY,
    service="SecurityPolicyService",
    resource="policies",
    method="WatchPolicies",
    request=WatchPoliciesRequest,
    response=WatchPoliciesResponse,
    summary="Watch the active policies: what there is, then every change.",
    verb="watch",
    **WATCH,
)
create = Operation(
    package=SECURITY,
    service="SecurityPolicyService",
    resource="policies",
    method="CreatePolicy",
    request=CreateSecurityPolicyRequest,
    response=CreateSecurityPolicyResponse,
    summary="Create a policy; its YAML is compiled before it is stored.",
    verb="create",
    http=Http(verb="POST", path="/v1/policies", body="*", status=201),
    effect=Effect.CHANGE,
    rate=Rate.WRITE,
)
get = Operation(
    package=SECURITY,
    service="SecurityPolicyService",
    resource="policies",
    method="GetPolicy",
    request=GetSecurityPolicyRequest,
    response=GetSecurityPolicyResponse,
    summary="Get a policy with its YAML and its compiled form.",
    verb="get",
    http=Http(verb="GET", path="/v1/policies/{policy_id}"),
    cli="policy get {policy_id}",
    rate=Rate.READ,
)
update = Operation(
    package=SECURITY,
    service="SecurityPolicyService",
    resource="policies",
    method="UpdatePolicy",
    request=UpdateSecurityPolicyRequest,
    response=Updated,
    summary="Change a policy's name or YAML.",
    verb="update",
    http=Http(verb="POST", path="/v1/policies/update", body="*"),
    effect=Effect.SETTLE,
    rate=Rate.WRITE,
)
toggle = Operation(
    package=SECURITY,
    service="SecurityPolicyService",
    resource="policies",
    method="TogglePolicy",
    request=TogglePolicyRequest,
    response=Updated,
    summary="Switch a policy on or off.",
    verb="update",
    http=Http(verb="POST", path="/v1/policies/toggle", body="*"),
    effect=Effect.SETTLE,
    rate=Rate.WRITE,
)
delete = Operation(
    package=SECURITY,
    service="SecurityPolicyService",
    resource="policies",
    method="DeletePolicy",
    request=DeletePolicyRequest,
    response=Deleted,
    summary="Delete a policy for good, with all its versions.",
    verb="delete",
    http=Http(verb="POST", path="/v1/policies/delete", body="*"),
    cli="policy delete {policy_id}",
    effect=Effect.DESTROY,
    rate=Rate.WRITE,
)
validate = Operation(
    package=SECURITY,
    service="SecurityPolicyService",
    resource="policies",
    method="ValidatePolicy",
    request=ValidatePolicyRequest,
    response=ValidatePolicyResponse,
    summary="Check a policy's YAML and store nothing.",
    verb="get",
    http=Http(verb="POST", path="/v1/policies/validate", body="*"),
    access=Access.KNOWN,
    rate=Rate.WRITE,
)
list_versions = Operation(
    package=SECURITY,
    service="SecurityPolicyService",
    resource="policies",
    method="ListPolicyVersions",
    request=ListPolicyVersionsRequest,
    response=ListPolicyVersionsResponse,
    summary="List the versions of a policy, the newest first.",
    verb="list",
    http=Http(verb="GET", path="/v1/policies/{policy_id}/versions"),
    cli="policy versions {policy_id}",
    rate=Rate.READ,
)
rollback = Operation(
    package=SECURITY,
    service="SecurityPolicyService",
    resource="policies",
    method="RollbackPolicy",
    request=RollbackPolicyRequest,
    response=RollbackPolicyResponse,
    summary="Make an earlier version's text the newest version of a policy.",
    verb="update",
    http=Http(verb="POST", path="/v1/policies/rollback", body="*"),
    cli="policy rollback {policy_id}",
    effect=Effect.CHANGE,
    rate=Rate.WRITE,
)
