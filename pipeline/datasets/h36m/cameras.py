"""Human3.6M's cameras, checked by reprojection.

Files disagree on the meaning of R and T and on the lens. The reading that reprojects the joints onto their 2D labels, and
brings the views to one pose, is the right one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.datasets.h36m.takes import SKELETON
from pipeline.geometry.camera import Camera, Convention

# The largest accepted reprojection error as a fraction of the focal length (0.75 px of Human3.6M's images). It is 0.1 px with the
# other formula of a lens, 2 to 4 px without the distortion, and 10 px and more with another skeleton.
_MAX_ERROR = 0.75 / 1145
_MAX_SPREAD_MM = 15.0  # between the views' poses in the world
_LEGS_MM = (400.0, 20000.0)  # both legs together; poses in metres and centimetres lie outside
_COMPARED_FRAMES = 24  # of a subject


@dataclass(frozen=True, kw_only=True)
class RawCamera:
    """A camera as a file states it; the meaning of `rotation` and `position` is still open.

    Attributes:
        name: one of CAMERAS.
        size: (width, height) px.
        focal, centre_px: (2,) px.
        radial: (3,) k1 k2 k3.
        tangential: (2,) p1 p2.
        rotation: (3, 3).
        position: (3,) mm.
    """

    name: str
    size: tuple[int, int]
    focal: np.ndarray
    centre_px: np.ndarray
    radial: np.ndarray
    tangential: np.ndarray
    rotation: np.ndarray
    position: np.ndarray

    def equals(self, other: "RawCamera") -> bool:
        """Return whether all numbers are equal."""
        fields = ("focal", "centre_px", "radial", "tangential", "rotation", "position")
        return all(np.array_equal(getattr(self, field), getattr(other, field)) for field in fields)


def lens(raw: RawCamera, convention: Convention) -> Camera:
    """Return the camera in its own axes: `project` takes camera mm."""
    K = np.array([[raw.focal[0], 0, raw.centre_px[0]], [0, raw.focal[1], raw.centre_px[1]], [0, 0, 1.0]])
    distortion = np.array([*raw.radial[:2], *raw.tangential, raw.radial[2]])
    return Camera(
        name=raw.name, size=raw.size, K=K, R=np.eye(3), centre=np.zeros(3), distortion=distortion, convention=convention
    )


def _placements(raw: RawCamera) -> Iterable[tuple[str, np.ndarray, np.ndarray]]:
    """Yield the readings of `rotation` and `position`: a name, R (camera from world), the camera's centre in world mm."""
    R, position = raw.rotation, raw.position
    yield "", R, position
    yield "R is transposed", R.T, position
    yield "T is a translation and no camera centre", R, -R.T @ position
    yield "R is transposed and T is a translation", R.T, -R @ position


def settle(
    raws: Sequence[RawCamera], keypoints: np.ndarray | None, joints: np.ndarray, in_world: bool, what: str
) -> tuple[tuple[Camera, ...], list[str]]:
    """Return the cameras of one subject in the reading that reprojects the joints onto their 2D labels.

    If the 2D labels are those of undistorted images, the cameras have no distortion.

    Args:
        raws: one per view.
        keypoints: (frames, views, joints, 2) px, the 2D labels; None without labels.
        joints: (frames, views, joints, 3) mm, in the axes of the cameras, or of the world.
        in_world: the joints are in the world's axes.
        what: the subject's name in messages.

    Returns:
        The cameras, and sentences on corrections.

    Raises:
        ValueError: no reading reprojects the joints onto the labels, or brings the views to one pose.
    """
    _require_mm(joints, what)
    some = np.unique(np.linspace(0, len(joints) - 1, _COMPARED_FRAMES).round().astype(int))
    joints, keypoints = joints[some], None if keypoints is None else keypoints[some]
    undistorted = [replace(raw, radial=np.zeros(3), tangential=np.zeros(2)) for raw in raws]
    try:
        return _settled(raws, keypoints, joints, in_world, what)
    except ValueError as error:
        if keypoints is None or all(raw.equals(other) for raw, other in zip(raws, undistorted, strict=True)):
            raise
        try:
            cameras, notes = _settled(undistorted, keypoints, joints, in_world, what)
        except ValueError:
            raise error from None
    return cameras, [f"{what}: the 2D labels are without lens distortion, so are the cameras; mended", *notes]


def _settled(
    raws: Sequence[RawCamera], keypoints: np.ndarray | None, joints: np.ndarray, in_world: bool, what: str
) -> tuple[tuple[Camera, ...], list[str]]:
    """Return `settle`'s answer for the lenses as stated."""
    for view, raw in enumerate(raws):
        if not np.allclose(raw.rotation @ raw.rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(raw.rotation) < 0:
            raise ValueError(f"{what}: R of camera {raw.name} is no rotation: {raw.rotation.round(4).tolist()}")
        if keypoints is not None and not in_world:
            error_px = reprojection_error_px(lens(raw, "h36m"), joints[:, view], keypoints[:, view])
            if error_px > max_error_px(raw):
                zero = not (raw.radial.any() or raw.tangential.any())
                raise ValueError(
                    f"{what}: camera {raw.name} projects the joints up to {error_px:.1f} px off their 2D labels; "
                    + ("it has no lens distortion, and the labels have" if zero else "they are of different poses")
                )
    readings = []
    for words, *_ in _placements(raws[0]):
        placed = tuple(_placed(raw, words, "h36m") for raw in raws)
        readings.append((_disagreement(placed, joints, keypoints, in_world), words, placed))
    worst, words, placed = min(readings, key=lambda reading: (reading[0] > 1, reading[1] != "", reading[0]))
    if not worst <= 1:
        raise ValueError(
            f"{what}: the cameras agree on no pose, whether R is transposed or not, T a camera centre or a translation"
        )
    notes = [f"{what}: {words}; mended"] if words else []
    if keypoints is None:
        return placed, notes
    convention, sentence = _convention(raws, placed, joints, keypoints, in_world)
    return tuple(replace(camera, convention=convention) for camera in placed), [*notes, f"{what}: {sentence}"]


def _placed(raw: RawCamera, words: str, convention: Convention) -> Camera:
    R, centre = next((R, centre) for name, R, centre in _placements(raw) if name == words)
    return replace(lens(raw, convention), R=R, centre=centre)


def _disagreement(cameras: Sequence[Camera], joints: np.ndarray, keypoints: np.ndarray | None, in_world: bool) -> float:
    """Return how far the views are from agreement; 1 is the largest accepted disagreement."""
    if not in_world:
        world = world_from_cameras(cameras, joints)
        median = np.median(world, axis=1, keepdims=True)
        return float(np.median(np.linalg.norm(world - median, axis=-1), axis=(0, 2)).max() / _MAX_SPREAD_MM)
    if keypoints is not None:
        errors_px = [
            reprojection_error_px(camera, joints[:, view], keypoints[:, view]) for view, camera in enumerate(cameras)
        ]
        return float(np.max(errors_px) / (_MAX_ERROR * cameras[0].K[0, 0]))
    # Without 2D labels: the person is in the image of every camera, and upright in it.
    shares = []
    for view, camera in enumerate(cameras):
        projected = camera.project(joints[:, view], distorted=False)
        with np.errstate(invalid="ignore"):
            shares.append(((projected > 0) & (projected < np.array(camera.size))).all(axis=-1).mean())
        upright = projected[:, SKELETON.index("neck"), 1] - projected[:, SKELETON.index("pelvis"), 1]
        shares.append(float(np.median(upright) < 0))
    return 0.5 if min(shares) > 0.5 else np.inf


def _convention(
    raws: Sequence[RawCamera],
    placed: tuple[Camera, ...],
    joints: np.ndarray,
    keypoints: np.ndarray,
    in_world: bool,
) -> tuple[Convention, str]:
    """Return the formula of tangential distortion in the 2D labels; Human3.6M's own lacks a factor 2 that OpenCV's has."""
    errors_px = {}
    for convention in ("h36m", "opencv"):
        each = [replace(camera, convention=convention) for camera in placed]
        if in_world:
            projected = [camera.project(joints[:, view]) for view, camera in enumerate(each)]
        else:
            projected = [
                lens(raw, camera.convention).project(joints[:, view])
                for view, (raw, camera) in enumerate(zip(raws, each, strict=True))
            ]
        errors_px[convention] = float(np.nanmean(np.linalg.norm(np.stack(projected, axis=1) - keypoints, axis=-1)))
    best: Convention = "opencv" if errors_px["opencv"] <= errors_px["h36m"] else "h36m"
    formula = "OpenCV's formula" if best == "opencv" else "Human3.6M's own formula"
    return best, f"the lenses follow {formula}; the mean error of the 2D labels is {errors_px[best]:.3f} px"


def max_error_px(raw: RawCamera) -> float:
    """Return the largest accepted reprojection error of nine joints of ten, px."""
    return _MAX_ERROR * float(raw.focal.mean())


def reprojection_error_px(camera: Camera, joints: np.ndarray, keypoints: np.ndarray) -> float:
    """Return the 90th percentile of the reprojection error, px; infinite if the camera sees few joints.

    Not the median: without its distortion a lens is still right in the middle of the image.
    """
    error_px = np.linalg.norm(camera.project(joints) - keypoints, axis=-1)
    return float(np.nanpercentile(error_px, 90)) if np.isfinite(error_px).mean() > 0.5 else np.inf


def world_from_cameras(cameras: Sequence[Camera], joints: np.ndarray) -> np.ndarray:
    """Return (frames, views, joints, 3) world mm from the same in each camera's axes."""
    return np.stack([joints[:, v] @ camera.R + camera.centre for v, camera in enumerate(cameras)], axis=1)


def one_pose(world: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the mean pose of all views and the number of frames whose views differ.

    Args:
        world: (frames, views, joints, 3) world mm.

    Returns:
        (frames, joints, 3) world mm, NaN if the views differ; and how many frames differ.
    """
    pose = world.mean(axis=1)
    differs = np.linalg.norm(world - pose[:, None], axis=-1).max(axis=(1, 2)) > _MAX_SPREAD_MM
    pose[differs] = np.nan
    return pose, int(differs.sum())


def _require_mm(joints: np.ndarray, what: str) -> None:
    """Refuse poses that are all zero, in metres or of no person: a reprojection does not depend on the unit."""
    chain = [("hip", "knee"), ("knee", "ankle")]
    legs = sum(
        np.linalg.norm(
            joints[..., SKELETON.index(f"{side}_{end}"), :] - joints[..., SKELETON.index(f"{side}_{start}"), :], axis=-1
        )
        for side in ("left", "right")
        for start, end in chain
    )
    length = float(np.median(legs))
    if not _LEGS_MM[0] <= length <= _LEGS_MM[1]:
        raise ValueError(
            f"{what}: both legs together are {length:.4g} long, expected {_LEGS_MM[0]:g} to "
            f"{_LEGS_MM[1]:g} mm; are the poses in another unit?"
        )
