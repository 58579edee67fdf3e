"""dvc.yaml as plain stages, its templates filled in, and the code that each of them runs."""

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Stage:
    """One stage. Paths are relative to the repository, as dvc.yaml has them."""

    name: str
    module: str  # "stages.pretrain"
    flags: dict[str, str]
    deps: frozenset[str]
    outs: frozenset[str]  # outs, metrics and plots
    params: frozenset[str]

    @property
    def source(self) -> Path:
        return ROOT / f"{self.module.replace('.', '/')}.py"

    @property
    def code(self) -> set[str]:
        return {dep for dep in self.deps if dep.split("/")[0] in ("pipeline", "stages")}


def read(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / name)
    return loaded


def stages(params: dict[str, Any] | None = None) -> dict[str, Stage]:
    """The stages of dvc.yaml under these params, by default those of params.yaml."""
    params = params or read("params.yaml")
    found = {}
    for name, raw in read("dvc.yaml")["stages"].items():
        if "foreach" not in raw:
            found[name] = _stage(name, raw, params)
            continue
        section = re.fullmatch(r"\$\{(\w+)\}", raw["foreach"])
        assert section, f"{name}: expected foreach over a section of params.yaml"
        for key, item in params[section.group(1)].items():
            found[f"{name}@{key}"] = _stage(f"{name}@{key}", raw["do"], {**params, "key": key, "item": item})
    return found


@functools.cache
def imports(path: Path) -> tuple[str, ...]:
    """The modules that a file names in its imports, wherever in it they stand."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(found)


@functools.cache
def closure(path: Path) -> frozenset[Path]:
    """A file and all files of ours that it imports, directly or not, but for an `__init__.py` that says nothing."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        here = waiting.pop()
        if here in found:
            continue
        found.add(here)
        waiting += [file for name in imports(here) for file in _files(name)]
    return frozenset(file for file in found if file.name != "__init__.py" or says_something(file))


def says_something(init: Path) -> bool:
    body = ast.parse(init.read_text(encoding="utf-8")).body
    return any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in body)


def overlap(one: str, other: str) -> bool:
    """Whether one path is the other or lies in it."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def tainted(graph: dict[str, Stage], sources: set[str]) -> set[str]:
    """The stages that anything of the sources can reach, directly or through outputs of others."""
    reached: set[str] = set()
    paths = set(sources)
    while True:
        more = {
            name
            for name, stage in graph.items()
            if name not in reached and any(overlap(dep, path) for dep in stage.deps for path in paths)
        }
        if not more:
            return reached
        reached |= more
        paths |= {out for name in more for out in graph[name].outs}


def _files(module: str) -> Iterator[Path]:
    """The files of ours that importing `module` runs: its own and the packages' around it."""
    parts = module.split(".")
    if parts[0] not in ("pipeline", "stages"):
        return
    for end in range(1, len(parts) + 1):
        base = ROOT.joinpath(*parts[:end])
        yield from (file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file())


def _stage(name: str, raw: dict[str, Any], values: dict[str, Any]) -> Stage:
    def fill(text: str) -> str:
        return re.sub(r"(?<!\\)\$\{([\w.]+)\}", lambda match: str(_lookup(values, match.group(1))), text)

    def paths(kind: str) -> Iterator[str]:
        for entry in raw.get(kind, []):
            yield fill(entry if isinstance(entry, str) else next(iter(entry)))

    words = fill(raw["cmd"]).split()
    module = words[words.index("-m") + 1]
    rest = words[words.index("-m") + 2 :]
    assert len(rest) % 2 == 0, f"{name}: expected pairs of a flag and a value, got {rest}"
    return Stage(
        name,
        module,
        dict(zip(rest[::2], rest[1::2], strict=True)),
        frozenset(paths("deps")),
        frozenset([*paths("outs"), *paths("metrics"), *paths("plots")]),
        frozenset(paths("params")),
    )


def _lookup(values: dict[str, Any], name: str) -> Any:
    for part in name.split("."):
        values = values[part]
    return values
