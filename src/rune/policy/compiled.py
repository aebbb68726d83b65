"""The compiled form of a policy: what is stored, downloaded and evaluated. Reading it needs no YAML.

The form carries its own version and the SHA-256 of its content, so a reader notices both a newer format
and a changed byte. The hash is a checksum, not a signature: whoever may write the form may write the hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from rune.errors import FailedPrecondition, InvalidArgument, Violation
from rune.policy.checks import faults, repeated
from rune.policy.model import MAX_RULES, VERSION, AnyRule, Mode

FORMAT = 1
"""Raised by one whenever an older reader would misunderstand a newer form."""

MAX_BYTES = 4 << 20

Strings = tuple[str, ...]


class CompiledPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A policy in the form that is evaluated, stored and downloaded."""

    compiled_format: Literal[1] = FORMAT
    version: str = VERSION
    name: str = ""
    mode: Mode = "enforce"
    agents: Strings = ()
    tags: Strings = ()
    rules: tuple[AnyRule, ...] = ()
    content_hash: str = ""

    def to_json(self) -> bytes:
        """The canonical bytes: keys sorted, nothing left out; equal policies have equal bytes."""
        return msgspec.json.encode(self, order="sorted")

    def sealed(self) -> CompiledPolicy:
        """The same policy with the hash of its content."""
        return msgspec.structs.replace(self, content_hash=_hash(self))


def _hash(compiled: CompiledPolicy) -> str:
    content = msgspec.structs.replace(compiled, content_hash="").to_json()
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class _Envelope(msgspec.Struct):
    compiled_format: int


def load(source: bytes | str | Mapping[str, Any]) -> CompiledPolicy:
    """The compiled policy in a JSON text or a mapping; checks it as strictly as if it were new.

    Raises FailedPrecondition for a format of a later release, InvalidArgument for all else.
    """
    try:
        envelope, compiled = _decode(source)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidArgument(f"not a compiled policy: {error}") from None
    if envelope.compiled_format > FORMAT or compiled is None:
        raise FailedPrecondition(
            f"the policy is compiled in format {envelope.compiled_format}, and this release reads up to"
            f" {FORMAT}: upgrade runesec"
        )
    if compiled.content_hash != _hash(compiled):
        raise InvalidArgument("the compiled policy was changed: its content does not fit its content_hash")
    _check(compiled)
    return compiled


def _decode(source: bytes | str | Mapping[str, Any]) -> tuple[_Envelope, CompiledPolicy | None]:
    if isinstance(source, Mapping):
        envelope = msgspec.convert(source, _Envelope)
        return envelope, None if envelope.compiled_format > FORMAT else msgspec.convert(
            source, CompiledPolicy
        )
    if len(source) > MAX_BYTES:
        raise InvalidArgument(f"a compiled policy of {len(source)} bytes; the limit is {MAX_BYTES}")
    envelope = msgspec.json.decode(source, type=_Envelope)
    return envelope, None if envelope.compiled_format > FORMAT else msgspec.json.decode(
        source, type=CompiledPolicy
    )


def _check(compiled: CompiledPolicy) -> None:
    found = [
        Violation(f"rules[{index}].{fault.field}".rstrip("."), fault.message)
        for index, rule in enumerate(compiled.rules)
        for fault in faults(rule)
    ]
    found += [
        Violation(f"rules[{again}].name", "the name is already taken")
        for _, again in repeated(compiled.rules)
    ]
    if len(compiled.rules) > 2 * MAX_RULES:
        found.append(Violation("rules", f"{len(compiled.rules)} rules are too many"))
    if found:
        raise InvalidArgument.of(found)
