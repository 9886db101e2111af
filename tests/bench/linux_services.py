"""The small servers on Linux's own sockets, in a namespace that a veth pair leads to."""
from __future__ import annotations

import signal
import socket
import sys
import time

from pyroute2 import IPRoute

from netstack.services.small import SmallServers

from .peers import VETH_THEIRS, allow_descriptors, no_offload

WAIT = 10.0         # seconds for the veth to be handed over


def main() -> None:
    """Wait for veth1, serve, until a signal."""
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    allow_descriptors()
    print("NAMESPACE", flush=True)
    deadline = time.monotonic() + WAIT
    with IPRoute() as route:
        while not (found := route.link_lookup(ifname="veth1")):
            if time.monotonic() > deadline:
                sys.exit("no veth1")
            time.sleep(0.02)
        route.addr("add", index=found[0], address=VETH_THEIRS, prefixlen=24)
        route.link("set", index=found[0], state="up")
    if "--no-offload" in sys.argv:
        no_offload("veth1")
    SmallServers(socket)
    print("READY", flush=True)
    signal.sigwait(signals)


if __name__ == "__main__":
    main()
