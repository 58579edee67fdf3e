"""The report as one HTML page: no file beside it, no network, the same bytes for the same results.

Everything that comes from data or from a file's name is escaped on its way in, here or in figures.py.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.report.figures import Series, bar_chart, colour_key, line_chart, round_colours
from pipeline.report.results import HEADLINE, MEASURES, Measure, Method, Round, numbers, training_table

# Nothing may be fetched, whatever stands in the page.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

_NAMES = {measure.key: measure.name for measure in MEASURES}


@dataclass(frozen=True)
class Picture:
    """One view of a frame: the picture and the stick figures that lie on it (from report/pictures.py)."""

    view: str
    address: str
    overlay: str


@dataclass(frozen=True)
class Shown:
    """One frame of a contact sheet, and why it is there."""

    rank: str
    name: str
    why: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Sheet:
    """A contact sheet. `layers` are the CSS classes and names of what can be switched on and off."""

    identifier: str
    title: str
    text: str
    frames: tuple[Shown, ...]
    layers: tuple[tuple[str, str], ...]


# Label-free figures: key, name, unit, digits.
_FIGURES = (
    ("leave_one_view_out_mm", "A view from what the others say, truncated mean", "mm", 0),
    ("leave_one_view_out_mm_median", "The same, median of what is known", "mm", 0),
    ("limb_stretch", "Limbs off their usual length", "%", 1),
    ("limb_asymmetry", "Left limbs against right ones", "%", 1),
    ("coverage", "Joints that could be triangulated", "%", 1),
    ("left_right_swapped", "Left and right exchanged in a view", "%", 1),
    ("sides_flipped", "Left and right change places from frame to frame", "%", 1),
    ("upside_down", "Heads below feet", "%", 1),
    ("feet_below_floor", "Feet below the floor", "%", 1),
    ("jerk_mm_median", "Jerk", "mm/frame³", 0),
    ("reproj_inlier_px_median", "Reprojection error of agreeing views (hardly says anything)", "px", 1),
    ("label_churn", "Joints that would be labelled otherwise than the teacher's", "%", 0),
)


def render(
    rounds: Sequence[Round],
    against: str,
    controls: Sequence[Method],
    sheets: Sequence[Sheet],
    scene: dict[str, Any],
    verdict: dict[str, Any] | None = None,
    rig_check: dict[str, Any] | None = None,
) -> str:
    """Assemble the page.

    Args:
        rounds: the models, the first teacher first.
        against: "truth", "peer", or "nothing" when no joint of the measured frames has a known place.
        controls: rows of the self-training study; may be none.
        sheets: the contact sheets.
        scene: what page.js draws, see `scene_data`; empty when there is no pose to turn.
        verdict: metrics/verdict.json, what label-free evidence says of the last round.
        rig_check: metrics/check_rig.json, what is wrong with the calibration or the views.
    """
    colours = dict(zip([each.name for each in rounds], round_colours(len(rounds)), strict=True))
    sections = [
        ("rounds", "Rounds", _rounds(rounds, against) + _controls(controls)),
        ("evidence", "Evidence without labels", _evidence(rounds)),
        ("curves", "How precise the detections are", _charts(rounds, colours, against)),
        ("training", "Training", _training(rounds, colours)),
        ("joints", "By joint and view", _key(colours) + _bars(rounds, colours, against)),
        ("labels", "Pseudo labels", _labels(rounds)),
        ("pictures", "Pictures", "".join(_sheet(sheet, colours) for sheet in sheets)),
        ("poses", "Poses to turn", _scene(scene, colours, against)),
        ("words", "What the words mean", _words(rounds)),
    ]
    layers = "".join(f".views .m{index}{{--layer:{colour}}}" for index, colour in enumerate(colours.values()))
    here = Path(__file__).parent
    style = (here / "page.css").read_text(encoding="utf-8") + layers
    script = (here / "page.js").read_text(encoding="utf-8")
    body = "".join(f'<section id="{key}"><h2>{title}</h2>{html}</section>\n' for key, title, html in sections)
    links = "".join(f'<a href="#{key}">{title}</a>' for key, title, _ in sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Self-training, round by round</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"<header><h1>Self-training, round by round</h1>{_lede(rounds, against)}{_verdict(verdict)}{_rig(rig_check)}"
        f'<nav aria-label="Sections">{links}</nav></header>\n'
        f"<main>\n{body}</main>\n<footer></footer>\n"
        + (f'<script type="application/json" id="scene-data">{_script_json(scene)}</script>\n' if scene else "")
        + f"<script>\n{script}</script>\n</body>\n</html>\n"
    )


def scene_data(
    frames: Sequence[str],
    limbs: Sequence[tuple[int, int]],
    joints: Sequence[str],
    poses: dict[str, dict[str, np.ndarray]],
    truth: np.ndarray | None,
    against: str,
) -> dict[str, Any]:
    """What page.js draws.

    Args:
        frames: their names.
        limbs: (parent, child) indices.
        joints: names; limbs of the left side are dotted.
        poses: for each method, for each round, (frames, joints, 3) world mm; NaN where not known.
        truth: the same, or None.

    Returns:
        {} when there is nothing to draw.
    """
    every = [array for rounds in poses.values() for array in rounds.values()] + ([] if truth is None else [truth])
    stacked = np.concatenate([array.reshape(-1, 3) for array in every]) if every else np.empty((0, 3))
    known = stacked[np.isfinite(stacked).all(-1)]
    if not len(known):
        return {}
    # Of the bulk of the joints: one that is far off must not shrink all the others.
    low, high = np.percentile(known, 2, axis=0), np.percentile(known, 98, axis=0)
    names = list(next(iter(poses.values())))
    return {
        "frames": list(frames),
        "colours": dict(zip(names, round_colours(len(names)), strict=True)),
        "limbs": [[parent, child, int(joints[child].startswith("left_"))] for parent, child in limbs],
        "middle": [round(float(value)) for value in (low + high) / 2],
        "radius": round(max(900.0, float(np.linalg.norm(high - low)) / 2)),
        "poses": {method: {name: _points(array) for name, array in rounds.items()} for method, rounds in poses.items()},
        "truth": None if truth is None else _points(truth),
        "against": "distance to the peer" if against == "peer" else "distance to the truth",
    }


def _points(poses: np.ndarray) -> list[list[list[int] | None]]:
    return [
        [[round(float(value)) for value in joint] if np.isfinite(joint).all() else None for joint in pose]
        for pose in poses
    ]


def _script_json(value: Any) -> str:
    """JSON that cannot end its script element, nor begin a comment in it."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True).replace("<", "\\u003c").replace(">", "\\u003e")


def _lede(rounds: Sequence[Round], against: str) -> str:
    first, last = rounds[0], rounds[-1]
    measured = [m for m in MEASURES if m.key in HEADLINE and m.key in first.scores and m.key in last.scores]
    trained = len(rounds) - 1
    count = f"{trained} round{'s' if trained != 1 else ''} of self-training without a label of the rig"
    text = {
        "truth": f"{count}, measured on {last.frames} held-out frames that no stage trained on.",
        "peer": f"{count}, compared with another tool's 3D result on {last.frames} held-out frames. "
        "The peer is no truth: a distance to it is not an error.",
        "nothing": f"{count}. The held-out frames have no truth to measure against.",
    }[against]
    tiles = []
    for measure in measured:
        if measure.key == "coverage":
            continue
        change = last.scores[measure.key] - first.scores[measure.key]
        before = f"{escape(first.name)}: {_value(first.scores[measure.key], measure)}, "
        tiles.append(
            f'<div class="tile"><dt>{measure.name}</dt><dd>{_value(last.scores[measure.key], measure)} {measure.unit}'
            f"<small>{before}{_change(change, measure)}</small></dd></div>"
        )
    return f'<p class="lede">{text}</p>' + (f'<dl class="tiles">{"".join(tiles)}</dl>' if tiles else "")


def _verdict(verdict: dict[str, Any] | None) -> str:
    if not verdict:
        return ""
    said = {"adopt": "Adopt", "do_not_adopt": "Do not adopt", "not_enough_evidence": "Not enough evidence to adopt"}
    model, before = escape(str(verdict["model"])), escape(str(verdict["against"]))
    reasons = "".join(f"<li>{escape(str(reason))}</li>" for reason in verdict["reasons"])
    title = f"{said[verdict['verdict']]} {model} in place of {before}"
    return (
        f'<div class="verdict {escape(verdict["verdict"])}"><p><strong>{title}</strong>, says the evidence that needs no'
        f" label.</p><ul>{reasons}</ul></div>"
    )


def _rig(rig_check: dict[str, Any] | None) -> str:
    if not rig_check or not (rig_check["problems"] or rig_check["doubts"]):
        return ""
    problems, doubts = ([str(each) for each in rig_check[key]] for key in ("problems", "doubts"))
    said = "".join(f"<li>{escape(each)}</li>" for each in (*problems, *doubts))
    title = "Something is wrong with the rig" if problems else "The rig leaves doubts"
    kind = "do_not_adopt" if problems else "not_enough_evidence"
    return f'<div class="verdict {kind}"><p><strong>{title}</strong>, by what its cameras see.</p><ul>{said}</ul></div>'


def _evidence(rounds: Sequence[Round]) -> str:
    known = [each for each in rounds if each.quality]
    if not known:
        return '<p class="note">No label-free figures were given to this report.</p>'
    head = '<th scope="col">Figure</th>' + "".join(f'<th scope="col">{escape(each.name)}</th>' for each in known)
    rows = []
    for key, name, unit, digits in _FIGURES:
        values = [each.quality.get(key) for each in known]
        if any(value is not None for value in values):
            cells = ["–" if value is None else f"{value:.{digits}f} {unit}" for value in values]
            rows.append(_row(name, cells))
    last = known[-1].quality
    shares = last.get("camera_share", {})
    fair = 100 / max(len(shares), 1)
    cameras = "; ".join(f"{escape(str(camera))} {share:.0f} %" for camera, share in shares.items())
    note = (
        "What the detections say about themselves on the held-out frames; no label is read. None of it is an error: it"
        " follows the true one more or less (docs/evidence.md), and a mistake that all views share is not seen."
    )
    told = f"<p>Share of the views' contradictions by camera, {escape(known[-1].name)}: {cameras} (fair: {fair:.0f} %).</p>"
    return _table(note, head, rows) + (told if cameras else "")


def _rounds(rounds: Sequence[Round], against: str) -> str:
    headline = [m for m in MEASURES if m.key in HEADLINE and any(m.key in each.scores for each in rounds)]
    if not headline:
        return '<p class="note">No measure is known: the held-out frames have no truth.</p>'
    head = '<th scope="col">Round</th>' + "".join(_head(measure) for measure in headline)
    rows = [_row(escape(each.name), [_cell(each.scores.get(m.key), m) for m in headline]) for each in rounds]
    first, last = rounds[0].scores, rounds[-1].scores
    if len(rounds) > 1:
        changes = [
            _change(last[m.key] - first[m.key], m) if m.key in first and m.key in last else "–" for m in headline
        ]
        rows.append(_row("Change", changes, "gain"))
    note = "" if against == "peer" else "Held-out frames; MPJPE after the same robust triangulation for all."
    main = _table(note, head, rows)

    more = [m for m in MEASURES if m.key not in HEADLINE and any(m.key in each.scores for each in rounds)]
    if not more:
        return main
    head = '<th scope="col">Measure</th>' + "".join(f'<th scope="col">{escape(each.name)}</th>' for each in rounds)
    rows = [_row(f"{m.name}, {m.unit}", [_cell(each.scores.get(m.key), m) for each in rounds]) for m in more]
    return main + f"<details><summary>More measures</summary>{_table('', head, rows)}</details>"


def _controls(controls: Sequence[Method]) -> str:
    title = "<h3>Controls</h3>"
    if not controls:
        return (
            title
            + "<p>Whether the rounds help more than other uses of the same training time is a matter of controls: "
            "more source training, unfiltered labels, an oracle. <code>benchmarks/self_training.py</code> runs them "
            "with several seeds; no result of it was given to this report.</p>"
        )
    measures = [m for m in MEASURES if m.key in HEADLINE and any(m.key in each.values for each in controls)]
    head = '<th scope="col">Method</th>' + "".join(_head(measure) for measure in measures)
    rows = []
    for method in controls:
        cells = []
        for measure in measures:
            values = method.values.get(measure.key)
            if values is None:
                cells.append("–")
                continue
            low, high = _value(values.min(), measure), _value(values.max(), measure)
            cells.append(f"{_value(values.mean(), measure)}<small>{low}–{high}</small>")
        rows.append(_row(escape(method.name.replace("_", " ")), cells))
    seeds = max(len(values) for method in controls for values in method.values.values())
    note = f"Mean and range over {seeds} seed{'s' if seeds != 1 else ''}, from the self-training study, equal steps for all."
    return title + _table(note, head, rows)


def _charts(rounds: Sequence[Round], colours: dict[str, str], against: str) -> str:
    if against != "truth":
        return '<p class="note">PCKh is measured against truth alone.</p>'
    curves = [
        Series(each.name, colours[each.name], numbers(each.curve["threshold"]), numbers(each.curve["pckh"]))
        for each in rounds
    ]
    charts = [line_chart("PCKh by threshold, %", "threshold, head sizes", "percent", curves, (0, 100))]
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
            charts.append(line_chart(title, "round", unit, series, limits, list(colours)))
    return _key(colours) + f'<div class="charts">{"".join(charts)}</div>'


def _training(rounds: Sequence[Round], colours: dict[str, str]) -> str:
    table = training_table(rounds)
    of = np.array(table["round"])
    charts = []
    for name in (column for column in table if column not in ("round", "step", "epoch")):
        series = []
        for each in rounds:
            rows = of == each.name
            steps = numbers([str(step) for step in np.array(table["step"])[rows]])
            series.append(Series(each.name, colours[each.name], steps, numbers(np.array(table[name])[rows].tolist())))
        charts.append(line_chart(name.replace("_", " ").capitalize(), "step, round after round", name, series))
    if not charts:
        return '<p class="note">No training curve was recorded.</p>'
    text = (
        "<p>Losses of different rounds are about different data: source pictures first, then these and the rig's.</p>"
    )
    return text + _key(colours) + f'<div class="charts">{"".join(charts)}</div>'


def _bars(rounds: Sequence[Round], colours: dict[str, str], against: str) -> str:
    names = [joint.replace("_", " ") for joint in rounds[-1].joints["joint"]]

    def by_joint(column: str) -> list[Series]:
        series = []
        for each in rounds:
            place = {joint: row for row, joint in enumerate(each.joints["joint"])}
            cells = each.joints.get(column, [""] * len(place))
            rows = [place.get(joint) for joint in rounds[-1].joints["joint"]]
            values = numbers(["" if row is None else cells[row] for row in rows])
            series.append(Series(each.name, colours[each.name], np.empty(0), values))
        return series

    charts = []
    if against == "peer":
        charts.append(bar_chart("Distance to the peer by joint, mm", "mm", names, by_joint("peer_distance_mm")))
    else:
        charts.append(bar_chart("PCKh@0.5 by joint, %", "percent", names, by_joint("pckh_50"), 100))
        charts.append(bar_chart("MPJPE by joint, mm", "mm", names, by_joint("mpjpe_abs_mm")))
    charts.append(bar_chart("Joints triangulated, %", "percent", names, by_joint("coverage"), 100))
    views = list(dict.fromkeys(view for each in rounds for view in each.by_view))
    if views:
        by_view = [
            Series(each.name, colours[each.name], np.empty(0), np.array([each.by_view.get(v, np.nan) for v in views]))
            for each in rounds
        ]
        charts.append(bar_chart("PCKh@0.5 by view, %", "percent", views, by_view, 100))
    return f'<div class="charts">{"".join(charts)}</div>'


def _labels(rounds: Sequence[Round]) -> str:
    labelled = [each for each in rounds if each.labels]
    if not labelled:
        return '<p class="note">No round made pseudo labels.</p>'
    text = (
        "<p>Which joints of the rig's own, unlabelled frames were labelled by the views' agreement, and how many of "
        "these labels lie within half the head's size of the truth, which no round ever saw.</p>"
    )
    parts = []
    for each in labelled:
        told = f"{_share(each.scores.get('label_coverage'))} labelled"
        if "label_pckh_50" in each.scores:
            told += f", {_share(each.scores['label_pckh_50'])} of them right"
        state = " open" if each is labelled[-1] else ""
        parts.append(
            f"<details{state}><summary>{escape(each.name)}: {told}</summary>"
            f'<div class="heat">{_heat("Labelled, %", each.labels, "coverage", "possible")}'
            f"{_heat('Right, % of the labels', each.labels, 'pckh_50', 'measured')}</div></details>"
        )
    return text + "".join(parts)


def _heat(caption: str, table: dict[str, list[str]], column: str, weight: str) -> str:
    """Joints down, views across, with the mean of each row and column, weighted as they count."""
    views, joints = list(dict.fromkeys(table["view"])), list(dict.fromkeys(table["joint"]))
    values, weights = np.full((len(joints), len(views)), np.nan), np.zeros((len(joints), len(views)))
    rows = zip(table["view"], table["joint"], numbers(table[column]), numbers(table[weight]), strict=True)
    for view, joint, value, count in rows:
        place = joints.index(joint), views.index(view)
        values[place], weights[place] = value, count
    if not np.isfinite(values).any():
        return f'<div><p class="note">{caption}: not measured, there is no truth.</p></div>'
    products = np.where(weights > 0, np.nan_to_num(values) * weights, 0)

    def mean(axis: int) -> np.ndarray:
        total = weights.sum(axis)
        return products.sum(axis) / np.where(total > 0, total, np.nan)

    several = len(views) > 1
    full = np.column_stack([values, mean(1)]) if several else values
    bottom = mean(0)
    last = [*bottom, products.sum() / weights.sum()] if several else list(bottom)
    names = [*views, "all"] if several else views
    head = '<th scope="col">Joint</th>' + "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = [_row(escape(joint.replace("_", " ")), row, "", _shade) for joint, row in zip(joints, full, strict=True)]
    body.append(_row("all", last, "", _shade))
    return f"<div>{_table(caption, head, body)}</div>"


def _shade(value: Any) -> str:
    if not np.isfinite(value):
        return '<td class="none">–</td>'
    return f'<td style="--v:{value:.0f}">{value:.0f}</td>'


def _sheet(sheet: Sheet, colours: dict[str, str]) -> str:
    if not sheet.frames:
        return f'<h3>{escape(sheet.title)}</h3><p class="note">No frame to show.</p>'
    choices = []
    radios = [layer for layer, _ in sheet.layers if layer.startswith("m")]
    for layer, name in sheet.layers:
        kind = "radio" if layer in radios else "checkbox"
        # The first and the last round's detections on one picture cannot be read: one at a time.
        checked = " checked" if kind == "checkbox" or layer == radios[-1] else ""
        colour = {"truth": "#c9ced2", "label": "#35d08f"}.get(layer) or colours[name.removesuffix(" detections")]
        choices.append(
            f'<label><input type="{kind}" name="{sheet.identifier}-{kind}" value="{layer}"{checked}>'
            f' <i style="background:{colour}"></i>{escape(name)}</label>'
        )
    frames = []
    for shown in sheet.frames:
        pictures = "".join(
            f'<figure><div class="picture"><img alt="{escape(f"{shown.name} seen by {picture.view}")}"'
            f' src="{picture.address}">{picture.overlay}</div><figcaption>{escape(picture.view)}</figcaption></figure>'
            for picture in shown.pictures
        )
        frames.append(
            f'<div class="frame"><h4>{escape(shown.rank.capitalize())}: {escape(shown.name)}'
            f' <span>· {escape(shown.why)}</span></h4><div class="views">{pictures}</div></div>'
        )
    return (
        f"<h3>{escape(sheet.title)}</h3><p>{escape(sheet.text)}</p>"
        f'<fieldset class="layers" data-sheet="{sheet.identifier}"><legend>Show</legend>{"".join(choices)}</fieldset>'
        f'<div id="{sheet.identifier}">{"".join(frames)}</div>'
    )


def _scene(scene: dict[str, Any], colours: dict[str, str], against: str) -> str:
    if not scene:
        return '<p class="note">No pose is known.</p>'
    names = list(colours)
    boxes = []
    if scene["truth"] is not None:
        what = "peer" if against == "peer" else "truth"
        boxes.append(("truth", what, "var(--truth)", True))
    boxes += [(name, name, colours[name], name == names[-1]) for name in names]
    ticks = "".join(
        f'<label><input type="checkbox" data-scene="{escape(key)}"{" checked" if on else ""}>'
        f' <i style="background:{colour}"></i>{escape(name)}</label>'
        for key, name, colour, on in boxes
    )
    methods = "".join(f'<option value="{escape(name)}">{escape(name)}</option>' for name in scene["poses"])
    return (
        "<p>Drag to turn, pinch or Ctrl and wheel to zoom, double-click to return; with the keyboard, arrows and +/−. "
        "Limbs of the left side are dotted. The floor's squares are half a metre wide.</p>"
        '<div class="scene"><div class="controls layers">'
        f'{ticks}<label>3D by <select id="scene-method">{methods}</select></label>'
        '<label class="wide">Frame <input type="range" id="scene-frame" min="0" value="0" step="1"'
        f' max="{len(scene["frames"]) - 1}"></label></div>'
        '<canvas id="scene" tabindex="0" role="img" aria-label="3D poses of the chosen frame. Arrow keys turn, plus and'
        ' minus zoom."></canvas><output id="scene-said" for="scene-frame"></output></div>'
        "<noscript><p>The 3D view needs JavaScript.</p></noscript>"
    )


def _words(rounds: Sequence[Round]) -> str:
    known = [m for m in MEASURES if any(m.key in each.scores for each in rounds)]
    words = "".join(f"<dt>{m.name}</dt><dd>{m.meaning}</dd>" for m in known)
    return f'<dl class="words">{words}</dl>'


def _key(colours: dict[str, str]) -> str:
    return colour_key(list(colours.items()), "Colours of the rounds")


def _table(caption: str, head: str, rows: Sequence[str]) -> str:
    # The caption stands outside of what scrolls: a caption element is as wide as its table.
    told = f'<p class="note">{escape(caption)}</p>' if caption else ""
    label = escape(caption or "Table")
    return (
        f'{told}<div class="scroll" tabindex="0" role="group" aria-label="{label}"><table aria-label="{label}">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _head(measure: Measure) -> str:
    name = measure.name.replace("@", "<wbr>@")
    return f'<th scope="col">{name}<small>{measure.unit}</small></th>'


def _row(name: str, cells: Sequence[Any], kind: str = "", cell: Any = None) -> str:
    """A table's row; `name` and the cells are HTML already, unless `cell` makes it of them."""
    start = f'<tr class="{kind}">' if kind else "<tr>"
    return start + f'<th scope="row">{name}</th>' + "".join(map(cell or (lambda c: f"<td>{c}</td>"), cells)) + "</tr>"


def _cell(value: float | None, measure: Measure) -> str:
    return "–" if value is None else _value(value, measure)


def _value(value: float, measure: Measure) -> str:
    return f"{value:.{measure.digits}f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} %"


def _change(value: float, measure: Measure) -> str:
    kind = "" if round(value, measure.digits) == 0 else "better" if value * measure.sign > 0 else "worse"
    text = f"{value:+.{measure.digits}f}".replace("-", "−")
    return f'<span class="{kind}">{text}</span>' if kind else f"<span>{text}</span>"
