"""An ICMP message in answer to net.rx: the sending half that echo replies and errors share.

RFC 792, RFC 1122 3.2.2, RFC 4443 2.2 (source address) and 2.3 (checksum).
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from ..machine import addressof, compiled, put16, put32, sizeof, store8, sum16, zero
from . import address, checksum, output, route
from .net import CUT, SCRATCH_ICMP, Packet

if TYPE_CHECKING:
    from .net import Net

HEADER_LEN = 8          # type, code, checksum, and four bytes that depend on the type
HEADROOM = 128          # free bytes that `output.send` wants before the header
ICMP = 1                # protocol numbers
ICMPV6 = 58
PACKET = sizeof(Packet)


@compiled
def answer(net: Net, type: int, code: int, rest: int, data: int, n: int, tos: int, now: int) -> None:
    """Send a message to the source of net.rx: `rest` is the second word of its header, then n bytes at `data`."""
    rx = net.rx
    p = net.out
    zero(addressof(p), PACKET)
    p.dst_hi = rx.src_hi
    p.dst_lo = rx.src_lo
    p.tos = tos
    p.manner = CUT
    if rx.broadcast == 0:
        p.src_hi = rx.dst_hi                # (RFC 1122 3.2.2.6, RFC 4443 2.2 (a)) the address that was asked
        p.src_lo = rx.dst_lo
    if address.is_link_local(p.dst_hi, p.dst_lo):
        p.interface = rx.interface
    p.head = addressof(net) + net.scratch + SCRATCH_ICMP + HEADROOM
    p.head_len = HEADER_LEN
    p.a = data
    p.a_len = n
    p.protocol = ICMP
    acc = 0
    if not address.is_v4(p.dst_hi, p.dst_lo):
        p.protocol = ICMPV6
        if rx.broadcast != 0:               # (RFC 4443 2.2 (b)) the checksum covers the source, so choose it now
            if route.choose(net, p.dst_hi, p.dst_lo, 0, 0, p.interface, now) < 0:
                return
            p.src_hi = net.chosen.src_hi
            p.src_lo = net.chosen.src_lo
        acc = checksum.pseudo(p.src_hi, p.src_lo, p.dst_hi, p.dst_lo, ICMPV6, HEADER_LEN + n)
    store8(p.head, type)
    store8(p.head + 1, code)
    put16(p.head + 2, 0)
    put32(p.head + 4, rest)
    put16(p.head + 2, checksum.finish(sum16(data, n, sum16(p.head, HEADER_LEN, acc))))
    output.submit(net, p, now)
