"""The published label rule against a plain version of its own: loops over frames, joints and pairs, with OpenCV's lenses."""

from dataclasses import replace
from itertools import combinations

import cv2
import numpy as np
import pytest

from pipeline.geometry import agreement, ransac
from pipeline.geometry.camera import Camera
from pipeline.pseudo import select
from tests.worlds.tiny_world import camera_ring

CAMERAS = camera_ring(4)
PUBLISHED = select.LabelThresholds(
    confidence_threshold=0.7, ransac_inliers=3, reproj_threshold_px=10, min_ray_angle_deg=0, epipolar_threshold_px=None
)


def detections(frames: int, seed: int = 0, noise_px: float = 3.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joints (frames, 16, 3) mm, keypoints with noise of which a fifth are 60 px off, and scores around 0.83."""
    rng = np.random.default_rng(seed)
    joints = rng.uniform([-600, -600, 0], [600, 600, 1800], (frames, 16, 3))
    keypoints = agreement.project(joints, CAMERAS) + rng.normal(0, noise_px, (frames, 4, 16, 2))
    angle = rng.uniform(0, 2 * np.pi, keypoints.shape[:-1])
    wrong = rng.random(angle.shape) < 0.2
    keypoints += np.where(wrong, 60, 0)[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return joints, keypoints, rng.normal(0.83, 0.12, angle.shape)


def dlt(cameras: list[Camera], keypoints: list[np.ndarray]) -> np.ndarray:
    """Return the world mm of one point: OpenCV's undistortion, one matrix, its last right singular vector."""
    rows = []
    for camera, keypoint in zip(cameras, keypoints, strict=True):
        criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-13)
        x, y = cv2.undistortPoints(
            keypoint[None, None], camera.K, camera.distortion, P=camera.K, criteria=criteria
        ).ravel()
        P = camera.K @ np.hstack([camera.R, -camera.R @ camera.centre[:, None]])
        rows += [x * P[2] - P[0], y * P[2] - P[1]]
    vector = np.linalg.svd(np.array(rows))[2][-1]
    return vector[:3] / vector[3]


def project(camera: Camera, joint: np.ndarray) -> np.ndarray:
    t = -camera.R @ camera.centre
    return cv2.projectPoints(joint[None], cv2.Rodrigues(camera.R)[0], t, camera.K, camera.distortion)[0].ravel()


def plain_rule(keypoints: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the joint, NaN if refused, and the agreeing views of the keypoints (views, 2) px of one joint."""
    best, best_number, best_error = np.zeros(4, dtype=bool), 0, np.inf
    for a, b in combinations(np.flatnonzero(scores > 0.7).tolist(), 2):
        joint = dlt([CAMERAS[a], CAMERAS[b]], [keypoints[a], keypoints[b]])
        errors = np.array([np.linalg.norm(project(CAMERAS[view], joint) - keypoints[view]) for view in range(4)])
        inside = errors < 10
        if inside.sum() < 3:
            continue
        error = errors[inside].mean()
        if inside.sum() > best_number or (inside.sum() == best_number and error < best_error):
            best, best_number, best_error = inside, int(inside.sum()), error
    if not best_number:
        return np.full(3, np.nan), best
    views = np.flatnonzero(best).tolist()
    return dlt([CAMERAS[view] for view in views], [keypoints[view] for view in views]), best


def test_it_is_the_published_rule():
    joints, keypoints, scores = detections(8)
    selection = select.by_published_rule(keypoints, scores, CAMERAS, PUBLISHED)
    for frame, joint in np.ndindex(8, 16):
        expected, views = plain_rule(keypoints[frame, :, joint], scores[frame, :, joint])
        assert selection.agree[frame, :, joint].tolist() == views.tolist()
        np.testing.assert_allclose(selection.joints[frame, joint], expected, atol=0.01)  # mm
    refused = np.isnan(selection.joints).any(axis=-1)
    assert 0.1 < refused.mean() < 0.4
    assert set(selection.status[refused].tolist()) == {ransac.TOO_FEW_VIEWS, ransac.NO_AGREEMENT}
    assert np.linalg.norm(selection.joints - joints, axis=-1)[~refused].mean() < 25  # mm


@pytest.mark.parametrize(
    ("noise_px", "same_decision", "same_views"), [(3.0, 99.9, 99.3), (5.0, 99.2, 97.3), (8.0, 97.9, 96.4)]
)
def test_the_default_rule_decides_nearly_the_same(noise_px, same_decision, same_views):
    """Percent of the joints that both rules accept or both refuse, and percent with equal views: docs/guides/published.md."""
    joints, keypoints, scores = detections(500, seed=3, noise_px=noise_px)
    published = select.by_published_rule(keypoints, scores, CAMERAS, PUBLISHED)
    default = select.by_triangulation(keypoints, scores, CAMERAS, replace(PUBLISHED, min_ray_angle_deg=5))
    accepted = [each.status == ransac.KNOWN for each in (published, default)]
    assert 100 * (accepted[0] == accepted[1]).mean() == pytest.approx(same_decision, abs=0.1)
    assert 100 * (published.agree == default.agree).all(axis=1).mean() == pytest.approx(same_views, abs=0.1)
    truth = agreement.project(joints, CAMERAS)
    errors = [np.linalg.norm(agreement.project(each.joints, CAMERAS) - truth, axis=-1) for each in (published, default)]
    assert np.nanmedian(errors[1]) < np.nanmedian(errors[0])  # px: the refit is the better position
    assert np.nanmedian(errors[0]) < 0.9 * noise_px


@pytest.mark.parametrize("frames", [0, 3])
def test_blocks_of_frames_change_nothing(frames, monkeypatch):
    _, keypoints, scores = detections(3)
    whole = select.by_published_rule(keypoints[:frames], scores[:frames], CAMERAS, PUBLISHED)
    monkeypatch.setattr(select, "_BLOCK", 2)
    parts = select.by_published_rule(keypoints[:frames], scores[:frames], CAMERAS, PUBLISHED)
    np.testing.assert_array_equal(parts.joints, whole.joints)
    np.testing.assert_array_equal(parts.agree, whole.agree)


def test_rays_that_are_nearly_parallel_are_refused_if_configured():
    _, keypoints, scores = detections(3)
    wide = replace(PUBLISHED, min_ray_angle_deg=89.9)
    selection = select.by_published_rule(keypoints, np.ones_like(scores), CAMERAS, wide)
    assert (selection.status == ransac.RAYS_PARALLEL).any()
    assert np.isnan(selection.joints[selection.status == ransac.RAYS_PARALLEL]).all()
