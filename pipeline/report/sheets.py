"""Contact sheets: which frames they show, and which keypoints lie over the images."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.files.frames import Frames
from pipeline.files.heatmaps import Heatmaps
from pipeline.files.keys import FrameKeys
from pipeline.files.labels import Labels, Reason
from pipeline.files.poses import Poses
from pipeline.files.truth import Truth
from pipeline.metrics import mpjpe, pck
from pipeline.report.figures import round_colours
from pipeline.report.page import Layer, Sheet, SheetFrame, SheetImage
from pipeline.report.thumbnails import best_median_worst, overlay, thumbnail
from pipeline.skeleton import Skeleton

_TRUTH_COLOUR, _LABEL_COLOUR = "#c9ced2", "#35d08f"


@dataclass(frozen=True, eq=False, kw_only=True)
class SheetData:
    """What every contact sheet is drawn from; all arrays are of the frames of `frames`.

    Attributes:
        detections: each model's, by its name, the first teacher first.
        truth: ground truth or the peer's result, arranged to the same frames and joints.
        true_keypoints: (frames, views, joints, 2) px, the projected truth; NaN if unknown or outside of the image.
        head_px: (frames, views) px, the head's size.
        views_shown: the most views of a frame.
        image_px: side of an image.
    """

    frames: Frames
    detections: Mapping[str, Heatmaps]
    truth: Truth
    true_keypoints: np.ndarray
    head_px: np.ndarray
    views_shown: int
    image_px: int


def held_out_sheet(data: SheetData, last: Poses) -> Sheet:
    """Return held-out frames, chosen by the error of the last round, whose poses are `last`.

    The error is the mean distance of its detections from the ground truth; with a peer, the 3D distance from the peer;
    with neither, the distance of its detections from its own projected pose.
    """
    *_, (name, detections) = data.detections.items()
    if data.truth.origin == "peer":
        values = _mean_by_frame(mpjpe.joint_distances(last.joints, data.truth.joints))
        how = "{value:.0f} mm from the peer on average"
    else:
        # Errors count up to one head size, so that one stray detection does not decide alone.
        error = np.minimum(pck.head_distances(detections.keypoints, data.true_keypoints, data.head_px), 1.0)
        values = _mean_by_frame(np.where(data.frames.present[..., None], error, np.nan))
        how = "detections {value:.2f} head sizes from the ground truth on average"
    if not np.isfinite(values).any():
        values, how = _mean_by_frame(last.error_px), "{value:.1f} px between detections and projected pose"
    values = np.where(data.frames.keys.split == "test", values, np.nan)
    return Sheet(
        identifier="test-sheet",
        title="Held-out frames",
        text=f"The best, the median and the worst frame of {name}. No stage trained on these frames.",
        frames=_frames(data, values, how, _keypoints(data), last.skeleton),
        layers=_layers(data),
    )


def labelled_sheet(data: SheetData, labels: Labels, model: str) -> Sheet:
    """Return frames with pseudo labels, chosen by the labels' error, or, without ground truth, by their number."""
    accepted = labels.reason == Reason.ACCEPTED
    values = np.full(len(data.frames), np.nan)
    if data.truth.origin != "peer":
        error = np.minimum(pck.head_distances(labels.keypoints, data.true_keypoints, data.head_px), 1.0)
        values = _mean_by_frame(np.where(accepted, error, np.nan))
    how = "labels {value:.2f} head sizes from the ground truth on average"
    if not np.isfinite(values).any():
        values = 100.0 - 100.0 * accepted.mean(axis=(1, 2))
        how = "{value:.0f} % of the joints without a label"
    values = np.where(data.frames.keys.split == "train", values, np.nan)
    keypoints = _keypoints(data) | {"label": np.where(accepted[..., None], labels.keypoints, np.nan)}
    return Sheet(
        identifier="train-sheet",
        title=f"Frames that {model} learned from",
        text=f"The best, the median and the worst pseudo labels of {model}. A joint without a label was rejected.",
        frames=_frames(data, values, how, keypoints, labels.skeleton),
        layers=(*_layers(data), Layer(key="label", name="pseudo labels", colour=_LABEL_COLOUR)),
    )


def _keypoints(data: SheetData) -> dict[str, np.ndarray]:
    """Return the keypoints of each layer, the lowest layer first: the truth, then the models' detections."""
    truth = {"truth": data.true_keypoints} if np.isfinite(data.true_keypoints).any() else {}
    return truth | {f"m{index}": maps.keypoints for index, maps in enumerate(data.detections.values())}


def _layers(data: SheetData) -> tuple[Layer, ...]:
    """Return the switches of the models' detections, one of which is on, and of the truth."""
    colours = round_colours(len(data.detections))
    layers = [
        Layer(
            key=f"m{index}",
            name=f"{model} detections",
            colour=colours[index],
            kind="radio",  # detections of two models over one image cannot be told apart
            checked=index == len(colours) - 1,
        )
        for index, model in enumerate(data.detections)
    ]
    if np.isfinite(data.true_keypoints).any():
        name = "peer" if data.truth.origin == "peer" else "ground truth"
        layers.append(Layer(key="truth", name=name, colour=_TRUTH_COLOUR))
    return tuple(layers)


def _frames(
    data: SheetData, values: np.ndarray, how: str, keypoints: Mapping[str, np.ndarray], skeleton: Skeleton
) -> tuple[SheetFrame, ...]:
    """Return the best, median and worst frame by `values`; `how` is the sentence on a frame's value."""
    frames, side = data.frames, data.image_px
    count = len(frames.views)
    views = np.unique(np.linspace(0, count - 1, min(data.views_shown, count)).round().astype(int))
    chosen = []
    for rank, row in best_median_worst(values):
        images = []
        for view in views:
            if not frames.present[row, view]:
                continue
            address, square_from_image = thumbnail(
                frames.image(row, view), frames.crop_from_image[row, view], frames.box[row, view], side
            )
            layers = overlay(
                {name: each[row, view] for name, each in keypoints.items()}, square_from_image, side, skeleton
            )
            images.append(SheetImage(view=frames.views[view], address=address, side=side, overlay=layers))
        chosen.append(SheetFrame(rank, frame_name(frames.keys, row), how.format(value=values[row]), tuple(images)))
    return tuple(chosen)


def frame_name(keys: FrameKeys, row: int) -> str:
    return f"{keys.sequence[row]}, frame {keys.number[row]}"


def _mean_by_frame(values: np.ndarray) -> np.ndarray:
    """Return (frames,) means of (frames, ...) over the known values; NaN without one."""
    flat = values.reshape(len(values), -1)
    known = np.isfinite(flat)
    count = known.sum(1)
    return np.where(known, flat, 0).sum(1) / np.where(count > 0, count, np.nan)
