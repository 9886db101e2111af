"""The load generator's loops, compiled: Python's own cost must not be part of what is measured.

Each runs until a CLOCK_MONOTONIC time in nanoseconds, holds no GIL, and gives
up on an error.  Addresses of buffers are integers, as the system calls take them.
"""
import numpy as np
from numba import njit, types

_ssize = types.int64
_socket = types.ExternalFunction("socket", types.int32(types.int32, types.int32, types.int32))
_connect = types.ExternalFunction("connect", types.int32(types.int32, types.uint64, types.uint32))
_setsockopt = types.ExternalFunction("setsockopt", types.int32(types.int32, types.int32, types.int32, types.uint64,
                                                               types.uint32))
_send = types.ExternalFunction("send", _ssize(types.int32, types.uint64, types.uint64, types.int32))
_recv = types.ExternalFunction("recv", _ssize(types.int32, types.uint64, types.uint64, types.int32))
_close = types.ExternalFunction("close", types.int32(types.int32))
_epoll_wait = types.ExternalFunction("epoll_wait", types.int32(types.int32, types.uint64, types.int32, types.int32))
_clock_gettime = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.uint64))

NOSIGNAL = 0x4000
DONTWAIT = 0x40
SOL_SOCKET, SO_RCVTIMEO, SO_SNDTIMEO = 1, 20, 21
STREAM_CLOEXEC = 1 | 0o2000000
EVENTS = 1024               # of one epoll_wait


@njit(nogil=True, cache=True)
def monotonic(ts):
    """CLOCK_MONOTONIC, ns; ts: two int64 to write to."""
    _clock_gettime(1, ts.ctypes.data)
    return ts[0] * 1_000_000_000 + ts[1]


@njit(nogil=True, cache=True)
def push(fd, buffer, until):
    """Send until then.  Bytes taken, or -1."""
    ts = np.zeros(2, np.int64)
    total = 0
    while monotonic(ts) < until:
        n = _send(fd, buffer.ctypes.data, buffer.size, NOSIGNAL)
        if n <= 0:
            return -1
        total += n
    return total


@njit(nogil=True, cache=True)
def pull(fd, buffer, until):
    """Receive until then.  Bytes, or -1."""
    ts = np.zeros(2, np.int64)
    total = 0
    while monotonic(ts) < until:
        n = _recv(fd, buffer.ctypes.data, buffer.size, 0)
        if n <= 0:
            return -1
        total += n
    return total


@njit(nogil=True, cache=True)
def _exchange(fd, buffer, n):
    """Send n bytes and receive n."""
    if _send(fd, buffer.ctypes.data, n, NOSIGNAL) != n:
        return False
    got = 0
    while got < n:
        r = _recv(fd, buffer.ctypes.data, n - got, 0)
        if r <= 0:
            return False
        got += r
    return True


@njit(nogil=True, cache=True)
def request_response(fd, buffer, n, until, latency):
    """One request at a time.  How many; their times go to `latency`, as far as it reaches."""
    ts = np.zeros(2, np.int64)
    count = 0
    before = monotonic(ts)
    while before < until:
        if not _exchange(fd, buffer, n):
            return -1
        after = monotonic(ts)
        if count < latency.size:
            latency[count] = after - before
        count += 1
        before = after
    return count


@njit(nogil=True, cache=True)
def connections(family, address, timeout, buffer, n, until):
    """Connect, one request, its answer, close; again and again.  (how many, how many failed)"""
    ts = np.zeros(2, np.int64)
    count = 0
    failed = 0
    while monotonic(ts) < until and failed < 10:
        fd = _socket(family, STREAM_CLOEXEC, 0)
        _setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, timeout.ctypes.data, 16)
        _setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, timeout.ctypes.data, 16)
        if _connect(fd, address.ctypes.data, address.size) == 0 and _exchange(fd, buffer, n):
            count += 1
        else:
            failed += 1
        _close(fd)
    return count, failed


@njit(nogil=True, cache=True)
def datagrams(fd, buffer, n, outstanding, until):
    """Keep so many requests under way; the socket's receive timeout says when they are lost.  (answers, lost)"""
    ts = np.zeros(2, np.int64)
    count = 0
    lost = 0
    under_way = 0
    while monotonic(ts) < until:
        while under_way < outstanding:
            if _send(fd, buffer.ctypes.data, n, NOSIGNAL) != n:
                return -1, lost
            under_way += 1
        if _recv(fd, buffer.ctypes.data, buffer.size, 0) < 0:
            lost += under_way
            under_way = 0
            if lost > 100 * outstanding and count == 0:
                return -1, lost
            continue
        under_way -= 1
        count += 1
    return count, lost


@njit(nogil=True, cache=True)
def many(epoll, fds, index, buffer, n, until, latency, served):
    """All connections at once: each sends its next request when the answer to the last is whole.

    fds: the connections; index[fd]: place in fds; served: answers by connection.
    How many answers in all; their times go to `latency`, as far as it reaches.
    """
    ts = np.zeros(2, np.int64)
    events = np.zeros(3 * EVENTS, np.uint32)        # struct epoll_event is 12 bytes here: events, data
    got = np.zeros(fds.size, np.int64)
    sent_at = np.zeros(fds.size, np.int64)
    count = 0
    for i in range(fds.size):
        sent_at[i] = monotonic(ts)
        if _send(fds[i], buffer.ctypes.data, n, NOSIGNAL) != n:
            return -1
    now = monotonic(ts)
    while now < until:
        ready = _epoll_wait(epoll, events.ctypes.data, EVENTS, 100)
        for e in range(ready):
            fd = np.int64(events[3 * e + 1])
            i = index[fd]
            r = _recv(fd, buffer.ctypes.data, n - got[i], DONTWAIT)
            if r == 0:
                return -1
            if r < 0:
                continue
            got[i] += r
            if got[i] < n:
                continue
            got[i] = 0
            now = monotonic(ts)
            if count < latency.size:
                latency[count] = now - sent_at[i]
            count += 1
            served[i] += 1
            sent_at[i] = now
            if _send(fd, buffer.ctypes.data, n, NOSIGNAL) != n:
                return -1
        now = monotonic(ts)
    return count
