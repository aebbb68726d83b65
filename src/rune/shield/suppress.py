"""False positives that people confirmed: each suppresses exactly the finding it names, and nothing else."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Sequence

import msgspec

from rune.policy.regexes import searcher
from rune.policy.scanners.finding import Finding


class FalsePositive(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A threat type, a rule, and the content that is meant: its fingerprint, or a pattern of the match."""

    threat_type: str
    rule: str | None = None
    """None means every rule of the type."""
    fingerprint: str | None = None
    """Of the whole text that was scanned; see `fingerprint`."""
    pattern: str | None = None
    """RE2; it must match all of what the rule matched, no less."""
    agent_id: str | None = None
    """None means every agent."""


def fingerprint(salt: bytes, text: str) -> str:
    """A keyed hash of a text: two texts can be told to be equal, and nobody can try texts without the key."""
    return "hs256:" + hmac.digest(salt, text.encode("utf-8", "surrogatepass"), "sha256").hex()


class _Entry:
    """An entry made ready."""

    def __init__(self, told: FalsePositive) -> None:
        self.told = told
        self._whole: Callable[[str], bool] | None = None
        if told.pattern:
            self._whole = searcher(rf"(?s)\A(?:{told.pattern})\z")

    def names(self, finding: Finding, agent_id: str) -> bool:
        return self.told.rule in {None, finding.rule} and self.told.agent_id in {None, agent_id}

    def means(self, mark: str, matched: str) -> bool:
        """Whether this content is meant; an entry with neither fingerprint nor pattern means none."""
        if self.told.fingerprint and self.told.fingerprint != mark:
            return False
        return self._whole(matched) if self._whole is not None else bool(self.told.fingerprint)


class FalsePositives:
    """The confirmed false positives, by threat type."""

    def __init__(self, entries: Iterable[FalsePositive] = ()) -> None:
        """Raises BadRegex for a pattern that is none."""
        self._by_type: dict[str, list[_Entry]] = {}
        for told in entries:
            self._by_type.setdefault(told.threat_type, []).append(_Entry(told))

    def kept(self, findings: Sequence[Finding], text: str, *, agent_id: str, salt: bytes) -> list[Finding]:
        """The findings that are not suppressed."""
        if not any(finding.type in self._by_type for finding in findings):
            return list(findings)
        mark = fingerprint(salt, text)

        def is_suppressed(finding: Finding) -> bool:
            matched = text[finding.start : finding.end]
            entries = self._by_type.get(finding.type, [])
            return any(e.names(finding, agent_id) and e.means(mark, matched) for e in entries)

        return [finding for finding in findings if not is_suppressed(finding)]
