"""The demo's corpus: the docstrings of the Python standard library, read from its sources.

Owns the choice of documents; imports records and errors only. Invariant: nothing of the library is imported or run,
and the same sources give the same documents in the same order.

The rule: every public module, class, function and method whose docstring has at least `SHORTEST` characters. A name
is public if no part of it begins with an underscore. What a package imports from its own submodules counts as the
package's (``asyncio.tasks.gather`` is ``asyncio.gather``), because that is how people write it.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from m3search.errors import SourceError
from m3search.records import Document

SHORTEST = 70
"""Characters of the shortest docstring that is kept; with it Python 3.11 to 3.13 give 2,000 to 3,000 documents."""

_LONGEST_SIGNATURE = 160

# Left out: tests, programs, what many distributions do not install with Python, and modules that say the same of
# many things (a codec each in encodings, Windows' twins of os.path and urllib).
_LEFT_OUT = frozenset(
    {
        *("test", "tests", "idlelib", "lib2to3", "distutils", "ensurepip", "tkinter", "turtle", "turtledemo", "msilib"),
        *("encodings", "pydoc_data", "ntpath", "nturl2path", "antigravity", "this"),
    }
)

# Modules that people know by another name, and the order in which their texts are taken.
_SPOKEN = {
    "posixpath": "os.path",
    "genericpath": "os.path",
    "_collections_abc": "collections.abc",
    "_pydatetime": "datetime",
    "_pydecimal": "decimal",
    "_pyio": "io",
}

_Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class _Module:
    """A parsed module."""

    name: str
    path: Path
    tree: ast.Module
    exported: dict[str, str] = field(default_factory=dict)
    """Name -> the module that people import it from."""


def stdlib_documents(folder: Path | None = None) -> Iterator[Document]:
    """The documented parts of the Python standard library.

    Args:
        folder: where the library's sources lie; None: those of the running interpreter.

    Yields:
        Documents with the qualified name as id (``zipfile.ZipFile.extract``), name and signature as title, the
        docstring as text, and metadata ``{"module", "kind": "module" | "class" | "function" | "method", "line"}``.

    Raises:
        SourceError: the sources are not on this disk, or one is not Python of this version.
    """
    folder = Path(sysconfig.get_path("stdlib")) if folder is None else folder
    if not (folder / "ast.py").is_file():
        raise SourceError(
            f"the sources of Python's standard library are not in {folder} (this Python may run from a zip file): "
            "run the demo with an ordinary installation of Python, or build an index of files of your own"
        )
    seen: set[str] = set()
    for module in _modules(folder):
        for document in _documents(module):
            if len(document.text) >= SHORTEST and document.id not in seen:
                seen.add(document.id)
                yield document


def _modules(folder: Path) -> Iterator[_Module]:
    for name in sorted(sys.stdlib_module_names - _LEFT_OUT, key=_order):
        if name.startswith("_") and name not in _SPOKEN:
            continue
        if (folder / f"{name}.py").is_file():
            path = folder / f"{name}.py"
            yield _Module(_SPOKEN.get(name, name), path, _parse(path))
        elif (folder / name / "__init__.py").is_file():
            yield from _package(name, folder / name)


def _order(name: str) -> tuple[str, int]:
    """By the spoken name; where several modules share it, the one that has it first."""
    return _SPOKEN.get(name, name), 0 if name not in _SPOKEN else 1 + list(_SPOKEN).index(name)


def _package(name: str, folder: Path) -> Iterator[_Module]:
    """A package's modules, its own first."""
    top = _Module(name, folder / "__init__.py", _parse(folder / "__init__.py"))
    yield top
    exported = _exports(top)
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        inner = f"{name}.{path.stem}"
        if path.suffix == ".py" and not path.stem.startswith("__"):
            yield _Module(inner, path, _parse(path), exported.get(inner, {}))
        elif (path / "__init__.py").is_file() and path.name not in _LEFT_OUT and not path.name.startswith("_"):
            yield from _package(inner, path)


def _exports(package: _Module) -> dict[str, dict[str, str]]:
    """Submodule -> the names that the package imports from it ("*" for all), each with the package's name."""
    exports: dict[str, dict[str, str]] = {}
    for node in package.tree.body:
        if isinstance(node, ast.ImportFrom):
            origin = f"{package.name}.{node.module}" if node.level == 1 else str(node.module)
            names = exports.setdefault(origin, {})
            names.update({alias.name: package.name for alias in node.names if alias.asname in {None, alias.name}})
    return exports


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        raise SourceError(
            f"{path}:{error.lineno}: not Python {sys.version_info[0]}.{sys.version_info[1]}: {error.msg}; "
            "the demo reads the sources of the interpreter that runs it"
        ) from error


def _documents(module: _Module) -> Iterator[Document]:
    if _is_public(module.name):
        text = _text(module.tree)
        yield Document(module.name, text, f"module {module.name}", {"module": module.name, "kind": "module", "line": 1})
    for node in _definitions(module.tree):
        home = _home(module, node.name)
        if _is_public(home):
            yield from _defined(node, home, home)


def _home(module: _Module, name: str) -> str:
    """The module that people import a name from."""
    if name in module.exported:
        return module.exported[name]
    if "*" in module.exported and name in _listed(module.tree):
        return module.exported["*"]
    return module.name


def _listed(tree: ast.Module) -> set[str]:
    """The strings of a module's ``__all__``."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return {str(part.value) for part in ast.walk(node.value) if isinstance(part, ast.Constant)}
    return set()


def _defined(node: _Definition, module: str, owner: str) -> Iterator[Document]:
    """What a class or function says, then what is inside the class."""
    name = f"{owner}.{node.name}"
    kind = "class" if isinstance(node, ast.ClassDef) else "function" if owner == module else "method"
    title = f"{'class ' if kind == 'class' else ''}{name}{_signature(node)}"
    yield Document(name, _text(node), title, {"module": module, "kind": kind, "line": node.lineno})
    if isinstance(node, ast.ClassDef):
        for inner in _definitions(node):
            yield from _defined(inner, module, name)


def _definitions(node: ast.AST) -> Iterator[_Definition]:
    """Public classes and functions directly in a module or class, also those under if, try and with."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _Definition):
            if not child.name.startswith("_"):
                yield child
        elif isinstance(child, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            yield from _definitions(child)


def _is_public(name: str) -> bool:
    return not any(part.startswith("_") for part in name.split("."))


def _text(node: ast.Module | _Definition) -> str:
    """The docstring without indentation; a class's is followed by its constructor's."""
    docstrings = [ast.get_docstring(node)]
    if isinstance(node, ast.ClassDef):
        docstrings += [ast.get_docstring(init) for init in _constructor(node)]
    return "\n\n".join(inspect.cleandoc(text).strip() for text in docstrings if text)


def _constructor(node: ast.ClassDef) -> list[ast.FunctionDef]:
    return [inner for inner in node.body if isinstance(inner, ast.FunctionDef) and inner.name == "__init__"][:1]


def _signature(node: _Definition) -> str:
    """``(member, path=None)``: without self and annotations; nothing for a property or a class without constructor."""
    functions = _constructor(node) if isinstance(node, ast.ClassDef) else [node]
    if not functions or any(ast.unparse(decorator).endswith("property") for decorator in node.decorator_list):
        return ""
    text = ast.unparse(_bare(functions[0].args))
    text = re.sub(r"^(?:self|cls)\b(?:, /)?(?:, )?", "", text)
    return f"({text})" if len(text) <= _LONGEST_SIGNATURE else "(...)"


def _bare(args: ast.arguments) -> ast.arguments:
    for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg):
        if arg is not None:
            arg.annotation = None
    return args
