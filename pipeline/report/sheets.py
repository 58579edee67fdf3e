"""Which frames a contact sheet shows, and what is drawn on them."""

from collections.abc import Mapping

import numpy as np

from pipeline.files.frames import Frames
from pipeline.files.heatmaps import Heatmaps
from pipeline.files.keys import FrameKeys
from pipeline.files.labels import Labels, Reason
from pipeline.files.poses import Poses
from pipeline.files.truth import Truth
from pipeline.metrics import mpjpe, pck
from pipeline.report.page import Picture, Sheet, Shown
from pipeline.report.pictures import best_median_worst, overlay, thumbnail


def held_out_sheet(
    frames: Frames,
    seen: Mapping[str, Heatmaps],
    last: Poses,
    real: Truth,
    shown: np.ndarray,
    head: np.ndarray,
    views_shown: int,
    side: int,
) -> Sheet:
    """Held-out frames, chosen by how well the last round does on them.

    By the mean distance of its detections from the truth; against a peer by the distance in 3D; and where nothing is
    known by how far its detections are from where its own pose projects.

    Args:
        seen: each round's detections, by its name, of the frames of `frames`.
        last: the last round's poses.
        real: truth or peer, arranged to the same frames and joints.
        shown: (frames, views, joints, 2) px, where the pictures show it, and head: (frames, views) px, the head's size.
        side: px of a picture.
    """
    *_, (name, detections) = seen.items()
    if real.origin == "peer":
        values = _mean_by_frame(mpjpe.joint_distances(last.joints, real.joints))
        how = "{value:.0f} mm from the peer on average"
    else:
        # Beyond one head, wrong is wrong: a stray detection at the other end of the picture must not decide alone.
        off = np.minimum(pck.head_distances(detections.points, shown, head), 1.0)
        values = _mean_by_frame(np.where(frames.present[..., None], off, np.nan))
        how = "detections {value:.2f} heads from the truth on average"
    if not np.isfinite(values).any():
        values, how = _mean_by_frame(last.error), "{value:.1f} px between detections and projected pose"
    values = np.where(frames.keys.split == "test", values, np.nan)
    layers = {f"m{index}": maps.points for index, maps in enumerate(seen.values())}
    names = [(f"m{index}", f"{model} detections") for index, model in enumerate(seen)]
    return _sheet(
        "test-sheet",
        "Held-out frames",
        f"The best, the median and the worst for {name}. No stage trained on these frames.",
        frames,
        values,
        how,
        layers | _truth_layer(shown),
        names + _truth_name(shown, real),
        last,
        views_shown,
        side,
    )


def labelled_sheet(
    frames: Frames,
    seen: Mapping[str, Heatmaps],
    labels: Labels,
    model: str,
    real: Truth,
    shown: np.ndarray,
    head: np.ndarray,
    views_shown: int,
    side: int,
) -> Sheet:
    """Frames with pseudo labels, chosen by how right the labels are, or, without truth, by how many there are."""
    accepted = labels.reason == Reason.ACCEPTED
    values = np.full(len(frames), np.nan)
    if real.origin != "peer":
        off = np.minimum(pck.head_distances(labels.points, shown, head), 1.0)
        values = _mean_by_frame(np.where(accepted, off, np.nan))
    how = "labels {value:.2f} heads from the truth on average"
    if not np.isfinite(values).any():
        values = 100.0 - 100.0 * accepted.mean(axis=(1, 2))
        how = "{value:.0f} % of the joints without a label"
    values = np.where(frames.keys.split == "train", values, np.nan)
    layers = {f"m{index}": maps.points for index, maps in enumerate(seen.values())}
    names = [(f"m{index}", f"{name} detections") for index, name in enumerate(seen)]
    points = np.where(accepted[..., None], labels.points, np.nan)
    return _sheet(
        "train-sheet",
        f"Frames that {model} learned from",
        f"The best, the median and the worst pseudo labels of {model}. A joint without a label was refused.",
        frames,
        values,
        how,
        layers | _truth_layer(shown) | {"label": points},
        [*names, *_truth_name(shown, real), ("label", "pseudo labels")],
        labels,
        views_shown,
        side,
    )


def _sheet(
    identifier: str,
    title: str,
    text: str,
    frames: Frames,
    values: np.ndarray,
    how: str,
    layers: Mapping[str, np.ndarray],
    names: list[tuple[str, str]],
    like: Poses | Labels,
    views_shown: int,
    side: int,
) -> Sheet:
    views = np.unique(np.linspace(0, len(frames.views) - 1, min(views_shown, len(frames.views))).round().astype(int))
    # Truth lies under the detections, which lie under the labels.
    order = sorted(layers, key=lambda name: (name == "label", name != "truth"))
    chosen = []
    for rank, row in best_median_worst(values):
        pictures = []
        for view in views:
            if not frames.present[row, view]:
                continue
            address, square_from_image = thumbnail(
                frames.picture(row, view), frames.crop_from_image[row, view], frames.box[row, view], side
            )
            drawn = overlay({name: layers[name][row, view] for name in order}, square_from_image, side, like.skeleton)
            pictures.append(Picture(frames.views[view], address, drawn))
        chosen.append(Shown(rank, frame_name(frames.keys, row), how.format(value=values[row]), tuple(pictures)))
    return Sheet(identifier, title, text, tuple(chosen), tuple(names))


def frame_name(keys: FrameKeys, row: int) -> str:
    return f"{keys.sequence[row]}, frame {keys.number[row]}"


def _truth_layer(shown: np.ndarray) -> dict[str, np.ndarray]:
    return {"truth": shown} if np.isfinite(shown).any() else {}


def _truth_name(shown: np.ndarray, real: Truth) -> list[tuple[str, str]]:
    return [("truth", "peer" if real.origin == "peer" else "truth")] if np.isfinite(shown).any() else []


def _mean_by_frame(values: np.ndarray) -> np.ndarray:
    """(frames, ...) -> (frames,) over what is known; NaN where nothing is."""
    flat = values.reshape(len(values), -1)
    known = np.isfinite(flat)
    count = known.sum(1)
    return np.where(known, flat, 0).sum(1) / np.where(count > 0, count, np.nan)
