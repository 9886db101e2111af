"""What a socket is and does: readiness, options, names, TCP_INFO."""
from __future__ import annotations

from .. import datagram, drive, engine, handles, options, packet
from ..endpoint import Endpoint, Kind
from ..errors import EINVAL, ENOBUFS, ENODEV, ENOPROTOOPT, ENOTCONN, EOPNOTSUPP, EPROTO
from ..ip import membership, multicast, route
from ..ip.ipv4_options import IpOptions
from ..machine import addressof, at, compiled, copy, entered, load64, sizeof, store64
from ..machine.random import Key
from ..tcp import info, path
from ..tcp.tcb import State, notify, own_rare, rare
from ..world import World
from .door import call, checked

JOIN, LEAVE, BLOCK = 0, 1, 4
KEY_LEN = 16                    # bytes of a key (TCP_FASTOPEN_KEY)
OPTIONS = sizeof(IpOptions)


@entered
def poll(world: int, h: int) -> int:
    """Readiness now, values of poll(2); POLLNVAL (0x20) for a closed handle."""
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    if checked(w, h, ep) < 0:
        return 0x20
    return handles.poll(w, h)


@call
def wait(w: World, h: int, ep: Endpoint, events: int, deadline: int) -> int:
    """Wait for readiness: see drive.wait.  Not for a stack on a virtual clock."""
    return drive.wait(w, h, ep, events, deadline)


@call
def get_option(w: World, h: int, ep: Endpoint, option: int) -> int:
    """getsockopt(2) of an integer: see options.get."""
    drive.lock(w)
    result = options.get(w, h, ep, option, drive.time(w))
    if option == options.SO_ERROR and ep.fd_engine >= 0:
        _tell(w, h, ep)
    drive.unlock(w)
    return result


@call
def set_option(w: World, h: int, ep: Endpoint, option: int, value: int) -> int:
    """setsockopt(2) of an integer: see options.put."""
    drive.lock(w)
    now = drive.time(w)
    result = options.put(w, h, ep, option, value, now)
    drive.after_call(w, now)
    return result


@call
def set_fastopen_key(w: World, h: int, ep: Endpoint, address: int, n: int) -> int:
    """TCP_FASTOPEN_KEY: 16 bytes at `address`, the key of a listener's cookies, or 32: and the key before it."""
    if not handles.is_tcp(h):
        return -EOPNOTSUPP
    if n != KEY_LEN and n != 2 * KEY_LEN:
        return -EINVAL
    drive.lock(w)
    t = handles.connection(w, ep.index)
    f = own_rare(w.tcp, t)
    f.key.k0 = load64(address)
    f.key.k1 = load64(address + 8)
    if n > KEY_LEN:
        f.backup.k0 = load64(address + KEY_LEN)
        f.backup.k1 = load64(address + KEY_LEN + 8)
    t.fast.keys = n // KEY_LEN
    drive.unlock(w)
    return 0


@call
def set_ip_options(w: World, h: int, ep: Endpoint, address: int) -> int:
    """IP_OPTIONS: those that the IpOptions at `address` describes; of a connection they take room in each segment."""
    drive.lock(w)
    if handles.is_tcp(h):
        t = handles.connection(w, ep.index)
        copy(addressof(own_rare(w.tcp, t).options), address, OPTIONS)
        if t.pmtu_mss != 0:
            path.resize(t)
    else:
        copy(addressof(handles.socket(w, ep.index).options), address, OPTIONS)
    drive.unlock(w)
    return 0


@call
def set_extensions(w: World, h: int, ep: Endpoint, address: int, n: int) -> int:
    """IPV6_HOPOPTS and others: the extension headers that the Extensions at `address` describes, n bytes with what
    follows; 0: none.  Datagrams only."""
    if handles.is_tcp(h):
        return -ENOPROTOOPT
    drive.lock(w)
    s = handles.socket(w, ep.index)
    result = 0
    if n == 0:
        datagram.forget_extensions(w.datagrams, s)
    elif not datagram.keep_extensions(w.datagrams, s, address, n):
        result = -ENOBUFS
    drive.unlock(w)
    return result


@call
def fastopen_key(w: World, h: int, ep: Endpoint, address: int, n: int) -> int:
    """TCP_FASTOPEN_KEY: write the listener's keys, or the stack's, to `address`, room for n bytes.  How many bytes."""
    if not handles.is_tcp(h):
        return -EOPNOTSUPP
    if n < 2 * KEY_LEN:
        return -EINVAL
    drive.lock(w)
    t = handles.connection(w, ep.index)
    s = w.tcp.settings
    if t.fast.keys:
        result = _write_keys(rare(t).key, rare(t).backup, t.fast.keys, address)
    else:
        result = _write_keys(s.tcp_fastopen_key, s.tcp_fastopen_backup, s.tcp_fastopen_keyed, address)
    drive.unlock(w)
    return result


@compiled
def _write_keys(key: Key, backup: Key, keys: int, address: int) -> int:
    store64(address, key.k0)
    store64(address + 8, key.k1)
    store64(address + KEY_LEN, backup.k0)
    store64(address + KEY_LEN + 8, backup.k1)
    return keys * KEY_LEN


@call
def arrival(w: World, h: int, ep: Endpoint) -> int:
    """When the text came that a stream's last `recv` gave, ns; 0: nobody knows (SO_TIMESTAMP)."""
    return rare(handles.connection(w, ep.index)).arrivals.told if handles.is_tcp(h) else 0


@call
def tcp_info(w: World, h: int, ep: Endpoint, address: int, n: int) -> int:
    """TCP_INFO: write struct tcp_info (tcp/info.py) to `address`, where there is room for n bytes.  Its size."""
    if not handles.is_tcp(h):
        return -EOPNOTSUPP
    if n < info.SIZE:
        return -EINVAL
    drive.lock(w)
    info.fill(w.tcp, handles.connection(w, ep.index), address, drive.time(w))
    drive.unlock(w)
    return info.SIZE


@call
def bbr_info(w: World, h: int, ep: Endpoint, address: int, n: int) -> int:
    """TCP_CC_INFO of a connection that has BBR: write struct tcp_bbr_info to `address`.  Its size."""
    if not handles.is_tcp(h):
        return -EOPNOTSUPP
    if n < info.BBR_SIZE:
        return -EINVAL
    drive.lock(w)
    info.fill_bbr(handles.connection(w, ep.index), address)
    drive.unlock(w)
    return info.BBR_SIZE


@call
def group(w: World, h: int, ep: Endpoint, what: int, hi: int, lo: int, interface: int, mode: int, src_hi: int,
          src_lo: int) -> int:
    """Join a group (0), leave it (1), add a source to a membership's list (4), or take one out (5): 0, or -errno.

    Interface 0: the one that routes say; a membership of IPv6 that is left, or whose list it is, may be on any.
    """
    if handles.is_tcp(h):
        return -EPROTO
    drive.lock(w)
    now = drive.time(w)
    result = 0
    if interface == 0 and (what == JOIN or (what == LEAVE and hi == 0)):
        result = route.choose(w.net, hi, lo, 0, 0, 0, now)
        interface = w.net.chosen.interface
    member = multicast.find(w.net, ep.index, interface, hi, lo)
    there = multicast.get(w.net, member).interface if member != 0 else interface
    if result < 0:
        result = -ENODEV
    elif what == JOIN:
        result = multicast.join(w.net, ep.index, interface, hi, lo, mode)
    elif what == LEAVE:
        result = multicast.leave(w.net, ep.index, interface, hi, lo)
    else:
        result = multicast.filter_source(w.net, ep.index, interface, hi, lo, mode, 1 if what == BLOCK else 0, src_hi,
                                         src_lo)
    if result == 0 and there != 0:
        membership.on_change(w.net, there, hi, lo, now)
    drive.after_call(w, now)
    return result


@call
def local(w: World, h: int, ep: Endpoint, out: int) -> int:
    """getsockname(2): at `out` four i64: hi, lo, port, scope."""
    if ep.kind == Kind.PACKET:
        iface = w.net.interfaces[ep.interface]
        store64(out, ep.interface | packet.hardware(iface) << 16 if ep.interface != 0 else 0)
        store64(out + 8, iface.mac if ep.interface != 0 else 0)
        store64(out + 16, handles.socket(w, ep.index).ethertype)
        store64(out + 24, 0)
        return 0
    store64(out, ep.local_hi)
    store64(out + 8, ep.local_lo)
    store64(out + 16, ep.local_port)
    store64(out + 24, ep.interface if (ep.local_hi >> 54) & 0x3FF == 0x3FA else 0)
    return 0


@call
def peer(w: World, h: int, ep: Endpoint, out: int) -> int:
    """getpeername(2): at `out` four i64; -ENOTCONN when there is none."""
    return write_peer(w, h, ep, out)


@compiled
def write_peer(w: World, h: int, ep: Endpoint, out: int) -> int:
    """... whoever asks."""
    if ep.kind == Kind.PACKET:
        return -EOPNOTSUPP
    if ep.remote_port == 0:
        return -ENOTCONN
    if handles.is_tcp(h):
        t = handles.connection(w, ep.index)
        if t.state in (State.CLOSED, State.SYN_SENT, State.TIME_WAIT):
            return -ENOTCONN
    tell_peer(ep, out)
    return 0


@compiled
def tell_peer(ep: Endpoint, out: int) -> None:
    """Write hi, lo, port and scope of who is at the other end to `out`, four i64."""
    store64(out, ep.remote_hi)
    store64(out + 8, ep.remote_lo)
    store64(out + 16, ep.remote_port)
    store64(out + 24, ep.interface if (ep.remote_hi >> 54) & 0x3FF == 0x3FA else 0)


@call
def state(w: World, h: int, ep: Endpoint) -> int:
    """The connection's State; for datagram sockets ESTABLISHED when connected, else CLOSED (as `ss` has it)."""
    if handles.is_tcp(h):
        return handles.connection(w, ep.index).state
    return State.ESTABLISHED if ep.remote_port != 0 else State.CLOSED


@call
def attach_fd(w: World, h: int, ep: Endpoint, engine_end: int, user_end: int, state: int) -> int:
    """Keep a pair of descriptors that shows `state` in step with the endpoint's readiness (fileno); -1: no longer."""
    drive.lock(w)
    ep.fd_engine = engine_end
    ep.fd_user = user_end
    ep.fd_state = state
    ep.looked = 0
    _tell(w, h, ep)
    drive.unlock(w)
    return 0


@compiled
def _tell(w: World, h: int, ep: Endpoint) -> None:
    """The descriptor may have to show something else."""
    if handles.is_tcp(h):
        notify(w.tcp, handles.connection(w, ep.index))
    else:
        datagram.notify(w.datagrams, handles.socket(w, ep.index))
    engine.flush(w)
