"""Why a packet was dropped, and what an application is told.

A packet never raises: it returns a `Drop`, counted by name in `Net.drops`.  A
call that fails returns a negative errno, with the value that Linux would give
(`errno(3)`); `sockbase.py` turns it into the exception that Python has for it.
"""
from __future__ import annotations

import errno as _errno
from enum import IntEnum


class Drop(IntEnum):
    """Reasons.  `Stack.drops()` shows each that has been counted, by name."""

    NONE = 0
    # link
    TRUNCATED = 1               # shorter than its header says, or than a header is
    NOT_FOR_US = 2              # another station's frame, another host's packet
    ETHERTYPE = 3               # a network protocol that we do not speak
    TX_DEVICE = 4               # the device refused the frame
    TX_QUEUE = 5                # the device's queue was full
    # ARP and neighbours
    ARP_MALFORMED = 10
    ARP_CONFLICT = 11           # somebody else uses our address (RFC 5227)
    NEIGHBOUR_QUEUE = 12        # too many packets waited for one address
    NEIGHBOUR_FAILED = 13       # no answer to our requests
    NEIGHBOUR_TABLE = 14        # no entry left
    NDP_MALFORMED = 15          # RFC 4861 7.1
    # IP
    IP_VERSION = 20
    IP_HEADER = 21              # lengths that contradict each other
    IP_CHECKSUM = 22
    IP_SOURCE = 23              # a source address that no packet may have
    IP_DESTINATION = 24
    IP_OPTIONS = 25
    IP_PROTOCOL = 26            # nobody here speaks it
    NO_ROUTE = 28
    NO_SOURCE = 29              # no address to send from
    NO_MEMORY = 30
    IP6_HEADER = 31             # an extension header that is malformed or out of place
    IP6_OPTION = 32             # an option that says: discard
    # reassembly
    FRAGMENT_MALFORMED = 40
    FRAGMENT_OVERLAP = 41       # RFC 5722
    FRAGMENT_TIMEOUT = 42
    FRAGMENT_LIMIT = 43         # too many or too much held
    FRAGMENT_NEEDED = 44        # larger than the path, and DF is set
    # ICMP
    ICMP_MALFORMED = 50
    ICMP_CHECKSUM = 51
    ICMP_UNKNOWN = 52
    ICMP_LIMITED = 53           # an error we did not send, to keep the rate down
    ICMP_IGNORED = 54           # a message that we know and do not act on (redirect, source quench, router messages)
    IGMP_MALFORMED = 55
    IGMP_CHECKSUM = 56
    MLD_MALFORMED = 57          # RFC 3810 6.2
    # UDP
    UDP_MALFORMED = 60
    UDP_CHECKSUM = 61
    UDP_NO_PORT = 62
    UDP_QUEUE = 63              # the socket's receive buffer was full
    # TCP
    TCP_MALFORMED = 70
    TCP_CHECKSUM = 71
    TCP_NO_PORT = 72            # answered with a reset
    TCP_UNACCEPTABLE = 73       # outside the window (RFC 9293 3.10.7.4, first)
    TCP_PAWS = 74               # an old timestamp (RFC 7323 5.3)
    TCP_BAD_ACK = 75            # acknowledges what was never sent
    TCP_BAD_RST = 76            # a reset that does not fit exactly (RFC 5961 3)
    TCP_BAD_SYN = 77            # a SYN in a synchronised state (RFC 5961 4)
    TCP_NO_ACK = 78             # no ACK bit where one must be
    TCP_SYN_QUEUE = 79          # the listener's SYN queue was full
    TCP_ACCEPT_QUEUE = 80       # the listener's accept queue was full
    TCP_TABLE = 81              # no room for another connection
    TCP_REASSEMBLY = 82         # too many holes in the received data
    TCP_MEMORY = 83             # no buffer
    TCP_AFTER_CLOSE = 84        # data for an application that has closed
    TCP_TIME_WAIT = 85


DROPS = 112         # size of the table of counters

EPERM = _errno.EPERM
EINTR = _errno.EINTR
EIO = _errno.EIO
EBADF = _errno.EBADF
EBADFD = _errno.EBADFD
EBUSY = _errno.EBUSY
EAGAIN = _errno.EAGAIN
EBUSY = _errno.EBUSY
ENOMEM = _errno.ENOMEM
EACCES = _errno.EACCES
EINVAL = _errno.EINVAL
EPIPE = _errno.EPIPE
ENFILE = _errno.ENFILE
EDESTADDRREQ = _errno.EDESTADDRREQ
EMSGSIZE = _errno.EMSGSIZE
ENOPROTOOPT = _errno.ENOPROTOOPT
EPROTONOSUPPORT = _errno.EPROTONOSUPPORT
EOPNOTSUPP = _errno.EOPNOTSUPP
EAFNOSUPPORT = _errno.EAFNOSUPPORT
EADDRINUSE = _errno.EADDRINUSE
EADDRNOTAVAIL = _errno.EADDRNOTAVAIL
ENETDOWN = _errno.ENETDOWN
ENETUNREACH = _errno.ENETUNREACH
ECONNABORTED = _errno.ECONNABORTED
ECONNRESET = _errno.ECONNRESET
ENOBUFS = _errno.ENOBUFS
EISCONN = _errno.EISCONN
ENOTCONN = _errno.ENOTCONN
ENOTTY = _errno.ENOTTY
EBUSY = _errno.EBUSY
ESHUTDOWN = _errno.ESHUTDOWN
ETIMEDOUT = _errno.ETIMEDOUT
ECONNREFUSED = _errno.ECONNREFUSED
ENONET = _errno.ENONET
EHOSTDOWN = _errno.EHOSTDOWN
EHOSTUNREACH = _errno.EHOSTUNREACH
EALREADY = _errno.EALREADY
EINPROGRESS = _errno.EINPROGRESS
EPROTO = _errno.EPROTO
EEXIST = _errno.EEXIST
ENODEV = _errno.ENODEV
ENOSPC = _errno.ENOSPC
ESRCH = _errno.ESRCH
ENXIO = _errno.ENXIO
