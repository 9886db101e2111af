"""Settings of the IP layer's tests."""
from __future__ import annotations

from hypothesis import settings

# The first example of a compiled test waits for the compiler.
settings.register_profile("compiled", deadline=None)
settings.load_profile("compiled")
