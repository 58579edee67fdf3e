"""Simulated rounds: what the benchmark of the verdict calls right, and a mistake that nothing without labels can see."""

import pytest

from benchmarks.evidence import Mistakes, detect, examine, scene, share_right, share_wrong, true_change


def row(gain: float, verdict: str) -> dict:
    return {"gain": gain, "verdict": verdict}


def test_silence_is_neither_right_nor_wrong_where_there_was_something_to_say() -> None:
    assert [true_change(gain) for gain in (0.1, 0.0, -0.1)] == ["better", "the same", "worse"]
    rows = [row(0.1, "adopt"), row(0.1, "not_enough_evidence"), row(-0.1, "adopt"), row(0.0, "not_enough_evidence")]
    assert share_right(rows) == 50
    assert share_wrong(rows) == 25


@pytest.mark.slow
def test_a_shift_of_the_whole_body_changes_the_truth_and_no_figure() -> None:
    world = scene(200, 4, test=24)
    (_, right), (_, shifted) = (examine(world, *detect(world, Mistakes(whole_mm=mm), 0)) for mm in (0.0, 150.0))
    assert shifted["mpjpe"] > right["mpjpe"] + 100
    assert shifted["leave_one_view_out_mm"] == pytest.approx(right["leave_one_view_out_mm"], rel=0.05)
    assert shifted["limb_stretch"] == pytest.approx(right["limb_stretch"], rel=0.1)
