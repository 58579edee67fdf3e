"""Procrustes: what was turned, moved and stretched is put back."""

import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.geometry.alignment import align

RNG = np.random.default_rng(8)
POSES = RNG.normal(0, 400, (6, 16, 3))
TURNS = Rotation.random(6, rng=np.random.default_rng(1)).as_matrix()
MOVED = 1.3 * POSES @ np.swapaxes(TURNS, -1, -2) + RNG.normal(0, 500, (6, 1, 3))


def test_a_similarity_is_undone():
    np.testing.assert_allclose(align(MOVED, POSES, scale=True), POSES, atol=1e-9)


def test_a_rigid_motion_is_undone_and_size_is_left_alone():
    rigid = MOVED / 1.3
    np.testing.assert_allclose(align(rigid, POSES, scale=False), POSES, atol=1e-9)
    limbs = np.linalg.norm(np.diff(POSES, axis=1), axis=-1)
    grown = align(MOVED, POSES, scale=False)
    np.testing.assert_allclose(np.linalg.norm(np.diff(grown, axis=1), axis=-1), 1.3 * limbs)
    np.testing.assert_allclose(grown.mean(axis=1), POSES.mean(axis=1))


def test_a_mirrored_body_is_not_mirrored_back():
    mirrored = POSES * [-1, 1, 1]
    assert np.linalg.norm(align(mirrored, POSES, scale=True) - POSES, axis=-1).mean() > 100  # mm


def test_scipy_finds_the_same_rotation():
    noisy = MOVED + RNG.normal(0, 50, MOVED.shape)
    ours = align(noisy, POSES, scale=False)
    for k in range(len(POSES)):
        centred = noisy[k] - noisy[k].mean(0)
        rotation, _ = Rotation.align_vectors(POSES[k] - POSES[k].mean(0), centred)
        np.testing.assert_allclose(ours[k], rotation.apply(centred) + POSES[k].mean(0), atol=1e-6)


def test_unknown_joints_are_left_out_of_the_fit_and_moved_all_the_same():
    target, points = POSES.copy(), MOVED.copy()
    target[0, 3] = np.nan
    points[1, 5] = np.nan
    found = align(points, target, scale=True)
    np.testing.assert_allclose(found[0], POSES[0], atol=1e-9)
    assert np.isnan(found[1, 5]).all()
    np.testing.assert_allclose(np.delete(found[1], 5, axis=0), np.delete(POSES[1], 5, axis=0), atol=1e-9)


def test_two_joints_fix_no_motion():
    target = np.full((16, 3), np.nan)
    target[:2] = POSES[0, :2]
    assert np.isnan(align(MOVED[0], target, scale=True)).all()
