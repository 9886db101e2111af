"""Which of the two speeds this process runs at.

``NETSTACK_JIT`` in the environment:

0       interpreted: every line of protocol code is ordinary Python, to be stepped through in a debugger
image   (also if it is not set) what Python calls of the engine is machine code that another process has compiled
        (`netstack/image.py`); until that is there, and for all else, as 0
1       numba compiles in this process whatever is called
"""
import os

_WANTED = os.environ.get("NETSTACK_JIT", "image")

# With NUMBA_BOUNDSCHECK=1 every index into a record's array and every byte read
# or written through `memory` is checked, compiled or not.
BOUNDSCHECK = os.environ.get("NUMBA_BOUNDSCHECK", "0") not in ("", "0")

JIT = _WANTED not in ("0", "image") or (_WANTED == "image" and BOUNDSCHECK)     # what is checked raises: numba's matter
IMAGE = _WANTED == "image" and not BOUNDSCHECK
