"""Who is measured: a stack on a TAP, and Linux behind a veth pair."""
from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import shlex
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pyroute2 import IPRoute

from netstack.lab import kernel
from netstack.lab.namespace import command as in_namespace

from .measure import Target

TAP, TAP_OURS, TAP_THEIRS = "bench0", "10.77.0.1", "10.77.0.2"
VETH_OURS, VETH_THEIRS = "10.78.0.1", "10.78.0.2"
START = 180.0                   # seconds until READY, a cold compile included
STOP = 10.0

# struct ethtool_value commands (linux/ethtool.h)
SIOCETHTOOL = 0x8946
OFFLOADS = {"tx checksum": 0x17, "scatter-gather": 0x19, "tso": 0x1F, "gso": 0x24, "gro": 0x2C}

NETSTACK = "{python} -m netstack serve --tap {tap} --ip {address}/24 --gateway {gateway}"


def prepare_namespace() -> None:
    """Settings of this namespace that the load needs: ports enough for many short connections."""
    for setting, value in (("ip_local_port_range", "1024 65535"), ("tcp_tw_reuse", "1"), ("tcp_max_tw_buckets", "4096"),
                           ("tcp_max_syn_backlog", "8192")):
        with contextlib.suppress(OSError):
            Path(f"/proc/sys/net/ipv4/{setting}").write_text(value)


@contextlib.contextmanager
def _process(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A server process, ended with the block."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _await_ready(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], START)[0]:
        raise RuntimeError(f"{shlex.join(map(str, process.args))}: not READY after {START:.0f} s")
    line = process.stdout.readline()
    if b"READY" not in line:
        raise RuntimeError(f"{shlex.join(map(str, process.args))}: did not start (status {process.poll()})")


@contextlib.contextmanager
def stack_on_tap(name: str, command: str) -> Iterator[Target]:
    """A stack's server process; `command` has {tap} {address} {gateway} {python} in it."""
    kernel.make_tap(TAP, f"{TAP_OURS}/24")
    try:
        words = [w.format(tap=TAP, address=TAP_THEIRS, gateway=TAP_OURS, python=sys.executable)
                 for w in shlex.split(command)]
        with _process(words) as process:
            _await_ready(process)
            kernel.await_carrier(TAP)
            yield Target(name, TAP_THEIRS, process.pid)
    finally:
        with IPRoute() as route:
            route.link("del", index=route.link_lookup(ifname=TAP)[0])


@contextlib.contextmanager
def linux_on_veth(name: str, offload: bool) -> Iterator[Target]:
    """The same services on Linux's own sockets, in a second namespace behind a veth pair."""
    with _process(in_namespace([sys.executable, "-m", "tests.bench.linux_services",
                                *(() if offload else ("--no-offload",))])) as process:
        assert process.stdout is not None
        if process.stdout.readline() != b"NAMESPACE\n":
            raise RuntimeError("no second namespace")
        with IPRoute() as route:
            route.link("add", ifname="veth0", kind="veth", peer={"ifname": "veth1", "net_ns_pid": process.pid})
            index = route.link_lookup(ifname="veth0")[0]
            route.addr("add", index=index, address=VETH_OURS, prefixlen=24)
            route.link("set", index=index, state="up")
        if not offload:
            no_offload("veth0")
        _await_ready(process)
        yield Target(name, VETH_THEIRS, process.pid)
    # the pair went with the other namespace


def no_offload(interface: str) -> None:
    """What `ethtool -K interface tx off sg off tso off gso off gro off` does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for command in OFFLOADS.values():
            value = ctypes.create_string_buffer(struct.pack("II", command, 0))
            request = struct.pack("16sQ16x", interface.encode(), ctypes.addressof(value))
            with contextlib.suppress(OSError):      # a feature that this device does not have
                fcntl.ioctl(sock, SIOCETHTOOL, request)


def allow_descriptors() -> None:
    """Thousands of connections need thousands of descriptors."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def machine() -> dict[str, str | int]:
    """What the figures were measured on."""
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), os.uname().machine)
    return {"cpu": model, "cpus": len(os.sched_getaffinity(0)), "kernel": os.uname().release,
            "python": sys.version.split()[0]}
