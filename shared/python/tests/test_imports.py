"""No circle of imports, neither when a module is loaded nor inside its functions."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST, known: set[str]) -> set[str]:
    """The modules of ours that run when this one does, or when a function of it does; types are no run."""
    found: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & known or {node.module}
        waiting += ast.iter_child_nodes(node)
    return found & known


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """What can be reached from itself, as the shortest way round from each."""
    found = []
    for start in sorted(graph):
        ways: list[list[str]] = [[start]]
        seen = {start}
        while ways:
            way = ways.pop(0)
            if start in graph[way[-1]]:
                found.append([*way, start])
                break
            for after in sorted(graph[way[-1]] - seen):
                seen.add(after)
                ways.append([*way, after])
    return found


def test_no_module_imports_itself_by_way_of_others() -> None:
    paths = {module_name(path): path for path in SOURCE.rglob("*.py")}
    known = set(paths)
    graph = {name: imports(ast.parse(path.read_text()), known) for name, path in paths.items()}
    assert len(graph) > 70
    assert [" -> ".join(circle) for circle in circles(graph)] == []


def test_a_circle_inside_functions_is_seen() -> None:
    known = {"a", "b", "c"}
    texts = {
        "a": "def f():\n    from b import g\n",
        "b": "import c\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\n",
        "c": "class X:\n    def h(self):\n        import a\n",
    }
    graph = {name: imports(ast.parse(text), known) for name, text in texts.items()}
    assert circles(graph)[0] == ["a", "b", "c", "a"]
    graph["c"].clear()
    assert circles(graph) == []


def test_files_stay_small() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")}
    assert {str(path): length for path, length in lengths.items() if length > 400} == {}
