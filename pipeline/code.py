"""The code that a program runs: its import closure, and a digest of it that only a change of meaning changes.

DVC does not follow imports. The stage `code` writes `code/<stage>.txt` with `text`, and every stage depends on its own
text, so an edit reruns exactly the stages that run the edited code. This module imports the standard library alone. It reads
each file once per process.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("pipeline", "stages")  # whose files are ours
ASSETS = (".css", ".html", ".j2", ".js")  # read by the modules beside them
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def stages(root: Path = ROOT) -> list[Path]:
    """Return the source files of the stages that have a text, sorted."""
    return sorted(path for path in (root / "stages").glob("*.py") if path.stem not in ("__init__", "code"))


def text(source: Path, root: Path = ROOT) -> str:
    """Return one line per file that `source` runs: its digest and its path relative to `root`, sorted by path.

    A source outside of `root` stands there by its name.
    """
    files = closure(source, root) | assets(source, root)
    lines = [(path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name, path) for path in files]
    return "".join(f"{_file_digest(path)}  {name}\n" for name, path in sorted(lines))


@cache
def closure(source: Path, root: Path = ROOT) -> frozenset[Path]:
    """Return a file and all files of ours that it imports, directly or not.

    An import counts wherever it stands, inside of a function as well. An `__init__.py` without any statement is left out.

    Raises:
        ValueError: a file is not Python, or has a relative import.
    """
    reached: set[Path] = set()
    waiting = [source]
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            waiting += [file for name in imports(path) for file in _files(name, root)]
    return frozenset(path for path in reached if path.name != "__init__.py" or has_statements(path))


def assets(source: Path, root: Path = ROOT) -> frozenset[Path]:
    """Return the files besides code, such as style sheets, that lie in the packages of the modules that `source` imports.

    The top folders of the packages have none.
    """
    folders = {path.parent for path in closure(source, root)} - {root / package for package in PACKAGES}
    return frozenset(
        path for folder in folders for path in folder.rglob("*") if path.is_file() and path.suffix in ASSETS
    )


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Return the dotted names that a file's import statements mention, wherever in it they stand.

    Raises:
        ValueError: the file is not Python, or has a relative import.
    """
    mentioned: list[str] = []
    for node in ast.walk(_parse(path)):
        if isinstance(node, ast.Import):
            mentioned += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level or not node.module:
                raise ValueError(f"{path}: line {node.lineno} has a relative import; name the package")
            mentioned += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(mentioned)


def has_statements(path: Path) -> bool:
    """Return whether a file holds more than comments and a docstring."""
    return bool(_without_docstring(_parse(path)))


def digest(source: str) -> str:
    """Return 32 hexadecimal digits of what Python source means.

    Comments, docstrings and layout (line breaks, quotes, redundant parentheses, trailing commas) do not count. The digest is
    the same under Python 3.11, 3.12 and 3.13, where `ast.dump` and `ast.unparse` differ: fields that are empty are left
    out (newer versions add some), and the text of an f-string is joined before it is written.

    Raises:
        SyntaxError: it is not Python.
    """
    return hashlib.sha256("".join(_written(ast.parse(source))).encode("utf-8", "surrogatepass")).hexdigest()[:32]


@cache
def _file_digest(path: Path) -> str:
    if path.suffix == ".py":
        return digest(path.read_text(encoding="utf-8"))
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


@cache
def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise ValueError(f"{path}: line {error.lineno} is not Python: {error.msg}") from None


def _files(module: str, root: Path) -> Iterator[Path]:
    """Yield the files of ours that importing `module` runs: its own and the packages' around it."""
    parts = module.split(".")
    if parts[0] not in PACKAGES:
        return
    for end in range(1, len(parts) + 1):
        base = root.joinpath(*parts[:end])
        yield from (file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file())


def _without_docstring(node: ast.AST) -> list[ast.stmt]:
    body: list[ast.stmt] = getattr(node, "body", [])
    first = body[0] if body else None
    documented = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return body[1:] if documented else body


def _written(value: object) -> Iterator[str]:
    """Yield the pieces of a syntax tree's canonical text."""
    if isinstance(value, (ast.Constant, ast.MatchSingleton)):
        yield f"{type(value.value).__name__}:{value.value!r};"
    elif isinstance(value, ast.AST):
        yield f"{type(value).__name__}("
        for name, field in _fields(value):
            if field is not None and field != []:
                yield f"{name}="
                yield from _written(field)
        yield ")"
    elif isinstance(value, list):
        yield "["
        for item in value:
            yield from _written(item)
        yield "]"
    else:  # names, None for the missing keys of {**other}, the flags of f-strings
        yield f"{value!r};"


def _fields(node: ast.AST) -> Iterator[tuple[str, object]]:
    for name in sorted(node._fields):
        field = getattr(node, name, None)
        if name == "body" and isinstance(node, _DOCUMENTED):
            field = _without_docstring(node)
        elif isinstance(node, ast.JoinedStr):
            field = list(_joined(node.values))
        yield name, field


def _joined(values: Iterable[ast.expr]) -> Iterator[ast.expr]:
    """Yield an f-string's parts, neighbouring texts as one and empty ones left out."""
    waiting = ""
    for value in values:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            waiting += value.value
            continue
        if waiting:
            yield ast.Constant(waiting)
        waiting = ""
        yield value
    if waiting:
        yield ast.Constant(waiting)
