"""dvc.yaml as plain stages, its templates filled in."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.code import PACKAGES

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
        """Its text in code/; the stage `code` itself depends on the folders of the sources."""
        return {dep for dep in self.deps if dep.split("/")[0] in ("code", *PACKAGES)}


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
        for key, item in _items(name, raw["foreach"], params).items():
            found[f"{name}@{key}"] = _stage(f"{name}@{key}", raw["do"], {**params, "key": key, "item": item})
    return found


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


def _items(name: str, foreach: str | dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(foreach, str):
        return foreach
    section = re.fullmatch(r"\$\{(\w+)\}", foreach)
    assert section, f"{name}: expected foreach over a section of params.yaml or a mapping"
    items: dict[str, Any] = params[section.group(1)]
    return items


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
