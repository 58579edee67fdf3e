"""Statistics that leave NaN out, against NumPy's, which warn of nothing but empty slices."""

import warnings

import numpy as np
import pytest

from pipeline import nanstats

NAN = np.nan


@pytest.fixture
def values() -> np.ndarray:
    """(7, 8, 3) values, a third of them NaN; nothing else in the row [3, :, 1], one value in [4, :, 1]."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(7, 8, 3))
    values[rng.random(values.shape) < 1 / 3] = NAN
    values[3, :, 1] = values[4, 1:, 1] = NAN
    values[4, 0, 1] = 2.0
    return values


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_medians_and_means_along_an_axis_are_numpys(values, axis):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        median, mean = np.nanmedian(values, axis=axis), np.nanmean(values, axis=axis)
    np.testing.assert_array_equal(nanstats.median_along(values, axis), median)
    np.testing.assert_allclose(nanstats.mean_along(values, axis), mean, rtol=1e-15)


def test_over_all_values_they_are_numpys(values):
    assert nanstats.mean(values) == pytest.approx(np.nanmean(values), rel=1e-15)
    assert nanstats.median(values) == np.nanmedian(values)
    assert nanstats.percentile(values, 95) == np.nanpercentile(values, 95)


def test_of_nothing_they_are_nan_without_a_warning():
    nothing = np.full((2, 3), NAN)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for value in (nanstats.mean(nothing), nanstats.median(nothing[:0]), nanstats.percentile(nothing, 5)):
            assert np.isnan(value)
        assert np.isnan(nanstats.mean_along(nothing, 1)).all()
        assert np.isnan(nanstats.median_along(nothing, 0)).all()
    assert np.isnan(nanstats.percent(0, 0))


def test_a_part_is_in_percent_of_the_whole():
    assert nanstats.percent(1, 4) == 25
