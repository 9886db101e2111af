"""Net: everything the IP layer knows, as one record inside World.

An address is two 64-bit halves, `hi` and `lo`, IPv4 as v4-mapped IPv6
(RFC 4291 2.5.5.2: hi = 0, lo = 0x0000ffff_aabbccdd).  The halves are compared
and masked, never ordered.  A prefix length counts in 128 bits too: an IPv4 /24
is 120.
"""
from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from ..drivers.device import Device
from ..drivers.impair import Impair
from ..drivers.offload import Offload
from ..drivers.pcap import Capture
from ..errors import DROPS
from ..machine import Array, compiled, i32, i64, record, u8, u16, u32
from ..machine.arena import Arena
from ..machine.random import Key, Rng
from ..machine.ring import Ring
from ..machine.table import Table
from ..machine.timers import Timers
from .membership import Querier, Wanted

INTERFACES = 16             # per stack, entry 0 is not used
ADDRESSES = 16              # per interface
ROUTES = 256                # per stack

# Where headers are built in the scratch area, so that nobody writes over another's.
SCRATCH = 4096              # bytes of it
SCRATCH_FRAGMENT = 0        # link and IPv4 header of a fragment (ip.fragment)
SCRATCH_ARP = 256           # ip.arp
SCRATCH_NDP = 512           # ip.ndp
SCRATCH_ICMP = 1024         # ip.icmp, ip.icmpv6
SCRATCH_GROUPS = 1536       # ip.igmp, ip.mld: a packet of 1,500 bytes and its link header
SCRATCH_SEGMENT = 3072      # link, IP and transport header of a segment (ip.segment)
SCRATCH_TRANSPORT = 3584    # TCP's, UDP's and ICMP echo's headers; the IP layer writes backwards from there


class Verdict(IntEnum):
    """What `ip.input.receive` and `ip.timeouts.expire` ask the engine to do.

    A positive value below 256 is the protocol number to deliver `net.rx` to.
    """

    DONE = 0            # nothing: consumed, or dropped and counted
    ERROR = 256         # tell the socket that `net.error` describes
    AGAIN = 257         # (expire) something was done; call again
    RAW = 258           # give `net.rx` to raw sockets, then call `ip.input.go_on`


class Medium(IntEnum):
    """What an interface's link is: whom one asks for addresses, and whose packets they are."""

    LOOPBACK = 0        # our own; nobody to ask
    ETHERNET = 1        # others'; ARP and NDP
    POINT_TO_POINT = 2  # another host's, who is the only one there; nobody to ask


@record
class InterfaceAddress:
    """One address of an interface."""

    hi: i64
    lo: i64
    prefix: u8          # of 128
    state: u8           # ip.address.State
    probes: u8          # duplicate address detection: probes still to send
    announcements: u8   # ARP announcements still to send (RFC 5227 2.3)
    deadline: i64       # of the next one, ns; NEVER: none
    defended: i64       # when we last defended it (RFC 5227 2.4), ns; 0: never


@record
class Interface:
    """One interface and its device."""

    index: u8                   # its place in net.interfaces; 0: not in use
    up: u8
    ethernet: u8                # Medium
    address_count: u8
    mtu: i32                    # largest IP packet, bytes
    mac: i64                    # 48 bits
    conflicts: i64              # how often somebody else used an address of ours (RFC 5227, RFC 4862)
    conflict_mac: i64           # who did last
    conflict_hi: i64            # ... and which address
    conflict_lo: i64
    addresses: Annotated[Array[InterfaceAddress], 16]
    device: Device
    impair_in: Impair           # what happens to frames on their way in
    impair_out: Impair          # ... and out
    igmp: Querier
    mld: Querier
    rx_packets: i64             # a large one that stands for several counts as those
    rx_bytes: i64
    tx_packets: i64
    tx_bytes: i64
    tx_errors: i64              # frames that the device refused, or had no room for


@record
class Route:
    """Where packets for a prefix go."""

    hi: i64
    lo: i64
    gateway_hi: i64             # all zero: the prefix is on the link
    gateway_lo: i64
    source_hi: i64              # preferred source, or all zero
    source_lo: i64
    prefix: u8                  # of 128
    interface: u8               # 0: not in use
    metric: i32


@record
class Packet:
    """One packet to send: what `ip.output.send` is given.

    The transport header stands at `head` with at least 128 free bytes before it;
    IP and link headers are written backwards in front of it.  The payload is up
    to two pieces, sent from where they stand.
    """

    src_hi: i64
    src_lo: i64
    dst_hi: i64
    dst_lo: i64
    protocol: u8
    ttl: u8             # 0: the stack's default
    tos: u8             # IPv4 TOS, IPv6 traffic class
    dont_fragment: u8   # 1: it goes whole, or not at all, and IPv4 routers may not cut it; 2: but they may
    interface: u8       # only through this one; 0: as routed
    broadcast: u8       # 1: the socket may send to a broadcast address
    confirm: u8         # 1: the peer has made progress, so its neighbour entry is right (RFC 4861 7.3.1)
    head: i64           # address of the transport header
    head_len: i64
    a: i64              # address of the first piece
    a_len: i64
    b: i64
    b_len: i64
    # for this packet only; `send` clears them:
    csum_offset: u8     # where in the transport header the checksum stands, which lacks; 0: it lacks none
    gso: u8             # offload.Gso: ... it is to be cut into segments
    gso_size: u16       # ... with so many bytes of payload each
    options_len: u8     # bytes of IPv4 options
    foreign: u8         # 1: the source need not be ours
    manner: u8          # CUT | OF_LINK | EXTENDED
    options: i64        # address of the ip.ipv4_options.IpOptions that says which
    most: i32           # (CUT, IPv6) bytes of a fragment at most (ipv6(7), IPV6_MTU); 0: what the path takes
    extensions: i64     # (EXTENDED) address of the ip.ipv6_extensions.Extensions that it has


# Bits of Packet.manner
CUT = 1             # IPv6, too, is fragmented if it must be (RFC 8200 4.5)
OF_LINK = 2         # the link's MTU counts, whatever is known of the path (ip(7), IP_PMTUDISC_PROBE)
EXTENDED = 4        # it has extension headers (ip.ipv6_extensions)


@record
class Incoming:
    """One packet received, headers behind us: what a transport is given."""

    src_hi: i64
    src_lo: i64
    dst_hi: i64
    dst_lo: i64
    protocol: u8
    ttl: u8
    tos: u8
    interface: u8       # index
    broadcast: u8       # 1: sent to a broadcast or multicast address (link or IP): no errors, no TCP
    options_len: u8     # bytes of IP options
    problem: u8         # an IPv6 header that the sender must be told about: parameter problem code + 1; 0: none
    checked: u8         # 1: somebody vouches for the transport checksum (drivers.offload)
    gso_size: u16       # bytes of payload of each of the segments that it stands for; 0: it is one
    fragment: u8        # 1: only a part of a datagram, for ip.reassembly
    frag_more: u8       # MF: others follow
    frag_offset: i32    # of `payload` in the datagram's payload, bytes
    frag_id: i64        # identification: 16 bits (IPv4), 32 (IPv6)
    pointer: i64        # where the problem is, bytes from `header`
    mac: i64            # the link address that it came from
    reassembled: i64    # the reassembly buffer that holds it, to be freed by the engine after delivery; 0: none
    header: i64         # address of the IP header, for the quotation in an ICMP error
    payload: i64        # address of the transport header
    length: i64         # bytes from there
    placed: i64         # bytes at the end of it that stand elsewhere (tcp.foresee):
    place: i64          # ... the first of them here
    place_len: i64      # ... so many,
    place_more: i64     # ... and the others here
    pseudo: i64         # checksum accumulator of the pseudo header, transport length included


@record
class IcmpError:
    """An ICMP error about a packet of ours, or a local failure to deliver one."""

    src_hi: i64         # of the packet in error: our address
    src_lo: i64
    dst_hi: i64         # the peer's
    dst_lo: i64
    from_hi: i64        # who reports; ourselves for a local failure
    from_lo: i64
    protocol: u8        # of the packet in error
    type: u8
    code: u8
    hard: u8            # 1: the connection cannot work (RFC 1122 4.2.3.9); 0: maybe later
    errno: i32          # what Linux tells the socket
    mtu: i32            # for "packet too big" and "fragmentation needed": the next hop's MTU, else 0
    quoted: i64         # address of the first quoted bytes after the IP header
    quoted_len: i64     # how many there are (8 or more, or it is not delivered)


@record
class NetSettings:
    """Settings of the IP layer, with Linux's sysctl names where the meaning is the same.  Times are ns."""

    ip_default_ttl: i32                 # net.ipv4.ip_default_ttl
    icmp_ratelimit: i64                 # ns between ICMP errors to one destination (Linux: 1000 ms)
    icmp_msgs_per_sec: i32              # and in total
    icmp_msgs_burst: i32
    icmp_echo_ignore_all: i32
    icmp_echo_ignore_broadcasts: i32
    ipfrag_time: i64                    # how long fragments wait
    ipfrag_high_thresh: i64             # bytes of fragments held at most
    ucast_solicit: i32                  # requests to a neighbour that was known
    mcast_solicit: i32                  # ... and to one that was not
    retrans_time: i64                   # between them
    base_reachable_time: i64            # how long a confirmation lasts
    gc_stale_time: i64                  # how long an unused entry is kept
    unres_qlen: i32                     # packets that may wait for one neighbour
    dad_transmits: i32                  # probes before an IPv6 address is used (RFC 4862 5.1)
    arp_probes: i32                     # ... before an IPv4 address is (PROBE_NUM, RFC 5227 1.1; Linux: none)
    arp_announcements: i32              # ARP announcements of a new address (ANNOUNCE_NUM)
    mtu_expires: i64                    # how long a learned path MTU is believed


@record
class NetCounters:
    """What `nstat` shows of IP, by its names; both families."""

    in_no_ect_pkts: i64         # packets received, by codepoint (RFC 3168 5)
    in_ect1_pkts: i64
    in_ect0_pkts: i64
    in_ce_pkts: i64


@compiled
def count_codepoint(c: NetCounters, tos: int) -> None:
    """A packet with this TOS or traffic class has come."""
    codepoint = tos & 3
    if codepoint == 0:
        c.in_no_ect_pkts += 1
    elif codepoint == 1:
        c.in_ect1_pkts += 1
    elif codepoint == 2:
        c.in_ect0_pkts += 1
    else:
        c.in_ce_pkts += 1


@record
class IcmpLimit:
    """ICMP errors sent to one destination lately (ip.icmp_limit)."""

    hi: i64
    lo: i64
    credit: i64         # ns; an error costs settings.icmp_ratelimit
    last: i64           # when credit was counted, ns + 1; 0: not in use


@record
class Chosen:
    """An answer of `ip.route`: where to, through what, from which address."""

    hop_hi: i64
    hop_lo: i64
    src_hi: i64
    src_lo: i64
    interface: i64      # index, or 0
    mtu: i64            # of the path, as far as it is known


@record
class Net:
    """The IP layer of one stack."""

    attention: u8                       # 1: something happened that a person should know (attention.py)
    interface_count: u8                 # interfaces 1 .. interface_count
    raw: u16                            # raw sockets that there are: they see each packet first
    tapped: u32                         # packet sockets that there are: ip.taps keeps frames for them
    tap_reserved: u32
    taps: Ring                          # those frames
    tap_drops: i64                      # frames that found it full
    interfaces: Annotated[Array[Interface], 16]
    route_count: i32
    routes: Annotated[Array[Route], 256]
    neighbours: Table                   # of ip.neighbour.Neighbour
    neighbour_buckets: i64              # distance of the hash buckets (u32 indexes) from this record
    neighbour_mask: i64                 # buckets - 1; a power of two less one
    neighbour_oldest: i32               # first of the list by last use, least recent first
    neighbour_newest: i32               # ... and its last
    reported: i64                       # arena block of the packet that `error` quotes, to be released; 0: none
    reassemblies: Table                 # of ip.reassembly.Reassembly
    path_mtus: Table                    # of ip.pmtu.PathMtu
    memberships: Table                  # of ip.multicast.Membership
    groups: Table                       # of ip.membership.Group
    wanted: Wanted                      # (ip.membership) of the group being looked at
    timers: Timers                      # slots: neighbours by index, then the three below
    reassembly_slot: i32                # slot of reassembly 0
    interface_slot: i32                 # slot of interface 0
    group_slot: i32                     # ... and that of its groups
    group_dice: u32                     # how often a time has been drawn (ip.membership)
    arena: Arena                        # buffers, shared with TCP and UDP
    rng: Rng
    key: Key
    chosen: Chosen                      # what ip.route answered last
    out: Packet                         # the packet being sent
    rx: Incoming                        # the packet being received
    error: IcmpError                    # the error being delivered
    capture: Capture
    send: i64                           # address of output.send_unit
    transmit: i64                       # ... of link.transmit_unit
    other: i64                          # ... of input.other_unit
    go_on: i64                          # ... of input.go_on_unit
    send_whole: i64                     # ... and of output.send_whole_unit
    scratch: i64                        # distance of a 4 KiB scratch area: headers are built there
    iov: Annotated[Array[i64], 64]      # iovecs for the device: address, length, address, ...
    notes: Offload                      # ... and what that frame lacks
    cut: Annotated[Array[i64], 16]      # iovecs of one segment of it (ip.segment)
    icmp_tokens: i64                    # of the global limit on ICMP errors: ns of credit
    icmp_refill: i64                    # when it was counted, ns + 1; 0: never
    icmp_limits: Annotated[Array[IcmpLimit], 64]    # of each destination, by hash
    ip_id: i64                          # RFC 6864
    cut_packets: i64                    # IPv6 packets that have been sent in fragments (fragment.identification)
    fragment_bytes: i64                 # held for reassembly now
    settings: NetSettings
    counters: NetCounters
    drops: Annotated[Array[i64], 112]   # by errors.Drop


assert DROPS == 112
