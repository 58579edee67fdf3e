"""The numbers of the published Human3.6M tables: joint detection rate, box-PCKh and MPJPE, of the same 16, 15 and 17 joints.

Ground truth has the 17 joints of Human3.6M in its order. Predictions have the joints of the network's skeleton, and numbers that
need a joint which it lacks are left out. The definitions are those of the published code, also where ours differ.
"""

from typing import Any

import numpy as np

from pipeline import nanstats
from pipeline.geometry.camera import Camera
from pipeline.metrics import pck
from pipeline.skeleton import Skeleton, get, mapping, reorder

HUMAN36M = get("h36m_17")
THRESHOLDS = (0.5, 0.4, 0.3, 0.2, 0.1)
BOX_MM = 2000.0  # side of the published box, at the depth of the pelvis
STRIDE = 4  # input px per heatmap px of all published networks

_SPINE, _HEAD = HUMAN36M.index("spine"), HUMAN36M.index("head")
# "16j" are those that MPII's joints were forced onto; "15j" leave out the head, which data sets define differently.
JOINTS = {
    "17j": np.arange(17),
    "16j": np.array([joint for joint in range(17) if joint != _SPINE]),
    "15j": np.array([joint for joint in range(17) if joint not in (_SPINE, _HEAD)]),
}


def predicted_joints(skeleton: Skeleton) -> np.ndarray:
    """Return (17,) bool, the joints of Human3.6M that a skeleton has; compatible_16 takes three of MPII's for them."""
    return mapping(HUMAN36M, skeleton) >= 0


def has_all(skeleton: Skeleton, joints: str) -> bool:
    """Return whether a skeleton has the joints "17j", "16j" or "15j"."""
    return bool(predicted_joints(skeleton)[JOINTS[joints]].all())


def keypoints_and_box_sides(cameras: tuple[Camera, ...], joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the joints' keypoints in every image, inside of it or not, and the longer sides of the published boxes.

    Args:
        cameras: (views,).
        joints: (frames, 17, 3) world mm; NaN if unknown.

    Returns:
        (frames, views, 17, 2) px of the full image, distorted, and (frames, views) px: 2000 mm at the depth of the pelvis. NaN
        if unknown, or behind the camera.
    """
    keypoints = np.stack([camera.project(joints) for camera in cameras], axis=1)
    sides = []
    for camera in cameras:
        depth = camera.camera_from_world(joints[:, HUMAN36M.root])[:, 2]
        focal = max(camera.K[0, 0], camera.K[1, 1])
        sides.append(BOX_MM * focal / np.where(depth > 0, depth, np.nan))
    return keypoints, np.stack(sides, axis=1)


def detection_numbers(
    keypoints: np.ndarray, skeleton: Skeleton, true_keypoints: np.ndarray, side_px: np.ndarray, input_px: float
) -> dict[str, Any]:
    """Return the published numbers of 2D keypoints, percent.

    Args:
        keypoints: (frames, views, joints, 2) px of the full image, of the skeleton; NaN if not detected, which is wrong.
        skeleton: of the network.
        true_keypoints: (frames, views, 17, 2) px of the full image; NaN where there is no image.
        side_px: (frames, views) px, the longer side of the person's box.
        input_px: width of the network's input.

    Returns:
        jdr: by joint, in the full image within a twentieth of the network's input. jdr_16j, jdr_17j: its plain mean over these
        joints. jdr_px: the distance in px. box_pckh_50_16j to box_pckh_10_15j: the plain mean of the joints' own percentages
        within 0.5 to 0.1 of the head size, a tenth of the box.
    """
    predicted = reorder(keypoints, HUMAN36M, skeleton).reshape(-1, 17, 2)
    truth, side = true_keypoints.reshape(-1, 17, 2), side_px.reshape(-1)
    rates = pck.joint_detection_rates(predicted, truth, input_px)
    has = predicted_joints(skeleton)
    names = np.array(HUMAN36M.joint_names)
    values: dict[str, Any] = {
        "jdr": {str(name): float(rate) for name, rate in zip(names[has], rates[has], strict=True)},
        "jdr_px": input_px / 20,
    }
    for count in ("17j", "16j"):
        if has_all(skeleton, count):
            values[f"jdr_{count}"] = nanstats.mean(rates[JOINTS[count]])
    for count in ("16j", "15j"):
        if has_all(skeleton, count) and np.isfinite(truth).any():
            for threshold in THRESHOLDS:
                value = pck.box_pckh(predicted, truth, side, threshold, JOINTS[count])
                values[f"box_pckh_{round(100 * threshold)}_{count}"] = value
    return values


def position_numbers(distances: np.ndarray, skeleton: Skeleton, method: str) -> dict[str, float]:
    """Return the absolute MPJPE of 16 and of 17 joints, mm.

    Args:
        distances: (frames, joints) mm, of the skeleton; NaN if unknown on either side.
        skeleton: of the network.
        method: part of the names: mpjpe_abs_<method>_16j_mm.
    """
    of_17 = reorder(distances[..., None], HUMAN36M, skeleton)[..., 0]
    return {
        f"mpjpe_abs_{method}_{count}_mm": nanstats.mean(of_17[:, JOINTS[count]])
        for count in ("16j", "17j")
        if has_all(skeleton, count)
    }


def label_numbers(
    labels: np.ndarray,
    accepted: np.ndarray,
    possible: np.ndarray,
    skeleton: Skeleton,
    *,
    true_keypoints: np.ndarray,
    side_px: np.ndarray,
) -> dict[str, float]:
    """Return the published numbers of pseudo labels, of 16 joints, percent; nothing if the skeleton has not all of them.

    Args:
        labels: (frames, views, joints, 2) px of the full image.
        accepted, possible: (frames, views, joints) bool: a label, and whether there is an image.
        skeleton: of the labels.
        true_keypoints: (frames, views, 17, 2) px of the full image.
        side_px: (frames, views) px, the longer side of the person's box.

    Returns:
        box_pckh_50_16j: of all labels together, within half of a tenth of the box. visible_percent: joints that are labelled.
    """
    if not has_all(skeleton, "16j"):
        return {}
    joints = JOINTS["16j"]
    index = mapping(HUMAN36M, skeleton)[joints]
    distances = pck.head_distances(labels[..., index, :], true_keypoints[..., joints, :], side_px / 10)
    labelled = accepted[..., index]
    return {
        "box_pckh_50_16j": pck.pckh(np.where(labelled, distances, np.nan), 0.5),
        "visible_percent": nanstats.percent(labelled.sum(), possible[..., index].sum()),
    }
