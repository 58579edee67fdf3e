"""Drawings: predictions on their images, to look at; as `--save-all-preds` of the published self-training draws them.

A red dot is the ground truth, a green cross a keypoint that is right, a blue cross one that is not.
"""

from pathlib import Path

import cv2
import numpy as np

from pipeline import crops
from pipeline.files import images
from pipeline.files.atomic import replacing
from pipeline.files.samples import Samples

LIMIT = 200  # persons, as published
_RED, _GREEN, _BLUE = (0, 0, 255), (0, 255, 0), (255, 0, 0)  # BGR
_HEAD_SHARE = 0.1  # of the box's side, where the set has no head sizes


def draw_predictions(
    folder: Path, samples: Samples, rows: np.ndarray, *, predicted: np.ndarray, ground_truth: np.ndarray
) -> int:
    """Write a JPEG of each of the first persons and return how many: `00000.jpg`, `00001.jpg`, ... in the order of the rows.

    A keypoint is right within half a head of its ground truth (PCKh@0.5). Where a set has no head sizes, a head is a tenth of
    the person's box, as Human3.6M is evaluated.

    Args:
        folder: to write; it appears when all drawings are done.
        samples: the set.
        rows: (persons,) of the set.
        predicted, ground_truth: (persons, joints, 2) px of the full image; NaN if unknown.

    Raises:
        ValueError: the folder exists and holds other files than drawings.
    """
    if folder.exists() and any(path.suffix != ".jpg" or not path.stem.isdigit() for path in folder.iterdir()):
        raise ValueError(f"{folder}: holds other files than drawings; name a new folder")
    count = min(len(rows), LIMIT)
    with replacing(folder) as scratch:
        scratch.mkdir()
        for number, row in enumerate(rows[:count]):
            side = (samples.box[row, 2:] - samples.box[row, :2]).max()
            head = samples.head[row] if np.isfinite(samples.head[row]) else _HEAD_SHARE * side
            image = samples.image(row)
            crop_from_image = samples.crop_from_image[row]
            within = np.linalg.norm(predicted[number] - ground_truth[number], axis=-1) < head / 2
            true, seen = (crops.transform(crop_from_image, each[number]) for each in (ground_truth, predicted))
            for joint in range(len(true)):
                if np.isfinite(true[joint]).all():
                    cv2.circle(image, _pixel(true[joint]), 2, _RED, -1, cv2.LINE_AA)
                if np.isfinite(seen[joint]).all():
                    colour = _GREEN if within[joint] else _BLUE
                    cv2.drawMarker(image, _pixel(seen[joint]), colour, cv2.MARKER_TILTED_CROSS, 7, 1, cv2.LINE_AA)
            (scratch / f"{number:05d}.jpg").write_bytes(images.encode(image))
    return count


def _pixel(point: np.ndarray) -> tuple[int, int]:
    x, y = np.clip(np.round(point), -(2**14), 2**14).astype(int).tolist()
    return x, y
