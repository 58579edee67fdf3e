import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.heatmaps.compress import coarse_map, decompress, peak_patches
from pipeline.heatmaps.render import render
from tests.heatmaps.odd_maps import odd_maps
from tests.plain import heatmaps as plain

SIZE = (32, 24)  # width, height


def empty_coarse_map(patches, size):
    """Return a coarse map of zeros for maps of a size, and its scale."""
    batch = patches.shape[:-3]
    return np.zeros((*batch, -(-size[1] // 4), -(-size[0] // 4)), dtype=np.uint8), np.zeros(batch)


def test_two_patches_hold_two_peaks_and_nothing_else():
    maps = np.maximum(render(np.array([6.2, 7.0]), (64, 48), 1.5), 0.6 * render(np.array([60.0, 40.0]), (64, 48), 1.5))
    patches, corners = peak_patches(maps[None], 16)
    assert patches.dtype == np.float16
    assert corners[0].tolist() == [[0, 0], [48, 32]]  # moved inside of the border
    again = decompress(patches, corners, *empty_coarse_map(patches, (64, 48)), size=(64, 48))[0]
    np.testing.assert_allclose(again, np.where(maps < 1e-4, 0, maps), atol=1e-3)


def test_overlapping_patches_and_noise_do_not_change_a_value():
    rng = np.random.default_rng(0)
    maps = rng.uniform(-0.2, 1, (20, 3, 20, 18)).astype(np.float32)
    patches, corners = peak_patches(maps, 16)
    again = decompress(patches, corners, *empty_coarse_map(patches, (18, 20)), size=(18, 20))
    kept = again > 0
    np.testing.assert_allclose(again[kept], maps[kept], atol=1e-3)
    assert (again.max(axis=(2, 3)) >= maps.max(axis=(2, 3)) - 1e-3).all()
    assert kept.mean() > 0.7  # two patches of 16 x 16 nearly cover 18 x 20


def test_a_map_smaller_than_a_patch_is_kept_whole_and_an_empty_one_is_empty():
    drawn = render(np.array([3.0, 4.0]), (12, 10), 1.5)
    patches, corners = peak_patches(np.stack([drawn, np.zeros_like(drawn)]), 16)
    assert patches.shape == (2, 2, 10, 12)
    np.testing.assert_allclose(patches[0, 0], np.where(drawn < 1e-4, 0, drawn), atol=1e-3)
    assert not patches[0, 1].any()
    assert not patches[1].any()
    assert not corners.any()


@settings(max_examples=100, deadline=None)
@given(odd_maps(), st.integers(1, 17))
def test_patches_equal_their_plain_version_to_the_bit_and_so_do_the_maps_they_make(maps, side):
    patches, corners = peak_patches(maps, side)
    expected, expected_corners = plain.peak_patches(maps, side)
    np.testing.assert_array_equal(patches, expected)
    np.testing.assert_array_equal(corners, expected_corners)
    *_, rows, columns = maps.shape
    again = decompress(patches, corners, *empty_coarse_map(patches, (columns, rows)), size=(columns, rows))
    np.testing.assert_array_equal(again, plain.decompress_patches(patches, corners, columns, rows))


@settings(max_examples=100, deadline=None)
@given(odd_maps())
def test_coarse_maps_equal_their_plain_version(maps):
    coarse, scale = coarse_map(maps)
    expected, top = plain.coarse_map(maps)
    np.testing.assert_allclose(scale, top, rtol=1e-5, atol=1e-6)
    assert np.abs(coarse.astype(int) - expected).max() <= 1  # a mean may lie on the edge of two steps
    *batch, rows, columns = maps.shape
    none = np.zeros((*batch, 0, 1, 1), dtype=np.float16), np.zeros((*batch, 0, 2), dtype=int)
    again = decompress(*none, coarse, scale, size=(columns, rows))
    np.testing.assert_allclose(again, plain.enlarge(coarse, scale, columns, rows), atol=1e-5)


def test_a_coarse_map_has_the_means_of_its_map():
    maps = render(np.array([[12.3, 9.1], [30.0, 2.0], [17.5, 13.5]]), SIZE, sigma=5.0)  # wide, as of an unsure network
    patches = np.zeros((3, 0, 1, 1), dtype=np.float16), np.zeros((3, 0, 2), dtype=int)
    again = decompress(*patches, *coarse_map(maps), size=SIZE)
    means, compressed = (each.reshape(3, 6, 4, 8, 4).mean(axis=(2, 4)) for each in (maps, again))
    np.testing.assert_allclose(compressed, means, atol=0.03)  # of a peak of 1; 0.12 without sharpening
    assert np.abs(again - maps).max() < 0.11  # 0.16 without


def test_every_float16_comes_back_from_a_patch_and_the_nearest_goes_into_it():
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16)  # all that are finite and not negative
    patches = halves.reshape(-1, 1, 1, 1024)
    back = decompress(patches, np.zeros((31, 1, 2)), *empty_coarse_map(patches, (1024, 1)), size=(1024, 1))
    np.testing.assert_array_equal(back.ravel(), halves.astype(np.float32))
    values = np.random.default_rng(0).uniform(1e-4, 2, (1, 100, 100)).astype(np.float32)
    values[0, 0, :4] = 65519, 65521, 1 + 2**-11, 1 + 3 * 2**-11  # to the largest, past it, and ties
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(peak_patches(values, 100)[0][0, 0], values[0].astype(np.float16))


def test_a_patch_outside_of_its_map_is_refused():
    for corner in ([-1, 0], [0, -1], [5, 0], [0, 5]):
        patches = np.zeros((1, 1, 4, 4), dtype=np.float16)
        with pytest.raises(ValueError, match="a patch lies outside of its map"):
            decompress(patches, np.array([[corner]]), *empty_coarse_map(patches, (8, 8)), size=(8, 8))
