"""Impaired: any driver behind a bad network.  `impair` does the work."""
from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..machine import addressof, at, copy, mix64, sizeof
from . import held
from .base import Device, Driver
from .held import Store
from .impair import ALWAYS, Action, Effect, Impair
from .memory import Pages, zeroed
from .units import bitrate, duration, probability, size

IMPAIR = sizeof(Impair)
COUNTERS = ("seen", "scripted", "lost", "duplicated", "corrupted", "marked", "reordered", "delayed",
            "overflowed", "refused")
BOTH = ("inbound", "outbound")
REORDER_HOLD = 1_000_000        # ns, besides half the delay
QUEUE_TIME = 100_000_000        # ns that a frame may wait for the rate limiter, if no size is given
QUEUE_LEAST = 64 << 10          # ... but so many bytes at least


@dataclass(frozen=True)
class Gilbert:
    """Loss in bursts: a good and a bad state, each with its own probability of loss (Gilbert 1960, Elliott 1963)."""

    to_bad: float | str             # probability to go from good to bad, at each frame
    to_good: float | str            # ... and back
    bad: float | str = 1.0          # probability of loss in the bad state
    good: float | str = 0.0         # ... and in the good state

    @classmethod
    def bursts(cls, loss: float | str, length: float) -> Gilbert:
        """Lose `loss` of all frames, `length` in a row on average."""
        p = probability(loss)
        if length < 1 or p >= 1:
            raise ValueError("bursts have a mean length of at least 1 frame, and some frames arrive")
        return cls(to_bad=min(1.0, p / (length * (1 - p))), to_good=1 / length)


@dataclass(frozen=True)
class Settings:
    """What is asked for in one direction.  Times in seconds or as "50ms", rates as "10mbit", sizes as "64KiB"."""

    loss: float | str | Gilbert = 0.0       # probability, or a model
    delay: float | str = 0.0                # each frame takes so long
    jitter: float | str = 0.0               # ... plus or minus up to this
    ordered: bool = True                    # jitter keeps the order of frames
    reorder: float | str = 0.0              # probability that a frame is held back, so that later ones overtake it
    hold: float | str | None = None         # by so much; default: half the delay and 1 ms
    duplicate: float | str = 0.0            # probability
    corrupt: float | str = 0.0              # probability that one bit is flipped
    mark: float | str = 0.0                 # probability that an ECN-capable packet is marked (CE)
    rate: float | str | None = None         # bits per second; None: no limit
    overhead: int = 0                       # bytes that a frame takes on that link besides its own (Ethernet: 24)
    queue: int | str | None = None          # bytes that wait for it, the frame being sent included; then frames are
                                            # dropped.  Default: 100 ms' worth, at least 64 KiB
    limit: int = 10_000                     # frames held for whatever reason; then frames are dropped
    drop: Iterable[int] = ()                # the n-th frames, counted from 1
    script: Mapping[int, str] = field(default_factory=dict)     # ... n: "drop", "duplicate", "corrupt" or "reorder"
    seed: int = 0                           # of all chances

    def __post_init__(self) -> None:
        object.__setattr__(self, "drop", tuple(self.drop))
        object.__setattr__(self, "script", dict(self.script))
        self.apply(zeroed(Impair))            # refuse now what cannot be

    def apply(self, imp: Impair) -> None:
        """Write all but the script and the generators into a record."""
        loss = self.loss if isinstance(self.loss, Gilbert) else Gilbert(0, 0, 0, self.loss)
        imp.loss, imp.loss_bad = _chance(loss.good), _chance(loss.bad)
        imp.to_bad, imp.to_good = _chance(loss.to_bad), _chance(loss.to_good)
        imp.duplicate, imp.corrupt, imp.reorder = _chance(self.duplicate), _chance(self.corrupt), _chance(self.reorder)
        imp.mark = _chance(self.mark)
        imp.delay, imp.jitter = duration(self.delay), duration(self.jitter)
        imp.hold = imp.delay // 2 + REORDER_HOLD if self.hold is None else duration(self.hold)
        imp.ordered = int(bool(self.ordered))
        if not 0 <= self.overhead <= 65535:
            raise ValueError(f"overhead must be 0 to 65535 bytes, not {self.overhead!r}")
        if not 1 <= self.limit < held.CAPACITY:
            raise ValueError(f"limit must be 1 to {held.CAPACITY - 1} frames, not {self.limit!r}")
        imp.overhead, imp.limit = self.overhead, self.limit
        imp.rate = 0 if self.rate is None else bitrate(self.rate)
        if self.rate is not None and imp.rate < 1:
            raise ValueError(f"a rate is at least 1 bit/s; to lose everything say loss=1 (rate={self.rate!r})")
        imp.queue = 0
        if imp.rate:
            least = max(QUEUE_LEAST * 8 * 10**9 // imp.rate, QUEUE_TIME)
            imp.queue = least if self.queue is None else size(self.queue) * 8 * 10**9 // imp.rate
        for n, action in self.entries():
            if n < 1 or action == Action.NONE:
                raise ValueError(f"a script counts frames from 1, not {n!r}")

    def entries(self) -> list[tuple[int, Action]]:
        """The script: frame number and action, ascending."""
        script = {int(n): Action.DROP for n in self.drop}
        for n, what in self.script.items():
            try:
                script[int(n)] = Action[what.upper()]
            except KeyError:
                raise ValueError(f"a script can drop, duplicate, corrupt or reorder a frame, not {what!r}") from None
        return sorted(script.items())

    @property
    def holds(self) -> bool:
        """Whether a frame may have to be kept, or changed."""
        imp = zeroed(Impair)
        self.apply(imp)
        return bool(imp.delay or imp.jitter or imp.reorder or imp.duplicate or imp.corrupt or imp.rate
                    or any(action != Action.DROP for _, action in self.entries()))

    @property
    def is_idle(self) -> bool:
        """Whether nothing is asked for."""
        imp = zeroed(Impair)
        self.apply(imp)
        return not (imp.loss or imp.to_bad or imp.mark or self.entries() or self.holds)


NAMES = tuple(f.name for f in fields(Settings))


def _chance(value: float | str) -> int:
    return round(probability(value) * ALWAYS)


class _Side:
    """One direction: its settings, its record, and the memory behind that."""

    def __init__(self, settings: Settings, stream: int) -> None:
        self.stream = stream                # keeps the directions' chances apart
        self.imp = zeroed(Impair)     # ours until attached, then the interface's
        self._pages: Pages | None = None
        self._scripts: list[Any] = []       # none is freed while it may be read
        self.settings = Settings()
        self.seed(settings.seed)
        self.set(settings)

    def seed(self, seed: int) -> None:
        """Start all generators anew."""
        for effect in Effect:
            self.imp.rng[effect].state = mix64(mix64(seed & (1 << 63) - 1, self.stream), effect)

    def set(self, settings: Settings, new_script: bool = True) -> None:
        """Change what is asked for; frames that are held keep their time."""
        imp = self.imp
        if settings.holds and self._pages is None:
            self._pages = Pages(held.SPACE)
            held.init(at(Store, self._pages.address))
            imp.store = self._pages.address
        settings.apply(imp)
        if imp.to_bad == 0:
            imp.bad = 0
        if new_script:
            entries = [(imp.seen + n) * 8 + action for n, action in settings.entries()]
            script = (ctypes.c_int64 * len(entries))(*entries)
            self._scripts.append(script)
            imp.script, imp.script_next, imp.script_count = ctypes.addressof(script), 0, len(entries)
        self.settings = settings
        imp.on = 1 if not settings.is_idle else 2 if self.held else 0

    def move(self, to: Impair) -> None:
        """The record goes on living elsewhere."""
        old, self.imp = self.imp, to
        copy(addressof(to), addressof(old), IMPAIR)
        old.on = old.lent = 0

    @property
    def held(self) -> int:
        """Frames waiting now."""
        return 0 if self._pages is None else int(at(Store, self._pages.address).slots.live)


class Impaired(Driver):
    """`driver` with loss, delay and whatever else `Settings` names, each way or one way.

        Impaired(Tap("tap0"), loss=0.01, delay="50ms", seed=1)
        Impaired(Wire(), outbound={"rate": "10mbit"}, inbound={"drop": [3, 7]})

    Keywords are for both directions, `inbound` (towards the stack) and `outbound`
    override them.  The same seed gives the same fate to the same frames.  What is
    not found here is the wrapped driver's (`inject`, `sniff`, ...).
    """

    def __init__(self, driver: Driver, *, inbound: Mapping[str, Any] | None = None,
                 outbound: Mapping[str, Any] | None = None, **both: Any) -> None:
        if isinstance(driver, Impaired) or not isinstance(driver, Driver):
            raise TypeError(f"Impaired wraps a plain driver, not {driver!r}")
        self.driver = driver
        self._sides = {name: _Side(Settings(**_checked({**both, **(own or {})})), stream)
                       for stream, (name, own) in enumerate(zip(BOTH, (inbound, outbound), strict=True), 1)}

    def set(self, direction: str = "both", /, **changes: Any) -> None:
        """Change settings ("inbound", "outbound" or "both") while frames flow; what is not named stays.

        Frames already held keep their time.  A new `drop` or `script` counts from
        now, a new `seed` starts the chances anew.
        """
        _checked(changes)
        for side in self._chosen(direction):
            settings = replace(side.settings, **changes)
            with self.guard():
                if "seed" in changes:
                    side.seed(settings.seed)
                side.set(settings, new_script="drop" in changes or "script" in changes)

    def clear(self, direction: str = "both") -> None:
        """Nothing happens to frames any more; those that are held still come."""
        for side in self._chosen(direction):
            with self.guard():
                side.set(Settings(seed=side.settings.seed))

    def settings(self, direction: str) -> Settings:
        """What is asked for now."""
        return self._chosen(direction)[0].settings

    def counters(self, direction: str) -> dict[str, int]:
        """How many frames came, and how many met each effect; `held`: how many wait now."""
        side = self._chosen(direction)[0]
        return {**{name: int(getattr(side.imp, name)) for name in COUNTERS}, "held": side.held}

    def _chosen(self, direction: str) -> list[_Side]:
        if direction not in (*BOTH, "both"):
            raise ValueError(f'a direction is "inbound", "outbound" or "both", not {direction!r}')
        return [self._sides[name] for name in BOTH if direction in (name, "both")]

    # ---- Driver

    def open(self, device: Device, bell: int = -1) -> None:
        """See Driver.open.  Each frame has its own fate, so the device does not join or cut them."""
        self.driver.open(device, bell)
        if self.driver.offload:
            self.driver.set_offload(False)

    def impair(self, inbound: Impair, outbound: Impair) -> None:
        """See Driver.impair."""
        self._sides["inbound"].move(inbound)
        self._sides["outbound"].move(outbound)

    def close(self) -> None:
        """See Driver.close.  The counters stay readable; frames that are held are lost."""
        self.driver.close()
        for side in self._sides.values():
            side.move(zeroed(Impair))

    def __getattr__(self, name: str) -> Any:
        if name == "driver":
            raise AttributeError(name)
        return getattr(self.driver, name)

    def __repr__(self) -> str:
        return f"Impaired({self.driver!r})"


def _checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    for name in settings:
        if name not in NAMES:
            raise TypeError(f"no such impairment: {name!r} (there are {', '.join(NAMES)})")
    return dict(settings)


def _forwarded(name: str) -> Any:
    """An attribute that the wrapped driver has."""
    return property(lambda self: getattr(self.driver, name), lambda self, value: setattr(self.driver, name, value))


for _name in ("name", "mac", "mtu", "ethernet", "point_to_point", "offload", "stack", "wait_hook", "guard"):
    setattr(Impaired, _name, _forwarded(_name))
