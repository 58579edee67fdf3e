"""Associate detected people across the views by epipolar geometry, frame by frame.

A detector detects people in each view separately, without identities. The keypoints of one person in two views lie on each
other's epipolar lines, joint by joint; those of two different people do not. The person of interest is the one that most views
agree on.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.geometry.epipolar import fundamental_matrix, sampson_distance

_MIN_JOINTS = 3  # visible in both detections, to compare them
_BLOCK = 256  # frames at a time, which bounds the memory
_SEEDS = 64  # pairs of detections that a frame's hypotheses start from, the best first
_KEPT = 8  # hypotheses of a frame that compete over time
_JUMP_COST = 1.0  # of a jump by the person's own size, in agreeing pairs of views


def associate(
    keypoints: np.ndarray, scores: np.ndarray, cameras: Sequence[Camera], slack: float = 0.04, min_score: float = 0.1
) -> np.ndarray:
    """Return the index of the person of interest in every view of every frame.

    Args:
        keypoints: (frames, views, people, joints, 2) px, consecutive frames of one sequence; NaN if not seen.
        scores: (frames, views, people, joints) in [0, 1].
        cameras: (views,).
        slack: the mean epipolar distance that is allowed, as a fraction of the person's size in the image; errors of 1 % are
            common in calibrations and in keypoints.
        min_score: keypoints with a lower score are ignored.

    Returns:
        (frames, views) int, the index of the person; -1 if no person in the view fits.
    """
    frames, views, _, _, _ = keypoints.shape
    extents = _extents(keypoints, scores, min_score)  # (frames, views, people, 3)
    hypotheses, supports = [], []
    for start in range(0, frames, _BLOCK):
        block = slice(start, start + _BLOCK)
        for costs in _costs(keypoints[block], scores[block], cameras, slack, min_score):
            groups, support = _hypotheses(costs)
            hypotheses.append(groups)
            supports.append(support)
    return _best_chain(hypotheses, supports, extents) if frames else np.zeros((0, views), dtype=int)


def epipolar_agreement(
    keypoints: np.ndarray, scores: np.ndarray, cameras: Sequence[Camera], slack: float = 0.04, min_score: float = 0.1
) -> float:
    """Return the agreement of the views on one person, over all frames: 1 if all pairs agree exactly, 0 if no pair does.

    The calibration of other cameras, or one with inverted rotations, agrees with few keypoints. The arguments are those of
    `associate`; the frames need not be consecutive.
    """
    views = len(cameras)
    best = [_hypotheses(costs)[1][0] for costs in _costs(keypoints, scores, cameras, slack, min_score)]
    return float(np.mean(best)) / (views * (views - 1) / 2)


def _costs(
    keypoints: np.ndarray, scores: np.ndarray, cameras: Sequence[Camera], slack: float, min_score: float
) -> np.ndarray:
    """Return (frames, views, views, people, people), the mean epipolar distance of two detections: 1 at the slack, at most 2.

    NaN if they have too few joints in common.
    """
    frames, views, people, _, _ = keypoints.shape
    visible = np.isfinite(keypoints).all(axis=-1) & (scores >= min_score)
    size = _extents(keypoints, scores, min_score)[..., 2]
    undistorted = np.stack([camera.undistort(keypoints[:, view]) for view, camera in enumerate(cameras)], axis=1)
    costs = np.full((frames, views, views, people, people), np.nan)
    for a, b in combinations(range(views), 2):
        one, other = np.broadcast_arrays(undistorted[:, a, :, None], undistorted[:, b, None])
        distance = sampson_distance(
            one, other, fundamental_matrix(cameras[a], cameras[b])
        )  # (frames, people, people, joints)
        allowed = slack * (size[:, a, :, None] + size[:, b, None]) / 2
        both = visible[:, a, :, None] & visible[:, b, None] & np.isfinite(distance)
        relative = np.where(both, np.minimum(distance / allowed[..., None], 2.0), 0.0)
        shared = both.sum(axis=-1)
        mean = np.where(shared >= _MIN_JOINTS, relative.sum(axis=-1) / np.maximum(shared, 1), np.nan)
        costs[:, a, b] = mean
        costs[:, b, a] = np.swapaxes(mean, -1, -2)
    return costs


def _hypotheses(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return groups of detections, one per view, that fit together.

    Each group starts from a pair and adds, view by view, the detection that fits the whole group best; so the work grows with
    the number of pairs, not of combinations.

    Args:
        costs: (views, views, people, people).

    Returns:
        (hypotheses, views) person or -1, best first, and (hypotheses,) support: the sum over pairs of views, each between 0
        and 1. The last hypothesis has no person in any view, and no support.
    """
    views = len(costs)
    a, b, i, j = np.nonzero(np.where(np.isnan(costs), np.inf, costs) < 1)
    upper = a < b
    a, b, i, j = a[upper], b[upper], i[upper], j[upper]
    order = np.argsort(costs[a, b, i, j], kind="stable")[:_SEEDS]
    groups: list[np.ndarray] = []
    for seed in order:
        first, second, one, other = a[seed], b[seed], i[seed], j[seed]
        if any(group[first] == one and group[second] == other for group in groups):
            continue
        group = np.full(views, -1)
        group[first], group[second] = one, other
        while (group < 0).any():
            members = np.flatnonzero(group >= 0)
            to_members = costs[members, :, group[members]]  # (members, views, people)
            known = np.isfinite(to_members)
            mean = np.where(known, to_members, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
            mean[~known.any(axis=0)] = np.inf
            mean[members] = np.inf
            view, person = np.unravel_index(np.argmin(mean), mean.shape)
            if mean[view, person] >= 1:
                break
            group[view] = person
        groups.append(group)
    unique = list({tuple(group.tolist()): group for group in groups}.values())
    support = np.array([_support(costs, group) for group in unique])
    best = np.argsort(-support, kind="stable")[:_KEPT]
    empty = np.full((1, views), -1)
    return np.concatenate([np.array(unique, dtype=int).reshape(-1, views)[best], empty]), np.append(support[best], 0.0)


def _support(costs: np.ndarray, group: np.ndarray) -> float:
    """Return the sum of 1 - cost over the pairs of a group."""
    members = np.flatnonzero(group >= 0)
    pairs = [costs[a, b, group[a], group[b]] for a, b in combinations(members, 2)]
    return float(np.nansum(1 - np.array(pairs)))


def _extents(keypoints: np.ndarray, scores: np.ndarray, min_score: float) -> np.ndarray:
    """Return (frames, views, people, 3) px: centre x, y and the longer side of each detection; NaN without keypoints."""
    visible = np.isfinite(keypoints).all(axis=-1) & (scores >= min_score)
    low = np.where(visible[..., None], keypoints, np.inf).min(axis=-2)
    high = np.where(visible[..., None], keypoints, -np.inf).max(axis=-2)
    low[~visible.any(axis=-1)] = high[~visible.any(axis=-1)] = np.nan
    return np.concatenate([(low + high) / 2, (high - low).max(axis=-1, keepdims=True)], axis=-1)


def _best_chain(hypotheses: list[np.ndarray], supports: list[np.ndarray], extents: np.ndarray) -> np.ndarray:
    """Return (frames, views) person or -1, the chain of hypotheses with the most support minus jumps (Viterbi)."""
    back = []
    total = supports[0]
    for t in range(1, len(hypotheses)):
        jumps = _jumps(hypotheses[t - 1], extents[t - 1], hypotheses[t], extents[t])  # (before, now)
        reached = total[:, None] - _JUMP_COST * jumps
        back.append(reached.argmax(axis=0))
        total = reached.max(axis=0) + supports[t]
    at = int(total.argmax())
    chain = [hypotheses[-1][at]]
    for t in range(len(hypotheses) - 2, -1, -1):
        at = int(back[t][at])
        chain.append(hypotheses[t][at])
    return np.stack(chain[::-1])


def _jumps(before: np.ndarray, extents_before: np.ndarray, now: np.ndarray, extents_now: np.ndarray) -> np.ndarray:
    """Return (hypotheses before, hypotheses now), the sum over views of jumps; one by the person's size or more is 1."""
    views = np.arange(before.shape[1])
    old = np.where((before >= 0)[..., None], extents_before[views, before], np.nan)[:, None]
    new = np.where((now >= 0)[..., None], extents_now[views, now], np.nan)[None]
    jump = np.linalg.norm(new[..., :2] - old[..., :2], axis=-1) / np.maximum(old[..., 2], new[..., 2])
    return np.nansum(np.minimum(jump, 1.0), axis=-1)
