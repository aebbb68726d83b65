"""The page of operations: what is declared and refused stands in it with its reason."""

from __future__ import annotations

from rune.api import OPERATIONS
from rune.api.fields import Message
from rune.api.proto import models
from rune.api.reference import text
from rune.api.shape import fields, proto_name


def test_everything_that_is_refused_is_listed_with_its_reason() -> None:
    refused = text(OPERATIONS).partition("## What is refused")[2].partition("\n## ")[0]
    wanted = {
        f"| `{row.service}/{row.method}` | {row.unsupported} |" for row in OPERATIONS if row.unsupported
    }
    for model in models(OPERATIONS):
        if issubclass(model, Message):
            said = {item.wire: item.unsupported for item in fields(model) if item.unsupported}
            wanted |= {f"| `{proto_name(model)}.{wire}` | {why} |" for wire, why in said.items()}
    assert wanted
    assert wanted == {line for line in refused.splitlines() if line.startswith("| `")}
