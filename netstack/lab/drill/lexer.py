"""Text to tokens, each with its line and column."""
from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .script import At, ScriptError


@dataclass(frozen=True)
class Token:
    """A piece of the text.  `kind`: option, code, command, string, float, hex, int, word, dots, symbol, end."""

    kind: str
    text: str
    at: At
    end: int = 0        # where the text goes on

    def __str__(self) -> str:
        if self.kind == "end":
            return "the end of the script"
        text = self.text if len(self.text) <= 40 else self.text[:37] + "..."
        return repr(text.replace("\n", " ")) if self.kind != "symbol" else f"'{text}'"


_TOKEN = re.compile(r"""
    (?P<space>   [\s]+ | //[^\n]* | \#[^\n]* | /\*.*?\*/ )
  | (?P<code>    %\{.*?\}% )
  | (?P<command> `(?:\\.|[^`\\])*` )
  | (?P<string>  "(?:\\.|[^"\\\n])*" )
  | (?P<option>  --[A-Za-z][\w-]*(?:=(?:"(?:\\.|[^"])*"|`[^`]*`|[^\s"`])*)? )
  | (?P<dots>    \.\.\. )
  | (?P<float>   [0-9]*\.[0-9]+ )
  | (?P<hex>     0[xX][0-9a-fA-F]+\b )
  | (?P<word>    \w+ )
  | (?P<symbol>  [-+*~<>=()\[\]{},:;|.'!?&] | /(?!\*) )
""", re.VERBOSE | re.DOTALL | re.ASCII)

_UNFINISHED = {"%{": "}%", "/*": "*/", "`": "`", '"': '"'}


def tokens(text: str, defines: Mapping[str, str] | None = None) -> list[Token]:
    """Every token; a word that `defines` has is replaced.  ScriptError for what is none."""
    found: list[Token] = []
    position, line, start = 0, 1, 0             # `start`: of the line
    while position < len(text):
        at = At(line, position - start + 1)
        match = _TOKEN.match(text, position)
        if match is None:
            for opening, closing in _UNFINISHED.items():
                if text.startswith(opening, position):
                    raise ScriptError(at, f"{opening} is never closed: expected {closing}")
            raise ScriptError(at, f"expected an event, found {text[position]!r}")
        kind, piece = str(match.lastgroup), match.group()
        if kind != "space":
            found.append(_token(kind, piece, at, match.end(), defines or {}))
        lines = piece.count("\n")
        if lines:
            line += lines
            start = position + piece.rindex("\n") + 1
        position = match.end()
    found.append(Token("end", "", At(line, position - start + 1), position))
    return found


def _token(kind: str, piece: str, at: At, end: int, defines: Mapping[str, str]) -> Token:
    if kind == "word":
        if piece in defines:
            value = defines[piece]
            quote = value[:1]
            if len(value) >= 2 and quote in ('"', "`") and value.endswith(quote):
                return Token("string" if quote == '"' else "command", value, at, end)
            return Token("int" if value.isdigit() else "word", value, at, end)
        if piece.isdigit():
            kind = "int"
    return Token(kind, piece, at, end)
