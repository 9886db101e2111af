"""DHCP: an interface's IPv4 address, routes and name servers from a server on its link.

RFC 2131 (the protocol), RFC 2132 (options), RFC 3396 (long ones), RFC 3397
(domain search), RFC 3442 (classless routes).

`message` is what goes over the link, `options` what stands in it, `lease` what a
server has granted; `client` is the state machine, which knows no socket and no
clock; `link` sends and receives for it, `configure` gives the interface what was
granted, and `agent` runs all of them for one interface.  docs/dhcp.md.
"""
from __future__ import annotations

from .lease import Lease

__all__ = ["Lease"]
