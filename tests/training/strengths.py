"""Augmentations of tests: none at all, and all of those that every training has."""

from pipeline.training.augment import Augment

NONE = Augment(
    rotation_std_deg=0,
    scale_std=0,
    shift=0,
    flip_prob=0,
    brightness=0,
    contrast=0,
    colour=0,
    noise=0,
    blur=0,
    erase=0,
)
STRONG = Augment(
    rotation_std_deg=20,
    scale_std=0.2,
    shift=0.05,
    flip_prob=0.5,
    brightness=0.1,
    contrast=0.2,
    colour=0.1,
    noise=0.05,
    blur=1.0,
    erase=0.5,
)
