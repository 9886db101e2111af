"""`netstack ping`: ICMP echo, with the words of ping(8).

RFC 792 and RFC 4443 section 4.  Over an ICMP datagram socket of the stack: the
socket's port is the identifier, the stack computes the checksum.
"""
from __future__ import annotations

import contextlib
import ipaddress
import math
import os
import socket as numbers
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import click

from .link import Link, link_options, opened, refuse

ECHO_REQUEST, ECHO_REPLY = 8, 0             # RFC 792
ECHO_REQUEST6, ECHO_REPLY6 = 128, 129       # RFC 4443 4.1, 4.2
HEADER = struct.Struct("!BBHHH")            # type, code, checksum, identifier, sequence number
LARGEST = 65507                             # payload bytes in an IPv4 packet of 65,535
STAMP = struct.Struct("!q")


@dataclass
class Statistics:
    """What happened."""

    sent: int = 0
    received: int = 0
    errors: int = 0
    times: list[float] = field(default_factory=list)    # milliseconds
    started: float = field(default_factory=time.monotonic)

    def lines(self, host: str) -> Iterator[str]:
        """ping's last lines."""
        elapsed = (time.monotonic() - self.started) * 1000
        lost = 100 - 100 * self.received / self.sent if self.sent else 0
        errors = f", +{self.errors} errors" if self.errors else ""
        yield f"--- {host} ping statistics ---"
        yield (f"{self.sent} packets transmitted, {self.received} received{errors}, "
               f"{lost:.6g}% packet loss, time {elapsed:.0f}ms")
        if self.times:
            mean = sum(self.times) / len(self.times)
            deviation = math.sqrt(max(0.0, sum(t * t for t in self.times) / len(self.times) - mean * mean))
            yield (f"rtt min/avg/max/mdev = {min(self.times):.3f}/{mean:.3f}/{max(self.times):.3f}/"
                   f"{deviation:.3f} ms")


def ping(stack: Any, host: str, *, name: str = "", count: int = 0, interval: float = 1.0, wait: float = 10.0,
         size: int = 56, say: Callable[[str], None] = click.echo) -> Statistics:
    """Send `count` requests (0: until interrupted), `interval` seconds apart; the last answer may take `wait`.

    `host` is an address, `name` what it was looked up for.
    """
    name = name or host
    address = ipaddress.ip_address(host)
    six = address.version == 6
    family, protocol = ((numbers.AF_INET6, numbers.IPPROTO_ICMPV6) if six else (numbers.AF_INET, numbers.IPPROTO_ICMP))
    headers = 48 if six else 28
    say(f"PING {name} ({host}) {size}({size + headers}) bytes of data." if not six
        else f"PING {name}({host}) {size} data bytes")
    statistics = Statistics()
    with stack.socket(family, numbers.SOCK_DGRAM, protocol) as sock:
        sock.connect((host, 0))
        with contextlib.suppress(KeyboardInterrupt):
            _exchange(sock, host, statistics, ECHO_REQUEST6 if six else ECHO_REQUEST,
                      ECHO_REPLY6 if six else ECHO_REPLY, count, interval, wait, size, say)
    say("")
    for line in statistics.lines(name):
        say(line)
    return statistics


def _exchange(sock: Any, host: str, statistics: Statistics, request: int, reply: int, count: int, interval: float,
              wait: float, size: int, say: Callable[[str], None]) -> None:
    answered: set[int] = set()
    sent_at: dict[int, float] = {}
    following = statistics.started
    while True:
        now = time.monotonic()
        if now >= following and (count == 0 or statistics.sent < count):
            statistics.sent += 1
            sequence = statistics.sent & 0xFFFF
            sent_at[sequence] = now
            answered.discard(sequence)
            _send(sock, request, sequence, size, statistics, say)
            following += interval
        elif count and statistics.sent >= count and (
                statistics.received + statistics.errors >= count or now >= sent_at[count & 0xFFFF] + wait):
            return
        deadline = following if not count or statistics.sent < count else sent_at[count & 0xFFFF] + wait
        sock.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            packet = sock.recv(LARGEST + HEADER.size)
        except TimeoutError:
            continue
        except OSError as error:        # an ICMP error about our request
            statistics.errors += 1
            say(f"From {host} icmp_seq={statistics.sent} {error.strerror}")
            continue
        arrived = time.monotonic()
        if len(packet) < HEADER.size or packet[0] != reply:
            continue
        sequence = HEADER.unpack_from(packet)[4]
        if sequence not in sent_at:
            continue
        milliseconds = (arrived - sent_at[sequence]) * 1000
        twice = " (DUP!)" if sequence in answered else ""
        if not twice:
            answered.add(sequence)
            statistics.received += 1
            statistics.times.append(milliseconds)
        say(f"{len(packet)} bytes from {host}: icmp_seq={sequence} time={milliseconds:.3f} ms{twice}")


def _send(sock: Any, request: int, sequence: int, size: int, statistics: Statistics,
          say: Callable[[str], None]) -> None:
    payload = (STAMP.pack(time.monotonic_ns()) + bytes(i & 0xFF for i in range(8, size)))[:size]
    try:
        sock.send(HEADER.pack(request, 0, 0, 0, sequence) + payload)
    except OSError as error:
        statistics.errors += 1
        say(f"ping: {error.strerror or error}")


@click.command()
@link_options
@click.option("-c", "count", type=click.IntRange(min=0), default=0, metavar="COUNT",
              help="Stop after so many [no limit].")
@click.option("-i", "interval", type=click.FloatRange(min=0.001), default=1.0, metavar="SECONDS",
              help="Between two requests [1].")
@click.option("-W", "wait", type=click.FloatRange(min=0.001), default=10.0, metavar="SECONDS",
              help="For the last answer [10].")
@click.option("-s", "size", type=click.IntRange(0, LARGEST), default=56, metavar="BYTES",
              help="Data bytes in a request [56].")
@click.option("-6", "six", is_flag=True, help="IPv6.")
@click.argument("host")
def command(link: Link, count: int, interval: float, wait: float, size: int, six: bool, host: str) -> None:
    """Send ICMP echo requests to HOST, an address or a name, which the stack's own resolver looks up.

    Exit status: 0 if an answer came, 1 if none did, 2 for any other error.
    """
    with contextlib.suppress(ValueError):
        if six and ipaddress.ip_address(host).version != 6:
            refuse(f"{host}: not an IPv6 address", 2)
    with opened(link) as stack:
        try:
            address = stack.getaddrinfo(host, 0, numbers.AF_INET6 if six else 0, numbers.SOCK_DGRAM)[0][4][0]
            statistics = ping(stack, address, name=host, count=count, interval=interval, wait=wait, size=size)
        except OSError as error:
            refuse(f"{host}: {error.strerror or os.strerror(error.errno or 0)}", 2)
    sys.exit(0 if statistics.received else 1)
