"""Every combination of TCP's options with Linux: who asks, who does without, on a clean link and on a bad one.

The kernel's own counters tell whether it saw anything that should not be.
"""
from __future__ import annotations

import hashlib
import itertools
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from netstack.config import SETTINGS
from netstack.lab import kernel

from .conftest import retransmit_for_loss_only

PORT = 7790
SIZE = 200_000                  # bytes each way
DATA = hashlib.shake_256(b"combinations").digest(SIZE)
TCP_INFO, OPTIONS = 11, 5       # tcp_info's tcpi_options is its byte 5 (linux/tcp.h)
TCP_FASTOPEN, TCP_FASTOPEN_CONNECT = 23, 30
FAST = "net.ipv4.tcp_fastopen"

# A setting, its value when off and on (the same name and meaning on both sides), and the bit of tcpi_options that
# says that the connection has it.
DIMENSIONS = {
    "net.ipv4.tcp_sack": (0, 1, 0x02),
    "net.ipv4.tcp_timestamps": (0, 1, 0x01),
    "net.ipv4.tcp_window_scaling": (0, 1, 0x04),
    "net.ipv4.tcp_ecn": (0, 1, 0x08),
    FAST: (0, 3, 0x20),         # data in the SYN has been acknowledged
}
HERE = {name: values for name, values in DIMENSIONS.items() if name in SETTINGS}
COMBINATIONS = list(itertools.product((1, 0), repeat=len(HERE)))

# What the kernel must not have counted on a clean link.
UNEXPECTED = frozenset("""
    TcpRetransSegs TcpEstabResets TcpAttemptFails TcpOutRsts TcpInErrs TcpInCsumErrors IpInHdrErrors
    TcpExtPAWSActive TcpExtPAWSEstab TcpExtTCPTimeouts TcpExtTCPLossProbes TcpExtTCPSpuriousRTOs TcpExtTCPFastRetrans
    TcpExtTCPSlowStartRetrans TcpExtTCPLostRetransmit TcpExtTCPRetransFail TcpExtTCPSynRetrans
    TcpExtTCPSACKReneging TcpExtTCPSACKReorder TcpExtTCPSACKDiscard TcpExtTCPTSReorder TcpExtTCPRenoReorder
    TcpExtTCPDSACKRecv TcpExtTCPDSACKOfoRecv TcpExtTCPDSACKOldSent TcpExtTCPDSACKOfoSent
    TcpExtTCPOFOQueue TcpExtTCPOFODrop TcpExtTCPOFOMerge TcpExtTCPChallengeACK TcpExtTCPSYNChallenge
    TcpExtTCPACKSkippedSynRecv TcpExtTCPACKSkippedPAWS TcpExtTCPACKSkippedSeq TcpExtTCPACKSkippedChallenge
    TcpExtTCPAbortOnData TcpExtTCPAbortOnClose TcpExtTCPAbortOnTimeout TcpExtTCPAbortFailed
    TcpExtListenDrops TcpExtListenOverflows TcpExtTCPReqQFullDrop TcpExtTCPBacklogDrop TcpExtTCPRcvQDrop
    TcpExtTCPZeroWindowDrop TcpExtTCPFastOpenBlackhole TcpExtTCPFastOpenActiveFail TcpExtTCPFastOpenPassiveFail
""".split())         # noqa: SIM905 - a table
# ... and not on a bad one, either.  (But PAWSEstab: a retransmission that overtakes leaves older timestamps behind it.)
ALWAYS = ("TcpInErrs", "TcpInCsumErrors", "TcpExtPAWSActive", "TcpExtTCPSACKReneging", "TcpExtTCPAbortFailed",
          "TcpEstabResets")


def named(combination: tuple[int, ...]) -> str:
    """What is on."""
    return "+".join(name.rpartition("_")[2] for name, on in zip(HERE, combination, strict=True) if on) or "nothing"


@pytest.mark.parametrize("name", sorted(set(DIMENSIONS) - set(HERE)))
def test_not_there_yet(name: str) -> None:
    pytest.skip(f"the stack has no {name}")


def test_the_kernel_counts_what_we_look_at(netns: None) -> None:
    """Else a counter of another name would never be seen."""
    known = kernel.counters()
    assert {name for name in (*UNEXPECTED, *ALWAYS) if name not in known} == set()


@pytest.fixture
def quiet(netns: None) -> None:
    """The kernel retransmits for loss only, and remembers nothing of one connection for the next."""
    retransmit_for_loss_only()
    kernel.set_sysctl("net.ipv4.tcp_no_metrics_save", 1)


def _without(side: str, combination: tuple[int, ...], stack: Any) -> None:
    """Turn options off on one side, everything on on the other."""
    for (name, (off, on, _)), wanted in zip(HERE.items(), combination, strict=True):
        kernel.set_sysctl(name, on if wanted or side == "stack" else off)
        stack.settings[name] = on if wanted or side == "linux" else off


@pytest.fixture
def joined(life: Any) -> Any:
    """joined(net, "client"): the stack's socket and Linux's, the stack in that role."""
    def make(net: Any, role: str) -> tuple[Any, Any]:
        linux = socket, net.linux, _is_fast(kernel.sysctl)
        stack = net.stack, net.ip, _is_fast(net.stack.settings.get)
        (client_net, _, asks), (server_net, host, allows) = (stack, linux) if role == "client" else (linux, stack)
        server = life.enter_context(server_net.create_server((host, PORT)))
        server.settimeout(60)
        if allows:
            server.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 16)
        for _ in range(2 if asks else 1):           # the first connection gets the cookie, the second has it
            client = life.enter_context(client_net.socket(socket.AF_INET, socket.SOCK_STREAM))
            client.settimeout(60)
            if asks:
                client.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
            client.connect((host, PORT))
            if asks:
                client.sendall(b"!")                # now the SYN goes
            accepted = life.enter_context(server.accept()[0])
            assert not asks or accepted.recv(1) == b"!"
        for sock in (client, accepted):
            sock.settimeout(60)
        return (client, accepted) if role == "client" else (accepted, client)
    return make


def _is_fast(setting: Any) -> bool:
    """Whether a side is to use Fast Open: it asks the other, too, if the other does not."""
    return FAST in HERE and int(setting(FAST)) != 0


def _receive(sock: Any) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def _send(sock: Any) -> None:
    sock.sendall(DATA)
    sock.shutdown(socket.SHUT_WR)


def _there_and_back(spawn: Any, ours: Any, theirs: Any) -> None:
    """SIZE bytes one way, then the other; each side closes when it has sent."""
    for sender, receiver in ((theirs, ours), (ours, theirs)):
        task = spawn(_receive, receiver)
        _send(sender)
        assert task.result(60) == DATA


def _grown(before: dict[str, int]) -> dict[str, int]:
    now = kernel.counters()
    return {name: now[name] - before.get(name, 0) for name in now if now[name] != before.get(name, 0)}


def _agreed(theirs: socket.socket) -> tuple[int, ...]:
    """Which of the options the kernel says the connection has."""
    bits = theirs.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 104)[OPTIONS]
    return tuple(int(bool(bits & bit)) for _, _, bit in HERE.values())


CASES = [(c, side) for c in COMBINATIONS for side in ("stack", "linux") if side == "stack" or not all(c)]


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize(("combination", "side"), CASES, ids=[f"{named(c)}-on-{side}" for c, side in CASES])
def test_clean(quiet: None, net: Any, joined: Any, spawn: Any, combination: tuple[int, ...], side: str,
               role: str) -> None:
    _without(side, combination, net.stack)
    net.stack.settings["net.ipv4.tcp_early_retrans"] = 0        # nor shall we probe while Linux is slow
    before = kernel.counters()
    ours, theirs = joined(net, role)
    agreed = _agreed(theirs)
    _there_and_back(spawn, ours, theirs)
    grown = _grown(before)
    assert agreed == combination
    assert {name: n for name, n in grown.items() if name in UNEXPECTED} == {}
    assert net.stack.stats()["tcp.retrans_segs"] == 0
    assert grown["TcpInSegs"] > SIZE // 65536           # with offloads the kernel counts what we hand it at once as one


@pytest.fixture
def bad_line(life: Any) -> Iterator[Any]:
    """bad_line(**settings): what `net` is, but its TAP can be impaired: `.line`."""
    def make() -> Any:
        import netstack
        from netstack.drivers import Impaired, Tap

        from .conftest import LINUX, STACK, TAP, Net

        kernel.make_tap(TAP, f"{LINUX}/24")
        stack = life.enter_context(netstack.Stack())
        line = Impaired(Tap(TAP), seed=3)
        stack.attach(line, ip=f"{STACK}/24", gateway=LINUX, dad=False)
        kernel.await_carrier(TAP)
        made = Net(stack)
        made.line = line            # type: ignore[attr-defined]
        return made
    return make


@pytest.mark.parametrize(("settings", "seen"), [
    ({"inbound": {"drop": [40]}}, {"TcpRetransSegs", "TcpExtTCPFastRetrans"}),
    ({"outbound": {"drop": [150]}}, {"TcpExtTCPOFOQueue"}),                     # before it there are ACKs
    ({"outbound": {"script": {150: "duplicate"}}}, {"TcpExtTCPDSACKOldSent"}),
])
def test_it_would_be_seen(quiet: None, bad_line: Any, joined: Any, spawn: Any, settings: Any, seen: set[str]) -> None:
    """What `test_clean` looks at does show a fault."""
    net = bad_line()
    before = kernel.counters()
    for direction, setting in settings.items():
        net.line.set(direction, **setting)
    _there_and_back(spawn, *joined(net, "client"))
    assert seen <= {name for name in _grown(before) if name in UNEXPECTED}


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("combination", COMBINATIONS, ids=map(named, COMBINATIONS))
def test_with_loss(netns: None, bad_line: Any, joined: Any, spawn: Any, combination: tuple[int, ...],
                   role: str) -> None:
    net = bad_line()
    _without("stack", combination, net.stack)
    ours, theirs = joined(net, role)
    assert _agreed(theirs) == combination
    before = kernel.counters()
    # The handshake was spared: it waits seconds.  Chance may spare all the text, but not every 20th frame of it.
    net.line.set(loss="3%", reorder="1%", duplicate="1%", delay="1ms", drop=tuple(range(20, 400, 20)))
    _there_and_back(spawn, ours, theirs)
    grown = _grown(before)
    assert {name: n for name, n in grown.items() if name in ALWAYS} == {}
    # Linux discards a D-SACK for what the network doubled, and it has not retransmitted; no other block.
    assert grown.get("TcpExtTCPSACKDiscard", 0) <= grown.get("TcpExtTCPDSACKIgnoredDubious", 0)
    assert net.stack.stats()["tcp.retrans_segs"] > 0
    assert grown["TcpRetransSegs"] > 0
    assert net.line.counters("inbound")["lost"] > 0 and net.line.counters("outbound")["lost"] > 0
