"""Puts texts where they are met: in mails, tool results, pages, code, chats; and dresses them as people do.

The same carriers hold attacks and harmless texts, so that no carrier tells one from the other.
"""

from __future__ import annotations

import html
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import spin

Carrier = Callable[["Composer", str], str]

LOOKALIKES = str.maketrans("aeocpix", "аеосрі×")
INVISIBLE = ("\u200b", "\u200c", "\u00ad", "\u2060")


class Composer:
    """Draws carriers and dress; `prose` gives a harmless sentence or two, fresh each time."""

    def __init__(self, rng: random.Random, prose: Callable[[], str], folder: Path) -> None:
        self.rng = rng
        self.prose = prose
        parts = spin.read((folder / "carriers.txt").read_text(encoding="utf-8"))
        self._lists = parts["list"]
        self._quoting = parts["benign"]["quoting"]

    def draw(self, name: str) -> str:
        """One text of a list of carriers.txt."""
        return spin.spin(f"<{name}>", self._lists, self.rng)

    def carried(self, text: str) -> str:
        """The text inside a carrier, drawn at random."""
        return self.rng.choice(CARRIERS)(self, text)

    def quoted(self, text: str) -> str:
        """Talk that quotes the text and asks nothing of its kind."""
        frame = spin.spin(self.rng.choice(self._quoting), self._lists, self.rng)
        return frame.replace("@@", text)

    def dressed(self, text: str) -> str:
        """The text as somebody else would type it: capitals, typos, gaps, lookalikes; mostly as it is."""
        for chance, dress in DRESSES:
            if self.rng.random() < chance:
                text = dress(self.rng, text)
        return text

    def paragraphs(self, most: int) -> list[str]:
        """One to `most` harmless paragraphs."""
        return [self.prose() for _ in range(self.rng.randint(1, most))]


def _among(composer: Composer, text: str) -> str:
    parts = composer.paragraphs(8)
    parts.insert(composer.rng.randint(0, len(parts)), text)
    return composer.rng.choice([" ", "\n", "\n\n"]).join(parts)


def _mail(composer: Composer, text: str) -> str:
    head = (
        f"From: {composer.draw('mail')}\nTo: {composer.draw('mail')}\nSubject: {composer.draw('subject')}\n\n"
    )
    body = f"{composer.draw('greeting')}\n\n{_among(composer, text)}\n\n{composer.draw('closing')}"
    return head + body if composer.rng.random() < 0.6 else body


def _json(composer: Composer, text: str) -> str:
    row = {
        "id": composer.draw("number"),
        composer.rng.choice(["title", "name", "subject"]): composer.draw("subject"),
        composer.rng.choice(["snippet", "content", "body", "description", "text"]): _near(composer, text),
    }
    other = {"id": composer.draw("number"), "title": composer.draw("subject"), "content": composer.prose()}
    rows = [row, other] if composer.rng.random() < 0.5 else [other, row]
    answer: object = composer.rng.choice([row, {"results": rows}, {"status": "ok", "data": rows}])
    return json.dumps(answer, ensure_ascii=False, indent=composer.rng.choice([None, None, 2]))


def _near(composer: Composer, text: str) -> str:
    match composer.rng.randrange(4):
        case 0:
            return f"{composer.prose()} {text}"
        case 1:
            return f"{text} {composer.prose()}"
        case 2:
            return f"{composer.prose()} {text} {composer.prose()}"
        case _:
            return text


def _html(composer: Composer, text: str) -> str:
    inner = html.escape(text, quote=False) if composer.rng.random() < 0.5 else text
    holder = composer.rng.choice(
        [
            f"<p>{inner}</p>",
            f"<!-- {inner} -->",
            f'<div style="display:none">{inner}</div>',
            f'<img src="a.png" alt="{inner}">',
            f"<li>{inner}</li>",
            f'<span style="color:white;font-size:1px">{inner}</span>',
        ]
    )
    page = [f"<p>{part}</p>" for part in composer.paragraphs(3)]
    page.insert(composer.rng.randint(0, len(page)), holder)
    title = composer.draw("subject")
    return (
        f"<html><head><title>{title}</title></head><body><h1>{title}</h1>\n"
        + "\n".join(page)
        + "\n</body></html>"
    )


def _markdown(composer: Composer, text: str) -> str:
    bullets = "\n".join(f"- {part}" for part in composer.paragraphs(4))
    shown = composer.rng.choice(
        [text, f"- {text}", f"> {text}", f"**{text}**", f"| {composer.draw('name')} | {text} |"]
    )
    parts = [f"# {composer.draw('subject')}", composer.prose(), bullets]
    parts.insert(composer.rng.randint(1, 3), shown)
    return "\n\n".join(parts)


def _code(composer: Composer, text: str) -> str:
    mark = composer.rng.choice(["# ", "// ", "-- ", " * "])
    comment = "\n".join(mark + line for line in text.split("\n"))
    body = composer.rng.choice(
        [
            "def total(rows):\n    return sum(row.price for row in rows)",
            "function total(rows) {\n  return rows.reduce((a, r) => a + r.price, 0);\n}",
            "for name in names:\n    print(name.strip())",
            "SELECT name, price FROM items WHERE price > 10;",
            "import os\n\npath = os.path.join(root, 'data')",
        ]
    )
    parts = [comment, body]
    if composer.rng.random() < 0.5:
        parts.reverse()
    return "\n".join(parts)


def _chat(composer: Composer, text: str) -> str:
    one, two = composer.rng.choice(
        [("User", "Assistant"), ("Human", "AI"), ("Customer", "Agent"), ("A", "B")]
    )
    lines = [f"{one}: {composer.prose()}", f"{two}: {composer.prose()}", f"{one}: {text}"]
    if composer.rng.random() < 0.4:
        lines = lines[-1:]
    return "\n".join(lines) + composer.rng.choice(["", f"\n{two}:"])


def _table(composer: Composer, text: str) -> str:
    rows = [
        f"{composer.draw('date')};{composer.draw('name')};{part}" for part in (*composer.paragraphs(4), text)
    ]
    composer.rng.shuffle(rows)
    return "date;name;note\n" + "\n".join(row.replace("\n", " ") for row in rows)


def _file(composer: Composer, text: str) -> str:
    kind = composer.rng.choice(["File", "Document", "Source"])
    return f"{kind}: {composer.draw('filename')}\n---\n{_among(composer, text)}"


def _task(composer: Composer, text: str) -> str:
    ask = composer.rng.choice(
        [
            "Summarize this",
            "Translate the text below",
            "Answer from the document",
            "Resume este texto",
            "Fasse zusammen",
        ]
    )
    fence = composer.rng.choice(['"""', "```", "---", "<document>"])
    return f"{ask}:\n{fence}\n{_near(composer, text)}\n{fence.replace('<', '</')}"


CARRIERS: Sequence[Carrier] = (
    _among, _among, _among, _mail, _mail, _json, _json, _html, _markdown, _code, _chat, _table, _file, _task,
)  # fmt: skip


def _capitals(rng: random.Random, text: str) -> str:
    return text.upper() if rng.random() < 0.4 else text.lower()


def _typos(rng: random.Random, text: str) -> str:
    letters = list(text)
    for _ in range(-(-len(letters) // 40)):
        at = rng.randrange(len(letters))
        if not letters[at].isalpha():
            continue
        letters[at] = rng.choice(["", letters[at] * 2, rng.choice("etaoinsr"), letters[at]])
    return "".join(letters)


def _unpunctuated(_rng: random.Random, text: str) -> str:
    return "".join(char for char in text if char not in ".,;:!?'\"")


def _gaps(rng: random.Random, text: str) -> str:
    return text.replace(" ", rng.choice(["  ", "\n", " \t", "_", "-"]))


def _unicode(rng: random.Random, text: str) -> str:
    if rng.random() < 0.5:
        return "".join(c.translate(LOOKALIKES) if rng.random() < 0.3 else c for c in text)
    return "".join(c + rng.choice(INVISIBLE) if c.isalpha() and rng.random() < 0.2 else c for c in text)


DRESSES: Sequence[tuple[float, Callable[[random.Random, str], str]]] = (
    (0.12, _capitals),
    (0.10, _typos),
    (0.06, _unpunctuated),
    (0.03, _gaps),
    (0.02, _unicode),
)
