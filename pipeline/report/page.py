"""The report as one HTML page: no file beside it, no network, the same bytes for the same results.

The functions here prepare tables, charts and notices as plain values; page.html.j2 is the markup, and escapes all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.report.figures import Chart, Series, bar_chart, line_chart, round_colours
from pipeline.report.results import HEADLINE, MEASURES, Measure, Method, Round, numbers, training_table
from pipeline.report.templates import environment

# The page may fetch nothing, whatever it contains.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

_NAMES = {measure.key: measure.name for measure in MEASURES}
_UNKNOWN = "–"

# Label-free figures: key, name, unit, digits.
_FIGURES = (
    ("leave_one_view_out_mm", "Distance from a view to the pose of the other views, truncated mean", "mm", 0),
    ("leave_one_view_out_mm_median", "The same distance, median of the known values", "mm", 0),
    ("limb_stretch", "Deviation of limbs from their usual length", "%", 1),
    ("limb_asymmetry", "Difference between left and right limbs", "%", 1),
    ("coverage", "Triangulated joints", "%", 1),
    ("left_right_swapped", "Left and right swapped in one view", "%", 1),
    ("sides_flipped", "Left and right swapped from one frame to the next", "%", 1),
    ("upside_down", "Head below the feet", "%", 1),
    ("feet_below_floor", "Feet below the floor", "%", 1),
    ("jerk_mm_median", "Jerk", "mm/frame³", 0),
    ("reproj_inlier_px_median", "Reprojection error of the inlier views (weak evidence)", "px", 1),
    ("label_churn", "Joints whose label differs from the teacher's", "%", 0),
)


@dataclass(frozen=True)
class OverlayLayer:
    """A stick figure over an image; `name` is a CSS class, `limbs` and `dots` are SVG paths."""

    name: str
    limbs: str
    dots: str


@dataclass(frozen=True, kw_only=True)
class SheetImage:
    """One view of a frame.

    Attributes:
        view: the camera's name.
        address: the image as a `data:` URL.
        side: px of the square image, and of the overlay's paths.
        overlay: the stick figures, the lowest first.
    """

    view: str
    address: str
    side: int
    overlay: tuple[OverlayLayer, ...]


@dataclass(frozen=True)
class SheetFrame:
    """One frame of a contact sheet; `rank` and `why` say how it was chosen."""

    rank: str
    name: str
    why: str
    images: tuple[SheetImage, ...]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer of a contact sheet that a reader switches on and off.

    Attributes:
        key: the CSS class of its stick figures.
        name: as in the legend.
        colour: a CSS colour.
        kind: "radio" for layers that exclude one another, or "checkbox".
        checked: whether the page starts with the layer visible.
    """

    key: str
    name: str
    colour: str
    kind: str = "checkbox"
    checked: bool = True


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A contact sheet; `identifier` is the HTML id of its frames."""

    identifier: str
    title: str
    text: str
    frames: tuple[SheetFrame, ...]
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Cell:
    """A cell of a table; `note` is a second, small line, `shade` the percent of the background colour."""

    text: str
    note: str = ""
    kind: str = ""
    shade: str = ""


@dataclass(frozen=True)
class Row:
    """A row of a table; `kind` is a CSS class."""

    name: str
    cells: tuple[Cell, ...]
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A table; `head` is (name, unit) per column, that of the rows' names first."""

    caption: str
    head: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Tile:
    """A headline number of the last round, and the first round's with the change."""

    name: str
    value: str
    before: str
    change: Cell


@dataclass(frozen=True)
class Notice:
    """A box at the top of the page; `kind` is a CSS class."""

    kind: str
    title: str
    text: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class LabelTables:
    """The pseudo labels of one round, by joint and view; `right` is None without ground truth."""

    title: str
    coverage: Table | None
    right: Table | None


def render(
    *,
    rounds: Sequence[Round],
    against: str,
    controls: Sequence[Method],
    sheets: Sequence[Sheet],
    scene: dict[str, Any],
    verdict: dict[str, Any] | None = None,
    rig_check: dict[str, Any] | None = None,
) -> str:
    """Return the page.

    Args:
        rounds: the models, the first teacher first.
        against: what the held-out frames are compared with: "truth", "peer" or "nothing".
        controls: rows of the self-training study; may be empty.
        sheets: the contact sheets.
        scene: what page.js draws, see `scene_data`; empty without a known pose.
        verdict: metrics/verdict.json, the label-free verdict on the last round.
        rig_check: metrics/check_rig.json, the problems of the calibration and the views.
    """
    colours = dict(zip([each.name for each in rounds], round_colours(len(rounds)), strict=True))
    here = Path(__file__).parent
    headline, more = _round_tables(rounds, against)
    page: dict[str, Any] = {
        "policy": _POLICY,
        "style": (here / "page.css").read_text(encoding="utf-8"),
        "script": (here / "page.js").read_text(encoding="utf-8"),
        "against": against,
        "rounds": [{"name": name, "colour": colour} for name, colour in colours.items()],
        "measured_frames": rounds[-1].frames,
        "tiles": _tiles(rounds),
        "notices": [*_verdict(verdict), *_rig(rig_check)],
        "headline": headline,
        "more": more,
        "controls": _controls(controls),
        "evidence": _evidence(rounds),
        "camera_shares": _camera_shares(rounds),
        "precision_charts": _precision_charts(rounds, colours) if against == "truth" else [],
        "training_charts": _training_charts(rounds, colours),
        "bar_charts": _bar_charts(rounds, colours, against),
        "labels": _labels(rounds),
        "sheets": sheets,
        "scene": scene,
        "measures": [m for m in MEASURES if any(m.key in each.scores for each in rounds)],
    }
    return environment().get_template("page.html.j2").render(page)


def scene_data(
    *,
    frames: Sequence[str],
    limbs: Sequence[tuple[int, int]],
    joint_names: Sequence[str],
    poses: Mapping[str, Mapping[str, np.ndarray]],
    truth: np.ndarray | None,
    against: str,
) -> dict[str, Any]:
    """Return what page.js draws; {} without a known joint.

    Args:
        frames: the frames' names.
        limbs: (parent, child) indices; page.js dots the limbs of the left side.
        poses: for each method and each round, (frames, joints, 3) world mm; NaN if unknown.
        truth: the same, or None.
    """
    every = [joints for rounds in poses.values() for joints in rounds.values()] + ([] if truth is None else [truth])
    stacked = np.concatenate([joints.reshape(-1, 3) for joints in every]) if every else np.empty((0, 3))
    known = stacked[np.isfinite(stacked).all(-1)]
    if not len(known):
        return {}
    # The bulk of the joints sets the scale: a distant outlier must not shrink all the others.
    low, high = np.percentile(known, 2, axis=0), np.percentile(known, 98, axis=0)
    names = list(next(iter(poses.values())))
    return {
        "frames": list(frames),
        "colours": dict(zip(names, round_colours(len(names)), strict=True)),
        "limbs": [[parent, child, int(joint_names[child].startswith("left_"))] for parent, child in limbs],
        "middle": [round(float(value)) for value in (low + high) / 2],
        "radius": round(max(900.0, float(np.linalg.norm(high - low)) / 2)),
        "poses": {
            method: {name: _whole_mm(joints) for name, joints in rounds.items()} for method, rounds in poses.items()
        },
        "truth": None if truth is None else _whole_mm(truth),
        "against": "distance to the peer" if against == "peer" else "distance to the ground truth",
    }


def _whole_mm(poses: np.ndarray) -> list[list[list[int] | None]]:
    return [
        [[round(float(value)) for value in joint] if np.isfinite(joint).all() else None for joint in pose]
        for pose in poses
    ]


def _tiles(rounds: Sequence[Round]) -> list[Tile]:
    first, last = rounds[0], rounds[-1]
    tiles = []
    for measure in MEASURES:
        key = measure.key
        if key == "coverage" or key not in HEADLINE or key not in first.scores or key not in last.scores:
            continue
        value = f"{_value(last.scores[key])} {measure.unit}"
        before = f"{first.name}: {_value(first.scores[key])}"
        tiles.append(Tile(measure.name, value, before, _change(first, last, measure)))
    return tiles


def _verdict(verdict: dict[str, Any] | None) -> list[Notice]:
    if not verdict:
        return []
    kind = verdict["verdict"]
    titles = {"adopt": "Adopt", "do_not_adopt": "Do not adopt", "not_enough_evidence": "Not enough evidence to adopt"}
    title = f"{titles[kind]} {verdict['model']} in place of {verdict['against']}"
    return [Notice(kind, title, ", according to the label-free evidence.", tuple(map(str, verdict["reasons"])))]


def _rig(rig_check: dict[str, Any] | None) -> list[Notice]:
    if not rig_check or not (rig_check["problems"] or rig_check["doubts"]):
        return []
    title = "Something is wrong with the rig" if rig_check["problems"] else "There are doubts about the rig"
    kind = "do_not_adopt" if rig_check["problems"] else "not_enough_evidence"
    items = tuple(map(str, [*rig_check["problems"], *rig_check["doubts"]]))
    return [Notice(kind, title, ", according to the keypoints in its views.", items)]


def _evidence(rounds: Sequence[Round]) -> Table | None:
    known = [each for each in rounds if each.quality]
    if not known:
        return None
    rows = []
    for key, name, unit, digits in _FIGURES:
        values = [each.quality.get(key) for each in known]
        if any(value is not None for value in values):
            cells = [Cell(_UNKNOWN if value is None else f"{value:.{digits}f} {unit}") for value in values]
            rows.append(Row(name, tuple(cells)))
    note = (
        "Label-free figures of the detections on the held-out frames. They are no errors: each follows the true error more"
        " or less closely (docs/explanation/evidence.md), and an error that all views share stays invisible."
    )
    return Table(note, _head("Figure", [each.name for each in known]), tuple(rows))


def _camera_shares(rounds: Sequence[Round]) -> str:
    """Return a sentence on each camera's share of the disagreement; "" if unknown."""
    known = [each for each in rounds if each.quality]
    shares = known[-1].quality.get("camera_share") if known else None
    if not shares:
        return ""
    cameras = "; ".join(f"{camera} {share:.0f} %" for camera, share in shares.items())
    return f"Each camera's share of the disagreement, {known[-1].name}: {cameras} (equal shares: {100 / len(shares):.0f} %)."


def _round_tables(rounds: Sequence[Round], against: str) -> tuple[Table | None, Table | None]:
    """Return the headline table, a row per round, and the other measures, a row per measure; None without values."""
    measured = [m for m in MEASURES if any(m.key in each.scores for each in rounds)]
    headline = [m for m in measured if m.key in HEADLINE]
    if not headline:
        return None, None
    rows = [Row(each.name, tuple(_cell(each, m) for m in headline)) for each in rounds]
    if len(rounds) > 1:
        rows.append(Row("Change", tuple(_change(rounds[0], rounds[-1], m) for m in headline), "gain"))
    note = "" if against == "peer" else "Held-out frames; MPJPE after the same robust triangulation for all rounds."
    head = (("Round", ""), *((m.name, m.unit) for m in headline))
    more = [Row(f"{m.name}, {m.unit}", tuple(_cell(r, m) for r in rounds)) for m in measured if m.key not in HEADLINE]
    other = Table("", _head("Measure", [each.name for each in rounds]), tuple(more)) if more else None
    return Table(note, head, tuple(rows)), other


def _controls(controls: Sequence[Method]) -> Table | None:
    if not controls:
        return None
    measures = [m for m in MEASURES if m.key in HEADLINE and any(m.key in each.values for each in controls)]
    rows = []
    for method in controls:
        cells = []
        for measure in measures:
            values = method.values.get(measure.key)
            if values is None:
                cells.append(Cell(_UNKNOWN))
                continue
            low, high = _value(values.min()), _value(values.max())
            cells.append(Cell(_value(values.mean()), f"{low}–{high}"))
        rows.append(Row(method.name.replace("_", " "), tuple(cells)))
    seeds = max(len(values) for method in controls for values in method.values.values())
    note = (
        f"Mean and range over {seeds} seed{'s' if seeds != 1 else ''} of the self-training study; all methods train for"
        " the same number of steps."
    )
    return Table(note, (("Method", ""), *((m.name, m.unit) for m in measures)), tuple(rows))


def _precision_charts(rounds: Sequence[Round], colours: Mapping[str, str]) -> list[Chart]:
    curves = [
        Series(each.name, colours[each.name], numbers(each.curve["threshold"]), numbers(each.curve["pckh"]))
        for each in rounds
    ]
    labels = {"x_label": "threshold, head sizes", "y_label": "percent"}
    charts = [line_chart("PCKh by threshold, %", curves, **labels, y_limits=(0, 100))]
    if len(rounds) > 1:
        for title, unit, keys, limits in (
            ("PCKh by round, %", "percent", ("pckh_50", "pckh_25"), (0.0, 100.0)),
            ("MPJPE by round, mm", "mm", ("mpjpe_abs_mm", "mpjpe_abs_median_mm"), None),
        ):
            places = np.arange(len(rounds), dtype=float)
            series = [
                Series(_NAMES[key], colour, places, np.array([each.scores.get(key, np.nan) for each in rounds]))
                for key, colour in zip(keys, ("var(--accent)", "var(--good)"), strict=True)
            ]
            charts.append(
                line_chart(title, series, x_label="round", y_label=unit, y_limits=limits, x_names=list(colours))
            )
    return charts


def _training_charts(rounds: Sequence[Round], colours: Mapping[str, str]) -> list[Chart]:
    table = training_table(rounds)
    of = np.array(table["round"])
    charts = []
    for name in (column for column in table if column not in ("round", "step", "epoch")):
        series = []
        for each in rounds:
            rows = of == each.name
            steps = numbers([str(step) for step in np.array(table["step"])[rows]])
            series.append(Series(each.name, colours[each.name], steps, numbers(np.array(table[name])[rows].tolist())))
        title = name.replace("_", " ").capitalize()
        charts.append(line_chart(title, series, x_label="step, all rounds in order", y_label=name))
    return charts


def _bar_charts(rounds: Sequence[Round], colours: Mapping[str, str], against: str) -> list[Chart]:
    """Return one chart per measure by joint, and one by view."""
    joint_names = [joint.replace("_", " ") for joint in rounds[-1].joints["joint"]]

    def chart(title: str, column: str, unit: str = "percent", limit: float | None = 100) -> Chart:
        return bar_chart(title, joint_names, _by_joint(rounds, colours, column), unit=unit, limit=limit)

    if against == "peer":
        charts = [chart("Distance to the peer by joint, mm", "peer_distance_mm", "mm", None)]
    else:
        charts = [
            chart("PCKh@0.5 by joint, %", "pckh_50"),
            chart("MPJPE by joint, mm", "mpjpe_abs_mm", "mm", None),
        ]
    charts.append(chart("Triangulated joints, %", "coverage"))
    views = list(dict.fromkeys(view for each in rounds for view in each.by_view))
    if views:
        by_view = [
            Series(each.name, colours[each.name], np.empty(0), np.array([each.by_view.get(v, np.nan) for v in views]))
            for each in rounds
        ]
        charts.append(bar_chart("PCKh@0.5 by view, %", views, by_view, unit="percent", limit=100))
    return charts


def _by_joint(rounds: Sequence[Round], colours: Mapping[str, str], column: str) -> list[Series]:
    """Return a column of the rounds' joint tables, in the order of the last round's joints."""
    series = []
    for each in rounds:
        place = {joint: row for row, joint in enumerate(each.joints["joint"])}
        cells = each.joints.get(column, [""] * len(place))
        rows = [place.get(joint) for joint in rounds[-1].joints["joint"]]
        values = numbers(["" if row is None else cells[row] for row in rows])
        series.append(Series(each.name, colours[each.name], np.empty(0), values))
    return series


def _labels(rounds: Sequence[Round]) -> list[LabelTables]:
    tables = []
    for each in (each for each in rounds if each.labels):
        title = f"{each.name}: {_percent(each.scores.get('label_coverage'))} labelled"
        if "label_pckh_50" in each.scores:
            title += f", {_percent(each.scores['label_pckh_50'])} of them right"
        coverage = _heat_table("Labelled, %", each.labels, "coverage", "possible")
        right = _heat_table("Right, % of the labels", each.labels, "pckh_50", "measured")
        tables.append(LabelTables(title, coverage, right))
    return tables


def _heat_table(caption: str, table: dict[str, list[str]], column: str, weight: str) -> Table | None:
    """Return joints by views, with the weighted mean of each row and column; None without a known value."""
    views, joint_names = list(dict.fromkeys(table["view"])), list(dict.fromkeys(table["joint"]))
    values, weights = np.full((len(joint_names), len(views)), np.nan), np.zeros((len(joint_names), len(views)))
    rows = zip(table["view"], table["joint"], numbers(table[column]), numbers(table[weight]), strict=True)
    for view, joint, value, count in rows:
        place = joint_names.index(joint), views.index(view)
        values[place], weights[place] = value, count
    if not np.isfinite(values).any():
        return None
    products = np.where(weights > 0, np.nan_to_num(values) * weights, 0)

    def mean(axis: int) -> np.ndarray:
        total = weights.sum(axis)
        return products.sum(axis) / np.where(total > 0, total, np.nan)

    several = len(views) > 1
    full = np.column_stack([values, mean(1)]) if several else values
    bottom = mean(0)
    last = [*bottom, products.sum() / weights.sum()] if several else list(bottom)
    names = [*views, "all"] if several else views
    body = [Row(joint.replace("_", " "), _shaded(row)) for joint, row in zip(joint_names, full, strict=True)]
    return Table(caption, _head("Joint", names), (*body, Row("all", _shaded(last))))


def _shaded(values: Sequence[float] | np.ndarray) -> tuple[Cell, ...]:
    return tuple(
        Cell(f"{value:.0f}", shade=f"{value:.0f}") if np.isfinite(value) else Cell(_UNKNOWN, kind="none")
        for value in values
    )


def _head(first: str, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return ((first, ""), *((name, "") for name in names))


def _cell(each: Round, measure: Measure) -> Cell:
    value = each.scores.get(measure.key)
    return Cell(_UNKNOWN if value is None else _value(value))


def _change(first: Round, last: Round, measure: Measure) -> Cell:
    """Return the signed difference, marked as better or worse; "–" if one of the two is unknown."""
    if measure.key not in first.scores or measure.key not in last.scores:
        return Cell(_UNKNOWN)
    value = last.scores[measure.key] - first.scores[measure.key]
    kind = "" if round(value, 1) == 0 else "better" if value * measure.sign > 0 else "worse"
    return Cell(f"{value:+.1f}".replace("-", "−"), kind=kind)


def _value(value: float) -> str:
    return f"{value:.1f}"


def _percent(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{_value(value)} %"
