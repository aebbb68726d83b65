"""What the agent-security plane keeps in the store. Everything of an organization lies under its own key."""

from __future__ import annotations

from typing import Any, ClassVar

from rune.api.fields import Message, Timestamp
from rune.api.resource import Key, Resource
from rune.api.security.organizations import OrganizationLimits
from rune.core.access import space
from rune.core.apikeys import ApiKey
from rune.core.tokens import SYSTEM
from rune.core.vault import Place, SealedResource


class Tenant(Resource):
    """An organization. Its salt keys the fingerprints that its agents make."""

    KIND: ClassVar[str] = "organization"

    name: str
    display_name: str = ""
    limits: OrganizationLimits = OrganizationLimits()
    salt: str
    created_at: Timestamp = None

    @property
    def key(self) -> Key:
        """Tenants stand beside each other."""
        return Key(self.KIND, SYSTEM, self.name)

    def __repr__(self) -> str:
        return f"Tenant(name={self.name!r})"


class Signer(Resource):
    """What cursors are signed with; there is one."""

    KIND: ClassVar[str] = "cursor-signer"

    secret: str

    @property
    def key(self) -> Key:
        """The only one."""
        return Key(self.KIND, SYSTEM, self.KIND)

    def __repr__(self) -> str:
        return "Signer()"


class Owned(Resource):
    """What belongs to one organization."""

    organization: str
    id: str

    @property
    def key(self) -> Key:
        """By its id, within the organization."""
        return Key(self.KIND, space(self.organization), self.id)


class Registration(Owned):
    """What people said of an agent; what its events say is in the event store. `id` is its agentId."""

    KIND: ClassVar[str] = "security-agent"

    name: str = ""
    framework: str = ""
    tags: list[str] = []
    quarantined: bool = False
    reason: str = ""
    """Why it is in quarantine."""
    by: str = ""
    """Who put it there: somebody's name, or `policy`."""
    alert: str = ""
    """The alert that led to it."""
    at: Timestamp = None
    noted: bool = True
    """The audit log knows of the quarantine."""
    heeded: int = 0
    """The newest event whose alerts were dealt with: what came before a release leads to no quarantine."""
    service: str = ""
    """The workload that it is, as `namespace/name`. One agent is one service: the first has the name."""
    registered_at: Timestamp = None
    silent: bool = False
    """It was inactive when it was last looked at, so that the log tells of the change."""


class Policy(Owned):
    """A policy as it is now."""

    KIND: ClassVar[str] = "security-policy"

    name: str
    version: int = 1
    active: bool = True
    yaml: str
    compiled: dict[str, Any]
    created_at: Timestamp = None
    updated_at: Timestamp = None


class PolicyText(Owned):
    """A version of a policy; its id is `POLICY.00000001`, so that versions stand in order."""

    KIND: ClassVar[str] = "security-policy-version"

    version: int
    yaml: str
    created_at: Timestamp = None
    created_by: str = ""


class Step(Message):
    """One change of an alert."""

    status: str
    was: str
    at: Timestamp = None
    by: str = ""
    note: str = ""


class Mark(Message):
    """One finding in one content that an alert is about: threat, scanner's rule, keyed hash of the text."""

    threat: str = ""
    rule: str = ""
    fingerprint: str = ""


class Alert(Owned):
    """An alert. Its id is `SUBJECT.NUMBER`: all alerts about the same subject stand together."""

    KIND: ClassVar[str] = "security-alert"

    severity: str
    alert_type: str
    title: str
    status: str = "open"
    agent_id: str
    occurrences: int = 1
    threat: str = ""
    rule: str = ""
    first_seen: Timestamp = None
    last_seen: Timestamp = None
    last_event: str = ""
    details: dict[str, Any] = {}
    marks: list[Mark] = []
    history: list[Step] = []
    position: int = 0
    """Of the newest event that it has counted, so that none counts twice."""

    @property
    def is_live(self) -> bool:
        """More of the same adds to it instead of raising another."""
        return self.status in ("open", "investigating")


class FalsePositive(Owned):
    """What scanners are told to let pass."""

    KIND: ClassVar[str] = "false-positive"

    threat_type: str
    rule: str = ""
    fingerprint: str = ""
    pattern: str = ""
    agent_id: str = ""
    alert_id: str = ""
    created_at: Timestamp = None
    created_by: str = ""


class Approval(Owned):
    """A tool call that waits, or waited, for a person."""

    KIND: ClassVar[str] = "security-approval"

    waiter: str
    """The Shield that waits."""
    agent_id: str
    status: str = "pending"
    tool: str = ""
    rule: str = ""
    severity: str = ""
    session_id: str = ""
    arguments: str = ""
    arguments_hash: str = ""
    alert_id: str = ""
    requested_at: Timestamp = None
    expires_at: Timestamp = None
    decided_at: Timestamp = None
    decided_by: str = ""
    note: str = ""


class Progress(Owned):
    """How far detection has come in the events of an organization; `id` is `detect`."""

    KIND: ClassVar[str] = "detection"

    position: int = 0


class Webhook(SealedResource):
    """An address that is told of alerts. What is sealed is the secret that its messages are signed with."""

    KIND: ClassVar[str] = "webhook"

    organization: str
    id: str
    url: str
    events: list[str] = []
    min_severity: str = ""
    slack: bool = False
    created_at: Timestamp = None
    delivered: int = 0
    failed: int = 0
    last_error: str = ""

    @property
    def key(self) -> Key:
        """By its id, within the organization."""
        return Key(self.KIND, space(self.organization), self.id)

    @property
    def place(self) -> Place:
        """Its organization and its id: the secret opens nowhere else."""
        return Place(self.KIND, space(self.organization), self.id, 1)


class Delivery(Owned):
    """One message to one webhook that has not arrived yet."""

    KIND: ClassVar[str] = "webhook-delivery"

    webhook: str
    event: str
    alert: dict[str, Any]
    created_at: Timestamp = None
    attempts: int = 0


SEALED = (Webhook,)
"""Those of them that hold a sealed value."""
KINDS = (
    ApiKey, Tenant, Signer, Registration, Policy, PolicyText, Alert, Approval, FalsePositive, Progress,
    Webhook, Delivery,
)  # fmt: skip
"""What a store must be made with."""
