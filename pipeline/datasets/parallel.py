"""Many images on all cores, results in the order of the inputs. Decoding and encoding release Python's lock."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import cv2

from pipeline.processors import num_processors

Item = TypeVar("Item")
Result = TypeVar("Result")


def workers() -> int:
    """How many threads: `POSE_WORKERS`, or the cores that this process may use. It changes no byte of any output."""
    asked = os.environ.get("POSE_WORKERS", "")
    if asked:
        if not asked.isdecimal() or int(asked) < 1:
            raise ValueError(f"POSE_WORKERS: expected a whole number from 1, got '{asked}'")
        return int(asked)
    return num_processors()


def in_order(function: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None) -> Iterator[Result]:
    """Return `map(function, items)` from several threads; few items are in flight, so memory does not grow."""
    cv2.setNumThreads(1)  # one image per core, not one image on all cores
    threads = threads or workers()
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= 4 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
