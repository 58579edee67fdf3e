"""The figures beside the report: rounds, PCKh curves and joints as SVG files, for `dvc plots` and for documents.

Matplotlib is imported where it draws, because it takes about a second. Equal tables give equal bytes under one version
of matplotlib: letters are drawn as paths, identifiers are hashes with a fixed salt, and no date is written.
"""

import io
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pipeline.report.figures import round_colours

if typing.TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PERCENT = {"pckh_50": "PCKh@0.5", "pckh_25": "PCKh@0.25", "coverage": "coverage"}
_DISTANCES = {
    "mpjpe_abs_mm": "MPJPE",
    "mpjpe_abs_median_mm": "MPJPE, median",
    "peer_distance_mm": "distance to the peer",
    "peer_distance_median_mm": "distance to the peer, median",
}


@contextmanager
def _style() -> Iterator[None]:
    """Draw in matplotlib's own style, whatever a user's matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.hashsalt": "rigpose", "svg.fonttype": "path"})
        yield


@_style()
def rounds_svg(table: "pd.DataFrame") -> bytes:
    """Return the headline measures by round; `table` has a row per round, see `results.rounds_table`."""
    figure, axes = _figure(2, 3.4)
    for place, names, unit in zip(axes, (_PERCENT, _DISTANCES), ("percent", "mm"), strict=True):
        known = table[[name for name in names if name in table]].dropna(axis="columns", how="all")
        for name in known:
            place.plot(table["round"], known[name], "o-", label=names[str(name)], clip_on=False)
        place.set_ylim(0, 100 if unit == "percent" else None)
        _finish(place, "round", unit)
    return _svg(figure)


@_style()
def pck_svg(table: "pd.DataFrame") -> bytes:
    """Return the PCKh curves; `table` has columns round, threshold (head sizes) and pckh (percent)."""
    figure, (place,) = _figure(1, 3.8)
    curves = table.groupby("round", sort=False)
    for colour, (name, rows) in zip(round_colours(len(curves)), curves, strict=True):
        if rows["pckh"].notna().any():
            place.plot(rows["threshold"], rows["pckh"], color=colour, label=str(name))
    place.set_ylim(0, 100)
    _finish(place, "threshold, head sizes", "PCKh, percent")
    return _svg(figure)


@_style()
def joints_svg(tables: "Mapping[str, pd.DataFrame]") -> bytes:
    """Return a row of dots per joint, a dot per round; `tables` has the rows of joints.csv for each round."""
    joint_names = list(dict.fromkeys(joint for table in tables.values() for joint in table["joint"]))
    labels = {"pckh_50": "PCKh@0.5, percent"} | {name: f"{label}, mm" for name, label in _DISTANCES.items()}
    measured = [name for name in labels if any(name in each and each[name].notna().any() for each in tables.values())]
    figure, axes = _figure(max(len(measured), 1), 1.2 + 0.24 * len(joint_names))
    if not measured:
        _finish(axes[0], "", "")
        return _svg(figure)
    for place, name in zip(axes, measured, strict=True):
        for colour, (model, table) in zip(round_colours(len(tables)), tables.items(), strict=True):
            values = table.set_index("joint").reindex(joint_names, columns=[name])
            place.plot(values, range(len(joint_names)), "o", color=colour, label=model, clip_on=False)
        place.set_xlim(0, 100 if name == "pckh_50" else None)
        place.set_yticks(range(len(joint_names)), [joint.replace("_", " ") for joint in joint_names])
        place.invert_yaxis()
        _finish(place, labels[name], "")
    return _svg(figure)


def _figure(columns: int, height: float) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * columns, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def _finish(place: "Axes", x_label: str, y_label: str) -> None:
    place.set_xlabel(x_label)
    place.set_ylabel(y_label)
    place.grid(alpha=0.3)
    place.spines[["top", "right"]].set_visible(False)
    if place.lines:
        place.legend(frameon=False, fontsize="small")
    else:
        place.text(0.5, 0.5, "nothing measured", ha="center", va="center", transform=place.transAxes)


def _svg(figure: "Figure") -> bytes:
    written = io.BytesIO()
    figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    return written.getvalue()
