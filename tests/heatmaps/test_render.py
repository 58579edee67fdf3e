import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.heatmaps.render import render
from tests.plain import heatmaps as plain

SIZE = (32, 24)  # width, height


def test_a_gaussian_has_height_1_at_its_centre_and_exp_of_minus_a_half_one_sigma_away():
    maps = render(np.array([10.0, 5.0]), SIZE, sigma=2.0)
    assert maps.shape == (24, 32)
    assert maps[5, 10] == 1
    assert maps[5, 12] == pytest.approx(np.exp(-0.5))
    assert maps[8, 14] == pytest.approx(np.exp(-(3**2 + 4**2) / 8))


def test_a_nan_renders_a_map_of_zeros():
    maps = render(np.array([[np.nan, 3.0], [4.0, 3.0]]), SIZE, sigma=1.5)
    assert not maps[0].any()
    assert maps[1].max() == 1


@settings(max_examples=50, deadline=None)
@given(st.floats(-9, 40), st.floats(-9, 40), st.floats(0.5, 3))
def test_maps_equal_their_plain_version_to_the_bit(x, y, sigma):
    keypoints = np.array([[[x, y], [y, x]], [[np.nan, y], [x, np.inf]]])
    maps = render(keypoints, SIZE, sigma)
    assert maps.dtype == np.float32
    np.testing.assert_array_equal(maps, plain.render(keypoints, SIZE, sigma))
