"""Code as a user would write it against what `rune` shows; the type checkers of both kinds must like it."""

from __future__ import annotations

from rune import PolicyDecision, ScanResult, Shield, ShieldBlockedError, ShieldConfig
from rune.errors import InvalidArgument, ResourceExhausted, RuneError, Violation


def seconds_to_wait(error: RuneError) -> float | None:
    """How long a caller waits before the next try, None when trying again is no use."""
    return error.retry_after if isinstance(error, ResourceExhausted) else None


def wrong_fields(error: InvalidArgument) -> list[str]:
    """The fields to mend."""
    return [violation.field for violation in error.details]


def exit_code(error: RuneError) -> int:
    """What a script that gives up should exit with."""
    return error.codes.exit


MISSING: InvalidArgument = InvalidArgument.of([Violation("service.name", "is missing")])

SHIELD: Shield = Shield(config=ShieldConfig(events_enabled=False), default_agent_tags=["prod"])


@SHIELD.protect(tool="search")
def search(query: str, limit: int = 10) -> list[str]:
    """A guarded tool keeps its signature for type checkers too."""
    return [query] * limit


FOUND: list[str] = search("x", limit=2)


async def ask(question: str) -> str | None:
    """The answers have types."""
    with SHIELD.session(agent_id="a", session_id="s"):
        result: ScanResult = await SHIELD.ascan_input(question, {"source": "web"})
        decision: PolicyDecision = SHIELD.validate_action("search", {"query": question})
    try:
        SHIELD.enforce(decision)
    except ShieldBlockedError as error:
        return error.policy_result.rule if error.policy_result else None
    return result.sanitized_content
