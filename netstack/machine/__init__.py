"""What the protocol code runs on: records, compilation, bytes, system calls.

The only package that knows numba.  Protocol files import from here and see
`@record`, `@compiled` and small verbs; see docs/one-source-two-speeds.md.
"""
from .mode import JIT

if JIT:     # first: below, `record` and `unit` become the functions of that name
    from . import _lowering as _lowering

from .atomic import (
    compare_exchange,
    exchange,
    fence_seq,
    fetch_add,
    load_acquire,
    load_acquire64,
    relax,
    store_release,
    store_release64,
    store_seq,
)
from .compiled import compiled, entered
from .memory import (
    add64,
    be16,
    be32,
    be64,
    copy,
    equal,
    load8,
    load32,
    load64,
    mix64,
    mul64,
    put16,
    put32,
    put64,
    rotl64,
    store8,
    store32,
    store64,
    sum16,
    zero,
)
from .record import Array, addressof, at, f64, i8, i16, i32, i64, offsetof, record, sizeof, u8, u16, u32
from .unit import address_of, hook_address, invoke2, invoke3, invoke6, unit

MICROSECOND = 1_000
MS = 1_000_000
SECOND = 1_000_000_000

__all__ = [
    "MICROSECOND",
    "MS",
    "SECOND",
    "Array",
    "add64",
    "address_of",
    "addressof",
    "at",
    "be16",
    "be32",
    "be64",
    "compare_exchange",
    "compiled",
    "copy",
    "entered",
    "equal",
    "exchange",
    "f64",
    "fence_seq",
    "fetch_add",
    "hook_address",
    "i8",
    "i16",
    "i32",
    "i64",
    "invoke2",
    "invoke3",
    "invoke6",
    "load8",
    "load32",
    "load64",
    "load_acquire",
    "load_acquire64",
    "mix64",
    "mul64",
    "offsetof",
    "put16",
    "put32",
    "put64",
    "record",
    "relax",
    "rotl64",
    "sizeof",
    "store8",
    "store32",
    "store64",
    "store_release",
    "store_release64",
    "store_seq",
    "sum16",
    "u8",
    "u16",
    "u32",
    "unit",
    "zero",
]
