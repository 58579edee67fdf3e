"""The smooth stage through its own command line."""

import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.files.keys import FrameKeys
from pipeline.files.poses import JointStatus, Poses
from pipeline.skeleton import get
from tests.worlds import detected_world
from tests.worlds.detected_world import PARAMS

RATE = 30.0
SETTINGS = {"source": "rpsm", "frames_per_second": RATE, "cutoff_hz": 4.0, "window_s": 0.5, "max_gap_s": 0.0}
SMOOTH = Callable[..., tuple[Poses, dict[str, float]]]


def poses(count: int = 90) -> Poses:
    """Two persons in two sequences; 16 joints swing 200 mm, with 15 mm of noise."""
    number = np.tile(np.arange(count), 2)
    t = number / RATE
    joints = np.zeros((2 * count, 16, 3))
    joints[..., 0] = 200 * np.sin(2 * np.pi * 0.7 * t)[:, None]
    joints[count:, :, 2] = 3000.0
    joints += np.random.default_rng(0).normal(0, 15, joints.shape)
    keys = FrameKeys(
        np.repeat(["s1", "s2"], count), number, np.repeat(["train", "test"], count), np.repeat(["ann", "bob"], count)
    )
    shape = joints.shape[:2]
    inliers = np.ones((2 * count, 4, 16), dtype=bool)
    return Poses(
        keys=keys,
        views=("a", "b", "c", "d"),
        skeleton=get("mpii_16"),
        joints=joints,
        inliers=inliers,
        error_px=np.ones(shape),
        status=np.zeros(shape),
    )


@pytest.fixture
def smooth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SMOOTH:
    def run(given: Poses, **changed: object) -> tuple[Poses, dict[str, float]]:
        params = PARAMS
        for key, value in changed.items():
            head, section = params.split("smooth:", 1)
            lines = [f"  {key}: {value}" if line.startswith(f"  {key}:") else line for line in section.split("\n")]
            params = f"{head}smooth:" + "\n".join(lines)
        (tmp_path / "params.yaml").write_text(params)
        given.write(tmp_path / "poses.h5")
        replace(given, joints=given.joints + 1000).write(tmp_path / "rpsm.h5")
        detected_world.runner(monkeypatch, "smooth")(
            poses=tmp_path / "poses.h5",
            rpsm=tmp_path / "rpsm.h5",
            out=tmp_path / "smooth.h5",
            metrics=tmp_path / "smooth.json",
            params=tmp_path / "params.yaml",
        )
        return Poses.read(tmp_path / "smooth.h5"), json.loads((tmp_path / "smooth.json").read_text())

    return run


def test_none_leaves_all_as_it_is(smooth: SMOOTH, tmp_path: Path) -> None:
    given = poses()
    found, values = smooth(given)
    assert (tmp_path / "smooth.h5").read_bytes() == (tmp_path / "poses.h5").read_bytes()
    assert values == {"coverage": 100.0, "filled": 0.0, "moved_mm_median": 0.0, "moved_mm_p95": 0.0}
    found, _ = smooth(given, source="rpsm")
    np.testing.assert_allclose(found.joints, given.joints + 1000, atol=1e-3)


@pytest.mark.parametrize("method", ["butterworth", "local_polynomial"])
def test_people_and_sequences_do_not_run_into_one_another(smooth: SMOOTH, method: str) -> None:
    given = poses()
    found, values = smooth(given, method=method)
    assert np.abs(found.joints[:90, :, 2]).max() < 60  # mm; the other one is 3000 mm higher
    assert np.abs(found.joints[90:, :, 2] - 3000).max() < 60
    assert np.std(found.joints[:90, :, 2]) < 0.7 * np.std(given.joints[:90, :, 2])
    assert 0 < values["moved_mm_median"] < 40


@pytest.mark.parametrize("method", ["butterworth", "local_polynomial"])
def test_blocks_change_nothing(smooth: SMOOTH, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = poses(300)
    whole, _ = smooth(given, method=method)
    stage = importlib.import_module("stages.smooth")
    blocks = list(stage.blocks(given.keys, stage.Smooth(**SETTINGS, method=method)))
    assert len(blocks) == 2
    monkeypatch.setattr(stage, "_BLOCK", 64)
    config = stage.Smooth(**SETTINGS, method=method)
    for rows, wanted in stage.blocks(given.keys, config):
        joints = stage.smooth(np.round(given.joints[rows], 3), given.keys.number[rows], given.covariance[rows], config)[
            wanted
        ]
        np.testing.assert_allclose(joints, whole.joints[rows[wanted]], atol=2e-3)  # mm


def test_filled_joints_are_known_by_no_view(smooth: SMOOTH) -> None:
    given = poses()
    given.joints[40:43, 2] = np.nan
    given.inliers[40:43, :, 2] = False
    given.status[40:43, 2] = JointStatus.NO_AGREEMENT
    found, values = smooth(given, method="butterworth", max_gap_s=0.3)
    assert np.isfinite(found.joints[40:43, 2]).all()
    assert (found.status[40:43, 2] == JointStatus.KNOWN).all()
    assert not found.inliers[40:43, :, 2].any()
    assert values["filled"] == pytest.approx(100 * 3 / (180 * 16), abs=1e-4)
    found, _ = smooth(given, method="butterworth")
    assert (found.status[40:43, 2] == JointStatus.NO_AGREEMENT).all()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"cutoff_hz": 20, "method": "butterworth"}, "smooth.cutoff_hz: expected at most 12, 0.4 of the frames"),
        ({"window_s": 0}, "smooth.window_s: expected more than 0, got 0.0"),
        ({"max_gap_s": -1}, "smooth.max_gap_s: expected 0 or more, got -1.0"),
        ({"method": "magic"}, "smooth.method: expected one of none, butterworth, local_polynomial, got 'magic'"),
    ],
)
def test_mistakes_are_sentences(
    smooth: SMOOTH, capsys: pytest.CaptureFixture[str], changed: dict, sentence: str
) -> None:
    with pytest.raises(SystemExit):
        smooth(poses(), **changed)
    assert sentence in capsys.readouterr().err
