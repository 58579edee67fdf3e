"""Augment person crops: one affine for the image and its keypoints, then light and noise."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated

import cv2
import numpy as np
from annotated_types import Ge, Interval

from pipeline.skeleton import Skeleton
from pipeline.training.occlusion import Occlusion

_MIN_KEYPOINTS = 8  # a person with this many labelled keypoints or fewer is never cut in half
_LEGS = ("hip", "knee", "ankle", "pelvis", "toe", "heel")
_UPPER_PROB = 0.69  # published as: a standard normal number is below 0.5
_BLUR_PROB, _NOISE_PROB = 0.3, 0.3  # where `blur` and `noise` are above 0
_STORED_NOISE = 1 << 20

Strength = Annotated[float, Ge(0)]
Probability = Annotated[float, Interval(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class Augment:
    """How strongly training images are varied. With zeros everywhere they are not varied.

    Attributes:
        rotation_std_deg: standard deviation of the rotation.
        rotation_prob: probability that an image is rotated at all.
        scale_std: standard deviation of the logarithm of the size.
        shift: standard deviation, as a fraction of the box's sides.
        flip_prob: probability of a mirror image.
        half_body: probability that the crop shows only a person's upper or lower half, where many keypoints are labelled.
        brightness: standard deviation of an added value, as a fraction of the range.
        contrast: standard deviation of the logarithm of the contrast.
        colour: standard deviation of the logarithm of each channel's gain.
        noise: largest standard deviation of pixel noise, as a fraction of the range.
        blur: largest standard deviation of a Gaussian blur, px of the network's input.
        erase: probability that a rectangle is painted over.
        occlusion: how joints and body parts are hidden, see training/occlusion.py.
    """

    rotation_std_deg: Strength
    scale_std: Strength
    shift: Strength
    flip_prob: Probability
    brightness: Strength
    contrast: Strength
    colour: Strength
    noise: Strength
    blur: Strength
    erase: Probability
    rotation_prob: Probability = 1.0
    half_body: Probability = 0.0
    occlusion: Occlusion = field(default_factory=Occlusion)


@dataclass(frozen=True, eq=False, kw_only=True)
class Variation:
    """How each of n images is varied, as it was drawn; one row per image.

    Attributes:
        linear: (n, 2, 2) rotates, scales and mirrors a crop about its centre.
        shift: (n, 2) of the centre, as a fraction of the crop's sides.
        mirrored: (n,) bool; left and right are exchanged.
        light: (n, 3, 4) float32; a pixel's new channels from its channels and 1.
        blur: (n,) px, standard deviation; 0: none.
        noise: (n,) grey values, standard deviation; 0: none.
        noise_start: (n,) in [0, 1), where in the stored noise an image's begins.
        erased: (n, 4) top, left, height, width as fractions of the image; NaN: nothing is painted over.
        paint: (n, 3) grey values.
    """

    linear: np.ndarray
    shift: np.ndarray
    mirrored: np.ndarray
    light: np.ndarray
    blur: np.ndarray
    noise: np.ndarray
    noise_start: np.ndarray
    erased: np.ndarray
    paint: np.ndarray

    def rows(self, chosen: np.ndarray | slice) -> "Variation":
        """Return the variation of the chosen images."""
        return Variation(**{name: values[chosen] for name, values in vars(self).items()})


def draw_variation(augment: Augment, count: int, rng: np.random.Generator) -> Variation:
    """Draw how `count` images are varied, all at once: drawing one by one would cost more than decoding the images."""
    # Bounded at two deviations, so that no person is half outside of the crop.
    angle, scale, *shift = np.clip(rng.standard_normal((4, count)), -2, 2)
    angle = np.deg2rad(augment.rotation_std_deg) * angle * (rng.random(count) < augment.rotation_prob)
    scale = np.exp(augment.scale_std * scale)
    mirrored = rng.random(count) < augment.flip_prob
    mirror, cosine, sine = np.where(mirrored, -1.0, 1.0), scale * np.cos(angle), scale * np.sin(angle)
    linear = np.moveaxis(np.array([[mirror * cosine, -mirror * sine], [sine, cosine]]), -1, 0)

    contrast, colour = rng.standard_normal((count, 1)), rng.standard_normal((count, 3))
    gains = np.exp(augment.contrast * contrast + augment.colour * colour)
    light = np.zeros((count, 3, 4), dtype=np.float32)
    light[:, range(3), range(3)] = gains
    light[:, :, 3] = 128 * (1 - gains) + 255 * augment.brightness * rng.standard_normal((count, 1))

    blurred, noisy = rng.random(count) < _BLUR_PROB * (augment.blur > 0), rng.random(count) < _NOISE_PROB
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
        noise_start=rng.random(count),
        erased=np.where(erased, np.concatenate([corner, sides], axis=-1), np.nan),
        paint=rng.uniform(0, 255, (count, 3)),
    )


def vary_crops(crop_from_image: np.ndarray, size: tuple[int, int], variation: Variation) -> np.ndarray:
    """Rotate, scale, shift and mirror crops.

    Args:
        crop_from_image: (n, 2, 3) the crops' affines.
        size: (width, height) px of the crops.

    Returns:
        (n, 2, 3) the varied affines.
    """
    centre = (np.array(size) - 1) / 2
    varied = variation.linear @ crop_from_image
    varied[..., 2] += centre - variation.linear @ centre + variation.shift * size
    return varied


def half_body(
    box: np.ndarray, keypoints: np.ndarray, skeleton: Skeleton, augment: Augment, rng: np.random.Generator
) -> np.ndarray:
    """Return a person's box or, with the probability `half_body`, that of the upper or lower half (HRNet, Sun 2019).

    The upper half comes twice as often. A person with eight or fewer labelled keypoints, or with two or fewer in a half, stays
    whole.

    Args:
        box: (4,) px of the full image.
        keypoints: (joints, 2) px of the full image; NaN where not labelled.

    Returns:
        (4,) px: the box, or 1.5 times the rectangle around the labelled keypoints of one half.
    """
    if augment.half_body == 0 or rng.random() >= augment.half_body:
        return box
    labelled = np.isfinite(keypoints).all(axis=-1)
    if labelled.sum() <= _MIN_KEYPOINTS:
        return box
    is_leg = np.array([joint.endswith(_LEGS) for joint in skeleton.joint_names])
    upper, lower = keypoints[labelled & ~is_leg], keypoints[labelled & is_leg]
    first, second = (upper, lower) if rng.random() < _UPPER_PROB else (lower, upper)
    half = first if len(first) > 2 else second
    if len(half) <= 2:
        return box
    low, high = half.min(axis=0), half.max(axis=0)
    margin = np.maximum(high - low, 1.0) * 0.25
    return np.concatenate([low - margin, high + margin])


def vary_pixels(image: np.ndarray, variation: Variation, row: int) -> np.ndarray:
    """Vary light, colour, focus and noise of a (height, width, 3) uint8 image; return uint8."""
    varied: np.ndarray = cv2.transform(image, variation.light[row])
    if variation.blur[row] > 0:
        varied = cv2.GaussianBlur(varied, (0, 0), variation.blur[row])
    if variation.noise[row] > 0:
        stored = _noise(varied.size)
        start = int(variation.noise_start[row] * (len(stored) - varied.size))
        noise = stored[start : start + varied.size].reshape(varied.shape) * np.float32(variation.noise[row])
        varied = cv2.add(varied, noise, dtype=cv2.CV_8U)
    if np.isfinite(variation.erased[row, 0]):
        height, width, _ = varied.shape
        top, left, tall, wide = (variation.erased[row] * (height, width, height, width)).astype(int)
        varied[top : top + tall, left : left + wide] = variation.paint[row]
    return varied


@lru_cache(maxsize=1)
def _noise(size: int) -> np.ndarray:
    """Return standard normal numbers, many more than `size`, always the same: drawing new ones is slower than decoding a JPEG."""
    return np.random.default_rng(0).standard_normal(max(_STORED_NOISE, 4 * size), dtype=np.float32)
