"""A stack that gets its address from a server: what it sends, what it sets, what it takes back."""
from __future__ import annotations

import errno
import gc
import os
import signal
import socket
import threading
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

import netstack
from netstack.dhcp import agent
from netstack.dhcp.configure import Configuration
from netstack.drivers import Wire

from ..waiting import until
from .server import MAC, Server, SocketServer, said


def addresses(interface):
    return [str(a) for a in interface.addresses if a.version == 4]


def routes(stack):
    return {(r.network, r.gateway) for r in stack.routes if r.interface.startswith("wire") and ":" not in r.network}


# -- on a virtual clock

def test_all_of_it(net):
    interface = net.stack.attach(net.wire, ip="dhcp")
    assert interface.lease is None and addresses(interface) == []
    lease = interface.dhcp()
    assert net.clock.time() < 0.1
    assert (lease.ip, lease.router, lease.name_servers) == ("10.0.0.5/24", "10.0.0.1", ("10.0.0.1", "10.0.0.2"))
    assert interface.lease is lease is interface.dhcp()
    assert addresses(interface) == ["10.0.0.5/24"]
    assert routes(net.stack) == {("10.0.0.0/24", None), ("0.0.0.0/0", "10.0.0.1")}
    assert net.stack.resolver.config.nameservers == [("10.0.0.1", 53), ("10.0.0.2", 53)]
    assert net.stack.resolver.config.search == ["lab.test"]
    assert net.server.names() == ["discover", "request"]


def test_a_lease_is_told_of_when_all_of_it_is_set(net, monkeypatch):
    """Another thread that waits for it would find no MTU and no routes yet."""
    interface, seen = net.stack.attach(net.wire, ip="dhcp"), []
    use, tell = Configuration.use, agent.tell_resolver

    def slow(configuration, lease):
        use(configuration, lease)
        seen.append(interface.lease)

    def tells(stack):
        tell(stack)
        seen.append(interface.lease)

    monkeypatch.setattr(Configuration, "use", slow)
    monkeypatch.setattr(agent, "tell_resolver", tells)
    lease = interface.dhcp()
    assert seen == [None, None]
    assert interface.lease is lease


def test_without_a_word_to_attach(net):
    interface = net.stack.attach(net.wire)
    net.clock.advance(5)
    assert net.server.heard == []
    with net.stack.dhcp(net.wire.name, host_name="me", address="10.0.0.7", client_id=b"\0me") as lease:
        assert addresses(interface) == ["10.0.0.5/24"]
        assert lease.host_name is None
    first = net.server.heard[0][1]
    assert (said(first, "hostname"), said(first, "requested_addr"), said(first, "client_id")) == (
        b"me", "10.0.0.7", b"\0me")
    assert addresses(interface) == [] and interface.lease is None
    assert routes(net.stack) == set()
    assert net.stack.resolver.config.nameservers == net.stack.resolver.config.search == []
    assert net.server.names() == ["discover", "request"]            # nothing was released: nobody has asked for it
    net.clock.advance(10_000)
    assert net.server.names() == ["discover", "request"]
    assert interface.dhcp().address == "10.0.0.5"                   # once more


def test_from_nowhere_to_everybody(net):
    """... also when another interface has an address, which Linux's UDP would send from."""
    net.stack.attach(Wire(), ip="192.0.2.1/24")
    net.stack.attach(net.wire, ip="dhcp").dhcp()
    for _, packet in net.server.heard:
        assert (packet.src, packet.dst) == (net.wire.mac.hex(":"), "ff:ff:ff:ff:ff:ff")
        assert (packet[IP].src, packet[IP].dst, packet[UDP].sport, packet[UDP].dport) == (
            "0.0.0.0", "255.255.255.255", 68, 67)
        whole = IP(bytes(packet[IP]))
        del whole[UDP].chksum, whole.chksum
        assert bytes(whole) == bytes(packet[IP])


def test_renewals(net):
    interface = net.stack.attach(net.wire, ip="dhcp")
    lease = interface.dhcp()
    net.clock.advance(1700)
    assert net.server.names() == ["discover", "request", "request", "request", "request"]
    for _, packet in net.server.heard[2:]:
        assert (packet.dst, packet[IP].src, packet[IP].dst, packet[BOOTP].ciaddr) == (
            MAC, "10.0.0.5", "10.0.0.1", "10.0.0.5")
    assert [round(t, -2) for t in net.server.times[2:]] == [500, 1000, 1500]
    assert interface.lease.began > lease.began
    assert addresses(interface) == ["10.0.0.5/24"]


def test_renewed_before_its_time(net):
    interface = net.stack.attach(net.wire, ip="dhcp")
    first = interface.dhcp()
    net.clock.advance(100)
    first.renew()
    net.clock.advance(1)
    assert net.server.times == [0, 0, 100]
    assert interface.lease.expires_at == first.expires_at + 100 * 10**9


def test_rebinding(net):
    """From the lease's address, though there is another one."""
    interface = net.stack.attach(net.wire, ip="dhcp")
    interface.dhcp()
    interface.add_address("192.0.2.1/24")
    net.server.silent = {"request"}
    net.clock.advance(until=900)
    name, packet = net.server.heard[-1]
    assert (name, packet[IP].src, packet[IP].dst, packet[BOOTP].ciaddr) == (
        "request", "10.0.0.5", "255.255.255.255", "10.0.0.5")
    net.server.silent = set()
    net.clock.advance(until=1900)
    assert interface.lease is not None


@pytest.mark.parametrize("how", ["expired", "refused"])
def test_the_end_of_a_lease(net, how, caplog):
    interface = net.stack.attach(net.wire, ip="dhcp")
    interface.dhcp()
    with net.stack.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("10.0.0.5", 5000))
        sock.sendto(b"x", ("10.0.0.9", 9))
        net.server.silent = {"discover"} | ({"request"} if how == "expired" else set())
        net.server.refuses = True
        net.clock.advance(until=1001 if how == "expired" else 505)
        assert addresses(interface) == [] and routes(net.stack) == set()
        assert net.stack.resolver.config.nameservers == []
        assert interface.lease is None
        assert "not ours any more" in caplog.text
        with pytest.raises(OSError) as caught:
            sock.sendto(b"x", ("10.0.0.9", 9))
        assert caught.value.errno == errno.ENETUNREACH
    net.server.silent, net.server.refuses, net.server.address = set(), False, "10.0.0.6"
    assert interface.dhcp(200).address == "10.0.0.6"
    assert addresses(interface) == ["10.0.0.6/24"]


def test_what_the_program_has_set_stays(make):
    net = make(nameservers=["192.0.2.53"], search=["mine.test"])
    lease = net.stack.attach(net.wire, ip="dhcp").dhcp()
    assert lease.name_servers and lease.search
    config = net.stack.resolver.config
    assert (config.nameservers, config.search) == ([("192.0.2.53", 53)], ["mine.test"])
    lease.close()
    assert (config.nameservers, config.search) == ([("192.0.2.53", 53)], ["mine.test"])


def test_what_the_program_sets_later_stays(net):
    interface = net.stack.attach(net.wire, ip="dhcp")
    interface.dhcp()
    net.stack.resolver.config.serve(["192.0.2.53"])
    net.server.options = [("name_server", "10.0.0.9"), ("domain", b"other.test")]
    net.clock.advance(600)
    config = net.stack.resolver.config
    assert (config.nameservers, config.search) == ([("192.0.2.53", 53)], ["other.test"])


def test_what_a_renewal_changes(net):
    interface = net.stack.attach(net.wire, ip="dhcp")
    interface.dhcp()
    net.stack.add_route("11.0.0.0/8", gateway="10.0.0.8", interface=interface)
    net.server.options = [("subnet_mask", "255.255.0.0"), ("name_server", "10.0.0.9"),
                          (121, bytes([8, 11, 10, 0, 0, 8, 12, 12, 16, 10, 0, 0, 7])), ("router", "10.0.0.1")]
    net.clock.advance(600)
    assert addresses(interface) == ["10.0.0.5/16"]
    assert routes(net.stack) == {("10.0.0.0/16", None), ("11.0.0.0/8", "10.0.0.8"), ("12.16.0.0/12", "10.0.0.7")}
    assert net.stack.resolver.config.nameservers == [("10.0.0.9", 53)]
    assert net.stack.resolver.config.search == []
    interface.lease.close()
    assert routes(net.stack) == {("11.0.0.0/8", "10.0.0.8")}           # that one was the program's


def test_a_router_beyond_the_network(net):
    """As clouds have it: the network is the host alone."""
    net.server.options = [("subnet_mask", "255.255.255.255"), ("router", "10.0.0.1")]
    net.stack.attach(net.wire, ip="dhcp").dhcp()
    with net.stack.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", ("192.0.2.9", 9))
        sent = []
        net.server.take = lambda frame, take=net.server.take: (sent.append(Ether(frame)), take(frame))
        net.clock.advance(1)
    assert [p[IP].dst for p in sent if p.dst == MAC and UDP in p] == ["192.0.2.9"]


@pytest.mark.parametrize(("said", "link_local", "mtu"), [
    (1400, True, 1400), (1600, True, 1500), (1000, True, 1500), (1000, False, 1000), (500, False, 1500)])
def test_mtu(net, said, link_local, mtu):
    net.server.options.append(("interface-mtu", said))
    interface = net.stack.attach(net.wire, ip="dhcp", link_local=link_local)
    lease = interface.dhcp()
    assert (lease.mtu, interface.mtu) == (said, mtu)
    lease.close()
    assert interface.mtu == 1500


def test_an_address_that_somebody_has(make):
    net = make(settings={"netstack.arp_probes": 2})
    net.server.taken = {"10.0.0.5"}
    net.server.trick = lambda name, packet, reply: (setattr(net.server, "taken", set()) if "decline" in
                                                    net.server.names() else None) or [reply]
    interface = net.stack.attach(net.wire, ip="dhcp")
    lease = interface.dhcp()
    assert net.server.names() == ["discover", "request", "decline", "discover", "request"]
    decline = net.server.heard[2][1]
    assert (decline[IP].src, decline[IP].dst, said(decline, "requested_addr"), said(decline, "server_id")) == (
        "0.0.0.0", "255.255.255.255", "10.0.0.5", "10.0.0.1")
    assert net.server.times[3] >= net.server.times[2] + 10
    assert net.clock.time() > net.server.times[4] + 3               # it was probed again
    assert lease.address == "10.0.0.5" and interface.states["10.0.0.5"] == "preferred"


def test_release(net):
    """Though nobody knows the server's link address yet: one is asked for it."""
    interface = net.stack.attach(net.wire)
    lease = interface.dhcp(release=True)
    lease.close()
    net.clock.advance(1)
    name, packet = net.server.heard[-1]
    assert (name, packet.dst, packet[IP].src, packet[IP].dst) == ("release", MAC, "10.0.0.5", "10.0.0.1")
    assert addresses(interface) == []
    lease = interface.dhcp(release=True)
    lease.close(release=False)
    assert net.server.names().count("release") == 1


def test_release_when_the_stack_is_closed(net):
    net.stack.attach(net.wire).dhcp(release=True)
    net.stack.close()
    net.server.poll(0)
    assert net.server.names()[-1] == "release"


def test_no_room_for_an_address(net, caplog):
    """It is logged, and tried again."""
    interface = net.stack.attach(net.wire)
    for i in range(20):
        with suppress(OSError):
            interface.add_address(f"10.1.{i}.1/24")
    with pytest.raises(TimeoutError):
        interface.dhcp(30)
    assert "cannot add 10.0.0.5/24" in caplog.text
    interface._ask_dhcp({})
    net.clock.advance(1)
    interface.remove_address("10.1.0.1")
    assert interface.dhcp(100).address == "10.0.0.5"


def test_no_port(net, caplog):
    """A program has port 68: logged, and tried again when it has gone."""
    with net.stack.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", 68))
        interface = net.stack.attach(net.wire, ip="dhcp")
        with pytest.raises(TimeoutError):
            interface.dhcp(30)
        assert "in use" in caplog.text
    assert interface.dhcp(100).address == "10.0.0.5"


def test_connections_on_an_address_that_is_gone(life, clock):
    """They find no way, as on Linux, and end by their timeouts; on the address that comes back they go on."""
    left, right = Wire.pair()
    stack, other = (life.enter_context(netstack.Stack(clock)) for _ in range(2))
    other.attach(right, ip="10.0.0.1/24")
    server = SocketServer(other)
    life.callback(server.sock.close)
    clock.attend(server)
    interface = stack.attach(left, ip="dhcp")
    interface.dhcp()
    listener = life.enter_context(other.create_server(("", 7)))
    ours = life.enter_context(stack.create_connection(("10.0.0.1", 7)))
    theirs = life.enter_context(listener.accept()[0])
    server.silent = {"discover", "request"}
    clock.advance(1001)
    assert interface.lease is None
    ours.sendall(b"late")
    clock.advance(5)
    assert [c.state for c in stack.connections() if c.protocol == "tcp"] == ["ESTABLISHED"]
    server.silent = set()
    interface.dhcp(100)
    assert theirs.recv(10) == b"late"
    server.silent = {"discover", "request"}
    clock.advance(1001)
    ours.sendall(b"never")
    clock.advance(2000)
    with pytest.raises(OSError) as caught:
        ours.recv(1)
    assert caught.value.errno in (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)


def test_nobody_answers(net):
    net.server.silent = {"discover"}
    interface = net.stack.attach(net.wire)
    with pytest.raises(TimeoutError, match="SELECTING"):
        interface.dhcp(10)
    heard = len(net.server.heard)
    assert heard == 2
    net.clock.advance(100)
    assert len(net.server.heard) == heard           # it was ended
    interface._ask_dhcp({})                         # as attach does: that one goes on
    with pytest.raises(TimeoutError):
        interface.dhcp(10)
    net.server.silent = set()
    assert interface.dhcp(20).address == "10.0.0.5"


def test_what_is_no_answer(net):
    """Junk, other hosts' answers, answers from other ports: passed over."""
    def trick(name, packet, reply):
        others = reply.copy()
        others[BOOTP].xid += 1
        from_elsewhere = reply.copy()
        from_elsewhere[UDP].sport = 68
        from_elsewhere[BOOTP].yiaddr = "10.0.0.66"
        junk = reply.copy()
        junk[UDP].remove_payload()
        junk = junk / b"junk"
        cut = bytes(reply)[:14] + bytes(IP(src="10.0.0.1", dst="255.255.255.255") / UDP(sport=67, dport=68)
                                        / bytes(reply[UDP].payload)[:280])
        for one in (others, from_elsewhere, junk):
            del one[IP].len, one[IP].chksum, one[UDP].len, one[UDP].chksum
        return [junk, cut, others, from_elsewhere, reply]
    net.server.trick = trick
    assert net.stack.attach(net.wire, ip="dhcp").dhcp().address == "10.0.0.5"
    assert net.server.names() == ["discover", "request"]


def test_long_options_in_pieces_and_fields(net):
    """Option overload and long options, on the way through a real link (RFC 3396)."""
    def trick(name, packet, reply):
        route = bytes([24, 11, 0, 0, 10, 0, 0, 8])
        many = b"".join(bytes([24, 11, 0, i, 10, 0, 0, 8]) for i in range(50))
        reply[DHCP].options = [("message-type", "offer" if name == "discover" else "ack"), (52, b"\3"),
                               ("lease_time", 1000), (121, many[:200]), (121, many[200:]), "end"]
        reply[BOOTP].file = bytes([54, 4, 10, 0, 0, 1, 121, 8]) + route + b"\xff"
        reply[BOOTP].sname = bytes([1, 4, 255, 255, 255, 0, 255])
        return [reply]
    net.server.trick = trick
    lease = net.stack.attach(net.wire, ip="dhcp").dhcp()
    assert len(lease.routes) == 51
    assert (lease.ip, lease.server) == ("10.0.0.5/24", "10.0.0.1")


def test_two_interfaces(net, life):
    other = Wire()
    server = Server(other, "10.9.0.1")
    server.address, server.options = "10.9.0.5", [("name_server", "10.9.0.1", "10.0.0.2"), ("domain", b"b.test")]
    net.clock.attend(server)
    one, two = net.stack.attach(net.wire, ip="dhcp"), net.stack.attach(other, ip="dhcp")
    assert (one.dhcp().address, two.dhcp().address) == ("10.0.0.5", "10.9.0.5")
    config = net.stack.resolver.config
    assert config.nameservers == [("10.0.0.1", 53), ("10.0.0.2", 53), ("10.9.0.1", 53)]
    assert config.search == ["lab.test", "b.test"]
    one.lease.close()
    assert (config.nameservers, config.search) == ([("10.9.0.1", 53), ("10.0.0.2", 53)], ["b.test"])
    net.clock.advance(2000)
    assert server.names().count("request") == 5 and net.server.names().count("request") == 1


def test_detach(net):
    interface = net.stack.attach(net.wire, ip="dhcp")
    lease = interface.dhcp()
    interface.detach()
    net.clock.advance(2000)
    assert net.server.names() == ["discover", "request"]
    assert net.stack.resolver.config.nameservers == []
    lease.close()                       # does no harm
    with pytest.raises(OSError) as caught:
        interface.dhcp()
    assert caught.value.errno == errno.ENODEV


def test_refused(net):
    interface = net.stack.attach(net.wire, ip="dhcp")
    with pytest.raises(OSError) as caught:
        interface.dhcp(host_name="me")
    assert caught.value.errno == errno.EBUSY
    with pytest.raises(ValueError, match="Ethernet"):
        net.stack.dhcp("lo")
    plain = net.stack.attach(Wire())
    for wrong in ({"host_name": "a b"}, {"host_name": ""}, {"host_name": "ä"}, {"client_id": b"1"},
                  {"address": "nowhere"}):
        with pytest.raises(ValueError):
            plain.dhcp(**wrong)
    with pytest.raises(ValueError):
        net.stack.attach(Wire(), ip=["dhcp"])
    with pytest.raises(ValueError, match="none of the interface's networks"):
        net.stack.attach(Wire(), ip="dhcp", gateway="10.0.0.1")
    with pytest.raises(ValueError, match="DHCP"), netstack.Shards(1, net.clock) as shards:
        shards.attach([Wire()], ip="dhcp")


# -- in real time

def test_in_real_time(real):
    real.server.lease = 4               # seconds: T1 is 2
    interface = real.stack.attach(real.wire, ip="dhcp")
    lease = interface.dhcp(60)
    assert lease.address == "10.0.0.5"
    thread, = (t for t in threading.enumerate() if t.name.startswith("netstack dhcp"))
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    assert int(status.partition("SigBlk:")[2].split()[0], 16) >> (signal.SIGINT - 1) & 1    # it is the main thread's
    until(lambda: interface.lease is not None and interface.lease.began > lease.began, "a renewal")
    lease.close()
    assert "netstack dhcp" not in " ".join(t.name for t in threading.enumerate())
    assert addresses(interface) == []


def test_release_in_real_time(real):
    real.stack.attach(real.wire).dhcp(60, release=True)
    real.stack.close()
    until(lambda: "release" in real.server.names(), "the release")


@pytest.mark.parametrize("end", ["stack", "interface", "client"])
def test_who_waits_is_woken(real, spawn, end):
    real.server.silent = {"discover"}
    interface = real.stack.attach(real.wire, ip="dhcp")

    def wait():
        with pytest.raises(OSError) as caught:
            interface.dhcp(None)
        return caught.value.errno

    waiting = spawn(wait)
    until(lambda: real.stack._agents[interface.index]._waiting)     # else it would begin a client of its own, later
    {"stack": real.stack.close, "interface": interface.detach,
     "client": lambda: real.stack._agents[interface.index].close()}[end]()
    assert waiting.result() == (errno.ESHUTDOWN if end == "stack" else errno.ECANCELED)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_control_c(real, life, elsewhere):
    """Also if the system gives the signal to another thread, so that nothing ends the sleep of this one."""
    real.server.silent = {"discover"}
    interface = real.stack.attach(real.wire)

    def interrupt():
        until(lambda: [agent for agent in real.stack._agents.values() if agent._waiting])
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    if elsewhere:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        life.callback(signal.pthread_sigmask, signal.SIG_UNBLOCK, {signal.SIGINT})
    with pytest.raises(KeyboardInterrupt):
        interface.dhcp(None)
    thread.join()
    assert real.stack._agents == {}


def test_a_stack_that_is_forgotten():
    """The thread does not keep it alive."""
    def is_gone():
        gc.collect()
        return not any("netstack dhcp" in t.name for t in threading.enumerate())

    def forget():
        netstack.Stack(name="forgotten").attach(Wire(), ip="dhcp")
        until(is_gone)

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")     # the client's socket may go first, and says so
        forget()
    assert [one for one in said if "unclosed <netstack.Stack 'forgotten'" in str(one.message)]


def test_a_device_that_is_gone(real):
    """A wire whose other end is gone, and a send that fails: it goes on trying."""
    interface = real.stack.attach(real.wire, ip="dhcp")
    interface.dhcp(60)
    agent = real.stack._agents[interface.index]
    with real.stack._guard():
        interface._record.up = 0
    assert agent._client.lease is not None
    interface.lease.renew()
    until(lambda: agent.state == "RENEWING")
    with real.stack._guard():
        interface._record.up = 1


def test_in_a_forked_child(real):
    interface = real.stack.attach(real.wire, ip="dhcp")
    lease = interface.dhcp(60)
    pid = os.fork()
    if pid == 0:
        try:
            lease.close(release=True)       # that is the parent's to do
            good = real.stack._agents == {} and interface.lease is None
            real.stack.close()
            os._exit(0 if good else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    assert interface.dhcp(60).address == "10.0.0.5"
