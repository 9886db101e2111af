"""What the demonstration with the kernel needs."""
from __future__ import annotations

import os

from ...lab import namespace

TUN = "/dev/net/tun"


def missing() -> list[str]:
    """Each thing that is missing, with its reason; empty if nothing is."""
    reasons = []
    try:
        os.close(os.open(TUN, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        reasons.append(f"{TUN} is not there (no TUN/TAP driver in this kernel or container)")
    except OSError as error:
        reasons.append(f"{TUN} cannot be opened: {error.strerror}")
    if (refusal := namespace.refusal()) is not None:
        reasons.append(f"no network namespace of our own: {refusal}")
    return reasons
