"""Augmentation of person crops: one affine for the picture and its joints, then light and noise."""

from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np

from pipeline.skeleton import Skeleton
from pipeline.training.occlusion import Occlusion

_HALF_LEAST = 8  # labelled joints; nobody with fewer is cut in half
_LEGS = ("hip", "knee", "ankle", "pelvis", "toe", "heel")
_UPPER_SHARE = 0.69  # the published draw is a normal number below 0.5
_BLURRED, _NOISY = 0.3, 0.3  # share of the pictures, where `blur` and `noise` are above 0
_STORED_NOISE = 1 << 20


@dataclass(frozen=True)
class Augment:
    """How strongly training pictures are varied. All zeros: not at all.

    Attributes:
        rotation: deg, standard deviation.
        scale: standard deviation of the log of the size.
        shift: standard deviation, as a share of the box's sides.
        flip: probability.
        brightness: standard deviation of an added value, as a share of the range.
        contrast: standard deviation of the log of the contrast.
        colour: standard deviation of the log of each channel's gain.
        noise: largest standard deviation of pixel noise, as a share of the range.
        blur: largest standard deviation of a Gaussian blur, px of the network's input.
        erase: probability that a rectangle is painted over.
        turned: share of the pictures that are turned at all.
        half_body: probability that only the upper or the lower half of a person is shown, when many joints are labelled.
        occlusion: what is hidden of joints and body parts, see training/occlusion.py.
    """

    rotation: float
    scale: float
    shift: float
    flip: float
    brightness: float
    contrast: float
    colour: float
    noise: float
    blur: float
    erase: float
    turned: float = 1.0
    half_body: float = 0.0
    occlusion: Occlusion = field(default_factory=Occlusion)

    def __post_init__(self) -> None:
        for key, value in vars(self).items():
            if key != "occlusion" and value < 0:
                raise ValueError(f"augment.{key}: expected 0 or more, got {value}")
        for key in ("flip", "erase", "turned", "half_body"):
            if getattr(self, key) > 1:
                raise ValueError(f"augment.{key}: a probability is at most 1, got {getattr(self, key)}")


@dataclass(frozen=True, eq=False)
class Variation:
    """How each of some pictures is varied, as it was drawn; a row a picture.

    Attributes:
        linear: (n, 2, 2) what turns, scales and mirrors a crop about its middle.
        shift: (n, 2) of its middle, as a share of the crop's sides.
        mirrored: (n,) bool; left and right are exchanged.
        light: (n, 3, 4) float32; a pixel's new channels from its channels and 1.
        blur: (n,) px, standard deviation; 0: none.
        noise: (n,) grey values, standard deviation; 0: none.
        noise_from: (n,) in [0, 1), where in the stored noise a picture's begins.
        erased: (n, 4) top, left, height, width as shares of the picture; NaN: nothing is painted over.
        paint: (n, 3) grey values.
    """

    linear: np.ndarray
    shift: np.ndarray
    mirrored: np.ndarray
    light: np.ndarray
    blur: np.ndarray
    noise: np.ndarray
    noise_from: np.ndarray
    erased: np.ndarray
    paint: np.ndarray

    def rows(self, chosen: np.ndarray | slice) -> "Variation":
        """Of some of the pictures only."""
        return Variation(**{name: values[chosen] for name, values in vars(self).items()})


def draw_variation(augment: Augment, count: int, rng: np.random.Generator) -> Variation:
    """Draw how `count` pictures are varied, all of them at once: one by one it would cost more than decoding them."""
    angle, scale, *shift = np.clip(rng.standard_normal((4, count)), -2, 2)  # nobody is half outside the crop
    angle = np.deg2rad(augment.rotation) * angle * (rng.random(count) < augment.turned)
    scale = np.exp(augment.scale * scale)
    mirrored = rng.random(count) < augment.flip
    mirror, cosine, sine = np.where(mirrored, -1.0, 1.0), scale * np.cos(angle), scale * np.sin(angle)
    linear = np.moveaxis(np.array([[mirror * cosine, -mirror * sine], [sine, cosine]]), -1, 0)

    contrast, colour = rng.standard_normal((count, 1)), rng.standard_normal((count, 3))
    gains = np.exp(augment.contrast * contrast + augment.colour * colour)
    light = np.zeros((count, 3, 4), dtype=np.float32)
    light[:, range(3), range(3)] = gains
    light[:, :, 3] = 128 * (1 - gains) + 255 * augment.brightness * rng.standard_normal((count, 1))

    blurred, noisy = rng.random(count) < _BLURRED * (augment.blur > 0), rng.random(count) < _NOISY
    sides = rng.uniform(0.1, 0.35, (count, 2))
    corner = rng.random((count, 2)) * (1 - sides)
    erased = rng.random((count, 1)) < augment.erase
    return Variation(
        linear=linear,
        shift=augment.shift * np.stack(shift, axis=-1),
        mirrored=mirrored,
        light=light,
        blur=blurred * (0.3 + augment.blur * rng.random(count)),
        noise=noisy * (255 * augment.noise * rng.random(count)),
        noise_from=rng.random(count),
        erased=np.where(erased, np.concatenate([corner, sides], axis=-1), np.nan),
        paint=rng.uniform(0, 255, (count, 3)),
    )


def vary_crops(crop_from_image: np.ndarray, size: tuple[int, int], variation: Variation) -> np.ndarray:
    """Turn, scale, shift and mirror crops.

    Args:
        crop_from_image: (n, 2, 3) the crops' affines.
        size: (width, height) px of the crops.

    Returns:
        (n, 2, 3) the varied affines.
    """
    middle = (np.array(size) - 1) / 2
    varied = variation.linear @ crop_from_image
    varied[..., 2] += middle - variation.linear @ middle + variation.shift * size
    return varied


def half_body(
    box: np.ndarray, joints: np.ndarray, names: Skeleton, augment: Augment, rng: np.random.Generator
) -> np.ndarray:
    """Now and then the box of a person's upper or lower half, as HRNet's training has it (Sun 2019).

    Args:
        box: (4,) px of the full picture.
        joints: (joints, 2) px of the full picture; NaN where not labelled.

    Returns:
        (4,) px: the box as it was, or 1.5 times the rectangle around the labelled joints of one half. The upper half is taken
        twice as often; people with eight or fewer labelled joints, or two or fewer in a half, stay whole.
    """
    if augment.half_body == 0 or rng.random() >= augment.half_body:
        return box
    known = np.isfinite(joints).all(axis=-1)
    if known.sum() <= _HALF_LEAST:
        return box
    low = np.array([joint.endswith(_LEGS) for joint in names.joints])
    upper, lower = joints[known & ~low], joints[known & low]
    wanted, other = (upper, lower) if rng.random() < _UPPER_SHARE else (lower, upper)
    half = wanted if len(wanted) > 2 else other
    if len(half) <= 2:
        return box
    low, high = half.min(axis=0), half.max(axis=0)
    extra = np.maximum(high - low, 1.0) * 0.25
    return np.concatenate([low - extra, high + extra])


def vary_pixels(picture: np.ndarray, variation: Variation, row: int) -> np.ndarray:
    """Vary light, colour, focus and noise of a (height, width, 3) uint8 picture; returns uint8."""
    varied: np.ndarray = cv2.transform(picture, variation.light[row])
    if variation.blur[row] > 0:
        varied = cv2.GaussianBlur(varied, (0, 0), variation.blur[row])
    if variation.noise[row] > 0:
        stored = _noise(varied.size)
        first = int(variation.noise_from[row] * (len(stored) - varied.size))
        noise = stored[first : first + varied.size].reshape(varied.shape) * np.float32(variation.noise[row])
        varied = cv2.add(varied, noise, dtype=cv2.CV_8U)
    if np.isfinite(variation.erased[row, 0]):
        height, width, _ = varied.shape
        top, left, tall, wide = (variation.erased[row] * (height, width, height, width)).astype(int)
        varied[top : top + tall, left : left + wide] = variation.paint[row]
    return varied


@lru_cache(maxsize=1)
def _noise(size: int) -> np.ndarray:
    """Standard normal numbers, many more than `size`, always the same ones: drawing them anew is slower than decoding a JPEG."""
    return np.random.default_rng(0).standard_normal(max(_STORED_NOISE, 4 * size), dtype=np.float32)
