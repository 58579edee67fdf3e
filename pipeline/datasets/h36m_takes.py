"""Human3.6M whatever files it is in: its names and numbers, a take, and cameras that are made sure of by reprojection.

A take is one subject doing one action once, seen by four cameras that were calibrated anew for every subject. Frames are
numbered from 1, as the field's picture names are.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets import archives
from pipeline.geometry.camera import Camera, Convention
from pipeline.skeleton import Skeleton, get

SKELETON: Skeleton = get("h36m_17")
TRAIN_SUBJECTS, TEST_SUBJECTS = (1, 5, 6, 7, 8), (9, 11)
SIZE = (1000, 1002)  # px, where there is no picture to look at; two of the cameras have 1000 x 1000
CAMERAS = ("54138969", "55011271", "58860488", "60457274")
# As metadata.xml numbers them. Published code has another table, which is wrong from 7 to 12 and at 14 and 15.
ACTIONS = {
    2: "Directions", 3: "Discussion", 4: "Eating", 5: "Greeting", 6: "Phoning", 7: "Posing", 8: "Purchases", 9: "Sitting",
    10: "SittingDown", 11: "Smoking", 12: "TakingPhoto", 13: "Waiting", 14: "Walking", 15: "WalkingDog",
    16: "WalkingTogether",
}  # fmt: skip
RECORDED_JOINTS = 32
# Of the 32 recorded joints, those that everybody uses, in the order of the skeleton h36m_17. 16 lies where 13 does.
JOINTS_OF_32 = (0, 1, 2, 3, 6, 7, 8, 12, 16, 14, 15, 17, 18, 19, 25, 26, 27)
# Subject, action, subaction: the poses of S9 stand beside the person there, by up to some 100 mm.
DAMAGED = ((9, 5, 2), (9, 10, 2), (9, 13, 1))
NO_VIDEO = ((11, 2, 2),)  # the first camera's is missing or broken in many copies
HEAD_MM = 200.0  # a tenth of the published box, in which PCKh is measured on this set
BOX_MM = (-1000.0, -900.0, 1000.0, 1100.0)  # the published box about the pelvis, at its depth: x1 y1 x2 y2

# By this fraction of the focal length (0.75 px of Human3.6M's pictures) joints may be shown off their 2D labels: they are 0.1 px
# off with the other formula of a lens, 2 to 4 px without its distortion, and 10 px and more with another skeleton.
_SHOWN = 0.75 / 1145
_APART = 15.0  # mm that the views' poses may differ in the world
_LEGS = (400.0, 20000.0)  # mm, both together; nobody's, but metres and centimetres lie outside
_SOME = 24  # moments of a subject that its cameras are compared with

PICTURE_NAME = re.compile(
    r"s_(\d{2})_act_(\d{2})_subact_(\d{2})_ca_(\d{2})(?:_(\d{6}))?(?:\.jpe?g|\.png)?", re.IGNORECASE
)


@dataclass(frozen=True, eq=False)
class Labels:
    """What Human3.6M says of a take's frames.

    Attributes:
        points: (frames, views, 17, 2) px of the full picture; NaN where not known.
        joints: (frames, 17, 3) world mm; NaN where not known.
    """

    points: np.ndarray
    joints: np.ndarray


@dataclass(frozen=True, eq=False)
class Stills:
    """One view's pictures as files: their names by frame number."""

    pictures: archives.Pictures
    names: Mapping[int, str]


@dataclass(frozen=True)
class Film:
    """One view's pictures as a video, whose first picture is frame 1."""

    path: Path


Footage = Stills | Film


@dataclass(frozen=True, eq=False)
class Take:
    """One subject doing one action once.

    Attributes:
        subject: 1 to 11.
        action: 2 to 16, see ACTIONS.
        subaction: 1 or 2.
        cameras: (views,) of the subject, in the order of CAMERAS.
        numbers: (frames,) int from 1, ascending: the frames that all views have.
        footage: (views,); empty where only labels are asked for.
        labels: reads the labels of all `numbers`.
    """

    subject: int
    action: int
    subaction: int
    cameras: tuple[Camera, ...]
    numbers: np.ndarray
    footage: tuple[Footage, ...]
    labels: Callable[[], Labels]

    @property
    def name(self) -> str:
        return take_name(self.subject, self.action, self.subaction)

    @property
    def person(self) -> str:
        return f"S{self.subject}"

    @property
    def key(self) -> tuple[int, int, int]:
        return self.subject, self.action, self.subaction


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


def take_name(subject: int, action: int, subaction: int) -> str:
    return f"s_{subject:02}_act_{action:02}_subact_{subaction:02}"


def subject_number(value: Any, what: str) -> int:
    """9 from 9, "9", "S9", b"S9" or an array of one."""
    if isinstance(value, bytes):
        value = value.decode("latin1")
    if isinstance(value, str):
        value = value.strip().upper().removeprefix("S")
        value = int(value) if value.isdecimal() else -1
    return whole(value, what, 1, 11)


def whole(value: Any, what: str, low: int, high: int) -> int:
    """A whole number, also out of an array of one or a text."""
    try:
        number = float(np.asarray(value, dtype=np.float64).reshape(()) if np.size(value) != 1 else np.ravel(value)[0])
    except (TypeError, ValueError, OverflowError):
        number = np.nan
    if not low <= number <= high or number != int(number):
        raise ValueError(f"{what}: expected a whole number from {low} to {high}, got {value!r:.80}")
    return int(number)


def numbers(value: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """Finite numbers of a shape, up to axes of length 1: a (1, 3, 3) is a (3, 3)."""
    try:
        found = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{what}: expected numbers, got {value!r:.80}") from None
    if tuple(side for side in found.shape if side != 1) != tuple(side for side in shape if side != 1):
        raise ValueError(f"{what}: expected numbers of the shape {shape}, got {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"{what}: expected finite numbers, got {found.tolist()!r:.80}")
    return found.reshape(shape)


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


def published_box(camera: Camera, roots: np.ndarray) -> np.ndarray:
    """The box that this set's systems crop by: 2 m squared at the depth of the pelvis, 100 mm lower than it.

    Args:
        camera: the view's; its distortion is left out, as published.
        roots: (frames, 3) world mm, the pelvis.

    Returns:
        (frames, 4) px, x1 y1 x2 y2.
    """
    offset = np.array(BOX_MM).reshape(2, 2)
    root = camera.camera_from_world(roots)
    corners = np.stack([root + [*corner, 0.0] for corner in offset], axis=-2)  # (frames, 2, 3) camera mm
    with np.errstate(invalid="ignore", divide="ignore"):
        normalised = corners[..., :2] / corners[..., 2:]
    return (normalised * np.diag(camera.K)[:2] + camera.K[:2, 2]).reshape(*roots.shape[:-1], 4)


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
