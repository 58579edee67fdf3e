"""Write the generated pages of docs/reference: params from the dataclasses, stages from dvc.yaml, artefacts from pipeline/files.

    python -m tools.reference            # write them
    python -m tools.reference --check    # exit status 1 where a page is not what the code says

Each parameter's meaning stands once, beside its field; a test keeps the committed pages equal to the code.
"""

import argparse
import ast
import dataclasses
import importlib
import inspect
import re
import sys
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import annotated_types
import yaml

from pipeline import params

_ROOT = Path(__file__).resolve().parents[1]
_FOLDER = Path("docs", "reference")
_GENERATED = "<!-- Written by `python -m tools.reference`; do not edit. -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 where a page is stale")
    given = parser.parse_args()
    stale = []
    for name, page in pages().items():
        path = _ROOT / _FOLDER / name
        if given.check and (not path.is_file() or path.read_text(encoding="utf-8") != page):
            stale.append(name)
        elif not given.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(page, encoding="utf-8")
    for name in stale:
        print(f"{_FOLDER / name}: stale; write it anew with `python -m tools.reference`")
    sys.exit(bool(stale))


def pages() -> dict[str, str]:
    """Return the generated pages by file name."""
    return {"params.md": params_page(), "stages.md": stages_page(), "artefacts.md": artefacts_page()}


def params_page() -> str:
    """Return the page of all params: key, default, accepted values, meaning."""
    values = params.read(_ROOT / "params.yaml")
    known = sections()
    lines = [
        "# Parameters",
        "",
        _GENERATED,
        "",
        "Every number that changes a result stands in `params.yaml`, one section per stage. "
        "`dvc exp run -S section.key=value` changes one; only what depends on it runs again.",
    ]
    for name, section in values.items():
        lines += ["", f"## {name}", ""]
        users = _users(name)
        if users:
            lines += [f"Tracked by {', '.join(f'`{user}`' for user in users)}.", ""]
        if name in _PLAIN:
            lines += [_PLAIN[name], ""]
        if name in known:
            lines += ["| key | default | values | meaning |", "| --- | --- | --- | --- |"]
            lines += _rows(known[name], section, name, partial=hasattr(known[name], "shared_section"))
    return "\n".join(lines) + "\n"


# Sections that are mappings of names, or paths: they have no dataclass of their own.
_PLAIN = {
    "data": "Where the files are; the keys and their formats stand in [formats](formats.md).",
    "sources": "The labelled sets by name: `path`, `layout` (mpii, coco, h36m, h36m_challenge) and `detections`; "
    "see [formats](formats.md).",
    "rounds": "The self-training rounds by name: `teacher`, and under `pseudo` whatever differs from the section `pseudo`.",
}


def sections() -> dict[str, type]:
    """Return the dataclass of each section of params.yaml that has one: those that the programs' `main` take."""
    known: dict[str, type] = {}
    for folder in ("stages", "tools"):
        for path in sorted((_ROOT / folder).glob("*.py")):
            module = importlib.import_module(f"{folder}.{path.stem}") if path.stem != "__init__" else None
            main = getattr(module, "main", None)
            for hint in typing.get_type_hints(main).values() if main else ():
                if isinstance(hint, type) and dataclasses.is_dataclass(hint):
                    known.setdefault(params.snake(hint.__name__), hint)
                    for base in hint.__mro__:  # the section whose keys several share, see `params.select`
                        if "shared_section" in vars(base):
                            known.setdefault(vars(base)["shared_section"], base)
    return known


def _users(section: str) -> list[str]:
    graph = yaml.safe_load((_ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    users = []
    for name, stage in graph.items():
        body = stage.get("do", stage)
        if any(str(each).split(".")[0] == section for each in body.get("params", ())) and not name.endswith("_r0"):
            users.append(name)
    return users


def _rows(section: type, values: Mapping[str, Any], name: str, partial: bool = False) -> Iterator[str]:
    """Yield a row per key; with `partial` only those that the values have, because another section has the rest."""
    meaning = field_docs(section)
    hints = typing.get_type_hints(section, include_extras=True)
    for field in dataclasses.fields(section):
        if partial and field.name not in values:
            continue
        hint, key = hints[field.name], f"{name}.{field.name}"
        nested = next((each for each in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(each)), None)
        value = values.get(field.name) if isinstance(values, Mapping) else None
        if isinstance(nested, type):
            about = meaning.get(field.name, "")
            if about:
                yield f"| `{key}` | | | {_cell(about)} |"
            yield from _rows(nested, value if isinstance(value, Mapping) else {}, key, partial)
            continue
        default = value if isinstance(values, Mapping) and field.name in values else _default(field)
        yield f"| `{key}` | {_literal(default)} | {_cell(_accepted(hint))} | {_cell(meaning.get(field.name, ''))} |"


def _default(field: "dataclasses.Field[Any]") -> Any:
    return None if field.default is dataclasses.MISSING else field.default


def _literal(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=1000).strip().removesuffix("...").strip()
    return f"`{text}`"


def _accepted(hint: Any) -> str:
    """Return an annotation in words: `Annotated[float, Ge(0)] | None` is "a number, at least 0; or null"."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        bounds = [text for text in map(_bound, arguments[1:]) if text]
        return ", ".join([_accepted(arguments[0]), *bounds])
    if origin in (typing.Union, types.UnionType):
        words = [_accepted(each) for each in arguments if each is not type(None)]
        return "; or ".join([*words, *(["null"] if type(None) in arguments else [])])
    if origin is typing.Literal:
        return ", ".join(
            f"`{'null' if each is None else str(each).lower() if isinstance(each, bool) else each}`"
            for each in arguments
        )
    if origin is tuple:
        return f"a list of {_accepted(arguments[0])}"
    if origin is dict:
        return f"names, each with {_accepted(arguments[1])}"
    return {float: "a number", int: "a whole number", bool: "true or false", str: "text"}.get(hint, str(hint))


def _bound(bound: Any) -> str:
    match bound:
        case annotated_types.Ge(value):
            return f"at least {value}"
        case annotated_types.Gt(value):
            return f"more than {value}"
        case annotated_types.Le(value):
            return f"at most {value}"
        case annotated_types.Lt(value):
            return f"less than {value}"
        case annotated_types.MinLen(value):
            return f"{value} or more of them"
        case annotated_types.Interval():
            return ", ".join(_bound(each) for each in bound)
        case annotated_types.Unit(value):
            return str(value)
    return ""


def field_docs(section: type) -> dict[str, str]:
    """Return what each field of a dataclass means: its entry under `Attributes:`, else the comment behind or above it."""
    docs: dict[str, str] = {}
    for base in reversed(section.__mro__):
        if base is object or not dataclasses.is_dataclass(base):
            continue
        docs |= _comments(base)
        docs |= attributes(inspect.getdoc(base) or "")
    return docs


def attributes(docstring: str) -> dict[str, str]:
    """Return the entries of a docstring's `Attributes:`."""
    _, _, rest = docstring.partition("Attributes:\n")
    entries: dict[str, str] = {}
    names: list[str] = []
    for line in textwrap.dedent(rest).splitlines():
        started = re.match(r"(\w+(?:, \w+)*): (.*)", line)
        if started:
            names = started[1].split(", ")
            entries |= dict.fromkeys(names, started[2])
        elif names and line.startswith(" "):
            entries |= {name: f"{entries[name]} {line.strip()}" for name in names}
        elif line.strip():
            break
    return entries


def _comments(section: type) -> dict[str, str]:
    source = textwrap.dedent(inspect.getsource(section))
    lines, comments = source.splitlines(), {}
    tree = ast.parse(source).body[0]
    for node in getattr(tree, "body", ()):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        behind = lines[node.end_lineno - 1][node.end_col_offset :] if node.end_lineno else ""
        above: list[str] = []
        row = node.lineno - 2
        while row >= 0 and lines[row].strip().startswith("#"):
            above.insert(0, lines[row].strip().removeprefix("#").strip())
            row -= 1
        text = behind.partition("#")[2].strip() or " ".join(above)
        if text:
            comments[node.target.id] = text
    return comments


def stages_page() -> str:
    """Return the page of the graph's stages: what each does, reads, writes and tracks."""
    graph = yaml.safe_load((_ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    lines = [
        "# Stages",
        "",
        _GENERATED,
        "",
        "The programs of the graph, in the order of `dvc.yaml`. `<key>` is the name of a round or of a labelled set, "
        "`<item.teacher>` the round's teacher. `python -m stages.<stage> --help` explains each flag. Every stage also depends on "
        "`code/<stage>.txt`, the digests of all code that it runs.",
    ]
    for name, stage in graph.items():
        body = stage.get("do", stage)
        lines += ["", f"## {name}", "", f"{body['desc']}.", ""]
        if "foreach" in stage:
            lines += [f"One for each of `{_unfilled(str(stage['foreach']))}`.", ""]
        if stage.get("do") is not None and name.endswith("_r0"):
            lines += [f"The same as `{name.removesuffix('_r0')}`, of model r0.", ""]
            continue
        for title, kinds in (("reads", ("deps",)), ("writes", ("outs", "metrics", "plots"))):
            paths = [_unfilled(path) for kind in kinds for path in _paths(body.get(kind, ()))]
            lines += (
                [f"- {title} {', '.join(f'`{path}`' for path in paths if not path.startswith('code/'))}"]
                if paths
                else []
            )
        if body.get("params"):
            lines += [f"- params {', '.join(f'`{_unfilled(str(each))}`' for each in body['params'])}"]
    return "\n".join(lines) + "\n"


def _paths(entries: Any) -> Iterator[str]:
    for entry in entries:
        yield entry if isinstance(entry, str) else next(iter(entry))


def _unfilled(text: str) -> str:
    return re.sub(r"\$\{([\w.]+)\}", r"<\1>", text)


def artefacts_page() -> str:
    """Return the page of what stages hand to one another: the dataclasses of pipeline/files with their shapes."""
    lines = [
        "# Artefacts",
        "",
        _GENERATED,
        "",
        "What stages hand to one another, one module of `pipeline/files` each. Conventions (frames, units, axes, NaN) stand in "
        "`pipeline/__init__.py`.",
    ]
    for path in sorted((_ROOT / "pipeline" / "files").glob("*.py")):
        module = importlib.import_module(f"pipeline.files.{path.stem}")
        classes = [
            each for _, each in inspect.getmembers(module, inspect.isclass) if each.__module__ == module.__name__
        ]
        shown = [each for each in classes if dataclasses.is_dataclass(each) and attributes(inspect.getdoc(each) or "")]
        shown = [each for each in shown if not each.__name__.startswith("_")]
        if not shown:
            continue
        lines += ["", f"## pipeline/files/{path.name}", "", _first(inspect.getdoc(module) or "")]
        for each in shown:
            lines += ["", f"### {each.__name__}", "", _first(inspect.getdoc(each) or ""), ""]
            lines += ["| field | what |", "| --- | --- |"]
            lines += [f"| `{key}` | {_cell(text)} |" for key, text in attributes(inspect.getdoc(each) or "").items()]
    return "\n".join(lines) + "\n"


def _first(docstring: str) -> str:
    return " ".join(docstring.split("\n\n")[0].split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    main()
