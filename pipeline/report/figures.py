"""Charts as inline SVG: the same values give the same bytes, and the page's style sheet gives the colours.

All text that goes in is escaped here. Sizes are in the units of the chart's own view box, which a page scales; it is
about as wide as a phone, so that letters stay readable there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH = 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 10, 40

# From the first round to the last: an order that one sees, each readable on white and on black.
_RAMP = ((217, 119, 38), (190, 80, 130), (122, 92, 200), (43, 127, 208))


@dataclass(frozen=True, eq=False)
class Series:
    """One line, or one bar of every group.

    Attributes:
        name: what the legend says.
        colour: of CSS.
        x: (n,) places along the line; unused by bars.
        y: (n,) heights; NaN where not known.
    """

    name: str
    colour: str
    x: np.ndarray
    y: np.ndarray


def round_colours(count: int) -> list[str]:
    """A colour for each of the rounds, in order, along one ramp: `#rrggbb`."""
    stops = np.array(_RAMP, dtype=float)
    places = np.linspace(0, len(stops) - 1, count) if count > 1 else np.array([len(stops) - 1.0])
    channels = [np.interp(places, np.arange(len(stops)), stops[:, channel]) for channel in range(3)]
    return ["#" + "".join(f"{round(value):02x}" for value in colour) for colour in zip(*channels, strict=True)]


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers that cover low..high in about `count` steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        high = low + 1
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def line_chart(
    title: str,
    x_label: str,
    y_label: str,
    series: Sequence[Series],
    y_limits: tuple[float, float] | None = None,
    x_names: Sequence[str] = (),
) -> str:
    """Lines over a common axis; y starts at 0 unless values are negative, or as `y_limits` say.

    With `x_names`, x counts from 0 and these names stand at the ticks; each value is marked.
    """
    known = [(line.x[np.isfinite(line.y)], line.y[np.isfinite(line.y)]) for line in series]
    x_all, y_all = np.concatenate([x for x, _ in known] or [[]]), np.concatenate([y for _, y in known] or [[]])
    if not len(x_all):
        return _empty(title)
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

    parts = []
    for tick in y_ticks:
        parts.append(f'<path class="grid" d="M{_LEFT} {_n(up(tick))}H{plot_right}"/>')
        parts.append(_text(_LEFT - 6, up(tick) + 4, _number(tick), "end"))
    every = math.ceil(len(x_names) / 12)  # so that names do not run into one another
    named = [(float(x), name) for x, name in enumerate(x_names)][:: every or 1]
    for tick, name in named or [(tick, _number(tick)) for tick in x_ticks]:
        if x_low - 1e-9 <= tick <= x_high + 1e-9:
            place = across(tick)
            anchor = "end" if place > plot_right - 8 else "start" if named and place < _LEFT + 8 else "middle"
            parts.append(_text(place, plot_bottom + 16, name, anchor))
    parts.append(_text((_LEFT + plot_right) / 2, height - 6, x_label, "middle", "label"))
    for line, (x, y) in zip(series, known, strict=True):
        if not len(x):
            continue
        path = "M" + "L".join(f"{_n(across(a))} {_n(up(b))}" for a, b in zip(x, y, strict=True))
        dots = "".join(f"M{_n(across(a))} {_n(up(b))}h0" for a, b in zip(x, y, strict=True))
        parts.append(
            f'<path class="line" style="stroke:{escape(line.colour)}" d="{path}">'
            f"<title>{escape(line.name)}</title></path>"
        )
        if x_names or len(x) == 1:  # with round ends, a line without length is a dot
            parts.append(f'<path class="line dot" style="stroke:{escape(line.colour)}" d="{dots}"/>')
    key = series if x_names else ()  # elsewhere the lines are rounds, whose colours the page tells once
    ends = ", ".join(
        f"{line.name} ends at {_number(float(y[-1]))}" for line, (_, y) in zip(series, known, strict=True) if len(y)
    )
    return _svg(title, f"{title}: {y_label} over {x_label}. {ends}.", height, parts, key)


def bar_chart(
    title: str, unit: str, groups: Sequence[str], series: Sequence[Series], limit: float | None = None
) -> str:
    """Lying bars, one group a row of names, one bar a series; from 0 to `limit`, or to the longest bar."""
    values = np.array([line.y for line in series], dtype=float).reshape(len(series), len(groups))
    if not np.isfinite(values).any():
        return _empty(title)
    end = limit or 1.04 * max(float(np.nanmax(values)), 1e-9)
    ticks = [tick for tick in nice_ticks(0.0, end, 4) if tick <= end]
    thick = max(3.0, 15.0 / len(series))
    row = thick * len(series) + 8
    left = 18 + 6.1 * max(len(group) for group in groups)
    top, right = 22, 14
    height = top + row * len(groups) + 4

    def across(value: float) -> float:
        return left + value / end * (WIDTH - right - left)

    parts = []
    for tick in ticks:
        parts.append(f'<path class="grid" d="M{_n(across(tick))} {top}V{_n(height - 4)}"/>')
        parts.append(_text(across(tick), 14, _number(tick), "middle"))
    for index, group in enumerate(groups):
        y = top + row * index + 4
        parts.append(_text(left - 6, y + thick * len(series) / 2 + 4, group, "end"))
        for number, line in enumerate(series):
            value = values[number, index]
            if not np.isfinite(value):
                continue
            parts.append(
                f'<rect x="{_n(left)}" y="{_n(y + thick * number)}" width="{_n(across(value) - left)}"'
                f' height="{_n(thick - 1)}" style="fill:{escape(line.colour)}">'
                f"<title>{escape(group)}, {escape(line.name)}: {_number(float(value))} {escape(unit)}</title></rect>"
            )
    names = ", ".join(line.name for line in series)
    return _svg(title, f"{title}, {unit}, for each of {len(groups)}, a bar for each of {names}.", height, parts)


def colour_key(named: Sequence[tuple[str, str]], label: str) -> str:
    """(name, CSS colour) pairs as a list of colours to look up."""
    items = "".join(f'<li><i style="background:{escape(colour)}"></i>{escape(name)}</li>' for name, colour in named)
    return f'<ul class="key" aria-label="{escape(label)}">{items}</ul>'


def _svg(title: str, description: str, height: float, parts: list[str], key: Sequence[Series] = ()) -> str:
    names = colour_key([(line.name, line.colour) for line in key], "Colours of the lines") if key else ""
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>{names}'
        f'<svg viewBox="0 0 {WIDTH} {_n(height)}" role="img" aria-label="{escape(description)}">'
        + "".join(parts)
        + "</svg></figure>"
    )


def _empty(title: str) -> str:
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption><p class="note">Nothing measured.</p></figure>'
    )


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> str:
    return f'<text class="{kind}" x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}">{escape(text)}</text>'


def _n(value: float) -> str:
    """A coordinate with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")


def _number(value: float) -> str:
    """A value for people: four significant digits, no trailing zeros."""
    if value and (abs(value) < 1e-3 or abs(value) >= 1e6):
        return f"{value:.2g}"
    text = f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return text
