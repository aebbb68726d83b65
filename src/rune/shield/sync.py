"""Keeps policies and false positives fresh: a question the control plane holds open until something changes.

A bundle takes effect as a whole or not at all: one bad policy in it, and the last good bundle stays.
"""

from __future__ import annotations

from threading import Event, Lock, Thread
from typing import Any

import msgspec

from rune.core.clock import Clock
from rune.errors import RuneError
from rune.policy.compiled import load
from rune.policy.evaluate import ActivePolicy, Evaluator
from rune.policy.regexes import BadRegex
from rune.shield.debug import Debug
from rune.shield.faults import logger, our_fault
from rune.shield.guard import Guard
from rune.shield.line import Line, Reply, Unreachable
from rune.shield.options import ShieldConfig
from rune.shield.rulebook import Rulebook
from rune.shield.suppress import FalsePositive, FalsePositives

HOLD = 30
"""Seconds that the control plane is asked to hold a question open."""
BREATH = 0.2
"""The least time between two questions, whatever the answers."""


class BadBundle(Exception):
    """What came is no bundle; the message says why."""


class _Policy(msgspec.Struct, rename="camel"):
    compiled: dict[str, Any]
    policy_id: str = ""
    version: int = 0


class Bundle(msgspec.Struct, rename="camel", kw_only=True):
    """What `GET /v1/sdk/bundle` answers; a policy is `{policyId, version, compiled}` or bare compiled."""

    version: str | int
    policies: list[dict[str, Any]]
    false_positives: list[dict[str, Any]] = []
    salt: str = ""
    """Of the organization; keys the fingerprints, so that all its agents make the same."""
    etag: str = ""


class Sync:
    """Asks for bundles from a daemon thread, and hands the guard a new rulebook for each good one."""

    def __init__(self, config: ShieldConfig, clock: Clock, guard: Guard, *, debug: Debug) -> None:
        self._config = config
        self._clock = clock
        self._guard = guard
        self._debug = debug
        self._reset()

    def _reset(self) -> None:
        self._line = Line(self._config)
        self._starting = Lock()
        self._stop = Event()
        self._known = Event()
        self._thread: Thread | None = None
        self._etag = ""
        self._restless = 0
        """Questions in a row that were answered at once with nothing new, or not at all."""

    def ensure(self) -> None:
        """Starts the thread, in this process, if it does not run."""
        if (self._thread is not None and self._thread.is_alive()) or self._stop.is_set():
            return
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = Thread(target=self._run, name="rune-shield-sync", daemon=True)
                self._thread.start()

    def wait(self, timeout: float) -> bool:
        """Whether a bundle has come, waiting for it at most so long."""
        return self._known.wait(timeout)

    def stop(self, timeout: float) -> None:
        """Ends the thread, also in the middle of a question."""
        self._stop.set()
        self._line.abort()
        if self._thread is not None and timeout:
            self._thread.join(timeout)

    def after_fork(self) -> None:
        """The child asks for itself; what is in force stays."""
        self._line.close()
        self._reset()

    def _run(self) -> None:
        pause = 0.0
        try:
            while not self._stop.wait(pause):
                pause = self._backed_off()
                with our_fault("syncing policies"):
                    pause = self._round()
        finally:
            self._line.close()

    def _round(self) -> float:
        """One question; returns the seconds until the next."""
        began = self._clock.monotonic()
        path, headers = "/v1/sdk/bundle", {"If-None-Match": self._etag} if self._etag else {}
        try:
            reply = self._line.ask(
                "GET", f"{path}?wait={HOLD}" if self._etag else path, headers=headers, wait=HOLD
            )
        except Unreachable as error:
            return self._failed(str(error))
        was_held = self._clock.monotonic() - began > 1.0
        match reply.status:
            case 200:
                return self._taken(reply)
            case 304:
                self._restless = 0 if was_held else self._restless + 1
                return self._backed_off() if self._restless else BREATH
            case _:
                self._failed(f"HTTP {reply.status}")
                return reply.retry_after or self._backed_off()

    def _taken(self, reply: Reply) -> float:
        try:
            bundle = read_bundle(reply.body)
            rulebook = self._rulebook(bundle)
        except BadBundle as error:
            return self._failed(str(error))
        etag = reply.headers.get("etag", "") or bundle.etag
        same = bool(etag) and etag == self._etag
        self._restless = self._restless + 1 if same or not etag else 0
        if not self._stop.is_set():
            self._etag, self._guard.rulebook = etag, rulebook
            self._known.set()
        self._debug.say("policies", version=rulebook.version, policies=len(bundle.policies))
        return self._backed_off() if self._restless else BREATH

    def _failed(self, why: str) -> float:
        if not self._restless and not self._stop.is_set():  # whoever closes breaks off a question
            logger.warning("Policy sync failed: %s; the policies in force stay", why)
        self._debug.say("policies", failed=why)
        self._restless += 1
        return self._backed_off()

    def _backed_off(self) -> float:
        """From one second up to the poll interval, with jitter."""
        pause = min(2.0 ** min(self._restless - 1, 16), self._config.policy_sync_interval_seconds)
        return max(pause * (0.5 + self._clock.random() / 2), BREATH)

    def _rulebook(self, bundle: Bundle) -> Rulebook:
        try:
            evaluator = Evaluator([_active(policy) for policy in bundle.policies])
        except (RuneError, msgspec.ValidationError) as error:
            raise BadBundle(f"a policy of it is not good: {error}") from None
        return Rulebook(
            evaluator=evaluator,
            false_positives=false_positives(bundle.false_positives),
            salt=bundle.salt.encode() or self._guard.rulebook.salt,
            version=str(bundle.version),
            synced_at=self._clock.now(),
        )


def read_bundle(body: bytes) -> Bundle:
    """The bundle in an answer; raises BadBundle."""
    try:
        return msgspec.json.decode(body, type=Bundle)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadBundle(f"no bundle: {str(error)[:200]}") from None


def false_positives(entries: list[dict[str, Any]]) -> FalsePositives:
    """The good entries; one that is not understood suppresses nothing, and takes no other with it."""
    good: list[FalsePositive] = []
    for entry in entries:
        try:
            made = msgspec.convert(entry, FalsePositive)
            FalsePositives([made])
        except (msgspec.ValidationError, BadRegex) as error:
            logger.warning("a false-positive entry is not understood: %s", error)
            continue
        good.append(made)
    return FalsePositives(good)


def _active(policy: dict[str, Any]) -> ActivePolicy:
    if "compiled" not in policy:
        return ActivePolicy(policy=load(policy))
    item = msgspec.convert(policy, _Policy)
    return ActivePolicy(policy=load(item.compiled), policy_id=item.policy_id, version=item.version)
