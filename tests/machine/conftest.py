"""`twin`: the compiled body of a primitive, called from Python."""
from __future__ import annotations

import pytest

from netstack.machine.mode import JIT


def compiled_twin(function, arity):
    """A compiled function that only calls `function`; interpreted, `function` itself."""
    if not JIT:
        return function
    import numba

    names = ", ".join("abcdefg"[:arity])
    scope = {"function": function}
    exec(f"def call({names}):\n    return function({names})", scope)
    return numba.njit(nogil=True)(scope["call"])


@pytest.fixture(scope="session")
def twin():
    """twin(primitive, arity) -> its compiled body."""
    made = {}

    def make(function, arity):
        if function not in made:
            made[function] = compiled_twin(function, arity)
        return made[function]
    return make
