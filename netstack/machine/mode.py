"""Which of the two speeds this process runs at.

``NETSTACK_JIT=0`` in the environment: every line of protocol code is ordinary
Python, to be stepped through in a debugger.  Otherwise numba compiles it.
"""
import os

JIT = os.environ.get("NETSTACK_JIT", "1") != "0"

# With NUMBA_BOUNDSCHECK=1 every index into a record's array and every byte read
# or written through `memory` is checked, compiled or not.
BOUNDSCHECK = os.environ.get("NUMBA_BOUNDSCHECK", "0") not in ("", "0")
