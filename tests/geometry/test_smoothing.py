"""Smoothing: a waving hand, 30 frames a second, seen with 20 mm of noise."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.geometry import smoothing

RATE = 30.0


def low_pass(joints: np.ndarray, frames: np.ndarray, gap: float = 0.0) -> np.ndarray:
    return smoothing.butterworth(joints, frames, frames_per_second=RATE, cutoff_hz=5.0, max_gap_s=gap)


def parabolas(joints: np.ndarray, frames: np.ndarray, gap: float = 0.0) -> np.ndarray:
    return smoothing.local_polynomial(joints, frames, frames_per_second=RATE, window_s=0.25, max_gap_s=gap)


METHODS = pytest.mark.parametrize("method", [low_pass, parabolas])
Method = Callable[..., np.ndarray]


def waving(count: int = 240) -> tuple[np.ndarray, np.ndarray]:
    """(frames, 1, 3) mm: a hand that goes 300 mm to and fro once a second and slowly forwards; frame numbers."""
    frames = np.arange(count)
    t = frames / RATE
    return np.stack([300 * np.sin(2 * np.pi * t), 100 * t, np.full(count, 1500.0)], axis=-1)[:, None], frames


@METHODS
def test_noise_becomes_less_and_the_motion_stays(method: Method) -> None:
    truth, frames = waving()
    seen = truth + np.random.default_rng(0).normal(0, 20, truth.shape)
    off = np.sqrt((method(seen, frames) - truth) ** 2).mean(axis=(0, 1))
    before = np.sqrt((seen - truth) ** 2).mean(axis=(0, 1))
    assert (off < 0.7 * before).all()
    still = np.abs(method(truth, frames) - truth)[15:-15].max()
    assert still < 8  # mm of 300


@METHODS
def test_nothing_comes_late(method: Method) -> None:
    truth, frames = waving()
    smooth = method(truth, frames)[30:-30, 0, 0]
    lags = [np.dot(smooth, truth[30 + lag : len(truth) - 30 + lag, 0, 0]) for lag in range(-3, 4)]
    assert np.argmax(lags) == 3  # frames late, 0


@METHODS
def test_what_moves_evenly_is_left_alone(method: Method) -> None:
    frames = np.arange(0, 120, 2)
    line = np.stack([frames * 3.0, 500 - frames, np.full(len(frames), 900.0)], axis=-1)[:, None]
    np.testing.assert_allclose(method(line, frames), line, atol=0.01)


@METHODS
def test_long_gaps_stay_and_part_what_lies_before_and_behind(method: Method) -> None:
    truth, frames = waving()
    seen = truth.copy()
    seen[100:130] = np.nan  # a second
    smooth = method(seen, frames, 0.5)
    assert np.isnan(smooth[100:130]).all()
    assert np.isfinite(smooth[:100]).all()
    assert np.isfinite(smooth[130:]).all()
    other = seen.copy()
    other[130:] += 5000
    np.testing.assert_array_equal(method(other, frames, 0.5)[:100], smooth[:100])


@METHODS
def test_short_gaps_are_filled_when_asked_for(method: Method) -> None:
    truth, frames = waving()
    seen = truth.copy()
    seen[100:104] = np.nan
    assert np.isnan(method(seen, frames)[100:104]).all()
    np.testing.assert_allclose(method(seen, frames, 0.2)[100:104], truth[100:104], atol=25)  # mm
    seen[:10] = np.nan  # no gap: nothing was known before
    assert np.isnan(method(seen, frames, 0.5)[:10]).all()


def test_frames_that_were_left_out_are_no_gap_when_all_are_as_far_apart() -> None:
    truth, frames = waving()
    for smooth in (
        smoothing.butterworth(truth[::3], frames[::3], frames_per_second=RATE, cutoff_hz=3.5, max_gap_s=0.0),
        smoothing.local_polynomial(truth[::3], frames[::3], frames_per_second=RATE, window_s=0.3, max_gap_s=0.0),
    ):
        assert np.abs(smooth - truth[::3])[10:-10].max() < 25  # mm
        assert np.abs(smooth - truth[::3]).max() > 0


@METHODS
@given(count=st.integers(1, 12), hole=st.integers(0, 11))
@settings(max_examples=25, deadline=None)
def test_short_runs_and_lonely_moments_stay_as_they_are_or_finite(method: Method, count: int, hole: int) -> None:
    truth, frames = waving(count)
    truth[hole % count] = np.nan
    smooth = method(truth, frames)
    np.testing.assert_array_equal(np.isnan(smooth), np.isnan(truth))


def test_sure_neighbours_have_more_say() -> None:
    truth, frames = waving()
    rng = np.random.default_rng(1)
    spread = np.where(rng.random(len(frames)) < 0.3, 80.0, 5.0)  # mm
    seen = truth + rng.normal(0, 1, truth.shape) * spread[:, None, None]
    settings: dict[str, Any] = {"frames_per_second": RATE, "window_s": 0.25, "max_gap_s": 0.0}
    alike = np.abs(smoothing.local_polynomial(seen, frames, **settings) - truth).mean()
    variances = spread[:, None] ** 2
    weighted = np.abs(smoothing.local_polynomial(seen, frames, **settings, variances=variances) - truth).mean()
    assert weighted < 0.5 * alike


def test_parabolas_pass_through_parabolas_however_unevenly_seen() -> None:
    frames = np.sort(np.random.default_rng(3).choice(200, 120, replace=False))
    t = frames / RATE
    curve = np.stack([4 * t**2, 100 - 30 * t, t * (t - 3)], axis=-1)[:, None]
    smooth = smoothing.local_polynomial(curve, frames, frames_per_second=RATE, window_s=0.4, max_gap_s=1.0)
    np.testing.assert_allclose(smooth, curve, atol=1e-9)
