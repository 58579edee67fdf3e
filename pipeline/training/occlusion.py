"""Joints and body parts hidden on purpose: blurred, painted over, or replaced by somebody else's.

The augmentations of "Tilting at windmills" (Pytel et al. 2020), which found that they hardly help: they are here so that one can
see for oneself, and to hide one part in every picture of a test. They work on the network's input, px of the crop.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from pipeline.skeleton import Skeleton

_LIMBS = ("left_arm", "right_arm", "left_leg", "right_leg")
RANDOM_PARTS = ("left_arm", "right_arm", "hip", "left_leg", "right_leg")  # the published choice never hits the head
_EXCHANGED = ("head", *_LIMBS, "corpus")  # what CutMix exchanges
PARTS = ("head", *_LIMBS, "hip", "left_side", "right_side", "upper_body", "lower_body", "corpus")

_FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
_LEAST = 0.25  # of the longer side of the span of two joints: so wide a straight limb's box is at least
_DISC_BLUR, _PART_BLUR = 11, 31  # px, kernels; their sigmas are OpenCV's for these sizes, 2 and 5
_TRIES = 20  # to find somebody who shows the part that is to be pasted


@dataclass(frozen=True)
class Occlusion:
    """How often something is hidden. All zeros: never.

    Attributes:
        blur, cutout, cutmix: probabilities, of a picture.
        multiple: probability that a further joint is blurred or cut out, tried `rounds` times.
        rounds: of `multiple`.
        target: what blur and cutout hide: a "joint" (a disc), a "part" (a rectangle), or "any" of both.
        radius_px: of the disc, px of the crop.
        fill: what is painted: the crop's mean colour, or black.
        forget: joints within a hidden part (within twice its size, as published) have no label any more.
        swapped_axes: the published defect: no joint is hidden whose x exceeds the height or whose y the width.
    """

    blur: float = 0.0
    cutout: float = 0.0
    cutmix: float = 0.0
    multiple: float = 0.0
    rounds: int = 5
    target: Literal["joint", "part", "any"] = "joint"
    radius_px: float = 6.0
    fill: Literal["mean", "black"] = "mean"
    forget: bool = True
    swapped_axes: bool = False

    @property
    def ever(self) -> bool:
        """Whether anything is ever hidden."""
        return max(self.blur, self.cutout, self.cutmix, self.multiple) > 0

    def __post_init__(self) -> None:
        for key in ("blur", "cutout", "cutmix", "multiple"):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f"occlusion.{key}: a probability is between 0 and 1, got {getattr(self, key)}")
        if self.radius_px <= 0:
            raise ValueError(f"occlusion.radius_px: expected more than 0 px, got {self.radius_px}")
        if self.rounds < 0:
            raise ValueError(f"occlusion.rounds: expected 0 or more, got {self.rounds}")


def joints_of(part: str, names: Skeleton) -> list[str]:
    """The joints of a part that a skeleton has; nothing where it lacks what the part is made of."""
    if part == "head":
        wanted = list(_FACE) if "left_eye" in names.joints else ["head_top", "upper_neck"]
    elif part in _LIMBS:
        side, limb = part.split("_")
        wanted = [
            f"{side}_{joint}"
            for joint in (("wrist", "elbow", "shoulder") if limb == "arm" else ("ankle", "knee", "hip"))
        ]
    elif part == "hip":
        wanted = ["left_hip", "right_hip"]
    elif part == "corpus":
        wanted = [f"{side}_{joint}" for joint in ("shoulder", "hip") for side in ("left", "right")]
    elif part in ("left_side", "right_side"):
        wanted = [joint for joint in names.joints if joint.startswith(part.removesuffix("side"))]
    elif part in ("upper_body", "lower_body"):
        low = ("hip", "knee", "ankle")
        legs = [f"{side}_{joint}" for joint in low for side in ("left", "right")]
        high = ["head_top", "upper_neck", *_FACE]
        high += [f"{side}_{joint}" for joint in ("shoulder", "elbow", "wrist", "hip") for side in ("left", "right")]
        wanted = high if part == "upper_body" else legs
    else:
        raise ValueError(f"no part of the body is called '{part}'; known ones are {', '.join(PARTS)}")
    return [joint for joint in wanted if joint in names.joints]


def region(part: str, points: np.ndarray, names: Skeleton) -> tuple[np.ndarray, np.ndarray] | None:
    """Where a part is.

    Args:
        points: (joints, 2) px; NaN where not labelled.

    Returns:
        Its centre and its full widths, both (2,) px; None where too few of its joints are labelled.
    """
    known = {joint: points[names.index(joint)] for joint in joints_of(part, names)}
    known = {joint: point for joint, point in known.items() if np.isfinite(point).all()}
    if part == "head" and "head_top" in names.joints and "left_eye" not in names.joints:
        if len(known) < 2:
            return None
        top, neck = known.values()
        return (top + neck) / 2, _span(top, neck) * [2, 1]
    if part == "hip":
        if len(known) < 2:
            return None
        left, right = known.values()
        return (left + right) / 2, 2 * _span(left, right)
    if part in _LIMBS and len(known) == 2:
        side = part.split("_")[0]
        outer, middle, inner = (f"{side}_{joint}" for joint in _chain(part))
        if middle in known:
            (other,) = (joint for joint in (outer, inner) if joint in known)
            return known[middle], 2 * _span(known[middle], known[other])
        return (known[outer] + known[inner]) / 2, _span(known[outer], known[inner])
    if len(known) < (3 if part in _LIMBS else 2):
        return None
    low, high = np.min(list(known.values()), axis=0), np.max(list(known.values()), axis=0)
    return (low + high) / 2, (high - low) * (1.2 if part == "head" else 1.0)


def _chain(limb: str) -> tuple[str, str, str]:
    return ("wrist", "elbow", "shoulder") if limb.endswith("arm") else ("ankle", "knee", "hip")


def _span(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(2,) px how far two joints are apart, along each axis at least a quarter of the other."""
    apart = np.abs(a - b)
    return np.maximum(apart, _LEAST * apart[::-1])


def rectangle(centre: np.ndarray, widths: np.ndarray, picture: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns of a region, cut off at the picture's border."""
    height, width = picture.shape[:2]
    (x1, y1), (x2, y2) = centre - widths / 2, centre + widths / 2
    return slice(max(int(y1), 0), min(max(int(y2), 0), height)), slice(max(int(x1), 0), min(max(int(x2), 0), width))


def hide(
    picture: np.ndarray,
    points: np.ndarray,
    names: Skeleton,
    what: str,
    how: Literal["blur", "cutout"],
    settings: Occlusion,
) -> np.ndarray:
    """Blur or paint over one joint or part; the picture itself where it is not labelled.

    Args:
        picture: (height, width, 3) uint8.
        points: (joints, 2) px; NaN where not labelled.
        what: the name of a joint or of a part.

    Returns:
        (height, width, 3) uint8, a new picture.

    Raises:
        ValueError: neither a joint of the skeleton nor a part.
    """
    height, width = picture.shape[:2]
    inside = np.zeros((height, width), dtype=bool)
    if what in names.joints:
        x, y = points[names.index(what)]
        within = (0 <= x < height and 0 <= y < width) if settings.swapped_axes else True
        if np.isfinite(x) and np.isfinite(y) and within:
            rows, columns = np.ogrid[:height, :width]
            inside = (columns - x) ** 2 + (rows - y) ** 2 <= settings.radius_px**2
        kernel = _DISC_BLUR
    else:
        found = region(what, points, names)
        if found is not None:
            inside[rectangle(*found, picture)] = True
        kernel = _PART_BLUR
    if not inside.any():
        return picture
    hidden = picture.copy()
    if how == "blur":
        hidden[inside] = cv2.GaussianBlur(picture, (kernel, kernel), 0)[inside]
    else:
        hidden[inside] = picture.mean(axis=(0, 1)).astype(np.uint8) if settings.fill == "mean" else 0
    return hidden


def exchange(
    picture: np.ndarray,
    points: np.ndarray,
    names: Skeleton,
    donor: Callable[[], tuple[np.ndarray, np.ndarray]],
    settings: Occlusion,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """CutMix of body parts: another kind of part of another person is pasted over one of this one.

    Args:
        donor: draws somebody: (height, width, 3) uint8 and (joints, 2) px of that picture; NaN where not labelled.

    Returns:
        The picture, and the points, NaN where they are forgotten. Both as they came when the part that was drawn is not
        labelled as a whole, or nobody shows the other.
    """
    part = _EXCHANGED[int(rng.integers(len(_EXCHANGED)))]
    if not _whole(part, points, names):
        return picture, points
    other = str(rng.choice([name for name in _EXCHANGED if name.split("_")[-1] != part.split("_")[-1]]))
    for _ in range(_TRIES):
        theirs, their_points = donor()
        if not _whole(other, their_points, names):
            continue
        found, wanted = region(other, their_points, names), region(part, points, names)
        assert found is not None and wanted is not None
        source, target = theirs[rectangle(*found, theirs)], rectangle(*wanted, picture)
        height, width = picture[target].shape[:2]
        if source.size and height and width:
            picture = picture.copy()
            picture[target] = cv2.resize(source, (width, height), interpolation=cv2.INTER_AREA)
            return picture, forgotten(points, *wanted) if settings.forget else points
    return picture, points


def occlude(
    picture: np.ndarray, points: np.ndarray, names: Skeleton, settings: Occlusion, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Blur, cut out, and hide further joints, each with its probability.

    Args:
        picture: (height, width, 3) uint8.
        points: (joints, 2) px; NaN where not labelled.

    Returns:
        The picture, and the points, NaN where they are forgotten.
    """
    ways: tuple[tuple[Literal["blur", "cutout"], float], ...] = (("blur", settings.blur), ("cutout", settings.cutout))
    for how, chance in ways:
        if chance > 0 and rng.random() < chance:
            choice = _choices(points, names, settings.target)
            if choice:
                what = choice[int(rng.integers(len(choice)))]
                picture = hide(picture, points, names, what, how, settings)
                found = None if what in names.joints else region(what, points, names)
                if settings.forget and found is not None:
                    points = forgotten(points, *found)
    if settings.multiple > 0:
        left = _choices(points, names, "joint")
        for _ in range(settings.rounds):
            if left and rng.random() < settings.multiple:
                what = left.pop(int(rng.integers(len(left))))
                picture = hide(picture, points, names, what, "blur" if rng.random() < 0.5 else "cutout", settings)
    return picture, points


def forgotten(points: np.ndarray, centre: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """(joints, 2) -> (joints, 2), NaN for joints less than a full width from a region's centre, as published."""
    near = (np.abs(points - centre) <= widths).all(axis=-1)
    return np.where(near[:, None], np.nan, points)


def _choices(points: np.ndarray, names: Skeleton, target: str) -> list[str]:
    joints = [joint for joint, point in zip(names.joints, points, strict=True) if np.isfinite(point).all()]
    parts: Sequence[str] = () if not joints else RANDOM_PARTS if target == "part" else PARTS
    return [*(joints if target != "part" else []), *(parts if target != "joint" else [])]


def _whole(part: str, points: np.ndarray, names: Skeleton) -> bool:
    joints = joints_of(part, names)
    return len(joints) > 1 and bool(np.isfinite(points[[names.index(joint) for joint in joints]]).all())
