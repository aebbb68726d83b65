"""What the writer remembers of each organization: where its events stand, and the numbers of its words."""
# apsw's stubs name collections.abc.Buffer, which Python 3.11 lacks:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

import apsw

from rune.core.events.layout import AGENT, BLOCKED, ORGANIZATION, POSITIONS, THREAT, TOOL, TYPE, one
from rune.errors import ResourceExhausted

MAX_AGENTS = 10_000
"""Of an organization. An event of one more is refused, since every agent has counters of its own."""

MAX_WORDS = 1_000
"""Threats, and tools, of an organization. Those beyond are counted together under OTHER."""

OTHER = "(other)"

ADD = "INSERT INTO terms (organization, kind, value) VALUES (?, ?, ?) RETURNING term"


class Stream:
    """One organization. `dropped` and all before it is gone, what is behind `sealed` is in no index yet, and
    what is behind `counted` in no cell. `frameworks` are the agents' newest, by their numbers.
    """

    def __init__(self, code: int, salt: bytes) -> None:
        self.code = code
        self.salt = salt
        self.base = code << POSITIONS
        self.dropped = self.sealed = self.newest = self.counted = 0
        self.frameworks: dict[int, str] = {}
        self.words: dict[int, dict[str, int]] = {kind: {} for kind in (AGENT, TYPE, THREAT, TOOL, BLOCKED)}

    @property
    def row(self) -> tuple[int, int, int, int, int]:
        """As it is stored."""
        return self.dropped, self.sealed, self.newest, self.counted, self.code

    @property
    def kept(self) -> int:
        """How many events it has."""
        return self.newest - self.dropped

    def number(self, db: apsw.Connection, kind: int, word: str) -> int:
        """The number of a word, a new one if need be; 0 for no word."""
        if not word:
            return 0
        words = self.words[kind]
        if word not in words and kind in {THREAT, TOOL} and len(words) >= MAX_WORDS:
            word = OTHER
        if word not in words:
            words[word] = one(db.execute(ADD, (self.code, kind, word)))
        return words[word]


def refuse_crowd(known: AbstractSet[str], agents: Iterable[str]) -> None:
    """Raises ResourceExhausted when these would be too many agents together."""
    if len(known) + len(set(agents) - known) > MAX_AGENTS:
        raise ResourceExhausted(
            f"the organization has {len(known)} agents and may have {MAX_AGENTS}: use fewer agent ids",
            retry_after=60,
        )


def salt_of(salt: bytes, organization: str) -> bytes:
    """What goes before a key when it is digested, different for each organization."""
    return salt + organization.encode() + b"\0"


def load(db: apsw.Connection, salt: bytes) -> dict[str, Stream]:
    """Every organization by its name."""
    names = dict(db.execute("SELECT term, value FROM terms WHERE kind = ?", (ORGANIZATION,)))
    streams = {code: Stream(code, salt_of(salt, name)) for code, name in names.items()}
    for organization, kind, value, term in db.execute(
        "SELECT organization, kind, value, term FROM terms WHERE kind <> ?", (ORGANIZATION,)
    ):
        streams[organization].words[kind][value] = term
    for organization, dropped, sealed, newest, counted in db.execute("SELECT * FROM streams"):
        stream = streams[organization]
        stream.dropped, stream.sealed, stream.newest, stream.counted = dropped, sealed, newest, counted
    for organization, agent, framework in db.execute("SELECT organization, agent, framework FROM agents"):
        streams[organization].frameworks[agent] = framework
    return {names[code]: stream for code, stream in streams.items()}


def add(db: apsw.Connection, salt: bytes, organization: str) -> Stream:
    """A new organization."""
    code = one(db.execute(ADD, (0, ORGANIZATION, organization)))
    stream = Stream(code, salt_of(salt, organization))
    stream.number(db, BLOCKED, "blocked")
    db.execute("INSERT INTO streams VALUES (?, 0, 0, 0, 0)", (code,))
    return stream
