"""Messages and options: what is read, what is refused, whatever the bytes are."""
from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dhcp import BOOTP, DHCP

from netstack.dhcp import message, options
from netstack.dhcp.lease import Lease, lease_of
from netstack.dhcp.link import checksum, datagram
from netstack.dhcp.message import Code, Malformed, Message, Type

MAC = bytes.fromhex("020000000001")
FIELDS = 236            # bytes before the cookie
SNAME, FILE = 44, 108   # where they begin


def told(**extra):
    """A message with these options (Code's names)."""
    found = {Code.TYPE: bytes([Type.ACK]), Code.SERVER: bytes([10, 0, 0, 1]),
             Code.LEASE_TIME: (1000).to_bytes(4, "big"), Code.MASK: bytes([255, 255, 255, 0])}
    found |= {Code[name]: value for name, value in extra.items()}
    return Message(message.REPLY, 7, yiaddr=0x0A000005, chaddr=MAC, options={k: v for k, v in found.items()
                                                                              if v is not None})


def raw(options, sname=b"", file=b""):
    """The bytes of a message with fields as they are given."""
    head = bytearray(message.build(Message(message.REPLY, 7, chaddr=MAC)))[:FIELDS + 4]
    head[SNAME:SNAME + 64] = sname.ljust(64, b"\0")
    head[FILE:FILE + 128] = file.ljust(128, b"\0")
    return bytes(head) + options


# -- messages

def test_scapy_reads_what_is_built():
    m = Message(message.REQUEST, 0xDEADBEEF, secs=3, flags=message.BROADCAST, ciaddr=0x0A000005, chaddr=MAC,
                options={Code.HOST_NAME: b"me", Code.TYPE: b"\3"})
    data = message.build(m)
    read = BOOTP(data)
    assert (read.op, read.htype, read.hlen, read.xid, read.secs, int(read.flags)) == (1, 1, 6, 0xDEADBEEF, 3, 0x8000)
    assert (read.ciaddr, read.chaddr[:6]) == ("10.0.0.5", MAC)
    assert read[DHCP].options[:3] == [("message-type", 3), ("hostname", b"me"), "end"]      # the type goes first
    assert len(data) == message.SHORTEST


def test_what_scapy_builds_is_read():
    data = bytes(BOOTP(op=2, xid=7, yiaddr="10.0.0.5", siaddr="10.0.0.9", giaddr="10.0.0.8", chaddr=MAC)
                 / DHCP(options=[("message-type", "offer"), ("router", "10.0.0.1", "10.0.0.2"), "end"]))
    m = message.parse(data)
    assert (m.op, m.type, m.xid, m.yiaddr, m.siaddr, m.giaddr) == (2, Type.OFFER, 7, 0x0A000005, 0x0A000009, 0x0A000008)
    assert m.chaddr == MAC
    assert options.read(m.options, Code.ROUTER) == ("10.0.0.1", "10.0.0.2")


@given(st.dictionaries(st.integers(1, 254).filter(lambda c: c not in (Code.OVERLOAD, Code.TYPE)),
                       st.binary(max_size=600), max_size=8), st.integers(0, 255))
def test_there_and_back(found, type):
    m = Message(message.REPLY, 1, 2, 3, 4, 5, 6, 7, MAC, options={Code.TYPE: bytes([type]), **found})
    assert message.parse(message.build(m)) == m


@given(st.binary(max_size=700))
def test_any_options_give_a_message_or_an_error(data):
    for where in (raw(data), raw(bytes([Code.OVERLOAD, 1, 3]) + data, data[:64], data[:128]), data):
        try:
            m = message.parse(where)
        except Malformed:
            continue
        for code in options.READERS:
            options.read_if_good(m.options, code)
        with suppress(Malformed):
            assert isinstance(lease_of(m, 0), Lease)


def test_every_truncation():
    data = message.build(told(ROUTER=bytes(4), DOMAIN_NAME=b"lab.test"))
    end = data.rindex(b"lab.test") + 8
    whole = message.parse(data)
    for n in range(end):
        try:
            m = message.parse(data[:n])
        except Malformed:
            continue
        assert set(m.options.items()) < set(whole.options.items())      # fewer, but whole ones


def test_an_option_in_pieces_is_one():
    data = raw(bytes([Code.ROUTER, 4, 10, 0, 0, 1, Code.TYPE, 1, 5, 0, 0, Code.ROUTER, 4, 10, 0, 0, 2, 255, Code.MTU]))
    assert options.read(message.parse(data).options, Code.ROUTER) == ("10.0.0.1", "10.0.0.2")


def test_overload_file_goes_before_sname():
    piece = bytes([Code.ROUTER, 4, 10, 0, 0])
    m = message.parse(raw(piece + bytes([1, Code.OVERLOAD, 1, 3, 255]), sname=piece + bytes([3, 255]),
                          file=piece + bytes([2, 255])))
    assert options.read(m.options, Code.ROUTER) == ("10.0.0.1", "10.0.0.2", "10.0.0.3")
    assert Code.OVERLOAD not in m.options


@pytest.mark.parametrize(("overload", "routers"), [(0, 1), (1, 2), (2, 2)])
def test_overload_says_which_field(overload, routers):
    piece = bytes([Code.ROUTER, 4, 10, 0, 0, 1])
    m = message.parse(raw(piece + bytes([Code.OVERLOAD, 1, overload, 255]), sname=piece, file=piece))
    assert len(options.read(m.options, Code.ROUTER)) == routers


@pytest.mark.parametrize("data", [
    b"", bytes(240), raw(b"")[:FIELDS] + b"nope", b"\3" + raw(b"")[1:], raw(b"")[:2] + b"\x11" + raw(b"")[3:],
    raw(bytes([Code.OVERLOAD, 1, 4])), raw(bytes([Code.OVERLOAD, 2, 1, 1])), raw(bytes([Code.OVERLOAD, 0])),
    raw(bytes([Code.TYPE, 2, 5, 5])), raw(bytes([Code.TYPE, 1, 5, Code.TYPE, 1, 5])), raw(bytes([Code.TYPE, 0])),
    raw(bytes([Code.ROUTER])), raw(bytes([Code.ROUTER, 4, 1, 1])),
    raw(bytes([Code.OVERLOAD, 1, 1]), file=bytes(126) + b"\3\1"),
], ids=range(14))
def test_is_no_message(data):
    with pytest.raises(Malformed):
        message.parse(data)


def test_the_datagram_before_there_is_an_address():
    from scapy.layers.inet import IP, UDP

    data = datagram(b"odd")
    packet = IP(data)
    assert (packet.src, packet.dst, packet[UDP].sport, packet[UDP].dport) == ("0.0.0.0", "255.255.255.255", 68, 67)
    good = IP(data)
    del good.chksum, good[UDP].chksum
    assert bytes(good) == data                                          # scapy's checksums
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D        # RFC 1071 3


# -- options

@pytest.mark.parametrize(("code", "data", "value"), [
    (Code.MASK, "ffffff00", 24), (Code.MASK, "00000000", 0), (Code.MASK, "ffffffff", 32),
    (Code.MTU, "0500", 1280), (Code.LEASE_TIME, "00000e10", 3600), (Code.LEASE_TIME, "ffffffff", None),
    (Code.NAME_SERVER, "0a0000010a000002", ("10.0.0.1", "10.0.0.2")), (Code.BROADCAST, "0a0000ff", "10.0.0.255"),
    (Code.DOMAIN_NAME, b"lab.test\0".hex(), ("lab.test",)), (Code.DOMAIN_NAME, b"a.test b.test".hex(),
                                                             ("a.test", "b.test")),
    (Code.HOST_NAME, b"me".hex(), "me"), (Code.MESSAGE, b"no\x1b[2J".hex(), "no?[2J"),
    # RFC 3442: 10.0.0.0/8, 10.17.0.0/16, 10.229.0.128/25, the default route
    (Code.ROUTES, "080a0a000001100a110a000002190ae500800a000003000a000004",
     (("10.0.0.0/8", "10.0.0.1"), ("10.17.0.0/16", "10.0.0.2"), ("10.229.0.128/25", "10.0.0.3"),
      ("0.0.0.0/0", "10.0.0.4"))),
    (Code.ROUTES, "180a0b0c00000000", (("10.11.12.0/24", None),)),      # on the link
    (Code.ROUTES, "090affc0a80001", (("10.128.0.0/9", "192.168.0.1"),)),        # bits beyond the mask
    # RFC 3397 2: eng.apple.com, marketing.apple.com
    (Code.SEARCH, "03656e67056170706c6503636f6d00096d61726b6574696e67c004",
     ("eng.apple.com", "marketing.apple.com")),
])
def test_option(code, data, value):
    assert options.read({code: bytes.fromhex(data)}, code) == value


@pytest.mark.parametrize(("code", "data"), [
    (Code.MASK, "ff00ff00"), (Code.MASK, "ffffff"), (Code.MTU, "05dc00"), (Code.MTU, "0043"), (Code.LEASE_TIME, "0e10"),
    (Code.ROUTER, ""), (Code.ROUTER, "0a00000100"), (Code.SERVER, "0a0000010a000002"),
    (Code.HOST_NAME, ""), (Code.HOST_NAME, b"two words".hex()), (Code.HOST_NAME, b"a\nb".hex()),
    (Code.HOST_NAME, b"a..b".hex()), (Code.HOST_NAME, (b"a" * 64).hex()), (Code.DOMAIN_NAME, b" ".hex()),
    (Code.DOMAIN_NAME, b"-a.test".hex()),
    (Code.ROUTES, ""), (Code.ROUTES, "21"), (Code.ROUTES, "080a0a0000"), (Code.ROUTES, "200a0b0c"),
    (Code.SEARCH, ""), (Code.SEARCH, "00"), (Code.SEARCH, "0361"), (Code.SEARCH, "c000"), (Code.SEARCH, "0161c000"),
    (Code.SEARCH, "016100c0"), (Code.SEARCH, "016100c005"), (Code.SEARCH, "41" + "61" * 65 + "00"),
    (Code.SEARCH, "01610a" + "00" * 3), (Code.SEARCH, ("3f" + "61" * 63) * 5 + "00"),
])
def test_is_no_value(code, data):
    with pytest.raises(Malformed):
        options.read({code: bytes.fromhex(data)}, code)


def test_so_many_routes_and_no_more():
    assert len(options.routes(bytes([0, 10, 0, 0, 1]) * 10_000)) == options.MOST_ROUTES


def test_a_search_list_costs_little():
    """Pointers in a circle or in a row, names that are all the same or none: what is read is bounded."""
    with pytest.raises(Malformed):
        options.search(b"\1a\xc0\0")
    assert options.search(b"\1a\0" + b"\xc0\0" * 30_000) == ("a",)
    with pytest.raises(Malformed):
        options.search(bytes(options.MOST_NAMES) + b"\1a\0")
    row = b"\1a\0\xc0\0" + b"".join((0xC003 + 2 * i).to_bytes(2, "big") for i in range(options.MOST_JUMPS))
    assert options._dns_name(row, len(row) - 4)[0] == "a"
    with pytest.raises(Malformed):
        options._dns_name(row, len(row) - 2)


# -- leases

def test_what_is_granted():
    lease = lease_of(told(ROUTER=bytes([10, 0, 0, 1, 10, 0, 0, 2]), NAME_SERVER=bytes([10, 0, 0, 3]),
                          DOMAIN_NAME=b"lab.test", MTU=b"\5\0", TIME_SERVER=bytes([10, 0, 0, 4]), HOST_NAME=b"me"), 5)
    assert (lease.ip, lease.netmask, lease.server, lease.router) == ("10.0.0.5/24", "255.255.255.0", "10.0.0.1",
                                                                     "10.0.0.1")
    assert (lease.routes, lease.routers) == ((("0.0.0.0/0", "10.0.0.1"),), ("10.0.0.1", "10.0.0.2"))
    assert (lease.name_servers, lease.domain, lease.search, lease.mtu, lease.time_servers, lease.host_name) == (
        ("10.0.0.3",), "lab.test", ("lab.test",), 1280, ("10.0.0.4",), "me")
    assert (lease.lease_time, lease.renewal_time, lease.rebinding_time) == (1000, 500, 875)
    assert (lease.renews_at, lease.rebinds_at, lease.expires_at) == (
        5 + 500 * 10**9, 5 + 875 * 10**9, 5 + 1000 * 10**9)


def test_classless_routes_go_before_the_routers():
    lease = lease_of(told(ROUTER=bytes([10, 0, 0, 1]), ROUTES=bytes([8, 11, 10, 0, 0, 2])), 0)
    assert lease.routes == (("11.0.0.0/8", "10.0.0.2"),)
    assert lease.router is None
    broken = lease_of(told(ROUTER=bytes([10, 0, 0, 1]), ROUTES=bytes([40])), 0)
    assert broken.routes == (("0.0.0.0/0", "10.0.0.1"),)


def test_search_list_goes_before_the_domain():
    lease = lease_of(told(DOMAIN_NAME=b"lab.test", SEARCH=b"\1a\4test\0\1b\xc0\2"), 0)
    assert (lease.domain, lease.search) == ("lab.test", ("a.test", "b.test"))


@pytest.mark.parametrize(("t1", "t2", "times"), [
    (None, None, (500, 875)), (100, 200, (100, 200)), (200, 100, (50, 100)), (900, None, (500, 875)),
    (0, 0, (500, 875)), (1000, 1000, (500, 875)), (0xFFFFFFFF, 0xFFFFFFFF, (500, 875)),
])
def test_t1_before_t2_before_the_end(t1, t2, times):
    lease = lease_of(told(RENEWAL_TIME=t1 if t1 is None else t1.to_bytes(4, "big"),
                          REBINDING_TIME=t2 if t2 is None else t2.to_bytes(4, "big")), 0)
    if (t1, t2) == (200, 100):
        times = (100, 100)                  # half of the lease would be after T2
    assert (lease.renewal_time, lease.rebinding_time) == times


def test_without_end():
    lease = lease_of(told(LEASE_TIME=b"\xff" * 4, RENEWAL_TIME=bytes(4)), 5)
    assert (lease.lease_time, lease.renewal_time, lease.rebinding_time) == (None, None, None)
    assert lease.renews_at == lease.expires_at == 1 << 62


@pytest.mark.parametrize(("address", "prefix"), [(0x0A000005, 8), (0xAC100005, 16), (0xC0A80005, 24)])
@pytest.mark.parametrize("mask", [None, b"\xff\0\xff\0"])
def test_without_a_mask_the_class_says_it(address, prefix, mask):
    m = told(MASK=mask)
    m.yiaddr = address
    assert lease_of(m, 0).prefix == prefix


@pytest.mark.parametrize("address", [0, 0x0A000000, 0x0A0000FF, 0x7F000001, 0xE0000001, 0xF0000001, 0xFFFFFFFF, 5])
def test_nobodys_address(address):
    m = told()
    m.yiaddr = address
    with pytest.raises(Malformed):
        lease_of(m, 0)


@pytest.mark.parametrize("missing", [{"SERVER": None}, {"LEASE_TIME": None}, {"LEASE_TIME": bytes(4)},
                                     {"SERVER": b"\1"}, {"LEASE_TIME": b"\1"}])
def test_no_lease(missing):
    with pytest.raises(Malformed):
        lease_of(told(**missing), 0)


def test_a_gateway_that_nobody_can_send_to_is_none():
    for router in ([0, 0, 0, 0], [224, 0, 0, 1], [127, 0, 0, 1], [255, 255, 255, 255], [10, 0, 0, 5]):
        assert lease_of(told(ROUTER=bytes(router)), 0).routes == ()
