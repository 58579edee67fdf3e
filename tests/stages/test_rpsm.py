"""The rpsm stage through its own command line."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.files import heatmaps as heatmap_file
from pipeline.files import poses as pose_file
from pipeline.files.heatmaps import Heatmaps, map_blocks
from pipeline.files.poses import JointStatus, Poses
from pipeline.geometry import pictorial
from tests.worlds import detected_world
from tests.worlds.detected_world import PARAMS, DetectedWorld


@pytest.fixture
def detected(tmp_path: Path) -> DetectedWorld:
    return detected_world.build(tmp_path)


@pytest.fixture
def rpsm(detected: DetectedWorld, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Poses, dict, dict]]:
    def run(params: str = PARAMS) -> tuple[Poses, dict, dict]:
        detected.write()
        file = detected.world.root / "params.yaml"
        file.write_text(params)
        data, metrics = detected.world.data("r0"), detected.world.metrics("r0")
        shared = {"heatmaps": data / "heatmaps.h5", "cameras": detected.world.rig, "params": file}
        detected_world.runner(monkeypatch, "triangulate")(
            **shared, out=data / "poses.h5", metrics=metrics / "triangulate.json"
        )
        detected_world.runner(monkeypatch, "rpsm")(
            **shared,
            poses=data / "poses.h5",
            out=data / "rpsm.h5",
            metrics=metrics / "rpsm.json",
            limbs=data / "limbs.json",
        )
        found = Poses.read(data / "rpsm.h5")
        return found, json.loads((metrics / "rpsm.json").read_text()), json.loads((data / "limbs.json").read_text())

    return run


def test_bodies_are_found_in_clean_maps_and_limbs_are_written_down(detected, rpsm):
    found, values, limbs = rpsm()
    assert np.linalg.norm(found.joints - detected.world.joints, axis=-1).mean() < 30  # mm, maps of 32 px
    assert (found.status == JointStatus.KNOWN).all()
    assert values["coverage"] == 100
    assert values["views_mean"] > 3.5
    assert sorted(limbs["people"]) == ["ann", "bob"]
    assert len(limbs["people"]["ann"]) == 15
    left = np.linalg.norm(detected.world.joints[:6, 5] - detected.world.joints[:6, 4], axis=-1)
    right = np.linalg.norm(detected.world.joints[:6, 0] - detected.world.joints[:6, 1], axis=-1)
    shin = limbs["people"]["ann"]["left_knee-left_ankle"]
    assert shin == limbs["people"]["ann"]["right_knee-right_ankle"]
    assert shin["length_mm"] == pytest.approx(np.median([left, right]), abs=0.01)
    assert (shin["measurements"], shin["source"]) == (12, "three views")
    assert "No label was read" in limbs["about"]


def test_a_joint_that_rays_give_up_on_is_found_by_the_body(detected, rpsm):
    detected.keypoints[2, :2, 10] += [[50, 0], [0, 60]]  # two of four views are wrong about a wrist
    detected.scores[2, :2, 10] = 0.5
    found, _, _ = rpsm()
    rays = Poses.read(detected.world.data("r0") / "poses.h5")
    assert np.isnan(rays.joints[2, 10]).all()
    assert np.linalg.norm(found.joints[2, 10] - detected.world.joints[2, 10]) < 60
    assert found.inliers[2, 2:, 10].all()
    assert not found.inliers[2, :2, 10].any()


def test_a_frame_in_which_nobody_is_seen_has_no_pose(detected, rpsm):
    detected.keypoints[3], detected.scores[3] = np.nan, 0
    found, values, _ = rpsm()
    assert (found.status[3] == JointStatus.NO_ROOT).all()
    assert np.isnan(found.joints[3]).all()
    assert values["refused"]["no_root"] == pytest.approx(10)


def test_maps_are_read_in_blocks_and_the_blocks_are_the_whole(detected):
    detected.write()
    path = detected.world.data("r0") / "heatmaps.h5"
    blocks = list(map_blocks(path, frames=4))
    assert [(rows.start, rows.stop) for rows, _ in blocks] == [(0, 4), (4, 8), (8, 10)]
    whole = Heatmaps.read(path).maps(slice(None))
    np.testing.assert_array_equal(np.concatenate([maps for _, maps in blocks]), whole)
    assert whole.max() == pytest.approx(0.9, abs=0.01)


def test_blocks_of_frames_and_torch_change_no_pose(rpsm, monkeypatch):
    plain, values, limbs = rpsm()
    monkeypatch.setattr(pictorial, "_FRAMES_PER_TASK", 3)
    heatmap_blocks, joint_blocks = heatmap_file.blocks, pose_file.joint_blocks
    monkeypatch.setattr(heatmap_file, "blocks", lambda path, _: heatmap_blocks(path, 4))
    monkeypatch.setattr(pose_file, "joint_blocks", lambda path, _=None: joint_blocks(path, 4))
    small, *others = rpsm()
    for name in ("joints", "status", "inliers", "error_px"):
        np.testing.assert_array_equal(getattr(small, name), getattr(plain, name))
    assert others == [values, limbs]

    from pipeline.geometry import pictorial_torch  # torch is slow to import: for this test alone

    on_the_cpu, whole = pictorial_torch.search, pictorial_torch.whole
    monkeypatch.setattr(pictorial_torch, "has_gpu", lambda: True)
    monkeypatch.setattr(pictorial_torch, "search", lambda *given: on_the_cpu(*given, device="cpu"))
    monkeypatch.setattr(pictorial_torch, "whole", lambda *given: whole(*given, device="cpu"))
    torched, *_ = rpsm(PARAMS.replace("  min_heat: 0.01\n", "  min_heat: 0.01\n  device: auto\n"))
    np.testing.assert_allclose(torched.joints, plain.joints, atol=2e-3)  # mm; the file's are rounded to 1e-3
    np.testing.assert_array_equal(torched.status, plain.status)


def test_a_gpu_that_is_asked_for_has_to_be_there(rpsm, capsys, monkeypatch):
    from pipeline.geometry import pictorial_torch

    monkeypatch.setattr(pictorial_torch, "has_gpu", lambda: False)
    with pytest.raises(SystemExit):
        rpsm(PARAMS.replace("  min_heat: 0.01\n", "  min_heat: 0.01\n  device: cuda\n"))
    assert "rpsm.device: cuda was requested, and torch finds no GPU" in capsys.readouterr().err


def test_the_published_variant_can_be_chosen(detected, rpsm):
    detected.keypoints[2, :, 10], detected.scores[2, :, 10] = np.nan, 0  # nobody sees a wrist
    robust, *_ = rpsm()
    assert np.flatnonzero(robust.status[2]).tolist() == [10]
    published, values, _ = rpsm(PARAMS.replace("  min_heat: 0.01\n", "  min_heat: 0.01\n  variant: published\n"))
    assert (published.status[2] == JointStatus.NO_SUPPORT).all()
    assert values["refused"]["no_support"] >= 10


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("cube_mm: 2200.0", "cube_mm: 0"), "rpsm.cube_mm: expected more than 0, got 0.0"),
        (("tolerance_mm: 150.0", "tolerance_mm: -1"), "rpsm.limb_tolerance_mm: expected more than 0, got -1.0"),
        (("coarse_bins: 12", "coarse_bins: 1"), "rpsm.coarse_bins: a grid has two ends, got 1"),
        (("refine_steps: 6", "refine_steps: -1"), "rpsm.refine_steps: expected 0 or more, got -1"),
        (("min_heat: 0.01", "min_heat: .nan"), "rpsm.min_heat: expected a finite number, got nan"),
    ],
)
def test_mistakes_are_sentences(rpsm, capsys, change, sentence):
    with pytest.raises(SystemExit) as stopped:
        rpsm(PARAMS.replace(*change))
    assert stopped.value.code == 1
    assert sentence in capsys.readouterr().err
