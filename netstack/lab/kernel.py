"""The Linux kernel as the other side: its end of a TAP, set up in the namespace of this thread."""
from __future__ import annotations

import contextlib
import ipaddress
import time
from pathlib import Path

from pyroute2 import IPRoute

IFA_F_NODAD = 0x02          # if_addr.h: use the address at once
IFF_LOWER_UP = 0x10000
PATIENCE = 20.0             # seconds that a link may take to come up


def make_tap(name: str, *addresses: str, mtu: int = 1500, queue: int = 1000, mode: str = "tap",
             multi_queue: bool = False) -> None:
    """Create a TAP (or a TUN, `mode`), give the kernel's end its addresses (CIDR), and bring it up.

    It has a carrier once a program opens it; see `await_carrier`.  `multi_queue`: one for `Tap.queues`.
    """
    with IPRoute() as route:
        if multi_queue:                                 # pyroute2 cannot ask for one
            from ..drivers import Tap

            Tap(name, multi_queue=True, persist=True, offload=False).close()
        else:
            route.link("add", ifname=name, kind="tuntap", mode=mode)
    _set_up(name, addresses, mtu, queue)


def make_veth(name: str, far: str, *addresses: str, mtu: int = 1500, queue: int = 1000) -> None:
    """Create a veth pair; `name` is the kernel's end, and gets the addresses; the kernel has no use for `far`."""
    with IPRoute() as route:
        route.link("add", ifname=name, kind="veth", peer=far)
    with contextlib.suppress(OSError):
        Path(f"/proc/sys/net/ipv6/conf/{far}/disable_ipv6").write_text("1")
    _set_up(far, (), mtu, queue)
    _set_up(name, addresses, mtu, queue)


def _set_up(name: str, addresses: tuple[str, ...], mtu: int, queue: int) -> None:
    with IPRoute() as route:
        index = route.link_lookup(ifname=name)[0]
        for setting, value in (("accept_dad", 0), ("router_solicitations", 0)):
            with contextlib.suppress(OSError):      # a kernel without IPv6
                Path(f"/proc/sys/net/ipv6/conf/{name}/{setting}").write_text(str(value))
        route.link("set", index=index, mtu=mtu, txqlen=queue, state="up")
        for text in addresses:
            address = ipaddress.ip_interface(text)
            flags = {"flags": IFA_F_NODAD} if address.version == 6 else {}
            route.addr("add", index=index, address=str(address.ip), prefixlen=address.network.prefixlen, **flags)


def await_carrier(name: str) -> None:
    """Wait until the kernel's end of a TAP sees that a program has opened it.  TimeoutError after some seconds."""
    deadline = time.monotonic() + PATIENCE
    with IPRoute() as route:
        while time.monotonic() < deadline:
            link = route.get_links(route.link_lookup(ifname=name)[0])[0]
            if link["flags"] & IFF_LOWER_UP and link.get_attr("IFLA_OPERSTATE") in ("UP", "UNKNOWN"):
                return
            time.sleep(0.01)
    raise TimeoutError(f"{name} has no carrier")


def counters() -> dict[str, int]:
    """What the kernel has counted in this thread's namespace, by nstat(8)'s names ("TcpRetransSegs", ...).

    /proc/net/snmp and /proc/net/netstat: two lines for each group, names and numbers.
    """
    found = {}
    for file in ("snmp", "netstat"):
        lines = Path(f"/proc/thread-self/net/{file}").read_text().splitlines()
        for names, numbers in zip(lines[::2], lines[1::2], strict=True):
            group, _, text = names.partition(":")
            found.update({group + name: int(n) for name, n in zip(text.split(), numbers.split()[1:], strict=True)})
    return found


def sysctl(name: str) -> str:
    """A setting of this thread's namespace, such as "net.ipv4.tcp_sack".  OSError if it has none."""
    return Path("/proc/sys", *name.split(".")).read_text().strip()


def set_sysctl(name: str, value: object) -> None:
    """Write a setting of this thread's namespace.  OSError if it has none, or we may not."""
    Path("/proc/sys", *name.split(".")).write_text(str(value))
