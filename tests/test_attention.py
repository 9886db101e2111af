"""Address conflicts are logged, once each (RFC 5227)."""
from __future__ import annotations

import logging

import pytest

from netstack import Stack, VirtualClock
from netstack.drivers import Wire

PEER = bytes.fromhex("020000000099")


def arp(sender: bytes, address: bytes, target: bytes) -> bytes:
    """An ARP request as Ethernet frame, sender's address as given."""
    return (b"\xff" * 6 + sender + bytes.fromhex("0806 0001 0800 06 04 0001")
            + sender + address + bytes(6) + target)


def test_conflict_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    clock, wire = VirtualClock(), Wire(name="w0")
    ours = bytes([192, 0, 2, 1])
    with Stack(clock=clock) as stack, caplog.at_level(logging.WARNING, logger="netstack"):
        stack.attach(wire, ip="192.0.2.1/24")
        stack.advance(5)
        assert not caplog.records
        wire.inject(arp(PEER, ours, ours))
        stack.advance(0.1)
        stack.advance(5)
        assert [r.getMessage() for r in caplog.records] == [
            "w0: address conflict: 192.0.2.1 is also used by 02:00:00:00:00:99 (RFC 5227, RFC 4862), 1 times so far"]
        assert stack.drops()["ARP_CONFLICT"] == 1
