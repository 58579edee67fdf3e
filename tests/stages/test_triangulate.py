"""The triangulate stage through its own command line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.files import heatmaps
from pipeline.files.cameras import write_cameras, write_rigs
from pipeline.files.poses import JointStatus, Poses
from pipeline.geometry import agreement
from tests.worlds import detected_world
from tests.worlds.detected_world import PARAMS, DetectedWorld


@pytest.fixture
def detected(tmp_path: Path) -> DetectedWorld:
    return detected_world.build(tmp_path)


@pytest.fixture
def triangulate(detected: DetectedWorld, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Poses, dict]]:
    def run(params: str = PARAMS, write: bool = True) -> tuple[Poses, dict]:
        if write:
            detected.write()
        file = detected.world.root / "params.yaml"
        file.write_text(params)
        data, metrics = detected.world.data("r0"), detected.world.metrics("r0") / "triangulate.json"
        detected_world.runner(monkeypatch, "triangulate")(
            heatmaps=data / "heatmaps.h5",
            cameras=detected.world.rig,
            out=data / "poses.h5",
            metrics=metrics,
            params=file,
        )
        return Poses.read(data / "poses.h5"), json.loads(metrics.read_text())

    return run


def test_what_every_view_sees_is_where_it_was(detected, triangulate):
    poses, values = triangulate()
    np.testing.assert_allclose(poses.joints, detected.world.joints, atol=1e-3)  # mm
    assert values["coverage"] == 100
    assert values["views_mean"] == 4
    assert values["reproj_px_median"] == 0
    assert set(values["refused"].values()) == {0}
    assert poses.views == ("cam01", "cam02", "cam03", "cam04")


def test_a_joint_that_two_views_miss_is_refused_and_says_why(detected, triangulate):
    detected.keypoints[0, :2, 5] += [[50, 0], [0, 60]]
    detected.keypoints[1, 1:, 5] = np.nan
    poses, values = triangulate()
    assert poses.status[0, 5] == JointStatus.NO_AGREEMENT
    assert poses.status[1, 5] == JointStatus.TOO_FEW_VIEWS
    assert np.isnan(poses.joints[[0, 1], 5]).all()
    assert poses.valid.sum() == 10 * 16 - 2
    assert values["refused"]["no_agreement"] == pytest.approx(100 / 160)
    assert values["coverage"] == pytest.approx(100 * 158 / 160)


def test_views_find_their_cameras_by_name(detected, triangulate):
    write_cameras(detected.world.rig, detected.world.cameras[::-1])
    poses, _ = triangulate()
    np.testing.assert_allclose(poses.joints, detected.world.joints, atol=1e-3)


def test_each_joint_says_how_far_off_it_may_be(detected, triangulate):
    rng = np.random.default_rng(0)
    detected.keypoints[:] += rng.normal(0, 2, detected.keypoints.shape)
    detected.keypoints[0, 1:, 5] = np.nan
    poses, values = triangulate()
    np.testing.assert_array_equal(np.isfinite(poses.spread_mm), poses.valid)
    off = np.linalg.norm(poses.joints - detected.world.joints, axis=-1)[poses.valid]
    predicted = poses.spread_mm[poses.valid]
    assert np.sqrt((off**2).mean()) == pytest.approx(np.sqrt((predicted**2).mean()), rel=0.2)
    assert values["spread_mm_median"] == pytest.approx(np.median(predicted), rel=1e-3)


def test_blocks_of_frames_change_nothing_but_the_memory(detected, triangulate, monkeypatch):
    detected.keypoints[:] += np.random.default_rng(0).normal(0, 2, detected.keypoints.shape)
    triangulate()
    path = detected.world.data("r0") / "poses.h5"
    whole = path.read_bytes()
    monkeypatch.setattr(heatmaps.keypoint_blocks, "__defaults__", (3,))
    triangulate()
    assert path.read_bytes() == whole


def test_a_rig_that_was_calibrated_anew_has_cameras_by_sequence(detected, triangulate):
    world = detected.world
    moved = tuple(replace(camera, centre=camera.centre + [300, -200, 100]) for camera in world.cameras)
    later = world.keys.sequence == "s2"
    detected.keypoints[later] = agreement.project(world.joints[later], moved)
    detected.write()
    write_rigs(world.rig, {"s1": world.cameras, "s2": moved})
    poses, values = triangulate(write=False)
    np.testing.assert_allclose(poses.joints, world.joints, atol=1e-3)
    assert values["coverage"] == 100


def test_hubers_loss_listens_less_to_a_view_that_is_somewhat_off(detected, triangulate):
    detected.keypoints[:, 2] += [6, 0]
    plain, _ = triangulate()
    robust, _ = triangulate(PARAMS.replace("refine: none\n  huber_px: 5.0", "refine: huber\n  huber_px: 0.5"))
    off = [np.linalg.norm(poses.joints - detected.world.joints, axis=-1).mean() for poses in (plain, robust)]
    assert off[1] < 0.5 * off[0]


def test_the_published_dlt_takes_every_view_and_refuses_no_joint(detected, triangulate):
    detected.keypoints[0, :2, 5] += [[50, 0], [0, 60]]  # which RANSAC refuses
    detected.scores[1, :, 6] = 0.01
    detected.keypoints[2, 1:, 7] = np.nan
    poses, values = triangulate(PARAMS.replace("refine: none", "method: dlt\n  refine: none"))
    assert poses.status[2, 7] == JointStatus.TOO_FEW_VIEWS
    assert poses.valid.sum() == 10 * 16 - 1
    assert values["coverage"] == pytest.approx(100 * 159 / 160)
    assert values["views_mean"] == 4
    off = np.linalg.norm(poses.joints - detected.world.joints, axis=-1)
    assert off[0, 5] > 50  # mm
    off[0, 5] = off[2, 7] = 0
    assert off.max() < 0.01
    assert poses.error_px[0, 5] > 10


def test_the_published_dlt_of_keypoints_that_meet_nowhere_spoils_no_other_joint(detected, triangulate):
    detected.keypoints[:] += np.random.default_rng(0).normal(0, 2, detected.keypoints.shape)
    detected.keypoints[0, :, 5] = [[10, 500], [500, 500], [10, 10], [500, 10]]
    detected.keypoints[1, :, 5] = [[500, 10], [10, 10], [500, 500], [10, 500]]
    poses, _ = triangulate(PARAMS.replace("refine: none", "method: dlt\n  refine: none"))
    assert poses.valid.all()
    shown = np.isfinite(agreement.project(poses.joints, detected.world.cameras)).all(axis=-1)
    assert not shown.all()  # behind a camera, or where its lens shows nothing
    np.testing.assert_array_equal(poses.inliers, shown)
    assert np.isfinite(poses.spread_mm).sum() >= 10 * 16 - 2


def test_the_same_detections_give_the_same_bytes(detected, triangulate):
    detected.keypoints[:] += np.random.default_rng(0).normal(0, 2, detected.keypoints.shape)
    triangulate()
    path = detected.world.data("r0") / "poses.h5"
    first = path.read_bytes()
    triangulate()
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("min_inliers: 3", "min_inliers: 5"), "triangulate.min_inliers: 5 views can never agree where there are 4"),
        (("min_inliers: 3", "min_inliers: 1"), "triangulate.min_inliers: one ray makes no point, got 1"),
        (("px: 10.0", "px: -1.0"), "triangulate.reproj_threshold_px: expected more than 0 px, got -1.0"),
        (("threshold: 0.3", "threshold: 1.0"), "triangulate.confidence_threshold: expected 0 or more"),
        (("angle_deg: 5.0", "angle_deg: 90.0"), "triangulate.min_ray_angle_deg: expected 0 or more"),
        (("huber_px: 5.0", "huber_px: 0"), "triangulate.huber_px: expected more than 0 px, got 0.0"),
        (("refine: none", "refine: cauchy"), "triangulate.refine: expected one of none, huber, got 'cauchy'"),
        (("refine: none", "method: svd\n  refine: none"), "triangulate.method: expected one of ransac, dlt, got 'svd'"),
        (("min_inliers: 3", "inliers: 3"), "triangulate.inliers: no such parameter"),
    ],
)
def test_mistakes_are_sentences_and_leave_the_earlier_poses_alone(detected, triangulate, capsys, change, sentence):
    triangulate()
    path = detected.world.data("r0") / "poses.h5"
    before = path.read_bytes()
    with pytest.raises(SystemExit) as stopped:
        triangulate(PARAMS.replace(change[0], change[1], 1))
    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert path.read_bytes() == before


def test_one_view_is_refused(tmp_path, monkeypatch, capsys):
    lonely = detected_world.build(tmp_path, views=1)
    lonely.write()
    (tmp_path / "params.yaml").write_text(PARAMS)
    with pytest.raises(SystemExit):
        detected_world.runner(monkeypatch, "triangulate")(
            heatmaps=lonely.world.data("r0") / "heatmaps.h5",
            cameras=lonely.world.rig,
            out=tmp_path / "poses.h5",
            metrics=tmp_path / "m.json",
            params=tmp_path / "params.yaml",
        )
    assert "expected at least two views to triangulate from, got 1" in capsys.readouterr().err


def test_a_calibration_without_one_of_the_cameras_is_refused(detected, triangulate, capsys):
    write_cameras(detected.world.rig, detected.world.cameras[1:])
    with pytest.raises(SystemExit):
        triangulate()
    assert "no camera is called 'cam01'; the calibration has cam02, cam03, cam04" in capsys.readouterr().err
