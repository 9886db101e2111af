"""The same words in front of many functions, said once: a function of records becomes one of integers.

numba compiles a function with the parameters that it has; it knows no `*args`.
So the function in front is made from a text for each, and compiled as if it
stood in the file, where numba's cache and the debugger look for it: on the line
of the function behind.
"""
from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from typing import Any

from .compiled import compiled, entered


def door(function: Callable[..., int], given: int, text: str, **names: Any) -> Any:
    """A compiled function in front of `function`, with its name and its text.

    `text` is its source, with NAME for the name, ARGUMENTS for the parameters of `function` after the first `given`
    (with a comma before each), and `body` for `function`; `names` are all other names in it.
    """
    arguments = list(inspect.signature(function).parameters)[given:]
    name = function.__name__
    text = text.replace("NAME", name).replace("ARGUMENTS", "".join(f", {a}" for a in arguments))
    tree = ast.parse(text)
    line = function.__code__.co_firstlineno
    for node in ast.walk(tree):
        if hasattr(node, "lineno"):
            node.lineno = node.end_lineno = line    # type: ignore[attr-defined]
    function.__name__ = f"{name}_body"
    function.__qualname__ = f"{name}_body"          # the cache tells them apart by that
    scope = {"__name__": function.__module__, "body": compiled(function), **names}
    exec(compile(tree, function.__code__.co_filename, "exec"), scope)
    front = scope[name]
    front.__doc__ = function.__doc__
    return entered(front)
