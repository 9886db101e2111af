"""Settings of a stack, under the names that Linux's sysctl has for them.

ip-sysctl.rst of the Linux documentation; what Linux has no name for begins with
"netstack.".  Units are Linux's too: seconds, milliseconds (where the meaning
says so) or bytes; fractions are allowed for times, which are kept in nanoseconds.
"""
from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from .tcp import algorithms

SECOND = 1_000_000_000
MS = 1_000_000
LARGEST = (1 << 31) - 1


@dataclass(frozen=True)
class Setting:
    """One setting: where it is kept, what it may be, what it means."""

    layer: str                  # "net", "tcp" or "udp": which record
    fields: tuple[str, ...]     # one value each
    meaning: str
    unit: int = 1               # what one unit is in the record
    least: float = 0
    most: float = LARGEST
    also: tuple[tuple[str, ...], ...] = ()      # (layer, fields...) that keep the same values
    names: Callable[[], tuple[str, ...]] | None = None      # what the numbers 0, 1 ... are called: the value is a name
    # ... or the value is a text: to numbers, and back
    form: tuple[Callable[[str], tuple[int, ...]], Callable[[tuple[int, ...]], str]] | None = None


def _flag(layer: str, field: str, meaning: str) -> Setting:
    return Setting(layer, (field,), meaning, most=1)


def _count(layer: str, field: str, meaning: str, least: int = 0, most: int = LARGEST) -> Setting:
    return Setting(layer, (field,), meaning, least=least, most=most)


def _time(layer: str, field: str, unit: int, meaning: str, least: float = 0) -> Setting:
    return Setting(layer, (field,), meaning, unit=unit, least=least)


def _read_keys(text: str) -> tuple[int, ...]:
    """As Linux: four times 32 bits in hexadecimal, and perhaps the same again behind a comma."""
    words: list[int] = []
    keys = text.strip().split(",")
    for key in keys:
        parts = key.split("-")
        if len(parts) != 4 or len(keys) > 2 or not all(0 < len(p) <= 8 for p in parts):
            raise ValueError(f"{text!r} is not like 01234567-89abcdef-01234567-89abcdef, or two, with a comma")
        a, b, c, d = (int(p, 16) for p in parts)
        words += [_signed(a | b << 32), _signed(c | d << 32)]
    return (len(keys), *words, *[0] * (4 - len(words)))


def _signed(v: int) -> int:
    return v - (1 << 64) if v >> 63 else v


def _write_keys(values: tuple[int, ...]) -> str:
    keys = [values[1 + 2 * i:3 + 2 * i] for i in range(values[0])]
    return ",".join("-".join(f"{v >> shift & 0xFFFF_FFFF:08x}" for v in key for shift in (0, 32)) for key in keys)


_V4, _NEIGHBOUR = "net.ipv4.", "net.ipv4.neigh.default."

SETTINGS: dict[str, Setting] = {
    _V4 + "ip_default_ttl": _count("net", "ip_default_ttl", "time to live of what we send", 1, 255),
    _V4 + "icmp_ratelimit": _time("net", "icmp_ratelimit", MS, "ms between ICMP errors to one destination"),
    _V4 + "icmp_msgs_per_sec": _count("net", "icmp_msgs_per_sec", "ICMP errors per second in total"),
    _V4 + "icmp_msgs_burst": _count("net", "icmp_msgs_burst", "... and at once"),
    _V4 + "icmp_echo_ignore_all": _flag("net", "icmp_echo_ignore_all", "do not answer pings"),
    _V4 + "icmp_echo_ignore_broadcasts": _flag("net", "icmp_echo_ignore_broadcasts", "... sent to broadcast addresses"),
    _V4 + "ipfrag_time": _time("net", "ipfrag_time", SECOND, "s that fragments wait for the others"),
    _V4 + "ipfrag_high_thresh": _count("net", "ipfrag_high_thresh", "bytes of fragments held at most"),
    _V4 + "route.mtu_expires": _time("net", "mtu_expires", SECOND, "s that a learned path MTU is believed"),
    _NEIGHBOUR + "ucast_solicit": _count("net", "ucast_solicit", "requests to a neighbour that was known", 0, 255),
    _NEIGHBOUR + "mcast_solicit": _count("net", "mcast_solicit", "requests to one that was not", 0, 255),
    _NEIGHBOUR + "retrans_time_ms": _time("net", "retrans_time", MS, "ms between them", 1),
    _NEIGHBOUR + "base_reachable_time_ms": _time("net", "base_reachable_time", MS,
                                                 "ms that a neighbour's confirmation lasts", 1),
    _NEIGHBOUR + "gc_stale_time": _time("net", "gc_stale_time", SECOND, "s that an unused neighbour is kept"),
    _NEIGHBOUR + "unres_qlen": _count("net", "unres_qlen", "packets that may wait for one neighbour", 1, 10_000),
    "net.ipv6.conf.all.dad_transmits": _count("net", "dad_transmits", "probes before an IPv6 address is used", 0, 255),
    "netstack.arp_probes": _count("net", "arp_probes", "probes before an IPv4 address is used (RFC 5227)", 0, 255),
    "netstack.arp_announcements": _count("net", "arp_announcements", "announcements of a new IPv4 address", 0, 255),
    _V4 + "tcp_syn_retries": _count("tcp", "tcp_syn_retries", "SYNs sent again before connect gives up", 1, 127),
    _V4 + "tcp_syn_linear_timeouts": _count("tcp", "tcp_syn_linear_timeouts",
                                            "... besides these, after which the timeout does not grow", 0, 127),
    _V4 + "tcp_synack_retries": _count("tcp", "tcp_synack_retries", "answers to a SYN sent again", 0, 255),
    _V4 + "tcp_retries1": _count("tcp", "tcp_retries1", "retransmissions before the path's MTU is doubted", 0, 255),
    _V4 + "tcp_retries2": _count("tcp", "tcp_retries2", "retransmissions before a connection is given up", 0, 255),
    _V4 + "tcp_rto_max_ms": _count("tcp", "tcp_rto_max", "ms that a retransmission waits at most", 1000, 120_000),
    _V4 + "tcp_orphan_retries": _count("tcp", "tcp_orphan_retries", "... when no application has it; 0: 8, but none "
                                       "once the timeout is tcp_rto_max_ms", 0, 255),
    _V4 + "tcp_max_orphans": _count("tcp", "tcp_max_orphans", "connections without an application that still have data "
                                    "or a FIN to send; one more is reset"),
    _V4 + "tcp_max_syn_backlog": _count("tcp", "tcp_max_syn_backlog", "half-open connections of one listener", 1),
    _V4 + "tcp_syncookies": _count("tcp", "tcp_syncookies",
                                   "SYN cookies: 1 when the SYN queue is full, 2 always", 0, 2),
    _V4 + "tcp_abort_on_overflow": _flag("tcp", "tcp_abort_on_overflow",
                                         "reset a connection that finds the accept queue full, instead of waiting"),
    _V4 + "tcp_rfc1337": _flag("tcp", "tcp_rfc1337", "a reset does not end TIME-WAIT (RFC 1337)"),
    "net.core.somaxconn": _count("tcp", "somaxconn", "largest backlog of a listener", 0),
    _V4 + "tcp_max_tw_buckets": _count("tcp", "tcp_max_tw_buckets", "connections in TIME-WAIT at most"),
    _V4 + "tcp_tw_reuse": _count("tcp", "tcp_tw_reuse", "a connection may take the ports of one in TIME-WAIT", 0, 2),
    _V4 + "tcp_sack": _flag("tcp", "tcp_sack", "offer selective acknowledgments (RFC 2018)"),
    _V4 + "tcp_dsack": _flag("tcp", "tcp_dsack", "report what came twice (RFC 2883)"),
    _V4 + "tcp_timestamps": _count("tcp", "tcp_timestamps", "offer timestamps (RFC 7323)", 0, 2),
    _V4 + "tcp_window_scaling": _flag("tcp", "tcp_window_scaling", "offer window scaling (RFC 7323)"),
    _V4 + "tcp_congestion_control": Setting("tcp", ("congestion",), "congestion control of new connections",
                                            names=algorithms.names),
    _V4 + "tcp_recovery": _count("tcp", "tcp_recovery", "bit 0: RACK finds losses (RFC 8985), else RFC 6675", 0, 7),
    _V4 + "tcp_early_retrans": _count("tcp", "tcp_early_retrans", "3: tail loss probes (RFC 8985 7); 0: none", 0, 4),
    _V4 + "tcp_frto": _count("tcp", "tcp_frto", "recognise spurious timeouts (RFC 5682)", 0, 2),
    _V4 + "tcp_slow_start_after_idle": _flag("tcp", "tcp_slow_start_after_idle",
                                             "an idle connection's window fades (RFC 5681 4.1, RFC 2861)"),
    _V4 + "tcp_ecn": _count("tcp", "tcp_ecn", "explicit congestion notification, see below", 0, 5),
    _V4 + "tcp_ecn_fallback": _flag("tcp", "tcp_ecn_fallback", "a SYN that is not answered is sent again without ECN"),
    _V4 + "tcp_ecn_option": _count("tcp", "tcp_ecn_option", "AccECN option: 1 when it must, 2 wherever it fits", 0, 3),
    _V4 + "tcp_ecn_option_beacon": _count("tcp", "tcp_ecn_option_beacon", "... so often in a round trip", 0, 63),
    "netstack.tcp_abe": _flag("tcp", "tcp_abe", "reduce less for a mark than for a loss (RFC 8511)"),
    "netstack.tcp_hystart": _count("tcp", "tcp_hystart",
                                   "CUBIC ends slow start: 1: when delay rises (RFC 9406), 2: by trains of ACKs", 0, 3),
    _V4 + "tcp_mtu_probing": _count("tcp", "tcp_mtu_probing", "find the path's MTU by probes: 0 never, 1 after a black "
                                    "hole, 2 always", 0, 2),
    _V4 + "tcp_base_mss": _count("tcp", "tcp_base_mss", "segment size that the search begins with, bytes", 48, 65535),
    _V4 + "tcp_min_snd_mss": _count("tcp", "tcp_min_snd_mss", "segment size that a peer may force on us at least, "
                                    "bytes", 48, 65535),
    _V4 + "tcp_mtu_probe_floor": _count("tcp", "tcp_mtu_probe_floor", "segment size that black holes lead to at least, "
                                        "bytes", 48, 65535),
    _V4 + "tcp_probe_threshold": _count("tcp", "tcp_probe_threshold", "bytes: a search that is so close is over", 1,
                                        65535),
    _V4 + "tcp_probe_interval": _time("tcp", "tcp_probe_interval", SECOND, "s until it begins anew"),
    _V4 + "tcp_fastopen": _count("tcp", "tcp_fastopen", "Fast Open, a sum: 1 clients, 2 listeners with TCP_FASTOPEN, "
                                 "4 clients without a cookie, 512 listeners without, 1024 all listeners"),
    _V4 + "tcp_fastopen_blackhole_timeout_sec": _time("tcp", "tcp_fastopen_pause", SECOND, "s that clients do without "
                                                      "after a connection was cut off, then twice that ...; 0: none"),
    _V4 + "tcp_fastopen_key": Setting("tcp", ("tcp_fastopen_keyed", "tcp_fastopen_key.k0", "tcp_fastopen_key.k1",
                                              "tcp_fastopen_backup.k0", "tcp_fastopen_backup.k1"),
                                      "key of the cookies, and behind a comma the one before it, whose cookies are "
                                      "good too", form=(_read_keys, _write_keys)),
    _V4 + "tcp_keepalive_probes": _count("tcp", "tcp_keepalive_probes", "probes that end a silent connection", 1, 127),
    _V4 + "tcp_keepalive_time": _time("tcp", "tcp_keepalive_time", SECOND, "s of silence before the first", 0.001),
    _V4 + "tcp_keepalive_intvl": _time("tcp", "tcp_keepalive_intvl", SECOND, "s between them", 0.001),
    _V4 + "tcp_challenge_ack_limit": _count("tcp", "tcp_challenge_ack_limit",
                                            "challenge ACKs per second in total; 2147483647: no limit"),
    _V4 + "tcp_invalid_ratelimit": _time("tcp", "tcp_invalid_ratelimit", MS,
                                         "ms between a connection's answers to segments that make no sense"),
    _V4 + "tcp_fin_timeout": _time("tcp", "tcp_fin_timeout", SECOND, "s in FIN-WAIT-2 without an application"),
    _V4 + "tcp_mem": Setting("tcp", ("tcp_mem_low", "tcp_mem_pressure", "tcp_mem"), "buffers of all connections, pages "
                             "of 4096 bytes: pressure ends, begins, new connections are refused", unit=4096),
    _V4 + "tcp_rmem": Setting("tcp", ("tcp_rmem_min", "tcp_rmem", "tcp_rmem_max"),
                              "receive buffer of a connection, bytes: least, where it begins, how far it grows",
                              least=2304),
    _V4 + "tcp_wmem": Setting("tcp", ("tcp_wmem_min", "tcp_wmem", "tcp_wmem_max"),
                              "send buffer of a connection, bytes: least, where it begins, how far it grows",
                              least=2304),
    _V4 + "tcp_adv_win_scale": _count("tcp", "tcp_adv_win_scale", "which part of a receive buffer is window: all but "
                                      "1/2**n of it, or, if n <= 0, 2**n of it", -31, 31),
    _V4 + "tcp_moderate_rcvbuf": _flag("tcp", "tcp_moderate_rcvbuf", "receive buffers grow by themselves"),
    _V4 + "tcp_autocorking": _flag("tcp", "tcp_autocorking", "what is written while others are in flight waits for the "
                                   "thread that is just being woken"),
    _V4 + "tcp_notsent_lowat": Setting("tcp", ("tcp_notsent_lowat",), "bytes not yet sent that make a socket "
                                       "unwritable", most=(1 << 32) - 1),
    "net.core.rmem_default": _count("udp", "rmem", "receive buffer of a datagram socket, bytes", 2304),
    "net.core.wmem_default": _count("udp", "wmem", "send buffer of a datagram socket, bytes", 2304),
    "net.core.rmem_max": Setting("tcp", ("rmem_max",), "what SO_RCVBUF may ask for, bytes", least=2304,
                                 also=(("udp", "rmem_max"),)),
    "net.core.wmem_max": Setting("tcp", ("wmem_max",), "what SO_SNDBUF may ask for, bytes", least=2304,
                                 also=(("udp", "wmem_max"),)),
    "net.core.busy_read": _count("udp", "busy_read", "us that a blocking call looks for frames before it sleeps; "
                                 "SO_BUSY_POLL is the socket's own", 0, 1_000_000),
    "net.core.busy_poll": _count("udp", "busy_poll", "the same for a Selector", 0, 1_000_000),
    _V4 + "ip_local_port_range": Setting("tcp", ("ip_local_port_first", "ip_local_port_last"),
                                         "first and last port for sockets that did not choose", least=1, most=65535,
                                         also=(("udp", "port_first", "port_last"),)),
    "netstack.tcp_gro": _flag("tcp", "tcp_gro", "join plain segments that come in a row before TCP sees them"),
    "netstack.tcp_time_wait": _time("tcp", "tcp_time_wait", SECOND, "s in TIME-WAIT (2 MSL)"),
    "netstack.tcp_delack": _time("tcp", "tcp_delack", MS, "ms that an ACK is delayed at least, if it is"),
}


class Settings(Mapping[str, Any]):
    """The settings of one stack: `stack.settings["net.ipv4.tcp_sack"] = 0`.

    A range is a pair, tcp_rmem and tcp_wmem are three numbers.  An unknown name is a KeyError that suggests the nearest
    ones, a value out of range a ValueError.
    """

    def __init__(self, records: Mapping[str, Any], guard: Callable[[], AbstractContextManager[Any]],
                 know: Callable[[int], None]) -> None:
        self._records = records
        self._know = know
        self._guard = guard

    def _find(self, name: str) -> Setting:
        setting = SETTINGS.get(name)
        if setting is None:
            near = difflib.get_close_matches(str(name), SETTINGS, 3, 0.5)
            near += [s for s in SETTINGS if s.rpartition(".")[2] == name and s not in near]
            raise KeyError(f"no setting {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else ""))
        return setting

    def __getitem__(self, name: str) -> Any:
        setting = self._find(name)
        if setting.form is not None:
            record = self._records[setting.layer]
            return setting.form[1](tuple(int(attrgetter(field)(record)) for field in setting.fields))
        values = tuple(self._read(setting, field) for field in setting.fields)
        if setting.names is not None:
            return setting.names()[int(values[0])]
        return values if len(values) > 1 else values[0]

    def _read(self, setting: Setting, field: str) -> int | float:
        raw = int(getattr(self._records[setting.layer], field))
        return raw // setting.unit if raw % setting.unit == 0 else raw / setting.unit

    def __setitem__(self, name: str, value: Any) -> None:
        setting = self._find(name)
        if setting.names is not None:
            if value not in setting.names():
                raise ValueError(f"{name} must be {' or '.join(setting.names())}, not {value!r}")
            value = setting.names().index(value)
            self._know(value)
        if setting.form is not None:
            self._set_text(setting, setting.form[0](str(value)))
            return
        values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
        if len(values) != len(setting.fields):
            raise ValueError(f"{name} takes {len(setting.fields)} values, not {value!r}")
        for v in values:
            if not isinstance(v, (int, float)) or (setting.unit == 1 and v != int(v)):
                raise TypeError(f"{name} takes a {'number' if setting.unit > 1 else 'whole number'}, not {v!r}")
            if not setting.least <= v <= setting.most:
                raise ValueError(f"{name} must be {setting.least} to {setting.most}, not {v!r}")
        if list(values) != sorted(values):
            raise ValueError(f"{name}: {value!r} does not rise")
        with self._guard():
            for layer, *fields in ((setting.layer, *setting.fields), *setting.also):
                for field, v in zip(fields, values, strict=True):
                    setattr(self._records[layer], field, round(v * setting.unit))

    def _set_text(self, setting: Setting, values: tuple[int, ...]) -> None:
        with self._guard():
            for field, v in zip(setting.fields, values, strict=True):
                owner, _, name = field.rpartition(".")
                record = self._records[setting.layer]
                setattr(attrgetter(owner)(record) if owner else record, name, v)

    def __iter__(self) -> Iterator[str]:
        return iter(SETTINGS)

    def __len__(self) -> int:
        return len(SETTINGS)

    def __repr__(self) -> str:
        return f"<Settings: {', '.join(f'{name}={self[name]!r}' for name in self)}>"

    @staticmethod
    def describe(name: str) -> str:
        """What a setting means."""
        return SETTINGS[name].meaning
