"""The study's quick form runs every method; its numbers mean nothing."""

import subprocess
import sys

import pytest

from benchmarks.self_training import METHODS
from tests.pipeline_graph import ROOT


@pytest.mark.slow
def test_the_quick_study_measures_every_method() -> None:
    command = [sys.executable, "-m", "benchmarks.self_training", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = {cells[1].strip(): cells[2:-1] for line in done.stdout.splitlines() if (cells := line.split("|"))[0] == ""}
    assert {f"{method}, r1" for method in METHODS} | {"pretrained, r0"} <= rows.keys()
    columns = [cell.strip() for cell in rows["labels from"]]
    for name, cells in rows.items():
        if name.endswith(("r0", "r1")):
            assert "(" in cells[columns.index("MPJPE mm")], name
    assert rows["oracle, r1"][columns.index("of these right %")].strip() == ""  # made by no model
