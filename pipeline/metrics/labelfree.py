"""What detections and poses say about themselves, without any label.

None of these figures is an error. Each sees some kinds of mistakes and is blind to others; what all are blind to is a mistake
that every view makes alike and that leaves a plausible body. How far each follows the true error is measured in
benchmarks/evidence.py.
"""

from itertools import combinations

import numpy as np

from pipeline.geometry import agreement, epipolar, ransac
from pipeline.geometry.camera import Camera
from pipeline.skeleton import Skeleton


def leave_one_view_out(
    points: np.ndarray,
    scores: np.ndarray,
    cameras: tuple[Camera, ...],
    *,
    confidence_threshold: float,
    reproj_threshold_px: float,
    min_ray_angle_deg: float,
) -> tuple[np.ndarray, np.ndarray]:
    """How far each view's detection is from what the *other* views agree on.

    The most honest figure there is without labels: no view has a say in what it is measured against. It sees noise, gross
    mistakes, a moved or late camera. It does not see what all views do alike.

    Args:
        points: (frames, views, joints, 2) px of the full picture; NaN where not seen.
        scores: (frames, views, joints).
        cameras: one a view; of fewer than three nothing is known, as two others have to agree.
        confidence_threshold, reproj_threshold_px, min_ray_angle_deg: as in geometry/ransac.py.

    Returns:
        (frames, views, joints) px of the full picture, and the same in mm at the joint's depth; NaN where the view saw
        nothing or the others do not agree.
    """
    px, mm = np.full(points.shape[:-1], np.nan), np.full(points.shape[:-1], np.nan)
    if len(cameras) < 3:
        return px, mm
    for view, camera in enumerate(cameras):
        joints = consensus_joints(
            points,
            scores,
            cameras,
            without=view,
            confidence_threshold=confidence_threshold,
            reproj_threshold_px=reproj_threshold_px,
            min_ray_angle_deg=min_ray_angle_deg,
        )
        px[:, view] = np.linalg.norm(camera.project(joints) - points[:, view], axis=-1)
        depth = camera.camera_from_world(joints)[..., 2]
        mm[:, view] = px[:, view] * depth / ((camera.K[0, 0] + camera.K[1, 1]) / 2)
    return px, mm


def consensus_joints(
    points: np.ndarray,
    scores: np.ndarray,
    cameras: tuple[Camera, ...],
    *,
    without: int | None = None,
    confidence_threshold: float,
    reproj_threshold_px: float,
    min_ray_angle_deg: float,
) -> np.ndarray:
    """(frames, joints, 3) world mm that two or more views agree on, NaN elsewhere; one view may be left out.

    The rest as in `leave_one_view_out`.
    """
    if without is not None:
        points = points.copy()
        points[:, without] = np.nan
    return ransac.triangulate_ransac(
        points,
        scores,
        cameras,
        confidence_threshold=confidence_threshold,
        reproj_threshold_px=reproj_threshold_px,
        min_inliers=2,
        min_ray_angle_deg=min_ray_angle_deg,
    ).joints


def clip_errors(errors: np.ndarray, present: np.ndarray, limit: float) -> np.ndarray:
    """Errors in which what is not known counts as the worst, so that silence is no merit.

    Where fewer than three views have a picture, none can be compared with what two others say, whatever the model.

    Args:
        errors: (frames, views, joints); NaN where not known.
        present: (frames, views) bool, the view has a picture.
        limit: what an error counts at most.

    Returns:
        (frames, views, joints) in [0, limit]; NaN where there is no picture, or fewer than three are.
    """
    bounded = np.where(np.isfinite(errors), np.minimum(errors, limit), limit)
    comparable = present & (present.sum(axis=1, keepdims=True) >= 3)
    return np.where(comparable[..., None], bounded, np.nan)


def camera_shares(errors: np.ndarray) -> np.ndarray:
    """How much of the views' error each camera explains: (frames, views, joints), of `clip_errors` -> (views,) percent.

    A camera that was moved, or runs late, has far more than its fair share, 100 / views.
    """
    total = np.nansum(errors, axis=(0, 2))  # (views,)
    return 100 * total / total.sum() if total.sum() > 0 else np.full(len(total), np.nan)


def agreeing_views(inliers: np.ndarray) -> np.ndarray:
    """Percent of the joints on which 0, 1, ..., all views agree: (frames, views, joints) bool -> (views + 1,)."""
    number = inliers.sum(axis=1)
    return 100 * np.bincount(number.ravel(), minlength=inliers.shape[1] + 1) / max(number.size, 1)


def pair_distances(points: np.ndarray, candidates: np.ndarray, cameras: tuple[Camera, ...]) -> np.ndarray:
    """The Sampson distance between the two detections of every pair of cameras.

    Args:
        points: (frames, views, joints, 2) px of the full picture; NaN where not seen.
        candidates: (frames, views, joints) bool, the detections that count.

    Returns:
        (frames, pairs, joints) px of the full picture, the pairs as itertools.combinations has them; NaN where either does
        not count. Points that slide along their epipolar lines are not seen.
    """
    seen = np.where(candidates[..., None], points, np.nan)
    straight = [camera.undistort(seen[:, view]) for view, camera in enumerate(cameras)]
    between = [
        epipolar.sampson_distance(straight[a], straight[b], epipolar.fundamental_matrix(cameras[a], cameras[b]))
        for a, b in combinations(range(len(cameras)), 2)
    ]
    return np.stack(between, axis=1)


def limb_medians(joints: np.ndarray, person: np.ndarray, skeleton: Skeleton) -> dict[str, np.ndarray]:
    """How long each person's limbs usually are: (frames, joints, 3) mm -> for each person (limbs,) mm; NaN unknown."""
    lengths = _limb_lengths(joints, skeleton)
    return {name: _nanmedian(lengths[person == name]) for name in sorted(set(person.tolist()))}


def limb_deviations(joints: np.ndarray, person: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """How far limbs are from their person's usual length, as a share of it; bones do not stretch.

    Args:
        joints: (frames, joints, 3) mm, triangulated joint by joint; not from RPSM, which is told how long limbs are.
        person: (frames,) text.

    Returns:
        (frames, limbs) >= 0; NaN where a limb is not known. A person who collapses to a point stretches nothing: see
        `limb_medians` for that.
    """
    lengths = _limb_lengths(joints, skeleton)
    usual = np.full_like(lengths, np.nan)
    for name, median in limb_medians(joints, person, skeleton).items():
        usual[person == name] = median
    return np.abs(lengths - usual) / np.where(usual > 0, usual, np.nan)


def asymmetry(limbs: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """How much left limbs differ from right ones: nobody's do by more than a few per cent.

    Args:
        limbs: (people, limbs) mm, usual lengths, as `limb_medians` has them; NaN where not known.

    Returns:
        (people,) the mean of |left - right| / their mean over the pairs of limbs; NaN where no pair is known.
    """
    children = [child for _, child in skeleton.limbs]
    pairs = [(child, skeleton.flipped[child]) for child in children if child < skeleton.flipped[child]]
    left, right = (limbs[:, [children.index(pair[side]) for pair in pairs]] for side in (0, 1))
    return _nanmean(np.abs(left - right) / np.where(left + right > 0, (left + right) / 2, np.nan))


def left_right_swaps(
    points: np.ndarray, joints: np.ndarray, cameras: tuple[Camera, ...], skeleton: Skeleton
) -> np.ndarray:
    """Where a view takes left for right: both detections of a pair fit the 3D joints far better when exchanged.

    Args:
        points: (frames, views, joints, 2) px of the full picture; NaN where not seen.
        joints: (frames, joints, 3) world mm; NaN where not known.

    Returns:
        (frames, views, pairs) 1 swapped, 0 not; NaN where not known, or where the picture shows the two too near to each
        other to say (less than 10 px). Sides that all views exchange are not seen.
    """
    left = [joint for joint, other in enumerate(skeleton.flipped) if joint < other]
    right = [skeleton.flipped[joint] for joint in left]
    shown = agreement.project(joints, cameras)
    as_it_is = np.linalg.norm(points[..., left, :] - shown[..., left, :], axis=-1)
    as_it_is = as_it_is + np.linalg.norm(points[..., right, :] - shown[..., right, :], axis=-1)
    exchanged = np.linalg.norm(points[..., left, :] - shown[..., right, :], axis=-1)
    exchanged = exchanged + np.linalg.norm(points[..., right, :] - shown[..., left, :], axis=-1)
    apart = np.linalg.norm(shown[..., left, :] - shown[..., right, :], axis=-1)
    return np.where(np.isfinite(as_it_is + exchanged) & (apart >= 10), exchanged < 0.5 * as_it_is, np.nan)


def side_flips(joints: np.ndarray, sequence: np.ndarray, number: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Where left and right change places from one moment to the next, in the world: all views took one for the other.

    Args:
        joints: (frames, joints, 3) world mm; NaN where not known.
        sequence: (frames,) text. number: (frames,) int.

    Returns:
        (frames,) 1 where the pose is far nearer to the one before, of the same sequence, when its sides are exchanged, else
        0; NaN without a pose before. Sides that are exchanged for good are not seen.
    """
    found = np.full(len(joints), np.nan)
    if len(joints) < 2:
        return found
    paired = [joint for joint, other in enumerate(skeleton.flipped) if joint != other]
    other = [skeleton.flipped[joint] for joint in paired]
    stays = np.linalg.norm(joints[1:, paired] - joints[:-1, paired], axis=-1)  # (frames - 1, joints)
    exchanged = np.linalg.norm(joints[1:, other] - joints[:-1, paired], axis=-1)
    known = np.isfinite(stays + exchanged)
    as_it_is, otherwise = (np.where(known, each, 0).sum(axis=1) for each in (stays, exchanged))
    follows = (sequence[1:] == sequence[:-1]) & (np.diff(number) > 0) & known.any(axis=1)
    found[1:] = np.where(follows, otherwise < 0.5 * as_it_is, np.nan)
    return found


def jerk(joints: np.ndarray, sequence: np.ndarray, number: np.ndarray) -> np.ndarray:
    """The third difference over time: trembling, at a high frame rate; at a low one mostly the motion itself.

    Args:
        joints: (frames, joints, 3) world mm; NaN where not known.
        sequence: (frames,) text. number: (frames,) int.

    Returns:
        (frames, joints) mm per frame^3, as frames are numbered, at the last of four of a sequence that follow each other at
        equal steps; NaN elsewhere.
    """
    found = np.full(joints.shape[:-1], np.nan)
    if len(joints) < 4:
        return found
    step = np.diff(number)
    even = (step[2:] == step[1:-1]) & (step[1:-1] == step[:-2]) & (step[2:] > 0) & (sequence[3:] == sequence[:-3])
    third = joints[3:] - 3 * joints[2:-1] + 3 * joints[1:-2] - joints[:-3]
    found[3:] = np.where(even[:, None], np.linalg.norm(third, axis=-1), np.nan) / np.maximum(step[2:, None], 1.0) ** 3
    return found


def below_floor(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """How far the lower foot is below the floor, which is where the lower foot usually is (world z is up).

    Returns:
        (frames,) mm, 0 for a foot on or above the floor; NaN where no ankle is known.
    """
    ankles = [index for index, joint in enumerate(skeleton.joints) if joint.endswith("ankle")]
    if not ankles:
        return np.full(len(joints), np.nan)
    heights = joints[:, ankles, 2]
    known = np.isfinite(heights).any(axis=1)
    lower = np.where(known, np.where(np.isfinite(heights), heights, np.inf).min(axis=1), np.nan)
    floor = np.nanmedian(lower) if known.any() else np.nan
    return np.maximum(floor - lower, 0)


def upside_down(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Whether the head is below the feet: (frames, joints, 3) world mm -> (frames,) 1, 0, or NaN where not known."""
    head = [index for index, joint in enumerate(skeleton.joints) if joint in ("head_top", "head", "nose", "upper_neck")]
    feet = [index for index, joint in enumerate(skeleton.joints) if joint.endswith("ankle")]
    if not head or not feet:
        return np.full(len(joints), np.nan)
    high, low = _nanmean(joints[:, head, 2]), _nanmean(joints[:, feet, 2])
    return np.where(np.isfinite(high + low), high < low, np.nan)


def label_churn(before: np.ndarray, after: np.ndarray, moved_mm: float) -> float:
    """How much of what was taught would be taught otherwise now.

    Args:
        before, after: (frames, joints, 3) world mm of the teacher's joints and of the student's, of the same frames.
        moved_mm: what counts as moved.

    Returns:
        Percent of the joints that either knows which moved, came or went; NaN where none is known.
    """
    old, new = np.isfinite(before).all(axis=-1), np.isfinite(after).all(axis=-1)
    if not (old | new).any():
        return float("nan")
    moved = np.linalg.norm(after - before, axis=-1) > moved_mm  # False for NaN
    return 100 * float((moved | (old ^ new)).sum() / (old | new).sum())


def _limb_lengths(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(frames, joints, 3) -> (frames, limbs) mm."""
    parents, children = (list(ends) for ends in zip(*skeleton.limbs, strict=True))
    return np.linalg.norm(joints[:, children] - joints[:, parents], axis=-1)


def _nanmedian(values: np.ndarray) -> np.ndarray:
    """Over the first axis; NaN, without a warning, of nothing."""
    known = np.isfinite(values).any(axis=0)
    return np.where(known, np.nanmedian(np.where(known, values, 0.0), axis=0), np.nan)


def _nanmean(values: np.ndarray) -> np.ndarray:
    """Over the last axis; NaN, without a warning, of nothing."""
    known = np.isfinite(values)
    count = known.sum(axis=-1)
    return np.where(known, values, 0.0).sum(axis=-1) / np.where(count > 0, count, np.nan)
