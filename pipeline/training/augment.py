"""Augmentation of person crops: one affine for the picture and its joints, then light and noise."""

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Augment:
    """How strongly training pictures are varied. All zeros: not at all.

    Attributes:
        rotation: deg, standard deviation.
        scale: standard deviation of the log of the size.
        shift: standard deviation, as a share of the box's side.
        flip: probability.
        brightness: standard deviation of an added value, as a share of the range.
        contrast: standard deviation of the log of the contrast.
        colour: standard deviation of the log of each channel's gain.
        noise: largest standard deviation of pixel noise, as a share of the range.
        blur: largest standard deviation of a Gaussian blur, px of the network's input.
        erase: probability that a rectangle is painted over.
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

    def __post_init__(self) -> None:
        for key, value in vars(self).items():
            if value < 0:
                raise ValueError(f"augment.{key}: expected 0 or more, got {value}")
        for key in ("flip", "erase"):
            if getattr(self, key) > 1:
                raise ValueError(f"augment.{key}: a probability is at most 1, got {getattr(self, key)}")


def vary_crop(
    crop_from_image: np.ndarray, size: int, augment: Augment, rng: np.random.Generator
) -> tuple[np.ndarray, bool]:
    """Turn, scale, shift and flip a crop.

    Args:
        crop_from_image: (2, 3) the crop's affine.
        size: px, the crop's side.

    Returns:
        The varied (2, 3) affine, and whether left and right are exchanged.
    """
    angle = np.deg2rad(augment.rotation * np.clip(rng.standard_normal(), -2, 2))
    scale = np.exp(augment.scale * np.clip(rng.standard_normal(), -2, 2))
    shift = augment.shift * size * np.clip(rng.standard_normal(2), -2, 2)
    flipped = bool(rng.random() < augment.flip)
    middle = np.full(2, (size - 1) / 2)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if flipped:
        linear = np.diag([-1.0, 1.0]) @ linear
    varied = linear @ crop_from_image
    varied[:, 2] += middle - linear @ middle + shift
    return varied, flipped


def vary_pixels(picture: np.ndarray, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    """Vary light, colour, focus and noise of a (height, width, 3) uint8 picture; returns uint8."""
    values: np.ndarray = picture.astype(np.float32)
    gains = np.exp(augment.contrast * rng.standard_normal() + augment.colour * rng.standard_normal(3))
    offset = 255 * augment.brightness * rng.standard_normal()
    values = (values - 128) * gains.astype(np.float32) + np.float32(128 + offset)
    if augment.blur > 0 and rng.random() < 0.3:
        values = cv2.GaussianBlur(values, (0, 0), 0.3 + augment.blur * rng.random())
    if augment.noise > 0 and rng.random() < 0.3:
        spread = np.float32(255 * augment.noise * rng.random())
        values += spread * rng.standard_normal(values.shape, dtype=np.float32)
    if augment.erase > 0 and rng.random() < augment.erase:
        height, width, _ = values.shape
        tall, wide = (rng.uniform(0.1, 0.35, 2) * (height, width)).astype(int)
        top, left = int(rng.integers(0, height - tall)), int(rng.integers(0, width - wide))
        values[top : top + tall, left : left + wide] = rng.uniform(0, 255, 3)
    return np.clip(values, 0, 255).astype(np.uint8)
