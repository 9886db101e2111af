"""An address from dnsmasq, over Linux; the test is passed over where dnsmasq is not installed."""
from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import netstack
import netstack.socket as ns
from netstack.drivers import Raw, Tap
from netstack.lab import kernel

from ..waiting import until
from .conftest import FAR, LINUX, TAP, _refuse

pytestmark = pytest.mark.timeout(300)


class Dnsmasq:
    """dnsmasq in this namespace; `log()` is what it has said."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, first: str, last: str, *more: str) -> None:
        """With these addresses to give."""
        self.stop()
        before = self.log().count("started")
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen([
                "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--no-ping",
                "--user=root", "--group=root", "--pid-file", f"--interface={TAP}", "--bind-interfaces",
                "--except-interface=lo", f"--dhcp-range={first},{last},255.255.255.0,2m", "--dhcp-authoritative",
                f"--dhcp-leasefile={self._folder / 'leases'}", "--log-dhcp", "--log-facility=-", "--domain=lab.test",
                "--address=/www.lab.test/192.0.2.7", *more], stdout=log, stderr=log)
        process = self._process
        until(lambda: process.poll() is not None or self.log().count("started") > before, "dnsmasq")
        assert process.poll() is None, self.log()

    def log(self) -> str:
        """All of it."""
        path = self._folder / "log"
        return path.read_text() if path.exists() else ""

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None


@pytest.fixture
def dnsmasq(netns: None, tmp_path: Path) -> Iterator[Dnsmasq]:
    if shutil.which("dnsmasq") is None:
        _refuse("dnsmasq is not installed (Debian: dnsmasq-base)")
    server = Dnsmasq(tmp_path)
    yield server
    server.stop()


@pytest.fixture(params=["tap", "plain tap", "raw"])
def attached(request: pytest.FixtureRequest, dnsmasq: Dnsmasq, life: Any) -> Callable[[], Any]:
    """attached(): a new stack's interface, which asks for an address."""
    if request.param == "raw":
        kernel.make_veth(TAP, FAR, f"{LINUX}/24")
    else:
        kernel.make_tap(TAP, f"{LINUX}/24")

    def make() -> Any:
        stack = life.enter_context(netstack.Stack())
        driver = Raw(FAR) if request.param == "raw" else Tap(TAP, offload=request.param == "tap")
        interface = stack.attach(driver, ip="dhcp", dad=False)
        kernel.await_carrier(TAP)
        return interface
    return make


def test_an_address_a_way_and_a_name(attached: Any, dnsmasq: Dnsmasq) -> None:
    dnsmasq.start("10.0.0.50", "10.0.0.50", "--dhcp-option=121,172.16.0.0/12,10.0.0.9,0.0.0.0/0,10.0.0.1",
                  "--dhcp-option=119,a.test,lab.test", "--dhcp-option=26,1400", "--dhcp-option=42,10.0.0.3")
    interface = attached()
    lease = interface.dhcp(60)
    assert (lease.ip, lease.server, lease.router, lease.domain) == ("10.0.0.50/24", LINUX, LINUX, "lab.test")
    assert (lease.search, lease.mtu, lease.time_servers, lease.name_servers) == (
        ("a.test", "lab.test"), 1400, ("10.0.0.3",), (LINUX,))
    assert (lease.lease_time, lease.renewal_time, lease.rebinding_time) == (120, 60, 105)
    assert ("172.16.0.0/12", "10.0.0.9") in lease.routes
    assert interface.mtu == 1400
    with netstack.using(interface.stack):
        assert ns.gethostbyname("www") == "192.0.2.7"           # asked of dnsmasq, with the search list
    with socket.create_server((LINUX, 0)) as server:
        server.settimeout(60)
        with interface.stack.create_connection((LINUX, server.getsockname()[1]), 60) as ours:
            theirs, peer = server.accept()
            with theirs:
                assert peer[0] == "10.0.0.50"
                ours.sendall(b"hello")
                assert theirs.recv(5, socket.MSG_WAITALL) == b"hello"


def test_renewals_and_release(attached: Any, dnsmasq: Dnsmasq) -> None:
    dnsmasq.start("10.0.0.50", "10.0.0.60")
    interface = attached()
    first = interface.dhcp(60)
    first.renew()
    until(lambda: interface.lease.began > first.began, "a renewal")
    assert interface.lease.address == first.address
    interface.lease.close(release=True)
    until(lambda: f"DHCPRELEASE({TAP}) {first.address}" in dnsmasq.log(), "the release")
    assert dnsmasq.log().count("DHCPDISCOVER(") == dnsmasq.log().count("DHCPOFFER(") == 1


def test_a_server_that_has_changed_its_mind(attached: Any, dnsmasq: Dnsmasq) -> None:
    """NAK: the address is not used any more, another one is asked for."""
    dnsmasq.start("10.0.0.50", "10.0.0.50")
    interface = attached()
    first = interface.dhcp(60)
    dnsmasq.stop()
    dnsmasq.start("10.0.0.70", "10.0.0.70")
    first.renew()
    until(lambda: interface.lease is not None and interface.lease.address == "10.0.0.70", "another address")
    assert first.address not in interface.states
    assert "DHCPNAK" in dnsmasq.log()


def test_the_command_line(dnsmasq: Dnsmasq, command: Any) -> None:
    kernel.make_tap(TAP, f"{LINUX}/24")
    dnsmasq.start("10.0.0.50", "10.0.0.50")
    process = command("ping", "--tap", TAP, "--ip", "dhcp", "-c", "1", "www.lab.test")
    out, err = process.communicate(timeout=250)
    assert "netstack: 10.0.0.50/24 from 10.0.0.1, for 120 s" in err
    assert "PING www.lab.test (192.0.2.7)" in out, out + err
