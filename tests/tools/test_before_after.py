"""README's image: it compares the models on held-out frames, and equal inputs give equal bytes."""

import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.files.frames import Frames
from pipeline.files.heatmaps import Heatmaps
from tests.worlds import tiny_world
from tools.before_after import choose_frames, draw_view


@pytest.fixture
def world(tmp_path: Path) -> tiny_world.World:
    return tiny_world.build(tmp_path, rounds=2, train=2, test=5)


def test_the_frames_are_held_out_and_ordered_by_the_distance_between_the_models(world):
    frames = Frames.read(world.frames)
    first, last = (Heatmaps.read(world.data(name) / "heatmaps.h5", maps=False) for name in ("r0", "r2"))
    chosen = choose_frames(frames, first, last)
    assert len(set(chosen)) == 3 and set(frames.keys.split[chosen]) == {"test"}
    distance_px = np.nanmedian(np.linalg.norm(first.keypoints - last.keypoints, axis=-1)[chosen], axis=(1, 2))
    assert (np.diff(distance_px) >= 0).all()


def test_limbs_have_the_colours_of_the_legend(world):
    frames = Frames.read(world.frames)
    model = Heatmaps.read(world.data("r2") / "heatmaps.h5", maps=False)
    colours = {tuple(pixel) for pixel in draw_view(frames, model, 4, 0).reshape(-1, 3).tolist()}
    assert {(255, 160, 40), (60, 120, 255), (90, 230, 120)} <= colours


def test_the_image_is_written_with_equal_bytes(world, monkeypatch):
    written = []
    for name in ("one.jpg", "two.jpg"):
        flags = {"first": world.data("r0"), "last": world.data("r2"), "frames": world.frames, "out": world.root / name}
        words = [word for key, value in flags.items() for word in (f"--{key}", str(value))]
        monkeypatch.delitem(sys.modules, "tools.before_after", raising=False)
        monkeypatch.setattr(sys, "argv", ["before_after", *words])
        runpy.run_module("tools.before_after", run_name="__main__")
        written.append((world.root / name).read_bytes())
    assert written[0] == written[1]
    image = cv2.imdecode(np.frombuffer(written[0], np.uint8), cv2.IMREAD_COLOR)
    assert image.shape[1] > 4 * 2 * 200 and image.shape[0] > 3 * 200  # px: four pairs across, three rows, titles
