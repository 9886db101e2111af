"""The image: the machine code of everything that Python or the engine calls by address, in one file.

numba keeps what it has compiled so that it can go on compiling with it: to load
that takes numba, and more than a second.  To run the engine only the machine code is
needed.  So whoever has compiled it all writes the object files once more, one behind the
other, with a table; another process (`NETSTACK_JIT=image`) has LLVM link them into its
memory, which takes 10 ms, and does not even import numba.

    SHA-256         of all that follows, 32 bytes
    length          of the header, 8 bytes, the lowest first
    header          {"pieces": {name: [symbol, symbol of its environment]}, "objects": [bytes, ...],
                     "undefined": [symbol, ...]}, JSON
    objects         as numba has made them (ELF)

`machine/loaded.py` says how it is called.
"""
from __future__ import annotations

import ctypes
import hashlib
import importlib
import json
import os
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .machine import loaded
from .machine.compiled import PACKAGE, cache_root, cfunc_of, signature, sources
from .machine.mode import BOUNDSCHECK

MODULES = ("netstack.entry", "netstack.drivers.wire", "netstack.simulate", "netstack.lab.relay",
           "netstack.machine.hardware")
DIGEST = 32             # bytes of SHA-256
SYMTAB = 2              # ELF: sh_type of a symbol table


def path() -> Path:
    """Where the image of this source, for this processor, is kept."""
    llvm = importlib.import_module("llvmlite.binding")
    kind = f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()} {BOUNDSCHECK}"
    files = [PACKAGE.joinpath(*name.split(".")[1:]) for name in MODULES]
    digests = [sources.digest(f.with_suffix(".py") if f.with_suffix(".py").exists() else f / "__init__.py")
               for f in files]
    name = hashlib.sha256("\n".join([kind, *digests]).encode()).hexdigest()[:16]
    return cache_root() / f"{sys.implementation.cache_tag}-images" / f"{name}.image"


# ---- making one: in a process that compiles ----------------------------------------

def write(units: Iterable[Any], entries: Iterable[Any]) -> Path:
    """Write the image of what has been compiled and is in numba's cache.  OSError: the cache cannot be used."""
    pieces: dict[str, list[str]] = {}
    objects: list[bytes] = []
    undefined: set[str] = set()
    for function, plain in [(f, f) for f in units] + [(f, f.py_func) for f in entries]:
        code, names = _object(function)
        pieces[loaded.name_of(plain)] = names
        objects.append(code)
        undefined |= set(_undefined(code))
    header = json.dumps({"pieces": pieces, "objects": [len(o) for o in objects],
                         "undefined": sorted(undefined)}).encode()
    target = path()
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_suffix(f".{os.getpid()}")
    text = b"".join([len(header).to_bytes(8, "little"), header, *objects])
    aside.write_bytes(hashlib.sha256(text).digest() + text)
    aside.replace(target)
    return target


def _object(function: Any) -> tuple[bytes, list[str]]:
    """The object file of a unit or of an entered function, as numba's cache has it, and the names of what is called in
    it: the C function of a unit; the wrapper for Python, and its environment."""
    entry = hasattr(function, "py_func")
    made = function if entry else cfunc_of(function)
    target = (made.targetdescr if entry else made._targetdescr).target_context
    index = made._cache
    data = index._cache_file.load(index._index_key(signature(function) if entry else made._sig, target.codegen()))
    if data is None:
        raise OSError(f"{cache_root()} does not keep what is compiled")
    (_, _, (code, _)), described = data[0], data[1]
    return code, ([described.llvm_cpython_wrapper_name, described.env_name] if entry
                  else [described.llvm_cfunc_wrapper_name])


def _undefined(code: bytes) -> list[str]:
    """The symbols that an object file (ELF-64) wants from elsewhere."""
    start, = struct.unpack_from("Q", code, 0x28)
    size, count = struct.unpack_from("HH", code, 0x3A)
    sections = [struct.unpack_from("IIQQQQIIQQ", code, start + i * size) for i in range(count)]
    found = []
    for _, kind, _, _, offset, length, link, _, _, each in sections:
        if kind == SYMTAB:
            strings = sections[link][4]
            for at in range(offset + each, offset + length, each):
                name, _, _, section = struct.unpack_from("IBBH", code, at)
                if section == 0:
                    found.append(code[strings + name:code.index(b"\0", strings + name)].decode())
    return found


# ---- loading one -----------------------------------------------------------------

def load() -> bool:
    """Load the image into this process, if there is one.  One that is not whole is removed."""
    with suppress(FileNotFoundError, NotADirectoryError):
        file = path()
        whole = memoryview(file.read_bytes())
        data = whole[DIGEST:]
        if hashlib.sha256(data).digest() != whole[:DIGEST]:
            file.unlink()
            return False
        with suppress(OSError):
            os.utime(file)                  # it was used (`prune`)
        end = 8 + int.from_bytes(data[:8], "little")
        _link(json.loads(bytes(data[8:end])), data[end:])
        return True
    return False


def _link(header: dict[str, Any], objects: memoryview) -> None:
    llvm = importlib.import_module("llvmlite.binding")
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(codemodel="jitdefault", jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    process = ctypes.CDLL(None)
    abort = ctypes.cast(process.abort, ctypes.c_void_p).value
    for symbol in header["undefined"]:
        if not hasattr(process, symbol) and llvm.address_of_symbol(symbol) is None:
            llvm.add_symbol(symbol, abort)  # numba's helpers for exceptions: compiled code of ours raises none
    at = 0
    for size in header["objects"]:
        engine.add_object_file(llvm.ObjectFileRef.from_data(bytes(objects[at:at + size])))
        at += size
    engine.finalize_object()
    loaded.put({name: [engine.get_function_address(code), *map(engine.get_global_value_address, environment)]
                for name, (code, *environment) in header["pieces"].items()}, engine)
