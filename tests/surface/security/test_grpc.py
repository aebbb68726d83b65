"""The same plane over gRPC, by a client made only from `api/security.proto`, and as tools of assistants."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest

from promises import promise
from rune.api import OPERATIONS
from rune.mcp.offers import POSSIBLE
from rune.server.grpc import GrpcDoor, GrpcOptions
from secured import POLICY, Secured
from surface.protoc import Client, message

pytestmark = promise("security.grpc")

PACKAGE = "rune.security.v1"
TOOLS = {
    "list_agents", "register_agent", "list_policies", "create_policy", "update_policy", "toggle_policy",
    "delete_policy", "validate_policy", "list_alerts", "update_alert", "ingest_events", "get_health",
}  # fmt: skip


def test_the_tools_of_the_plane_have_the_names_that_were_promised() -> None:
    names = {row.name for row in POSSIBLE if row.is_security}
    assert names >= TOOLS
    assert not {row.name for row in OPERATIONS if row.is_security} - names


@pytest.mark.system
async def test_events_policies_and_alerts_go_over_grpc(plane: Secured) -> None:
    key = await plane.key(permissions=["policies:write"])
    door = GrpcDoor(plane.dispatcher, plane.clock, GrpcOptions(address="127.0.0.1:0"))
    async with Client(await door.open(), "") as client:

        async def call(service: str, method: str, name: str, /, **fields: Any) -> Any:
            ask = message(name, package=PACKAGE, **fields)
            known = client.method(service, method, PACKAGE)
            return await known(ask, metadata=(("x-rune-key", key),), timeout=10)

        scan = message(
            "EventScan",
            package=PACKAGE,
            risk_score=0.95,
            threats_detected=json.dumps([{"type": "prompt_injection", "rule": "pi-1"}]),
        )
        event = message(
            "SecurityEvent",
            package=PACKAGE,
            event_id="e1",
            timestamp=plane.clock.now().isoformat(),
            agent_id="bot",
            event_type="scan",
            scan_result=scan,
            metadata=json.dumps({"kept": [1, 2]}),
        )
        sent = await call("EventService", "IngestEvents", "IngestEventsRequest", events=[event])
        assert sent.accepted == 1
        found = await call("EventService", "GetEvent", "GetEventRequest", event_id="e1")
        assert json.loads(found.metadata) == {"kept": [1, 2]}
        listed = await call("AlertService", "ListAlerts", "ListAlertsRequest")
        assert [(alert.alert_type, alert.occurrences) for alert in listed.alerts] == [
            ("injection_detected", 1)
        ]
        made = await call(
            "SecurityPolicyService",
            "CreatePolicy",
            "CreateSecurityPolicyRequest",
            name="p",
            yaml_content=POLICY,
        )
        bundle = await call("SdkService", "GetBundle", "GetBundleRequest")
        assert [policy.policy_id for policy in bundle.policies] == [made.id]
        assert json.loads(bundle.policies[0].compiled)["rules"][0]["name"] == "block-injection"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call("AgentService", "RegisterAgent", "RegisterAgentRequest", agent_id="x")
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    await door.close(0)
