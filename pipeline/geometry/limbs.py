"""Limb lengths of each person, measured in the rig's own triangulated poses, without labels."""

from dataclasses import dataclass

import numpy as np

from pipeline.skeleton import Skeleton

_SURE_VIEWS = 3  # joints on which so many views agree are rarely wrong
_ENOUGH = 5  # a median of so many measurements tolerates two outliers
_NORMAL = 1.4826  # standard deviation of a normal distribution, in median absolute deviations


@dataclass(frozen=True, eq=False)
class Limbs:
    """The limbs of one person, each from a joint to its parent; left and right are equal.

    Attributes:
        length_mm: (joints,) median; NaN at the root, and if the limb was never measured.
        spread_mm: (joints,) robust standard deviation of the measurements; of the other people's lengths if `source` is
            "others".
        measurements: (joints,) number of measurements, both sides together; number of people if `source` is "others".
        source: (joints,) text: "three views" or "two views" that agree on both ends, or "others", the median of the other
            people; empty if the length is unknown.
    """

    length_mm: np.ndarray
    spread_mm: np.ndarray
    measurements: np.ndarray
    source: np.ndarray


def limb_lengths(joints: np.ndarray, num_views: np.ndarray, person: np.ndarray, skeleton: Skeleton) -> dict[str, Limbs]:
    """Return the limbs of every person: the median over their frames, of both sides together.

    A frame counts if at least three views agree on both ends of the limb; if there are too few such frames, all frames count in
    which both ends are known. A limb that was never measured on a person gets the median of the other people's lengths.

    Args:
        joints: (frames, joints, 3) world mm; NaN if unknown.
        num_views: (frames, joints) number of views that agree on the joint.
        person: (frames,) text, the person in the frame.
        skeleton: the tree of joints.

    Returns:
        The limbs by person, sorted.
    """
    people = {
        name: _measured(joints[person == name], num_views[person == name], skeleton) for name in np.unique(person)
    }
    lengths = np.array([limbs.length_mm for limbs in people.values()]).reshape(len(people), len(skeleton))
    for limbs in people.values():
        for _, child in skeleton.limbs:
            if np.isnan(limbs.length_mm[child]):
                others = lengths[np.isfinite(lengths[:, child]), child]
                _put(limbs, child, others, "others")
    return {str(name): limbs for name, limbs in people.items()}


def sample_evenly(person: np.ndarray, most: int) -> np.ndarray:
    """Return (frames,) bool, at most `most` frames of each person, evenly spread over the recording."""
    chosen = np.zeros(len(person), dtype=bool)
    for name in np.unique(person):
        rows = np.flatnonzero(person == name)
        chosen[rows[:: -(-len(rows) // most)]] = True
    return chosen


def _measured(joints: np.ndarray, num_views: np.ndarray, skeleton: Skeleton) -> Limbs:
    """Return the limbs of one person, measured in their own frames."""
    num_joints = len(skeleton)
    limbs = Limbs(
        length_mm=np.full(num_joints, np.nan),
        spread_mm=np.full(num_joints, np.nan),
        measurements=np.zeros(num_joints, dtype=int),
        source=np.full(num_joints, "", dtype="<U16"),
    )
    for parent, child in skeleton.limbs:
        sides = {(parent, child), (skeleton.flipped[parent], skeleton.flipped[child])}
        both = sorted(sides & set(skeleton.limbs))
        each = np.concatenate([np.linalg.norm(joints[:, a] - joints[:, b], axis=-1) for a, b in both])
        agreeing = np.concatenate([np.minimum(num_views[:, a], num_views[:, b]) for a, b in both])
        known = np.isfinite(each)
        sure = known & (agreeing >= _SURE_VIEWS)
        if sure.sum() >= _ENOUGH or (sure == known).all():
            _put(limbs, child, each[sure], "three views")
        else:
            _put(limbs, child, each[known], "two views")
    return limbs


def _put(limbs: Limbs, child: int, each: np.ndarray, source: str) -> None:
    if each.size:
        limbs.length_mm[child] = np.median(each)
        limbs.spread_mm[child] = _NORMAL * np.median(np.abs(each - np.median(each)))
        limbs.measurements[child] = each.size
        limbs.source[child] = source
