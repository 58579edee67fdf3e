"""A person's crop: images and keypoints through one affine, and back.

A box is x1 y1 x2 y2 in px of the full image and gives edges: pixel i covers i - 0.5 to i + 0.5, so the whole image
is the box (-0.5, -0.5, width - 0.5, height - 0.5). A crop of `size` px has the same rule: its pixel 0 covers the first
1/size of the box. A point of the image therefore lands on `(x - x1) * size / side - 0.5`, a crop of half the size has
points `(x + 0.5) / 2 - 0.5`, and nothing drifts by half a pixel between crops, heatmaps and images.
"""

import math

import cv2
import numpy as np

_SAME = 1e-3  # px; stored boxes are rounded


def crop_from_image(
    box: np.ndarray, size: int | tuple[int, int], rotation: float | np.ndarray = 0.0, flip: bool | np.ndarray = False
) -> np.ndarray:
    """Return the affine from the image to a crop that shows a box at the given size.

    Args:
        box: (..., 4) px of the full image, edges; NaN gives a NaN affine.
        size: px of the crop, one side or (width, height). The box is stretched when the shapes differ.
        rotation: degrees, (...) or one; the content turns clockwise on the screen about the box's centre.
        flip: (...) bool or one; mirrored left to right, after the rotation.

    Returns:
        (..., 2, 3) crop px from image px.
    """
    box = np.asarray(box, dtype=np.float64)
    width, height = (size, size) if isinstance(size, (int, np.integer)) else size
    x1, y1, x2, y2 = np.moveaxis(box, -1, 0)
    turn = np.deg2rad(rotation)
    cosine, sine = np.cos(turn), np.sin(turn)
    scale_x, scale_y = width / (x2 - x1), height / (y2 - y1)
    mirror = np.where(flip, -1.0, 1.0)
    linear = np.stack(
        [
            np.stack(np.broadcast_arrays(mirror * scale_x * cosine, -mirror * scale_x * sine), axis=-1),
            np.stack(np.broadcast_arrays(scale_y * sine, scale_y * cosine), axis=-1),
        ],
        axis=-2,
    )  # (..., 2, 2)
    centre = np.stack([(x1 + x2) / 2, (y1 + y2) / 2], axis=-1)
    target = np.array([(width - 1) / 2, (height - 1) / 2])
    offset = target - (linear @ centre[..., None])[..., 0]
    return np.concatenate([linear, offset[..., None]], axis=-1)


def inverse(affine: np.ndarray) -> np.ndarray:
    """Return the inverse affine, (..., 2, 3) b_from_a of a_from_b; NaN stays NaN."""
    affine = np.asarray(affine, dtype=np.float64)
    (a, b, x), (c, d, y) = (np.moveaxis(affine[..., row, :], -1, 0) for row in (0, 1))
    determinant = a * d - b * c
    return (
        np.stack([np.stack([d, -b, b * y - d * x], axis=-1), np.stack([-c, a, c * x - a * y], axis=-1)], axis=-2)
        / (determinant[..., None, None])
    )


def compose(c_from_b: np.ndarray, b_from_a: np.ndarray) -> np.ndarray:
    """Return the composed affine, (..., 2, 3) c_from_a."""
    linear = c_from_b[..., :2] @ b_from_a[..., :2]
    offset = c_from_b[..., :2] @ b_from_a[..., 2:] + c_from_b[..., 2:]
    return np.concatenate([linear, offset], axis=-1)


def transform(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return (..., points, 2) in b, of points in a and (..., 2, 3) b_from_a; NaN stays NaN."""
    affine = np.asarray(affine, dtype=np.float64)
    return points @ np.swapaxes(affine[..., :2], -1, -2) + affine[..., None, :, 2]


def square(box: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """Return the (..., 4) square about the box's centre whose side is the longer one, times 1 + margin."""
    box = np.asarray(box, dtype=np.float64)
    centre = (box[..., :2] + box[..., 2:]) / 2
    half = (box[..., 2:] - box[..., :2]).max(axis=-1, keepdims=True) * (1 + margin) / 2
    return np.concatenate([centre - half, centre + half], axis=-1)


def expand_to_aspect(box: np.ndarray, size: tuple[int, int], margin: float = 0.0) -> np.ndarray:
    """Return the smallest box with the input's aspect ratio, about the same centre, that contains a person's box.

    The crop is therefore not stretched. Top-down systems treat a box's width and height so (Simple Baselines).

    Args:
        box: (..., 4) px.
        size: (width, height) px of the network's input.
        margin: how much longer the sides become, as a fraction.

    Returns:
        (..., 4) px; without margin a box that has the shape, to a thousandth of a px, stays as it is.
    """
    box, shape = np.asarray(box, dtype=np.float64), np.asarray(size, dtype=np.float64)
    sides = box[..., 2:] - box[..., :2]
    half = (sides / shape).max(axis=-1, keepdims=True) * shape * (1 + margin) / 2
    centre = (box[..., :2] + box[..., 2:]) / 2
    grown = np.concatenate([centre - half, centre + half], axis=-1)
    same = (margin == 0) & (np.abs(sides[..., :1] * shape[1] / shape[0] - sides[..., 1:]) < _SAME)
    return np.where(same, box, grown)


def stored(box: np.ndarray, margin: float, size: float) -> tuple[np.ndarray, int]:
    """Return the affine and the side of a crop to store: larger than the box, at whole pixels, never enlarged.

    Args:
        box: (4,) px of the image, square.
        margin: the additional length, as a fraction of the box's side; half of it on each side.
        size: px of the crop that the box's side may take at most.

    Returns:
        (2, 3) crop px from image px, and the crop's side in px.
    """
    side = box[2] - box[0]
    region = max(int(np.ceil(side * (1 + margin))), 1)
    low = np.round((box[:2] + box[2:]) / 2 - region / 2 + 0.5) - 0.5  # at the edge of a pixel: copied, not blurred
    kept = int(np.ceil(region * min(size / side, 1.0)))
    return crop_from_image(np.concatenate([low, low + region]), kept), kept


def warp(image: np.ndarray, affine: np.ndarray, size: int | tuple[int, int], averaged: bool = True) -> np.ndarray:
    """Return a crop of an image: bilinear, black outside.

    A reduction by 2 or more averages whole pixels first (bilinear alone would skip most of them), unless not `averaged`.

    Args:
        image: (height, width, 3) uint8.
        affine: (2, 3) crop px from image px.
        size: px of the crop, one side or (width, height).

    Returns:
        (height, width, 3) uint8.
    """
    target = (size, size) if isinstance(size, (int, np.integer)) else size
    (a, b, _), (c, d, _) = affine.tolist()  # np.linalg.det takes as long as a third of the warp
    factor = int(1 / math.sqrt(abs(a * d - b * c)) + 1e-6)
    if averaged and factor >= 2:
        image, image_from_small = _reduce(image, affine, target, factor)
        affine = compose(affine, image_from_small)
    return cv2.warpAffine(image, affine, target, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def _reduce(image: np.ndarray, affine: np.ndarray, size: tuple[int, int], factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the visible part of the image, `factor` times smaller, and the affine from its px to image px."""
    width, height = size
    corners = np.array([[-0.5, -0.5], [width - 0.5, -0.5], [-0.5, height - 0.5], [width - 0.5, height - 0.5]])
    seen = transform(inverse(affine), corners)
    x1, y1 = np.maximum(np.floor(seen.min(axis=0)).astype(int) - 2 * factor, 0)
    x2, y2 = np.minimum(np.ceil(seen.max(axis=0)).astype(int) + 2 * factor, [image.shape[1], image.shape[0]])
    if x2 <= x1 or y2 <= y1:  # the crop lies outside the image
        return np.zeros((1, 1, 3), dtype=np.uint8), np.array([[1.0, 0.0, -1e6], [0.0, 1.0, -1e6]])
    part = image[y1:y2, x1:x2]
    below, right = -part.shape[0] % factor, -part.shape[1] % factor
    part = cv2.copyMakeBorder(part, 0, below, 0, right, cv2.BORDER_CONSTANT)
    small = cv2.resize(part, (part.shape[1] // factor, part.shape[0] // factor), interpolation=cv2.INTER_AREA)
    middle = (factor - 1) / 2
    return small, np.array([[factor, 0.0, x1 + middle], [0.0, factor, y1 + middle]])
