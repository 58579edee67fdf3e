"""Charts: right places, readable axes, and names that cannot become markup."""

import re
from typing import Any

import numpy as np
import pytest

from pipeline.report.figures import Chart, Series, bar_chart, line_chart, nice_ticks, round_colours
from pipeline.report.templates import environment


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
    series = [Series("a", "red", np.array([0.0, 10]), np.array([0.0, 100]))]
    (line,) = line_chart("rise", series, x_label="x", y_label="y", y_limits=(0, 100)).lines
    path = re.fullmatch(r"M([\d. ]+)L([\d. ]+)", line.path)
    assert path
    (x1, y1), (x2, y2) = (map(float, place.split()) for place in path.groups())
    assert (x1, y1) == (44, 210) and (x2, y2) == (390, 10)


def test_a_bar_is_as_long_as_its_value():
    series = [Series("a", "red", np.empty(0), np.array([50.0, 100.0, np.nan]))]
    widths = [float(bar.width) for bar in bar_chart("b", list("xyz"), series, unit="%", limit=100).bars]
    assert len(widths) == 2 and widths[1] == pytest.approx(2 * widths[0], abs=0.2)


def test_without_a_value_a_chart_says_so():
    unknown = [Series("a", "red", np.array([1.0]), np.array([np.nan]))]
    assert "Nothing measured" in printed(line_chart("t", unknown, x_label="x", y_label="y"))
    assert "Nothing measured" in printed(bar_chart("t", ["a"], unknown, unit="%"))


def test_one_value_is_a_dot():
    chart = line_chart("t", [Series("a", "red", np.array([5.0]), np.array([2.0]))], x_label="x", y_label="y")
    assert "h0" in printed(chart) and "nan" not in printed(chart)


def test_names_are_escaped():
    series = [Series("<script>", "red", np.array([0.0, 1]), np.array([1.0, 2]))]
    bars = [Series("<script>", "red", np.empty(0), np.array([1.0]))]
    line = line_chart("<i>", series, x_label="<b>", y_label="&", x_names=["<u>", "<p>"])
    page = printed(line) + printed(bar_chart("<i>", ["<s>"], bars, unit="&"))
    assert not re.search("<(script|i>|b>|u>|p>|s>)", page)
    assert "&lt;script&gt;" in page and "&lt;s&gt;" in page and "&amp;" in page


def printed(chart: Chart) -> str:
    module: Any = environment().get_template("charts.html.j2").module
    return str(module.chart(chart))
