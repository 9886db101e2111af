"""A DHCP server at the other end of a Wire, made of scapy's layers: nothing of it is the client's code.

It does what a test says; `heard` has every message that came, in order.
"""
from __future__ import annotations

import socket
import threading
from contextlib import suppress

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

MAC = "02:00:00:00:00:aa"
NEVER = 1 << 62


class Server:
    """Grants `address` to whoever asks, for `lease` seconds, with `options` besides."""

    def __init__(self, wire, ip="10.0.0.1"):
        self.wire = wire
        self.ip = ip
        self.address = "10.0.0.5"
        self.lease = 1000
        self.options = [("subnet_mask", "255.255.255.0"), ("router", "10.0.0.1"),
                        ("name_server", "10.0.0.1", "10.0.0.2"), ("domain", b"lab.test")]
        self.silent = set()         # names of messages that it does not answer
        self.refuses = False        # NAK to each request
        self.taken = set()          # addresses that another host has
        self.heard = []             # (name, packet)
        self.times = []             # seconds of the clock, of each
        self.clock = None
        self.trick = None           # (name, packet, reply) -> replies
        self._over = threading.Event()

    # On a virtual clock: a task

    deadline = NEVER

    def poll(self, now):
        busy = False
        while (frame := self.wire._tx.pop()) is not None:
            self.take(frame)
            busy = True
        return busy

    # In real time: a thread

    def serve(self):
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        return self

    def _run(self):
        while not self._over.is_set():
            frame = self.wire.sniff(0.05)
            if frame is not None:
                self.take(frame)

    def close(self):
        self._over.set()
        self.thread.join(60)

    # What comes

    def take(self, frame):
        packet = Ether(frame)
        if ARP in packet:
            self._arp(packet[ARP])
        elif DHCP in packet:
            self._dhcp(packet)

    def _arp(self, asked):
        if asked.op == 1 and (asked.pdst == self.ip or asked.pdst in self.taken) and asked.psrc != asked.pdst:
            mac = MAC if asked.pdst == self.ip else "02:00:00:00:00:bb"
            self.wire.inject(bytes(Ether(src=mac, dst=asked.hwsrc) / ARP(
                op=2, hwsrc=mac, psrc=asked.pdst, hwdst=asked.hwsrc, pdst=asked.psrc)))

    def _dhcp(self, packet):
        name = {1: "discover", 3: "request", 4: "decline", 7: "release"}[said(packet, "message-type")]
        self.heard.append((name, packet))
        self.times.append(self.clock.time() if self.clock else 0)
        if name in self.silent or name in ("decline", "release"):
            return
        if name == "request" and said(packet, "server_id") not in (None, self.ip):
            return
        answer = "offer" if name == "discover" else "nak" if self.refuses else "ack"
        reply = self.reply(packet, answer)
        for one in [reply] if self.trick is None else self.trick(name, packet, reply):
            self.wire.inject(bytes(one))

    def reply(self, packet, kind):
        asked = packet[BOOTP]
        options = [("message-type", kind), ("server_id", self.ip)]
        if kind != "nak":
            options += [("lease_time", self.lease), *self.options]
        to = asked.ciaddr if asked.ciaddr != "0.0.0.0" and kind != "nak" else "255.255.255.255"
        return (Ether(src=MAC, dst=packet.src if to == asked.ciaddr else "ff:ff:ff:ff:ff:ff")
                / IP(src=self.ip, dst=to) / UDP(sport=67, dport=68)
                / BOOTP(op=2, xid=asked.xid, ciaddr=asked.ciaddr, chaddr=asked.chaddr, flags=asked.flags,
                        yiaddr=self.address if kind != "nak" else "0.0.0.0")
                / DHCP(options=[*options, "end"]))

    def names(self):
        return [name for name, _ in self.heard]


class SocketServer(Server):
    """... on a socket of another stack, which has `ip`."""

    def __init__(self, stack, ip="10.0.0.1"):
        super().__init__(self, ip)
        self.sock = stack.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self.sock.bind(("", 67))
        self.sock.setblocking(False)

    def poll(self, now):
        busy = False
        with suppress(BlockingIOError):
            while True:
                data, (source, _) = self.sock.recvfrom(2000)
                self._dhcp(Ether() / IP(src=source) / UDP(sport=68, dport=67) / BOOTP(data))
                busy = True
        return busy

    def inject(self, frame):
        packet = Ether(frame)
        self.sock.sendto(bytes(packet[UDP].payload), (packet[IP].dst, 68))


def said(packet, option):
    """What an option of a packet says, or None."""
    return next((one[1] for one in packet[DHCP].options if one[0] == option), None)
