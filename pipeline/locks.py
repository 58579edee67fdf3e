"""Locks that end with the process that holds them, whatever ends it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def held(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold the lock file `path`, which exists only meanwhile.

    Args:
        wait: for another process that holds it, after a line on stderr that names that process.

    Yields:
        Whether the lock is held: always, with `wait`.
    """
    lock, holder = FileLock(path), path.with_name(f"{path.name}.pid")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            yield False
            return
        other = holder.read_text(encoding="utf-8") if holder.is_file() else "?"
        print(f"waiting for process {other}, which writes the same (`kill {other}` ends it)", file=sys.stderr)
        lock.acquire()
    try:
        holder.write_text(str(os.getpid()), encoding="utf-8")
        yield True
    finally:
        holder.unlink(missing_ok=True)
        if os.name == "posix":  # filelock removes the file on Windows; before the release, so that it is nobody else's
            path.unlink(missing_ok=True)
        lock.release()
