"""World: the whole state of one stack, as one record at the start of one range of memory.

Behind the record stand the tables and the arena of buffers.  Everything inside
refers to everything else by distance, so a copy of the range is a copy of the
stack.  The system commits pages as they are touched: a stack that does little
costs little.
"""
from __future__ import annotations

import ctypes
import mmap
import os
from dataclasses import dataclass
from typing import Annotated

from .datagram import HEADS, SOCK_SIZE, Datagrams, Destination
from .endpoint import OWN_SIZE
from .exchange import Call, Handler
from .ip import setup
from .ip.net import Net
from .machine import MS, SECOND, Array, addressof, arena, at, i32, i64, record, sizeof, table, timers, u32
from .machine.random import siphash64
from .machine.ring import Ring
from .tcp import fastopen
from .tcp import memory as memory_
from .tcp.algorithms import DEFAULT, index_of
from .tcp.isn import TABLE_LENGTH
from .tcp.runs import Run
from .tcp.tcb import CHANGE_SIZE, CHANGES, HELD_SIZE, RARE_SIZE, TCB_SIZE, Tcp, TcpSettings

PORTS = 65536
ANSWER = 65536          # bytes: the largest datagram of a handler
RUN_SIZE = sizeof(Run)
LARGEST = 0x7FFF_FFFF   # of a setting: no limit
BUSY = 50               # us that waits spin, if it pays: what Linux's documentation recommends
FDS = 18                # the bell, and one for each interface


@record
class Units:
    """Addresses of the engine's units (machine/unit.py)."""

    receive: i64
    expire: i64
    egress: i64
    flush: i64
    datagram: i64           # send one datagram
    call: i64               # handlers
    more: i64               # room for a handler's answer
    out: i64                # a handler's datagram


@record
class World:
    """One stack."""

    lock: u32               # machine.lock: who holds it runs turns
    stopped: u32            # 1: every call returns ESHUTDOWN
    virtual: u32            # 1: time is `clock`, no system clock is read
    turning: u32            # 1 in a turn of the thread that drives, until it gives that role away
    drivers: u32            # 1 while an application thread drives
    background: u32         # what the background thread does: see drive.Background
    background_word: u32    # it naps on this
    sleeping: u32           # threads asleep in poll(2)
    clock: i64              # virtual time, ns
    turns: i64              # turns run
    driven: i64             # turns run by application threads
    spin_misses: i64        # waits in a row that have spun in vain
    spin_skip: i64          # waits that will not spin at all
    sleep_until: i64        # the deadline that the sleeper in poll(2) knows
    bell: i32               # the eventfd in its poll set, or -1
    serving: u32            # 1: a selector's thread is busy with what was ready, and will be back for a turn
    notes: i64              # distance of the note ring: handles of connections the application has touched
    notes_mask: i64
    notes_head: i64         # reader: the owner of the world
    notes_tail: u32         # writers: tickets
    rung: u32               # 1: the bell has been rung, and no sleeper has read it yet
    bell_value: i64
    promised: i64           # 1: its owner rings the bell when it lets go of the world
    main_thread: i64        # as pthread_self(3) says: only there Python runs handlers of signals
    patience: i64           # ns that a wait of another thread stays away from Python; 0: as that of the main thread
    destination: Destination                # of the datagram being sent
    poll_fds: Annotated[Array[i64], 18]     # struct pollfd: fd, events, revents
    units: Units
    handlers: Annotated[Array[Handler], 64]     # exchange.HANDLERS; entry 0 is none
    call: Call                              # of the handler that is being called
    answer: Ring                            # the datagram that it makes
    net: Net
    tcp: Tcp
    datagrams: Datagrams


@dataclass(frozen=True)
class Profile:
    """How large the tables of a stack are.  Memory is committed as it is used, so room costs address space only."""

    connections: int = 65536        # TCP connections and listeners
    sockets: int = 16384            # datagram sockets
    runs: int = 1 << 20             # stretches of unacknowledged data, all connections together
    buffers: int = 8 << 30          # bytes of buffers, all connections together
    neighbours: int = 1024

    def __post_init__(self) -> None:
        for name in ("connections", "sockets", "runs", "buffers", "neighbours"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name} must be at least 2, not {getattr(self, name)}")


class Memory:
    """The range of memory a World stands in; unmapped when this object goes."""

    def __init__(self, size: int) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
        self.map = mmap.mmap(-1, size, flags=flags)
        self.size = size
        self.kept: dict[int, object] = {}       # what the engine has the address of (handlers.py)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.map))


def _align(n: int) -> int:
    return (n + 4095) & -4096


def _power_of_two(n: int) -> int:
    return 1 << max(n - 1, 1).bit_length()


def create(profile: Profile | None = None, *, seed: int | None = None, virtual: bool = False,
           start: int = 0) -> tuple[World, Memory]:
    """A new World with a loopback interface (its device still closed), and the memory it stands in.

    `seed`: 448 bits that decide everything random (a simulation gives them; otherwise the system does).
    `start`: the virtual time at which it begins, ns.
    """
    profile = profile or Profile()
    if seed is None:
        seed = int.from_bytes(os.urandom(56), "little")
    sizes = setup.Sizes(neighbours=profile.neighbours)
    buckets = _power_of_two(profile.connections)
    notes = _power_of_two(profile.connections + 1)
    parts = {
        "world": sizeof(World),
        "net": setup.space(sizes),
        "tcbs": profile.connections * TCB_SIZE,
        "runs": profile.runs * RUN_SIZE,
        "held": profile.connections * HELD_SIZE,
        "rares": profile.connections * RARE_SIZE,
        "tcp_timers": timers.space(profile.connections),
        "buckets": 4 * buckets,
        "ports": 4 * PORTS,
        "listeners": 4 * PORTS,
        "port_table": 4 * TABLE_LENGTH,
        "changes": CHANGES * CHANGE_SIZE,
        "socks": profile.sockets * SOCK_SIZE,
        "datagram_ports": 4 * HEADS,
        "notes": 4 * notes,
        "own": profile.connections * OWN_SIZE,
        "sockets_own": profile.sockets * OWN_SIZE,
        "answer": ANSWER,
        "buffers": profile.buffers,
    }
    places = {}
    offset = 0
    for name, size in parts.items():
        places[name] = offset
        offset += _align(size)
    memory = Memory(offset)
    base = memory.address
    w = at(World, base)
    arena.init(w.net.arena, base + places["buffers"], profile.buffers)
    w.virtual = 1 if virtual else 0
    w.clock = start
    w.bell = -1
    w.notes = places["notes"]
    w.answer.data = base + places["answer"] - addressof(w.answer)
    w.answer.size = ANSWER
    w.notes_mask = notes - 1
    setup.init(w.net, base + places["net"], seed, sizes)

    t = w.tcp
    table.init(t.tcbs, base + places["tcbs"], TCB_SIZE, profile.connections)
    table.init(t.runs, base + places["runs"], RUN_SIZE, profile.runs)
    table.init(t.held, base + places["held"], HELD_SIZE, profile.connections)
    table.init(t.rares, base + places["rares"], RARE_SIZE, profile.connections)
    timers.init(t.timers, base + places["tcp_timers"], profile.connections)
    here = addressof(t)
    t.buckets = base + places["buckets"] - here
    t.bucket_mask = buckets - 1
    t.ports = base + places["ports"] - here
    t.listeners = base + places["listeners"] - here
    t.port_table = base + places["port_table"] - here
    t.changes = base + places["changes"] - here
    t.own = base + places["own"] - here
    t.arena = addressof(w.net.arena) - here
    t.key.k0 = seed >> 192
    t.key.k1 = seed >> 256
    t.rng.state = seed >> 320
    t.port_step = (seed >> 384) & 0xFFFF
    tcp_defaults(t.settings)
    t.settings.tcp_mem = profile.buffers & -memory_.PAGE           # 3 : 4 : 6, as on Linux
    t.settings.tcp_mem_low = profile.buffers // 2 & -memory_.PAGE
    t.settings.tcp_mem_pressure = 2 * profile.buffers // 3 & -memory_.PAGE
    t.settings.tcp_fastopen_key.k0 = siphash64(t.key, 7413, 0, 0, 0, 0, 1)
    t.settings.tcp_fastopen_key.k1 = siphash64(t.key, 7413, 1, 0, 0, 0, 2)

    d = w.datagrams
    table.init(d.socks, base + places["socks"], SOCK_SIZE, profile.sockets)
    d.ports = base + places["datagram_ports"] - addressof(d)
    d.own = base + places["sockets_own"] - addressof(d)
    d.arena = addressof(w.net.arena) - addressof(d)
    d.key.k0 = t.key.k0 ^ 0x5550
    d.key.k1 = t.key.k1
    d.step = (seed >> 400) & 0xFFFF
    d.port_first = t.settings.ip_local_port_first
    d.port_last = t.settings.ip_local_port_last
    d.rmem = 212992
    d.wmem = 212992
    d.rmem_max = 4 << 20
    d.busy_read = BUSY
    d.busy_poll = BUSY
    d.wmem_max = 4 << 20
    return w, memory


def tcp_defaults(s: TcpSettings) -> None:
    """Linux's defaults, where Linux has the setting."""
    s.tcp_syn_retries = 6
    s.tcp_syn_linear_timeouts = 0
    s.tcp_synack_retries = 5
    s.tcp_retries1 = 3
    s.tcp_retries2 = 15
    s.tcp_rto_max = 120_000
    s.tcp_mtu_probing = 1
    s.tcp_base_mss = 1024
    s.tcp_min_snd_mss = 48
    s.tcp_mtu_probe_floor = 512
    s.tcp_probe_threshold = 8
    s.tcp_probe_interval = 600 * SECOND
    s.tcp_max_orphans = 16384
    s.tcp_gro = 1
    s.tcp_max_syn_backlog = 4096
    s.somaxconn = 4096
    s.tcp_syncookies = 1
    s.tcp_rfc1337 = 1
    s.tcp_max_tw_buckets = 16384
    s.tcp_tw_reuse = 1
    s.tcp_sack = 1
    s.tcp_dsack = 1
    s.tcp_timestamps = 1
    s.tcp_fastopen = fastopen.CLIENT
    s.tcp_fastopen_keyed = 1
    s.tcp_window_scaling = 1
    s.tcp_recovery = 1
    s.tcp_early_retrans = 3
    s.tcp_frto = 2
    s.tcp_slow_start_after_idle = 1
    s.tcp_ecn = 2
    s.tcp_ecn_fallback = 1
    s.tcp_ecn_option = 2
    s.tcp_ecn_option_beacon = 3
    s.tcp_abe = 1
    s.tcp_hystart = 3
    s.congestion = index_of(DEFAULT)
    s.tcp_keepalive_probes = 9
    s.ip_local_port_first = 32768
    s.ip_local_port_last = 60999
    s.tcp_challenge_ack_limit = LARGEST
    s.tcp_invalid_ratelimit = 500 * MS
    s.tcp_keepalive_time = 7200 * SECOND
    s.tcp_keepalive_intvl = 75 * SECOND
    s.tcp_fin_timeout = 60 * SECOND
    s.tcp_time_wait = 60 * SECOND
    s.tcp_delack = 40 * MS
    s.tcp_rmem_min = 4096
    s.tcp_rmem = 128 << 10
    s.tcp_rmem_max = 6 << 20
    s.tcp_wmem_min = 4096
    s.tcp_wmem = 16 << 10
    s.tcp_wmem_max = 4 << 20
    s.rmem_max = 6 << 20
    s.wmem_max = 4 << 20
    s.tcp_adv_win_scale = 1
    s.tcp_moderate_rcvbuf = 1
    s.tcp_autocorking = 1
    s.tcp_notsent_lowat = 0xFFFF_FFFF


