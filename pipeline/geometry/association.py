"""Which of the detected people, one a view, are the same person: asked of the epipolar geometry, frame by frame.

A detector finds people view by view and does not know who is who. Two detections of one person keep to one another's
epipolar lines, joint by joint; a bystander's do not. The person of interest is who most views agree on.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.geometry.epipolar import fundamental_matrix, sampson_distance

_MIN_JOINTS = 3  # that two detections must share to be compared
_BLOCK = 256  # frames at a time, which bounds the memory
_SEEDS = 64  # pairs of detections that a frame's hypotheses start from, the best first
_KEPT = 8  # hypotheses of a frame that compete over time
_MOVE = 1.0  # what a jump by the person's own size costs, in agreeing pairs of views


def associate(
    points: np.ndarray, scores: np.ndarray, cameras: Sequence[Camera], slack: float = 0.04, min_score: float = 0.1
) -> np.ndarray:
    """Choose one of the detected people, or nobody, in every view of every frame.

    Args:
        points: (frames, views, people, joints, 2) px, consecutive frames of one sequence; NaN where not seen.
        scores: (frames, views, people, joints) in [0, 1].
        cameras: (views,) that took the points.
        slack: how far off its epipolar line a joint may be on average, as a fraction of the person's size in the picture;
            calibrations that are 1 % off are common, and so are joints that are.
        min_score: joints below it have no say.

    Returns:
        (frames, views) int, the index of the person; -1 where nobody in the view fits.
    """
    frames, views, _, _, _ = points.shape
    places = _places(points, scores, min_score)  # (frames, views, people, 3)
    found, supports = [], []
    for start in range(0, frames, _BLOCK):
        block = slice(start, start + _BLOCK)
        for costs in _costs(points[block], scores[block], cameras, slack, min_score):
            hypotheses, support = _hypotheses(costs)
            found.append(hypotheses)
            supports.append(support)
    return _follow(found, supports, places) if frames else np.zeros((0, views), dtype=int)


def epipolar_agreement(
    points: np.ndarray, scores: np.ndarray, cameras: Sequence[Camera], slack: float = 0.04, min_score: float = 0.1
) -> float:
    """How well the views agree on somebody, over all frames: 1 when every two do to the pixel, 0 when no two do.

    A calibration that belongs to other cameras, or has a rotation the wrong way round, agrees with little of what is seen.
    Arguments as for `associate`; the frames need not be consecutive.
    """
    views = len(cameras)
    best = [_hypotheses(costs)[1][0] for costs in _costs(points, scores, cameras, slack, min_score)]
    return float(np.mean(best)) / (views * (views - 1) / 2)


def _costs(
    points: np.ndarray, scores: np.ndarray, cameras: Sequence[Camera], slack: float, min_score: float
) -> np.ndarray:
    """(frames, views, views, people, people): how badly two detections fit one person, 1 at the slack, at most 2.

    NaN where they share too few joints to tell.
    """
    frames, views, people, _, _ = points.shape
    seen = np.isfinite(points).all(axis=-1) & (scores >= min_score)
    size = _places(points, scores, min_score)[..., 2]
    straight = np.stack([camera.undistort(points[:, view]) for view, camera in enumerate(cameras)], axis=1)
    costs = np.full((frames, views, views, people, people), np.nan)
    for a, b in combinations(range(views), 2):
        one, other = np.broadcast_arrays(straight[:, a, :, None], straight[:, b, None])
        distance = sampson_distance(
            one, other, fundamental_matrix(cameras[a], cameras[b])
        )  # (frames, people, people, joints)
        allowed = slack * (size[:, a, :, None] + size[:, b, None]) / 2
        both = seen[:, a, :, None] & seen[:, b, None] & np.isfinite(distance)
        relative = np.where(both, np.minimum(distance / allowed[..., None], 2.0), 0.0)
        shared = both.sum(axis=-1)
        mean = np.where(shared >= _MIN_JOINTS, relative.sum(axis=-1) / np.maximum(shared, 1), np.nan)
        costs[:, a, b] = mean
        costs[:, b, a] = np.swapaxes(mean, -1, -2)
    return costs


def _hypotheses(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Groups of detections, one a view, that fit together.

    Starts from pairs and adds, view by view, who fits the whole group best; so the work grows with the number of pairs, not
    of combinations.

    Args:
        costs: (views, views, people, people).

    Returns:
        (hypotheses, views) person or -1, best first, and (hypotheses,) support: agreeing pairs of views, each between 0 and
        1. The last is nobody anywhere, without support.
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
    nobody = np.full((1, views), -1)
    return np.concatenate([np.array(unique, dtype=int).reshape(-1, views)[best], nobody]), np.append(support[best], 0.0)


def _support(costs: np.ndarray, group: np.ndarray) -> float:
    members = np.flatnonzero(group >= 0)
    pairs = [costs[a, b, group[a], group[b]] for a, b in combinations(members, 2)]
    return float(np.nansum(1 - np.array(pairs)))


def _places(points: np.ndarray, scores: np.ndarray, min_score: float) -> np.ndarray:
    """(frames, views, people, 3) px: middle x and y of each detection and its size, the longer side; NaN for nothing."""
    seen = np.isfinite(points).all(axis=-1) & (scores >= min_score)
    low = np.where(seen[..., None], points, np.inf).min(axis=-2)
    high = np.where(seen[..., None], points, -np.inf).max(axis=-2)
    low[~seen.any(axis=-1)] = high[~seen.any(axis=-1)] = np.nan
    return np.concatenate([(low + high) / 2, (high - low).max(axis=-1, keepdims=True)], axis=-1)


def _follow(found: list[np.ndarray], supports: list[np.ndarray], places: np.ndarray) -> np.ndarray:
    """The chain of hypotheses with the most support and the least jumping (Viterbi): (frames, views) person or -1."""
    back = []
    total = supports[0]
    for t in range(1, len(found)):
        moves = _moves(found[t - 1], places[t - 1], found[t], places[t])  # (before, now)
        reached = total[:, None] - _MOVE * moves
        back.append(reached.argmax(axis=0))
        total = reached.max(axis=0) + supports[t]
    at = int(total.argmax())
    chain = [found[-1][at]]
    for t in range(len(found) - 2, -1, -1):
        at = int(back[t][at])
        chain.append(found[t][at])
    return np.stack(chain[::-1])


def _moves(before: np.ndarray, places_before: np.ndarray, now: np.ndarray, places_now: np.ndarray) -> np.ndarray:
    """(hypotheses before, hypotheses now): views in which the person jumped, a jump by its own size counting as one."""
    views = np.arange(before.shape[1])
    old = np.where((before >= 0)[..., None], places_before[views, before], np.nan)[:, None]
    new = np.where((now >= 0)[..., None], places_now[views, now], np.nan)[None]
    jump = np.linalg.norm(new[..., :2] - old[..., :2], axis=-1) / np.maximum(old[..., 2], new[..., 2])
    return np.nansum(np.minimum(jump, 1.0), axis=-1)
