"""The tiny world with the keypoints of a perfect detector, for the stages from heatmaps to labels.

A test changes the keypoints that it needs to be wrong, in place, and then writes them.
"""

import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipeline import crops
from pipeline.files import heatmaps as heatmap_file
from pipeline.files.frames import Frames
from pipeline.geometry import agreement
from pipeline.heatmaps.compress import peak_patches
from pipeline.heatmaps.render import render
from pipeline.skeleton import get
from tests.worlds import tiny_world

PARAMS = """
held_out:
  view: null
triangulate:
  confidence_threshold: 0.3
  reproj_threshold_px: 10.0
  min_inliers: 3
  min_ray_angle_deg: 5.0
  refine: none
  huber_px: 5.0
rpsm:
  cube_mm: 2200.0
  coarse_bins: 12
  refine_bins: 2
  refine_steps: 6
  limb_tolerance_mm: 150.0
  min_heat: 0.01
  reproj_threshold_px: 10.0
smooth:
  source: triangulation
  method: none
  frames_per_second: 30.0
  cutoff_hz: 4.0
  window_s: 0.5
  max_gap_s: 0.0
pseudo:
  source: triangulation
  confidence_threshold: 0.3
  ransac: true
  ransac_inliers: 3
  reproj_threshold_px: 10.0
  epipolar_threshold_px: null
  use_reprojection: true
  label_outlier_views: true
  min_ray_angle_deg: 5.0
  weighting: hard
  boxes: prepared
  box_margin: 0.3
rounds:
  r1:
    teacher: r0
"""


@dataclass(frozen=True, eq=False)
class DetectedWorld:
    """The tiny world with keypoints, to be changed in place before `write`.

    Attributes:
        world: ground truth, cameras and frames; 6 frames of the train split, then 4 of the test split.
        keypoints: (frames, views, joints, 2) px of the full image.
        scores: (frames, views, joints).
    """

    world: tiny_world.World
    keypoints: np.ndarray
    scores: np.ndarray

    def write(self) -> None:
        """Write r0's heatmaps.h5: 32 px maps over the frames' boxes, with a peak at every keypoint as high as its score."""
        world, skeleton, views = self.world, get("mpii_16"), tuple(camera.name for camera in self.world.cameras)
        map_from_image = crops.crop_from_image(Frames.read(world.frames).box, 32)
        peaks = crops.transform(map_from_image, self.keypoints)
        maps = render(peaks, (32, 32), 1.5) * self.scores[..., None, None]
        windows, corners = peak_patches(maps, heatmap_file.patch_side((32, 32)))
        path = world.data("r0") / "heatmaps.h5"
        with heatmap_file.writing(path, world.keys, views, skeleton, (32, 32)) as writer:
            writer.append(self.keypoints, self.scores, crops.inverse(map_from_image), (windows, corners))


def build(root: Path, views: int = 4) -> DetectedWorld:
    world = tiny_world.build(root, rounds=1, views=views, train=6, test=4)
    keypoints = agreement.project(world.joints, world.cameras)
    return DetectedWorld(world, keypoints, np.full(keypoints.shape[:-1], 0.9))


def runner(monkeypatch: pytest.MonkeyPatch, stage: str) -> Callable[..., None]:
    """Return a function that runs a stage through its own command line: `run(flag=value, ...)`."""

    def run(**flags: object) -> None:
        given = [str(word) for name, value in flags.items() for word in (f"--{name}", value)]
        monkeypatch.setattr(sys, "argv", [stage, *given])
        runpy.run_module(f"stages.{stage}", run_name="__main__")

    return run
