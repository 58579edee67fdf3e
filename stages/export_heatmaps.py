"""Export heatmaps: one model's view of every frame of the target, joint by joint.

Streamed: pictures are read and maps are written in blocks of frames, so memory does not grow with the recording.
A network that has learned to fuse views sees those of a frame together; a frame that lacks one is not fused.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from pipeline import cli, crops, skeleton
from pipeline.files import heatmaps as heatmap_file
from pipeline.files.detections import Detections
from pipeline.files.frames import Frames
from pipeline.files.labels import Labels
from pipeline.heatmaps.compress import compress
from pipeline.heatmaps.decode import decode_dark
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
        first_teacher: who labels for round 1: "network", the pretrained one, or "detections", a foreign detector's
            key points, which then stand in for round 0's heatmap peaks.
        flip_test: average with the mirrored picture's maps (twice the time).
        sigma: map px, of the peaks drawn for a foreign detector's key points.
    """

    first_teacher: Literal["network", "detections"]
    flip_test: bool
    sigma: float

    def __post_init__(self) -> None:
        if self.sigma <= 0:
            raise ValueError(f"export.sigma: expected more than 0 map px, got {self.sigma}")


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
    seen = Frames.read(frames)
    network, net = build.load(model)
    names = skeleton.get(network.skeleton)
    box = seen.person_box
    if labels is not None:
        refined = Labels.read(labels)
        seen.keys.require_same(refined.keys, str(labels))
        box = refined.person_box
    # Round 0 alone is given the detections: they can be its teacher, never a student's result.
    found = None
    if detections is not None and export.first_teacher == "detections":
        found = Detections.read(detections)
        seen.keys.require_same(found.keys, str(detections))
        if not np.isfinite(found.keypoints).any():
            raise ValueError(
                "export.first_teacher: 'detections' was asked for, but the target has none; set target.detections_format and"
                " data.detections"
            )
    device = start_torch(runtime)
    net.to(device)
    flipped = names.flipped if export.flip_test else None
    (width, height), stride = network.image_size, network.stride
    map_size = (width // stride, height // stride)
    views, joints = len(seen.views), len(names)
    fused = found is None and net.single_view is not net
    if fused and views != network.fusion_views:
        raise ValueError(f"{model}: fuses {network.fusion_views} views, and {frames} has {views}")
    if fused and export.flip_test:
        raise ValueError(f"export.flip_test: views that a network fuses, as that of {model}, cannot be mirrored")
    with heatmap_file.writing(out, seen.keys, seen.views, names, map_size) as writer:
        for start in tqdm(range(0, len(seen), _BLOCK), desc="export", disable=None):
            block = range(start, min(start + _BLOCK, len(seen)))
            pictures = np.zeros((len(block), views, height, width, 3), dtype=np.uint8)
            image_from_map = np.full((len(block), views, 2, 3), np.nan)
            for k, frame in enumerate(block):
                for view in np.flatnonzero(seen.present[frame] & np.isfinite(box[frame]).all(axis=-1)):
                    pictures[k, view], image_from_map[k, view] = network_input(
                        seen.image(frame, int(view)),
                        seen.crop_from_image[frame, view],
                        box[frame, view],
                        (width, height),
                        stride=stride,
                    )
            missing = ~np.isfinite(image_from_map).all(axis=(-2, -1))  # (frames, views)
            if found is None:
                if fused:
                    maps = predict_views(net, pictures, device, ~missing.any(axis=-1))
                else:
                    maps = predict(net, pictures.reshape(-1, height, width, 3), device, flipped)
                    maps = maps.reshape(len(block), views, joints, *map_size[::-1])
                maps[missing] = 0
                peaks, scores = decode_dark(maps)
                points = crops.transform(image_from_map, peaks)
            else:
                rows = slice(block.start, block.stop)
                points = skeleton.reorder(found.keypoints[rows], names, found.skeleton)
                scores = skeleton.reorder(found.scores[rows][..., None], names, found.skeleton)[..., 0]
                scores = np.where(np.isfinite(points).all(axis=-1), np.nan_to_num(scores), 0.0)
                peaks = crops.transform(crops.inverse(image_from_map), points)
                maps = render(peaks, map_size, export.sigma) * scores[..., None, None]
            writer.append(points, scores, image_from_map, compress(maps, writer.patch_side))
    print(f"{out}: {len(seen)} frames, {views} views, {joints} joints, mean score {np.nanmean(scores):.2f}")


if __name__ == "__main__":
    cli.run(main)
