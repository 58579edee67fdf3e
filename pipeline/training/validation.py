"""What a network finds on labelled pictures that it did not learn from."""

from collections.abc import Callable

import numpy as np

from pipeline import crops, heatmaps
from pipeline.files.samples import Samples
from pipeline.metrics import pck
from pipeline.skeleton import Skeleton, reorder
from pipeline.training.batches import network_input

_BATCH = 64


def source_pckh(predict: Callable[[np.ndarray], np.ndarray], samples: Samples, skeleton: Skeleton, size: int) -> float:
    """PCKh@0.5 in percent, by MPII's protocol, on the labelled pictures that are kept for validation; NaN without any."""
    rows = np.flatnonzero(samples.split == "valid")
    if len(rows) == 0:
        return float("nan")
    found = detect(predict, samples, rows, size)
    truth = reorder(samples.joints[rows], skeleton, samples.skeleton)
    return pck.mpii_pckh(found, truth, samples.head[rows], skeleton)[0]


def detect(predict: Callable[[np.ndarray], np.ndarray], samples: Samples, rows: np.ndarray, size: int) -> np.ndarray:
    """The network's joints in the pictures of some samples.

    Args:
        predict: (batch, size, size, 3) uint8 BGR -> (batch, joints, map, map) heatmaps.
        rows: (rows,) which samples.
        size: px, side of the network's input.

    Returns:
        (rows, joints, 2) px of the full picture; NaN where a map has no peak.
    """
    found = []
    for start in range(0, len(rows), _BATCH):
        cut = [
            network_input(samples.picture(row), samples.crop_from_image[row], samples.box[row], size)
            for row in rows[start : start + _BATCH]
        ]
        maps = predict(np.stack([picture for picture, _ in cut]))
        peaks, _ = heatmaps.decode_dark(maps)  # (batch, joints, 2)
        found.append(crops.transform(np.stack([image_from_map for _, image_from_map in cut]), peaks))
    return np.concatenate(found)
