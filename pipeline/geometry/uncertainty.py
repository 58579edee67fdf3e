"""Uncertainty of triangulated joints, from how much the views contradict one another: a covariance for each joint.

A joint is known from few views: two views give four numbers for three unknowns, so one number is left that measures noise. So
the scale of the noise is pooled over the whole run, by view and joint, and a joint's own residuals change it only as far as
the run shows that frames differ. A run that does not fit into memory is tallied block by block.
"""

from dataclasses import dataclass, fields

import numpy as np

from pipeline.geometry.camera import Camera

# The weight of the run's noise in the noise of a view on a joint, in keypoints.
_PRIOR_KEYPOINTS = 10.0

# Keypoints within _NEAR thresholds of a joint measure noise; those in the ring from there to _FAR thresholds measure outliers.
_NEAR, _FAR = 2.0, 3.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Tally:
    """Sums over the known joints of some frames. The tallies of a run's parts add up to the run's.

    Attributes:
        near: (views, joints) number of keypoints near the joint: the inliers, and others within two thresholds, because noise
            beyond the threshold is noise as well.
        squared: (views, joints) px^2, sum of their squared residuals.
        freedom: (views, joints) the expected value of `squared` with noise of 1 px in x and in y: less than 2 for a keypoint
            that the joint was triangulated from, more for others.
        outlying: (views, joints) how many of the near keypoints are no inliers.
        far: (views, joints) number of keypoints two to three thresholds away.
        known: (joints,) number of frames in which the joint is known.
        scale: (joints,) px^2, sum over the frames of the inliers' own estimate of the noise.
        scale_squared: (joints,) px^4, sum of its square.
        scale_squared_equal: (joints,) the expected value of `scale_squared` with noise of 1 px in all frames.
    """

    near: np.ndarray
    squared: np.ndarray
    freedom: np.ndarray
    outlying: np.ndarray
    far: np.ndarray
    known: np.ndarray
    scale: np.ndarray
    scale_squared: np.ndarray
    scale_squared_equal: np.ndarray

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(**{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)})


@dataclass(frozen=True, kw_only=True, eq=False)
class Noise:
    """The noise of a run's keypoints.

    Attributes:
        variance: (views, joints) px^2, in x and in y each.
        inlier_share: share of the variance that appears in the residuals of inliers, which are those that agree.
        near_px: keypoints at this distance from a joint, or less, are near.
        noise_share: share of the near keypoints without agreement that are noise beyond the threshold, not outliers.
        prior_freedom: degrees of freedom of a joint's own residuals that the variance is worth; infinite if frames do not
            differ.
    """

    variance: np.ndarray
    inlier_share: float
    near_px: float
    noise_share: float
    prior_freedom: float


def tally(
    joints: np.ndarray,
    inliers: np.ndarray,
    keypoints: np.ndarray,
    cameras: tuple[Camera, ...],
    reproj_threshold_px: float,
) -> Tally:
    """Return the sums over some frames that the noise is estimated from.

    Args:
        joints: (frames, joints, 3) world mm that minimise the inliers' squared reprojection errors; NaN if unknown.
        inliers: (frames, views, joints) bool.
        keypoints: (frames, views, joints, 2) px of the full image; NaN if not seen.
        cameras: (views,).
        reproj_threshold_px: of an inlier's error.
    """
    jacobian, residuals, inverse = _linearised(joints, inliers, keypoints, cameras)
    squared = (residuals**2).sum(axis=-1)  # (frames, views, joints)
    # Leverage: the joint's uncertainty, px^2 for noise of 1 px, projected to the view.
    leverage = ((jacobian @ inverse[:, None]) * jacobian).sum(axis=(-2, -1))
    freedom = np.where(inliers, 2 - leverage, 2 + leverage)
    near = squared < (_NEAR * reproj_threshold_px) ** 2  # false for NaN
    far = ~near & (squared < (_FAR * reproj_threshold_px) ** 2)

    known = np.isfinite(inverse[..., 0, 0])  # (frames, joints)
    own = np.maximum(2.0 * inliers.sum(axis=1) - 3, 1)  # degrees of freedom
    scale = np.where(known, np.where(inliers, squared, 0.0).sum(axis=1) / own, 0.0)
    return Tally(
        near=near.sum(axis=0).astype(np.float64),
        squared=np.where(near, squared, 0.0).sum(axis=0),
        freedom=np.where(near, freedom, 0.0).sum(axis=0),
        outlying=(near & ~inliers).sum(axis=0).astype(np.float64),
        far=far.sum(axis=0).astype(np.float64),
        known=known.sum(axis=0).astype(np.float64),
        scale=scale.sum(axis=0),
        scale_squared=(scale**2).sum(axis=0),
        scale_squared_equal=np.where(known, 1 + 2 / own, 0.0).sum(axis=0),
    )


def estimate_noise(run: Tally, reproj_threshold_px: float) -> Noise:
    """Return the scale of the noise in a run's keypoints.

    The variance is a view's sum of squares on a joint over its degrees of freedom, minus the contribution of outliers that are
    spread evenly over the image (as many near the joint, by area, as in the ring around it). The fewer keypoints, the closer it
    is to the variance of the whole run. The squares of the joints' own estimates show how much frames differ: they scatter like
    chi squared if all frames are equal, and more otherwise, as an inverse gamma distribution of the variances explains (Smyth
    2004).
    """
    if not run.near.any():
        unknown = np.full(run.near.shape, np.nan)
        return Noise(variance=unknown, inlier_share=1.0, near_px=0.0, noise_share=0.0, prior_freedom=np.inf)
    typical = _variance(run.near.sum(), run.squared.sum(), run.freedom.sum(), run.far.sum(), reproj_threshold_px)
    own = _variance(run.near, run.squared, run.freedom, run.far, reproj_threshold_px)
    variance = (_PRIOR_KEYPOINTS * typical + run.near * own) / (_PRIOR_KEYPOINTS + run.near)

    mean = run.scale / np.maximum(run.known, 1)
    expected = (mean**2 * run.scale_squared_equal).sum()
    ratio = run.scale_squared.sum() / expected if expected > 0 else 1.0
    # Of F(d, v): E[q^2] / E[q]^2 = (d + 2) / d * (v - 2) / (v - 4).
    prior_freedom = (4 * ratio - 2) / (ratio - 1) if ratio > 1 + 1e-6 else np.inf
    inlier_share = run.scale.sum() / run.known.sum() / typical if typical > 0 else 1.0
    # The share of noise beyond the threshold, by Rayleigh's distribution.
    beyond = np.exp(-(reproj_threshold_px**2) / (2 * typical)) if typical > 0 else 0.0
    noise_share = min(1.0, run.near.sum() * beyond / max(run.outlying.sum(), 1))
    return Noise(
        variance=variance,
        inlier_share=float(inlier_share),
        near_px=_NEAR * reproj_threshold_px,
        noise_share=float(noise_share),
        prior_freedom=float(prior_freedom),
    )


def _variance(
    near: np.ndarray, squared: np.ndarray, freedom: np.ndarray, far: np.ndarray, threshold_px: float
) -> np.ndarray:
    """Return the variance in px^2 of the noise alone, without the outliers that are near by chance."""
    area = _NEAR**2 / (_FAR**2 - _NEAR**2)
    false = np.minimum(far * area, near)  # outliers that are near by chance
    false_squared = false * (_NEAR * threshold_px) ** 2 / 2
    true = np.maximum(squared - false_squared, 0.25 * squared)
    return true / np.maximum(freedom * (1 - false / np.maximum(near, 1)), 1e-9)


def covariances(
    joints: np.ndarray, inliers: np.ndarray, keypoints: np.ndarray, cameras: tuple[Camera, ...], noise: Noise
) -> np.ndarray:
    """Return the covariances of triangulated joints (Hartley 2003, 5.2, with noise that differs between the views).

    Args:
        noise: of the run that the frames belong to.

    The other arguments are those of `tally`.

    Returns:
        (frames, joints, 3, 3) mm^2; NaN if a joint is unknown.
    """
    jacobian, residuals, inverse = _linearised(joints, inliers, keypoints, cameras)
    jacobian = np.where(inliers[..., None, None], jacobian, 0.0)
    middle = _normal(jacobian, jacobian * noise.variance[..., None, None])
    freedom = np.maximum(2.0 * inliers.sum(axis=1) - 3, 1)  # (frames, joints)
    factor = np.ones(freedom.shape)
    if np.isfinite(noise.prior_freedom):
        variance = noise.variance * noise.inlier_share
        relative = (residuals**2).sum(axis=-1) / np.where(variance > 0, variance, np.inf)
        own = np.where(inliers, relative, 0.0).sum(axis=1)  # freedom times the joint's variance, relative to the run's
        factor = (noise.prior_freedom - 2 + own) / (noise.prior_freedom - 2 + freedom)
    # Views whose noise exceeds the threshold drop out, and the others agree at a wrong position. Measured: (near / inliers)^1.5.
    agreeing = np.maximum(inliers.sum(axis=1), 1)
    near = ((residuals**2).sum(axis=-1) < noise.near_px**2) & ~inliers
    factor = factor * (1 + noise.noise_share * ((1 + near.sum(axis=1) / agreeing) ** 1.5 - 1))
    return factor[..., None, None] * (inverse @ middle @ inverse)


def _linearised(
    joints: np.ndarray, inliers: np.ndarray, keypoints: np.ndarray, cameras: tuple[Camera, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Linearise the projections around the joints.

    Returns:
        The Jacobian (frames, views, joints, 2, 3) px per mm, the residuals (frames, views, joints, 2) px, and the inverses of
        the inliers' normal matrices (frames, joints, 3, 3), NaN if a joint is unknown.
    """
    projected, jacobians = zip(*(camera.project_with_jacobian(joints) for camera in cameras), strict=True)
    J = np.stack(jacobians, axis=1)
    inlier_J = np.where(inliers[..., None, None], J, 0.0)
    normal = np.nan_to_num(_normal(inlier_J, inlier_J))
    size = np.trace(normal, axis1=-2, axis2=-1)
    known = np.isfinite(joints).all(axis=-1) & (inliers.sum(axis=1) >= 2) & (np.linalg.det(normal) > 1e-13 * size**3)
    inverse = np.linalg.inv(np.where(known[..., None, None], normal, np.eye(3)))
    return J, np.stack(projected, axis=1) - keypoints, np.where(known[..., None, None], inverse, np.nan)


def _normal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the sum of a^T b over the views: twice (frames, views, joints, 2, 3) -> (frames, joints, 3, 3)."""
    frames, views, joints = a.shape[:3]
    rows = [each.swapaxes(1, 2).reshape(frames, joints, 2 * views, 3) for each in (a, b)]
    return rows[0].swapaxes(-1, -2) @ rows[1]
