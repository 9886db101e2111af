"""The peer: what the script has it send."""

from __future__ import annotations

import socket as real
import struct
from typing import Any

from . import packets
from .bench import PEER_MAC, Bench
from .packets import ICMP, ICMP6, TCP, UDP
from .script import ACK, SYN, IcmpPacket, Mismatch, TcpPacket, UdpPacket, Unsupported
from .talk import Talk
from .transfer import pattern


class Peer(Bench):
    """Packets to the stack."""

    def _inbound(self, packet: TcpPacket) -> Talk:
        """The conversation that a packet of the peer belongs to."""
        source, destination = packet.ports or (None, None)
        fresh, self.listens = self.listens and source is None and packet.flags & (SYN | ACK) == SYN, False
        for conversation in self.talks:
            if conversation.protocol == TCP and conversation.fits(source, destination, True) and not fresh:
                if packet.flags & (SYN | ACK) == SYN and source is None and self._is_over(conversation):
                    break                               # the peer opens another one, from another port
                return conversation
        remote = source if source is not None else self.next_port
        self.next_port += source is None
        return self.talk_of(destination if destination is not None else self.listener, remote)

    def _is_over(self, conversation: Talk) -> bool:
        """Whether it was open, and the stack knows no more of it."""
        ends = (conversation.local, conversation.remote)
        return conversation.opened and not any(
            c.protocol == "tcp" and c.remote is not None and (c.local[1], c.remote[1]) == ends
            for c in self.stack.connections())

    def inject(self, protocol: int, body: bytes, *, tos: int = 0, ttl: int | None = None, flow: int = 0) -> None:
        """Give the stack a packet."""
        packet = packets.ip(self.remote, self.local, protocol, body, tos=tos, ttl=ttl or 255, flow=flow)
        self.wire.inject(packets.ethernet(self.mac, PEER_MAC, packet))
        self._settle()

    def _header(self, packet: TcpPacket | UdpPacket | IcmpPacket) -> dict[str, Any]:
        tos = packet.ip.tos if packet.ip.tos is not None else packet.ip.ecn or 0
        return {"tos": tos, "ttl": packet.ip.ttl, "flow": packet.ip.flow or 0}

    def inject_tcp(self, packet: TcpPacket) -> None:
        """A segment."""
        conversation = self._inbound(packet)
        self.touched(conversation)
        if packet.win is not None:
            conversation.win = packet.win
        syn = packet.flags & SYN
        ack = packet.ack or 0
        if packet.flags & ACK:
            ack = conversation.to_live(ack, syn)
        assert packet.options is not None
        self.tell(str(packet))
        if syn:
            conversation.peer_opens(packet.seq)
        else:
            conversation.opened = True
        seq = conversation.peer_to_live(packet.seq, syn)
        begin = seq + bool(syn) - (conversation.peer_isn or 0) - 1
        payload = pattern(begin & packets.MASK, packet.length)
        body = packets.tcp(self.remote, self.local, conversation.remote, conversation.local, seq, ack,
                           packet.flags, conversation.win if packet.win is None else packet.win, packet.urg or 0,
                           conversation.inbound_options(packet.options, syn), payload)
        self.inject(TCP, body, **self._header(packet))

    def inject_udp(self, packet: UdpPacket) -> None:
        """A datagram."""
        source, destination = packet.ports or (None, None)
        found = [t for t in self.talks if t.protocol == UDP and t.fits(source, destination, True)]
        remote = source or (found[0].remote if found else self.options.connect_port)
        local = destination or (found[0].local if found else self._udp_port())
        self.tell(str(packet))
        self.inject(UDP, packets.udp(self.remote, self.local, remote, local, pattern(0, packet.length)),
                    **self._header(packet))

    def _udp_port(self) -> int:
        for o in reversed(list(self.calls.open.values())):
            if o.sock is not None and o.sock.type == real.SOCK_DGRAM and (port := o.sock.getsockname()[1]):
                return int(port)
        return self.options.bind_port

    def inject_icmp(self, packet: IcmpPacket) -> None:
        """An ICMP error about a packet of the stack."""
        six = self.options.six
        numbers = packets.icmp_numbers(6 if six else 4, packet.kind, packet.code)
        if numbers is None:
            name = f"{packet.kind} {packet.code or ''}".rstrip()
            raise Unsupported(packet.at, f"the ICMP{'v6' if six else ''} message {name}")
        protocol = UDP if packet.seq is None else TCP
        found = [t for t in self.talks if t.protocol == protocol]
        if not found:
            raise Mismatch(packet.at, "there is no connection yet that an ICMP message could be about")
        conversation = found[0]
        if protocol == UDP:
            quoted = packets.udp(self.local, self.remote, conversation.local, conversation.remote, bytes(packet.length))
            quoted, length = quoted[:28], 8 + packet.length
        else:
            assert packet.seq is not None
            quoted = packets.tcp(self.local, self.remote, conversation.local, conversation.remote,
                                 conversation.to_live(packet.seq), 0, ACK, 0, 0, (), b"")
            length = 20 + packet.length
        original = packets.ip(self.local, self.remote, protocol, quoted, ttl=64, length=length)
        kind, code = numbers
        mtu = packet.mtu or 0
        if six:
            body = struct.pack("!BBHI", kind, code, 0, mtu) + original
        else:
            body = struct.pack("!BBHHH", kind, code, 0, 0, mtu) + original
        number = ICMP6 if six else ICMP
        self.tell(str(packet))
        self.inject(number, packets.summed(self.remote, self.local, number, body, 2), **self._header(packet))
