"""The client's states: from no address to a lease, and how it is kept.

RFC 2131 4.4 and its figure 5; 4.1 (retransmission), 3.1 (5, an address that is
in use), RFC 3442 (what is asked for).

Time is `now`, ns, an argument; `deadline` says when `step` has something to do.
Messages go and leases are used through a Host, so that nothing here knows a
socket, an interface or a clock.
"""
from __future__ import annotations

import random
from enum import Enum
from typing import Protocol

from .lease import NEVER, SECOND, Keeper, Lease, lease_of
from .message import BROADCAST, REPLY, REQUEST, Code, Malformed, Message, Type

FIRST_DELAY = 4 * SECOND        # (4.1) until a message is sent again, doubled each time
LONGEST_DELAY = 64 * SECOND
FUZZ = 1 * SECOND               # ... more or less
TRIES = 4                       # of a REQUEST for an offer: a minute (3.1, 5)
AFTER_DECLINE = 10 * SECOND     # (3.1, 5) at least
LEAST_WAIT = 60 * SECOND        # between two requests of a renewal (4.4.5)
LOOK = SECOND // 10             # between two looks whether somebody else has the address
MOST_SECS = 0xFFFF
VENDOR = b"netstack"

WANTED = bytes([Code.MASK, Code.ROUTES, Code.ROUTER, Code.NAME_SERVER, Code.HOST_NAME, Code.DOMAIN_NAME, Code.MTU,
                Code.BROADCAST, Code.TIME_SERVER, Code.RENEWAL_TIME, Code.REBINDING_TIME, Code.SEARCH])


class State(Enum):
    """Figure 5, without INIT-REBOOT and REBOOTING; CHECKING is 4.4.1's "check on the suggested address"."""

    INIT = "INIT"
    SELECTING = "SELECTING"
    REQUESTING = "REQUESTING"
    CHECKING = "CHECKING"
    BOUND = "BOUND"
    RENEWING = "RENEWING"
    REBINDING = "REBINDING"
    STOPPED = "STOPPED"


HAVING = (State.BOUND, State.RENEWING, State.REBINDING)     # the address is ours
HEARING = (State.SELECTING, State.REQUESTING, State.RENEWING, State.REBINDING)


class Host(Protocol):
    """Who does what the client decides."""

    def broadcast(self, message: Message) -> None:
        """Send to everybody on the link; from the client's address if the message has one (ciaddr), else from 0."""

    def unicast(self, message: Message, server: str) -> None:
        """Send to a server."""

    def claim(self, lease: Lease) -> None:
        """Give the interface the address."""

    def is_free(self, lease: Lease) -> bool | None:
        """Whether nobody else has it; None: that is not known yet."""

    def use(self, lease: Lease) -> None:
        """It is ours, or has been renewed: routes, names, MTU."""

    def give_up(self) -> None:
        """It is not ours any more."""


class Client:
    """One interface's client."""

    def __init__(self, host: Host, mac: bytes, dice: random.Random, *, host_name: bytes = b"", client_id: bytes = b"",
                 largest: int = 1500, address: int = 0, keeper: Keeper | None = None) -> None:
        """`largest`: bytes of the longest message that may come; `address`: that we would like, 0: any."""
        self.state = State.INIT
        self.deadline = 0
        self.lease: Lease | None = None
        self.address = address              # option 50 of the next DISCOVER
        self.refusals = 0                   # one after the other: NAKs, addresses in use
        self._host = host
        self._mac = mac
        self._dice = dice
        self._keeper = keeper
        self._same: dict[int, bytes] = {Code.CLIENT: client_id or b"\1" + mac}
        self._asks: dict[int, bytes] = {Code.WANTED: WANTED, Code.LARGEST: largest.to_bytes(2, "big"),
                                        Code.VENDOR: VENDOR}
        if host_name:
            self._asks[Code.HOST_NAME] = host_name
        self._xid = 0
        self._began = 0                     # when this exchange did
        self._sent = 0                      # when the request was, from which a lease counts
        self._tries = 0
        self._granted: Lease | None = None  # of an OFFER, or of an ACK while CHECKING

    # What comes to pass

    def step(self, now: int) -> None:
        """Do what is due."""
        while now >= self.deadline:
            self.deadline = NEVER           # each of them sets it
            if self.state in HAVING:
                self._extend(now)
            elif self.state is State.INIT:
                self._discover(now)
            elif self.state is State.CHECKING:
                self._check(now)
            elif self.state is not State.STOPPED:
                self._again(now)

    def hear(self, message: Message, now: int) -> bool:
        """Take a message: whether it was for us, and of use."""
        if (message.op != REPLY or self.state not in HEARING or message.xid != self._xid
                or message.chaddr != self._mac):
            return False
        try:
            if message.type == Type.OFFER and self.state is State.SELECTING:
                self._select(message, now)
            elif message.type == Type.ACK and self.state is not State.SELECTING:
                return self._acknowledged(message, now)
            elif message.type == Type.NAK and self.state is not State.SELECTING:
                return self._refused(message, now)
            else:
                return False
        except Malformed:
            return False
        return True

    def stop(self, release: bool) -> None:
        """No more.  `release`: tell the server that the address is free (4.4.6)."""
        if release and self.lease is not None:
            self._xid = self._dice.getrandbits(32)
            self._host.unicast(self._message(Type.RELEASE, self.lease.address, {
                Code.SERVER: _packed(self.lease.server), Code.MESSAGE: b"released"}), self.lease.server)
        self.state = State.STOPPED
        self.deadline = NEVER
        self.lease = None

    def renew(self) -> None:
        """Do so at the next step, before T1: "A client MAY choose to" (4.4.5)."""
        if self.state in HAVING:
            self.deadline = 0

    def fail(self, now: int) -> None:
        """This host could not do what was to be done: once more, later."""
        if self.state in HAVING:
            self.deadline = now + AFTER_DECLINE
        elif self.state is not State.STOPPED:
            self._restart(now, LONGEST_DELAY)

    # INIT, SELECTING (4.4.1)

    def _discover(self, now: int) -> None:
        # Differs: no random time of 1 to 10 s before (4.4.1): one wants an address now, and only a building full of
        # machines that get their power back together gains by it.  Retransmissions are spread.
        self._xid = self._dice.getrandbits(32)
        self._began = now
        self._tries = 0
        self.state = State.SELECTING
        self._again(now)

    def _select(self, offer: Message, now: int) -> None:
        """The first offer that can be used is taken."""
        self._granted = lease_of(offer, now)
        self._tries = 0
        self._sent = now
        self.state = State.REQUESTING
        self._again(now)

    # REQUESTING

    def _again(self, now: int) -> None:
        """The DISCOVER or the REQUEST, for the first time or once more."""
        if self.state is State.REQUESTING and self._tries == TRIES:
            self._restart(now, 0)           # that server is gone
            return
        delay = min(FIRST_DELAY << min(self._tries, 10), LONGEST_DELAY)
        self.deadline = now + delay + round(self._dice.uniform(-FUZZ, FUZZ))
        self._tries += 1
        options = dict(self._asks)
        if self.state is State.SELECTING:
            if self.address:
                options[Code.ADDRESS] = self.address.to_bytes(4, "big")
            self._broadcast(Type.DISCOVER, options, now)
        else:
            assert self._granted is not None
            options[Code.ADDRESS] = _packed(self._granted.address)
            options[Code.SERVER] = _packed(self._granted.server)
            self._broadcast(Type.REQUEST, options, now)

    def _acknowledged(self, ack: Message, now: int) -> bool:
        known = self.lease or self._granted
        assert known is not None
        lease = lease_of(ack, self._sent, self._keeper)
        if lease.address != known.address:
            return False                    # not what was asked for
        if self.state is not State.REBINDING and lease.server != known.server:
            return False                    # not who was asked
        if self.state is not State.REQUESTING:
            self._bind(lease, now)
            return True
        self._granted = lease
        self.state = State.CHECKING
        self.deadline = now
        self._host.claim(lease)
        return True

    def _refused(self, nak: Message, now: int) -> bool:
        known = self.lease or self._granted
        assert known is not None
        server = nak.options.get(Code.SERVER)
        if self.state is not State.REBINDING and server is not None and server != _packed(known.server):
            return False                    # of a server that was not asked
        self.address = 0
        self._restart(now, self._patience())
        return True

    # CHECKING (4.4.1, 3.1 5)

    def _check(self, now: int) -> None:
        lease = self._granted
        assert lease is not None
        free = self._host.is_free(lease)
        if free is None:
            self.deadline = now + LOOK
        elif free:
            self._bind(lease, now)
        else:
            self._broadcast(Type.DECLINE, {Code.ADDRESS: _packed(lease.address), Code.SERVER: _packed(lease.server),
                                           Code.MESSAGE: b"somebody has it"}, now)
            self.address = 0
            self._restart(now, max(AFTER_DECLINE, self._patience()))

    def _bind(self, lease: Lease, now: int) -> None:
        self.lease = lease
        self.address = int.from_bytes(_packed(lease.address), "big")
        self.refusals = 0
        self._granted = None
        self.state = State.BOUND
        due = lease.renews_at
        if due != NEVER:                    # (4.4.5) "with some random fuzz"
            due -= round(self._dice.uniform(0, min(FUZZ, (lease.renews_at - lease.began) // 100)))
        self.deadline = due
        self._host.use(lease)

    # BOUND, RENEWING, REBINDING (4.4.5)

    def _extend(self, now: int) -> None:
        lease = self.lease
        assert lease is not None
        if now >= lease.expires_at:
            self._restart(now, 0)
            return
        if self.state is State.BOUND:
            self._began = now
        rebind = now >= lease.rebinds_at
        end = lease.expires_at if rebind else lease.rebinds_at
        self.state = State.REBINDING if rebind else State.RENEWING
        self.deadline = min(now + max((end - now) // 2, LEAST_WAIT), end)
        self._xid = self._dice.getrandbits(32)      # a late answer to an older request is none to this one
        self._sent = now
        message = self._message(Type.REQUEST, lease.address, self._asks, now)
        if rebind:
            self._host.broadcast(message)
        else:
            self._host.unicast(message, lease.server)

    def _restart(self, now: int, delay: int) -> None:
        """To INIT: what there was is gone."""
        had = self.lease is not None or self.state is State.CHECKING
        self.lease = self._granted = None
        self.state = State.INIT
        self.deadline = now + delay
        if had:
            self._host.give_up()

    def _patience(self) -> int:
        """How long after a refusal it begins anew: at once, then longer each time, for a server that always refuses."""
        self.refusals += 1
        return 0 if self.refusals == 1 else min(SECOND << min(self.refusals - 2, 10), LONGEST_DELAY)

    # Messages (4.4.1, table 5)

    def _broadcast(self, type: Type, options: dict[int, bytes], now: int) -> None:
        self._host.broadcast(self._message(type, None, options, now))

    def _message(self, type: Type, address: str | None, options: dict[int, bytes], now: int = 0) -> Message:
        """`address`: ours, which the server may answer to; without, it is to answer to everybody."""
        asks = type in (Type.DISCOVER, Type.REQUEST)
        return Message(REQUEST, self._xid, secs=min((now - self._began) // SECOND, MOST_SECS) if asks else 0,
                       flags=BROADCAST if asks and address is None else 0,
                       ciaddr=int.from_bytes(_packed(address), "big") if address is not None else 0, chaddr=self._mac,
                       options={Code.TYPE: bytes([type]), **self._same, **options})


def _packed(address: str) -> bytes:
    return bytes(map(int, address.split(".")))
