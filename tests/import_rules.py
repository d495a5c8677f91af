"""Check import rules between the rooms of a source tree, read from the source without importing anything."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.docstring_rules import texts

TOP = ""
"""The room of the modules on the top level of a package, where its rooms do not name them one by one."""


def imports(path: Path, root: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the dotted name of everything that a file imports, in functions and for type checkers too.

    ``from a import b`` yields ``a.b``, since b may be a module; the argument of ``import_module`` counts as well.
    """
    package = path.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node.lineno, first.value


def sources(folder: Path) -> list[Path]:
    """List the Python files of a folder, or a single file."""
    return [folder] if folder.is_file() else sorted(folder.rglob("*.py"))


def within(module: str, names: Iterable[str]) -> bool:
    """Say whether a dotted name is one of the names, or below one of them."""
    return any(module == name or module.startswith(f"{name}.") for name in names)


def upward_imports(root: Path, package: str, rooms: Sequence[str]) -> list[str]:
    """List the imports of a package that point from a room to one below it, or to no room.

    The package's own ``__init__.py`` is its shop window: it names the public API of all rooms, and no room imports it
    but the last one, which is its user.

    Args:
        root: Folder that holds the package.
        package: Name of the package.
        rooms: Folders and modules of the package, from the top down; ``TOP`` stands for all other modules.
    """
    found = []
    for path in sources(root / package):
        relative = path.relative_to(root / package)
        if relative == Path("__init__.py"):
            continue
        room = _room(root, package, rooms, relative.with_suffix("").parts[0])
        if room is None:
            found.append(f"{path.relative_to(root)}: in no room of {package}")
            continue
        for line, module in imports(path, root):
            if within(module, [package]):
                parts = module.split(".")
                other = _room(root, package, rooms, parts[1]) if len(parts) > 1 else None
                if module == package and room == rooms[-1]:
                    continue
                if other is None or rooms.index(other) > rooms.index(room):
                    found.append(f"{path.relative_to(root)}:{line}: {room or package} imports {module}")
    return found


def _room(root: Path, package: str, rooms: Sequence[str], name: str) -> str | None:
    """Return the room of a module or folder right below a package; None if it has none."""
    if name in rooms:
        return name
    return TOP if TOP in rooms and (root / package / f"{name}.py").is_file() else None


def forbidden_imports(root: Path, folder: str, forbidden: Collection[str]) -> list[str]:
    """List the imports of a folder, or a file, that are among the forbidden modules or below them."""
    return [
        f"{path.relative_to(root)}:{line}: imports {module}"
        for path in sources(root / folder)
        for line, module in imports(path, root)
        if within(module, forbidden)
    ]


def imports_beside(root: Path, folder: str, allowed: Collection[str], standard: Collection[str]) -> list[str]:
    """List the imports of a folder that are neither allowed, nor the folder's own, nor of the standard library."""
    own = folder.replace("/", ".")
    return [
        f"{path.relative_to(root)}:{line}: imports {module}"
        for path in sources(root / folder)
        for line, module in imports(path, root)
        if module.split(".")[0] not in standard and not within(module, [own, *allowed])
    ]


Homes = Mapping[str, str | tuple[str, ...]]
"""The folder or file of each module that has a home, or several of them."""


def imports_outside(root: Path, packages: Iterable[str], homes: Homes) -> list[str]:
    """List the imports of modules that have a home, or several, made elsewhere."""
    return [
        f"{path.relative_to(root)}:{line}: imports {module}, which only {' and '.join(homes_of(name, homes))} may"
        for package in packages
        for path in sources(root / package)
        for line, module in imports(path, root)
        for name in homes
        if within(module, [name]) and not any(path.is_relative_to(root / home) for home in homes_of(name, homes))
    ]


def homes_of(name: str, homes: Homes) -> tuple[str, ...]:
    """Return the homes of a module."""
    found = homes[name]
    return (found,) if isinstance(found, str) else found


def homeless_modules(root: Path, package: str, known: Collection[str]) -> list[str]:
    """List the modules on the top level of a package that are not known."""
    return [str(path.relative_to(root)) for path in sorted((root / package).glob("*.py")) if path.stem not in known]


def long_files(root: Path, limit: int) -> list[str]:
    """List the Python files with more lines than the limit, outside folders whose names begin with a dot."""
    files = (
        path for path in sorted(root.rglob("*.py")) if not any(p.startswith(".") for p in path.relative_to(root).parts)
    )
    lengths = {path: len(path.read_text().splitlines()) for path in files}
    return [f"{path.relative_to(root)}: {length} lines" for path, length in lengths.items() if length > limit]


def module_names(root: Path, package: str) -> Iterator[tuple[str, str]]:
    """Yield the path and each part of the dotted name of every module of a package."""
    for path in sources(root / package):
        relative = path.relative_to(root)
        yield from ((str(relative), part) for part in relative.with_suffix("").parts[1:])


def defined_names(root: Path, package: str) -> Iterator[tuple[str, str]]:
    """Yield the place and the name of every class and function of a package."""
    for path in sources(root / package):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(root)}:{node.lineno}", node.name


def dead_references(root: Path, packages: Collection[str]) -> list[str]:
    """List the dotted names in docstrings, other strings and comments of packages that lead to no module or name."""
    dotted = re.compile(rf"(?<![\w./-])({'|'.join(packages)})((?:\.[A-Za-z_]\w*)+)(?![\w/])")
    return [
        f"{path.relative_to(root)}:{line}: {found[0]}"
        for package in packages
        for path in sources(root / package)
        for line, text in texts(path.read_text())
        for found in dotted.finditer(text)
        if not _leads_somewhere(root, found[0].split("."))
    ]


def _leads_somewhere(root: Path, parts: Sequence[str]) -> bool:
    """Follow a dotted name through folders and modules to a name that the last module mentions."""
    folder = root
    for index, part in enumerate(parts):
        if (folder / f"{part}.py").is_file():
            return _mentions(folder / f"{part}.py", parts[index + 1 :])
        if not (folder / part).is_dir():
            return _mentions(folder / "__init__.py", parts[index:])
        folder /= part
    return True


def _mentions(path: Path, rest: Sequence[str]) -> bool:
    return path.is_file() and all(re.search(rf"\b{part}\b", path.read_text()) for part in rest)
