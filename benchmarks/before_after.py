"""The README's picture: held-out moments as the first model saw them, and as the last one does.

    python -m benchmarks.before_after --first data/rounds/r0 --last data/rounds/r2

The moments are where they are shown to differ: the quarter, the middle and the three quarters of all held-out frames, ordered
by how far the two models lie apart; no truth is read.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from pipeline import crops
from pipeline.files.frames import Frames
from pipeline.files.heatmaps import Heatmaps
from pipeline.report.overlays import drawn

_SIDE = 200  # px of a picture


def sheet(frames: Frames, first: Heatmaps, last: Heatmaps) -> np.ndarray:
    """A row a moment; in each view, the first model beside the last one."""
    test = np.flatnonzero(frames.keys.split == "test")
    apart = np.nanmedian(np.linalg.norm(first.points - last.points, axis=-1), axis=(1, 2))[test]
    order = test[np.argsort(apart, kind="stable")]
    rows = []
    for frame in order[[len(order) // 4, len(order) // 2, 3 * len(order) // 4]]:
        row = []
        for view in range(len(frames.views)):
            square_from_image = crops.crop_from_image(crops.square(frames.box[frame, view], 0.1), _SIDE)
            picture = crops.warp(
                frames.picture(int(frame), view),
                crops.compose(square_from_image, crops.inverse(frames.crop_from_image[frame, view])),
                _SIDE,
            )
            pair = [
                drawn(picture, crops.transform(square_from_image, model.points[frame, view]), model.skeleton)
                for model in (first, last)
            ]
            row.append(np.pad(np.hstack(pair), ((0, 6), (0, 10), (0, 0)), constant_values=255))
        rows.append(np.hstack(row))
    return np.vstack(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=Path, default=Path("data/rounds/r0"))
    parser.add_argument("--last", type=Path, default=Path("data/rounds/r2"))
    parser.add_argument("--frames", type=Path, default=Path("data/prepared/target.h5"))
    parser.add_argument("--out", type=Path, default=Path("plots/before_after.jpg"))
    given = parser.parse_args()
    seen = Frames.read(given.frames)
    maps = [Heatmaps.read(folder / "heatmaps.h5", windows=False) for folder in (given.first, given.last)]
    for each in maps:
        seen.keys.require_same(each.keys, "heatmaps")
    cv2.imwrite(str(given.out), sheet(seen, maps[0], maps[1]), [cv2.IMWRITE_JPEG_QUALITY, 88])
