"""What numba needs to know: the record type, and a compiled body for each primitive.

This and `_sum16.py` are the only files that speak LLVM.  A record is an opaque pointer; reading a
field is a load widened to 64 bits, writing one is a truncating store, a nested
record is pointer arithmetic.  numba names used beyond its public interface:
`numba.core.typing.templates`, `numba.core.cgutils`.
"""
from __future__ import annotations

import importlib
import operator
import platform
from typing import Any

from llvmlite import ir
from numba import config as _config
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_constant
from numba.core.typing.templates import AbstractTemplate, AttributeTemplate, infer_getattr, infer_global, signature
from numba.extending import (
    NativeValue,
    box,
    lower_builtin,
    lower_getattr_generic,
    lower_setattr_generic,
    models,
    register_model,
    type_callable,
    typeof_impl,
    unbox,
)

from . import atomic, libc, memory
from ._sum16 import sum16_function
from .primitive import PRIMITIVES

# By their names: in the package these are the functions `record` and `unit`, once it is imported.
record: Any = importlib.import_module(".record", __package__)
unit: Any = importlib.import_module(".unit", __package__)

config: Any = _config
I8, I16, I32, I64, F64 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.DoubleType()
PTR = I8.as_pointer()
i64 = types.int64


# ---- the record type -------------------------------------------------------

class RecordType(types.Type):
    """A pointer to a record.  The digest of the layout is part of its identity,
    so code compiled for another layout is never found in the cache."""

    def __init__(self, qualname: str, digest: str) -> None:
        self.qualname, self.digest = qualname, digest
        super().__init__(name=f"{qualname}#{digest}")

    @property
    def layout(self) -> dict[str, record.Field]:
        return record.REGISTRY[self.qualname, self.digest]._layout_


class RecordClass(types.Type):
    """The record class itself, as first argument of `at`."""

    def __init__(self, instance: RecordType) -> None:
        self.instance = instance
        super().__init__(name=f"class({instance.name})")


class ArrayType(types.Type):
    """A pointer to an array inside a record."""

    def __init__(self, element: Any, count: int) -> None:
        self.element, self.count = element, count
        super().__init__(name=f"array({element}*{count})")

    @property
    def value_type(self) -> types.Type:
        return self.element if isinstance(self.element, RecordType) else _widened(record.SCALARS[self.element])


def _widened(scalar: Any) -> types.Type:
    return types.float64 if scalar.is_float else i64


def type_of_record(cls: Any) -> RecordType:
    return RecordType(*record._key(cls))


def _type_of_field(field: record.Field) -> types.Type:
    scalar = isinstance(field.kind, record.Scalar)
    if field.count:
        return ArrayType(field.kind.name if scalar else type_of_record(field.kind), field.count)
    return _widened(field.kind) if scalar else type_of_record(field.kind)


@register_model(RecordType)
@register_model(ArrayType)
class _PointerModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, PTR)


@register_model(RecordClass)
class _ClassModel(models.OpaqueModel):
    pass


@typeof_impl.register(record._Record)
def _typeof_record(value: Any, c: Any) -> RecordType:
    return type_of_record(type(value))


@typeof_impl.register(type(record._Record))
def _typeof_class(value: Any, c: Any) -> RecordClass | None:
    return RecordClass(type_of_record(value)) if issubclass(value, record._Record) else None


@lower_constant(RecordClass)
def _constant_class(context: Any, builder: Any, ty: Any, value: Any) -> Any:
    return context.get_dummy_value()


@unbox(RecordType)
def _unbox_record(typ: Any, obj: Any, c: Any) -> NativeValue:
    """From Python: the address that ctypes gives."""
    addressof = c.pyapi.unserialize(c.pyapi.serialize_object(record.addressof))
    number = c.pyapi.call_function_objargs(addressof, (obj,))
    address = c.pyapi.long_as_longlong(number)
    c.pyapi.decref(number)
    c.pyapi.decref(addressof)
    failed = cgutils.is_not_null(c.builder, c.pyapi.err_occurred())
    return NativeValue(c.builder.inttoptr(address, PTR), is_error=failed)


@box(RecordType)
def _box_record(typ: Any, value: Any, c: Any) -> Any:
    """To Python: the record at that address."""
    boxed = c.pyapi.unserialize(c.pyapi.serialize_object(record.boxed))
    arguments = [c.pyapi.unserialize(c.pyapi.serialize_object(text)) for text in (typ.qualname, typ.digest)]
    arguments.append(c.pyapi.long_from_longlong(c.builder.ptrtoint(value, I64)))
    result = c.pyapi.call_function_objargs(boxed, arguments)
    for reference in (boxed, *arguments):
        c.pyapi.decref(reference)
    return result


# ---- fields ----------------------------------------------------------------

def _load(builder: Any, pointer: Any, scalar: Any) -> Any:
    if scalar.is_float:
        return builder.load(builder.bitcast(pointer, F64.as_pointer()))
    value = builder.load(builder.bitcast(pointer, ir.IntType(scalar.size * 8).as_pointer()))
    if scalar.size == 8:
        return value
    return builder.sext(value, I64) if scalar.signed else builder.zext(value, I64)


def _store(builder: Any, pointer: Any, scalar: Any, value: Any) -> None:
    if scalar.is_float:
        builder.store(value, builder.bitcast(pointer, F64.as_pointer()))
        return
    small = ir.IntType(scalar.size * 8)
    if scalar.size < 8:
        value = builder.trunc(value, small)
    builder.store(value, builder.bitcast(pointer, small.as_pointer()))


def _offset(builder: Any, pointer: Any, n: int) -> Any:
    return builder.gep(pointer, [ir.Constant(I64, n)])


@infer_getattr
class _RecordAttributes(AttributeTemplate):
    key = RecordType

    def generic_resolve(self, rec: Any, attr: str) -> Any:      # type: ignore[override]    # numba's is NotImplemented
        field = rec.layout.get(attr)
        return None if field is None else _type_of_field(field)


@lower_getattr_generic(RecordType)
def _get_field(context: Any, builder: Any, typ: RecordType, value: Any, attr: str) -> Any:
    field = typ.layout[attr]
    pointer = _offset(builder, value, field.offset)
    if field.count or not isinstance(field.kind, record.Scalar):
        return pointer
    return _load(builder, pointer, field.kind)


@lower_setattr_generic(RecordType)
def _set_field(context: Any, builder: Any, sig: Any, args: Any, attr: str) -> None:
    field = sig.args[0].layout[attr]
    if field.count or not isinstance(field.kind, record.Scalar):
        raise NotImplementedError(f"cannot assign to {attr}: a record or an array")
    _store(builder, _offset(builder, args[0], field.offset), field.kind, args[1])


def _element(context: Any, builder: Any, array: ArrayType, pointer: Any, index: Any) -> tuple[Any, Any]:
    if context.enable_boundscheck or config.BOUNDSCHECK:
        cgutils.do_boundscheck(context, builder, index, ir.Constant(I64, array.count))
    is_record = isinstance(array.element, RecordType)
    size = record.sizeof(record.REGISTRY[array.element.qualname, array.element.digest]) if is_record \
        else record.SCALARS[array.element].size
    return builder.gep(pointer, [builder.mul(index, ir.Constant(I64, size))]), is_record


@infer_global(operator.getitem)
class _ArrayGet(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        if len(args) == 2 and isinstance(args[0], ArrayType):
            return signature(args[0].value_type, args[0], i64)
        return None


@lower_builtin(operator.getitem, ArrayType, i64)
def _array_get(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    pointer, is_record = _element(context, builder, sig.args[0], args[0], args[1])
    return pointer if is_record else _load(builder, pointer, record.SCALARS[sig.args[0].element])


@infer_global(operator.setitem)
class _ArraySet(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        if len(args) == 3 and isinstance(args[0], ArrayType) and not isinstance(args[0].element, RecordType):
            return signature(types.none, args[0], i64, args[0].value_type)
        return None


@lower_builtin(operator.setitem, ArrayType, i64, i64)
@lower_builtin(operator.setitem, ArrayType, i64, types.float64)
def _array_set(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    pointer, _ = _element(context, builder, sig.args[0], args[0], args[1])
    _store(builder, pointer, record.SCALARS[sig.args[0].element], args[2])
    return context.get_dummy_value()


@infer_global(len)
class _ArrayLen(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        return signature(i64, *args) if len(args) == 1 and isinstance(args[0], ArrayType) else None


@lower_builtin(len, ArrayType)
def _array_len(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return ir.Constant(I64, sig.args[0].count)


@type_callable(record.at)
def _type_at(context: Any) -> Any:
    def typer(cls: Any, address: Any) -> Any:
        if isinstance(cls, RecordClass):
            return signature(cls.instance, cls, i64)
        return None
    return typer


@lower_builtin(record.at, RecordClass, i64)
def _at(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.inttoptr(args[1], PTR)


@type_callable(record.addressof)
def _type_addressof(context: Any) -> Any:
    def typer(rec: Any) -> Any:
        return signature(i64, rec) if isinstance(rec, (RecordType, ArrayType)) else None
    return typer


@lower_builtin(record.addressof, RecordType)
@lower_builtin(record.addressof, ArrayType)
def _addressof(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.ptrtoint(args[0], I64)


# ---- primitives ------------------------------------------------------------

LOWERED: set[str] = set()


def _lower(function: Any, arity: int, returns: bool = True) -> Any:
    """Give `function` (all parameters int64) a compiled body `emit(context, builder, *args)`."""
    result = i64 if returns else types.none

    def decorate(emit: Any) -> Any:
        # A typer must name its parameters; numba reads its signature.
        names = ", ".join("abcdefg"[:arity])
        scope: dict[str, Any] = {"sig": signature(result, *[i64] * arity)}
        exec(f"def typer({names}): return sig", scope)
        type_callable(function)(lambda context: scope["typer"])

        @lower_builtin(function, *[i64] * arity)
        def lowered(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            value = emit(context, builder, *args)
            return value if returns else context.get_dummy_value()
        LOWERED.add(function.__name__)
        return emit
    return decorate


def _check_fence(context: Any, builder: Any, p: Any, n: Any) -> None:
    if not config.BOUNDSCHECK:
        return
    limits = builder.inttoptr(ir.Constant(I64, memory.FENCE), I64.as_pointer())
    low = builder.load(limits)
    high = builder.load(builder.gep(limits, [ir.Constant(I64, 1)]))
    outside = builder.or_(builder.icmp_signed("<", p, low), builder.icmp_signed(">", builder.add(p, n), high))
    outside = builder.and_(outside, builder.icmp_signed("!=", n, ir.Constant(I64, 0)))
    with cgutils.if_unlikely(builder, outside):
        context.call_conv.return_user_exc(builder, IndexError, ("access outside the fence",))


def _swap(builder: Any, value: Any) -> Any:
    ty = value.type
    fn = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ty, [ty]), f"llvm.bswap.i{ty.width}")
    return builder.call(fn, [value])


def _load_int(builder: Any, p: Any, bits: int) -> Any:
    load = builder.load(builder.inttoptr(p, ir.IntType(bits).as_pointer()))
    load.align = 1
    return load


def _store_int(builder: Any, p: Any, value: Any, bits: int) -> None:
    if bits < 64 and value.type.width != bits:
        value = builder.trunc(value, ir.IntType(bits))
    store = builder.store(value, builder.inttoptr(p, ir.IntType(bits).as_pointer()))
    store.align = 1


def _define_loads() -> None:
    for function, bits, swapped in ((memory.load8, 8, False), (memory.be16, 16, True), (memory.be32, 32, True),
                                    (memory.be64, 64, True), (memory.load32, 32, False), (memory.load64, 64, False)):
        def emit(context: Any, builder: Any, p: Any, bits: int = bits, swapped: bool = swapped,
                 fenced: bool = swapped or bits == 8) -> Any:
            if fenced:
                _check_fence(context, builder, p, ir.Constant(I64, bits // 8))
            value = _load_int(builder, p, bits)
            if swapped:
                value = _swap(builder, value)
            return builder.zext(value, I64) if bits < 64 else value
        _lower(function, 1)(emit)

    stores: Any = memory
    for store, bits, swapped in ((stores.store8, 8, False), (memory.put16, 16, True), (memory.put32, 32, True),
                                    (memory.put64, 64, True), (memory.store32, 32, False), (memory.store64, 64, False)):
        def emit_store(context: Any, builder: Any, p: Any, v: Any, bits: int = bits, swapped: bool = swapped,
                       fenced: bool = swapped or bits == 8) -> None:
            if fenced:
                _check_fence(context, builder, p, ir.Constant(I64, bits // 8))
            if bits < 64:
                v = builder.trunc(v, ir.IntType(bits))
            _store_int(builder, p, _swap(builder, v) if swapped else v, bits)
        _lower(store, 2, returns=False)(emit_store)


_define_loads()


@_lower(memory.copy, 3, returns=False)
def _copy(context: Any, builder: Any, dst: Any, src: Any, n: Any) -> None:
    _check_fence(context, builder, src, n)
    _check_fence(context, builder, dst, n)
    fn = cgutils.get_or_insert_function(builder.module, ir.FunctionType(PTR, [PTR, PTR, I64]), "memmove")
    builder.call(fn, [builder.inttoptr(dst, PTR), builder.inttoptr(src, PTR), n])


@_lower(memory.zero, 2, returns=False)
def _zero(context: Any, builder: Any, p: Any, n: Any) -> None:
    _check_fence(context, builder, p, n)
    fn = cgutils.get_or_insert_function(builder.module, ir.FunctionType(PTR, [PTR, I32, I64]), "memset")
    builder.call(fn, [builder.inttoptr(p, PTR), ir.Constant(I32, 0), n])


@_lower(memory.equal, 3)
def _equal(context: Any, builder: Any, a: Any, b: Any, n: Any) -> Any:
    _check_fence(context, builder, a, n)
    _check_fence(context, builder, b, n)
    fn = cgutils.get_or_insert_function(builder.module, ir.FunctionType(I32, [PTR, PTR, I64]), "memcmp")
    order = builder.call(fn, [builder.inttoptr(a, PTR), builder.inttoptr(b, PTR), n])
    return builder.zext(builder.icmp_signed("==", order, ir.Constant(I32, 0)), I64)


@_lower(memory.sum16, 3)
def _lower_sum16(context: Any, builder: Any, p: Any, n: Any, acc: Any) -> Any:
    _check_fence(context, builder, p, n)
    return builder.call(sum16_function(builder.module), [p, n, acc])


@_lower(memory.mix64, 2)
def _mix64(context: Any, builder: Any, a: Any, b: Any) -> Any:
    wide = ir.IntType(128)
    x = builder.xor(a, ir.Constant(I64, 0x9E37_79B9_7F4A_7C15 - (1 << 64)))
    y = builder.xor(b, ir.Constant(I64, 0xD6E8_FEB8_6659_FD93 - (1 << 64)))
    product = builder.mul(builder.zext(x, wide), builder.zext(y, wide))
    high = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), I64)
    return builder.lshr(builder.xor(builder.trunc(product, I64), high), ir.Constant(I64, 1))


@_lower(memory.mul64, 2)
def _mul64(context: Any, builder: Any, a: Any, b: Any) -> Any:
    return builder.mul(a, b)


@_lower(memory.add64, 2)
def _add64(context: Any, builder: Any, a: Any, b: Any) -> Any:
    return builder.add(a, b)


@_lower(memory.rotl64, 2)
def _rotl64(context: Any, builder: Any, a: Any, n: Any) -> Any:
    return builder.or_(builder.shl(a, n), builder.lshr(a, builder.sub(ir.Constant(I64, 64), n)))


def _word(builder: Any, p: Any, bits: int = 32) -> Any:
    return builder.inttoptr(p, ir.IntType(bits).as_pointer())


@_lower(atomic.load_acquire, 1)
def _load_acquire(context: Any, builder: Any, p: Any) -> Any:
    return builder.zext(builder.load_atomic(_word(builder, p), "acquire", 4), I64)


@_lower(atomic.store_release, 2, returns=False)
def _store_release(context: Any, builder: Any, p: Any, v: Any) -> None:
    builder.store_atomic(builder.trunc(v, I32), _word(builder, p), "release", 4)


@_lower(atomic.load_acquire64, 1)
def _load_acquire64(context: Any, builder: Any, p: Any) -> Any:
    return builder.load_atomic(_word(builder, p, 64), "acquire", 8)


@_lower(atomic.store_release64, 2, returns=False)
def _store_release64(context: Any, builder: Any, p: Any, v: Any) -> None:
    builder.store_atomic(v, _word(builder, p, 64), "release", 8)


@_lower(atomic.compare_exchange, 3)
def _compare_exchange(context: Any, builder: Any, p: Any, expected: Any, new: Any) -> Any:
    old, changed = builder.trunc(expected, I32), builder.trunc(new, I32)
    pair = builder.cmpxchg(_word(builder, p), old, changed, "seq_cst", "seq_cst")
    return builder.zext(builder.extract_value(pair, 0), I64)


@_lower(atomic.exchange, 2)
def _exchange(context: Any, builder: Any, p: Any, new: Any) -> Any:
    return builder.zext(builder.atomic_rmw("xchg", _word(builder, p), builder.trunc(new, I32), "seq_cst"), I64)


@_lower(atomic.fetch_add, 2)
def _fetch_add(context: Any, builder: Any, p: Any, n: Any) -> Any:
    return builder.zext(builder.atomic_rmw("add", _word(builder, p), builder.trunc(n, I32), "seq_cst"), I64)


@_lower(atomic.store_seq, 2, returns=False)
def _store_seq(context: Any, builder: Any, p: Any, v: Any) -> None:
    builder.store_atomic(builder.trunc(v, I32), _word(builder, p), "seq_cst", 4)
    if platform.machine() != "x86_64":      # there the store is an exchange, which is a barrier
        builder.fence("seq_cst")


@_lower(atomic.fence_seq, 0, returns=False)
def _fence_seq(context: Any, builder: Any) -> None:
    if platform.machine() == "x86_64":
        # LLVM makes a locked operation on the stack of this, whatever the address, in two thirds of the time of mfence
        # (X86ISelLowering.cpp, lowerAtomicArith).
        nowhere = builder.inttoptr(ir.Constant(I64, 4096), I32.as_pointer())
        builder.atomic_rmw("or", nowhere, ir.Constant(I32, 0), "seq_cst")
    else:
        builder.fence("seq_cst")


@_lower(atomic.relax, 0, returns=False)
def _relax(context: Any, builder: Any) -> None:
    # An intrinsic: inline assembly would need LLVM's assembler, which numba does not load.
    name, args = _PAUSE.get(platform.machine(), ("", []))
    if name:
        kind = ir.FunctionType(ir.VoidType(), [a.type for a in args])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


_PAUSE: dict[str, tuple[str, list[Any]]] = {
    "x86_64": ("llvm.x86.sse2.pause", []),
    "aarch64": ("llvm.aarch64.hint", [ir.Constant(I32, 1)]),    # YIELD
}


# ---- system calls ----------------------------------------------------------

def _call(builder: Any, name: str, result: Any, parameters: list[Any], args: list[Any]) -> Any:
    """Call a C function; negative results become -errno."""
    fn = cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, parameters), name)
    narrowed = [builder.trunc(a, t) if t is I32 else a for a, t in zip(args, parameters, strict=True)]
    value = builder.call(fn, narrowed)
    if result is I32:
        value = builder.sext(value, I64)
    failed = builder.icmp_signed("<", value, ir.Constant(I64, 0))
    out = cgutils.alloca_once_value(builder, value)
    with cgutils.if_unlikely(builder, failed):
        kind = ir.FunctionType(I32.as_pointer(), [])
        location = cgutils.get_or_insert_function(builder.module, kind, "__errno_location")
        errno = builder.sext(builder.load(builder.call(location, [])), I64)
        builder.store(builder.neg(errno), out)
    return builder.load(out)


def _define_calls() -> None:
    for function, result, parameters in (
        (libc.read, I64, [I32, I64, I64]), (libc.write, I64, [I32, I64, I64]), (libc.writev, I64, [I32, I64, I32]),
        (libc.readv, I64, [I32, I64, I32]),
        (libc.send, I64, [I32, I64, I64, I32]), (libc.recv, I64, [I32, I64, I64, I32]),
        (libc.shutdown, I32, [I32, I32]), (libc.dup3, I32, [I32, I32, I32]),
        (libc.getsockopt, I32, [I32, I32, I32, I64, I64]),
    ):
        def emit(context: Any, builder: Any, *args: Any, name: str = function.__name__, result: Any = result,
                 parameters: Any = parameters) -> Any:
            return _call(builder, name, result, parameters, list(args))
        _lower(function, len(parameters))(emit)


_define_calls()


def _timespec(builder: Any, timeout: Any) -> Any:
    """The address of a struct timespec for `timeout` ns, or 0 for a negative one."""
    ts = cgutils.alloca_once(builder, ir.ArrayType(I64, 2))
    first = builder.bitcast(ts, I64.as_pointer())
    billion = ir.Constant(I64, 1_000_000_000)
    builder.store(builder.sdiv(timeout, billion), first)
    builder.store(builder.srem(timeout, billion), builder.gep(first, [ir.Constant(I64, 1)]))
    none = builder.icmp_signed("<", timeout, ir.Constant(I64, 0))
    return builder.select(none, ir.Constant(I64, 0), builder.ptrtoint(first, I64))


@_lower(libc.poll_ns, 3)
def _poll_ns(context: Any, builder: Any, fds: Any, n: Any, timeout: Any) -> Any:
    ts = _timespec(builder, timeout)
    return _call(builder, "ppoll", I32, [I64, I64, I64, I64], [fds, n, ts, ir.Constant(I64, 0)])


@_lower(libc.futex_wait, 3)
def _futex_wait(context: Any, builder: Any, p: Any, expected: Any, timeout: Any) -> Any:
    ts = _timespec(builder, timeout)
    number, op, zero = (ir.Constant(I64, v) for v in (libc.SYS_FUTEX, 128, 0))
    return _call(builder, "syscall", I64, [I64] * 7, [number, p, op, expected, ts, zero, zero])


@_lower(libc.futex_wake, 2)
def _futex_wake(context: Any, builder: Any, p: Any, n: Any) -> Any:
    number, op, zero = (ir.Constant(I64, v) for v in (libc.SYS_FUTEX, 129, 0))
    return _call(builder, "syscall", I64, [I64] * 7, [number, p, op, n, zero, zero, zero])


@_lower(libc.pthread_self, 0)
def _pthread_self(context: Any, builder: Any) -> Any:
    return builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(I64, []), "pthread_self"), [])


def _clock(builder: Any, which: int) -> Any:
    ts = cgutils.alloca_once(builder, ir.ArrayType(I64, 2))
    first = builder.bitcast(ts, I64.as_pointer())
    fn = cgutils.get_or_insert_function(builder.module, ir.FunctionType(I32, [I32, I64.as_pointer()]), "clock_gettime")
    builder.call(fn, [ir.Constant(I32, which), first])
    seconds = builder.load(first)
    return builder.add(builder.mul(seconds, ir.Constant(I64, 1_000_000_000)),
                       builder.load(builder.gep(first, [ir.Constant(I64, 1)])))


@_lower(libc.monotonic, 0)
def _monotonic(context: Any, builder: Any) -> Any:
    return _clock(builder, 1)


@_lower(libc.realtime, 0)
def _realtime(context: Any, builder: Any) -> Any:
    return _clock(builder, 0)


def _define_invokes() -> None:
    for function, arity in ((unit.invoke2, 2), (unit.invoke3, 3), (unit.invoke6, 6)):
        def emit(context: Any, builder: Any, address: Any, *args: Any) -> Any:
            kind = ir.FunctionType(I64, [I64] * len(args))
            return builder.call(builder.inttoptr(address, kind.as_pointer()), list(args))
        _lower(function, arity + 1)(emit)


_define_invokes()


_missing = set(PRIMITIVES) - LOWERED
assert not _missing, f"primitives without a compiled body: {sorted(_missing)}"
