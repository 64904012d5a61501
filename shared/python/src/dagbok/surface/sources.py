"""The source of a task's function, as another Python can run it."""

from __future__ import annotations

import ast


def without_decorators(source: str) -> str:
    """Return a function's source from its `def` on."""
    try:
        node = ast.parse(source).body[0]
    except (SyntaxError, IndexError):
        return source
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return source
    return "".join(source.splitlines(keepends=True)[node.lineno - 1 :])
