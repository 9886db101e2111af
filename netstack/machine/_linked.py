"""Functions that are only linked into others: numba, without machine code for each of them.

numba optimises every function by itself, makes machine code of it with all that it
calls, and does the same again in each caller.  A function for compiled callers (the inner form
of `compiled.py`) needs none of it: the caller links its intermediate code,
and what is optimised in the end is the whole of a unit.  Half of the time that the
engine took to compile went there.

This builds on names inside numba, whose minor version is therefore pinned.
"""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target


class _NoEnvironment:
    """Instead of the code generator, for who wants to tell it the place of a function's Python globals."""

    def set_env(self, name: str, environment: object) -> None:
        """There is no code yet that would look for them."""


class _Linked(JITCodeLibrary):
    """A function's intermediate code: linked into callers, kept in the cache, never run by itself."""

    codegen = _NoEnvironment()

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        return 0

    def serialize_using_object_code(self) -> Any:
        self._ensure_finalized()
        return self.name, "bitcode", self._get_module_for_linking().as_bitcode()


@contextmanager
def only_linked() -> Iterator[None]:
    """What numba compiles inside, or finds in the cache, is to be linked into callers only."""
    with global_compiler_lock:
        codegen = cpu_target.target_context.codegen()
        before = codegen._library_class
        codegen._library_class = _Linked
        try:
            yield
        finally:
            codegen._library_class = before
