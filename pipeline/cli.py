"""A stage's command line: one `--flag` per path of its `main`, params from their file, one sentence per mistake."""

import argparse
import dataclasses
import getpass
import hashlib
import inspect
import os
import sys
import tempfile
import types
import typing
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from pipeline import locks, params


def run(
    main: Callable[..., None],
    section: type | None = None,
    *,
    name: str | None = None,
    argv: Sequence[str] | None = None,
) -> None:
    """Call a stage's `main` with the flags and params, while no other process runs it with the same flags here.

    A parameter of `main` that is annotated `Path` or `str` is a flag that must be given (`views_folder` is
    `--views-folder`), unless it has a default; `Path | None` or `str | None` one that may be left out. A parameter
    annotated with a dataclass is the section of params.yaml with the class's name in snake case. `params: Path` is the
    params file itself. Others need a default, and keep it. `--help` shows `main`'s module and the `Args:` of its docstring.

    Args:
        main: the stage.
        section: the class of `main`'s parameter `config`; by default its annotation.
        name: the section that `config` is read from, where it is not called like its class.
        argv: the arguments; by default those of the process.

    Raises:
        SystemExit: 1 after a mistake in what came in (one line on stderr; POSE_DEBUG=1 shows where), 2 after a wrong
            flag, 130 after Ctrl-C.
    """
    hints = typing.get_type_hints(main)
    hints.pop("return", None)
    if section is not None:
        hints["config"] = section
    sections = {key: hints.pop(key) for key, hint in list(hints.items()) if dataclasses.is_dataclass(hint)}

    parser = argparse.ArgumentParser(
        description=main.__globals__.get("__doc__"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    entries = arguments(main)
    takes_params = hints.pop("params", None) is not None
    for key, hint in hints.items():
        choices, optional = _unpack(hint)
        if choices not in (Path, str):
            continue
        flag = f"--{key.replace('_', '-')}"
        default = inspect.signature(main).parameters[key].default
        usual = None if default is inspect.Parameter.empty else default
        required = not optional and usual is None
        parser.add_argument(
            flag,
            type=choices,
            required=required,
            default=usual,
            metavar=choices.__name__.upper(),
            help=_help(entries.get(key, ""), usual),
        )
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), metavar="PATH", help=_help("the params file", "params.yaml")
    )
    given: dict[str, Any] = vars(parser.parse_args(argv))
    file = given["params"] if takes_params else given.pop("params")

    try:
        for key, hint in sections.items():
            given[key] = params.load(hint, file, name if key == "config" else None)
        with _alone(main, sys.argv[1:] if argv is None else argv):
            main(**given)
    except (ValueError, OSError) as error:
        if os.environ.get("POSE_DEBUG") == "1":
            raise
        print(f"error: {_sentence(error)}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("error: stopped by Ctrl-C", file=sys.stderr)
        raise SystemExit(130) from None


def _alone(main: Callable[..., None], arguments: Sequence[str]) -> AbstractContextManager[object]:
    """Return a lock on a stage's outputs: a killed `dvc` leaves its stage running, which would write the same files."""
    if os.environ.get("RANK", "0") != "0":  # the first of torchrun's processes holds it for all
        return nullcontext()
    what = [os.getcwd(), main.__globals__.get("__file__", ""), main.__qualname__, *arguments]
    name = hashlib.sha256("\0".join(what).encode()).hexdigest()[:16]
    user = os.getuid() if hasattr(os, "getuid") else getpass.getuser()  # Windows has names only
    return locks.held(Path(tempfile.gettempdir(), f"rigpose-{user}-{name}.lock"))


def _sentence(error: ValueError | OSError) -> str:
    """Return an error as one line: for an OSError the file and the message, without the error number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    return " ".join(str(error).split())


def arguments(function: Callable[..., Any]) -> dict[str, str]:
    """Return the entries of a docstring's `Args:`, each on one line, by the parameter's name."""
    _, _, rest = (inspect.getdoc(function) or "").partition("Args:\n")
    entries: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc(rest.split("\n\n")[0]).splitlines():
        if line.startswith(" "):
            entries[name] += f" {line.strip()}"
        else:
            name, _, text = line.partition(":")
            entries[name] = text.strip()
    return entries


def _help(text: str, default: object) -> str:
    """Return a flag's help as argparse takes it."""
    usual = "" if default is None else f"default: {default}"
    text = f"{text.rstrip('.')} ({usual})" if text and usual else text or usual
    return text.replace("%", "%%")


def _unpack(hint: Any) -> tuple[Any, bool]:
    """Return the type, and whether None is allowed: (Path, True) for `Path | None`."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        choices = [choice for choice in typing.get_args(hint) if choice is not type(None)]
        return choices[0] if len(choices) == 1 else hint, True
    return hint, False
