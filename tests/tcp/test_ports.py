"""Who may have which port: the same two binds on Linux and here must end the same way (inet_csk_bind_conflict)."""
from __future__ import annotations

import itertools
import socket as real
from contextlib import ExitStack

import pytest

import netstack

ENDS = {"any4": ("", 4), "lo4": ("127.0.0.1", 4), "other4": ("127.0.0.2", 4), "any6": ("::", 6), "lo6": ("::1", 6),
        "only6": ("::", 60)}
REUSE = {"": (), "A": (real.SO_REUSEADDR,), "P": (real.SO_REUSEPORT,), "AP": (real.SO_REUSEADDR, real.SO_REUSEPORT)}


def opened(life, make, end, reuse):
    host, version = ENDS[end]
    sock = life.enter_context(make(real.AF_INET if version == 4 else real.AF_INET6, real.SOCK_STREAM))
    if version != 4:
        sock.setsockopt(real.IPPROTO_IPV6, real.IPV6_V6ONLY, int(version == 60))
    for option in REUSE[reuse]:
        sock.setsockopt(real.SOL_SOCKET, option, 1)
    return sock, host


def answer(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0


def two_binds(make, first, second, reuse, listening):
    """What the second one is told: bind, listen; and then the first: listen."""
    with ExitStack() as life:
        a, host = opened(life, make, first, reuse[0])
        a.bind((host, 0))
        port = a.getsockname()[1]
        if listening:
            a.listen()
        b, host = opened(life, make, second, reuse[1])
        results = [answer(b.bind, (host, port))]
        if results == [0]:
            results += [answer(b.listen), answer(a.listen)]
        return results


@pytest.fixture(scope="module")
def stack():
    with netstack.Stack(netstack.VirtualClock()) as made:
        yield made


@pytest.mark.parametrize("listening", [False, True], ids=["bound", "listening"])
@pytest.mark.parametrize("reuse", list(itertools.product(REUSE, REUSE)), ids=lambda r: f"{r[0] or 'no'}-{r[1] or 'no'}")
def test_two_binds_as_on_linux(stack, reuse, listening):
    different = []
    for first, second in itertools.product(ENDS, ENDS):
        here = two_binds(stack.socket, first, second, reuse, listening)
        # Another program on Linux may hold the port that one of them was given: then look again, with another port.
        there = [two_binds(real.socket, first, second, reuse, listening)]
        while here != there[-1] and len(there) < 4:
            there.append(two_binds(real.socket, first, second, reuse, listening))
        if here != there[-1]:
            different.append(f"{first}, {second}: {here}, Linux {there[-1]}")
    assert not different, "\n".join(different)


def test_ephemeral_ports_are_all_found(stack):
    """RFC 6056: the search visits every port of the range, in an order of its own."""
    stack.settings["net.ipv4.ip_local_port_range"] = 50_000, 50_031
    with ExitStack() as life:
        ports = []
        for _ in range(32):
            sock = life.enter_context(stack.socket())
            sock.bind(("", 0))
            ports.append(sock.getsockname()[1])
        assert sorted(ports) == list(range(50_000, 50_032))
        assert ports != sorted(ports)
        sock = life.enter_context(stack.socket())
        assert answer(sock.bind, ("", 0)) == 98
    stack.settings["net.ipv4.ip_local_port_range"] = 32768, 60999
