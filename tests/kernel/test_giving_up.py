"""How long Linux and we try when nobody answers any more: so many retransmissions, and no word at the end."""
from __future__ import annotations

import errno
import socket
from contextlib import ExitStack
from typing import Any

import pytest

import netstack
from netstack import tcpinfo
from netstack.drivers import Impaired, Tap
from netstack.lab import kernel

from ..waiting import until
from .conftest import LINUX, STACK, TAP

PORT = 7791
SETTINGS = {"net.ipv4.tcp_retries2": 2, "net.ipv4.tcp_orphan_retries": 1, "net.ipv4.tcp_early_retrans": 0}
PATIENCE = {"net.ipv4.tcp_retries2": 1.4, "net.ipv4.tcp_orphan_retries": 0.6}       # s; ip-sysctl


def retransmissions(rto: float, patience: float) -> int:
    """One at each timeout, until one comes so long after the first."""
    n, waited = 1, 2 * rto
    while waited < patience:
        n, waited = n + 1, waited + rto * 2 ** (n + 1)
    return n


def around(rto: float, patience: float) -> set[int]:
    """... for a timeout that is not known exactly: clocks have ticks."""
    return {retransmissions(rto * factor, patience) for factor in (0.95, 1, 1.05)}


def rto(sock: Any) -> float:
    return tcpinfo.unpack(sock.getsockopt(socket.IPPROTO_TCP, tcpinfo.TCP_INFO, 104))["rto"] / 1e6


@pytest.mark.parametrize("name", PATIENCE)
def test_as_long_as_the_other(netns: None, life: ExitStack, name: str) -> None:
    kernel.make_tap(TAP, f"{LINUX}/24")
    stack = life.enter_context(netstack.Stack(settings=SETTINGS))
    for setting, value in SETTINGS.items():
        kernel.set_sysctl(setting, value)
    line = Impaired(Tap(TAP), seed=3)
    stack.attach(line, ip=f"{STACK}/24", gateway=LINUX, dad=False)
    kernel.await_carrier(TAP)
    server = life.enter_context(stack.create_server((STACK, PORT)))
    pairs = []
    for _ in range(2):                                  # on each connection one end talks, and the other never knows
        theirs = life.enter_context(socket.create_connection((STACK, PORT), timeout=60))
        ours = life.enter_context(server.accept()[0])
        pairs.append((ours, theirs))
    talkers = pairs[0][0], pairs[1][1]
    for ours, theirs in pairs:
        ours.sendall(b"!")
        assert theirs.recv(1) == b"!"
        theirs.sendall(b"!")
        assert ours.recv(1) == b"!"
    expected = [around(rto(sock), PATIENCE[name]) for sock in talkers]
    before, stats = kernel.counters(), stack.stats()
    line.set(loss="100%")
    for sock in talkers:
        sock.sendall(b"nobody hears this")
        if name == "net.ipv4.tcp_orphan_retries":
            sock.close()
    if name == "net.ipv4.tcp_retries2":
        for sock in talkers:
            until(lambda s=sock: s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ETIMEDOUT)
    until(lambda: stack.stats()["tcp.aborts_on_timeout"] == 1)
    until(lambda: kernel.counters()["TcpExtTCPAbortOnTimeout"] > before["TcpExtTCPAbortOnTimeout"])
    after = kernel.counters()
    assert stack.stats()["tcp.retrans_segs"] - stats["tcp.retrans_segs"] in expected[0]
    assert after["TcpRetransSegs"] - before["TcpRetransSegs"] in expected[1]
    assert (stack.stats()["tcp.out_rsts"], after["TcpOutRsts"] - before["TcpOutRsts"]) == (0, 0)
