"""The options of a script."""

from __future__ import annotations

from dataclasses import dataclass, fields

from .script import At, ScriptError, Unsupported

VERSIONS = ("ipv4", "ipv6", "ipv4-mapped-ipv6")


@dataclass
class Options:
    """What a script's `--name=value` lines (and the command's options) say; packetdrill's defaults."""

    ip_version: str = "ipv4"
    bind_port: int = 8080
    connect_port: int = 8080
    local_ip: str = ""
    remote_ip: str = ""
    mtu: int = 0                        # 0: 1500, with IPv6 1520, which gives the same MSS
    tolerance_usecs: int = 4000
    tolerance_percent: float = 12.5
    tcp_ts_tick_usecs: int = 0          # 0: TSval is not compared
    strict_segments: bool = False

    @property
    def six(self) -> bool:
        """Whether IPv6 is on the wire."""
        return self.ip_version == "ipv6"


IGNORED = {"debug", "verbose", "speed", "mss", "gateway_ip", "netmask_ip", "send_omit_free", "is_anyip", "define",
           "code_format", "code_command", "tcp_ts_ecr_scaled"}
FOREIGN = {"wire_client", "wire_server", "wire_server_ip", "wire_server_at", "wire_server_port", "wire_client_dev",
           "wire_server_dev", "so_filename", "so_flags", "dry_run", "non_fatal"}


def configure(given: list[tuple[At, str, str | None]], ip_version: str | None) -> Options:
    """The options of a script."""
    options = Options(ip_version=ip_version or "ipv4")
    kinds = {f.name: f.type for f in fields(Options)}
    for at, name, value in given:
        if name in FOREIGN:
            raise Unsupported(at, f"the option --{name}")
        if name == "init_scripts" and value is not None and value.endswith("defaults.sh"):
            continue
        if name == "code_sockopt" and value in ("TCP_INFO", ""):
            continue
        if name in IGNORED:
            continue
        if name not in kinds:
            raise Unsupported(at, f"the option --{name}")
        if name == "ip_version" and value not in VERSIONS:
            raise ScriptError(at, f"expected --ip_version={', '.join(VERSIONS)}, found {value!r}")
        try:
            if kinds[name] == "bool":
                setattr(options, name, True)
            else:
                make = {"int": int, "float": float, "str": str}[str(kinds[name])]
                setattr(options, name, make(value or ""))
        except ValueError:
            raise ScriptError(at, f"expected a number after --{name}=, found {value!r}") from None
    options.local_ip = options.local_ip or ("fd3d:a0b:17d6::1" if options.six else "192.168.0.1")
    options.remote_ip = options.remote_ip.partition("/")[0] or ("2001:db8::1" if options.six else "192.0.2.1")
    options.mtu = options.mtu or (1520 if options.six else 1500)
    return options
