"""Atomic writing: files appear under their name only when they are complete."""

import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a scratch path beside `path`; it replaces `path` when the block ends without an error, and is removed otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield scratch
        if path.is_dir():  # os.replace refuses a directory that is not empty
            shutil.rmtree(path)
        os.replace(scratch, path)
    finally:
        if scratch.is_dir():
            shutil.rmtree(scratch)
        else:
            scratch.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write JSON with sorted keys, 4 digits and no NaN (unknown numbers are left out): equal values give equal bytes."""
    with replacing(path) as scratch:
        text = json.dumps(_tidy(values), indent=2, sort_keys=True, allow_nan=False)
        scratch.write_text(text + "\n", encoding="utf-8", newline="\n")


def _tidy(value: Any) -> Any:
    if isinstance(value, dict):
        known = {str(k): _tidy(v) for k, v in value.items()}
        return {k: v for k, v in known.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [_tidy(item) for item in value]
    if hasattr(value, "item"):  # numpy scalars
        value = value.item()
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value
