"""The machine code of `sum16`: RFC 1071 section 2, (B) any byte order, (C) many words side by side.

A checksum is read from every byte of every packet, so here it is worth to say which
instructions are meant.  With 64-bit words w, A the sum of w modulo 2**64 and H the sum of
w >> 32, the sum of all 32-bit halves is (A - (H << 32)) + H: an addition, a shift
and another addition for each vector of four words, and no carry to look after while fewer than
2**32 words are added.
"""
from __future__ import annotations

from typing import Any

from llvmlite import ir

I8, I16, I32, I64 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)
WORDS = 4                   # in a vector
VECTOR = ir.VectorType(I64, WORDS)
SIDE_BY_SIDE = 4            # vectors that do not wait for one another
NAME = "netstack_sum16"


def sum16_function(module: Any) -> Any:
    """The function (p, n, acc) -> acc in this module; made once in each, not copied into every caller."""
    if NAME in module.globals:
        return module.globals[NAME]
    fn = ir.Function(module, ir.FunctionType(I64, [I64, I64, I64]), NAME)
    fn.linkage = "internal"
    p, n, acc = fn.args
    b = ir.IRBuilder(fn.append_basic_block("entry"))
    vector = 8 * WORDS
    start = b.block
    vectors, words = fn.append_basic_block("vectors"), fn.append_basic_block("words")
    b.cbranch(b.icmp_unsigned("<", n, _int(vector)), words, vectors)

    b.position_at_end(vectors)
    none = [ir.Constant(VECTOR, [0] * WORDS)] * (2 * SIDE_BY_SIDE)
    i, sums = _loop(b, _int(0), _multiple(b, n, SIDE_BY_SIDE * vector), SIDE_BY_SIDE * vector, none,
                    lambda b, i, sums: _add_vectors(b, b.add(p, i), sums))
    first = [_sum(b, sums[:SIDE_BY_SIDE]), _sum(b, sums[SIDE_BY_SIDE:])]
    i, sums = _loop(b, i, _multiple(b, n, vector), vector, first,
                    lambda b, i, sums: _add_vectors(b, b.add(p, i), sums))
    whole, upper = (_sum(b, [b.extract_element(s, ir.Constant(I32, k)) for k in range(WORDS)]) for s in sums)
    wide = b.add(b.sub(whole, b.shl(upper, _int(32))), upper)
    end = b.block
    b.branch(words)

    b.position_at_end(words)
    total, done = b.phi(I64), b.phi(I64)
    for value, phi in ((_int(0), total), (_int(0), done)):
        phi.add_incoming(value, start)
    total.add_incoming(wide, end)
    done.add_incoming(i, end)
    i, (total,) = _loop(b, done, _multiple(b, n, 8), 8, [total],
                        lambda b, i, sums: [_add_word(b, b.add(p, i), sums[0])])
    for size in (4, 2, 1):      # a last byte is padded with a zero behind it, the high half of a little-endian word
        i, total = _add_rest(b, p, n, i, total, size)
    folded: Any = total
    for bits in (32, 32, 16, 16, 16):
        folded = b.add(b.and_(folded, _int((1 << bits) - 1)), b.lshr(folded, _int(bits)))
    low = b.trunc(folded, I16)
    swapped = b.or_(b.shl(low, ir.Constant(I16, 8)), b.lshr(low, ir.Constant(I16, 8)))
    out = b.add(b.zext(swapped, I64), acc)
    for _ in range(2):
        out = b.add(b.and_(out, _int(0xFFFF)), b.lshr(out, _int(16)))
    b.ret(out)
    return fn


def _int(value: int) -> Any:
    return ir.Constant(I64, value)


def _multiple(b: Any, n: Any, step: int) -> Any:
    """n rounded down to a multiple of step, a power of two."""
    return b.and_(n, _int(-step))


def _load(b: Any, p: Any, kind: Any) -> Any:
    load = b.load(b.inttoptr(p, kind.as_pointer()))
    load.align = 1
    return load


def _sum(b: Any, terms: list[Any]) -> Any:
    total, *others = terms
    for other in others:
        total = b.add(total, other)
    return total


def _loop(b: Any, start: Any, end: Any, step: int, values: list[Any], body: Any) -> tuple[Any, list[Any]]:
    """`for i in range(start, end, step): values = body(i, values)`; i and the values after it."""
    before = b.block
    head, inside, after = (b.function.append_basic_block(name) for name in ("head", "inside", "after"))
    b.branch(head)
    b.position_at_end(head)
    phis = [b.phi(value.type) for value in (start, *values)]
    for phi, value in zip(phis, (start, *values), strict=True):
        phi.add_incoming(value, before)
    i, now = phis[0], phis[1:]
    b.cbranch(b.icmp_signed("<", i, end), inside, after)
    b.position_at_end(inside)
    then = [b.add(i, _int(step)), *body(b, i, now)]
    for phi, value in zip(phis, then, strict=True):
        phi.add_incoming(value, b.block)
    b.branch(head)
    b.position_at_end(after)
    return i, now


def _add_vectors(b: Any, p: Any, sums: list[Any]) -> list[Any]:
    """Add as many vectors at p as there are sums A; behind these stand the sums H."""
    count = len(sums) // 2
    half = ir.Constant(VECTOR, [32] * WORDS)
    loaded = [_load(b, b.add(p, _int(8 * WORDS * k)), VECTOR) for k in range(count)]
    return ([b.add(a, v) for a, v in zip(sums[:count], loaded, strict=True)]
            + [b.add(h, b.lshr(v, half)) for h, v in zip(sums[count:], loaded, strict=True)])


def _add_word(b: Any, p: Any, total: Any) -> Any:
    word = _load(b, p, I64)
    return b.add(total, b.add(b.and_(word, _int(0xFFFF_FFFF)), b.lshr(word, _int(32))))


def _add_rest(b: Any, p: Any, n: Any, i: Any, total: Any, size: int) -> tuple[Any, Any]:
    """Add the last bytes that are `size` together, if n says that there are such."""
    before = b.block
    inside, after = b.function.append_basic_block("rest"), b.function.append_basic_block("rested")
    b.cbranch(b.icmp_signed("!=", b.and_(n, _int(size)), _int(0)), inside, after)
    b.position_at_end(inside)
    more = b.add(total, b.zext(_load(b, b.add(p, i), ir.IntType(8 * size)), I64))
    further = b.add(i, _int(size))
    b.branch(after)
    b.position_at_end(after)
    new_total, new_i = b.phi(I64), b.phi(I64)
    for phi, value, then in ((new_total, total, more), (new_i, i, further)):
        phi.add_incoming(value, before)
        phi.add_incoming(then, inside)
    return new_i, new_total
