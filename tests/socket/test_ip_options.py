"""IPv4 options of sockets (ip(7)): what is sound and what is told, on the kernel's sockets and on ours."""
from __future__ import annotations

import random
import socket as real
import struct
from contextlib import ExitStack

import pytest
from scapy.layers.inet import IP, TCP, UDP

from netstack import ipoptions

from ..dialogues.link import Link
from .beside import ask, same

LEVEL = real.IPPROTO_IP
IP_RECVOPTS, IP_RETOPTS = 6, 7
NOPS = b"\1\1\1\1"
ROUTE = bytes([7, 11, 4]) + bytes(8)                            # record route, for two addresses
TIMES = bytes([68, 12, 5, 0]) + bytes(8)
TIMES_AND_ADDRESSES = bytes([68, 12, 5, 1]) + bytes(8)
PRESCRIBED = bytes([68, 20, 5, 3]) + bytes([127, 0, 0, 1]) + bytes(4) + bytes([192, 0, 2, 1]) + bytes(4)
ALERT = bytes([148, 4, 0, 0])
UNKNOWN = bytes([0x9E, 6, 1, 2, 3, 4])                          # 158: an experiment's (RFC 4727)
SOUND = [b"", NOPS, b"\0", b"\1\0", ROUTE, ROUTE + b"\1", NOPS + ROUTE, TIMES, TIMES_AND_ADDRESSES, PRESCRIBED, ALERT,
         ROUTE + b"\1" + TIMES, NOPS * 10, b"\1\0\7\7\7", b"\1" * 37, bytes([7, 11, 12]) + bytes(8),
         bytes([7, 12, 4]) + bytes(9), bytes([68, 12, 13, 0]) + bytes(8)]
UNSOUND = [NOPS * 10 + b"\1", ROUTE + ROUTE, TIMES + TIMES, bytes([7, 2, 4]), bytes([7, 11, 3]) + bytes(8),
           bytes([7, 11, 10]) + bytes(8), bytes([7, 13, 4]) + bytes(8), b"\7", b"\7\1",
           bytes([68, 12, 4, 0]) + bytes(8), bytes([68, 12, 11, 0]) + bytes(8),
           bytes([68, 12, 13, 0xF0]) + bytes(8), bytes([68, 12, 9, 1]) + bytes(8), bytes([68, 3, 5]),
           bytes([148, 3, 0]), b"\1\1\1\x44"]


def udp_pair(life, make):
    sender, receiver = (life.enter_context(make(real.AF_INET, real.SOCK_DGRAM)) for _ in range(2))
    receiver.bind(("127.0.0.1", 0))
    receiver.settimeout(10)
    return sender, receiver


@pytest.mark.parametrize("kind", [real.SOCK_DGRAM, real.SOCK_STREAM])
@pytest.mark.parametrize("options", SOUND + UNSOUND)
def test_what_is_sound(both, options, kind):
    """What can be set, and what is read back: refused are the kernel's."""
    def look(make):
        with make(real.AF_INET, kind) as sock:
            return (ask(sock.setsockopt, LEVEL, real.IP_OPTIONS, options), sock.getsockopt(LEVEL, real.IP_OPTIONS, 100),
                    sock.getsockopt(LEVEL, real.IP_OPTIONS, 6), ask(sock.setsockopt, LEVEL, real.IP_OPTIONS, b""),
                    sock.getsockopt(LEVEL, real.IP_OPTIONS, 100))
    found = same(both, look)
    assert (found[0] is None) == (options in SOUND)


def test_any_bytes_are_judged_as_the_kernel_does(both):
    """Random record routes and timestamps, most of them with something wrong."""
    dice = random.Random(7)
    tried = []
    for _ in range(300):
        option = bytearray(dice.choice(SOUND + UNSOUND))
        for _ in range(dice.randrange(3)):
            if option:
                option[dice.randrange(len(option))] = dice.choice((0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 68, 148))
        tried.append(bytes(option))

    def look(make):
        with make(real.AF_INET, real.SOCK_DGRAM) as sock:
            return [(option, ask(sock.setsockopt, LEVEL, real.IP_OPTIONS, option),
                     sock.getsockopt(LEVEL, real.IP_OPTIONS, 100)) for option in tried]
    same(both, look)


@pytest.mark.parametrize("by", ["option", "message"])
@pytest.mark.parametrize("options", [NOPS, ROUTE, TIMES_AND_ADDRESSES, TIMES, NOPS + ROUTE + b"\1" + ALERT, PRESCRIBED,
                                     bytes([7, 7, 8]) + bytes(4)])
def test_a_datagram_takes_them_along(both, options, by):
    """IP_RECVOPTS and IP_RETOPTS, with our address filled in twice: by who sent it, and who got it.  Not the times."""
    def look(make):
        with ExitStack() as life:
            sender, receiver = udp_pair(life, make)
            for option in (IP_RECVOPTS, IP_RETOPTS):
                receiver.setsockopt(LEVEL, option, 1)
            if by == "option":
                sender.setsockopt(LEVEL, real.IP_OPTIONS, options)
                sender.sendto(b"text", receiver.getsockname())
            else:
                sender.sendmsg([b"text"], [(LEVEL, IP_RETOPTS, options)], 0, receiver.getsockname())
            sender.sendto(b"more text", receiver.getsockname())
            first, second = (receiver.recvmsg(100, 200) for _ in range(2))
            return [(data, [(level, kind, timeless(o)) for level, kind, o in told], flags)
                    for data, told, flags, _ in (first, second)]
    found = same(both, look)
    assert bool(found[1][1]) == (by == "option")
    if options == ROUTE:
        assert found[0][1][0][2] == bytes([7, 11, 12]) + bytes([127, 0, 0, 1]) * 2 + b"\0"


def timeless(options):
    """Without the times."""
    data = bytearray(options)
    for start in range(len(data)):
        if data[start:start + 2] in (b"\x44\x0c", b"\x44\x14"):
            step = 8 if data[start + 3] & 3 else 4
            for i in range(start + 4 + step - 4, start + data[start + 1], step):
                data[i:i + 4] = bytes(4)
            break
    return bytes(data)


def test_the_time_is_that_of_the_day(both):
    def look(make):
        with ExitStack() as life:
            sender, receiver = udp_pair(life, make)
            receiver.setsockopt(LEVEL, IP_RECVOPTS, 1)
            sender.setsockopt(LEVEL, real.IP_OPTIONS, TIMES)
            sender.sendto(b"text", receiver.getsockname())
            return struct.unpack_from(">2I", receiver.recvmsg(100, 200)[1][0][2], 4)
    there, here = (look(make) for make in both)
    assert all(abs(time - there[0]) % 86_400_000 < 600_000 for time in there + here)


def test_a_malformed_message_is_refused(both):
    def look(make):
        with ExitStack() as life:
            sender, receiver = udp_pair(life, make)
            return [ask(sender.sendmsg, [b"text"], [(LEVEL, IP_RETOPTS, o)], 0, receiver.getsockname())
                    for o in (*UNSOUND, NOPS)]
    same(both, look)


def test_source_routes_are_refused():
    for kind in (131, 137):
        with pytest.raises(OSError, match="Invalid"):
            ipoptions.read(bytes([kind, 7, 4, 192, 0, 2, 1]))


# ---- on the wire

@pytest.fixture
def link():
    with_one = Link()
    yield with_one
    with_one.close()


def test_fragments_carry_what_they_are_to(link):
    """RFC 791 3.1: a record route goes with the first fragment only; what has the copied flag, with each."""
    with link.stack.socket(type=real.SOCK_DGRAM) as sock:
        sock.setsockopt(LEVEL, real.IP_OPTIONS, ROUTE + b"\1" + ALERT)
        sock.sendto(bytes(range(256)) * 12, (link.theirs, 7))
        packets = [IP(link.expect_packet()) for _ in range(3)]
    assert [len(p) <= 1500 for p in packets] == [True] * 3
    heads = [bytes(p)[20:p.ihl * 4] for p in packets]
    ours = real.inet_aton(packets[0].src)
    assert heads == [bytes([7, 11, 8]) + ours + bytes(4) + b"\1" + ALERT] + [b"\1" * 12 + ALERT] * 2
    whole = b"".join(bytes(p)[p.ihl * 4:] for p in packets)
    again = IP(src=packets[0].src, dst=packets[0].dst, proto=17) / UDP(whole)
    del again[UDP].chksum
    assert UDP(bytes(again[UDP])).payload.load == bytes(range(256)) * 12
    for p in packets:
        known = p.chksum
        del p.chksum
        assert IP(bytes(p)).chksum == known


def test_of_a_connection_they_take_room_in_each_segment(link):
    conn = link.established()
    conn.setsockopt(LEVEL, real.IP_OPTIONS, NOPS * 3)
    conn.send(bytes(1448) * 2)
    link.clock.settle()
    for _ in range(2):
        p = IP(link.wire.sniff(0)[14:])
        assert (p.ihl, len(p), len(p[TCP].payload)) == (8, 1500, link.expect_mss() - 12)
    link.peer_sends(ack=1 + 2 * 1448)
    conn.setsockopt(LEVEL, real.IP_OPTIONS, b"")
    conn.send(bytes(1460))
    link.expect(size=1460)


def test_a_flag_of_the_engine_s_own_means_nothing_to_a_program(both):
    """Whoever asks by it for options in a buffer that has no room for them."""
    make = both[1]
    with ExitStack() as life:
        sender, receiver = udp_pair(life, make)
        receiver.setsockopt(LEVEL, IP_RECVOPTS, 1)
        sender.setsockopt(LEVEL, real.IP_OPTIONS, NOPS * 10)
        for call in (receiver.recvfrom, receiver.recv, lambda n, flags: receiver.recvmsg(n, 0, flags)):
            sender.sendto(b"text", receiver.getsockname())
            assert b"text" in (result := call(100, 1 << 24)) or result == b"text"


def test_the_queue_goes_around_with_options_in_it(both):
    """Options take room behind each datagram; those that are not asked about, and those that are."""
    def look(make):
        with ExitStack() as life:
            sender, receiver = udp_pair(life, make)
            receiver.setsockopt(LEVEL, IP_RECVOPTS, 1)
            receiver.setsockopt(real.SOL_SOCKET, real.SO_RCVBUF, 4096)
            found = []
            for i in range(300):
                sender.setsockopt(LEVEL, real.IP_OPTIONS, NOPS * (i % 11))
                sender.sendto(b"\xff" * (i % 130), receiver.getsockname())
                if i % 3 == 2:
                    found += [receiver.recvmsg(200, 100)[:2], receiver.recvfrom(200)[0], receiver.recv(200)]
            return found
    same(both, look)
