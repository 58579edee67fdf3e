"""Walk one frame of the default run: heatmaps, rays, RANSAC, label. Writes docs/guides/one_frame.md and its images.

    dvc repro && python -m tools.one_frame

The frame and the joint are chosen by a rule: of the joints on which all views but one agree, the tenth with the least error in
the agreeing views, and of these the one where the last view is wrong by the median distance. No ground truth is read.
"""

import argparse
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from pipeline import crops
from pipeline.files.cameras import read_rigs
from pipeline.files.frames import Frames
from pipeline.files.heatmaps import Heatmaps, reading_maps
from pipeline.files.labels import Labels
from pipeline.files.poses import Poses
from pipeline.geometry.camera import Camera

_SIDE = 256  # px of the image of one view
_DEPTHS_MM = np.geomspace(300, 30_000, 400)  # along a ray
_INLIER, _OUTLIER, _JOINT = "#1b9e77", "#d95f02", "#7570b3"


@dataclass(frozen=True, eq=False, kw_only=True)
class Walk:
    """One joint of one frame, and what the stages made of it.

    Attributes:
        name: of the frame and the joint.
        joint: index in the skeleton.
        cameras: of the views.
        images: (views, side, side, 3) uint8 RGB, the person's box.
        square_from_image: (views, 2, 3) px of `images` from px of the full image.
        maps: (views, height, width) heatmaps of the joint.
        square_from_map: (views, 2, 3) px of `images` from px of the map.
        keypoints, scores: (views, 2) px of the full image, (views,); the teacher's.
        position: (3,) world mm, the triangulated joint.
        inliers: (views,) bool.
        labels: (views, 2) px of the full image; NaN where there is none.
    """

    name: str
    joint: int
    cameras: tuple[Camera, ...]
    images: np.ndarray
    square_from_image: np.ndarray
    maps: np.ndarray
    square_from_map: np.ndarray
    keypoints: np.ndarray
    scores: np.ndarray
    position: np.ndarray
    inliers: np.ndarray
    labels: np.ndarray

    @property
    def projections(self) -> np.ndarray:
        """(views, 2) px of the full image: the joint as the lenses show it."""
        return np.stack([camera.project(self.position) for camera in self.cameras])

    @property
    def error_px(self) -> np.ndarray:
        """(views,) px between keypoint and projection."""
        return np.linalg.norm(self.keypoints - self.projections, axis=-1)


def choose(poses: Poses, labels: Labels, detected: Heatmaps) -> tuple[int, int]:
    """Return a frame and a joint: one view disagrees, the others agree well, and all have a label.

    Of the tenth of these joints with the least `error_px` it is the one with the median distance of keypoint and label in the
    view that disagrees.

    Raises:
        ValueError: there is no such joint.
    """
    views = len(poses.views)
    one_off = (poses.inliers.sum(axis=1) == views - 1) & np.isfinite(poses.joints).all(axis=-1)  # (frames, joints)
    labelled = np.isfinite(labels.keypoints).all(axis=(1, 3)) & np.isfinite(detected.keypoints).all(axis=(1, 3))
    frames, joints = np.nonzero(one_off & labelled)
    if not frames.size:
        raise ValueError("there is no joint on which all views but one agree")
    best = np.argsort(poses.error_px[frames, joints], kind="stable")[: -(-len(frames) // 10)]
    frames, joints = frames[best], joints[best]
    outlier = (~poses.inliers[frames, :, joints]).argmax(axis=1)
    moved_px = np.linalg.norm(
        labels.keypoints[frames, outlier, joints] - detected.keypoints[frames, outlier, joints], axis=-1
    )
    chosen = np.argsort(moved_px, kind="stable")[len(moved_px) // 2]
    return int(frames[chosen]), int(joints[chosen])


def read_walk(root: Path) -> Walk:
    """Return the chosen joint of the default run in the checkout `root`."""
    teacher, prepared = root / "data/rounds/r0", root / "data/prepared"
    frames, poses = Frames.read(prepared / "target.h5"), Poses.read(teacher / "poses.h5")
    detected, labels = (
        Heatmaps.read(teacher / "heatmaps.h5", maps=False),
        Labels.read(root / "data/rounds/r1/labels.h5"),
    )
    frame, joint = choose(poses, labels, detected)
    with reading_maps(teacher / "heatmaps.h5") as reader:
        maps = reader.maps([frame])[0, :, joint]
    square_from_image = crops.crop_from_image(crops.square(frames.box[frame], 0.1), _SIDE)
    images = [
        crops.warp(
            frames.image(frame, view),
            crops.compose(square_from_image[view], crops.inverse(frames.crop_from_image[frame, view])),
            _SIDE,
        )[..., ::-1]
        for view in range(len(frames.views))
    ]
    (_, cameras), *_ = read_rigs(prepared / "cameras.toml").groups(
        frames.keys.take(np.array([frame])), frames.views, "the frame"
    )
    sequence, number = frames.keys.sequence[frame], frames.keys.number[frame]
    return Walk(
        name=f"frame {number} of sequence {sequence}, {poses.skeleton.joint_names[joint].replace('_', ' ')}",
        joint=joint,
        cameras=cameras,
        images=np.stack(images),
        square_from_image=square_from_image,
        maps=maps,
        square_from_map=crops.compose(square_from_image, detected.image_from_map[frame]),
        keypoints=detected.keypoints[frame, :, joint],
        scores=detected.scores[frame, :, joint],
        position=poses.joints[frame, joint],
        inliers=poses.inliers[frame, :, joint],
        labels=labels.keypoints[frame, :, joint],
    )


def ray(camera: Camera, keypoint: np.ndarray) -> np.ndarray:
    """Return points of the line of sight through a keypoint: (depths, 3) world mm."""
    undistorted = np.append(camera.undistort(keypoint), 1.0)
    direction = camera.R.T @ np.linalg.solve(camera.K, undistorted)
    return camera.centre + _DEPTHS_MM[:, None] * direction / np.linalg.norm(direction)


def write_images(walk: Walk, folder: Path) -> None:
    """Write heatmaps.jpg, rays.jpg, ransac.jpg and label.jpg."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    views = range(len(walk.cameras))
    colours = [_INLIER if inlier else _OUTLIER for inlier in walk.inliers]
    on_square = _on_squares(walk, walk.keypoints)
    labels = _on_squares(walk, walk.labels)

    def panels() -> tuple[Figure, list]:
        figure = Figure(figsize=(2.9 * len(walk.cameras), 3.2), layout="constrained")
        axes = list(figure.subplots(1, len(walk.cameras), squeeze=False)[0])
        for view, axis in enumerate(axes):
            axis.imshow(walk.images[view])
            axis.set(xlim=(-0.5, _SIDE - 0.5), ylim=(_SIDE - 0.5, -0.5), xticks=[], yticks=[])
            axis.set_title(walk.cameras[view].name, fontsize=11)
        return figure, axes

    figure, axes = panels()
    for view, axis in enumerate(axes):
        heat = crops.warp(np.ascontiguousarray(walk.maps[view], np.float32), walk.square_from_map[view], _SIDE)
        axis.imshow(heat, cmap="inferno", alpha=np.clip(heat / max(heat.max(), 1e-6), 0, 0.75), vmin=0)
        axis.plot(*on_square[view], "+", color="white", markersize=14)
        axis.set_xlabel(f"score {walk.scores[view]:.2f}")
    _save(figure, folder / "heatmaps.jpg")

    figure, axes = panels()
    for view, axis in enumerate(axes):
        for other in views:
            if other != view:
                line = walk.cameras[view].project(ray(walk.cameras[other], walk.keypoints[other]))
                axis.plot(*crops.transform(walk.square_from_image[view], line).T, color=colours[other], linewidth=1.5)
        axis.plot(*on_square[view], "+", color="white", markersize=14)
    _save(figure, folder / "rays.jpg")

    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axis = figure.subplots()
    for view in views:
        line = ray(walk.cameras[view], walk.keypoints[view])
        axis.plot(line[:, 0] / 1000, line[:, 1] / 1000, color=colours[view], linewidth=1)
        axis.plot(*(walk.cameras[view].centre[:2] / 1000), "s", color="black")
        x, y = walk.cameras[view].centre[:2] / 1000
        axis.annotate(walk.cameras[view].name, (x, y), (5, 5), textcoords="offset points")
    meetings = np.stack([_meeting(walk, a, b) for a, b in combinations(views, 2)])
    axis.plot(*(meetings[:, :2].T / 1000), "o", color="grey", markersize=5, label="where two rays pass closest")
    axis.plot(*(walk.position[:2] / 1000), "*", color=_JOINT, markersize=15, label="the joint")
    centres = np.stack([camera.centre[:2] for camera in walk.cameras]) / 1000
    shown = np.vstack([centres, walk.position[:2] / 1000])
    low, high = shown.min(axis=0) - 0.8, shown.max(axis=0) + 0.8
    axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel="x, m", ylabel="y, m", aspect="equal")
    axis.legend(loc="lower left", fontsize=8)
    _save(figure, folder / "ransac.jpg")

    figure, axes = panels()
    for view, axis in enumerate(axes):
        axis.plot(*on_square[view], "+", color=colours[view], markersize=14, markeredgewidth=2)
        axis.plot(*labels[view], "o", color="white", fillstyle="none", markersize=12, markeredgewidth=2)
        axis.set_xlabel(f"{walk.error_px[view]:.0f} px apart")
    _save(figure, folder / "label.jpg")


def _on_squares(walk: Walk, keypoints: np.ndarray) -> np.ndarray:
    """Return (views, 2) px of the full images as (views, 2) px of the walk's images."""
    return crops.transform(walk.square_from_image, keypoints[:, None])[:, 0]


def _meeting(walk: Walk, a: int, b: int) -> np.ndarray:
    """Return the point midway between two rays where they pass closest, world mm."""
    lines = [ray(walk.cameras[view], walk.keypoints[view]) for view in (a, b)]
    starts, directions = zip(
        *[(line[0], (line[-1] - line[0]) / np.linalg.norm(line[-1] - line[0])) for line in lines], strict=True
    )
    along, _, _, _ = np.linalg.lstsq(
        np.column_stack([directions[0], -directions[1]]), starts[1] - starts[0], rcond=None
    )
    return sum(start + step * direction for start, step, direction in zip(starts, along, directions, strict=True)) / 2


def _save(figure: "object", path: Path) -> None:
    figure.savefig(path, format="jpg", dpi=90, pil_kwargs={"quality": 85})  # type: ignore[attr-defined]


def page(walk: Walk) -> str:
    """Return the tutorial."""
    names = [camera.name for camera in walk.cameras]
    outlier = int((~walk.inliers).argmax())
    agreeing = [name for name, inlier in zip(names, walk.inliers, strict=True) if inlier]
    return f"""# One frame, step by step

<!-- Written by `python -m tools.one_frame` from the default run; do not edit. -->

What the pipeline does with one joint of one frame group: {walk.name}. The images are of the default run (`dvc repro`),
and no ground truth is used anywhere on this page.

## 1. Heatmaps

`export_heatmaps` runs the teacher (here r0) on every view. A heatmap says how likely the joint is at each place; its
peak, placed to a fraction of a pixel, is the keypoint (white cross), and the peak's height is its score.

![The joint's heatmap in each view](one_frame/heatmaps.jpg)

Every view has an opinion, also {names[outlier]} with a score of {walk.scores[outlier]:.2f}. Nothing in that image alone
says that it is wrong.

## 2. Rays

A calibrated camera turns a keypoint into a ray: the joint must lie somewhere on it. Seen by another camera the ray is a
line, the epipolar line. Each view below shows its own keypoint and the rays of the others (orange: the ray of
{names[outlier]}).

![Each view's keypoint and the rays of the other views](one_frame/rays.jpg)

If all keypoints were right, all lines of a view would cross in its keypoint.

## 3. RANSAC

`triangulate` lets every pair of confident views propose the point where their two rays pass closest, and counts which
views have their keypoint within `triangulate.reproj_threshold_px` of its projection. The proposal with the most
agreeing views wins, and is refined to the least reprojection error of these views. From above:

![The rays from above, the points that pairs propose, and the joint](one_frame/ransac.jpg)

{", ".join(agreeing)} agree: their keypoints lie {", ".join(f"{error:.1f}" for error in walk.error_px[walk.inliers])} px
from the projected joint. That of {names[outlier]} lies {walk.error_px[outlier]:.0f} px away: an outlier, with no say.

## 4. The label

`pseudo_labels` projects the joint (by default RPSM's, which also knows how long limbs are) back into all views, if at
least `pseudo.ransac_inliers` views agree within `pseudo.reproj_threshold_px`. Crosses are the teacher's keypoints,
circles the labels:

![The teacher's keypoints and the labels](one_frame/label.jpg)

In {names[outlier]} the label is where the teacher should have looked. `retrain` shows the student this image with that
label, augmented, beside the source's labelled images. This happens for every joint of every frame; then the student
teaches the next round.
"""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(), help="checkout with a finished run (default: this folder)")
    parser.add_argument(
        "--out", type=Path, default=Path("docs/guides"), help="folder of the page (default: %(default)s)"
    )
    given = parser.parse_args()
    chosen = read_walk(given.root)
    write_images(chosen, given.out / "one_frame")
    (given.out / "one_frame.md").write_text(page(chosen), encoding="utf-8")
    print(f"{given.out / 'one_frame.md'}: {chosen.name}")
