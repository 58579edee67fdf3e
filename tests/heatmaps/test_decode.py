import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.heatmaps.decode import as_shares, decode_dark, decode_quarter, decode_soft
from pipeline.heatmaps.render import render
from tests.heatmaps.odd_maps import odd_maps
from tests.plain import heatmaps as plain

SIZE = (32, 24)  # width, height


@settings(max_examples=30, deadline=None)
@given(st.floats(2.6, 28.4), st.floats(2.6, 20.4), st.floats(1.0, 2.5))
def test_dark_finds_the_centre_of_any_gaussian_to_a_thousandth_of_a_pixel(x, y, sigma):
    keypoints, scores = decode_dark(render(np.array([x, y]), SIZE, sigma))
    np.testing.assert_allclose(keypoints, [x, y], atol=1e-3)  # map px; float32 maps
    assert 0.7 < scores <= 1


@settings(max_examples=30, deadline=None)
@given(st.floats(5.6, 25.4), st.floats(5.6, 17.4))
def test_dark_with_blur_and_soft_argmax_stay_within_a_twentieth_of_a_pixel(x, y):
    maps = render(np.array([x, y]), SIZE, sigma=1.5)
    np.testing.assert_allclose(decode_dark(maps, blur=1.0)[0], [x, y], atol=0.05)
    np.testing.assert_allclose(decode_soft(maps)[0], [x, y], atol=0.05)


def test_the_blur_outweighs_a_single_noisy_pixel():
    maps = render(np.array([10.0, 10.0]), SIZE, sigma=2.0)
    maps[10, 11] += 0.1  # now the highest
    sharp, blurred = decode_dark(maps)[0], decode_dark(maps, blur=2.0)[0]
    assert abs(blurred[0] - 10) < 0.1 < abs(sharp[0] - 10)


def test_a_quarter_is_added_towards_the_higher_neighbour():
    grid = np.zeros((5, 7))
    grid[2, 3], grid[2, 4], grid[1, 3] = 0.9, 0.4, 0.2
    keypoint, score = decode_quarter(grid)
    assert keypoint.tolist() == [3.25, 1.75]
    assert score == 0.9


@pytest.mark.parametrize("decode", [decode_quarter, decode_dark, decode_soft])
def test_a_map_without_a_peak_has_no_keypoint_and_score_0(decode):
    maps = np.zeros((3, 2, 6, 8), dtype=np.float32)
    maps[1] = -0.5
    maps[2] = np.nan
    keypoints, scores = decode(maps)
    assert keypoints.shape == (3, 2, 2)
    assert np.isnan(keypoints).all()
    assert (scores == 0).all()


@pytest.mark.parametrize("decode", [decode_quarter, decode_dark, decode_soft])
@pytest.mark.parametrize("corner", [(0, 0), (7, 0), (0, 5), (7, 5)])
def test_a_peak_in_the_corner_of_the_map_stays_within_it(decode, corner):
    maps = render(np.array(corner, dtype=float), (8, 6), sigma=1.0)
    keypoint, score = decode(maps)
    assert np.abs(keypoint - corner).max() <= 0.5
    assert (keypoint >= 0).all()
    assert score == 1


@pytest.mark.parametrize("decode", [decode_quarter, decode_dark, decode_soft])
def test_scores_are_the_raw_heights_of_the_peaks(decode):
    maps = np.zeros((2, 24, 32), dtype=np.float32)
    maps[0, 8, 9], maps[1, 5, 20] = 1.5, 0.25
    scores = decode(maps)[1]
    assert scores.tolist() == [1.5, 0.25]
    assert as_shares(scores).tolist() == [1, 0.25]
    assert as_shares(scores).dtype == np.float32


def test_mirroring_a_map_mirrors_its_peak():
    rng = np.random.default_rng(3)
    maps = render(rng.uniform(4, 20, (6, 2)), SIZE, 2.0) + rng.uniform(0, 0.1, (6, 24, 32))
    for decode in (decode_quarter, decode_dark, decode_soft):
        there, back = decode(maps)[0], decode(maps[:, :, ::-1])[0]
        np.testing.assert_allclose(back[:, 0], 31 - there[:, 0], atol=1e-9)
        np.testing.assert_allclose(back[:, 1], there[:, 1], atol=1e-9)


PAIRS = [
    (decode_quarter, plain.decode_quarter),
    (decode_dark, plain.decode_dark),
    (lambda maps: decode_dark(maps, blur=2.0), lambda maps: plain.decode_dark(maps, blur=2.0)),
    (decode_soft, plain.decode_soft),
]


@settings(max_examples=150, deadline=None)
@given(odd_maps())
def test_decoders_equal_their_plain_versions_on_any_maps(maps):
    for fast, slow in PAIRS:
        keypoints, scores = fast(maps)
        expected, heights = slow(maps if maps.dtype != np.float16 else maps.astype(np.float32))
        np.testing.assert_allclose(keypoints, expected, atol=1e-6)  # map px
        np.testing.assert_array_equal(scores, heights)


def test_the_first_of_several_equal_peaks_counts():
    grid = np.zeros((9, 9), dtype=np.float32)
    grid[6, 1] = grid[2, 7] = grid[2, 5] = 1
    assert decode_quarter(grid)[0].tolist() == [5, 2]


def test_no_maps_make_no_points():
    keypoints, scores = decode_dark(np.zeros((0, 3, 8, 8), dtype=np.float32))
    assert keypoints.shape == (0, 3, 2)
    assert scores.shape == (0, 3)
