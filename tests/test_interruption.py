"""Killed with SIGKILL and run again, a training resumes, and ends with the bytes of an undisturbed one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from pipeline.files import images, samples
from pipeline.skeleton import get
from tests.pipeline_graph import ROOT, read

pytestmark = pytest.mark.slow  # networks are trained

ROWS = 12


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A few random images with random joints, and a short training on them."""
    rng = np.random.default_rng(3)
    skeleton = get("mpii_16")
    side = 64
    samples.write(
        tmp_path / "source.h5",
        skeleton=skeleton,
        key=np.array([f"picture_{row}" for row in range(ROWS)]),
        split=np.array(["train"] * (ROWS - 2) + ["valid"] * 2),
        keypoints=rng.uniform(8, side - 8, (ROWS, len(skeleton), 2)),
        visible=np.ones((ROWS, len(skeleton)), dtype=bool),
        box=np.tile([0.0, 0.0, side, side], (ROWS, 1)),
        head=np.full(ROWS, 10.0),
        crop_from_image=np.tile(np.eye(3)[:2], (ROWS, 1, 1)),
        jpegs=(images.encode(rng.integers(0, 255, (side, side, 3), dtype=np.uint8)) for _ in range(ROWS)),
    )
    values = read("params.yaml")
    values["runtime"]["threads"] = 1
    values["network"].update(input_size=64, width=8, deconv_channels=8)
    values["pretrain"]["batch_size"] = 4
    values["pretrain"]["schedule"]["steps"] = 40
    YAML().dump(values, tmp_path / "params.yaml")
    return tmp_path


RUN = """
import atexit, os, runpy, signal, sys
from pipeline.training import loop

loop.train.__kwdefaults__["checkpoint_every"] = 4
kill_at, count, replace = int(sys.argv.pop(1)), 0, os.replace

def replace_or_die(*paths):
    global count
    if str(paths[1]).endswith((".nbi", ".nbc")):  # numba's own cache, which may be cold
        return replace(*paths)
    count += 1
    if count == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*paths)

os.replace = replace_or_die
atexit.register(lambda: print("files:", count))
runpy.run_module("stages.pretrain", run_name="__main__")
"""
# Every file gets its name by a rename: first 10 checkpoints, then the three outputs.
CHECKPOINTS, OUTPUTS = 10, ("model.pt", "train.json", "training.csv")


def pretrain(workspace: Path, kill_at: int = 0) -> int:
    """Run the stage; with `kill_at`, it is killed right before that rename. How many files it wrote by itself."""
    flags = ["--source", "source.h5", "--out", "model.pt", "--metrics", "train.json", "--curve", "training.csv"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "POSE_DEVICE": "cpu"}
    environment.pop("POSE_SCRATCH", None)
    command = [sys.executable, "-c", RUN, str(kill_at), *flags]
    done = subprocess.run(command, cwd=workspace, env=environment, capture_output=True, text=True, check=False)
    if kill_at:
        assert done.returncode == -signal.SIGKILL, done.stderr
        return kill_at - 1
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split("files:")[1])


def outputs(workspace: Path) -> dict[str, bytes]:
    return {name: (workspace / name).read_bytes() for name in OUTPUTS if (workspace / name).exists()}


def test_a_killed_pretraining_resumes_with_the_same_bytes(workspace: Path) -> None:
    assert pretrain(workspace) == CHECKPOINTS + len(OUTPUTS)
    expected = outputs(workspace)
    for name in expected:
        (workspace / name).unlink()

    pretrain(workspace, kill_at=5)
    assert outputs(workspace) == {}  # nothing half done
    pretrain(workspace, kill_at=CHECKPOINTS - 4 + 2)  # resumed, and killed when one output is there
    assert len(outputs(workspace)) == 1
    for name in outputs(workspace):
        (workspace / name).unlink()  # as DVC does before it runs a stage
    assert pretrain(workspace) == len(OUTPUTS)  # resumed at the end
    assert outputs(workspace) == expected
    assert list(workspace.glob("data/scratch/*")) == []
