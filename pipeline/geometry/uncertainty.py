"""How far off triangulated joints are, by how much the views contradict one another: a covariance for each joint.

A joint is known from few views: two give four numbers for three unknowns, and one is left that tells of noise. So the scale
of the noise is pooled, by view and joint over the whole run, and a joint's own residuals move it only as far as the run
shows that moments differ. A run that does not fit into memory is tallied block by block.
"""

from dataclasses import dataclass, fields

import numpy as np

from pipeline.geometry.camera import Camera

# A view's noise on a joint is its own as far as it was seen more often than this; else that of the run.
_PRIOR_SIGHTINGS = 10.0


# Detections within so many thresholds of a joint tell of the noise, those beyond, in the ring up to three, of mistakes.
_NEAR, _FAR = 2.0, 3.0


@dataclass(frozen=True, eq=False)
class Tally:
    """Sums over some frames' known joints. Those of a run's parts add up to the run's.

    Attributes:
        sightings: (views, joints) how many detections lie near the joint: the inliers, and others within two thresholds, as
            noise beyond the threshold is noise as well.
        squared: (views, joints) px^2, of their residuals.
        freedom: (views, joints) what `squared` is expected to be with noise of 1 px in x and in y: less than 2 for a
            detection that helped to place the joint, more for another.
        refused: (views, joints) how many of the sightings are no inliers.
        mistakes: (views, joints) how many detections lie between two and three thresholds away.
        known: (joints,) how many of the frames know the joint.
        scale: (joints,) px^2, over the frames, of the inliers' own estimate of the noise.
        scale_squared: (joints,) px^4, of its square.
        scale_squared_alike: (joints,) what `scale_squared` is expected to be with noise of 1 px in all frames alike.
    """

    sightings: np.ndarray
    squared: np.ndarray
    freedom: np.ndarray
    refused: np.ndarray
    mistakes: np.ndarray
    known: np.ndarray
    scale: np.ndarray
    scale_squared: np.ndarray
    scale_squared_alike: np.ndarray

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


@dataclass(frozen=True, eq=False)
class Noise:
    """The noise of a run's detections.

    Attributes:
        variance: (views, joints) px^2, in x and in y each.
        shown: share of it that a joint's inliers show by themselves: they are those that agree.
        near_px: so near to a joint a detection counts as a sighting.
        stray: share of the refused sightings that are noise beyond the threshold, not mistakes.
        steadiness: how many degrees of freedom of a joint's own residuals the variance is worth; infinite where moments do
            not differ.
    """

    variance: np.ndarray
    shown: float
    near_px: float
    stray: float
    steadiness: float


def tally(
    joints: np.ndarray,
    inliers: np.ndarray,
    points: np.ndarray,
    cameras: tuple[Camera, ...],
    reproj_threshold_px: float,
) -> Tally:
    """What some frames say of the noise.

    Args:
        joints: (frames, joints, 3) world mm, where the inliers' squared reprojection errors are least; NaN where not known.
        inliers: (frames, views, joints) bool.
        points: (frames, views, joints, 2) px of the full picture; NaN where not seen.
        cameras: one a view.
        reproj_threshold_px: of an inlier's error.
    """
    slopes, residuals, inverse = _linearised(joints, inliers, points, cameras)
    squared = (residuals**2).sum(axis=-1)  # (frames, views, joints)
    # The share of the joint's uncertainty, px^2 for noise of 1 px, that shows in a view's two numbers (leverage).
    leverage = ((slopes @ inverse[:, None]) * slopes).sum(axis=(-2, -1))
    freedom = np.where(inliers, 2 - leverage, 2 + leverage)
    near = squared < (_NEAR * reproj_threshold_px) ** 2  # false for NaN
    far = ~near & (squared < (_FAR * reproj_threshold_px) ** 2)

    known = np.isfinite(inverse[..., 0, 0])  # (frames, joints)
    own = np.maximum(2.0 * inliers.sum(axis=1) - 3, 1)  # degrees of freedom
    scale = np.where(known, np.where(inliers, squared, 0.0).sum(axis=1) / own, 0.0)
    return Tally(
        near.sum(axis=0).astype(np.float64),
        np.where(near, squared, 0.0).sum(axis=0),
        np.where(near, freedom, 0.0).sum(axis=0),
        (near & ~inliers).sum(axis=0).astype(np.float64),
        far.sum(axis=0).astype(np.float64),
        known.sum(axis=0).astype(np.float64),
        scale.sum(axis=0),
        (scale**2).sum(axis=0),
        np.where(known, 1 + 2 / own, 0.0).sum(axis=0),
    )


def estimate_noise(run: Tally, reproj_threshold_px: float) -> Noise:
    """The scale of the noise behind a run's detections.

    The variance is a view's mean square on a joint over its degrees of freedom, less what mistakes spread evenly over the
    picture add to it (as many near the joint, by area, as in the ring around that), and drawn towards the run's by as much
    as sightings are few. How much moments differ is told by the squares of the joints' own estimates: alike, they scatter
    as chi squared does, else more, as an inverse gamma distribution of the variances explains (Smyth 2004).
    """
    if not run.sightings.any():
        return Noise(np.full(run.sightings.shape, np.nan), 1.0, 0.0, 0.0, np.inf)
    typical = _variance(
        run.sightings.sum(), run.squared.sum(), run.freedom.sum(), run.mistakes.sum(), reproj_threshold_px
    )
    own = _variance(run.sightings, run.squared, run.freedom, run.mistakes, reproj_threshold_px)
    variance = (_PRIOR_SIGHTINGS * typical + run.sightings * own) / (_PRIOR_SIGHTINGS + run.sightings)

    mean = run.scale / np.maximum(run.known, 1)
    alike = (mean**2 * run.scale_squared_alike).sum()
    ratio = run.scale_squared.sum() / alike if alike > 0 else 1.0
    # Of F(d, v): E[q^2] / E[q]^2 = (d + 2) / d * (v - 2) / (v - 4).
    steadiness = (4 * ratio - 2) / (ratio - 1) if ratio > 1 + 1e-6 else np.inf
    shown = run.scale.sum() / run.known.sum() / typical if typical > 0 else 1.0
    beyond = (
        np.exp(-(reproj_threshold_px**2) / (2 * typical)) if typical > 0 else 0.0
    )  # of noise, by Rayleigh's distribution
    stray = min(1.0, run.sightings.sum() * beyond / max(run.refused.sum(), 1))
    return Noise(variance, float(shown), _NEAR * reproj_threshold_px, float(stray), float(steadiness))


def _variance(
    sightings: np.ndarray, squared: np.ndarray, freedom: np.ndarray, mistakes: np.ndarray, threshold: float
) -> np.ndarray:
    area = _NEAR**2 / (_FAR**2 - _NEAR**2)
    false = np.minimum(mistakes * area, sightings)  # mistakes that lie near by chance
    false_squared = false * (_NEAR * threshold) ** 2 / 2
    true = np.maximum(squared - false_squared, 0.25 * squared)
    return true / np.maximum(freedom * (1 - false / np.maximum(sightings, 1)), 1e-9)


def covariances(
    joints: np.ndarray, inliers: np.ndarray, points: np.ndarray, cameras: tuple[Camera, ...], noise: Noise
) -> np.ndarray:
    """How uncertain triangulated joints are (Hartley 2003, 5.2, with noise that differs between the views).

    Args:
        noise: of the run that the frames are from.

    The other arguments are those of `tally`.

    Returns:
        (frames, joints, 3, 3) mm^2; NaN where a joint is not known.
    """
    slopes, residuals, inverse = _linearised(joints, inliers, points, cameras)
    slopes = np.where(inliers[..., None, None], slopes, 0.0)
    middle = _normal(slopes, slopes * noise.variance[..., None, None])
    freedom = np.maximum(2.0 * inliers.sum(axis=1) - 3, 1)  # (frames, joints)
    factor = np.ones(freedom.shape)
    if np.isfinite(noise.steadiness):
        variance = noise.variance * noise.shown
        relative = (residuals**2).sum(axis=-1) / np.where(variance > 0, variance, np.inf)
        own = np.where(inliers, relative, 0.0).sum(axis=1)  # freedom times the joint's variance, in those of the run
        factor = (noise.steadiness - 2 + own) / (noise.steadiness - 2 + freedom)
    # Where noise went beyond the threshold, those that agree do so at a wrong place: measured, (sightings / inliers)^1.5.
    agreeing = np.maximum(inliers.sum(axis=1), 1)
    near = ((residuals**2).sum(axis=-1) < noise.near_px**2) & ~inliers
    factor = factor * (1 + noise.stray * ((1 + near.sum(axis=1) / agreeing) ** 1.5 - 1))
    return factor[..., None, None] * (inverse @ middle @ inverse)


def _linearised(
    joints: np.ndarray, inliers: np.ndarray, points: np.ndarray, cameras: tuple[Camera, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Around the joints: how the views' px follow them (frames, views, joints, 2, 3), the residuals (frames, views, joints,
    2) px, and the inverses of the inliers' normal matrices (frames, joints, 3, 3), NaN where a joint is not known.
    """
    shown, slopes = zip(*(camera.project_with_jacobian(joints) for camera in cameras), strict=True)
    J = np.stack(slopes, axis=1)
    said = np.where(inliers[..., None, None], J, 0.0)
    normal = np.nan_to_num(_normal(said, said))
    size = np.trace(normal, axis1=-2, axis2=-1)
    known = np.isfinite(joints).all(axis=-1) & (inliers.sum(axis=1) >= 2) & (np.linalg.det(normal) > 1e-13 * size**3)
    inverse = np.linalg.inv(np.where(known[..., None, None], normal, np.eye(3)))
    return J, np.stack(shown, axis=1) - points, np.where(known[..., None, None], inverse, np.nan)


def _normal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sum of a^T b over the views: twice (frames, views, joints, 2, 3) -> (frames, joints, 3, 3)."""
    frames, views, joints = a.shape[:3]
    rows = [each.swapaxes(1, 2).reshape(frames, joints, 2 * views, 3) for each in (a, b)]
    return rows[0].swapaxes(-1, -2) @ rows[1]
