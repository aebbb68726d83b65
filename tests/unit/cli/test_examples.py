"""The examples are what they promise: files that any server would take."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rune.manifest.documents import read
from rune.manifest.lint import check

ROOT = Path(__file__).parents[3]
EXAMPLES = [*sorted((ROOT / "examples").glob("*.yaml")), ROOT / "examples/web-with-database/app.yaml"]
PAGES = sorted((ROOT / "docs/how-to").glob("*.md"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_has_no_findings(path: Path) -> None:
    items = read(path.read_text(encoding="utf-8"), name=path.name)
    assert items
    assert not check(items)


def test_a_service_on_a_page_is_one() -> None:
    blocks = [
        block
        for page in PAGES
        for block in re.findall(r"```yaml\n(service:.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    ]
    assert blocks
    for block in blocks:
        assert not check(read(block, name="page"))
