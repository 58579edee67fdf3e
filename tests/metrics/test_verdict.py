"""Two models on twelve recordings of ten frames; the second is better, worse, or hardly different."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.metrics.verdict import ADOPT, REJECT, UNSURE, HeldOutFigures, Thresholds, bootstrap_blocks, judge

LIMITS = Thresholds(
    min_frames=30,
    disagreement_gain=0.05,
    stretch_gain=0.05,
    max_regression=0.02,
    coverage_drop=0.05,
    size_change=0.2,
    limb_change=0.4,
    asymmetry_rise=0.05,
    confidence_level=0.95,
)
SEQUENCE = np.repeat([f"s{number:02d}" for number in range(12)], 10)


def witness(disagreement=80.0, stretch=0.15, seed=0, **more):
    rng = np.random.default_rng(seed)
    frames = len(SEQUENCE)
    known = {
        "disagreement": disagreement * np.exp(rng.normal(0, 0.1, frames)),
        "stretch": stretch * np.exp(rng.normal(0, 0.1, frames)),
        "coverage": np.ones(frames),
        "swapped": np.zeros(frames),
        "upside_down": np.zeros(frames),
        "flipped": np.zeros(frames),
        "limbs": np.full((2, 15), 300.0),
        "asymmetry": np.full(2, 0.03),
    }
    return HeldOutFigures(**(known | more))


def said(after, before=None, sequence=SEQUENCE):
    return judge(before or witness(seed=1), after, sequence, LIMITS, np.random.default_rng(0))


def test_a_model_whose_views_and_bones_agree_better_is_adopted():
    found = said(witness(60.0, 0.10))
    assert found["verdict"] == ADOPT
    assert found["figures"]["disagreement_mm"]["gain"] == pytest.approx(0.25, abs=0.04)
    assert found["figures"]["stretch"]["gain_low"] < 1 / 3 < found["figures"]["stretch"]["gain_high"]
    assert "mistake that all views make alike" in found["reasons"][-1]


def test_the_way_back_is_refused_with_both_reasons():
    found = said(witness(seed=1), before=witness(60.0, 0.10))
    assert found["verdict"] == REJECT
    assert len(found["reasons"]) == 2
    assert "contradict each other more" in found["reasons"][0]


def test_no_change_is_no_evidence():
    assert said(witness(seed=2))["verdict"] == UNSURE
    assert said(witness(60.0, 0.15))["verdict"] == UNSURE  # one witness alone


def test_a_few_frames_say_nothing():
    rows = slice(0, 20)
    before, after = (
        HeldOutFigures(
            **{key: value[rows] if key not in ("limbs", "asymmetry") else value for key, value in vars(w).items()}
        )
        for w in (witness(), witness(40.0, 0.05))
    )
    found = judge(before, after, SEQUENCE[rows], LIMITS, np.random.default_rng(0))
    assert found["verdict"] == UNSURE
    assert "20 held-out frames" in found["reasons"][0]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"limbs": np.full((2, 15), 200.0)}, "size"),
        ({"coverage": np.full(120, 0.8)}, "lost"),
        ({"upside_down": np.repeat([1.0, 0, 0, 0], 30)}, "heads"),
        ({"swapped": np.full(120, 0.2)}, "exchanges left and right"),
        ({"flipped": np.full(120, 0.2)}, "change places"),
        ({"asymmetry": np.full(2, 0.12)}, "unlike"),
        ({"limbs": np.where(np.arange(15) == 3, 100.0, np.full((2, 15), 300.0))}, "A limb"),
    ],
)
def test_what_too_much_agreement_may_hide_forbids_a_recommendation(change, word):
    found = said(replace(witness(60.0, 0.10), **change))
    assert found["verdict"] == REJECT
    assert any(word in reason for reason in found["reasons"])


def test_blocks_are_recordings_or_pieces_of_them():
    assert len(np.unique(bootstrap_blocks(np.array(["a"] * 160)))) == 16
    assert (np.diff(bootstrap_blocks(np.array(["a"] * 160))) >= 0).all()
    many = np.repeat([f"s{number}" for number in range(40)], 3)
    assert len(np.unique(bootstrap_blocks(many))) == 40
    assert len(np.unique(bootstrap_blocks(np.array(["a"] * 3)))) == 3


def test_the_same_evidence_gets_the_same_verdict():
    assert said(witness(60.0, 0.10)) == said(witness(60.0, 0.10))
