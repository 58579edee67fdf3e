import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.heatmaps.decode import decode_dark
from pipeline.models import build
from pipeline.models.inference import as_input, predict
from pipeline.models.network import PoseNetwork

CPU = torch.device("cpu")
BLUE = np.zeros((1, 2, 2, 3), np.uint8) + np.array([255, 0, 0], np.uint8)  # BGR
SMALL = build.Network(
    name="poseresnet",
    block="basic",
    layers=(1, 1, 1, 1),
    width=8,
    deconv_channels=16,
    input_size=64,
    skeleton="mpii_16",
)


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
    images = np.random.default_rng(0).integers(0, 256, (1, 96, 64, 3), np.uint8)
    maps = predict(again, images, CPU)
    assert maps.shape == (1, 16, 24, 16)
    np.testing.assert_array_equal(maps, model(as_input(images, CPU, "imagenet_rgb")).detach().numpy())


def test_mirrored_maps_are_moved_a_pixel_if_asked():
    class FirstChannel(PoseNetwork):
        def forward(self, x):
            return x[:, :1]

    images = np.arange(12, dtype=np.uint8).reshape(1, 1, 4, 3)
    plain = predict(FirstChannel(), images, CPU)[0, 0, 0]
    moved = predict(FirstChannel(), images, CPU, [0], shift=True)[0, 0, 0]
    np.testing.assert_allclose(moved, (plain + plain[[0, 0, 1, 2]]) / 2)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("depth_bins", [0, 4])
def test_maps_of_integral_regression_peak_at_its_coordinates_as_high_as_its_mass_around_them(depth_bins, flip):
    torch.manual_seed(1)
    network = dataclasses.replace(SMALL, name="integral", depth_bins=depth_bins, input_height=96)
    model: Any = build.build(network).eval()

    def volume(tensor):  # two px wide a spot for each joint, mirrored where the image is
        bins = max(1, depth_bins)
        found = torch.zeros(1, 16, bins, 24, 16)
        for joint in range(16):
            x = joint if tensor[0, 0, 0, 0] < tensor[0, 0, 0, -1] else 15 - joint
            found[0, joint, 0, 5 + joint, x] = 20.0
        return found.flatten(1, 2)

    model.volume = volume
    images = np.zeros((1, 96, 64, 3), np.uint8)
    images[:, :, -1] = 255
    maps = predict(model, images, CPU, list(range(16)) if flip else None)
    peaks, scores = decode_dark(maps)
    np.testing.assert_allclose(peaks[0, 2:14], [(j, 5 + j) for j in range(2, 14)], atol=0.02)  # px
    np.testing.assert_allclose(scores, 1, atol=0.01)


def test_direct_regression_is_drawn_and_kinematic_has_no_place():
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    model = build.build(dataclasses.replace(SMALL, name="direct")).eval()
    maps = predict(model, images, CPU)
    assert maps.shape == (2, 16, 16, 16)
    points = (model(as_input(images, CPU)).detach().numpy()[..., :2] + 0.5) * 16
    inside = ((points > 2) & (points < 13)).all(-1)
    np.testing.assert_allclose(decode_dark(maps)[0][inside], points[inside], atol=0.02)  # px
    with pytest.raises(ValueError, match="kinematic regression gives joints around the pelvis"):
        predict(build.build(dataclasses.replace(SMALL, name="kinematic", skeleton="h36m_18")).eval(), images, CPU)
