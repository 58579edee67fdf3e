import dataclasses

import numpy as np
import pytest
import torch

from pipeline.models import build
from pipeline.models.inference import as_input, predict

CPU = torch.device("cpu")
BLUE = np.zeros((1, 2, 2, 3), np.uint8) + np.uint8([255, 0, 0])  # BGR
SMALL = build.Network("poseresnet", "basic", (1, 1, 1, 1), 8, 16, 64, "mpii_16")


def test_blue_is_the_last_channel_of_rgb_and_the_first_of_bgr():
    rgb, bgr = as_input(BLUE, CPU, "imagenet_rgb"), as_input(BLUE, CPU, "imagenet_bgr")
    assert rgb[0, 2, 0, 0].item() == pytest.approx((1 - 0.406) / 0.225, abs=1e-5)
    assert bgr[0, 0, 0, 0].item() == pytest.approx((1 - 0.485) / 0.229, abs=1e-5)  # RGB's numbers, as published


def test_a_saved_network_remembers_how_it_sees_pictures(tmp_path):
    network = dataclasses.replace(SMALL, preprocessing="imagenet_rgb", input_height=96)
    model = build.build(network).eval()
    build.save(tmp_path / "model.pt", network, model.state_dict())
    found, again = build.load(tmp_path / "model.pt")
    assert found == network
    pictures = np.random.default_rng(0).integers(0, 256, (1, 96, 64, 3), np.uint8)
    maps = predict(again, pictures, CPU)
    assert maps.shape == (1, 16, 24, 16)
    np.testing.assert_array_equal(maps, model(as_input(pictures, CPU, "imagenet_rgb")).detach().numpy())


def test_mirrored_maps_are_moved_a_pixel_if_asked():
    class Picture(torch.nn.Module):
        def forward(self, x):
            return x[:, :1]

    pictures = np.arange(12, dtype=np.uint8).reshape(1, 1, 4, 3)
    plain = predict(Picture(), pictures, CPU)[0, 0, 0]
    moved = predict(Picture(), pictures, CPU, [0], shift=True)[0, 0, 0]
    np.testing.assert_allclose(moved, (plain + plain[[0, 0, 1, 2]]) / 2)
