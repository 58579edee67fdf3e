"""Four cameras record one person; each image is cut, rotated and mirrored in its own way."""

import cv2
import numpy as np
import pytest
import torch

from pipeline import crops
from pipeline.geometry import epipolar
from pipeline.geometry.camera import Camera
from pipeline.heatmaps.decode import decode_soft
from pipeline.heatmaps.render import render
from pipeline.skeleton import get
from pipeline.training.batches import Batch
from pipeline.training.epipolar import EpipolarLoss, soft_argmax
from tests.worlds.tiny_world import camera_ring

NAMES = get("mpii_16")
MAP = 48
RIG = camera_ring(4)


def _projected(joints, shift=0.0):
    """Return maps that peak at the projected joints, their keypoints and their batch; view 2's are moved by `shift` px."""
    keypoints = np.stack([camera.project(joints) for camera in RIG])  # (views, joints, 2) px
    keypoints[2, :, 1] += shift
    map_from_image = np.stack(
        [
            crops.crop_from_image(np.array([76.0, 76, 436, 436]), MAP, rotation=10.0 * view, flip=view % 2 == 1)
            for view in range(4)
        ]
    )
    mirrored = np.arange(4) % 2 == 1
    on_map = crops.transform(map_from_image, keypoints)
    on_map[mirrored] = on_map[mirrored][:, list(NAMES.flipped)]
    maps = torch.from_numpy(render(on_map, (MAP, MAP), 1.5)).double().requires_grad_()
    weights = np.ones((4, len(NAMES)), dtype=np.float32)
    empty = np.zeros(0)
    return (
        maps,
        keypoints,
        Batch(
            images=empty,
            targets=empty,
            weights=weights,
            image_from_map=crops.inverse(map_from_image),
            mirrored=mirrored,
            frame_group=np.zeros(4, dtype=int),
            view=np.arange(4),
            keypoints=empty,
            depth=empty,
        ),
    )


@pytest.fixture
def joints():
    return np.random.default_rng(4).uniform([-300, -300, 600], [300, 300, 1500], (len(NAMES), 3))


def _loss(**settings):
    return EpipolarLoss(RIG, NAMES.flipped, **({"huber_px": 10.0, "labelled_only": False} | settings))


def test_soft_argmax_is_that_of_the_decoder():
    maps = np.random.default_rng(0).random((5, 3, 12, 17)).astype(np.float32) ** 4
    expected, _ = decode_soft(maps)
    np.testing.assert_allclose(soft_argmax(torch.from_numpy(maps)).numpy(), expected, atol=1e-5)


def test_views_of_one_point_have_no_loss_however_their_images_are_cut_rotated_and_mirrored(joints):
    maps, _, batch = _projected(joints)
    assert _loss()(maps, batch).item() < 0.05  # px, of 360 px wide crops with maps of 48


def test_the_distance_is_that_of_the_geometry_and_the_same_for_every_pair(joints):
    maps, keypoints, batch = _projected(joints, shift=40.0)
    undistorted = np.stack([camera.undistort(each) for camera, each in zip(RIG, keypoints, strict=True)])
    expected = []
    for a in range(4):
        for b in range(a + 1, 4):
            F = epipolar.fundamental_matrix(RIG[a], RIG[b])
            distance = epipolar.sampson_distance(undistorted[a], undistorted[b], F)
            expected.append(np.where(distance < 10, distance**2 / 20, distance - 5))
    assert _loss()(maps, batch).item() == pytest.approx(np.mean(expected), rel=0.02)
    assert np.mean(expected) > 5


def test_a_step_against_the_gradient_lowers_the_loss(joints):
    maps, _, batch = _projected(joints, shift=20.0)
    loss = _loss()(maps, batch)
    loss.backward()
    assert torch.isfinite(maps.grad).all()
    moved = maps.detach() - 0.002 * maps.grad / maps.grad.abs().max()
    assert _loss()(moved, batch) < loss


def test_only_labelled_joints_count_if_configured(joints):
    maps, _, batch = _projected(joints, shift=40.0)
    batch.weights[:, 1:] = 0
    mirrored_first = NAMES.flipped[0]
    batch.weights[batch.mirrored] = 0
    batch.weights[batch.mirrored, mirrored_first] = 1  # joint 0 of the person, in a mirrored image
    for joint in range(1, len(NAMES)):  # other joints may be anywhere
        own = np.where(batch.mirrored, NAMES.flipped[joint], joint)
        maps.data[np.arange(4), own] = torch.rand(4, MAP, MAP, dtype=torch.float64)
    alone = joints.copy()
    alone[1:] = joints[0]
    other, _, same = _projected(alone, shift=40.0)
    assert _loss(labelled_only=True)(maps, batch).item() == pytest.approx(_loss()(other, same).item(), rel=1e-6)


def test_images_that_stand_alone_are_not_compared(joints):
    maps, _, batch = _projected(joints, shift=40.0)
    batch.frame_group[:] = [-1, 0, -1, 3]
    loss = _loss()(maps, batch)
    assert loss.item() == 0
    loss.backward()  # still a part of the graph


def opencvs_fundamental(a, b):
    """Return OpenCV's F, x_b^T F x_a = 0, of two cameras, fitted to points that both see without noise."""
    points = np.random.default_rng(1).uniform([-900, -900, 100], [900, 900, 2000], (60, 3))
    F, _ = cv2.findFundamentalMat(a.project(points, distorted=False), b.project(points, distorted=False), cv2.FM_8POINT)
    return F


def test_the_algebraic_residual_is_that_of_opencvs_matrix(joints):
    maps, keypoints, batch = _projected(joints, shift=40.0)
    undistorted = np.stack([camera.undistort(each) for camera, each in zip(RIG, keypoints, strict=True)])
    x = np.concatenate([undistorted, np.ones((*undistorted.shape[:-1], 1))], axis=-1)
    residuals = []  # of the 12 ordered pairs
    for a in range(4):
        for b in range(4):
            if a != b:
                F = opencvs_fundamental(RIG[a], RIG[b])
                assert F[2, 2] == pytest.approx(1)
                residuals.append(np.abs(np.einsum("ki,ij,kj->k", x[b], F, x[a])))
    maps = torch.from_numpy(  # whose mean position under softmax(100 map) is the keypoint: a parabola, not a Gaussian
        render_parabola(crops.transform(crops.inverse(batch.image_from_map), keypoints), batch.mirrored)
    )
    loss = _loss(residual="algebraic")
    assert loss(maps, batch).item() == pytest.approx(np.mean(residuals), rel=0.02)
    assert _loss(residual="algebraic", huber_px=1.0)(maps, batch).item() == loss(maps, batch).item()


def render_parabola(on_map, mirrored):
    """Return maps 1 - d^2 / 100 of keypoints, (views, joints, 2) map px: softmax(100 map) is a Gaussian of 0.7 px."""
    on_map = on_map.copy()
    on_map[mirrored] = on_map[mirrored][:, list(NAMES.flipped)]
    y, x = np.mgrid[:MAP, :MAP]
    return 1 - ((x - on_map[..., 0, None, None]) ** 2 + (y - on_map[..., 1, None, None]) ** 2) / 100


def test_unlabelled_joints_add_nothing_to_the_algebraic_mean_but_count_in_it(joints):
    maps, _, batch = _projected(joints, shift=40.0)
    whole = _loss(residual="algebraic", labelled_only=True)(maps, batch).item()
    batch.weights[2] = 0  # the view that is off: without it all agree
    assert _loss(residual="algebraic", labelled_only=True)(maps, batch).item() < 0.05 * whole
    batch.weights[:] = 0.5
    assert _loss(residual="algebraic", labelled_only=True)(maps, batch).item() == pytest.approx(whole / 4)
    assert _loss(residual="algebraic")(maps, batch).item() == pytest.approx(whole)


def test_a_step_against_the_algebraic_gradient_lowers_the_loss(joints):
    maps, _, batch = _projected(joints, shift=20.0)
    loss = _loss(residual="algebraic")(maps, batch)
    loss.backward()
    assert torch.isfinite(maps.grad).all()
    moved = maps.detach() - 0.002 * maps.grad / maps.grad.abs().max()
    assert _loss(residual="algebraic")(moved, batch) < loss


def test_cameras_whose_first_pixels_see_one_point_have_no_published_scale():
    """F[2, 2] is the residual of the pixels (0, 0): 0 if their rays meet, as between parallel cameras side by side."""
    K = np.array([[700.0, 0, 256], [0, 700, 256], [0, 0, 1]])
    pair = tuple(
        Camera(name=name, size=(512, 512), K=K, R=np.eye(3), centre=np.array([x, 0.0, 0.0]), distortion=np.zeros(5))
        for name, x in (("left", 0.0), ("right", 500.0))
    )
    with pytest.raises(ValueError, match="which is 0 for the cameras left and right"):
        EpipolarLoss(pair, NAMES.flipped, huber_px=10.0, labelled_only=False, residual="algebraic")
    EpipolarLoss(pair, NAMES.flipped, huber_px=10.0, labelled_only=False)
