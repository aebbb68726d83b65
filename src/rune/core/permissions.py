"""`python -m rune.core.permissions` writes `api/permissions.txt`: which role may do what.

People review it. With `--check` it only compares.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

from rune.api import OPERATIONS, Access, Operation
from rune.core.access import Principal, rule
from rune.core.apikeys import KEY
from rune.core.roles import BUILT_IN

PAGE: Final = Path(__file__).resolve().parents[3] / "api/permissions.txt"
HEAD: Final = """\
# Who may do what, from the table of operations and the built-in roles: `python -m rune.core.permissions`.
# public: no credential. known: any valid one. local: from this machine, unless auth.allow_remote_admin.
"""


def main() -> int:
    """Write the page, or with `--check` say whether it is stale; exit code 1 when it is."""
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text():
        return 0
    if "--check" in sys.argv[1:]:
        print(f"{PAGE.name} is stale: run `python -m rune.core.permissions` and commit it")  # noqa: T201 - a command
        return 1
    PAGE.write_text(text(), encoding="utf-8")
    print(f"wrote {PAGE.name}")  # noqa: T201 - a command
    return 0


def text() -> str:
    """The page: a line for each operation, a column for each role."""
    roles = [principal.name for principal in principals()]
    rows = [["operation", "permission", "access", "local", *roles]]
    for row in OPERATIONS:
        columns = ["yes" if may(principal, row) else "-" for principal in principals()]
        rows.append(
            [row.name, row.permission, row.access.value, "local" if row.local_only else "-", *columns]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return HEAD + "\n".join(lines) + "\n"


def principals() -> list[Principal]:
    """Somebody for each built-in role."""
    return [
        Principal(
            id=grant.name,
            name=grant.name,
            grants=(grant.name,),
            rules=tuple(rule(item.resource, item.verbs, item.namespace) for item in grant.rules),
        )
        for grant in BUILT_IN
    ]


def may(principal: Principal, operation: Operation[Any, Any]) -> bool:
    """The principal may do it, in some namespace."""
    if principal.kind == KEY and not operation.is_security:
        return False
    return operation.access is not Access.GRANTED or principal.may_somewhere(
        operation.resource, operation.verb
    )


if __name__ == "__main__":
    sys.exit(main())
