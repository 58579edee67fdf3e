"""MPJPE and related metrics: distances of predicted 3D joints from the ground truth, in mm.

Joints that are unknown on either side are excluded, so a distance is meaningful only together with the coverage. Against
another tool's result the same numbers are distances to a peer, not errors.
"""

import numpy as np

from pipeline import nanstats
from pipeline.geometry.alignment import align


def joint_distances(predicted: np.ndarray, ground_truth: np.ndarray) -> np.ndarray:
    """Return (..., joints) mm, the distances of (..., joints, 3) mm without any alignment; their mean is the absolute MPJPE.

    NaN if either is unknown.
    """
    return np.linalg.norm(predicted - ground_truth, axis=-1)


def relative_distances(predicted: np.ndarray, ground_truth: np.ndarray, root: int) -> np.ndarray:
    """Return `joint_distances` after moving both roots to the origin.

    NaN also at the root itself, whose distance is zero by construction, and in frames without a root.
    """
    distances = joint_distances(
        predicted - predicted[..., root, None, :], ground_truth - ground_truth[..., root, None, :]
    )
    distances[..., root] = np.nan
    return distances


def aligned_distances(predicted: np.ndarray, ground_truth: np.ndarray, scale: bool = True) -> np.ndarray:
    """Return `joint_distances` after the similarity that fits each predicted pose to the ground truth (PA-MPJPE).

    Without `scale` it is a rigid motion, which some publish under the same name: call it `mpjpe_pa_noscale`. NaN in frames with
    fewer than three joints known on both sides: they determine no similarity.
    """
    return joint_distances(align(predicted, ground_truth, scale=scale), ground_truth)


def scaled_distances(predicted: np.ndarray, ground_truth: np.ndarray, root: int) -> np.ndarray:
    """Return `relative_distances` after the best scaling of each pose about its root (N-MPJPE, Rhodin 2018)."""
    predicted, ground_truth = predicted - predicted[..., root, None, :], ground_truth - ground_truth[..., root, None, :]
    both = (np.isfinite(predicted) & np.isfinite(ground_truth)).all(-1, keepdims=True)
    product, square = (
        np.where(both, predicted * other, 0).sum((-2, -1), keepdims=True) for other in (ground_truth, predicted)
    )
    return relative_distances(predicted * product / np.where(square > 0, square, np.nan), ground_truth, root)


def challenge_distances(
    predicted: np.ndarray, ground_truth: np.ndarray, root: int, parents: tuple[int, ...], skeleton_mm: float
) -> np.ndarray:
    """Return the distances of the ECCV'18 Human3.6M challenge: limbs scaled to a known total length, then roots aligned.

    Args:
        predicted, ground_truth: (..., joints, 3) mm.
        parents: of each joint, -1 at the root.
        skeleton_mm: total length of all limbs of a pose; 4502.881 is the mean of the challenge's labels.

    Returns:
        (..., joints) mm; the root's distance is 0 and counts in the challenge's mean over all joints.
    """
    children = [joint for joint, parent in enumerate(parents) if parent >= 0]
    limbs = predicted[..., children, :] - predicted[..., [parents[child] for child in children], :]
    total = np.linalg.norm(limbs, axis=-1).sum(-1)[..., None, None]
    predicted = (predicted - predicted[..., root, None, :]) * skeleton_mm / total
    return joint_distances(predicted, ground_truth - ground_truth[..., root, None, :])


def pck_3d(distances: np.ndarray, threshold_mm: float = 150.0) -> float:
    """Return 3DPCK (Mehta 2017): percent of the known joints within a distance, usually of `relative_distances`."""
    known = distances[np.isfinite(distances)]
    return 100.0 * float((known <= threshold_mm).mean()) if known.size else float("nan")


def area_under_pck_3d(distances: np.ndarray) -> float:
    """Return the mean of 3DPCK at 0, 5, ..., 150 mm as in MPI-INF-3DHP, percent."""
    return float(np.mean([pck_3d(distances, float(threshold)) for threshold in np.arange(0, 151, 5)]))


def by_group(distances: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """Return the mean over the known joints of each group, such as an action or a subject.

    Args:
        distances: (frames, joints) mm; NaN if unknown.
        groups: (frames,) text.
    """
    return {str(group): nanstats.mean(distances[groups == group]) for group in np.unique(groups)}


def coverage(predicted: np.ndarray, ground_truth: np.ndarray) -> float:
    """Return the percentage of the joints with ground truth, (..., joints, 3), that are predicted; NaN without any."""
    known = np.isfinite(ground_truth).all(-1)
    return nanstats.percent((np.isfinite(predicted).all(-1) & known).sum(), known.sum())
