"""What a new process gives up before it becomes the workload: capabilities, new privileges, system calls."""

from __future__ import annotations

import ctypes
import os

SET_DUMPABLE, SET_KEEPCAPS, CAPBSET_READ, CAPBSET_DROP, SET_NO_NEW_PRIVS, SET_SECCOMP, CAP_AMBIENT = (
    4,
    8,
    23,
    24,
    38,
    22,
    47,
)
FILTER = 2
AMBIENT_RAISE, AMBIENT_CLEAR_ALL = 2, 4
VERSION_3 = 0x20080522
WORD = 32

_libc = ctypes.PyDLL(None, use_errno=True)
_control = _libc.prctl
"""Found here and now: whatever ctypes makes in a new process is made for each one."""
_ONE, _ZERO = ctypes.c_ulong(1), ctypes.c_ulong(0)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Set(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable"))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def no_new() -> None:
    """From now on nothing that is executed gains rights, whatever its file says."""
    _check(_control(SET_NO_NEW_PRIVS, _ONE, _ZERO, _ZERO, _ZERO))


def unreadable() -> None:
    """Until it executes something no other process may look into this one, whoever it runs as."""
    _prctl(SET_DUMPABLE, 0)


def bound(kept: int) -> None:
    """Nothing this process executes may ever have more than these capabilities, a bit each."""
    number = 0
    while _control(CAPBSET_READ, number, 0, 0, 0) >= 0:
        if not kept >> number & 1:
            _prctl(CAPBSET_DROP, number)
        number += 1
    _prctl(SET_KEEPCAPS, 1)


def keep(kept: int) -> None:
    """Have these capabilities and no others, also as a user who is not root; after `bound`."""
    _prctl(CAP_AMBIENT, AMBIENT_CLEAR_ALL)
    words = [kept & 0xFFFFFFFF, kept >> WORD]
    sets = (_Set * 2)(*(_Set(word, word, word) for word in words))
    _check(_libc.capset(ctypes.byref(_Header(VERSION_3, 0)), ctypes.byref(sets)))
    for number in range(kept.bit_length()):
        if kept >> number & 1:
            _prctl(CAP_AMBIENT, AMBIENT_RAISE, number)


def confine(program: bytes) -> None:
    """Make only those system calls from now on that the filter allows; after `no_new`."""
    buffer = ctypes.create_string_buffer(program, len(program))
    filter_ = _Program(len(program) // 8, ctypes.addressof(buffer))
    _check(_control(SET_SECCOMP, FILTER, ctypes.byref(filter_), 0, 0))


def setns(fd: int, kinds: int) -> None:
    """Enter namespaces of the process behind a pidfd."""
    _check(_libc.setns(fd, kinds))


def _prctl(option: int, *values: int) -> None:
    given = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0)[:4]]
    _check(_control(option, *given))


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
