"""A stack on a wire, and a DHCP server at the wire's other end, on a virtual clock or in real time."""
from __future__ import annotations

from types import SimpleNamespace

import pytest

import netstack
from netstack.drivers import Wire

from .server import Server


@pytest.fixture
def make(life, clock):
    """make(**keywords of Stack): stack, wire, server, clock; the server is on the clock."""
    def made(**keywords):
        wire = Wire()
        stack = life.enter_context(netstack.Stack(clock, **keywords))
        server = Server(wire)
        server.clock = clock
        clock.attend(server)
        return SimpleNamespace(stack=stack, wire=wire, server=server, clock=clock)
    return made


@pytest.fixture
def net(make):
    """... of an ordinary stack."""
    return make()


@pytest.fixture
def real(life):
    """The same in real time: the server is a thread."""
    wire = Wire()
    stack = life.enter_context(netstack.Stack())
    server = Server(wire).serve()
    life.callback(server.close)
    return SimpleNamespace(stack=stack, wire=wire, server=server)
