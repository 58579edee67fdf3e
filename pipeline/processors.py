"""The number of processors, asked in one place."""

import os


def num_processors() -> int:
    """Return how many processors this process may use, on systems that restrict them; else how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
