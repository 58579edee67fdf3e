"""The compiler's quick start."""

import subprocess
import sys

from tests.pipeline_graph import ROOT


def test_what_is_hidden_while_the_compiler_starts_is_there_afterwards():
    code = """
import sys
from pipeline.compiled import njit
hidden = ("scipy.linalg", "cffi", "yaml")
assert not [name for name in hidden if name in sys.modules]
import numpy as np, scipy.linalg, yaml
assert scipy.linalg.norm(np.ones(4)) == 2
assert njit(lambda x: 2 * x)(21) == 42
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
