"""How long a person's limbs are, learned from the rig's own triangulated poses, without any label."""

import numpy as np

from pipeline.skeleton import Skeleton

_SURE_VIEWS = 3  # joints on which so many views agree are hardly ever wrong


def limb_lengths(
    joints: np.ndarray, views: np.ndarray, person: np.ndarray, skeleton: Skeleton
) -> dict[str, np.ndarray]:
    """The limb lengths of every person: the median over their frames, left and right averaged.

    Frames count where at least three views agree on both ends, or, where there is none such, all in which both are known.
    A limb that a person never shows is as long as the median of the others'.

    Args:
        joints: (frames, joints, 3) world mm; NaN where not known.
        views: (frames, joints) how many views agree on the joint.
        person: (frames,) text, who is seen.
        skeleton: which joint hangs on which.

    Returns:
        For each person, sorted: (joints,) mm from each joint to its parent; NaN at the root, and where nobody ever showed
        the limb.
    """
    people = sorted(set(person.tolist()))
    found = np.full((len(people), len(skeleton)), np.nan)
    for parent, child in skeleton.limbs:
        each = np.linalg.norm(joints[:, child] - joints[:, parent], axis=-1)  # (frames,)
        sure = np.minimum(views[:, child], views[:, parent]) >= _SURE_VIEWS
        for row, name in enumerate(people):
            known = np.isfinite(each) & (person == name)
            chosen = known & sure if (known & sure).any() else known
            if chosen.any():
                found[row, child] = np.median(each[chosen])
    mirrored = found[:, list(skeleton.flipped)]
    both = np.where(np.isfinite(mirrored), mirrored, found)
    found = (np.where(np.isfinite(found), found, both) + both) / 2
    for child in range(len(skeleton)):
        known = np.isfinite(found[:, child])
        if known.any():
            found[~known, child] = np.median(found[known, child])
    return dict(zip(people, found, strict=True))
