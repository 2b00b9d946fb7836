"""A slider is moved when its page has run to the end: what its function looks up must be the same.

A name that a later cell gives to something else would turn the slider into an error or a lie.
"""

import ast
import json
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[1] / "notebooks").glob("[0-9]*.ipynb"))
FLAGS = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


def cells(page: Path) -> dict[str, ast.Module]:
    """Id of each code cell -> what is written in it."""
    written = [c for c in json.loads(page.read_text("utf-8"))["cells"] if c["cell_type"] == "code"]
    return {c["id"]: compile("".join(c["source"]), c["id"], "exec", FLAGS) for c in written}


def given(tree: ast.Module) -> set[str]:
    """Names that a cell gives to something."""
    names, todo = set(), list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif not isinstance(node, ast.comprehension | ast.Lambda):  # their names are their own
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            todo += ast.iter_child_nodes(node)
    return names


def looked_up(function: ast.FunctionDef) -> set[str]:
    """Names that a function takes from its page."""
    nodes = list(ast.walk(function))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    own = {node.arg for node in nodes if isinstance(node, ast.arg)}
    own |= {name.id for name in names if isinstance(name.ctx, ast.Store)}
    return {name.id for name in names} - own


def needed(name: str, functions: dict[str, ast.FunctionDef]) -> set[str]:
    """What a function of the page looks up, and what the functions that it calls look up."""
    found, todo = set(), [name]
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            todo += looked_up(functions[one]) if one in functions else ()
    return found


def late_moves(page: Path) -> list[str]:
    trees, wrong, functions = cells(page), [], {}
    for number, tree in enumerate(trees.values()):
        functions |= {one.name: one for one in tree.body if isinstance(one, ast.FunctionDef)}
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        for call in calls:
            if getattr(call.func, "attr", "") == "live" and isinstance(call.args[0], ast.Name):
                wanted = needed(call.args[0].id, functions)
                for later in list(trees)[number + 1 :]:
                    taken = wanted & given(trees[later])
                    wrong += [f"{call.args[0].id}: {later} changes {name}" for name in taken]
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_sliders_find_what_they_need(page):
    assert late_moves(page) == []


def test_a_changed_name_is_noticed(tmp_path):
    sources = [
        "rows = [1]\ndef look(n):\n    return helper(n)\ndef helper(n):\n    return rows[n]",
        "widgets.live(look, n=1)",
        "for rows in 'ab':\n    print([look for look in 'cd'])",
    ]
    page = tmp_path / "page.ipynb"
    code = [{"cell_type": "code", "id": f"{i}", "source": s} for i, s in enumerate(sources)]
    page.write_text(json.dumps({"cells": code}))
    assert late_moves(page) == ["look: 2 changes rows"]
