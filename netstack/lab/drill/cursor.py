"""Where in its tokens a parser is, and what it expects next."""

from __future__ import annotations

from decimal import Decimal

from .lexer import Token
from .script import NS, ScriptError

LONGEST = 1_000_000                         # seconds
MOST32, MOST16, MOST8 = (1 << 32) - 1, (1 << 16) - 1, (1 << 8) - 1


class Cursor:
    """Tokens from left to right."""

    def __init__(self, text: str, found: list[Token]) -> None:
        self.source = text
        self.tokens = found
        self.position = 0

    @property
    def now(self) -> Token:
        return self.tokens[self.position]

    def peek(self, distance: int = 1) -> Token:
        return self.tokens[min(self.position + distance, len(self.tokens) - 1)]

    def step(self) -> Token:
        token = self.now
        if token.kind != "end":
            self.position += 1
        return token

    def fail(self, expected: str) -> ScriptError:
        return ScriptError(self.now.at, f"expected {expected}, found {self.now}")

    def is_symbol(self, text: str, distance: int = 0) -> bool:
        token = self.peek(distance)
        return token.kind == "symbol" and token.text == text

    def is_word(self, *texts: str) -> bool:
        return self.now.kind == "word" and (not texts or self.now.text in texts)

    def symbol(self, text: str, why: str = "") -> Token:
        if not self.is_symbol(text):
            raise self.fail(f"'{text}'{why}")
        return self.step()

    def accept(self, text: str) -> bool:
        if self.is_symbol(text):
            self.step()
            return True
        return False

    def integer(self, what: str, most: int = MOST32) -> int:
        if self.now.kind not in ("int", "hex"):
            raise self.fail(what)
        value = int(self.now.text, 0 if self.now.kind == "hex" else 10)
        if value > most:
            raise ScriptError(self.now.at, f"{what} must be at most {most}, not {value}")
        self.step()
        return value

    def seconds(self) -> int:
        if self.now.kind not in ("int", "float"):
            raise self.fail("a time in seconds")
        value = Decimal(self.now.text)
        if value > LONGEST:
            raise ScriptError(self.now.at, f"a time must be at most {LONGEST} seconds, not {value}")
        self.step()
        return int(value * NS)
