"""Records: the state of the stack, as annotated classes laid out like C structs.

A record is a view of memory.  Interpreted it is a `ctypes.Structure`; compiled
it is a bare pointer, and reading a field is one load (`_lowering.py`).  Both
have the same layout, so both modes work on the same bytes.

    @record
    class Rto:
        srtt: i64                              # a field
        samples: Annotated[Array[i64], 8]      # eight of them, indexed from 0
        backoff: Backoff                       # another record, inside this one

Reading a field of any integer type gives a plain 64-bit signed integer in both
modes; writing keeps the low bits, as C does.  So there is no u32 arithmetic
anywhere and nothing to overflow: sequence numbers wrap in `tcp.seq` only.

    Rto.new()          zeroed, from Python (tests, set-up)
    at(Rto, address)   the record at an address, both modes
    addressof(r)       its address, both modes
"""
from __future__ import annotations

import ctypes
import hashlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


@dataclass(frozen=True)
class Scalar:
    """A field type: its ctypes type, size in bytes, and how to widen it."""

    name: str
    ctype: type
    size: int
    signed: bool
    is_float: bool = False

    def __call__(self, value: T) -> T:      # typing on Python 3.10 wants annotations to be callable
        return value


SCALARS = {s.name: s for s in (
    Scalar("i8", ctypes.c_int8, 1, True), Scalar("u8", ctypes.c_uint8, 1, False),
    Scalar("i16", ctypes.c_int16, 2, True), Scalar("u16", ctypes.c_uint16, 2, False),
    Scalar("i32", ctypes.c_int32, 4, True), Scalar("u32", ctypes.c_uint32, 4, False),
    Scalar("i64", ctypes.c_int64, 8, True), Scalar("f64", ctypes.c_double, 8, True, True),
)}

if TYPE_CHECKING:
    # To a type checker a field is an int (or a float), an array a sequence of them.
    i8: TypeAlias = int
    u8: TypeAlias = int
    i16: TypeAlias = int
    u16: TypeAlias = int
    i32: TypeAlias = int
    u32: TypeAlias = int
    i64: TypeAlias = int
    f64: TypeAlias = float

    class Array(Generic[T]):
        def __getitem__(self, index: int) -> T: ...
        def __setitem__(self, index: int, value: T) -> None: ...
        def __len__(self) -> int: ...
else:
    i8, u8, i16, u16, i32, u32, i64, f64 = SCALARS.values()

    class Array:
        """`Annotated[Array[element], n]` declares n elements, scalars or records."""

        def __init__(self, element):
            self.element = element

        def __class_getitem__(cls, element):
            return cls(element)


@dataclass(frozen=True)
class Field:
    """One field of a layout."""

    offset: int         # bytes from the record's start
    kind: Any           # a Scalar, or a record class
    count: int          # 0 for a single value, n for an array of n


class _Record(ctypes.Structure):
    """What the interpreted twin of every record is."""

    _layout_: dict[str, Field]
    _digest_: str

    @classmethod
    def new(cls) -> Any:
        """A zeroed record of its own memory (tests and set-up; the engine allots from an arena)."""
        return cls()

    def snapshot(self) -> bytes:
        """The record's bytes, padding included: equal bytes, equal state."""
        return bytes(self)

    def describe(self, indent: str = "") -> str:
        """Every field by name, one a line, for people."""
        lines = []
        for name, field in self._layout_.items():
            value = getattr(self, name)
            if isinstance(value, _Record):
                lines.append(f"{indent}{name}:\n{value.describe(indent + '  ')}")
            elif field.count:
                lines.append(f"{indent}{name}: {list(value)!r}" if field.kind.__class__ is Scalar
                             else f"{indent}{name}: {field.count} x {field.kind.__name__}")
            else:
                lines.append(f"{indent}{name}: {value}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {ctypes.addressof(self):#x}>"


REGISTRY: dict[tuple[str, str], type[_Record]] = {}
"""Every record of this process by (qualified name, layout digest); the compiler finds layouts here."""


def record(cls: type[T]) -> type[T]:
    """Turn an annotated class into a record type.

    Field types are `u8 .. i64`, `f64`, other records, and
    `Annotated[Array[type], n]`.  Anything else raises TypeError.
    """
    module = sys.modules[cls.__module__]
    hints = get_type_hints(cls, vars(module), {cls.__name__: cls}, include_extras=True)
    fields: list[tuple[str, Any]] = []
    kinds: dict[str, tuple[Any, int]] = {}
    for name, hint in hints.items():
        kind, count = hint, 0
        if get_origin(hint) is Annotated:
            array, count = get_args(hint)[:2]
            kind = array.element
        if not (isinstance(kind, Scalar) or (isinstance(kind, type) and issubclass(kind, _Record))):
            raise TypeError(f"{cls.__qualname__}.{name}: a record field cannot be {hint!r}")
        ctype: Any = kind.ctype if isinstance(kind, Scalar) else kind
        fields.append((name, ctype * count if count else ctype))
        kinds[name] = (kind, count)
    namespace = {k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__", "__annotations__")}
    namespace["_fields_"] = fields
    meta: Any = type(_Record)
    made: Any = meta(cls.__name__, (_Record,), namespace)
    made._layout_ = {name: Field(getattr(made, name).offset, *kinds[name]) for name, _ in fields}
    made._digest_ = _digest(made)
    REGISTRY[_key(made)] = made
    return made  # type: ignore[no-any-return]


def _key(cls: type[_Record]) -> tuple[str, str]:
    return f"{cls.__module__}.{cls.__qualname__}", cls._digest_


def boxed(qualname: str, digest: str, address: int) -> Any:
    """The record at an address, for Python; called when a compiled function returns one."""
    return REGISTRY[qualname, digest].from_address(address)


def _digest(cls: type[_Record]) -> str:
    text = f"{cls.__qualname__}:{ctypes.sizeof(cls)}"
    for name, f in cls._layout_.items():
        kind = f.kind.name if isinstance(f.kind, Scalar) else f.kind._digest_
        text += f";{name}@{f.offset}:{kind}*{f.count}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def sizeof(cls: type[Any]) -> int:
    """Size of a record in bytes.  Evaluate at import: `SIZE = sizeof(Tcb)`."""
    return ctypes.sizeof(cls)


def offsetof(cls: type[Any], field: str) -> int:
    """Offset of a field in bytes.  Evaluate at import."""
    return int(cls._layout_[field].offset)


def at(cls: type[T], address: int) -> T:
    """The record of type `cls` that stands at `address`.  Nothing is checked."""
    return cls.from_address(address)  # type: ignore[attr-defined,no-any-return]


def addressof(rec: Any) -> int:
    """The address of a record."""
    return ctypes.addressof(rec)
