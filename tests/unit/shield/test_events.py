"""What an event tells of arguments: a keyed hash, the same for the same values."""

from __future__ import annotations

import hmac

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rune.shield.events import arguments_hash

VALUES = st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8) | st.booleans(), max_size=4)


@given(salt=st.binary(max_size=100), arguments=VALUES)
def test_arguments_are_told_by_hmac_over_sorted_json(salt: bytes, arguments: dict[str, object]) -> None:
    told = msgspec.json.encode(arguments, order="sorted")
    assert arguments_hash(salt, arguments) == "hs256:" + hmac.digest(salt, told, "sha256").hex()
    assert arguments_hash(salt, dict(reversed(arguments.items()))) == arguments_hash(salt, arguments)


def test_a_number_of_thousands_of_digits_costs_no_event() -> None:
    assert arguments_hash(b"salt", {"n": 10**5_000}).startswith("hs256:")
