"""System calls in a script, and the expressions of C that they are made of."""

from __future__ import annotations

from .cursor import Cursor
from .script import Apply, Braces, Call, Dots, Field, Name, Node, Number, Or, Several, Text, When


class Expressions(Cursor):
    """`accept(3, ..., ...) = 4`, `{sa_family = AF_INET}`."""

    def call(self, until: When | None) -> Call:
        token = self.step()
        begin = token.end - len(token.text)
        self.symbol("(")
        arguments: list[Node] = []
        if not self.is_symbol(")"):
            arguments.append(self.expression())
            while self.accept(","):
                arguments.append(self.expression())
        self.symbol(")", " or ',' after an argument")
        self.symbol("=", " and the expected result")
        result = self.expression()
        text = self.source[begin:self.tokens[self.position - 1].end]
        errno = None
        if self.is_word():
            errno = self.step().text
            if not self.is_symbol("("):
                raise self.fail("the error's message in parentheses, as in EAGAIN (Resource temporarily unavailable)")
        if self.accept("("):
            while not self.accept(")"):
                if self.now.kind == "end":
                    raise self.fail("')'")
                self.step()
        return Call(token.at, token.text, tuple(arguments), result, errno, until, " ".join(text.split()))

    def expression(self) -> Node:
        at = self.now.at
        parts = [self.primary()]
        while self.accept("|"):
            parts.append(self.primary())
        return parts[0] if len(parts) == 1 else Or(at, tuple(parts))

    def primary(self) -> Node:
        token = self.now
        at = token.at
        if token.kind == "dots":
            self.step()
            return Dots(at)
        if token.kind in ("int", "hex"):
            return Number(at, self.integer("a number", (1 << 64) - 1))
        if self.is_symbol("-") and self.peek().kind in ("int", "hex"):
            self.step()
            return Number(at, -self.integer("a number", 1 << 63))
        if token.kind == "string":
            return self.string()
        if token.kind == "word":
            return self.name()
        if self.accept("["):
            return Several(at, self.list("]"))
        if self.accept("{"):
            return Braces(at, self.list("}"))
        raise self.fail("a value")

    def string(self) -> Text:
        at = self.now.at
        value = b""
        while self.now.kind == "string":
            value += _unescape(self.step().text[1:-1])
        prefix = self.now.kind == "dots"
        if prefix:
            self.step()
        return Text(at, value, prefix)

    def name(self) -> Node:
        token = self.step()
        arguments: tuple[Node, ...] | None = None
        if self.accept("("):
            arguments = self.list(")")
        if self.is_symbol("="):
            self.step()
            return Field(token.at, token.text, arguments[0] if arguments else None, self.expression())
        if arguments is not None:
            return Apply(token.at, token.text, arguments)
        return Name(token.at, token.text)

    def list(self, closing: str) -> tuple[Node, ...]:
        items: list[Node] = []
        if not self.accept(closing):
            items.append(self.expression())
            while self.accept(","):
                items.append(self.expression())
            self.symbol(closing, " or ','")
        return tuple(items)


def _unescape(text: str) -> bytes:
    return text.encode("latin-1", "replace").decode("unicode_escape").encode("latin-1", "replace")
