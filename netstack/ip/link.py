"""Link: the one place where frames leave and arrive.

A frame that leaves gets its Ethernet header here (RFC 894, RFC 2464), goes
through what `impair_out` does to it, to the device and into the capture.  One
that arrives comes from the device through `impair_in`, and into the capture.
A loopback interface has no addresses to resolve, but the same header, all
zero, so that there is one kind of frame to parse and to capture.
"""
from __future__ import annotations

from ..drivers import impair, pcap
from ..errors import ENETDOWN, ENOBUFS, Drop
from ..machine import addressof, at, compiled, invoke6, unit
from . import ethernet
from .ethernet import HEADER_LEN
from .net import Interface, Net

LOOPBACK = 1        # index of the loopback interface
INBOUND = int(pcap.Direction.INBOUND)
OUTBOUND = int(pcap.Direction.OUTBOUND)


@compiled
def transmit(net: Net, iface: Interface, dst: int, ethertype: int, p: int, n: int, parts: int, total: int,
             now: int) -> int:
    """Send one packet of `total` bytes to a link address: 0, or -errno (counted).

    Its first n bytes stand at p, with HEADER_LEN free bytes before them; the
    others where `net.iov[2]` and the following say (address, length, ...), so
    that there are `parts` pieces in all.
    """
    ethernet.emit(p - HEADER_LEN, dst, iface.mac, ethertype)
    net.iov[0] = p - HEADER_LEN
    net.iov[1] = n + HEADER_LEN
    return invoke6(net.transmit, addressof(net), addressof(iface), parts, total + HEADER_LEN, now, 0)


@unit
def transmit_unit(net_at: int, iface_at: int, parts: int, total: int, now: int, reserved: int) -> int:
    """The frame that `net.iov` describes goes to the device.  A unit, since it has many callers (`machine/unit.py`)."""
    net = at(Net, net_at)
    iface = at(Interface, iface_at)
    if iface.up == 0:
        net.drops[Drop.TX_DEVICE] += 1
        return -ENETDOWN
    sent = impair.transmit(iface.impair_out, iface.device, addressof(net.iov), parts, total, now)
    if sent <= 0:
        iface.tx_errors += 1
        net.drops[Drop.TX_QUEUE if sent == 0 else Drop.TX_DEVICE] += 1
        return -ENOBUFS if sent == 0 else sent
    iface.tx_packets += 1
    iface.tx_bytes += total
    if net.capture.on != 0:
        pcap.frame(net.capture, iface.index, OUTBOUND, addressof(net.iov), parts, total, now)
    return 0


@compiled
def receive(net: Net, iface: Interface, now: int) -> int:
    """Take in one frame: its length, lent at `iface.device.frame` until `done`; 0 when there is none; -errno."""
    n = impair.receive(iface.impair_in, iface.device, now)
    if n <= 0:
        return n
    iface.rx_packets += 1
    iface.rx_bytes += n
    if net.capture.on != 0:
        net.iov[0] = iface.device.frame
        net.iov[1] = n
        pcap.frame(net.capture, iface.index, INBOUND, addressof(net.iov), 1, n, now)
    return n


@compiled
def done(iface: Interface) -> None:
    """Give the frame back that `receive` lent."""
    impair.done(iface.impair_in, iface.device)
