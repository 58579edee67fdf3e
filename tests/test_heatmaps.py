"""Heatmaps: what was drawn is found again, and two small windows hold what matters of a map."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import heatmaps
from tests import plain_heatmaps as plain

SIZE = (32, 24)  # width, height


def nothing(windows, size):
    """An empty background of maps of a size, and its scale."""
    batch = windows.shape[:-3]
    return np.zeros((*batch, -(-size[1] // 4), -(-size[0] // 4)), dtype=np.uint8), np.zeros(batch)


def test_a_gaussian_has_height_1_at_its_centre_and_exp_of_minus_a_half_one_sigma_away():
    drawn = heatmaps.draw(np.array([10.0, 5.0]), SIZE, sigma=2.0)
    assert drawn.shape == (24, 32)
    assert drawn[5, 10] == 1
    assert drawn[5, 12] == pytest.approx(np.exp(-0.5))
    assert drawn[8, 14] == pytest.approx(np.exp(-(3**2 + 4**2) / 8))


def test_a_rounded_gaussian_sits_on_the_nearest_pixel():
    drawn = heatmaps.draw(np.array([10.4, 5.5]), SIZE, sigma=2.0, rounded=True)
    np.testing.assert_array_equal(drawn, heatmaps.draw(np.array([10.0, 6.0]), SIZE, sigma=2.0))


def test_a_joint_that_is_not_seen_draws_nothing():
    drawn = heatmaps.draw(np.array([[np.nan, 3.0], [4.0, 3.0]]), SIZE, sigma=1.5)
    assert not drawn[0].any()
    assert drawn[1].max() == 1


def test_a_gaussian_touches_the_map_up_to_three_sigma_off_its_pixels():
    points = np.array([[-6.0, 4], [-6.1, 4], [37.0, 29], [37.0, 29.1], [np.nan, 4], [8, 8]])
    assert heatmaps.touches(points, SIZE, sigma=2.0).tolist() == [True, False, True, False, False, True]


@settings(max_examples=30, deadline=None)
@given(st.floats(2.6, 28.4), st.floats(2.6, 20.4), st.floats(1.0, 2.5))
def test_dark_finds_the_centre_of_any_gaussian_to_a_thousandth_of_a_pixel(x, y, sigma):
    points, scores = heatmaps.decode_dark(heatmaps.draw(np.array([x, y]), SIZE, sigma))
    np.testing.assert_allclose(points, [x, y], atol=1e-3)  # map px; float32 maps
    assert 0.7 < scores <= 1


@settings(max_examples=30, deadline=None)
@given(st.floats(5.6, 25.4), st.floats(5.6, 17.4))
def test_dark_with_blur_and_soft_argmax_stay_within_a_twentieth_of_a_pixel(x, y):
    drawn = heatmaps.draw(np.array([x, y]), SIZE, sigma=1.5)
    np.testing.assert_allclose(heatmaps.decode_dark(drawn, blur=1.0)[0], [x, y], atol=0.05)
    np.testing.assert_allclose(heatmaps.decode_soft(drawn)[0], [x, y], atol=0.05)


def test_the_blur_looks_past_a_single_noisy_pixel():
    drawn = heatmaps.draw(np.array([10.0, 10.0]), SIZE, sigma=2.0)
    drawn[10, 11] += 0.1  # now the highest
    plain, blurred = heatmaps.decode_dark(drawn)[0], heatmaps.decode_dark(drawn, blur=2.0)[0]
    assert abs(blurred[0] - 10) < 0.1 < abs(plain[0] - 10)


def test_a_quarter_is_added_towards_the_higher_neighbour():
    grid = np.zeros((5, 7))
    grid[2, 3], grid[2, 4], grid[1, 3] = 0.9, 0.4, 0.2
    point, score = heatmaps.decode_quarter(grid)
    assert point.tolist() == [3.25, 1.75]
    assert score == 0.9


@pytest.mark.parametrize("decode", [heatmaps.decode_quarter, heatmaps.decode_dark, heatmaps.decode_soft])
def test_decoders_say_nothing_about_a_map_without_a_peak(decode):
    maps = np.zeros((3, 2, 6, 8), dtype=np.float32)
    maps[1] = -0.5
    maps[2] = np.nan
    points, scores = decode(maps)
    assert points.shape == (3, 2, 2)
    assert np.isnan(points).all()
    assert (scores == 0).all()


@pytest.mark.parametrize("decode", [heatmaps.decode_quarter, heatmaps.decode_dark, heatmaps.decode_soft])
@pytest.mark.parametrize("corner", [(0, 0), (7, 0), (0, 5), (7, 5)])
def test_a_peak_in_the_corner_of_the_map_stays_within_it(decode, corner):
    drawn = heatmaps.draw(np.array(corner, dtype=float), (8, 6), sigma=1.0)
    point, score = decode(drawn)
    assert np.abs(point - corner).max() <= 0.5
    assert (point >= 0).all()
    assert score == 1


def test_scores_are_cut_at_1():
    assert heatmaps.decode_dark(1.3 * heatmaps.draw(np.array([9.3, 8.1]), SIZE, 2.0))[1] == 1


def test_mirroring_a_map_mirrors_its_peak():
    rng = np.random.default_rng(3)
    maps = heatmaps.draw(rng.uniform(4, 20, (6, 2)), SIZE, 2.0) + rng.uniform(0, 0.1, (6, 24, 32))
    for decode in (heatmaps.decode_quarter, heatmaps.decode_dark, heatmaps.decode_soft):
        there, back = decode(maps)[0], decode(maps[:, :, ::-1])[0]
        np.testing.assert_allclose(back[:, 0], 31 - there[:, 0], atol=1e-9)
        np.testing.assert_allclose(back[:, 1], there[:, 1], atol=1e-9)


def test_two_windows_hold_two_peaks_and_nothing_else():
    maps = np.maximum(
        heatmaps.draw(np.array([6.2, 7.0]), (64, 48), 1.5), 0.6 * heatmaps.draw(np.array([60.0, 40.0]), (64, 48), 1.5)
    )
    windows, corners = heatmaps.windows(maps[None], 16)
    assert windows.dtype == np.float16
    assert corners[0].tolist() == [[0, 0], [48, 32]]  # pushed in from the border
    again = heatmaps.whole(windows, corners, *nothing(windows, (64, 48)), size=(64, 48))[0]
    np.testing.assert_allclose(again, np.where(maps < 1e-4, 0, maps), atol=1e-3)


def test_overlapping_windows_and_noise_do_not_change_a_value():
    rng = np.random.default_rng(0)
    maps = rng.uniform(-0.2, 1, (20, 3, 20, 18)).astype(np.float32)
    windows, corners = heatmaps.windows(maps, 16)
    again = heatmaps.whole(windows, corners, *nothing(windows, (18, 20)), size=(18, 20))
    kept = again > 0
    np.testing.assert_allclose(again[kept], maps[kept], atol=1e-3)
    assert (again.max(axis=(2, 3)) >= maps.max(axis=(2, 3)) - 1e-3).all()
    assert kept.mean() > 0.7  # two windows of 16 x 16 nearly cover 18 x 20


def test_a_map_smaller_than_a_window_is_kept_whole_and_an_empty_one_is_empty():
    drawn = heatmaps.draw(np.array([3.0, 4.0]), (12, 10), 1.5)
    windows, corners = heatmaps.windows(np.stack([drawn, np.zeros_like(drawn)]), 16)
    assert windows.shape == (2, 2, 10, 12)
    np.testing.assert_allclose(windows[0, 0], np.where(drawn < 1e-4, 0, drawn), atol=1e-3)
    assert not windows[0, 1].any()
    assert not windows[1].any()
    assert not corners.any()


# The compiled loops against plain NumPy.

PAIRS = [
    (heatmaps.decode_quarter, plain.plain_quarter),
    (heatmaps.decode_dark, plain.plain_dark),
    (lambda maps: heatmaps.decode_dark(maps, blur=2.0), lambda maps: plain.plain_dark(maps, blur=2.0)),
    (heatmaps.decode_soft, plain.plain_soft),
]


@st.composite
def odd_maps(draw):
    """Maps of any shape and kind: noise, plateaus (few levels), all negative, peaks at the border, some with NaN."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, columns = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    maps = rng.uniform(-1, draw(st.sampled_from([-0.1, 0.3, 1.0, 1.5])), (4, 2, rows, columns))
    maps[1] = np.round(maps[1] * 3) / 3  # plateaus
    maps[2] = plain.plain_draw(rng.uniform(-2, 22, (2, 2)), (columns, rows), 1.5)
    if draw(st.booleans()):
        maps[3, 0, rng.integers(rows), rng.integers(columns)] = np.nan
    return maps.astype(draw(st.sampled_from([np.float16, np.float32, np.float64])))


@settings(max_examples=150, deadline=None)
@given(odd_maps())
def test_decoders_equal_their_plain_versions_on_any_maps(maps):
    for fast, slow in PAIRS:
        points, scores = fast(maps)
        expected, heights = slow(maps if maps.dtype != np.float16 else maps.astype(np.float32))
        np.testing.assert_allclose(points, expected, atol=1e-6)  # map px
        np.testing.assert_array_equal(scores, heights)


@settings(max_examples=100, deadline=None)
@given(odd_maps(), st.integers(1, 17))
def test_windows_equal_their_plain_version_to_the_bit_and_so_do_the_maps_they_make(maps, window):
    kept, corners = heatmaps.windows(maps, window)
    expected, places = plain.plain_windows(maps, window)
    np.testing.assert_array_equal(kept, expected)
    np.testing.assert_array_equal(corners, places)
    *_, rows, columns = maps.shape
    again = heatmaps.whole(kept, corners, *nothing(kept, (columns, rows)), size=(columns, rows))
    np.testing.assert_array_equal(again, plain.plain_whole(kept, corners, columns, rows))


@settings(max_examples=100, deadline=None)
@given(odd_maps())
def test_backgrounds_equal_their_plain_version_and_lie_behind_the_windows(maps):
    coarse, scale = heatmaps.background(maps)
    expected, top = plain.plain_background(maps)
    np.testing.assert_allclose(scale, top, rtol=1e-5, atol=1e-6)
    assert np.abs(coarse.astype(int) - expected).max() <= 1  # a mean may lie on the edge of two steps
    *batch, rows, columns = maps.shape
    none = np.zeros((*batch, 0, 1, 1), dtype=np.float16), np.zeros((*batch, 0, 2), dtype=int)
    again = heatmaps.whole(*none, coarse, scale, (columns, rows))
    np.testing.assert_allclose(again, plain.plain_enlarged(coarse, scale, columns, rows), atol=1e-5)


def test_a_background_has_the_means_of_its_map():
    maps = heatmaps.draw(np.array([[12.3, 9.1], [30.0, 2.0], [17.5, 13.5]]), SIZE, sigma=5.0)  # wide, as of doubt
    windows = np.zeros((3, 0, 1, 1), dtype=np.float16), np.zeros((3, 0, 2), dtype=int)
    again = heatmaps.whole(*windows, *heatmaps.background(maps), SIZE)
    means, found = (each.reshape(3, 6, 4, 8, 4).mean(axis=(2, 4)) for each in (maps, again))
    np.testing.assert_allclose(found, means, atol=0.03)  # of a peak of 1; 0.12 without sharpening
    assert np.abs(again - maps).max() < 0.11  # 0.16 without


@settings(max_examples=50, deadline=None)
@given(st.floats(-9, 40), st.floats(-9, 40), st.floats(0.5, 3), st.booleans())
def test_targets_equal_their_plain_version_to_the_bit(x, y, sigma, rounded):
    points = np.array([[[x, y], [y, x]], [[np.nan, y], [x, np.inf]]])
    drawn = heatmaps.draw(points, SIZE, sigma, rounded)
    assert drawn.dtype == np.float32
    np.testing.assert_array_equal(drawn, plain.plain_draw(points, SIZE, sigma, rounded))


def test_every_float16_comes_back_from_a_window_and_the_nearest_goes_into_it():
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16)  # all that are finite and not negative
    windows = halves.reshape(-1, 1, 1, 1024)
    back = heatmaps.whole(windows, np.zeros((31, 1, 2)), *nothing(windows, (1024, 1)), size=(1024, 1))
    np.testing.assert_array_equal(back.ravel(), halves.astype(np.float32))
    values = np.random.default_rng(0).uniform(1e-4, 2, (1, 100, 100)).astype(np.float32)
    values[0, 0, :4] = 65519, 65521, 1 + 2**-11, 1 + 3 * 2**-11  # to the largest, past it, and ties
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(heatmaps.windows(values, 100)[0][0, 0], values[0].astype(np.float16))


def test_the_first_of_several_equal_peaks_counts():
    grid = np.zeros((9, 9), dtype=np.float32)
    grid[6, 1] = grid[2, 7] = grid[2, 5] = 1
    assert heatmaps.decode_quarter(grid)[0].tolist() == [5, 2]


def test_a_window_outside_of_its_map_is_refused():
    for corner in ([-1, 0], [0, -1], [5, 0], [0, 5]):
        windows = np.zeros((1, 1, 4, 4), dtype=np.float16)
        with pytest.raises(ValueError, match="a window lies outside of its map"):
            heatmaps.whole(windows, np.array([[corner]]), *nothing(windows, (8, 8)), size=(8, 8))


def test_no_maps_make_no_points():
    points, scores = heatmaps.decode_dark(np.zeros((0, 3, 8, 8), dtype=np.float32))
    assert points.shape == (0, 3, 2)
    assert scores.shape == (0, 3)
