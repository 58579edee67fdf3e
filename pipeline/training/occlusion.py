"""Hide joints and body parts on purpose: blur them, paint over them, or replace them by those of another person.

These are the augmentations of "Tilting at windmills" (Pytel et al. 2020), which found that they hardly help. They also hide one
part in every image of a test. They work on the network's input: keypoints are px of the crop.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import cv2
import numpy as np
from annotated_types import Ge, Gt, Interval, Unit

from pipeline.skeleton import Skeleton

_LIMBS = ("left_arm", "right_arm", "left_leg", "right_leg")
RANDOM_PARTS = ("left_arm", "right_arm", "hip", "left_leg", "right_leg")  # the published choice never hits the head
_CUTMIX_PARTS = ("head", *_LIMBS, "corpus")
PARTS = ("head", *_LIMBS, "hip", "left_side", "right_side", "upper_body", "lower_body", "corpus")

_FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
_MIN_ASPECT = 0.25  # a straight limb's box is at least this fraction of its longer side wide
_DISC_BLUR, _PART_BLUR = 11, 31  # px, sides of the kernels; OpenCV's sigmas for them are 2 and 5
_TRIES = 20  # donors drawn until one shows the part to be pasted


@dataclass(frozen=True, kw_only=True)
class Occlusion:
    """How often joints and parts are hidden. With zeros everywhere nothing is hidden.

    Attributes:
        blur: probability that a joint or part is blurred.
        cutout: probability that a joint or part is painted over.
        cutmix: probability that a part is replaced by one of another person.
        multiple: probability that a further joint is blurred or cut out, tried `rounds` times.
        rounds: see `multiple`.
        target: blur and cutout hide a "joint" (a disc), a "part" (a rectangle), or "any" of both.
        radius_px: of the disc, px of the crop.
        fill: the crop's mean colour, or black.
        unlabel_hidden: keypoints within a hidden part (within twice its size, as published) lose their label.
        published_axis_bug: spare joints whose x exceeds the height or whose y exceeds the width, as the published code does.
    """

    blur: Annotated[float, Interval(ge=0, le=1)] = 0.0
    cutout: Annotated[float, Interval(ge=0, le=1)] = 0.0
    cutmix: Annotated[float, Interval(ge=0, le=1)] = 0.0
    multiple: Annotated[float, Interval(ge=0, le=1)] = 0.0
    rounds: Annotated[int, Ge(0)] = 5
    target: Literal["joint", "part", "any"] = "joint"
    radius_px: Annotated[float, Gt(0), Unit("px")] = 6.0
    fill: Literal["mean", "black"] = "mean"
    unlabel_hidden: bool = True
    published_axis_bug: bool = False

    @property
    def active(self) -> bool:
        """Whether anything is ever hidden."""
        return max(self.blur, self.cutout, self.cutmix, self.multiple) > 0


def part_joints(part: str, skeleton: Skeleton) -> list[str]:
    """Return the names of a part's joints that the skeleton has."""
    if part == "head":
        names = list(_FACE) if "left_eye" in skeleton.joint_names else ["head_top", "upper_neck"]
    elif part in _LIMBS:
        side, limb = part.split("_")
        names = [
            f"{side}_{joint}"
            for joint in (("wrist", "elbow", "shoulder") if limb == "arm" else ("ankle", "knee", "hip"))
        ]
    elif part == "hip":
        names = ["left_hip", "right_hip"]
    elif part == "corpus":
        names = [f"{side}_{joint}" for joint in ("shoulder", "hip") for side in ("left", "right")]
    elif part in ("left_side", "right_side"):
        names = [joint for joint in skeleton.joint_names if joint.startswith(part.removesuffix("side"))]
    elif part in ("upper_body", "lower_body"):
        low = ("hip", "knee", "ankle")
        legs = [f"{side}_{joint}" for joint in low for side in ("left", "right")]
        high = ["head_top", "upper_neck", *_FACE]
        high += [f"{side}_{joint}" for joint in ("shoulder", "elbow", "wrist", "hip") for side in ("left", "right")]
        names = high if part == "upper_body" else legs
    else:
        raise ValueError(f"no part of the body is called '{part}'; known ones are {', '.join(PARTS)}")
    return [joint for joint in names if joint in skeleton.joint_names]


def region(part: str, keypoints: np.ndarray, skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray] | None:
    """Return a part's centre and its full widths, both (2,) px; None where too few of its keypoints are labelled.

    Args:
        keypoints: (joints, 2) px; NaN where not labelled.
    """
    labelled = {joint: keypoints[skeleton.index(joint)] for joint in part_joints(part, skeleton)}
    labelled = {joint: point for joint, point in labelled.items() if np.isfinite(point).all()}
    if part == "head" and "head_top" in skeleton.joint_names and "left_eye" not in skeleton.joint_names:
        if len(labelled) < 2:
            return None
        top, neck = labelled.values()
        return (top + neck) / 2, _span(top, neck) * [2, 1]
    if part == "hip":
        if len(labelled) < 2:
            return None
        left, right = labelled.values()
        return (left + right) / 2, 2 * _span(left, right)
    if part in _LIMBS and len(labelled) == 2:
        side = part.split("_")[0]
        outer, middle, inner = (f"{side}_{joint}" for joint in _chain(part))
        if middle in labelled:
            (other,) = (joint for joint in (outer, inner) if joint in labelled)
            return labelled[middle], 2 * _span(labelled[middle], labelled[other])
        return (labelled[outer] + labelled[inner]) / 2, _span(labelled[outer], labelled[inner])
    if len(labelled) < (3 if part in _LIMBS else 2):
        return None
    low, high = np.min(list(labelled.values()), axis=0), np.max(list(labelled.values()), axis=0)
    return (low + high) / 2, (high - low) * (1.2 if part == "head" else 1.0)


def _chain(limb: str) -> tuple[str, str, str]:
    return ("wrist", "elbow", "shoulder") if limb.endswith("arm") else ("ankle", "knee", "hip")


def _span(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return (2,) px, the distance of two keypoints along each axis, at least a quarter of that along the other."""
    distance = np.abs(a - b)
    return np.maximum(distance, _MIN_ASPECT * distance[::-1])


def rectangle(centre: np.ndarray, widths: np.ndarray, image: np.ndarray) -> tuple[slice, slice]:
    """Return the rows and columns of a region, cut off at the image's border."""
    height, width = image.shape[:2]
    (x1, y1), (x2, y2) = centre - widths / 2, centre + widths / 2
    return slice(max(int(y1), 0), min(max(int(y2), 0), height)), slice(max(int(x1), 0), min(max(int(x2), 0), width))


def hide(
    image: np.ndarray,
    keypoints: np.ndarray,
    skeleton: Skeleton,
    target: str,
    *,
    how: Literal["blur", "cutout"],
    settings: Occlusion,
) -> np.ndarray:
    """Return a new image with one joint or part blurred or painted over; the image itself where that is not labelled.

    Args:
        image: (height, width, 3) uint8.
        keypoints: (joints, 2) px; NaN where not labelled.
        target: the name of a joint or of a part.

    Raises:
        ValueError: the target is neither a joint of the skeleton nor a part.
    """
    height, width = image.shape[:2]
    inside = np.zeros((height, width), dtype=bool)
    if target in skeleton.joint_names:
        x, y = keypoints[skeleton.index(target)]
        within = (0 <= x < height and 0 <= y < width) if settings.published_axis_bug else True
        if np.isfinite(x) and np.isfinite(y) and within:
            rows, columns = np.ogrid[:height, :width]
            inside = (columns - x) ** 2 + (rows - y) ** 2 <= settings.radius_px**2
        kernel = _DISC_BLUR
    else:
        part = region(target, keypoints, skeleton)
        if part is not None:
            inside[rectangle(*part, image)] = True
        kernel = _PART_BLUR
    if not inside.any():
        return image
    hidden = image.copy()
    if how == "blur":
        hidden[inside] = cv2.GaussianBlur(image, (kernel, kernel), 0)[inside]
    else:
        hidden[inside] = image.mean(axis=(0, 1)).astype(np.uint8) if settings.fill == "mean" else 0
    return hidden


def exchange(
    image: np.ndarray,
    keypoints: np.ndarray,
    skeleton: Skeleton,
    *,
    donor: Callable[[], tuple[np.ndarray, np.ndarray]],
    settings: Occlusion,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Paste a part of another person over a part of another kind of this person (CutMix of body parts).

    Args:
        donor: draws another person: (height, width, 3) uint8 and (joints, 2) px of that image; NaN where not labelled.

    Returns:
        The image, and the keypoints, NaN where they lose their label. Both are unchanged where the drawn part is not labelled
        completely, or no donor shows the other part.
    """
    part = _CUTMIX_PARTS[int(rng.integers(len(_CUTMIX_PARTS)))]
    if not _complete(part, keypoints, skeleton):
        return image, keypoints
    other = str(rng.choice([name for name in _CUTMIX_PARTS if name.split("_")[-1] != part.split("_")[-1]]))
    for _ in range(_TRIES):
        donor_image, donor_keypoints = donor()
        if not _complete(other, donor_keypoints, skeleton):
            continue
        source_region, target_region = region(other, donor_keypoints, skeleton), region(part, keypoints, skeleton)
        assert source_region is not None and target_region is not None
        source, target = donor_image[rectangle(*source_region, donor_image)], rectangle(*target_region, image)
        height, width = image[target].shape[:2]
        if source.size and height and width:
            image = image.copy()
            image[target] = cv2.resize(source, (width, height), interpolation=cv2.INTER_AREA)
            return image, unlabel(keypoints, *target_region) if settings.unlabel_hidden else keypoints
    return image, keypoints


def occlude(
    image: np.ndarray, keypoints: np.ndarray, skeleton: Skeleton, settings: Occlusion, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Blur, cut out, and hide further joints, each with its probability.

    Args:
        image: (height, width, 3) uint8.
        keypoints: (joints, 2) px; NaN where not labelled.

    Returns:
        The image, and the keypoints, NaN where they lose their label.
    """
    ways: tuple[tuple[Literal["blur", "cutout"], float], ...] = (("blur", settings.blur), ("cutout", settings.cutout))
    for how, probability in ways:
        if probability > 0 and rng.random() < probability:
            choices = _choices(keypoints, skeleton, settings.target)
            if choices:
                target = choices[int(rng.integers(len(choices)))]
                image = hide(image, keypoints, skeleton, target, how=how, settings=settings)
                part = None if target in skeleton.joint_names else region(target, keypoints, skeleton)
                if settings.unlabel_hidden and part is not None:
                    keypoints = unlabel(keypoints, *part)
    if settings.multiple > 0:
        remaining = _choices(keypoints, skeleton, "joint")
        for _ in range(settings.rounds):
            if remaining and rng.random() < settings.multiple:
                target = remaining.pop(int(rng.integers(len(remaining))))
                random_how: Literal["blur", "cutout"] = "blur" if rng.random() < 0.5 else "cutout"
                image = hide(image, keypoints, skeleton, target, how=random_how, settings=settings)
    return image, keypoints


def unlabel(keypoints: np.ndarray, centre: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Return (joints, 2), NaN for keypoints less than a full width from a region's centre, as published."""
    near = (np.abs(keypoints - centre) <= widths).all(axis=-1)
    return np.where(near[:, None], np.nan, keypoints)


def _choices(keypoints: np.ndarray, skeleton: Skeleton, target: str) -> list[str]:
    joints = [joint for joint, point in zip(skeleton.joint_names, keypoints, strict=True) if np.isfinite(point).all()]
    parts: Sequence[str] = () if not joints else RANDOM_PARTS if target == "part" else PARTS
    return [*(joints if target != "part" else []), *(parts if target != "joint" else [])]


def _complete(part: str, keypoints: np.ndarray, skeleton: Skeleton) -> bool:
    joints = part_joints(part, skeleton)
    return len(joints) > 1 and bool(np.isfinite(keypoints[[skeleton.index(joint) for joint in joints]]).all())
