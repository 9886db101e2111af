"""What a device does not do for us: checksums filled in, and large packets cut into segments.

TCP and UDP hand down packets that stand for many (`Packet.gso_size`), whatever
the device is: a segment costs then a copy of the headers and a system call, not
the whole way down.  The rules for the segments' headers are Linux's
(Documentation/networking/segmentation-offloads.rst).
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from ..drivers import impair, pcap
from ..drivers.offload import Gso, clear, put_checksum
from ..errors import EINVAL, ENOBUFS, Drop
from ..machine import addressof, be16, be32, compiled, copy, load8, put16, put32, store8
from . import checksum, ethernet, taps
from .net import SCRATCH_SEGMENT

if TYPE_CHECKING:
    from .net import Interface, Net

FIN_PSH = 0x09              # only the last segment has them
CWR = 0x80                  # ... and only the first this one (RFC 3168 6.1.2)
LONGEST_HEADERS = 192       # Ethernet 14, IP 40, TCP 60
OUTBOUND = int(pcap.Direction.OUTBOUND)


@compiled
def put_frame(net: Net, iface: Interface, iov: int, parts: int, total: int, now: int) -> int:
    """One frame, whose parts stand at `iov`, goes to the device: counted, and captured.  0, or -errno."""
    sent = impair.transmit(iface.impair_out, iface.device, iov, parts, total, now)
    if sent <= 0:
        iface.tx_errors += 1
        net.drops[Drop.TX_QUEUE if sent == 0 else Drop.TX_DEVICE] += 1
        return -ENOBUFS if sent == 0 else sent
    iface.tx_packets += 1
    iface.tx_bytes += total
    if net.capture.on != 0:
        pcap.frame(net.capture, iface.index, OUTBOUND, iov, parts, total, now)
    if net.tapped != 0:
        taps.frame(net, iface.index, taps.OUTBOUND, iov, parts, total, now)
    return 0


@compiled
def complete(net: Net, parts: int) -> None:
    """Fill in the transport checksum of the frame that `net.iov` describes, as `net.notes` says where."""
    o = net.notes
    at = net.iov[0] + o.start
    acc = checksum.add(0, at, net.iov[1] - o.start, 0)
    acc = checksum.gather(acc, addressof(net.iov) + 16, parts - 1)      # what stands in the first piece is even
    put_checksum(at, o.field, acc)
    clear(o)


@compiled
def _payload(net: Net, parts: int, header: int, begin: int, n: int) -> int:
    """Name n bytes of the payload from `begin` on in `net.cut[2]` and the following; how many pieces there are."""
    pieces = 0
    offset = -header                    # where the piece at hand begins, in the payload
    for i in range(parts):
        length = net.iov[2 * i + 1]
        first = max(begin, offset)
        last = min(begin + n, offset + length)
        if first < last and last > 0:
            pieces += 1
            net.cut[2 * pieces] = net.iov[2 * i] + first - offset
            net.cut[2 * pieces + 1] = last - first
        offset += length
    return pieces


@compiled
def send(net: Net, iface: Interface, parts: int, total: int, now: int) -> int:
    """Send the large packet that `net.iov` and `net.notes` describe in segments: 0, or -errno, which ends it."""
    o = net.notes
    header = o.headers
    start = o.start
    size = o.size
    udp = o.gso == Gso.UDP_L4
    v4 = be16(net.iov[0] + 12) == ethernet.EtherType.IPV4
    payload = total - header
    if header > LONGEST_HEADERS or net.iov[1] < header or size <= 0:
        clear(o)
        net.drops[Drop.TX_DEVICE] += 1
        return -EINVAL
    h = addressof(net) + net.scratch + SCRATCH_SEGMENT
    copy(h, net.iov[0], header)
    ip = h + ethernet.HEADER_LEN
    transport = h + start
    flags = 0 if udp else load8(transport + 13)
    seq = 0 if udp else be32(transport + 4)
    id = be16(ip + 4)
    first = be16(ip)                            # with the codepoint of ECN, which `impair` may change in a segment
    # the pseudo header's sum, without its length (RFC 1624: its complement is added)
    pseudo = checksum.fold(be16(transport + o.field) + (~(total - start) & 0xFFFF))
    field = o.field
    clear(o)
    begin = 0
    while begin < payload:
        n = min(size, payload - begin)
        length = header - start + n                 # of the transport packet
        put16(ip, first)
        if v4:
            put16(ip + 2, header - ethernet.HEADER_LEN + n)
            put16(ip + 4, id)
            id = (id + 1) & 0xFFFF
            put16(ip + 10, 0)
            put16(ip + 10, checksum.finish(checksum.add(0, ip, start - ethernet.HEADER_LEN, 0)))
        else:
            put16(ip + 4, length)
        if udp:
            put16(transport + 4, length)
        else:
            put32(transport + 4, seq + begin)
            mask = 0
            if begin + n < payload:
                mask |= FIN_PSH
            if begin > 0:
                mask |= CWR
            store8(transport + 13, flags & ~mask)
        put16(transport + field, 0)
        pieces = _payload(net, parts, header, begin, n)
        net.cut[0] = h
        net.cut[1] = header
        acc = checksum.add(checksum.fold(pseudo + length), transport, header - start, 0)
        put_checksum(transport, field, checksum.gather(acc, addressof(net.cut) + 16, pieces))
        error = put_frame(net, iface, addressof(net.cut), pieces + 1, header + n, now)
        if error < 0:
            return error
        begin += n
    return 0
