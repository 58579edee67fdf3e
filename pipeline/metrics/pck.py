"""PCKh: the percentage of keypoints within a fraction of the head size from the ground truth, in the image."""

import numpy as np

from pipeline import nanstats
from pipeline.geometry.camera import Camera
from pipeline.skeleton import Skeleton

# MPII's own evaluation excludes these two from the mean: they are not visible in an image.
_NOT_IN_MPII_MEAN = ("pelvis", "thorax")


def visible_keypoints(joints: np.ndarray, cameras: tuple[Camera, ...]) -> np.ndarray:
    """Return the joints' keypoints in every image.

    Args:
        joints: (frames, joints, 3) world mm; NaN if unknown.
        cameras: (views,).

    Returns:
        (frames, views, joints, 2) px of the full image; NaN if the joint is unknown, behind the camera or outside the image.
    """
    views = []
    for camera in cameras:
        keypoints = camera.project(joints)
        width, height = camera.size
        inside = (keypoints >= -0.5).all(-1) & (keypoints[..., 0] <= width - 0.5) & (keypoints[..., 1] <= height - 0.5)
        views.append(np.where(inside[..., None], keypoints, np.nan))
    return np.stack(views, axis=1)


def head_sizes(head_mm: np.ndarray, joints: np.ndarray, cameras: tuple[Camera, ...], skeleton: Skeleton) -> np.ndarray:
    """Return the head size in every image: head mm * focal length / depth of the head.

    The head's position is the mean of `head_top` and `upper_neck`, or else (they are unknown, or the skeleton has no such joint)
    the mean of the known joints.

    Args:
        head_mm: (frames,) mm.
        joints: (frames, joints, 3) world mm; NaN if unknown.
        cameras: (views,).
        skeleton: the names of the joints.

    Returns:
        (frames, views) px; NaN if the head size or its depth is unknown, or the head is behind the camera.
    """
    names = [joint for joint in ("upper_neck", "head_top") if joint in skeleton.joint_names]
    centre = _mean_joint(joints)
    head = _mean_joint(joints[:, [skeleton.index(name) for name in names]]) if names else centre
    head = np.where(np.isfinite(head), head, centre)  # (frames, 3)
    sizes = []
    for camera in cameras:
        depth = camera.camera_from_world(head)[:, 2]
        focal = (camera.K[0, 0] + camera.K[1, 1]) / 2
        sizes.append(head_mm * focal / np.where(depth > 0, depth, np.nan))
    return np.stack(sizes, axis=1)


def keypoints_and_head_sizes(
    cameras: tuple[Camera, ...], joints: np.ndarray, head_mm: np.ndarray, skeleton: Skeleton
) -> tuple[np.ndarray, np.ndarray]:
    """Return `visible_keypoints` and `head_sizes` of frames that these cameras recorded."""
    return visible_keypoints(joints, cameras), head_sizes(head_mm, joints, cameras, skeleton)


def head_distances(predicted: np.ndarray, ground_truth: np.ndarray, head_px: np.ndarray) -> np.ndarray:
    """Return the distance of each keypoint from the ground truth, in head sizes.

    Args:
        predicted: (..., joints, 2) px; NaN if not detected.
        ground_truth: (..., joints, 2) px; NaN if unknown.
        head_px: (...) px; NaN if unknown.

    Returns:
        (..., joints): infinite if not detected (it counts as wrong), NaN without ground truth (it does not count).
    """
    distance = np.linalg.norm(predicted - ground_truth, axis=-1) / head_px[..., None]
    comparable = np.isfinite(ground_truth).all(-1) & np.isfinite(head_px)[..., None]
    missed = ~np.isfinite(predicted).all(-1)
    return np.where(comparable, np.where(missed, np.inf, distance), np.nan)


def pckh(distances: np.ndarray, threshold: float) -> float:
    """Return the percentage of the keypoints with ground truth within `threshold` head sizes; NaN without any."""
    comparable = ~np.isnan(distances)
    return nanstats.percent(int((distances[comparable] <= threshold).sum()), int(comparable.sum()))


def pckh_by_joint(distances: np.ndarray, threshold: float) -> np.ndarray:
    """Return `pckh` of each joint, (joints,) percent; distances (..., joints)."""
    return np.array([pckh(distances[..., joint], threshold) for joint in range(distances.shape[-1])])


def pckh_curve(distances: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return `pckh` at each threshold, (thresholds,) percent."""
    return np.array([pckh(distances, threshold) for threshold in thresholds])


def area_under(thresholds: np.ndarray, curve: np.ndarray) -> float:
    """Return the mean height of a PCKh curve between its first and last threshold (trapezoid rule), percent."""
    return float(np.trapezoid(curve, thresholds) / (thresholds[-1] - thresholds[0]))


def mpii_pckh(
    predicted: np.ndarray, ground_truth: np.ndarray, head_px: np.ndarray, skeleton: Skeleton, threshold: float = 0.5
) -> tuple[float, np.ndarray]:
    """Return PCKh by MPII's protocol, for labelled images with a head size each.

    The mean is over all labelled keypoints except pelvis and thorax, so each joint weighs as often as it is labelled.
    Andriluka et al., 2D Human Pose Estimation: New Benchmark and State of the Art Analysis, CVPR 2014.

    Args:
        predicted: (samples, joints, 2) px of the full image; NaN if not detected.
        ground_truth: (samples, joints, 2) px of the full image; NaN if not labelled.
        head_px: (samples,) px, 0.6 times the diagonal of the annotated head box; NaN if unknown.
        skeleton: the names of the joints.
        threshold: in head sizes.

    Returns:
        The mean, percent, and (joints,) percent for each joint; NaN if a joint is never labelled.
    """
    distances = head_distances(predicted, ground_truth, head_px)
    counted = [index for index, joint in enumerate(skeleton.joint_names) if joint not in _NOT_IN_MPII_MEAN]
    return pckh(distances[..., counted], threshold), pckh_by_joint(distances, threshold)


def mpii_table(
    predicted: np.ndarray, ground_truth: np.ndarray, head_px: np.ndarray, skeleton: Skeleton
) -> dict[str, float]:
    """Return the published MPII table, percent; the arguments are those of `mpii_pckh`.

    Returns:
        head, shoulder, elbow, wrist, hip, knee, ankle: PCKh@0.5, the mean of both sides; head is head_top alone.
        pckh_50: the mean in which each joint weighs as often as it is labelled, without pelvis and thorax.
        pckh_50_by_joint: the plain mean over the same 14 joints.
        pckh_10: at 0.1, like pckh_50. pckh_11: the number published as "PCKh@0.1" by Simple Baselines and HRNet, whose
        curve starts at 0 and is read one entry too late.
    """
    mean, by_joint = mpii_pckh(predicted, ground_truth, head_px, skeleton)
    counted = [index for index, joint in enumerate(skeleton.joint_names) if joint not in _NOT_IN_MPII_MEAN]
    table = {"head": by_joint[skeleton.index("head_top")]}
    for limb in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
        table[limb] = np.mean([by_joint[skeleton.index(f"{side}_{limb}")] for side in ("left", "right")])
    table |= {"pckh_50": mean, "pckh_50_by_joint": np.nanmean(by_joint[counted])}
    for name, threshold in (("pckh_10", 0.1), ("pckh_11", 0.11)):
        table[name] = mpii_pckh(predicted, ground_truth, head_px, skeleton, threshold)[0]
    return {name: float(value) for name, value in table.items()}


def box_pckh(
    predicted: np.ndarray, ground_truth: np.ndarray, side_px: np.ndarray, threshold: float, joints: np.ndarray
) -> float:
    """Return PCKh with a tenth of the person's box as the head size, the variant published for self-training on Human3.6M.

    Args:
        predicted, ground_truth: (samples, joints, 2) px of the full image; NaN if not detected, if not labelled.
        side_px: (samples,) the longer side of the person's box (2000 mm at the depth of the root on Human3.6M).
        threshold: 0.5 to 0.1 are published.
        joints: index of the joints that count: all 16, or the 15 without the top of the head, which data sets define
            differently.

    Returns:
        Percent: the plain mean of the joints' own percentages.
    """
    by_joint = pckh_by_joint(head_distances(predicted, ground_truth, side_px / 10), threshold)
    return float(np.nanmean(by_joint[joints]))


def joint_detection_rates(predicted: np.ndarray, ground_truth: np.ndarray, input_px: float) -> np.ndarray:
    """Return each joint's JDR as in the cross-view fusion papers: within a twentieth of the network's input, in the full image.

    It depends on the network's input and not on the person's distance: for comparison with published numbers only.

    Args:
        predicted, ground_truth: (samples, joints, 2) px of the full image; all joints count, visible or not.
        input_px: width of the network's input: 256 allows 12.8 px, 320 allows 16.

    Returns:
        (joints,) percent; NaN without ground truth.
    """
    return pckh_by_joint(head_distances(predicted, ground_truth, np.full(len(predicted), input_px / 10)), 0.5)


def joint_detection_rate(predicted: np.ndarray, ground_truth: np.ndarray, input_px: float) -> float:
    """Return the plain mean of `joint_detection_rates`, percent."""
    return float(np.nanmean(joint_detection_rates(predicted, ground_truth, input_px)))


def _mean_joint(joints: np.ndarray) -> np.ndarray:
    """Return (frames, 3), the mean of the known joints, (frames, joints, 3); NaN if none is known."""
    known = np.isfinite(joints).all(-1, keepdims=True)
    return nanstats.mean_along(np.where(known, joints, np.nan), 1)
