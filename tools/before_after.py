"""Draw README's image: held-out frames with the keypoints of the first model and of the last one.

    python -m tools.before_after --first data/rounds/r0 --last data/rounds/r2

The held-out frames are ordered by the distance between the two models' keypoints; the image shows the frames at a quarter,
a half and three quarters of that order. No ground truth is read.
"""

import argparse
from pathlib import Path

import numpy as np

from pipeline import crops
from pipeline.files.frames import Frames
from pipeline.files.heatmaps import Heatmaps
from pipeline.report import overlays

_SIDE = 200  # px of the image of one view
_INK = {"left limbs": overlays.LEFT, "right limbs": overlays.RIGHT, "spine and head": overlays.MIDDLE}


def choose_frames(frames: Frames, first: Heatmaps, last: Heatmaps) -> list[int]:
    """Return the held-out frames at a quarter, a half and three quarters of the order by the models' distance."""
    test = np.flatnonzero(frames.keys.split == "test")
    distance_px = np.nanmedian(np.linalg.norm(first.keypoints - last.keypoints, axis=-1), axis=(1, 2))[test]
    order = test[np.argsort(distance_px, kind="stable")]
    return [int(order[len(order) * quarter // 4]) for quarter in (1, 2, 3)]


def draw_view(frames: Frames, model: Heatmaps, frame: int, view: int) -> np.ndarray:
    """Return a view's box with the model's keypoints: (_SIDE, _SIDE, 3) uint8 BGR; black where the view is missing."""
    if not frames.present[frame, view]:
        return np.zeros((_SIDE, _SIDE, 3), dtype=np.uint8)
    square_from_image = crops.crop_from_image(crops.square(frames.box[frame, view], 0.1), _SIDE)
    square_from_crop = crops.compose(square_from_image, crops.inverse(frames.crop_from_image[frame, view]))
    image = crops.warp(frames.image(frame, view), square_from_crop, _SIDE)
    keypoints = crops.transform(square_from_image, model.keypoints[frame, view])
    return overlays.draw_skeleton(image, keypoints, model.skeleton)


def write_figure(path: Path, frames: Frames, models: dict[str, Heatmaps]) -> None:
    """Write a JPEG with a row per frame and a column per view; each view has a pair of images, one per model.

    Args:
        path: of the JPEG.
        frames: the prepared frames.
        models: by title, the first and the last.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    rows, views = choose_frames(frames, *models.values()), range(len(frames.views))
    figure = Figure(figsize=(4.12 * len(views), 2.04 * len(rows) + 0.8), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.01, wspace=0, hspace=0)  # type: ignore[union-attr,call-arg]
    places = figure.subplots(len(rows), len(views), squeeze=False)
    for row, frame in enumerate(rows):
        for view in views:
            before, after = (draw_view(frames, model, frame, view) for model in models.values())
            pair = np.hstack([before, np.full_like(before[:, :2], 255), after])
            places[row, view].imshow(pair[..., ::-1])
            places[row, view].set_axis_off()
    for view in views:
        for column, title in enumerate(models):
            at = {"ha": "center", "va": "bottom", "transform": places[0, view].transAxes}
            places[0, view].text(0.25 + 0.5 * column, 1.02, title, fontsize=17, **at)
    patches = [
        Patch(color=(red / 255, green / 255, blue / 255), label=name) for name, (blue, green, red) in _INK.items()
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), fontsize=17, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="jpg", dpi=100, pil_kwargs={"quality": 88})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=Path, default=Path("data/rounds/r0"), help="folder of the first model")
    parser.add_argument("--last", type=Path, default=Path("data/rounds/r2"), help="folder of the last model")
    parser.add_argument("--frames", type=Path, default=Path("data/prepared/target.h5"), help="the prepared frames")
    parser.add_argument("--out", type=Path, default=Path("plots/before_after.jpg"), help="the JPEG to write")
    given = parser.parse_args()
    views_of_rig = Frames.read(given.frames)
    by_title = {
        f"{title} ({folder.name})": Heatmaps.read(folder / "heatmaps.h5", maps=False)
        for title, folder in (("before", given.first), ("after", given.last))
    }
    for each in by_title.values():
        views_of_rig.keys.require_same(each.keys, "heatmaps")
    write_figure(given.out, views_of_rig, by_title)
