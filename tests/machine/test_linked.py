"""What is only linked into others: nobody makes machine code of it alone."""
from __future__ import annotations

import pytest

from netstack.machine.mode import JIT

pytestmark = pytest.mark.skipif(not JIT, reason="nothing is compiled")


def test_only_the_caller_becomes_machine_code():
    import numba

    from netstack.machine import _linked

    @numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)
    def leaf(x):
        return x * 3

    @numba.njit
    def caller(x):
        return leaf(x) + 1

    with _linked.only_linked():
        leaf.compile("(int64,)")
    library = next(iter(leaf.overloads.values())).library
    assert isinstance(library, _linked._Linked)
    assert not library._codegen._engine.is_symbol_defined(next(library.get_defined_functions()).name)
    assert caller(2) == 7
    assert not isinstance(next(iter(caller.overloads.values())).library, _linked._Linked)


def test_numba_is_as_it_was_after_an_error():
    from numba.core.registry import cpu_target

    from netstack.machine._linked import only_linked

    codegen = cpu_target.target_context.codegen()
    before = codegen._library_class
    with pytest.raises(ZeroDivisionError), only_linked():
        assert codegen._library_class is not before
        raise ZeroDivisionError
    assert codegen._library_class is before
