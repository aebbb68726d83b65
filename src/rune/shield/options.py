"""What a Shield can be told, and where it is told: a keyword, a config, the environment, the default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypedDict, cast, get_origin
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from rune.errors import InvalidArgument, Violation

OnBlock = Literal["raise", "log", "alert"]
FailMode = Literal["open", "closed"]
L3Mode = Literal["async", "sync"]
Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Risk = Annotated[float, Meta(ge=0, le=1)]

PREFIX = "RUNE_"
MAX_KEY = 4_096
"""Characters of a key's file."""
MAX_BATCH = 1_000
"""Events that the control plane takes at once."""


class ShieldConfig(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of a Shield. What is left at its default may still come from `RUNE_<FIELD>`."""

    api_key: str | None = None
    """Sent as `X-Rune-Key`; needed unless `events_enabled` is off."""
    api_key_file: str | None = None
    """A file with the key, where no key is given otherwise."""
    ca_file: str | None = None
    """The authority that signed the control plane's certificate, PEM; None trusts those of the machine."""
    cert_file: str | None = None
    """A certificate to show where the control plane asks clients for one, PEM; with `key_file`."""
    key_file: str | None = None
    """The certificate's key, PEM, without a password."""
    endpoint: str = "http://127.0.0.1:7861"
    """The control plane; http or https, a path before /v1 is kept."""
    l1_enabled: bool = True
    """Patterns: some tenths of a millisecond for a message."""
    l2_enabled: bool = False
    """Likeness to attacks, in any words: about a millisecond for a message; needs `runesec[vector]`."""
    l3_enabled: bool = False
    """A language model as judge."""
    l3_base_url: str = ""
    """Where the judge's model is: what goes before /chat/completions, such as http://127.0.0.1:8000/v1."""
    l3_model: str = ""
    """The judge's model."""
    l3_api_key: str | None = None
    """Sent to the judge's endpoint and nowhere else."""
    l3_mode: L3Mode = "async"
    """`async`: a scan does not wait, and the verdict comes as an event; `sync`: it waits and obeys."""
    l3_timeout_ms: Positive = 5_000
    """The longest that the judge may take for one answer."""
    l3_per_minute: Positive = 60
    """Questions to the judge in a minute; past it a text goes unjudged."""
    on_block: OnBlock = "raise"
    """What `enforce` and `protect` do with a block: raise, log a warning, or log it and send an alert."""
    fail_mode: FailMode = "open"
    """What a time-out or a fault of our own means: `open` lets pass, `closed` blocks."""
    block_threshold: Risk = 0.8
    """The risk from which a layer blocks."""
    flag_threshold: Risk = 0.5
    """The risk from which a layer flags."""
    l2_block_threshold: Risk | None = None
    """The risk from which L2 blocks, where that differs from `block_threshold`."""
    l2_flag_threshold: Risk | None = None
    """The risk from which L2 flags, where that differs from `flag_threshold`."""
    scan_timeout_ms: Positive = 5_000
    """Past it a scan ends at its next safe point, and `fail_mode` decides."""
    default_agent_id: str | None = None
    """The agent of calls that name none."""
    default_agent_tags: tuple[str, ...] = ()
    """The tags of calls that name none; in the environment separated by commas."""
    local_policies_path: str | None = None
    """A YAML policy or a folder of them; in force until the control plane has sent its own."""
    rules_path: str | None = None
    """Pattern rules of your own, in a file or a folder, beside those that ship with Rune."""
    policy_sync_interval_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 60.0
    """How often policies are asked for where the control plane cannot hold a request open; 0 never asks."""
    events_enabled: bool = True
    """False is local mode: no key, no thread, no connection."""
    event_batch_size: Annotated[int, Meta(ge=1, le=MAX_BATCH)] = 50
    """Events that are sent without waiting for more."""
    event_flush_interval_seconds: Seconds = 5.0
    """The longest that an event waits for others."""
    event_queue_max: Positive = 10_000
    """Events kept in memory; past it the oldest is dropped and counted."""
    event_spool_path: str | None = None
    """A folder for batches that could not be delivered; they are sent after a restart."""
    event_spool_max_bytes: Positive = 64 << 20
    """Size of that folder; past it the oldest batch is dropped and counted."""
    approval_timeout_seconds: Annotated[float, Meta(ge=0, le=3_600)] = 300.0
    """How long a call waits for a person where a policy says `require_approval`; 0 asks nobody and denies."""
    approval_on_timeout: Literal["deny", "allow"] = "deny"
    """What it means that nobody decided in time."""
    approval_waiting_max: Positive = 16
    """Calls that may wait at the same time; more are denied at once."""
    connection_timeout_seconds: Seconds = 10.0
    """The longest silence of the control plane that is borne."""
    capture_content: bool = False
    """Send the text and the arguments themselves with events; otherwise they never leave the process."""
    debug: bool = False
    """One JSON line on stderr for each scan, decision and batch."""

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        for key in ("api_key", "l3_api_key"):
            shown[key] = "***" if shown[key] else None
        return f"ShieldConfig({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class Keywords(TypedDict, total=False):
    """The fields of ShieldConfig as keywords of Shield; a test compares both."""

    api_key: str | None
    api_key_file: str | os.PathLike[str] | None
    ca_file: str | os.PathLike[str] | None
    cert_file: str | os.PathLike[str] | None
    key_file: str | os.PathLike[str] | None
    endpoint: str
    l1_enabled: bool
    l2_enabled: bool
    l3_enabled: bool
    l3_base_url: str
    l3_model: str
    l3_api_key: str | None
    l3_mode: L3Mode
    l3_timeout_ms: int
    l3_per_minute: int
    on_block: OnBlock
    fail_mode: FailMode
    block_threshold: float
    flag_threshold: float
    l2_block_threshold: float | None
    l2_flag_threshold: float | None
    scan_timeout_ms: int
    default_agent_id: str | None
    default_agent_tags: tuple[str, ...] | list[str]
    local_policies_path: str | os.PathLike[str] | None
    rules_path: str | os.PathLike[str] | None
    policy_sync_interval_seconds: float
    events_enabled: bool
    event_batch_size: int
    event_flush_interval_seconds: float
    event_queue_max: int
    event_spool_path: str | os.PathLike[str] | None
    event_spool_max_bytes: int
    approval_timeout_seconds: float
    approval_on_timeout: Literal["deny", "allow"]
    approval_waiting_max: int
    connection_timeout_seconds: float
    capture_content: bool
    debug: bool


_FIELDS = {field.name: field for field in msgspec.structs.fields(ShieldConfig)}


def resolve(
    config: ShieldConfig | None, keywords: Mapping[str, Any], environ: Mapping[str, str]
) -> ShieldConfig:
    """The settings in force; raises TypeError for an unknown keyword, InvalidArgument for a bad value.

    A keyword goes before the config, the config before the environment; a value of the config that is the
    default counts as not given.
    """
    unknown = [name for name in keywords if name not in _FIELDS]
    if unknown:
        raise TypeError(f"Shield() has no option {unknown[0]!r}; it has {', '.join(_FIELDS)}")
    given = _from_environment(environ)
    given |= {n: getattr(config, n) for n, f in _FIELDS.items() if config and getattr(config, n) != f.default}
    given |= keywords
    resolved = _with_key(ShieldConfig(**{name: _checked(name, value) for name, value in given.items()}))
    _refuse(resolved)
    return resolved


def _with_key(config: ShieldConfig) -> ShieldConfig:
    """With the key of its file; raises InvalidArgument when that cannot be read."""
    if config.api_key or not config.api_key_file or not config.events_enabled:
        return config
    try:
        with open(config.api_key_file, encoding="utf-8") as file:  # noqa: PTH123 - pathlib takes its time to import
            key = file.read(MAX_KEY).strip()
    except (OSError, UnicodeError) as error:
        raise InvalidArgument.of([Violation("api_key_file", f"cannot be read: {error}")]) from None
    return msgspec.structs.replace(config, api_key=key)


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """What `RUNE_<FIELD>` says; an empty variable says nothing."""
    given: dict[str, Any] = {}
    for name, field in _FIELDS.items():
        text = environ.get(PREFIX + name.upper(), "")
        if text:
            given[name] = _parsed(name, text, field.type)
    return given


def _parsed(name: str, text: str, wanted: Any) -> Any:  # noqa: ANN401 - a type as msgspec knows it
    value: Any = text
    if get_origin(wanted) is tuple:
        value = [part.strip() for part in text.split(",") if part.strip()]
    try:
        return msgspec.convert(value, wanted, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidArgument.of([Violation(PREFIX + name.upper(), str(error))]) from None


def _checked(name: str, value: Any) -> Any:  # noqa: ANN401 - anything a caller hands in
    if isinstance(value, os.PathLike):
        value = os.fspath(cast("os.PathLike[str]", value))
    try:
        return msgspec.convert(value, _FIELDS[name].type)
    except msgspec.ValidationError as error:
        raise InvalidArgument.of([Violation(name, str(error))]) from None


def _refuse(config: ShieldConfig) -> None:
    found: list[Violation] = []
    if config.events_enabled:
        found = [*_key_problems(config.api_key), *_endpoint_problems(config.endpoint)]
        found += _file_problems(config)
    if config.l3_enabled:
        found += _judge_problems(config)
    if config.flag_threshold > config.block_threshold:
        found.append(Violation("flag_threshold", "is above block_threshold, and nothing would be flagged"))
    if _or(config.l2_flag_threshold, config.flag_threshold) > _or(
        config.l2_block_threshold, config.block_threshold
    ):
        found.append(
            Violation("l2_flag_threshold", "is above l2_block_threshold, and nothing would be flagged")
        )
    if found:
        raise InvalidArgument.of(found)


def _file_problems(config: ShieldConfig) -> list[Violation]:
    named = {"ca_file": config.ca_file, "cert_file": config.cert_file, "key_file": config.key_file}
    found = [
        Violation(name, f"{path!r} cannot be read")
        for name, path in named.items()
        if path and not os.access(path, os.R_OK)
    ]
    if bool(config.cert_file) != bool(config.key_file):
        missing = "key_file" if config.cert_file else "cert_file"
        found.append(Violation(missing, "is needed too: a certificate is shown with its key"))
    return found


def _judge_problems(config: ShieldConfig) -> list[Violation]:
    """A judge that is not named at all is a layer that is not there; one that is half named is a mistake."""
    if not config.l3_base_url and not config.l3_model:
        return []
    found = [] if config.l3_model else [Violation("l3_model", "is needed beside l3_base_url")]
    found += [Violation("l3_base_url", each.description) for each in _endpoint_problems(config.l3_base_url)]
    key = config.l3_api_key
    return found + [Violation("l3_api_key", each.description) for each in (_key_problems(key) if key else [])]


def _or(mine: float | None, usual: float) -> float:
    return usual if mine is None else mine


def _key_problems(key: str | None) -> list[Violation]:
    if not key:
        says = "RUNE_API_KEY not set; pass api_key, or events_enabled=False to work without a control plane"
        return [Violation("api_key", says)]
    if not key.isascii() or not key.isprintable() or " " in key:
        return [Violation("api_key", "has a character that no key has; is there a line break at its end?")]
    return []


def _endpoint_problems(endpoint: str) -> list[Violation]:
    try:
        parts = urlsplit(endpoint)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if good and endpoint.isascii() and endpoint.isprintable() and " " not in endpoint:
        return []
    return [Violation("endpoint", f"{endpoint!r} is no address; write http://host:port or https://host")]
