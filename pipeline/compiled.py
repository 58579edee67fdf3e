"""`njit`, Numba's compiler, without unused parts of Numba, so that a geometry stage starts in under a second.

Of the 0.65 s that Numba takes to be ready, 0.2 s are for SciPy's linear algebra (for `np.dot` and
`np.linalg` in compiled code, which are therefore unavailable here), cffi and PyYAML. All three are optional to
Numba, so they are hidden from it during its import.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _absent(*names: str) -> Iterator[None]:
    """Let imports of modules that are not imported yet fail."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # the import system takes None for absent
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with _absent("scipy.linalg", "cffi", "yaml"):
    from numba import njit
    from numba.core.registry import cpu_target

    cpu_target.target_context.refresh()  # what the first call would do

__all__ = ["njit"]
