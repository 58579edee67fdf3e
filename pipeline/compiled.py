"""`njit`, Numba's compiler, without what these loops never call: a stage of geometry is to start in under a second.

Of the 0.65 s that Numba takes to be ready, 0.2 s are for SciPy's linear algebra (for `np.dot` and
`np.linalg` in compiled code, which is therefore not to be had here), cffi and PyYAML. All three are optional to
Numba, so it is told that they are absent while it sets itself up.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _absent(*names: str) -> Iterator[None]:
    """Imports of modules that nobody has imported yet fail."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is what the import system takes for absent
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
