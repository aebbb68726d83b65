"""What can be checked without a server: what every server would refuse, and what is surely a slip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from rune.manifest.documents import Item
from rune.manifest.references import circles, doubled, strangers, waits_for_ever
from rune.manifest.refusals import errors_in
from rune.manifest.slips import slips_in, spilled
from rune.positions.spots import Problem


class Finding(msgspec.Struct, frozen=True):
    """A problem, and whether a server would refuse it (`error`) or it is probably not meant (`warning`)."""

    problem: Problem
    severity: Literal["error", "warning"] = "error"


def check(items: Sequence[Item]) -> list[Finding]:
    """Everything that is wrong with the resources, one by one and together, in the order of the files."""
    found = [Finding(item.problem(*said)) for item in items for said in errors_in(item)]
    found += [Finding(item.problem(*said), "warning") for item in items for said in slips_in(item)]
    found += [Finding(_blind(item.problem(*said)), "warning") for item in items for said in spilled(item)]
    found += [Finding(problem) for problem in (*doubled(items), *circles(items))]
    found += [Finding(problem, "warning") for problem in (*strangers(items), *waits_for_ever(items))]
    return sorted(found, key=lambda f: (f.problem.spot.file, f.problem.spot.line, f.problem.spot.column))


def _blind(problem: Problem) -> Problem:
    """Without the line it stands on, which holds what should not be read by others."""
    return msgspec.structs.replace(problem, excerpt="")
