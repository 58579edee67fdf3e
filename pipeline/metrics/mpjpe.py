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


def aligned_distances(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """`joint_distances` after the similarity that brings each found pose closest to the truth (PA-MPJPE).

    Frames in which fewer than three joints are known on both sides are NaN: they fix no similarity.
    """
    return joint_distances(align(found, truth, scale=True), truth)


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
