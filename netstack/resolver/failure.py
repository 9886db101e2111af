"""Why a name was not found, and what the socket API calls it (getaddrinfo(3), gethostbyname(3))."""
from __future__ import annotations

import socket as real
from enum import Enum


class Why(Enum):
    """EAI_* and its text, h_errno and its text, as the C library has them."""

    NONE = real.EAI_NONAME, "Name or service not known", 1, "Unknown host"
    NO_DATA = real.EAI_NODATA, "No address associated with hostname", 4, "No address associated with name"
    AGAIN = real.EAI_AGAIN, "Temporary failure in name resolution", 2, "Host name lookup failure"
    FAIL = real.EAI_FAIL, "Non-recoverable failure in name resolution", 3, "Unknown server error"


class Failure(Exception):
    """A lookup without a result."""

    def __init__(self, why: Why, name: str = "", hint: str = "") -> None:
        super().__init__(why.name, name)
        self.why = why
        self.hint = f" ({hint})" if hint else ""

    def gaierror(self) -> real.gaierror:
        """As getaddrinfo raises it."""
        number, text, _, _ = self.why.value
        return real.gaierror(number, text + self.hint)

    def herror(self) -> real.herror:
        """As gethostbyaddr raises it."""
        _, _, number, text = self.why.value
        return real.herror(number, text)
