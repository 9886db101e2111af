"""Symbols of C that scripts use, with Linux's values."""
from __future__ import annotations

import errno
import select
import socket

_PREFIXES = ("AF_", "PF_", "SOCK_", "SOL_", "SO_", "IPPROTO_", "IP_", "IPV6_", "TCP_", "UDP_", "MSG_", "SHUT_", "POLL",
             "EPOLL")

# Those that Python's modules have no name for, or only newer ones have (uapi headers of Linux)
_MORE = {
    "SO_LINGER": 13, "SO_REUSEPORT": 15, "SO_RCVLOWAT": 18, "SO_SNDLOWAT": 19, "SO_PEEK_OFF": 42, "SO_BUSY_POLL": 46,
    "SO_MAX_PACING_RATE": 47, "SO_ZEROCOPY": 60, "SO_TIMESTAMPING": 37, "SO_TIMESTAMP": 29, "SO_TIMESTAMPNS": 35,
    "SCM_TIMESTAMP": 29, "SCM_TIMESTAMPNS": 35,
    "SOL_IP": 0, "SOL_TCP": 6, "SOL_UDP": 17, "SOL_IPV6": 41, "IP_MTU": 14, "IP_MTU_DISCOVER": 10, "IP_RECVERR": 11,
    "IP_TOS": 1, "IP_TTL": 2, "IP_RECVTOS": 13, "IP_PMTUDISC_DONT": 0, "IP_PMTUDISC_WANT": 1, "IP_PMTUDISC_DO": 2,
    "IP_PMTUDISC_PROBE": 3, "IP_PMTUDISC_INTERFACE": 4, "IP_PMTUDISC_OMIT": 5, "IPV6_MTU_DISCOVER": 23, "IPV6_MTU": 24,
    "IPV6_RECVERR": 25, "IPV6_TCLASS": 67, "IPV6_V6ONLY": 26, "IPV6_UNICAST_HOPS": 16, "IPV6_HOPLIMIT": 52,
    "TCP_NODELAY": 1, "TCP_MAXSEG": 2, "TCP_CORK": 3, "TCP_KEEPIDLE": 4, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 6,
    "TCP_SYNCNT": 7, "TCP_LINGER2": 8, "TCP_DEFER_ACCEPT": 9, "TCP_WINDOW_CLAMP": 10, "TCP_INFO": 11,
    "TCP_QUICKACK": 12, "TCP_CONGESTION": 13, "TCP_MD5SIG": 14, "TCP_THIN_LINEAR_TIMEOUTS": 16, "TCP_THIN_DUPACK": 17,
    "TCP_USER_TIMEOUT": 18, "TCP_REPAIR": 19, "TCP_QUEUE_SEQ": 21, "TCP_REPAIR_OPTIONS": 22, "TCP_FASTOPEN": 23,
    "TCP_TIMESTAMP": 24, "TCP_NOTSENT_LOWAT": 25, "TCP_CC_INFO": 26, "TCP_SAVE_SYN": 27, "TCP_SAVED_SYN": 28,
    "TCP_FASTOPEN_CONNECT": 30, "TCP_ULP": 31, "TCP_FASTOPEN_KEY": 33, "TCP_FASTOPEN_NO_COOKIE": 34,
    "TCP_ZEROCOPY_RECEIVE": 35, "TCP_INQ": 36, "TCP_CM_INQ": 36, "TCP_TX_DELAY": 37, "TCP_RTO_MAX_MS": 44,
    "MSG_OOB": 1, "MSG_PEEK": 2, "MSG_DONTROUTE": 4, "MSG_CTRUNC": 8, "MSG_TRUNC": 0x20, "MSG_DONTWAIT": 0x40,
    "MSG_EOR": 0x80, "MSG_WAITALL": 0x100, "MSG_NOSIGNAL": 0x4000, "MSG_MORE": 0x8000, "MSG_ERRQUEUE": 0x2000,
    "MSG_ZEROCOPY": 0x400_0000, "MSG_FASTOPEN": 0x2000_0000,
    "F_GETFL": 3, "F_SETFL": 4, "F_GETFD": 1, "F_SETFD": 2, "FD_CLOEXEC": 1,
    "O_RDONLY": 0, "O_WRONLY": 1, "O_RDWR": 2, "O_NONBLOCK": 0o4000, "O_NDELAY": 0o4000,
    "FIONREAD": 0x541B, "SIOCINQ": 0x541B, "SIOCOUTQ": 0x5411, "TIOCOUTQ": 0x5411, "SIOCATMARK": 0x8905,
    "SIOCOUTQNSD": 0x894B, "SHUT_RD": 0, "SHUT_WR": 1, "SHUT_RDWR": 2, "EPOLL_CTL_ADD": 1, "EPOLL_CTL_DEL": 2,
    "EPOLL_CTL_MOD": 3, "POLLRDNORM": 0x40, "POLLRDBAND": 0x80, "POLLWRNORM": 0x100, "POLLWRBAND": 0x200,
    "POLLRDHUP": 0x2000, "EPOLLET": 1 << 31, "EPOLLONESHOT": 1 << 30, "EPOLLRDHUP": 0x2000,
    "INADDR_ANY": 0, "INADDR_LOOPBACK": 0x7F00_0001, "NULL": 0, "true": 1, "false": 0,
}


def _collect() -> dict[str, int]:
    found = {name: int(value) for module in (socket, select) for name, value in vars(module).items()
             if name.startswith(_PREFIXES) and isinstance(value, int)}
    found.update(_MORE)
    return found


SYMBOLS = _collect()
ERRNOS = {name: number for number, name in errno.errorcode.items()}
ERRNOS.setdefault("EWOULDBLOCK", errno.EAGAIN)
ERRNOS.setdefault("ENOTSUPP", 524)
ERRNOS.setdefault("EOPNOTSUPP", errno.EOPNOTSUPP)
