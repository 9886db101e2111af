"""Link: the one place where frames leave and arrive.

A frame that leaves gets its Ethernet header here (RFC 894, RFC 2464), goes
through what `impair_out` does to it, to the device and into the capture.  One
that arrives comes from the device through `impair_in`, and into the capture.
A loopback interface has no addresses to resolve, but the same header, all
zero, so that there is one kind of frame to parse and to capture.
"""
from __future__ import annotations

from ..drivers import impair, offload, pcap
from ..errors import ENETDOWN, Drop
from ..machine import addressof, at, compiled, invoke6, unit
from . import ethernet, segment, taps
from .ethernet import HEADER_LEN
from .net import Interface, Net

LOOPBACK = 1        # index of the loopback interface
INBOUND = int(pcap.Direction.INBOUND)


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
    """The frame that `net.iov` describes goes to the device.  A unit, since it has many callers (`machine/unit.py`).

    What it lacks (`net.notes`) is left to the device, if that can do it and nobody looks at the frame on its way.
    """
    net = at(Net, net_at)
    iface = at(Interface, iface_at)
    if iface.up == 0:
        offload.clear(net.notes)
        net.drops[Drop.TX_DEVICE] += 1
        return -ENETDOWN
    if net.notes.start != 0 and _is_ours(net, iface):
        if net.notes.size != 0:
            return segment.send(net, iface, parts, total, now)
        segment.complete(net, parts)
    elif net.notes.size != 0:
        iface.tx_packets += (total - net.notes.headers - 1) // net.notes.size
    offload.move(iface.device.tx_notes, net.notes)
    return segment.put_frame(net, iface, addressof(net.iov), parts, total, now)


@compiled
def _is_ours(net: Net, iface: Interface) -> bool:
    """Whether what the frame lacks is for us to do."""
    return (offload.needed(net.notes) & ~iface.device.features != 0 or iface.impair_out.on != 0
            or net.capture.on != 0 or net.tapped != 0)


@compiled
def may_have(iface: Interface, now: int) -> bool:
    """Whether `receive` may give a frame.  False only if it cannot."""
    return impair.may_have(iface.impair_in, iface.device, now)


@compiled
def receive(net: Net, iface: Interface, now: int) -> int:
    """Take in one frame: its length, lent at `iface.device.frame` until `done`; 0 when there is none; -errno."""
    n = impair.receive(iface.impair_in, iface.device, now)
    if n <= 0:
        return n
    iface.rx_packets += offload.count(iface.device.rx_notes, iface.device.frame, n)
    iface.rx_bytes += n
    if net.capture.on != 0:
        net.iov[0] = iface.device.frame
        net.iov[1] = n
        pcap.frame(net.capture, iface.index, INBOUND, addressof(net.iov), 1, n, now)
    if net.tapped != 0:
        net.iov[0] = iface.device.frame
        net.iov[1] = n
        taps.frame(net, iface.index, taps.INBOUND, addressof(net.iov), 1, n, now)
    return n


@compiled
def done(iface: Interface) -> None:
    """Give the frame back that `receive` lent."""
    impair.done(iface.impair_in, iface.device)
