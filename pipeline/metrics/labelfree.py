"""Figures of keypoints and poses that need no label.

None of these figures is an error. Each detects some kinds of mistakes and not others; none detects a mistake that all views
make alike and that leaves a plausible body. benchmarks/evidence.py measures how well each follows the true error.
"""

import numpy as np

from pipeline import nanstats
from pipeline.geometry import agreement
from pipeline.geometry.camera import Camera
from pipeline.geometry.consensus import consensus_joints
from pipeline.geometry.thresholds import AgreementThresholds
from pipeline.skeleton import Skeleton


def leave_one_view_out(
    keypoints: np.ndarray, scores: np.ndarray, cameras: tuple[Camera, ...], thresholds: AgreementThresholds
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance of each view's keypoint from the consensus of the *other* views.

    No view influences the joint that it is compared with, so this is the most reliable figure without labels. It detects
    noise, outliers, a moved or late camera. It does not detect mistakes that all views make alike.

    Args:
        keypoints: (frames, views, joints, 2) px of the full image; NaN if not seen.
        scores: (frames, views, joints).
        cameras: (views,); with fewer than three nothing is known, because two others have to agree.
        thresholds: when the other views agree.

    Returns:
        (frames, views, joints) px of the full image, and the same in mm at the joint's depth; NaN if the view has no keypoint
        or the others do not agree.
    """
    px, mm = np.full(keypoints.shape[:-1], np.nan), np.full(keypoints.shape[:-1], np.nan)
    if len(cameras) < 3:
        return px, mm
    for view, camera in enumerate(cameras):
        joints = consensus_joints(keypoints, scores, cameras, thresholds, without=view)
        px[:, view] = np.linalg.norm(camera.project(joints) - keypoints[:, view], axis=-1)
        depth = camera.camera_from_world(joints)[..., 2]
        mm[:, view] = px[:, view] * depth / ((camera.K[0, 0] + camera.K[1, 1]) / 2)
    return px, mm


def clip_errors(errors: np.ndarray, present: np.ndarray, limit: float) -> np.ndarray:
    """Return the errors, at most `limit`; an unknown error counts as `limit`, so that missing keypoints are no advantage.

    Errors stay NaN in frames with fewer than three images: no view can be compared with two others, for any model.

    Args:
        errors: (frames, views, joints); NaN if unknown.
        present: (frames, views) bool, the view has an image.
        limit: the largest value of an error.

    Returns:
        (frames, views, joints) in [0, limit]; NaN without an image, or with fewer than three images.
    """
    clipped = np.where(np.isfinite(errors), np.minimum(errors, limit), limit)
    comparable = present & (present.sum(axis=1, keepdims=True) >= 3)
    return np.where(comparable[..., None], clipped, np.nan)


def camera_shares(errors: np.ndarray) -> np.ndarray:
    """Return each camera's share of all errors, (views,) percent; errors (frames, views, joints) from `clip_errors`.

    A camera that was moved, or is late, has far more than an equal share, 100 / views.
    """
    total = np.nansum(errors, axis=(0, 2))  # (views,)
    return 100 * total / total.sum() if total.sum() > 0 else np.full(len(total), np.nan)


def agreeing_views(inliers: np.ndarray) -> np.ndarray:
    """Return (views + 1,) percent of the joints on which 0, 1, ..., all views agree; (frames, views, joints) bool."""
    number = inliers.sum(axis=1)
    return 100 * np.bincount(number.ravel(), minlength=inliers.shape[1] + 1) / max(number.size, 1)


def limb_medians(joints: np.ndarray, person: np.ndarray, skeleton: Skeleton) -> dict[str, np.ndarray]:
    """Return each person's median limb lengths, (limbs,) mm, from (frames, joints, 3) mm; NaN if unknown."""
    lengths = _limb_lengths(joints, skeleton)
    return {name: nanstats.median_along(lengths[person == name], 0) for name in sorted(set(person.tolist()))}


def limb_deviations(joints: np.ndarray, person: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Return the deviation of limbs from their person's median length, as a share of it; bones do not stretch.

    Args:
        joints: (frames, joints, 3) mm, triangulated joint by joint; not from RPSM, which uses known limb lengths.
        person: (frames,) text.
        skeleton: the tree of joints.

    Returns:
        (frames, limbs) >= 0; NaN if a limb is unknown. A person who collapses to a point has no deviation: see `limb_medians`
        for that.
    """
    lengths = _limb_lengths(joints, skeleton)
    medians = np.full_like(lengths, np.nan)
    for name, median in limb_medians(joints, person, skeleton).items():
        medians[person == name] = median
    return np.abs(lengths - medians) / np.where(medians > 0, medians, np.nan)


def asymmetry(limbs: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Return how much left limbs differ from right ones; on real people by a few percent.

    Args:
        limbs: (people, limbs) mm, median lengths from `limb_medians`; NaN if unknown.
        skeleton: the tree of joints.

    Returns:
        (people,) the mean of |left - right| / their mean over the pairs of limbs; NaN if no pair is known.
    """
    children = [child for _, child in skeleton.limbs]
    pairs = [(child, skeleton.flipped[child]) for child in children if child < skeleton.flipped[child]]
    left, right = (limbs[:, [children.index(pair[side]) for pair in pairs]] for side in (0, 1))
    return nanstats.mean_along(np.abs(left - right) / np.where(left + right > 0, (left + right) / 2, np.nan), -1)


def left_right_swaps(
    keypoints: np.ndarray, joints: np.ndarray, cameras: tuple[Camera, ...], skeleton: Skeleton
) -> np.ndarray:
    """Return where a view swaps left and right: both keypoints of a pair fit the 3D joints far better when exchanged.

    Args:
        keypoints: (frames, views, joints, 2) px of the full image; NaN if not seen.
        joints: (frames, joints, 3) world mm; NaN if unknown.
        cameras: (views,).
        skeleton: the pairs of joints.

    Returns:
        (frames, views, pairs) 1 swapped, 0 not; NaN if unknown, or if the two joints are less than 10 px apart in the image.
        Sides that all views swap are not detected.
    """
    left = [joint for joint, other in enumerate(skeleton.flipped) if joint < other]
    right = [skeleton.flipped[joint] for joint in left]
    projected = agreement.project(joints, cameras)
    as_is = np.linalg.norm(keypoints[..., left, :] - projected[..., left, :], axis=-1)
    as_is = as_is + np.linalg.norm(keypoints[..., right, :] - projected[..., right, :], axis=-1)
    exchanged = np.linalg.norm(keypoints[..., left, :] - projected[..., right, :], axis=-1)
    exchanged = exchanged + np.linalg.norm(keypoints[..., right, :] - projected[..., left, :], axis=-1)
    distance_px = np.linalg.norm(projected[..., left, :] - projected[..., right, :], axis=-1)
    return np.where(np.isfinite(as_is + exchanged) & (distance_px >= 10), exchanged < 0.5 * as_is, np.nan)


def side_flips(joints: np.ndarray, sequence: np.ndarray, number: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Return where left and right change places from one frame to the next in the world: all views swapped them.

    Args:
        joints: (frames, joints, 3) world mm; NaN if unknown.
        sequence: (frames,) text.
        number: (frames,) int, frame numbers.
        skeleton: the pairs of joints.

    Returns:
        (frames,) 1 if the pose is far nearer to the previous pose of the sequence when its sides are exchanged, else 0; NaN
        without a previous pose. Sides that stay exchanged are not detected.
    """
    flips = np.full(len(joints), np.nan)
    if len(joints) < 2:
        return flips
    paired = [joint for joint, other in enumerate(skeleton.flipped) if joint != other]
    other = [skeleton.flipped[joint] for joint in paired]
    stays = np.linalg.norm(joints[1:, paired] - joints[:-1, paired], axis=-1)  # (frames - 1, joints)
    exchanged = np.linalg.norm(joints[1:, other] - joints[:-1, paired], axis=-1)
    known = np.isfinite(stays + exchanged)
    as_is, otherwise = (np.where(known, each, 0).sum(axis=1) for each in (stays, exchanged))
    follows = (sequence[1:] == sequence[:-1]) & (np.diff(number) > 0) & known.any(axis=1)
    flips[1:] = np.where(follows, otherwise < 0.5 * as_is, np.nan)
    return flips


def jerk(joints: np.ndarray, sequence: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Return the third difference over time: jitter at a high frame rate; mostly the motion itself at a low one.

    Args:
        joints: (frames, joints, 3) world mm; NaN if unknown.
        sequence: (frames,) text.
        number: (frames,) int, frame numbers.

    Returns:
        (frames, joints) mm per frame number^3, at the last of four successive frames of a sequence at equal steps; NaN
        elsewhere.
    """
    values = np.full(joints.shape[:-1], np.nan)
    if len(joints) < 4:
        return values
    step = np.diff(number)
    even = (step[2:] == step[1:-1]) & (step[1:-1] == step[:-2]) & (step[2:] > 0) & (sequence[3:] == sequence[:-3])
    third = joints[3:] - 3 * joints[2:-1] + 3 * joints[1:-2] - joints[:-3]
    values[3:] = np.where(even[:, None], np.linalg.norm(third, axis=-1), np.nan) / np.maximum(step[2:, None], 1.0) ** 3
    return values


def below_floor(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Return how far the lower ankle is below the floor: the median height of the lower ankle (world z is up).

    Returns:
        (frames,) mm, 0 for an ankle on or above the floor; NaN if no ankle is known.
    """
    ankles = [index for index, joint in enumerate(skeleton.joint_names) if joint.endswith("ankle")]
    if not ankles:
        return np.full(len(joints), np.nan)
    heights = joints[:, ankles, 2]
    known = np.isfinite(heights).any(axis=1)
    lower = np.where(known, np.where(np.isfinite(heights), heights, np.inf).min(axis=1), np.nan)
    floor = nanstats.median(lower)
    return np.maximum(floor - lower, 0)


def upside_down(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Return (frames,) 1 if the head is below the feet, else 0; NaN if unknown. Joints (frames, joints, 3) world mm."""
    head = [
        index for index, joint in enumerate(skeleton.joint_names) if joint in ("head_top", "head", "nose", "upper_neck")
    ]
    feet = [index for index, joint in enumerate(skeleton.joint_names) if joint.endswith("ankle")]
    if not head or not feet:
        return np.full(len(joints), np.nan)
    high, low = nanstats.mean_along(joints[:, head, 2], -1), nanstats.mean_along(joints[:, feet, 2], -1)
    return np.where(np.isfinite(high + low), high < low, np.nan)


def label_churn(before: np.ndarray, after: np.ndarray, moved_mm: float) -> float:
    """Return the percentage of the teacher's labels that the student would give otherwise.

    Args:
        before, after: (frames, joints, 3) world mm, the teacher's and the student's joints in the same frames.
        moved_mm: a larger displacement counts as moved.

    Returns:
        Percent of the joints known to either that moved, appeared or disappeared; NaN if none is known.
    """
    old, new = np.isfinite(before).all(axis=-1), np.isfinite(after).all(axis=-1)
    if not (old | new).any():
        return float("nan")
    moved = np.linalg.norm(after - before, axis=-1) > moved_mm  # False for NaN
    return 100 * float((moved | (old ^ new)).sum() / (old | new).sum())


def _limb_lengths(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Return (frames, limbs) mm from (frames, joints, 3) mm."""
    parents, children = (list(ends) for ends in zip(*skeleton.limbs, strict=True))
    return np.linalg.norm(joints[:, children] - joints[:, parents], axis=-1)
