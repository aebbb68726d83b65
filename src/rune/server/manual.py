"""The API's description as it is served: the OpenAPI document, and a page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

import msgspec
import yaml

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}
code{font:13px ui-monospace,monospace}summary{cursor:pointer;padding:.3rem 0}
summary b{display:inline-block;width:4.5rem}
table{border-collapse:collapse;margin:.5rem 0 1rem 1rem}td{padding:.15rem .8rem .15rem 0;vertical-align:top}
h2{margin-top:2rem;border-bottom:1px solid #ccc}p{margin:.4rem 0}small{color:#555}
@media(prefers-color-scheme:dark){body{background:#16181b;color:#ddd}small{color:#999}h2{border-color:#444}}
"""


@cache
def as_json() -> bytes:
    """The OpenAPI document as JSON."""
    return files("rune.api").joinpath("openapi.json").read_bytes()


@cache
def as_yaml() -> bytes:
    """The same as YAML."""
    text = yaml.safe_dump(msgspec.json.decode(as_json()), sort_keys=False, allow_unicode=True)
    return str(text).encode()


@cache
def as_html() -> bytes:
    """The same as a page: no script, nothing from anywhere else."""
    document = msgspec.json.decode(as_json())
    info = document["info"]
    head = (
        f"<!doctype html><meta charset=utf-8><title>{escape(info['title'])} API</title>"
        f"<meta name=viewport content='width=device-width'><style>{STYLE}</style>"
        f"<h1>{escape(info['title'])} API</h1><p>{escape(info['description'])}</p>"
        "<p>For programs: <a href=/openapi.yaml>openapi.yaml</a>, <a href=/openapi.json>openapi.json</a>.</p>"
    )
    return (head + "".join(_sections(document))).encode()


def _sections(document: dict[str, Any]) -> Iterator[str]:
    rows = [
        (verb.upper(), path, row) for path, verbs in document["paths"].items() for verb, row in verbs.items()
    ]
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'])}</h2><p>{escape(tag['description'])}</p>"
        yield from (_operation(verb, path, row) for verb, path, row in rows if tag["name"] in row["tags"])


def _operation(verb: str, path: str, row: dict[str, Any]) -> str:
    fields = "".join(
        f"<tr><td><code>{escape(item['name'])}</code><td><small>{item['in']}</small>"
        f"<td>{escape(item.get('description', ''))}"
        for item in row["parameters"]
    )
    said = escape(row["description"]).replace("\n\n", "<p>")
    return (
        f"<details><summary><b>{verb}</b> <code>{escape(path)}</code> {escape(row['summary'])}</summary>"
        f"<p><code>{row['operationId']}</code> {said}<table>{fields}</table></details>"
    )
