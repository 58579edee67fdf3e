import numpy as np

from pipeline.metrics.intervals import bootstrap_interval


def test_the_interval_covers_the_mean_of_the_groups_nine_times_in_ten():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(100):
        means = rng.normal(10, 3, 30)
        values = (means[:, None] + rng.normal(0, 0.1, (30, 5))).ravel()
        low, high = bootstrap_interval(values, np.repeat(np.arange(30), 5), rng, level=0.9, draws=300)
        hits += low < 10 < high
    assert 80 <= hits <= 97


def test_frames_of_one_sequence_do_not_count_as_many():
    rng = np.random.default_rng(1)
    values = np.repeat([0.0, 1.0, 2.0, 3.0], 500)
    low, high = bootstrap_interval(values, np.repeat(np.arange(4), 500), rng)
    assert high - low > 1.5


def test_one_sequence_says_nothing():
    assert np.isnan(bootstrap_interval(np.ones(5), np.zeros(5), np.random.default_rng(0))).all()


def test_what_is_not_known_is_left_out():
    low, high = bootstrap_interval(
        np.array([1.0, np.nan, 1.0, np.nan]), np.arange(4) % 2 * 0 + np.array([0, 0, 1, 1]), np.random.default_rng(0)
    )
    assert (low, high) == (1.0, 1.0)
