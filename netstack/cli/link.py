"""The options that say which link a command uses, and the stack made from them."""
from __future__ import annotations

import ipaddress
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from ..interface import Interface
    from ..shards import Shards
    from ..stack import Stack

    Text = click.ParamType[str]
else:
    Text = click.ParamType      # older versions of click know no [str]

F = TypeVar("F", bound=Callable[..., Any])

KINDS = ("tap", "tun", "raw")            # of devices
DHCP = "dhcp"                           # in the place of an IPv4 address
LEASE = 60.0                            # seconds in which a DHCP server must have answered
READY = 5.0                             # seconds that the check for duplicate addresses may take
FINISH = 5.0                            # seconds for the last data
SENDING = ("FIN-WAIT-1", "CLOSING", "LAST-ACK")     # closed here, not all acknowledged yet
MTU_LEAST, MTU_MOST = 68, 65535         # RFC 791; the largest IP packet
MTU_LEAST_IPV6 = 1280                   # RFC 8200 5


class Address(Text):
    """An interface address with its prefix length, such as 10.0.0.2/24; or "dhcp" for an IPv4 one."""

    name = "CIDR"

    def __init__(self, version: int) -> None:
        self.version = version

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        example = "10.0.0.2/24" if self.version == 4 else "fd00::2/64"
        if self.version == 4 and value == DHCP:
            return DHCP
        kind = ipaddress.IPv4Interface if self.version == 4 else ipaddress.IPv6Interface
        if "/" not in str(value):
            self.fail(f"{value!r} has no prefix length; an example: {example}", param, ctx)
        try:
            return str(kind(value))
        except ValueError:
            self.fail(f"{value!r} is not an IPv{self.version} address with a prefix length; an example: {example}",
                      param, ctx)


class Host(Text):
    """One IP address."""

    name = "IP"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return str(ipaddress.ip_address(str(value)))
        except ValueError:
            self.fail(f"{value!r} is not an IP address", param, ctx)


class NameServer(Text):
    """The address of a name server, with #port if it is not 53."""

    name = "IP"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from ..resolver.config import server

        try:
            server(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)
        return str(value)


@dataclass
class Link:
    """What the options said."""

    tap: str | None = None
    tun: str | None = None
    raw: str | None = None
    ip: str | None = None
    ip6: str | None = None
    gateway: str | None = None
    mtu: int | None = None
    offload: bool = True
    pcap: str | None = None
    dns: tuple[str, ...] = ()


def link_options(function: F) -> F:
    """Add the link options to a command; it gets one argument, `link`."""
    @wraps(function)
    def gather(**values: Any) -> Any:
        link = Link(**{name: values.pop(name) for name in Link.__dataclass_fields__})
        _check(link)
        return function(link=link, **values)

    decorated: Any = gather
    for option in reversed([
        click.option("--tap", metavar="NAME", help="The TAP device; made if it does not exist."),
        click.option("--tun", metavar="NAME", help="... or a TUN device: IP packets without Ethernet."),
        click.option("--raw", metavar="NAME",
                     help="... or an interface of this host, on whose network we are a station (AF_PACKET)."),
        click.option("--ip", type=Address(4), help="Our IPv4 address, such as 10.0.0.2/24; dhcp: ask for one."),
        click.option("--ip6", type=Address(6), help="Our IPv6 address, such as fd00::2/64."),
        click.option("--gateway", type=Host(), help="The default router."),
        click.option("--mtu", type=click.IntRange(MTU_LEAST, MTU_MOST),
                     help="Largest IP packet, bytes [the device's]."),
        click.option("--offload/--no-offload", default=True, show_default=True,
                     help="Leave checksums and the cutting of segments to the device."),
        click.option("--pcap", type=click.Path(dir_okay=False), metavar="FILE",
                     help="Record every frame, for Wireshark (pcapng)."),
        click.option("--dns", type=NameServer(), multiple=True,
                     help="A name server, or IP#PORT; several are asked in turn."),
    ]):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def _check(link: Link) -> None:
    devices = [f"--{kind}" for kind in KINDS if getattr(link, kind) is not None]
    given = [f"--{name}" for name in ("ip", "ip6", "gateway", "mtu") if getattr(link, name) is not None]
    if len(devices) > 1:
        raise click.UsageError(f"{' and '.join(devices)}: one link, please.")
    if not devices and given:
        raise click.UsageError(f"{', '.join(given)} without --tap, --tun or --raw: there is no link to give it to.")
    if devices and link.ip is None and link.ip6 is None:
        raise click.UsageError(f"{devices[0]} needs an address: --ip or --ip6 (or both).")
    if link.ip == DHCP and link.tun is not None:
        raise click.UsageError("--ip dhcp needs Ethernet: --tap or --raw.")
    if link.ip == DHCP and link.gateway is not None and ":" not in link.gateway:
        raise click.UsageError("--gateway and --ip dhcp: the DHCP server says which the router is.")
    if devices and not 0 < len(_device(link)[1].encode()) < 16:
        raise click.UsageError("the name of an interface has 1 to 15 bytes.")
    if link.ip6 is not None and link.mtu is not None and link.mtu < MTU_LEAST_IPV6:
        raise click.UsageError(f"IPv6 needs an MTU of at least {MTU_LEAST_IPV6} (RFC 8200).")


def _device(link: Link) -> tuple[str, str]:
    """Kind and name of the device; two times "" if there is none."""
    return next(((kind, getattr(link, kind)) for kind in KINDS if getattr(link, kind) is not None), ("", ""))


@contextmanager
def opened(link: Link, *, need_link: bool = False) -> Iterator[Stack]:
    """The stack that the options describe.  What is missing ends the command with a message."""
    kind, name = _device(link)
    if need_link and not kind:
        raise click.UsageError("which link?  Give --tap NAME and --ip CIDR.")
    from .. import Stack
    from ..drivers import Raw, Tap, Tun
    from ..warm import ensure_compiled

    ensure_compiled()
    with Stack(nameservers=link.dns) as stack:
        if link.pcap is not None:
            try:
                stack.capture(link.pcap)
            except OSError as error:
                refuse(f"cannot write {link.pcap}: {error.strerror}")
        if kind:
            driver: type[Raw] | type[Tap] | type[Tun] = {"tap": Tap, "tun": Tun, "raw": Raw}[kind]
            _attach(stack, link, lambda: driver(name, offload=link.offload))
        with offered(stack):
            yield stack


@contextmanager
def opened_shards(link: Link, queues: int) -> Iterator[Shards]:
    """The same with so many worlds, on a multi-queue TAP; no capture."""
    name = link.tap
    if name is None:
        raise click.UsageError("which TAP?  Give --tap NAME and --ip CIDR.")
    if link.ip == DHCP:
        raise click.UsageError("--ip dhcp is for one queue only.")
    from .. import Shards
    from ..drivers import Tap
    from ..warm import ensure_compiled

    ensure_compiled()
    with Shards(queues) as shards:
        _attach(shards, link, lambda: Tap.queues(name, queues, offload=link.offload))
        for stack in shards.stacks:
            stack.resolver.config.serve(link.dns)
        with offered(*shards.stacks):
            yield shards


@contextmanager
def offered(*stacks: Stack) -> Iterator[None]:
    """`netstack monitor` may look at them meanwhile, if there is a place for it."""
    from ..observe.offer import Offer

    with ExitStack() as life:
        with suppress(OSError):
            life.enter_context(Offer(*stacks))
        yield


def _attach(host: Any, link: Link, make: Callable[[], Any]) -> None:
    """Give a stack, or shards, the interface that the options describe, on the device that `make` opens."""
    given = {name: getattr(link, name) for name in ("ip", "ip6", "gateway", "mtu")}
    try:
        made = host.attach(make(), **{k: v for k, v in given.items() if v is not None})
    except OSError as error:
        refuse(str(error.strerror or error))
    except ValueError as error:
        refuse(str(error), 2)
    if link.ip == DHCP:
        _await_lease(made)
    if link.ip6 is not None:                # nobody else has it, we hope: asking takes a second (RFC 4862 5.4)
        first = made[0] if isinstance(made, tuple) else made
        first.stack.wait_for(lambda: first.is_ready, READY)


def _await_lease(interface: Interface) -> None:
    """Say on stderr what the DHCP server has granted; end the command if there is none."""
    try:
        lease = interface.dhcp(LEASE)
    except OSError as error:
        refuse(str(error.strerror or error))
    seconds = "for good" if lease.lease_time is None else f"for {lease.lease_time} s"
    click.echo(f"netstack: {lease.ip} from {lease.server}, {seconds}", err=True)


def finish(stack: Stack) -> None:
    """Wait, some seconds at most, until what closed sockets still had to send has arrived."""
    stack.wait_for(lambda: not any(c.state in SENDING for c in stack.connections()), FINISH)


def refuse(message: str, status: int = 1) -> NoReturn:
    """End the command with a message and no traceback."""
    click.echo(f"netstack: {message}", err=True)
    sys.exit(status)
