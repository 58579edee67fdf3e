"""Charts: right places, readable axes, nothing that a name could break."""

import re

import numpy as np
import pytest

from pipeline.report.figures import Series, bar_chart, line_chart, nice_ticks, round_colours


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 100, [0, 20, 40, 60, 80, 100]), (0, 0.5, [0, 0.1, 0.2, 0.3, 0.4, 0.5]), (0, 83, [0, 20, 40, 60, 80, 100])],
)
def test_ticks_are_round_numbers_that_cover_the_values(low, high, ticks):
    assert nice_ticks(low, high) == pytest.approx(ticks)


def test_a_constant_still_has_an_axis():
    assert nice_ticks(3, 3)[0] <= 3 < nice_ticks(3, 3)[-1]


def test_colours_go_from_the_first_round_to_the_last_and_differ():
    for count in range(1, 9):
        colours = round_colours(count)
        assert len(set(colours)) == count
        assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)
    assert round_colours(2)[-1] == round_colours(5)[-1] == round_colours(1)[0]


def test_a_line_goes_from_corner_to_corner():
    chart = line_chart("rise", "x", "y", [Series("a", "red", np.array([0.0, 10]), np.array([0.0, 100]))], (0, 100))
    path = re.search(r'class="line"[^>]* d="M([\d. ]+)L([\d. ]+)"', chart)
    assert path
    (x1, y1), (x2, y2) = (map(float, point.split()) for point in path.groups())
    assert (x1, y1) == (44, 210) and (x2, y2) == (390, 10)


def test_a_bar_is_as_long_as_its_value():
    series = [Series("a", "red", np.empty(0), np.array([50.0, 100.0, np.nan]))]
    widths = [
        float(width)
        for width in re.findall(r'<rect [^>]*width="([\d.]+)"', bar_chart("b", "%", list("xyz"), series, 100))
    ]
    assert len(widths) == 2 and widths[1] == pytest.approx(2 * widths[0], abs=0.2)


def test_nothing_measured_is_said():
    nothing = [Series("a", "red", np.array([1.0]), np.array([np.nan]))]
    assert "Nothing measured" in line_chart("t", "x", "y", nothing)
    assert "Nothing measured" in bar_chart("t", "%", ["a"], nothing)


def test_one_value_is_a_dot():
    chart = line_chart("t", "x", "y", [Series("a", "red", np.array([5.0]), np.array([2.0]))])
    assert "h0" in chart and "nan" not in chart


def test_names_are_escaped():
    series = [Series("<script>", "red", np.array([0.0, 1]), np.array([1.0, 2]))]
    bars = [Series("<script>", "red", np.empty(0), np.array([1.0]))]
    page = line_chart("<i>", "<b>", "&", series, None, ["<u>", "<p>"]) + bar_chart("<i>", "&", ["<s>"], bars)
    assert not re.search("<(script|i>|b>|u>|p>|s>)", page)
