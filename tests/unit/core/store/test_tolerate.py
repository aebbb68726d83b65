"""Fields that came with another release are left out wherever they stand; the rest is still checked."""

from __future__ import annotations

import msgspec
import pytest

from rune.core.store.tolerate import Tolerant


class Port(msgspec.Struct, forbid_unknown_fields=True):
    number: int


class Http(msgspec.Struct, tag="http", forbid_unknown_fields=True):
    path: str


class Tcp(msgspec.Struct, tag="tcp", forbid_unknown_fields=True):
    port: Port


class Spec(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    first_port: Port | None = None
    ports: list[Port] = msgspec.field(default_factory=list[Port])
    pair: tuple[Port, ...] = ()
    by_name: dict[str, Port] = msgspec.field(default_factory=dict[str, Port])
    probe: Http | Tcp | None = None
    maybe: list[Port] | None = None
    labels: dict[str, str] | None = None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"gone": 1}', Spec()),
        ('{"firstPort": {"number": 1, "gone": 1}}', Spec(first_port=Port(1))),
        ('{"firstPort": null, "gone": {}}', Spec()),
        ('{"ports": [{"number": 1}, {"number": 2, "gone": []}]}', Spec(ports=[Port(1), Port(2)])),
        ('{"pair": [{"number": 2, "gone": []}]}', Spec(pair=(Port(2),))),
        ('{"byName": {"gone": {"number": 3, "gone": 1}}}', Spec(by_name={"gone": Port(3)})),
        ('{"probe": {"type": "http", "path": "/", "gone": 1}}', Spec(probe=Http("/"))),
        ('{"probe": {"type": "tcp", "port": {"number": 4, "gone": 1}}}', Spec(probe=Tcp(Port(4)))),
        ('{"maybe": [{"number": 5, "gone": 1}]}', Spec(maybe=[Port(5)])),
        ('{"labels": {"app": "x"}, "gone": 1}', Spec(labels={"app": "x"})),
    ],
)
def test_an_unknown_field_is_left_out_wherever_it_stands(text: str, value: Spec) -> None:
    assert Tolerant(Spec).decode(text) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"firstPort": {"number": "x", "gone": 1}}',
            r"Expected `int`, got `str` - at `\$.firstPort.number`",
        ),
        ('{"ports": [{"gone": 1}]}', r"missing required field `number` - at `\$.ports\[0\]`"),
        ('{"probe": {"type": "udp"}}', "Invalid value 'udp'"),
        ("[]", "Expected `object`, got `array`"),
    ],
)
def test_what_is_wrong_is_still_refused(text: str, message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        Tolerant(Spec).decode(text)
