"""Users and groups of this machine, by name or number, for workloads that must not run as runed's own."""

from __future__ import annotations

import grp
import os
import pwd
from typing import NamedTuple

from rune.errors import FailedPrecondition


class Account(NamedTuple):
    """Who a workload runs as; -1 means as runed."""

    uid: int = -1
    gid: int = -1
    groups: tuple[int, ...] = ()


def resolve(user: str, group: str) -> Account:
    """The account with its further groups; raises FailedPrecondition for one that is not there or that
    runed, not being root, could not become.
    """
    if not user and not group:
        return Account()
    uid, gid, name = _user(user) if user else (os.geteuid(), os.getegid(), "")
    if group:
        gid = _group(group)
    if os.geteuid() != 0:
        if (uid, gid) == (os.geteuid(), os.getegid()):
            return Account()
        message = f"user {user!r}, group {group!r}: runed runs as uid {os.geteuid()}; only root may switch"
        raise FailedPrecondition(message)
    groups = os.getgrouplist(name, gid) if name else [gid]
    return Account(uid, gid, tuple(groups))


def _user(user: str) -> tuple[int, int, str]:
    try:
        entry = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except KeyError as error:
        if user.isdecimal():
            return int(user), int(user), ""
        message = f"user {user!r} does not exist on this machine"
        raise FailedPrecondition(message) from error
    return entry.pw_uid, entry.pw_gid, entry.pw_name


def _group(group: str) -> int:
    if group.isdecimal():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError as error:
        message = f"group {group!r} does not exist on this machine"
        raise FailedPrecondition(message) from error
