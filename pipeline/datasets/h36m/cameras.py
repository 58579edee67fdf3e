"""Human3.6M's cameras, made sure of by reprojection."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.datasets.h36m.takes import SKELETON
from pipeline.geometry.camera import Camera, Convention

# By this fraction of the focal length (0.75 px of Human3.6M's pictures) joints may be shown off their 2D labels: they are 0.1 px
# off with the other formula of a lens, 2 to 4 px without its distortion, and 10 px and more with another skeleton.
_SHOWN = 0.75 / 1145
_APART = 15.0  # mm that the views' poses may differ in the world
_LEGS = (400.0, 20000.0)  # mm, both together; nobody's, but metres and centimetres lie outside
_SOME = 24  # moments of a subject that its cameras are compared with


@dataclass(frozen=True)
class RawCamera:
    """A camera as a file has it: what `rotation` and `position` mean is to be found out.

    Attributes:
        name: one of CAMERAS.
        size: (width, height) px.
        focal, middle: (2,) px.
        radial: (3,) k1 k2 k3.
        tangential: (2,) p1 p2.
        rotation: (3, 3).
        position: (3,) mm.
    """

    name: str
    size: tuple[int, int]
    focal: np.ndarray
    middle: np.ndarray
    radial: np.ndarray
    tangential: np.ndarray
    rotation: np.ndarray
    position: np.ndarray

    def same(self, other: "RawCamera") -> bool:
        fields = ("focal", "middle", "radial", "tangential", "rotation", "position")
        return all(np.array_equal(getattr(self, field), getattr(other, field)) for field in fields)


def lens(raw: RawCamera, convention: Convention) -> Camera:
    """The camera in its own axes: `project` takes camera mm."""
    K = np.array([[raw.focal[0], 0, raw.middle[0]], [0, raw.focal[1], raw.middle[1]], [0, 0, 1.0]])
    distortion = np.array([*raw.radial[:2], *raw.tangential, raw.radial[2]])
    return Camera(raw.name, raw.size, K, np.eye(3), np.zeros(3), distortion, convention)


def _placements(raw: RawCamera) -> Iterable[tuple[str, np.ndarray, np.ndarray]]:
    """What `rotation` and `position` may mean: in words, R (camera from world) and the camera's centre in world mm."""
    given, where = raw.rotation, raw.position
    yield "", given, where
    yield "R is transposed", given.T, where
    yield "T is a translation and no camera centre", given, -given.T @ where
    yield "R is transposed and T is a translation", given.T, -given @ where


def settle(
    raws: Sequence[RawCamera], points: np.ndarray | None, joints: np.ndarray, in_world: bool, what: str
) -> tuple[tuple[Camera, ...], list[str]]:
    """The cameras of one subject, made sure of by what they show.

    Where the 2D labels are those of pictures whose lens distortion was taken out, the cameras are without it.

    Args:
        raws: one a view.
        points: (frames, views, joints, 2) px, the 2D labels; None where there are none.
        joints: (frames, views, joints, 3) mm, in the axes of the cameras, or of the world.
        in_world: which.
        what: whose cameras, for messages.

    Returns:
        The cameras, and sentences on what was mended.

    Raises:
        ValueError: no reading of the numbers shows the joints where the labels are, or brings the views together.
    """
    _require_mm(joints, what)
    some = np.unique(np.linspace(0, len(joints) - 1, _SOME).round().astype(int))
    joints, points = joints[some], None if points is None else points[some]
    straight = [replace(raw, radial=np.zeros(3), tangential=np.zeros(2)) for raw in raws]
    try:
        return _settled(raws, points, joints, in_world, what)
    except ValueError as error:
        if points is None or all(raw.same(other) for raw, other in zip(raws, straight, strict=True)):
            raise
        try:
            cameras, notes = _settled(straight, points, joints, in_world, what)
        except ValueError:
            raise error from None
    return cameras, [f"{what}: the 2D labels are without lens distortion, so are the cameras; mended", *notes]


def _settled(
    raws: Sequence[RawCamera], points: np.ndarray | None, joints: np.ndarray, in_world: bool, what: str
) -> tuple[tuple[Camera, ...], list[str]]:
    """`settle`, the lenses taken as they are."""
    for view, raw in enumerate(raws):
        if not np.allclose(raw.rotation @ raw.rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(raw.rotation) < 0:
            raise ValueError(f"{what}: R of camera {raw.name} is no rotation: {raw.rotation.round(4).tolist()}")
        if points is not None and not in_world:
            off = shown_off(lens(raw, "h36m"), joints[:, view], points[:, view])
            if off > tolerated(raw):
                zero = not (raw.radial.any() or raw.tangential.any())
                raise ValueError(
                    f"{what}: camera {raw.name} shows the joints up to {off:.1f} px off their 2D labels; "
                    + ("it has no lens distortion, and the labels have" if zero else "they are of different poses")
                )
    readings = []
    for words, *_ in _placements(raws[0]):
        placed = tuple(_placed(raw, words, "h36m") for raw in raws)
        readings.append((_disagreement(placed, joints, points, in_world), words, placed))
    bad, words, placed = min(readings, key=lambda reading: (reading[0] > 1, reading[1] != "", reading[0]))
    if not bad <= 1:
        raise ValueError(
            f"{what}: the cameras agree on no pose, whether R is transposed or not, T a camera centre or a translation"
        )
    notes = [f"{what}: {words}; mended"] if words else []
    if points is None:
        return placed, notes
    found, convention = _convention(raws, words, placed, joints, points, in_world)
    return found, [*notes, f"{what}: {convention}"]


def _placed(raw: RawCamera, words: str, convention: Convention) -> Camera:
    R, centre = next((R, centre) for name, R, centre in _placements(raw) if name == words)
    return replace(lens(raw, convention), R=R, centre=centre)


def _disagreement(cameras: Sequence[Camera], joints: np.ndarray, points: np.ndarray | None, in_world: bool) -> float:
    """How far the views are from agreeing, 1 being as far as is tolerated."""
    if not in_world:
        world = world_from_cameras(cameras, joints)
        middle = np.median(world, axis=1, keepdims=True)
        return float(np.median(np.linalg.norm(world - middle, axis=-1), axis=(0, 2)).max() / _APART)
    if points is not None:
        off = [shown_off(camera, joints[:, view], points[:, view]) for view, camera in enumerate(cameras)]
        return float(np.max(off) / (_SHOWN * cameras[0].K[0, 0]))
    # Without 2D labels: the person is in the picture of every camera, and stands upright in it.
    inside = []
    for view, camera in enumerate(cameras):
        shown = camera.project(joints[:, view], distorted=False)
        with np.errstate(invalid="ignore"):
            inside.append(((shown > 0) & (shown < np.array(camera.size))).all(axis=-1).mean())
        upright = shown[:, SKELETON.index("neck"), 1] - shown[:, SKELETON.index("pelvis"), 1]
        inside.append(float(np.median(upright) < 0))
    return 0.5 if min(inside) > 0.5 else np.inf


def _convention(
    raws: Sequence[RawCamera],
    words: str,
    placed: tuple[Camera, ...],
    joints: np.ndarray,
    points: np.ndarray,
    in_world: bool,
) -> tuple[tuple[Camera, ...], str]:
    """Which formula of tangential distortion the 2D labels follow; Human3.6M's own lacks a factor 2, others' has it."""
    offs = {}
    for convention in ("h36m", "opencv"):
        each = [replace(camera, convention=convention) for camera in placed]
        if in_world:
            shown = [camera.project(joints[:, view]) for view, camera in enumerate(each)]
        else:
            shown = [
                lens(raw, camera.convention).project(joints[:, view])
                for view, (raw, camera) in enumerate(zip(raws, each, strict=True))
            ]
        offs[convention] = float(np.nanmean(np.linalg.norm(np.stack(shown, axis=1) - points, axis=-1)))
    best: Convention = "opencv" if offs["opencv"] <= offs["h36m"] else "h36m"
    formula = "OpenCV's formula" if best == "opencv" else "Human3.6M's own formula"
    sentence = f"the lenses follow {formula}, the 2D labels are {offs[best]:.3f} px off it on average"
    return tuple(replace(camera, convention=best) for camera in placed), sentence


def tolerated(raw: RawCamera) -> float:
    """px by which nine joints of ten may at most be shown off their 2D labels."""
    return _SHOWN * float(raw.focal.mean())


def shown_off(camera: Camera, joints: np.ndarray, points: np.ndarray) -> float:
    """px that nine joints of ten are at most shown off where they should be; infinite where the camera shows few.

    Not the median: without its distortion a lens is right in the middle of the picture.
    """
    off = np.linalg.norm(camera.project(joints) - points, axis=-1)
    return float(np.nanpercentile(off, 90)) if np.isfinite(off).mean() > 0.5 else np.inf


def world_from_cameras(cameras: Sequence[Camera], joints: np.ndarray) -> np.ndarray:
    """(frames, views, joints, 3) mm in each camera's axes -> the same in the world's."""
    return np.stack([joints[:, v] @ camera.R + camera.centre for v, camera in enumerate(cameras)], axis=1)


def one_pose(world: np.ndarray) -> tuple[np.ndarray, int]:
    """(frames, views, joints, 3) world mm, every view's -> (frames, joints, 3), NaN where they differ, and how many do."""
    pose = world.mean(axis=1)
    apart = np.linalg.norm(world - pose[:, None], axis=-1).max(axis=(1, 2)) > _APART
    pose[apart] = np.nan
    return pose, int(apart.sum())


def _require_mm(joints: np.ndarray, what: str) -> None:
    """Poses that are all zero, in metres or no persons' would pass a reprojection: size and distance go together."""
    chain = [("hip", "knee"), ("knee", "ankle")]
    legs = sum(
        np.linalg.norm(
            joints[..., SKELETON.index(f"{side}_{end}"), :] - joints[..., SKELETON.index(f"{side}_{start}"), :], axis=-1
        )
        for side in ("left", "right")
        for start, end in chain
    )
    length = float(np.median(legs))
    if not _LEGS[0] <= length <= _LEGS[1]:
        raise ValueError(
            f"{what}: both legs together are {length:.4g} long, expected {_LEGS[0]:g} to "
            f"{_LEGS[1]:g} mm; are the poses in another unit?"
        )
