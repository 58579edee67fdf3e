"""Charts of the report: geometry and words, which charts.html.j2 prints as inline SVG.

Sizes are in the units of a chart's own view box, which the page scales. The view box is about as wide as a phone, so
that letters stay readable there. Colours come from the page's style sheet. Equal values give equal charts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WIDTH = 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 10, 40

# From the first round to the last; each colour is readable on white and on black.
_RAMP = ((217, 119, 38), (190, 80, 130), (122, 92, 200), (43, 127, 208))


@dataclass(frozen=True, eq=False)
class Series:
    """One line, or one bar of every group.

    Attributes:
        name: as in the legend.
        colour: a CSS colour.
        x: (n,) positions along the line; bars have none.
        y: (n,) heights; NaN if unknown.
    """

    name: str
    colour: str
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Text:
    """A text of a chart; `anchor` is SVG's text-anchor, `kind` a class of the style sheet."""

    text: str
    x: str
    y: str
    anchor: str
    kind: str = "tick"


@dataclass(frozen=True)
class Line:
    """One drawn series; `path` and `dots` are SVG paths, `dots` is empty where values are not marked."""

    name: str
    colour: str
    path: str
    dots: str


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One drawn value; `title` is its tooltip."""

    x: str
    y: str
    width: str
    height: str
    colour: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What charts.html.j2 prints; a chart without height has no known value.

    Attributes:
        title: above the chart.
        description: for a reader that does not see the chart.
        height, width: of the view box.
        grid: SVG paths.
        legend: the series to name above the chart; none where the page names their colours once.
    """

    title: str
    description: str = ""
    height: str = ""
    width: str = str(WIDTH)
    grid: tuple[str, ...] = ()
    texts: tuple[Text, ...] = ()
    lines: tuple[Line, ...] = ()
    bars: tuple[Bar, ...] = ()
    legend: tuple[Series, ...] = ()


def round_colours(count: int) -> list[str]:
    """Return a colour for each of `count` rounds, in order along one ramp: `#rrggbb`."""
    stops = np.array(_RAMP, dtype=float)
    places = np.linspace(0, len(stops) - 1, count) if count != 1 else np.array([len(stops) - 1.0])
    channels = [np.interp(places, np.arange(len(stops)), stops[:, channel]) for channel in range(3)]
    return ["#" + "".join(f"{round(value):02x}" for value in colour) for colour in zip(*channels, strict=True)]


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers that cover low..high in about `count` steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        high = low + 1
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    y_limits: tuple[float, float] | None = None,
    x_names: Sequence[str] = (),
) -> Chart:
    """Return lines over a common axis; without `y_limits`, y starts at 0 or at the lowest negative value.

    With `x_names`, x counts from 0, these names stand at the ticks, and each value is marked.
    """
    known = [(line.x[np.isfinite(line.y)], line.y[np.isfinite(line.y)]) for line in series]
    x_all, y_all = np.concatenate([x for x, _ in known] or [[]]), np.concatenate([y for _, y in known] or [[]])
    if not len(x_all):
        return Chart(title=title)
    x_ticks = nice_ticks(float(x_all.min()), float(x_all.max()))
    x_low, x_high = min(x_all.min(), x_ticks[0] if x_ticks[0] >= 0 else x_all.min()), x_all.max()
    x_high = x_high if x_high > x_low else x_low + 1
    y_ticks = nice_ticks(*(y_limits or (min(0.0, float(y_all.min())), float(y_all.max()))))
    height = 250
    plot_right, plot_bottom = WIDTH - _RIGHT, height - _BOTTOM

    def across(x: float) -> float:
        return _LEFT + (x - x_low) / (x_high - x_low) * (plot_right - _LEFT)

    def up(y: float) -> float:
        return plot_bottom - (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0]) * (plot_bottom - _TOP)

    grid = [f"M{_LEFT} {_coordinate(up(tick))}H{plot_right}" for tick in y_ticks]
    texts = [_text(_number(tick), _LEFT - 6, up(tick) + 4, "end") for tick in y_ticks]
    every = math.ceil(len(x_names) / 12)  # keeps the names apart
    named = [(float(x), name) for x, name in enumerate(x_names)][:: every or 1]
    for tick, name in named or [(tick, _number(tick)) for tick in x_ticks]:
        if x_low - 1e-9 <= tick <= x_high + 1e-9:
            place = across(tick)
            anchor = "end" if place > plot_right - 8 else "start" if named and place < _LEFT + 8 else "middle"
            texts.append(_text(name, place, plot_bottom + 16, anchor))
    texts.append(_text(x_label, (_LEFT + plot_right) / 2, height - 6, "middle", "label"))
    lines = []
    for line, (x, y) in zip(series, known, strict=True):
        if not len(x):
            continue
        places = [f"{_coordinate(across(a))} {_coordinate(up(b))}" for a, b in zip(x, y, strict=True)]
        # With round ends, a line without length is a dot.
        dots = "".join(f"M{place}h0" for place in places) if x_names or len(x) == 1 else ""
        lines.append(Line(line.name, line.colour, "M" + "L".join(places), dots))
    ends = ", ".join(
        f"{line.name} ends at {_number(float(y[-1]))}" for line, (_, y) in zip(series, known, strict=True) if len(y)
    )
    return Chart(
        title=title,
        description=f"{title}: {y_label} over {x_label}. {ends}.",
        height=_coordinate(height),
        grid=tuple(grid),
        texts=tuple(texts),
        lines=tuple(lines),
        legend=tuple(series) if x_names else (),
    )


def bar_chart(
    title: str, groups: Sequence[str], series: Sequence[Series], *, unit: str, limit: float | None = None
) -> Chart:
    """Return horizontal bars from 0 to `limit`, or to the longest bar; a row of bars per group, a bar per series."""
    values = np.array([line.y for line in series], dtype=float).reshape(len(series), len(groups))
    if not np.isfinite(values).any():
        return Chart(title=title)
    end = limit or 1.04 * max(float(np.nanmax(values)), 1e-9)
    thick = max(3.0, 15.0 / len(series))
    row = thick * len(series) + 8
    left = 18 + 6.1 * max(len(group) for group in groups)
    top, right = 22, 14
    height = top + row * len(groups) + 4

    def across(value: float) -> float:
        return left + value / end * (WIDTH - right - left)

    ticks = [tick for tick in nice_ticks(0.0, end, 4) if tick <= end]
    texts = [_text(_number(tick), across(tick), 14, "middle") for tick in ticks]
    bars = []
    for index, group in enumerate(groups):
        y = top + row * index + 4
        texts.append(_text(group, left - 6, y + thick * len(series) / 2 + 4, "end"))
        for number, line in enumerate(series):
            value = values[number, index]
            if np.isfinite(value):
                bar = Bar(
                    x=_coordinate(left),
                    y=_coordinate(y + thick * number),
                    width=_coordinate(across(value) - left),
                    height=_coordinate(thick - 1),
                    colour=line.colour,
                    title=f"{group}, {line.name}: {_number(float(value))} {unit}",
                )
                bars.append(bar)
    names = ", ".join(line.name for line in series)
    return Chart(
        title=title,
        description=f"{title}: {len(groups)} groups with a bar for each of {names}.",
        height=_coordinate(height),
        grid=tuple(f"M{_coordinate(across(tick))} {top}V{_coordinate(height - 4)}" for tick in ticks),
        texts=tuple(texts),
        bars=tuple(bars),
    )


def _text(text: str, x: float, y: float, anchor: str, kind: str = "tick") -> Text:
    return Text(text=text, x=_coordinate(x), y=_coordinate(y), anchor=anchor, kind=kind)


def _coordinate(value: float) -> str:
    """Return a coordinate with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")


def _number(value: float) -> str:
    """Return a value with at most four significant digits and no trailing zeros."""
    if value and (abs(value) < 1e-3 or abs(value) >= 1e6):
        return f"{value:.2g}"
    text = f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return text
