"""PCKh: the share of joints found within a fraction of the head's size, in the picture."""

import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.skeleton import Skeleton

# MPII's own evaluation leaves these two out of the mean: nobody can point at them in a picture.
_NOT_IN_MPII_MEAN = ("pelvis", "thorax")


def visible_keypoints(joints: np.ndarray, cameras: tuple[Camera, ...]) -> np.ndarray:
    """Where every picture shows the joints.

    Args:
        joints: (frames, joints, 3) world mm; NaN where not known.
        cameras: one a view.

    Returns:
        (frames, views, joints, 2) px of the full picture; NaN where the joint is not known, behind the camera or
        outside the picture.
    """
    views = []
    for camera in cameras:
        points = camera.project(joints)
        width, height = camera.size
        inside = (points >= -0.5).all(-1) & (points[..., 0] <= width - 0.5) & (points[..., 1] <= height - 0.5)
        views.append(np.where(inside[..., None], points, np.nan))
    return np.stack(views, axis=1)


def head_sizes(head: np.ndarray, joints: np.ndarray, cameras: tuple[Camera, ...], skeleton: Skeleton) -> np.ndarray:
    """The head's size in every picture: head mm * focal length / depth of the head.

    The head is where `head_top` and `upper_neck` are, or else (they are not known, or the skeleton has no such joint)
    in the middle of the known joints.

    Args:
        head: (frames,) mm.
        joints: (frames, joints, 3) world mm; NaN where not known.

    Returns:
        (frames, views) px; NaN where the head's size or its depth is not known, or it is behind the camera.
    """
    names = [joint for joint in ("upper_neck", "head_top") if joint in skeleton.joints]
    everywhere = _mean_known(joints)
    place = _mean_known(joints[:, [skeleton.index(name) for name in names]]) if names else everywhere
    place = np.where(np.isfinite(place), place, everywhere)  # (frames, 3)
    sizes = []
    for camera in cameras:
        depth = camera.camera_from_world(place)[:, 2]
        focal = (camera.K[0, 0] + camera.K[1, 1]) / 2
        sizes.append(head * focal / np.where(depth > 0, depth, np.nan))
    return np.stack(sizes, axis=1)


def keypoints_and_head_sizes(
    cameras: tuple[Camera, ...], joints: np.ndarray, head: np.ndarray, skeleton: Skeleton
) -> tuple[np.ndarray, np.ndarray]:
    """`visible_keypoints` and `head_sizes` of the same frames, whose cameras these are."""
    return visible_keypoints(joints, cameras), head_sizes(head, joints, cameras, skeleton)


def head_distances(found: np.ndarray, truth: np.ndarray, head: np.ndarray) -> np.ndarray:
    """How far each detection is from the truth, in head sizes.

    Args:
        found: (..., joints, 2) px; NaN where nothing was detected.
        truth: (..., joints, 2) px; NaN where not known.
        head: (...) px; NaN where not known.

    Returns:
        (..., joints): infinite where nothing was detected (it counts as wrong), NaN where there is no truth to
        compare with (it does not count).
    """
    distance = np.linalg.norm(found - truth, axis=-1) / head[..., None]
    comparable = np.isfinite(truth).all(-1) & np.isfinite(head)[..., None]
    missed = ~np.isfinite(found).all(-1)
    return np.where(comparable, np.where(missed, np.inf, distance), np.nan)


def pckh(distances: np.ndarray, threshold: float) -> float:
    """Percent of the joints with truth that are within `threshold` head sizes; NaN when there is none with truth."""
    comparable = ~np.isnan(distances)
    return _percent(int((distances[comparable] <= threshold).sum()), int(comparable.sum()))


def pckh_by_joint(distances: np.ndarray, threshold: float) -> np.ndarray:
    """`pckh` for each joint: (..., joints) -> (joints,) percent."""
    return np.array([pckh(distances[..., joint], threshold) for joint in range(distances.shape[-1])])


def pckh_curve(distances: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """`pckh` at each of the thresholds: (thresholds,) percent."""
    return np.array([pckh(distances, threshold) for threshold in thresholds])


def area_under(thresholds: np.ndarray, curve: np.ndarray) -> float:
    """Mean height of a PCKh curve between its first and its last threshold (trapezoid rule), percent."""
    return float(np.trapezoid(curve, thresholds) / (thresholds[-1] - thresholds[0]))


def mpii_pckh(
    found: np.ndarray, truth: np.ndarray, head: np.ndarray, skeleton: Skeleton, threshold: float = 0.5
) -> tuple[float, np.ndarray]:
    """PCKh by MPII's protocol, for labelled pictures with a head size each.

    The mean is over all labelled joints but pelvis and thorax, so each joint weighs as often as it is labelled.
    Andriluka et al., 2D Human Pose Estimation: New Benchmark and State of the Art Analysis, CVPR 2014.

    Args:
        found: (samples, joints, 2) px of the full picture; NaN where nothing was detected.
        truth: (samples, joints, 2) px of the full picture; NaN where not labelled.
        head: (samples,) px, 0.6 times the diagonal of the annotated head box; NaN where not known.

    Returns:
        The mean, percent, and (joints,) percent for each joint; NaN where a joint is never labelled.
    """
    distances = head_distances(found, truth, head)
    counted = [index for index, joint in enumerate(skeleton.joints) if joint not in _NOT_IN_MPII_MEAN]
    return pckh(distances[..., counted], threshold), pckh_by_joint(distances, threshold)


def mpii_table(found: np.ndarray, truth: np.ndarray, head: np.ndarray, skeleton: Skeleton) -> dict[str, float]:
    """The published MPII table, percent; arguments as in `mpii_pckh`.

    Returns:
        head, shoulder, elbow, wrist, hip, knee, ankle: PCKh@0.5, a limb's two sides averaged; head is head_top alone.
        pckh_50: the mean in which each joint weighs as often as it is labelled, without pelvis and thorax.
        pckh_50_by_joint: the plain mean over the same 14 joints.
        pckh_10: at 0.1, like pckh_50. pckh_11: what is published as "PCKh@0.1" by Simple Baselines and HRNet, whose
        curve starts at 0 and is read one entry too late.
    """
    mean, by_joint = mpii_pckh(found, truth, head, skeleton)
    counted = [index for index, joint in enumerate(skeleton.joints) if joint not in _NOT_IN_MPII_MEAN]
    table = {"head": by_joint[skeleton.index("head_top")]}
    for limb in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
        table[limb] = np.mean([by_joint[skeleton.index(f"{side}_{limb}")] for side in ("left", "right")])
    table |= {"pckh_50": mean, "pckh_50_by_joint": np.nanmean(by_joint[counted])}
    for name, threshold in (("pckh_10", 0.1), ("pckh_11", 0.11)):
        table[name] = mpii_pckh(found, truth, head, skeleton, threshold)[0]
    return {name: float(value) for name, value in table.items()}


def box_pckh(found: np.ndarray, truth: np.ndarray, side: np.ndarray, threshold: float, joints: np.ndarray) -> float:
    """PCKh with a tenth of the person's box as the head's size: the flavour that self-training on Human3.6M publishes.

    Args:
        found, truth: (samples, joints, 2) px of the full picture; NaN where not detected, where not labelled.
        side: (samples,) px, the longer side of the person's box (2000 mm at the depth of the root on Human3.6M).
        threshold: 0.5 to 0.1 are published.
        joints: which count: all 16, or the 15 without the head's top, which data sets place differently.

    Returns:
        Percent: the plain mean of the joints' own percentages.
    """
    by_joint = pckh_by_joint(head_distances(found, truth, side / 10), threshold)
    return float(np.nanmean(by_joint[joints]))


def joint_detection_rate(found: np.ndarray, truth: np.ndarray, input_px: float) -> float:
    """JDR as the cross-view fusion papers compute it: a twentieth of the network's input, compared in the full picture.

    It depends on the network's input and not on how far the person is: for comparison with published rows only.

    Args:
        found, truth: (samples, joints, 2) px of the full picture; all joints count, whether one can see them or not.
        input_px: width of the network's input: 256 allows 12.8 px, 320 allows 16.

    Returns:
        Percent: the plain mean of the joints' own percentages.
    """
    distances = head_distances(found, truth, np.full(len(found), input_px / 10))
    return float(np.nanmean(pckh_by_joint(distances, 0.5)))


def _mean_known(joints: np.ndarray) -> np.ndarray:
    """(frames, joints, 3) -> (frames, 3) over the known joints; NaN where none is."""
    known = np.isfinite(joints).all(-1)
    count = known.sum(-1)[:, None]
    return np.where(known[..., None], joints, 0).sum(1) / np.where(count > 0, count, np.nan)


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else float("nan")
