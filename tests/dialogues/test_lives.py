"""One entry of a table, one socket after the other: a thread that comes late with an old handle does no harm."""
from __future__ import annotations

import socket as real

import pytest

from netstack import drive, entry
from netstack.endpoint import enter_call, leave_call
from netstack.errors import EBADF
from netstack.machine import addressof, at, table
from netstack.tcp import tcb
from netstack.world import World

KINDS = [real.SOCK_STREAM, real.SOCK_DGRAM]


def open_socket(link, kind):
    return link.life.enter_context(link.stack.socket(real.AF_INET, kind))


def entry_of(link, kind):
    """The table, and the endpoint of its first entry."""
    if kind == real.SOCK_STREAM:
        return link.tcp.tcbs, tcb.get(link.tcp, 1).ep
    socks = link.world.datagrams.socks
    return socks, at(type(tcb.get(link.tcp, 1).ep), table.address(socks, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_late_thread_comes_while_the_entry_is_made_anew(link, kind):
    """It counts itself in before the entry is handed out again, and out after: the count is right, not -1."""
    open_socket(link, kind).close()
    table_of, ep = entry_of(link, kind)
    enter_call(ep)
    second = open_socket(link, kind)
    assert ep.users == 1
    leave_call(ep)
    assert ep.users == 0
    second.close()
    assert table_of.live == 0
    third = open_socket(link, kind)
    assert table_of.used == 1 and third._handle & 0xFFFF_FFFF == 1


@pytest.mark.parametrize("kind", KINDS)
def test_late_thread_is_inside_while_the_next_socket_closes(link, kind):
    """The entry cannot be freed then; the thread does it when it leaves, though its handle is another's."""
    first = open_socket(link, kind)
    old = first._handle
    first.close()
    table_of, ep = entry_of(link, kind)
    second = open_socket(link, kind)
    enter_call(ep)
    second.close()
    assert table_of.live == 1
    drive.leave(at(World, addressof(link.world)), old, ep)
    assert table_of.live == 0


def test_old_handle_is_refused(link):
    first = link.socket()
    old = first._handle
    first.close()
    second = link.socket()
    for result in (entry.send(link.stack._world, old, 0, 0, 0), entry.recv(link.stack._world, old, 0, 0, 0, 0)):
        assert result == -EBADF
    assert link.tcb(second).ep.users == 0


def test_a_note_outlives_its_socket(link):
    """`pending` says that a note stands in the ring: the next socket must not leave a second one."""
    first = link.socket()
    ep = link.tcb(first).ep
    ep.pending = 1
    first.close()
    second = link.socket()
    assert link.tcb(second).ep.pending == 1
    ep.pending = 0
