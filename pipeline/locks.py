"""Locks that end with the process that holds them, whatever ends it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def held(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold the lock file `path`, which is there only meanwhile.

    Args:
        wait: for another process that holds it, after a line on stderr that says so.

    Yields:
        Whether it is held: always, where one waits.
    """
    if fcntl is None:
        yield True  # nothing keeps two processes apart there
        return
    while True:
        with path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    yield False
                    return
                file.seek(0)
                other = file.read() or "?"
                print(f"waiting for process {other}, which writes the same (`kill {other}` ends it)", file=sys.stderr)
                fcntl.flock(file, fcntl.LOCK_EX)
            if not (path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno()))):
                continue  # whoever held it has removed it
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            try:
                yield True
            finally:
                path.unlink()
            return
