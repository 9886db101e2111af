"""The epolls of this process that watch a descriptor: to have them go on when there is another file behind it.

epoll(7) watches files, not numbers: after dup2 it forgets the number.  What it was told about it stands in
/proc/self/fdinfo (proc(5)), and can be told again.  Without /proc whoever watches has to register again.
"""
from __future__ import annotations

import ctypes
import os
import platform
import re
from collections.abc import Collection
from contextlib import suppress
from typing import NamedTuple

EPOLL_CTL_ADD, EPOLL_CTL_DEL = 1, 2
TARGET = re.compile(r"^tfd:\s*(\d+)\s+events:\s*([0-9a-f]+)\s+data:\s*([0-9a-f]+)", re.MULTILINE)


class _Event(ctypes.Structure):
    if platform.machine() == "x86_64":          # where it is as on 32-bit machines
        _pack_ = 1
    _fields_ = (("events", ctypes.c_uint32), ("data", ctypes.c_uint64))


class Registration(NamedTuple):
    """What an epoll was told of a descriptor."""

    epoll: int
    fd: int
    events: int
    data: int


def forget(fds: Collection[int]) -> list[Registration]:
    """Have every epoll forget these descriptors: what they were told, for `restore`."""
    found = []
    with suppress(OSError):
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError):             # it was closed meanwhile
                if os.readlink(f"/proc/self/fd/{name}") != "anon_inode:[eventpoll]":
                    continue
                with open(f"/proc/self/fdinfo/{name}") as file:
                    targets = TARGET.findall(file.read())
                for fd, events, data in targets:
                    told = Registration(int(name), int(fd), int(events, 16), int(data, 16))
                    if told.fd in fds and _control(told, EPOLL_CTL_DEL):
                        found.append(told)
    return found


def restore(found: list[Registration]) -> None:
    """Tell them again, of the files that are behind the descriptors now.  What is ready is news."""
    for told in found:
        _control(told, EPOLL_CTL_ADD)


def _control(told: Registration, what: int) -> bool:
    """epoll_ctl(2): whether it did so."""
    event = _Event(told.events, told.data)
    return bool(_libc.epoll_ctl(told.epoll, what, told.fd, ctypes.byref(event)) == 0)


_libc = ctypes.CDLL(None)
