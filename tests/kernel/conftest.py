"""A network namespace for each test, and in it a TAP with the kernel at one end and a stack at the other.

unshare(2): a thread alone moves to the new namespace; sockets it opens, and
threads and processes it starts, are in there too.  The namespace goes when the
last of them has gone.
"""
from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from netstack.lab import kernel
from netstack.lab.namespace import CLONE_NEWNET, loopback_up
from netstack.machine.mode import JIT

REQUIRED = os.environ.get("NETSTACK_REQUIRE_KERNEL") == "1"
TAP, FAR = "tap0", "far0"
LINUX, LINUX6 = "10.0.0.1", "fd00::1"
STACK, STACK6 = "10.0.0.2", "fd00::2"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is a kernel test."""
    here = os.path.dirname(__file__) + os.sep
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.kernel)


def _refuse(reason: str) -> None:
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def netns(nothing_left: None) -> Iterator[None]:
    """This thread is in a new network namespace, with its loopback up."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(CLONE_NEWNET) != 0:
            _refuse(f"no network namespace: {os.strerror(ctypes.get_errno())} "
                    "(as root, or: python netstack/lab/namespace.py python -m pytest)")
        if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
            _refuse("/dev/net/tun is not there or not open to us")
        loopback_up()
        yield
    finally:
        libc.setns(home, CLONE_NEWNET)
        os.close(home)


def retransmit_for_loss_only() -> None:
    """The kernel shall, in this namespace, and not because a busy machine let us wait for some milliseconds.

    No tail loss probes; where it has that setting (Linux 6.11), a timeout of some seconds at least.
    """
    kernel.set_sysctl("net.ipv4.tcp_early_retrans", 0)
    with contextlib.suppress(OSError):
        kernel.set_sysctl("net.ipv4.tcp_rto_min_us", 5_000_000)


@dataclass
class Net:
    """The kernel at `linux` and `linux6`, the stack at `ip` and `ip6`."""

    stack: Any
    tap: str = TAP
    linux: str = LINUX
    linux6: str = LINUX6
    ip: str = STACK
    ip6: str = STACK6


@pytest.fixture
def make_link(netns: None, life: ExitStack) -> Callable[..., Net]:
    """make_link(mtu=1500, offload=True, device="tap"): the kernel's end set up, and a stack attached to the other.

    "tun": IP packets; "raw": a veth, with a packet socket at the far end.
    """
    def make(mtu: int = 1500, offload: bool = True, device: str = "tap") -> Net:
        import netstack
        from netstack.drivers import Raw, Tap, Tun

        addresses = [f"{LINUX}/24", *([f"{LINUX6}/64"] if mtu >= 1280 else [])]
        if device == "raw":
            kernel.make_veth(TAP, FAR, *addresses, mtu=mtu)
        else:
            kernel.make_tap(TAP, *addresses, mtu=mtu, mode=device)
        stack = life.enter_context(netstack.Stack())
        six = {"ip6": f"{STACK6}/64"} if mtu >= 1280 else {}
        driver = (Raw(FAR, offload=offload) if device == "raw" else Tun(TAP, offload=offload) if device == "tun"
                  else Tap(TAP, offload=offload))
        stack.attach(driver, ip=f"{STACK}/24", gateway=LINUX, mtu=mtu, dad=False, name=TAP, **six)
        kernel.await_carrier(TAP)
        return Net(stack)
    return make


@pytest.fixture
def net(make_link: Callable[..., Net]) -> Net:
    """An ordinary Ethernet link, MTU 1500."""
    return make_link()


@pytest.fixture
def bare_tap(netns: None) -> str:
    """Only the kernel's end of a TAP, for a command to attach to."""
    kernel.make_tap(TAP, f"{LINUX}/24", f"{LINUX6}/64")
    return TAP


@pytest.fixture
def linux(netns: None) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """linux("send", host, port, size): start tests/kernel/linux.py in this namespace; ended after the test."""
    running: list[subprocess.Popen[str]] = []

    def start(*words: object) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, os.path.join(os.path.dirname(__file__), "linux.py"),
                                    *map(str, words)], stdout=subprocess.PIPE, text=True)
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def command(netns: None) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """command("serve", ...): start `netstack serve ...` in this namespace; ended after the test."""
    running: list[subprocess.Popen[str]] = []

    def start(*words: object) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-m", "netstack", *map(str, words)], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def megabytes() -> Callable[[int], int]:
    """megabytes(n): so many bytes at full speed, a fraction of it interpreted."""
    return lambda n: n * 1_000_000 // (1 if JIT else 50)
