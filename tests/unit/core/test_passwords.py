"""Passwords: hashing costs memory and time, so it takes turns."""

from __future__ import annotations

from argon2 import PasswordHasher

from planes import outcomes
from rune.core.passwords import Hashes


async def test_hashing_takes_turns_and_a_flood_is_refused() -> None:
    hashes = Hashes(PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    ends = await outcomes(*(hashes.check("", "x") for _ in range(100)))
    assert ends.count("RESOURCE_EXHAUSTED") >= 60
    assert "ok" in ends
