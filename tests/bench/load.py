"""The load generator's loops, compiled: Python's own cost must not be part of what is measured.

Each runs until a CLOCK_MONOTONIC time in nanoseconds, holds no GIL, and gives
up on an error, or on an answer that is not what was sent: each request has its
own content.  Addresses of buffers are integers, as the system calls take them.
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
MSG_TRUNC = 0x20            # the datagram's real length
SOL_SOCKET, SO_RCVTIMEO, SO_SNDTIMEO = 1, 20, 21
STREAM_CLOEXEC = 1 | 0o2000000
EVENTS = 1024               # of one epoll_wait
BROKEN, WRONG = -1, -2      # instead of a number: an error; an answer with other content
ODD = 0x9E37_79B9_7F4A_7C1  # makes the words of a request differ from those of every other


@njit(nogil=True, cache=True)
def fill(words, number):
    """Write the request of that number."""
    words[0] = number
    for i in range(1, words.size):
        words[i] = number * ODD + i


@njit(nogil=True, cache=True)
def _is(words, number):
    """Whether they are the request of that number."""
    if words[0] != number:
        return False
    for i in range(1, words.size):
        if words[i] != number * ODD + i:
            return False
    return True


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
            return BROKEN
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
            return BROKEN
        total += n
    return total


@njit(nogil=True, cache=True)
def _exchange(fd, words, number):
    """Send a request and receive its answer: 0, BROKEN or WRONG."""
    fill(words, number)
    n = 8 * words.size
    if _send(fd, words.ctypes.data, n, NOSIGNAL) != n:
        return BROKEN
    got = 0
    while got < n:
        r = _recv(fd, words.ctypes.data + got, n - got, 0)
        if r <= 0:
            return BROKEN
        got += r
    return 0 if _is(words, number) else WRONG


@njit(nogil=True, cache=True)
def request_response(fd, words, until, latency):
    """One request at a time.  How many; their times go to `latency`, as far as it reaches."""
    ts = np.zeros(2, np.int64)
    count = 0
    before = monotonic(ts)
    while before < until:
        verdict = _exchange(fd, words, count)
        if verdict != 0:
            return verdict
        after = monotonic(ts)
        if count < latency.size:
            latency[count] = after - before
        count += 1
        before = after
    return count


@njit(nogil=True, cache=True)
def connections(family, address, timeout, words, until):
    """Connect, one request, its answer, close; again and again.  (how many, how many failed)"""
    ts = np.zeros(2, np.int64)
    count = 0
    failed = 0
    while monotonic(ts) < until and failed < 10:
        fd = _socket(family, STREAM_CLOEXEC, 0)
        _setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, timeout.ctypes.data, 16)
        _setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, timeout.ctypes.data, 16)
        if _connect(fd, address.ctypes.data, address.size) == 0 and _exchange(fd, words, count) == 0:
            count += 1
        else:
            failed += 1
        _close(fd)
    return count, failed


@njit(nogil=True, cache=True)
def datagrams(fd, words, outstanding, until):
    """Keep so many requests under way; the socket's receive timeout says when they are lost.  (answers, lost)"""
    ts = np.zeros(2, np.int64)
    n = 8 * words.size
    count = 0
    lost = 0
    sent = 0
    under_way = 0
    while monotonic(ts) < until:
        while under_way < outstanding:
            fill(words, sent)
            if _send(fd, words.ctypes.data, n, NOSIGNAL) != n:
                return BROKEN, lost
            sent += 1
            under_way += 1
        r = _recv(fd, words.ctypes.data, n, MSG_TRUNC)
        if r < 0:
            lost += under_way
            under_way = 0
            if lost > 100 * outstanding and count == 0:
                return BROKEN, lost
            continue
        if r != n or not _is(words, words[0]):      # of which request, nobody knows
            return WRONG, lost
        under_way -= 1
        count += 1
    return count, lost


@njit(nogil=True, cache=True)
def many(epoll, fds, index, words, until, latency, served):
    """All connections at once: each sends its next request when the answer to the last is whole.

    fds: the connections; index[fd]: place in fds; words: a row for each one's request; served: answers by connection.
    How many answers in all; their times go to `latency`, as far as it reaches.
    """
    ts = np.zeros(2, np.int64)
    events = np.zeros(3 * EVENTS, np.uint32)        # struct epoll_event is 12 bytes here: events, data
    got = np.zeros(fds.size, np.int64)
    sent_at = np.zeros(fds.size, np.int64)
    count = 0
    n = 8 * words.shape[1]
    for i in range(fds.size):
        sent_at[i] = monotonic(ts)
        fill(words[i], i)
        if _send(fds[i], words[i].ctypes.data, n, NOSIGNAL) != n:
            return BROKEN
    now = monotonic(ts)
    while now < until:
        ready = _epoll_wait(epoll, events.ctypes.data, EVENTS, 100)
        for e in range(ready):
            fd = np.int64(events[3 * e + 1])
            i = index[fd]
            r = _recv(fd, words[i].ctypes.data + got[i], n - got[i], DONTWAIT)
            if r == 0:
                return BROKEN
            if r < 0:
                continue
            got[i] += r
            if got[i] < n:
                continue
            got[i] = 0
            now = monotonic(ts)
            if not _is(words[i], i + served[i]):
                return WRONG
            if count < latency.size:
                latency[count] = now - sent_at[i]
            count += 1
            served[i] += 1
            sent_at[i] = now
            fill(words[i], i + served[i])
            if _send(fd, words[i].ctypes.data, n, NOSIGNAL) != n:
                return BROKEN
        now = monotonic(ts)
    return count


def prepare():
    """Compile all of them, so that no measurement waits for it."""
    fds, words, nothing = np.zeros(0, np.int64), np.zeros((1, 8), np.int64), np.zeros(0, np.int64)
    text = np.zeros(8, np.uint8)
    push(-1, text, 0)
    pull(-1, text, 0)
    request_response(-1, words[0], 0, nothing)
    connections(2, text, nothing, words[0], 0)
    datagrams(-1, words[0], 1, 0)
    many(-1, fds, nothing, words, 0, nothing, nothing)
