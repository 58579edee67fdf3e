"""MPJPE and its kin: how far 3D joints are from where they should be, in mm.

Joints that one side does not know are left out, so a distance says little without the coverage beside it. Against
another tool's result the same numbers are a distance to a peer, not an error.
"""

import numpy as np

from pipeline.geometry.alignment import align


def joint_distances(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(..., joints, 3) against (..., joints, 3), mm -> (..., joints) mm, in the world as it is: nothing is aligned.

    NaN where either is not known. Its mean is the absolute MPJPE.
    """
    return np.linalg.norm(found - truth, axis=-1)


def relative_distances(found: np.ndarray, truth: np.ndarray, root: int) -> np.ndarray:
    """`joint_distances` after moving both roots to the origin.

    NaN also at the root itself, where the distance is zero by construction, and in frames without a root.
    """
    distances = joint_distances(found - found[..., root, None, :], truth - truth[..., root, None, :])
    distances[..., root] = np.nan
    return distances


def aligned_distances(found: np.ndarray, truth: np.ndarray, scale: bool = True) -> np.ndarray:
    """`joint_distances` after the similarity that brings each found pose closest to the truth (PA-MPJPE).

    Without `scale` it is a rigid motion, which some publish under the same name: call it `mpjpe_pa_noscale`. Frames in
    which fewer than three joints are known on both sides are NaN: they fix no similarity.
    """
    return joint_distances(align(found, truth, scale=scale), truth)


def scaled_distances(found: np.ndarray, truth: np.ndarray, root: int) -> np.ndarray:
    """`relative_distances` after the best scale of each pose about its root (N-MPJPE, Rhodin 2018)."""
    found, truth = found - found[..., root, None, :], truth - truth[..., root, None, :]
    both = (np.isfinite(found) & np.isfinite(truth)).all(-1, keepdims=True)
    product, square = (np.where(both, found * other, 0).sum((-2, -1), keepdims=True) for other in (truth, found))
    return relative_distances(found * product / np.where(square > 0, square, np.nan), truth, root)


def challenge_distances(
    found: np.ndarray, truth: np.ndarray, root: int, parents: tuple[int, ...], skeleton_mm: float
) -> np.ndarray:
    """The ECCV'18 Human3.6M challenge's: roots together, the found limbs scaled to a known total length first.

    Args:
        found, truth: (..., joints, 3) mm.
        parents: of each joint, -1 at the root.
        skeleton_mm: what all limbs of a pose add up to; 4502.881 is the mean of the challenge's labels.

    Returns:
        (..., joints) mm; the root is 0 and counts in the challenge's mean over all joints.
    """
    children = [joint for joint, parent in enumerate(parents) if parent >= 0]
    limbs = found[..., children, :] - found[..., [parents[child] for child in children], :]
    total = np.linalg.norm(limbs, axis=-1).sum(-1)[..., None, None]
    found = (found - found[..., root, None, :]) * skeleton_mm / total
    return joint_distances(found, truth - truth[..., root, None, :])


def pck_3d(distances: np.ndarray, threshold_mm: float = 150.0) -> float:
    """3DPCK (Mehta 2017): percent of the known joints within a distance, usually of `relative_distances`."""
    known = distances[np.isfinite(distances)]
    return 100.0 * float((known <= threshold_mm).mean()) if known.size else float("nan")


def area_under_pck_3d(distances: np.ndarray) -> float:
    """The mean of 3DPCK at 0, 5, ..., 150 mm, as MPI-INF-3DHP has it, percent."""
    return float(np.mean([pck_3d(distances, float(threshold)) for threshold in np.arange(0, 151, 5)]))


def by_group(distances: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """The mean over the known joints of each action, or subject.

    Args:
        distances: (frames, joints) mm; NaN where not known.
        groups: (frames,) text.
    """
    return {str(group): mean_known(distances[groups == group]) for group in np.unique(groups)}


def mean_known(distances: np.ndarray) -> float:
    """Mean over everything that is known; NaN when nothing is."""
    known = distances[np.isfinite(distances)]
    return float(known.mean()) if known.size else float("nan")


def median_known(distances: np.ndarray) -> float:
    """Median over everything that is known; NaN when nothing is."""
    known = distances[np.isfinite(distances)]
    return float(np.median(known)) if known.size else float("nan")


def coverage(found: np.ndarray, truth: np.ndarray) -> float:
    """Percent of the joints with truth, (..., joints, 3), that have a found position; NaN when none has truth."""
    wanted = np.isfinite(truth).all(-1)
    have = np.isfinite(found).all(-1) & wanted
    return 100.0 * float(have.sum()) / float(wanted.sum()) if wanted.any() else float("nan")
