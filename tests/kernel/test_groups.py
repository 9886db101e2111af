"""Groups on a real link: a bridge of the kernel's that forwards to members only, with a querier of each version."""
from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest
from pyroute2 import IPRoute

from netstack.lab import kernel
from tests.waiting import until

from .conftest import LINUX, LINUX6, STACK, STACK6, TAP

BRIDGE = "br0"
GROUP, GROUP6 = "239.1.2.3", "ff05::1234"
RTM_GETMDB, NLM_F_DUMP, NLM_F_REQUEST, AF_BRIDGE, NLMSG_DONE, NLMSG_ERROR = 86, 0x300, 1, 7, 3, 2
HEAD = struct.Struct("=IHHII")


@pytest.fixture
def bridged(netns: None, life: Any) -> Callable[..., Any]:
    """bridged(igmp=3, mld=2): a bridge that asks who is in which group, and our stack on its port."""
    def make(igmp: int = 3, mld: int = 2) -> Any:
        import netstack
        from netstack.drivers import Tap

        kernel.make_tap(TAP)
        try:
            with IPRoute() as route:
                route.link("add", ifname=BRIDGE, kind="bridge")
                bridge, port = (route.link_lookup(ifname=name)[0] for name in (BRIDGE, TAP))
                route.link("set", index=bridge, kind="bridge", br_mcast_snooping=1, br_mcast_igmp_version=igmp,
                           br_mcast_mld_version=mld, br_mcast_query_response_intvl=20,
                           br_mcast_startup_query_intvl=50, br_mcast_query_intvl=100)
                route.link("set", index=port, master=bridge)
                route.link("set", index=bridge, state="up")
                for address, prefix in ((LINUX, 24), (LINUX6, 64)):
                    route.addr("add", index=bridge, address=address, prefixlen=prefix,
                               **({"flags": kernel.IFA_F_NODAD} if prefix == 64 else {}))
        except Exception as error:
            pytest.skip(f"no bridge: {error}")
        stack = life.enter_context(netstack.Stack())
        stack.attach(Tap(TAP), ip=f"{STACK}/24", ip6=f"{STACK6}/64", gateway=LINUX, dad=False, name="eth0")
        kernel.await_carrier(TAP)
        return stack
    return make


def ask_for_groups(on: bool = True) -> None:
    """The bridge asks, as a router would, or no longer."""
    with IPRoute() as route:
        route.link("set", index=route.link_lookup(ifname=BRIDGE)[0], kind="bridge", br_mcast_querier=int(on))


def known() -> bytes:
    """The bridge's table of groups, as netlink tells it: the addresses stand in it (if_bridge.h, br_mdb_entry)."""
    found = b""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.bind((0, 0))
        request = struct.pack("=B3xI", AF_BRIDGE, 0)
        netlink.send(HEAD.pack(HEAD.size + len(request), RTM_GETMDB, NLM_F_DUMP | NLM_F_REQUEST, 1, 0) + request)
        while True:
            data = netlink.recv(65536)
            while data:
                size, kind, *_ = HEAD.unpack_from(data)
                if kind in (NLMSG_DONE, NLMSG_ERROR):
                    return found
                found += data[:size]
                data = data[size + 3 & -4:]


def is_known(group: str) -> bool:
    return socket.inet_pton(socket.AF_INET6 if ":" in group else socket.AF_INET, group) in known()


def join(stack: Any, life: Any, group: str) -> Any:
    index = next(i for i, name in stack.if_nameindex() if name == "eth0")
    if ":" in group:
        sock = life.enter_context(stack.socket(socket.AF_INET6, socket.SOCK_DGRAM))
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
                        socket.inet_pton(socket.AF_INET6, group) + struct.pack("i", index))
    else:
        sock = life.enter_context(stack.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                        socket.inet_aton(group) + struct.pack("4si", bytes(4), index))
    sock.bind(("", 5000))
    sock.settimeout(30)
    return sock


@pytest.mark.parametrize("group", [GROUP, GROUP6])
def test_the_bridge_learns_who_joins_and_who_leaves(bridged: Any, life: Any, group: str) -> None:
    stack = bridged()
    ask_for_groups()                            # only who asks forgets before its time
    sock = join(stack, life, group)
    until(lambda: is_known(group))
    sock.close()
    until(lambda: not is_known(group))


@pytest.mark.parametrize("versions", [(3, 2), (2, 1)])
@pytest.mark.parametrize("group", [GROUP, GROUP6])
def test_the_bridge_learns_it_by_asking(bridged: Any, life: Any, group: str, versions: tuple[int, int]) -> None:
    """What it has not heard, since it did not listen then, it is told when it asks, in its version."""
    stack = bridged(*versions)
    with IPRoute() as route:
        bridge = route.link_lookup(ifname=BRIDGE)[0]
        route.link("set", index=bridge, kind="bridge", br_mcast_snooping=0)
        sock = join(stack, life, group)
        until(lambda: not _is_pending(stack))   # the reports of joining are over
        assert not is_known(group)
        route.link("set", index=bridge, kind="bridge", br_mcast_snooping=1)
    ask_for_groups()
    until(lambda: is_known(group))
    family = socket.AF_INET6 if ":" in group else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as out:
        if family == socket.AF_INET6:
            out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex(BRIDGE))
        else:
            out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(LINUX))
        out.sendto(b"news", (group, 5000))
        assert sock.recv(100) == b"news"


def _is_pending(stack: Any) -> bool:
    iface = stack._net.interfaces[2]
    return bool(iface.igmp.change_at or iface.mld.change_at)
