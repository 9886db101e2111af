"""ECN and AccECN with Linux, over a line that marks packets."""
from __future__ import annotations

import hashlib
import socket
from typing import Any

import pytest

from netstack.lab import kernel
from netstack.tcp import tcb
from netstack.tcp.ecn import Mode

SIZE = 3_000_000
DATA = hashlib.shake_256(b"ecn").digest(SIZE)
PORT = 7777
ECN = "net.ipv4.tcp_ecn"


@pytest.fixture
def line(netns: None, life: Any) -> Any:
    """(stack, the Impaired TAP)."""
    import netstack
    from netstack.drivers import Impaired, Tap

    from .conftest import LINUX, STACK, TAP, retransmit_for_loss_only

    kernel.make_tap(TAP, f"{LINUX}/24")
    retransmit_for_loss_only()
    stack = life.enter_context(netstack.Stack())
    line = Impaired(Tap(TAP), seed=5)
    stack.attach(line, ip=f"{STACK}/24", gateway=LINUX, dad=False)
    kernel.await_carrier(TAP)
    return stack, line


def _join(life: Any, stack: Any, role: str) -> tuple[Any, Any]:
    """The stack's socket and Linux's, the stack in that role."""
    from .conftest import LINUX, STACK
    here, there = (stack, socket) if role == "client" else (socket, stack)
    host = LINUX if role == "client" else STACK
    server = life.enter_context(there.create_server((host, PORT)))
    client = life.enter_context(here.create_connection((host, PORT), timeout=60))
    accepted = life.enter_context(server.accept()[0])
    accepted.settimeout(60)
    return (client, accepted) if role == "client" else (accepted, client)


def _receive(sock: Any) -> bytes:
    got = bytearray()
    while len(got) < SIZE:
        got += sock.recv(65536)
    return bytes(got)


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize(("ours_is", "theirs_is", "mode"), [
    (1, 1, Mode.CLASSIC), (2, 1, Mode.CLASSIC), (1, 2, Mode.CLASSIC), (0, 1, Mode.OFF), (1, 0, Mode.OFF),
    (3, 3, Mode.ACCURATE), (3, 1, Mode.CLASSIC), (1, 3, Mode.CLASSIC), (3, 0, Mode.OFF), (0, 3, Mode.OFF),
    (5, 3, Mode.ACCURATE), (3, 5, Mode.ACCURATE),
])
def test_marks_are_told_and_obeyed(line: Any, life: Any, spawn: Any, role: str, ours_is: int, theirs_is: int,
                                   mode: Mode) -> None:
    """Both ways; nothing is lost, so whatever slows down is the marks'."""
    stack, wire = line
    try:
        kernel.set_sysctl(ECN, theirs_is)
    except OSError:
        pytest.skip(f"this kernel has no tcp_ecn={theirs_is}")
    stack.settings[ECN] = ours_is
    asks = ours_is if role == "client" else theirs_is
    if asks in (2, 5):
        mode = Mode.OFF                                     # it accepts only
    ours, theirs = _join(life, stack, role)
    t = tcb.get(stack._record.tcp, ours._handle & 0xFFFF_FFFF)
    assert t.ecn.mode == mode
    wire.set("both", mark=0.01)
    before = kernel.counters()
    for sender, receiver in ((ours, theirs), (theirs, ours)):
        task = spawn(_receive, receiver)
        sender.sendall(DATA)
        assert task.result(100) == DATA
    grown = {n: kernel.counters()[n] - before.get(n, 0) for n in ("IpExtInCEPkts", "IpExtInECT0Pkts", "TcpRetransSegs")}
    marked = {way: wire.counters(way)["marked"] for way in ("inbound", "outbound")}
    assert grown["TcpRetransSegs"] == 0
    if mode == Mode.OFF:
        assert marked == {"inbound": 0, "outbound": 0}
        return
    assert marked["inbound"] > 0 and marked["outbound"] > 0
    assert grown["IpExtInCEPkts"] == marked["outbound"]
    assert t.ecn.received_ce == marked["inbound"]
    assert t.cc.ssthresh < 1 << 30                          # it has reduced
    if mode == Mode.ACCURATE:
        assert t.ecn.delivered_ce == marked["outbound"]
        assert tcb.rare(t).accecn.delivered_ce > 0
        assert tcb.rare(t).accecn.no_ect == 0
