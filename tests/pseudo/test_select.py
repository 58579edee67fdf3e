"""Which joints are accepted: by their own triangulation, and by where another method put them."""

from dataclasses import replace

import numpy as np

from pipeline.geometry import agreement, ransac
from pipeline.pseudo import select
from tests.worlds.tiny_world import camera_ring

CAMERAS = camera_ring(4)
JOINTS = np.random.default_rng(2).uniform([-600, -600, 0], [600, 600, 1800], (4, 5, 3))
THRESHOLDS = select.LabelThresholds(
    confidence_threshold=0.3, ransac_inliers=3, reproj_threshold_px=10, min_ray_angle_deg=5, epipolar_threshold_px=None
)


def scene() -> tuple[np.ndarray, np.ndarray]:
    """Four cameras on a ring see five joints exactly and surely."""
    points = agreement.project(JOINTS, CAMERAS)
    return points, np.ones(points.shape[:-1])


def test_both_ways_accept_what_everybody_sees():
    points, scores = scene()
    for selection in (
        select.by_triangulation(points, scores, CAMERAS, THRESHOLDS),
        select.by_reprojection(JOINTS, points, scores, CAMERAS, THRESHOLDS),
    ):
        np.testing.assert_allclose(selection.joints, JOINTS, atol=1e-6)
        assert (selection.status == ransac.KNOWN).all()
        assert selection.agree.all()
        np.testing.assert_allclose(selection.error_px, 0, atol=1e-9)


def test_an_accepted_joint_tells_how_far_off_the_views_are_that_disagree():
    points, scores = scene()
    points[0, 2, 1] += [30, 40]
    for selection in (
        select.by_triangulation(points, scores, CAMERAS, THRESHOLDS),
        select.by_reprojection(JOINTS, points, scores, CAMERAS, THRESHOLDS),
    ):
        np.testing.assert_allclose(selection.error_px[0, :, 1], [0, 0, 50, 0], atol=1e-6)
        assert selection.agree[0, :, 1].tolist() == [True, True, False, True]


def test_a_refused_joint_has_no_position_no_agreement_and_a_status():
    points, scores = scene()
    points[0, :2, 1] += [[30, 40], [-50, 10]]
    joints = JOINTS.copy()
    joints[1, 2] = np.nan
    by_rays = select.by_triangulation(points, scores, CAMERAS, THRESHOLDS)
    by_body = select.by_reprojection(joints, points, scores, CAMERAS, THRESHOLDS)
    assert by_rays.status[0, 1] == by_body.status[0, 1] == ransac.NO_AGREEMENT
    assert by_body.status[1, 2] == select.NO_POSE
    for selection in (by_rays, by_body):
        refused = selection.status != ransac.KNOWN
        assert np.isnan(selection.joints[refused]).all()
        assert np.isnan(np.moveaxis(selection.error_px, 1, -1)[refused]).all()
        assert not np.moveaxis(selection.agree, 1, -1)[refused].any()


def test_a_joint_that_one_view_alone_is_sure_of_is_refused():
    points, scores = scene()
    scores[2, 1:, 3] = 0.1
    for selection in (
        select.by_triangulation(points, scores, CAMERAS, THRESHOLDS),
        select.by_reprojection(JOINTS, points, scores, CAMERAS, THRESHOLDS),
    ):
        assert np.argwhere(selection.status != ransac.KNOWN).tolist() == [[2, 3]]
        assert selection.status[2, 3] == ransac.TOO_FEW_VIEWS


def test_the_epipolar_gate_takes_a_views_say_not_its_agreement():
    points, scores = scene()
    points[0, 3, 0] += [0, 8]  # within 10 px of the joint, 5 px or more off the others' epipolar lines
    gated = replace(THRESHOLDS, epipolar_threshold_px=4.0)
    for selection in (
        select.by_triangulation(points, scores, CAMERAS, gated),
        select.by_reprojection(JOINTS, points, scores, CAMERAS, gated),
    ):
        assert selection.agree[0, :, 0].all()
    two = points.copy()
    two[:, 2:] = np.nan  # one pair is left, and it contradicts itself
    two[0, 0, 0] += [0, 60]
    selection = select.by_triangulation(two, scores, CAMERAS, replace(gated, ransac_inliers=2, reproj_threshold_px=100))
    assert selection.status[0, 0] == ransac.TOO_FEW_VIEWS
    assert (selection.status[1:] == ransac.KNOWN).all()
