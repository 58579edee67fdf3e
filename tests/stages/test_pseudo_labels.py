"""The pseudo_labels stage through its own command line: who becomes a label, who does not, and why."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from pipeline.files import frames as frames_file
from pipeline.files.frames import Frames
from pipeline.files.labels import Labels, Reason
from pipeline.files.poses import Poses
from pipeline.geometry import agreement
from tests.worlds import detected_world
from tests.worlds.detected_world import PARAMS, DetectedWorld

TRAIN = slice(0, 6)
Run = Callable[..., tuple[Labels, dict]]


@pytest.fixture
def detected(tmp_path: Path) -> DetectedWorld:
    return detected_world.build(tmp_path)


@pytest.fixture
def label(detected: DetectedWorld, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Make r1's labels; keyword arguments change the section `pseudo`, `override` is the round's own."""

    def run(round: str = "r1", override: dict | None = None, **changed: object) -> tuple[Labels, dict]:
        detected.write()
        yaml = YAML(typ="safe")
        values = yaml.load(PARAMS)
        values["pseudo"].update(changed)
        if override is not None:
            values["rounds"]["r1"]["pseudo"] = override
        file = detected.world.root / "params.yaml"
        yaml.dump(values, file)
        teacher, student = detected.world.data("r0"), detected.world.data("r1")
        metrics = detected.world.metrics("r1") / "pseudo_labels.json"
        detected_world.runner(monkeypatch, "pseudo_labels")(
            heatmaps=teacher / "heatmaps.h5",
            poses=teacher / "poses.h5",
            rpsm=teacher / "rpsm.h5",
            smooth=teacher / "smooth.h5",
            cameras=detected.world.rig,
            frames=detected.world.frames,
            out=student / "labels.h5",
            metrics=metrics,
            round=round,
            params=file,
        )
        return Labels.read(student / "labels.h5"), json.loads(metrics.read_text())

    return run


def clean(detected: DetectedWorld) -> np.ndarray:
    """(6, views, joints, 2) px, where the train split's joints really are."""
    return agreement.project(detected.world.joints, detected.world.cameras)[TRAIN]


def set_teacher(detected: DetectedWorld, name: str, joints: np.ndarray) -> None:
    """Let the teacher's poses be these."""
    old = Poses.read(detected.world.data("r0") / name)
    replace(old, joints=joints).write(detected.world.data("r0") / name)


def test_what_all_views_agree_on_is_a_label_in_the_train_split_and_nowhere_else(detected, label):
    labels, values = label()
    np.testing.assert_allclose(labels.keypoints[TRAIN], clean(detected), atol=1e-3)  # px
    assert (labels.weights[TRAIN] == 1).all()
    assert (labels.reason[TRAIN] == Reason.ACCEPTED).all()
    assert (labels.reason[6:] == Reason.TEST_SPLIT).all()
    assert np.isnan(labels.keypoints[6:]).all()
    assert not labels.weights[6:].any()
    np.testing.assert_array_equal(labels.person_box, np.round(Frames.read(detected.world.frames).box, 4))
    assert values["frames"] == 6
    assert values["labels"] == 6 * 4 * 16
    assert values["coverage"] == 100
    assert values["labelled_views"]["4"] == 100
    assert values["by_joint"]["left_wrist"] == 100


def test_the_view_that_is_wrong_is_taught_by_the_three_that_are_right(detected, label):
    detected.keypoints[0, 1, 5] += [70, 0]
    labels, _ = label()
    np.testing.assert_allclose(labels.keypoints[TRAIN], clean(detected), atol=1e-3)
    labels, _ = label(label_outlier_views=False)
    assert labels.reason[0, 1, 5] == Reason.OUTLIER_VIEW
    assert (labels.reason[TRAIN] == Reason.ACCEPTED).sum() == 6 * 4 * 16 - 1


def test_without_reprojection_the_agreeing_views_keep_their_own_peaks(detected, label):
    rng = np.random.default_rng(0)
    detected.keypoints[:] += rng.normal(0, 1, detected.keypoints.shape)
    detected.keypoints[0, 1, 5] += [70, 0]
    labels, _ = label(use_reprojection=False)
    assert labels.reason[0, 1, 5] == Reason.OUTLIER_VIEW
    accepted = labels.reason[TRAIN] == Reason.ACCEPTED
    np.testing.assert_allclose(labels.keypoints[TRAIN][accepted], detected.keypoints[TRAIN][accepted], atol=1e-3)
    assert np.isnan(labels.keypoints[0, 1, 5]).all()


def test_every_refusal_has_its_reason(detected, label):
    detected.keypoints[0, :2, 5] += [[50, 0], [0, 60]]
    detected.scores[1, 1:, 6] = 0.1
    detected.keypoints[2, :, 7] = np.nan
    labels, values = label()
    assert (labels.reason[0, :, 5] == Reason.TOO_FEW_INLIERS).all()
    assert (labels.reason[1, :, 6] == Reason.LOW_CONFIDENCE).all()
    assert (labels.reason[2, :, 7] == Reason.LOW_CONFIDENCE).all()
    assert (labels.reason[TRAIN] == Reason.ACCEPTED).sum() == 6 * 64 - 12
    refused = labels.reason != Reason.ACCEPTED
    assert np.isnan(labels.keypoints[refused]).all()
    assert not labels.weights[refused].any()
    assert values["refused"]["too_few_inliers"] == pytest.approx(100 * 4 / 384, abs=1e-3)
    assert values["refused"]["low_confidence"] == pytest.approx(100 * 8 / 384, abs=1e-3)
    assert values["coverage"] == pytest.approx(100 * 372 / 384, abs=1e-3)
    assert values["labelled_views"]["0"] == pytest.approx(100 * 3 / 96, abs=1e-3)


def test_a_view_without_a_picture_is_never_labelled(detected, label):
    old = Frames.read(detected.world.frames)
    jpegs = [
        b"" if (frame, view) == (2, 3) else old.jpeg[old.jpeg_start[row] : old.jpeg_start[row + 1]].tobytes()
        for row, (frame, view) in enumerate(np.ndindex(len(old), 4))
    ]
    frames_file.write(
        detected.world.frames,
        keys=old.keys,
        views=old.views,
        box=old.box,
        crop_from_image=old.crop_from_image,
        jpegs=jpegs,
    )
    labels, values = label()
    assert (labels.reason[2, 3] == Reason.VIEW_MISSING).all()
    assert (labels.reason[2, :3] == Reason.ACCEPTED).all()
    assert values["coverage"] == 100  # of what can be labelled


def test_a_joint_outside_of_a_picture_is_no_label_there(detected, label):
    beyond = detected.world.joints[0, 0] + [0, 0, -1500]  # under the floor, and under the images
    detected.keypoints[0, :, 0] = agreement.project(beyond[None], detected.world.cameras)[:, 0]
    below = detected.keypoints[0, :, 0, 1] > 511.5
    assert below.any()
    labels, _ = label()
    np.testing.assert_array_equal(labels.reason[0, :, 0] == Reason.OUTSIDE, below)


def test_without_ransac_the_confident_peaks_themselves_are_the_labels(detected, label):
    detected.keypoints[0, :2, 5] += [[50, 0], [0, 60]]
    detected.scores[1, 1:, 6] = 0.1
    labels, values = label(ransac=False)
    assert (labels.reason[1, 1:, 6] == Reason.LOW_CONFIDENCE).all()
    assert (labels.reason[TRAIN] == Reason.ACCEPTED).sum() == 6 * 64 - 3
    np.testing.assert_allclose(labels.keypoints[0, :, 5], detected.keypoints[0, :, 5], atol=1e-3)
    assert "reproj_px_median" not in values
    labels, _ = label(ransac=False, confidence_threshold=0.0)
    assert (labels.reason[TRAIN] == Reason.ACCEPTED).all()


def test_a_threshold_that_nothing_exceeds_labels_every_joint_that_can_be_triangulated(detected, label):
    detected.keypoints[:] += np.random.default_rng(0).normal(0, 25, detected.keypoints.shape)
    detected.keypoints[0, 2:, 3] = np.nan
    labels, _ = label(ransac_inliers=2, reproj_threshold_px=1e9, min_ray_angle_deg=0.0)
    refused = labels.reason[TRAIN] != Reason.ACCEPTED
    assert (labels.reason[TRAIN][refused] == Reason.OUTSIDE).all()
    assert refused.mean() < 0.02


def test_the_epipolar_gate_keeps_a_view_that_contradicts_the_others_from_proposing(detected, label):
    detected.keypoints[0, 0, 4] += [0, 200]
    detected.keypoints[0, 3, 4] = np.nan
    labels, _ = label(ransac_inliers=2)
    plain = labels.keypoints[0, :, 4]
    np.testing.assert_allclose(plain, clean(detected)[0, :, 4], atol=1e-3)
    detected.keypoints[0, 2, 4] += [0, 200]  # now any two of the three may be right
    labels, _ = label(ransac_inliers=2, epipolar_threshold_px=5.0)
    assert (labels.reason[0, :, 4] == Reason.LOW_CONFIDENCE).all()
    assert (labels.reason[1:6] == Reason.ACCEPTED).all()


def test_the_published_rule_keeps_the_views_of_a_pair_and_tests_no_mean_error(detected, label):
    detected.keypoints[0, 1, 5] += [70, 0]
    detected.keypoints[1, :2, 5] += [[50, 0], [0, 60]]
    detected.keypoints[2:6] += np.random.default_rng(0).normal(0, 4, detected.keypoints[2:6].shape)
    labels, _ = label(rule="published", min_ray_angle_deg=0.0)
    np.testing.assert_allclose(labels.keypoints[0], clean(detected)[0], atol=1e-3)
    assert (labels.reason[1, :, 5] == Reason.TOO_FEW_INLIERS).all()
    assert not (labels.reason == Reason.REPROJECTION).any()
    published = labels.keypoints[2:6]
    refitted = label()[0].keypoints[2:6]
    both = np.isfinite(published) & np.isfinite(refitted)
    assert 0.01 < np.median(np.abs(published - refitted)[both]) < 2  # px


def test_rpsm_joints_are_labels_where_enough_views_saw_them_there(detected, label):
    joints = detected.world.joints.copy()
    joints[0, 3] += [200, 0, 0]  # nobody saw it there
    joints[1, 4] = np.nan
    set_teacher(detected, "rpsm.h5", joints)
    detected.keypoints[2, :2, 5] += 60  # two still agree
    labels, _ = label(source="rpsm", ransac_inliers=2)
    assert (labels.reason[0, :, 3] == Reason.TOO_FEW_INLIERS).all()
    assert (labels.reason[1, :, 4] == Reason.NO_POSE).all()
    assert (labels.reason[TRAIN] == Reason.ACCEPTED).sum() == 6 * 64 - 8
    accepted = labels.reason[TRAIN] == Reason.ACCEPTED
    np.testing.assert_allclose(labels.keypoints[TRAIN][accepted], clean(detected)[accepted], atol=1e-3)
    labels, _ = label(source="rpsm", ransac_inliers=3)
    assert (labels.reason[2, :, 5] == Reason.TOO_FEW_INLIERS).all()


def test_labels_may_come_from_smoothed_poses(detected, label):
    shifted = detected.world.joints + [0, 0, 2]  # mm
    old = Poses.read(detected.world.data("r0") / "rpsm.h5")
    replace(old, joints=shifted).write(detected.world.data("r0") / "smooth.h5")
    labels, _ = label(source="smooth")
    there = agreement.project(shifted, detected.world.cameras)[TRAIN]
    accepted = labels.reason[TRAIN] == Reason.ACCEPTED
    assert accepted.mean() > 0.9
    np.testing.assert_allclose(labels.keypoints[TRAIN][accepted], there[accepted], atol=1e-3)


def test_agreeing_views_that_look_the_same_way_are_refused(detected, label):
    set_teacher(detected, "rpsm.h5", detected.world.joints)
    for source in ("triangulation", "rpsm"):
        labels, _ = label(source=source, min_ray_angle_deg=89.9)
        refused = labels.reason[TRAIN] == Reason.RAY_ANGLE
        assert 0 < refused.mean() < 1
        assert (refused.all(axis=1) == refused.any(axis=1)).all()  # in all views or in none


def test_weights_by_agreement_are_the_share_of_the_rig_that_stands_behind_a_joint(detected, label):
    detected.keypoints[0, 1, 5] += [70, 0]
    detected.keypoints[1, 2, 6] = np.nan
    labels, _ = label(weighting="agreement")
    np.testing.assert_allclose(labels.weights[0, :, 5], 0.75, atol=1e-4)
    np.testing.assert_allclose(labels.weights[1, :, 6], 1, atol=1e-4)  # the three that saw it agree


def test_boxes_go_around_the_teachers_poses_in_both_splits(detected, label):
    joints = detected.world.joints.copy()
    joints[3] = np.nan
    joints[4, 2] += 5000  # a joint gone astray makes no box larger
    set_teacher(detected, "poses.h5", joints)
    labels, _ = label(boxes="poses", box_margin=0.5)
    prepared = Frames.read(detected.world.frames).box
    np.testing.assert_allclose(labels.person_box[3], prepared[3], atol=1e-3)
    shown = agreement.project(detected.world.joints, detected.world.cameras)
    low, high = shown.min(axis=2), shown.max(axis=2)
    for frame in (0, 4, 8):  # the last one is of the test split
        sides = labels.person_box[frame, :, 2:] - labels.person_box[frame, :, :2]
        np.testing.assert_allclose(sides, 1.5 * (high - low)[frame], rtol=0.02, atol=3)
        centre = (labels.person_box[frame, :, 2:] + labels.person_box[frame, :, :2]) / 2
        np.testing.assert_allclose(centre, (low + high)[frame] / 2, atol=4)


def test_a_round_may_have_settings_of_its_own(detected, label):
    detected.keypoints[0, 1, 5] += [70, 0]
    labels, _ = label(override={"ransac_inliers": 4})
    assert (labels.reason[0, :, 5] == Reason.TOO_FEW_INLIERS).all()


def test_the_same_detections_give_the_same_bytes(detected, label):
    label()
    path = detected.world.data("r1") / "labels.h5"
    first = path.read_bytes()
    label()
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"ransac_inliers": 5}, "pseudo.ransac_inliers: 5 views can never agree where there are 4"),
        ({"ransac_inliers": 1}, "pseudo.ransac_inliers: one view cannot agree with itself, got 1"),
        ({"reproj_threshold_px": -10.0}, "pseudo.reproj_threshold_px: expected more than 0 px, got -10.0"),
        ({"epipolar_threshold_px": 0}, "pseudo.epipolar_threshold_px: expected more than 0 px, or null, got 0.0"),
        ({"confidence_threshold": -0.1}, "pseudo.confidence_threshold: expected 0 or more and less than 1, got -0.1"),
        ({"min_ray_angle_deg": 90}, "pseudo.min_ray_angle_deg: expected 0 or more and less than 90, got 90.0"),
        ({"box_margin": -1}, "pseudo.box_margin: expected 0 or more, got -1.0"),
        ({"source": "dlt"}, "pseudo.source: expected one of triangulation, rpsm, smooth, got 'dlt'"),
        (
            {"rule": "published", "source": "rpsm"},
            "pseudo.rule: the published rule triangulates, so pseudo.source must be",
        ),
        ({"inliers": 3}, "pseudo.inliers: no such parameter"),
        ({"override": {"inliers": 3}}, "rounds.r1.pseudo.inliers: no such parameter"),
        (
            {"override": {"weighting": "soft"}},
            "rounds.r1.pseudo.weighting: expected one of hard, agreement, got 'soft'",
        ),
        ({"round": "r7"}, "rounds has no 'r7'; it has r1"),
    ],
)
def test_mistakes_are_sentences(label, capsys, changed, sentence):
    with pytest.raises(SystemExit) as stopped:
        label(**changed)
    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_poses_of_other_frames_are_refused(detected, label, capsys):
    old = Poses.read(detected.world.data("r0") / "poses.h5")
    rows = np.arange(9)
    few = Poses(
        keys=old.keys.take(rows),
        views=old.views,
        skeleton=old.skeleton,
        joints=old.joints[:9],
        inliers=old.inliers[:9],
        error_px=old.error_px[:9],
        status=old.status[:9],
    )
    few.write(detected.world.data("r0") / "poses.h5")
    with pytest.raises(SystemExit):
        label()
    assert "speaks of other frames (9 against 10)" in capsys.readouterr().err
