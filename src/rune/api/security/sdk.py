"""What a Shield asks by itself: the policies and false positives in force, and word of their changes."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from rune.api.fields import Count, JsonObject, Message
from rune.api.operation import SECURITY, Http, Operation, Rate, Streaming

Etag = Annotated[
    str, Meta(max_length=128, description="Of the bundle that is there already; over HTTP If-None-Match.")
]


class BundlePolicy(Message):
    """A policy in the form that is evaluated."""

    policy_id: str
    version: Count
    compiled: JsonObject


class BundleFalsePositive(Message):
    """A finding that is to be let pass: of this type and rule, in this very text or matching this pattern."""

    threat_type: str
    rule: str | None = None
    fingerprint: str | None = None
    pattern: str | None = None
    agent_id: str | None = None


class Bundle(Message):
    """Everything in force for an organization. It takes effect as a whole."""

    version: str
    policies: list[BundlePolicy] = []
    false_positives: list[BundleFalsePositive] = []
    salt: str = ""
    """The organization's key for fingerprints."""
    etag: str = ""


class GetBundleRequest(Message):
    """Which bundle is there already, and how long to wait for another."""

    wait: Annotated[
        int,
        Meta(ge=0, le=60, description="Seconds to wait for a change, at most 60.", extra={"proto": "int32"}),
    ] = 0
    etag: Etag = ""


class StreamBundlesRequest(Message):
    """Which bundle is there already."""

    etag: Etag = ""


bundle = Operation(
    package=SECURITY,
    service="SdkService",
    resource="sdk",
    rate=Rate.SDK,
    method="GetBundle",
    request=GetBundleRequest,
    response=Bundle,
    summary="Get the policies and false positives in force, or wait until they change.",
    verb="get",
    http=Http(verb="GET", path="/v1/sdk/bundle"),
)
stream = Operation(
    package=SECURITY,
    service="SdkService",
    resource="sdk",
    rate=Rate.SDK,
    method="StreamBundles",
    request=StreamBundlesRequest,
    response=Bundle,
    summary="Get the policies and false positives in force, and again at every change.",
    verb="watch",
    http=Http(verb="GET", path="/v1/sdk/stream"),
    streaming=Streaming.SERVER,
)
