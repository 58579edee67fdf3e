"""Export heatmaps: one model's heatmaps and keypoints in every view of every frame of the target.

Images are read and maps are written in blocks of frames, so memory does not grow with the recording. A network that fuses
views takes those of a frame together; a frame with a missing view is not fused.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Gt, Unit
from tqdm import tqdm

from pipeline import cli, crops, skeleton
from pipeline.files import heatmaps as heatmap_file
from pipeline.files.detections import Detections
from pipeline.files.frames import Frames
from pipeline.files.labels import Labels
from pipeline.heatmaps.compress import compress
from pipeline.heatmaps.decode import as_shares, decode_dark
from pipeline.heatmaps.render import render
from pipeline.models import build
from pipeline.models.inference import predict, predict_views
from pipeline.runtime import Runtime, start_torch
from pipeline.training.batches import network_input

_BLOCK = 16  # frames


@dataclass(frozen=True)
class Export:
    """Section `export` of params.yaml.

    Attributes:
        first_teacher: the teacher of round 1: "network", the pretrained one, or "detections", a foreign detector's keypoints,
            which then replace the peaks of round 0's heatmaps.
        flip_test: average with the maps of the mirrored image (twice the time).
        sigma: map px, of the Gaussians rendered at a foreign detector's keypoints.
    """

    first_teacher: Literal["network", "detections"]
    flip_test: bool
    sigma: Annotated[float, Gt(0), Unit("map px")]


def main(
    *,
    model: Path,
    frames: Path,
    out: Path,
    runtime: Runtime,
    export: Export,
    labels: Path | None = None,
    detections: Path | None = None,
) -> None:
    """Write the heatmaps.

    Args:
        model: the network.
        frames: the target's frames.
        out: the heatmaps.
        labels: pseudo labels of a round, whose boxes replace those of the frames.
        detections: a foreign detector's keypoints, used if `export.first_teacher` is "detections".
    """
    target = Frames.read(frames)
    network, net = build.load(model)
    joints = skeleton.get(network.skeleton)
    box = target.person_box
    if labels is not None:
        refined = Labels.read(labels)
        target.keys.require_same(refined.keys, str(labels))
        box = refined.person_box
    # Only round 0 gets detections: they may replace the first teacher, never a student.
    foreign = None
    if detections is not None and export.first_teacher == "detections":
        foreign = Detections.read(detections)
        target.keys.require_same(foreign.keys, str(detections))
        if not np.isfinite(foreign.keypoints).any():
            raise ValueError(
                "export.first_teacher: 'detections' was asked for, but the target has none; set target.detections_format and"
                " data.detections"
            )
    device = start_torch(runtime)
    net.to(device)
    flipped = joints.flipped if export.flip_test else None
    (width, height), stride = network.image_size, network.stride
    map_size = (width // stride, height // stride)
    num_views, num_joints = len(target.views), len(joints)
    fused = foreign is None and net.single_view is not net
    if fused and num_views != network.fusion_views:
        raise ValueError(f"{model}: fuses {network.fusion_views} views, and {frames} has {num_views}")
    if fused and export.flip_test:
        raise ValueError(f"export.flip_test: views that a network fuses, as that of {model}, cannot be mirrored")
    with heatmap_file.writing(out, target.keys, target.views, joints, map_size) as writer:
        for start in tqdm(range(0, len(target), _BLOCK), desc="export", disable=None):
            block = range(start, min(start + _BLOCK, len(target)))
            images = np.zeros((len(block), num_views, height, width, 3), dtype=np.uint8)
            image_from_map = np.full((len(block), num_views, 2, 3), np.nan)
            for k, frame in enumerate(block):
                for view in np.flatnonzero(target.present[frame] & np.isfinite(box[frame]).all(axis=-1)):
                    images[k, view], image_from_map[k, view] = network_input(
                        target.image(frame, int(view)),
                        target.crop_from_image[frame, view],
                        box[frame, view],
                        (width, height),
                        stride=stride,
                    )
            missing = ~np.isfinite(image_from_map).all(axis=(-2, -1))  # (frames, views)
            if foreign is None:
                if fused:
                    maps = predict_views(net, images, device, ~missing.any(axis=-1))
                else:
                    maps = predict(net, images.reshape(-1, height, width, 3), device, flipped)
                    maps = maps.reshape(len(block), num_views, num_joints, *map_size[::-1])
                maps[missing] = 0
                peaks, heights = decode_dark(maps)
                scores = as_shares(heights)
                keypoints = crops.transform(image_from_map, peaks)
            else:
                rows = slice(block.start, block.stop)
                keypoints = skeleton.reorder(foreign.keypoints[rows], joints, foreign.skeleton)
                scores = skeleton.reorder(foreign.scores[rows][..., None], joints, foreign.skeleton)[..., 0]
                scores = np.where(np.isfinite(keypoints).all(axis=-1), np.nan_to_num(scores), 0.0)
                peaks = crops.transform(crops.inverse(image_from_map), keypoints)
                maps = render(peaks, map_size, export.sigma) * scores[..., None, None]
            writer.append(keypoints, scores, image_from_map, compress(maps, writer.patch_side))
    print(f"{out}: {len(target)} frames, {num_views} views, {num_joints} joints, mean score {np.nanmean(scores):.2f}")


if __name__ == "__main__":
    cli.run(main)
