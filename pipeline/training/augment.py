"""Augmentation of person crops: one affine for the picture and its joints, then light and noise."""

from dataclasses import dataclass, field

import cv2
import numpy as np

from pipeline.skeleton import Skeleton
from pipeline.training.occlusion import Occlusion

_HALF_LEAST = 8  # labelled joints; nobody with fewer is cut in half
_LEGS = ("hip", "knee", "ankle", "pelvis", "toe", "heel")
_UPPER_SHARE = 0.69  # the published draw is a normal number below 0.5


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


def vary_crop(
    crop_from_image: np.ndarray, size: tuple[int, int], augment: Augment, rng: np.random.Generator
) -> tuple[np.ndarray, bool]:
    """Turn, scale, shift and flip a crop.

    Args:
        crop_from_image: (2, 3) the crop's affine.
        size: (width, height) px of the crop.

    Returns:
        The varied (2, 3) affine, and whether left and right are exchanged.
    """
    angle = np.deg2rad(augment.rotation * np.clip(rng.standard_normal(), -2, 2))
    if augment.turned < 1 and rng.random() >= augment.turned:
        angle = 0.0
    scale = np.exp(augment.scale * np.clip(rng.standard_normal(), -2, 2))
    shift = augment.shift * np.array(size) * np.clip(rng.standard_normal(2), -2, 2)
    flipped = bool(rng.random() < augment.flip)
    middle = (np.array(size) - 1) / 2
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if flipped:
        linear = np.diag([-1.0, 1.0]) @ linear
    varied = linear @ crop_from_image
    varied[:, 2] += middle - linear @ middle + shift
    return varied, flipped


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


def vary_pixels(picture: np.ndarray, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    """Vary light, colour, focus and noise of a (height, width, 3) uint8 picture; returns uint8."""
    gains = np.exp(augment.contrast * rng.standard_normal() + augment.colour * rng.standard_normal(3))
    offset = 255 * augment.brightness * rng.standard_normal()
    # 256 values a channel, looked up: a third of the time of computing them for every pixel
    table = (np.arange(256, dtype=np.float32)[:, None] - 128) * gains.astype(np.float32) + np.float32(128 + offset)
    values: np.ndarray | None = None
    if augment.blur > 0 and rng.random() < 0.3:
        values = cv2.GaussianBlur(cv2.LUT(picture, table[None]), (0, 0), 0.3 + augment.blur * rng.random())
    if augment.noise > 0 and rng.random() < 0.3:
        spread = np.float32(255 * augment.noise * rng.random())
        noise = rng.standard_normal(picture.shape, dtype=np.float32)
        noise *= spread
        noise += cv2.LUT(picture, table[None]) if values is None else values
        values = noise
    if values is None:
        varied: np.ndarray = cv2.LUT(picture, np.clip(table, 0, 255).astype(np.uint8)[None])
    else:
        varied = np.clip(values, 0, 255, out=values).astype(np.uint8)
    if augment.erase > 0 and rng.random() < augment.erase:
        height, width, _ = varied.shape
        tall, wide = (rng.uniform(0.1, 0.35, 2) * (height, width)).astype(int)
        top, left = int(rng.integers(0, height - tall)), int(rng.integers(0, width - wide))
        varied[top : top + tall, left : left + wide] = rng.uniform(0, 255, 3)
    return varied
