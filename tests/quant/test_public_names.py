"""Find every public name where the package says that it lives."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import quant


def test_type_checkers_see_the_names_that_are_imported_at_first_use() -> None:
    tree = ast.parse(Path(quant.__file__).read_text(encoding="utf-8"))
    (typed,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname: node.module for node in typed.body for alias in node.names}
    assert seen == quant._HOMES


def test_a_public_name_is_the_function_or_class_itself() -> None:
    for name in quant.__all__:
        found = getattr(quant, name)
        assert inspect.isfunction(found) or inspect.isclass(found), name
        assert found.__module__ == quant._HOMES[name], name
