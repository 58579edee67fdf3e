import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import processors

ROOT = Path(__file__).resolve().parents[1]

ELSEWHERE = """
import os, sys
sys.modules["fcntl"] = None
del os.sched_getaffinity, os.getuid
from pipeline import cli, locks, processors, runtime
from pipeline.datasets import parallel
from pipeline.geometry import pictorial, ransac
assert processors.num_processors() == os.cpu_count() == parallel.workers()
"""


def test_a_system_that_cannot_say_which_processors_are_ours_has_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 2, 5}, raising=False)
    assert processors.num_processors() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert processors.num_processors() == os.cpu_count()


def test_the_library_starts_where_there_is_no_fcntl_and_no_affinity() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "POSE_WORKERS"}
    subprocess.run([sys.executable, "-c", ELSEWHERE], cwd=ROOT, env=environment, check=True)
