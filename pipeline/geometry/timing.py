"""Views out of step: one person's joints lie on each other's epipolar lines only where the frames are of one moment."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.geometry.epipolar import fundamental_matrix, sampson_distance

_MOST = 30  # frames that views may be out of step to be noticed
_GAIN = 0.93  # how much nearer to the lines the joints must come by each view's offset, at least


def someone(points: np.ndarray, scores: np.ndarray, person: np.ndarray) -> np.ndarray:
    """The person of interest, and where a view has nobody who fits, whom its detector is surest of.

    A view that is out of step shows the person where the others do not expect them.

    Args:
        points: (frames, views, people, joints, 2) px.
        scores: (frames, views, people, joints).
        person: (frames, views) int, -1 for nobody.

    Returns:
        (frames, views, joints, 2) px.
    """
    surest = scores.sum(axis=-1).argmax(axis=-1)
    index = np.where(person >= 0, person, surest)[..., None, None, None]
    return np.take_along_axis(points, index, axis=2)[:, :, 0]


def offsets(points: np.ndarray, cameras: Sequence[Camera]) -> tuple[np.ndarray, float, float]:
    """Which views seem to be early or late, by the median distance from the epipolar lines.

    A person who stands still says nothing of it, and then nothing is found.

    Args:
        points: (frames, views, joints, 2) px of one person, consecutive frames of one sequence; NaN where not seen.
        cameras: (views,) that took the points.

    Returns:
        (views,) int, by how many frames each view runs ahead: its frame t + offset belongs to the others' frame t; most
        are 0, and all where nothing is clearly better. And the distance in px as it is, and then; NaN where nothing is seen.
    """
    frames, views = points.shape[:2]
    most = min(_MOST, frames // 4)
    straight = np.stack([camera.undistort(points[:, view]) for view, camera in enumerate(cameras)], axis=1)
    cost = np.full((views, views, 2 * most + 1), np.nan)  # px, of a view's frame t and the other's t + shift
    for a, b in combinations(range(views), 2):
        F = fundamental_matrix(cameras[a], cameras[b])
        for shift in range(-most, most + 1):
            first = straight[max(0, -shift) : frames - max(0, shift), a]
            second = straight[max(0, shift) : frames - max(0, -shift), b]
            distance = sampson_distance(first, second, F)
            known = distance[np.isfinite(distance)]
            if len(known) >= 20:
                cost[a, b, shift + most] = cost[b, a, most - shift] = np.median(known)

    def total(offset: np.ndarray) -> float:
        apart = offset[None] - offset[:, None]  # (a, b)
        inside = np.abs(apart) <= most
        chosen = np.take_along_axis(cost, np.clip(apart + most, 0, 2 * most)[..., None], axis=2)[..., 0]
        seen = np.isfinite(chosen) & inside
        return float(chosen[seen].mean()) if (seen == np.isfinite(cost[..., most])).all() and seen.any() else np.inf

    nobody = np.zeros(views, dtype=int)
    before = total(nobody)
    if not np.isfinite(before) or most == 0:
        return nobody, np.nan, np.nan
    best, found = before, nobody
    while True:
        trials = [
            np.where(np.arange(views) == view, shift, found)
            for view in range(views)
            for shift in range(-most, most + 1)
        ]
        costs = [total(trial) for trial in trials]
        if min(costs) >= best - 1e-9:
            break
        best, found = min(costs), trials[int(np.argmin(costs))]
    usual = int(np.bincount(found + 2 * most).argmax()) - 2 * most
    found = found - usual
    while found.any():  # the least helpful offset goes first, as others may make up for it
        less = [np.where(np.arange(views) == view, 0, found) for view in np.flatnonzero(found)]
        cheapest = min(less, key=total)
        if total(found) <= _GAIN * total(cheapest):
            break
        found = cheapest
    return found, before, total(found)
