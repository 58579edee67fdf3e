"""How long a person's limbs are, learned from the rig's own triangulated poses, without any label."""

from dataclasses import dataclass

import numpy as np

from pipeline.skeleton import Skeleton

_SURE_VIEWS = 3  # joints on which so many views agree are hardly ever wrong
_ENOUGH = 5  # measurements that a median needs to bear two wrong ones
_NORMAL = 1.4826  # standard deviation of a normal distribution, in median absolute deviations


@dataclass(frozen=True, eq=False)
class Limbs:
    """The limbs of one person, each from a joint to its parent; left and right are the same.

    Attributes:
        length_mm: (joints,) median; NaN at the root, and where nobody ever showed the limb.
        spread_mm: (joints,) robust standard deviation of the measurements (of the others' lengths, where it is from them).
        measurements: (joints,) how many there are, on both sides together; of people, where it is from the others.
        source: (joints,) text: "three views" or "two views" that agree on both ends, "others": the median of the other people,
            empty where the length is not known.
    """

    length_mm: np.ndarray
    spread_mm: np.ndarray
    measurements: np.ndarray
    source: np.ndarray


def limb_lengths(joints: np.ndarray, views: np.ndarray, person: np.ndarray, skeleton: Skeleton) -> dict[str, Limbs]:
    """The limbs of every person: the median over their frames, of both sides together.

    Frames count where at least three views agree on both ends of the limb, or, where there are not enough such, all in which
    both are known. A limb that a person never shows is as long as the median of the others'.

    Args:
        joints: (frames, joints, 3) world mm; NaN where not known.
        views: (frames, joints) how many views agree on the joint.
        person: (frames,) text, who is seen.
        skeleton: which joint hangs on which.

    Returns:
        For each person, sorted, their limbs.
    """
    found = {name: _measured(joints[person == name], views[person == name], skeleton) for name in np.unique(person)}
    lengths = np.array([limbs.length_mm for limbs in found.values()]).reshape(len(found), len(skeleton))
    for limbs in found.values():
        for _, child in skeleton.limbs:
            if np.isnan(limbs.length_mm[child]):
                others = lengths[np.isfinite(lengths[:, child]), child]
                _put(limbs, child, others, "others")
    return {str(name): limbs for name, limbs in found.items()}


def sample_evenly(person: np.ndarray, most: int) -> np.ndarray:
    """Which frames to measure limbs in, where there are many: (frames,) bool, at most so many of each person, evenly spread."""
    chosen = np.zeros(len(person), dtype=bool)
    for name in np.unique(person):
        rows = np.flatnonzero(person == name)
        chosen[rows[:: -(-len(rows) // most)]] = True
    return chosen


def _measured(joints: np.ndarray, views: np.ndarray, skeleton: Skeleton) -> Limbs:
    """The limbs of one person from their own frames."""
    many = len(skeleton)
    limbs = Limbs(
        np.full(many, np.nan), np.full(many, np.nan), np.zeros(many, dtype=int), np.full(many, "", dtype="<U16")
    )
    for parent, child in skeleton.limbs:
        sides = {(parent, child), (skeleton.flipped[parent], skeleton.flipped[child])}
        both = sorted(sides & set(skeleton.limbs))
        each = np.concatenate([np.linalg.norm(joints[:, a] - joints[:, b], axis=-1) for a, b in both])
        agreeing = np.concatenate([np.minimum(views[:, a], views[:, b]) for a, b in both])
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
