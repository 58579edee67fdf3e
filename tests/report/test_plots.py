"""Figures beside the report: well-formed, undated, equal for equal tables, and without a value where none is known."""

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from pipeline.report.plots import joints_svg, pck_svg, rounds_svg


def texts(svg: bytes) -> set[str]:
    """The texts of a figure: matplotlib writes each as a comment beside the paths of its letters."""
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert b"<dc:date>" not in svg
    return set(re.findall("<!-- (.*?) -->", svg.decode()))


def by_joint(**measures: float) -> pd.DataFrame:
    return pd.DataFrame({"joint": ["left_knee", "pelvis"]} | measures)


def test_rounds_and_measures_are_named():
    table = pd.DataFrame({"round": ["r0", "r1"], "pckh_50": [60.0, 90.0], "mpjpe_abs_mm": [80.0, 40.0]})
    assert texts(rounds_svg(table)) >= {"r0", "r1", "PCKh@0.5", "MPJPE", "percent", "mm"}


def test_curves_have_the_rounds_in_the_legend():
    table = pd.DataFrame({"round": ["r0", "r0", "r1", "r1"], "threshold": [0, 0.5, 0, 0.5], "pckh": [0, 60, 0, 90]})
    assert texts(pck_svg(table)) >= {"r0", "r1"}


def test_joints_that_one_round_lacks_are_left_out_of_that_round():
    every, fewer = by_joint(pckh_50=90.0, mpjpe_abs_mm=40.0), by_joint(pckh_50=60.0)[:1]
    assert texts(joints_svg({"r0": fewer, "r1": every})) >= {"r0", "r1", "left knee", "pelvis", "MPJPE, mm"}


def test_a_distance_to_the_peer_is_called_so():
    assert "distance to the peer, mm" in texts(joints_svg({"r0": by_joint(peer_distance_mm=30.0)}))


@pytest.mark.parametrize(
    ("draw", "table"),
    [
        (rounds_svg, pd.DataFrame({"round": ["r0"], "pckh_50": [np.nan]})),
        (pck_svg, pd.DataFrame({"round": ["r0"], "threshold": [0.1], "pckh": [np.nan]})),
        (pck_svg, pd.DataFrame({"round": [], "threshold": [], "pckh": []})),
        (joints_svg, {"r0": by_joint(pckh_50=np.nan)}),
    ],
)
def test_without_a_value_a_figure_says_so(draw, table):
    assert "nothing measured" in texts(draw(table))


def test_equal_tables_give_equal_bytes():
    table = pd.DataFrame({"round": ["r0", "r1"], "pckh_50": [60.0, 90.0]})
    assert rounds_svg(table) == rounds_svg(table.copy())
