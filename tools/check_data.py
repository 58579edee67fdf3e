"""Check data: what lies there, told in words, before anything is prepared. No stage of the pipeline; run it by hand.

    python -m tools.check_data                                    # all that params.yaml names
    python -m tools.check_data --source data/raw/mpii --sheet sheet.png
    python -m tools.check_data --target data/raw/rig/views --calibration Calib.toml --detections data/raw/rig/openpose

A labelled set: what is there and missing beside what is published, damaged pictures, colours. A rig: what its calibration means,
frames that do not belong together, who is seen. The contact sheet shows persons with their joints. Exit status 1 where something
cannot be used.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from tqdm import tqdm

from pipeline import cli, crops
from pipeline import params as params_file
from pipeline.calibration.conventions import Settings
from pipeline.calibration.reading import Calibration
from pipeline.datasets import images, parallel, videos
from pipeline.datasets.h36m import challenge, layouts, selection
from pipeline.datasets.labelled import LabelledSet
from pipeline.datasets.records import Records, census
from pipeline.files import atomic
from pipeline.files.keys import FrameKeys
from pipeline.geometry.association import associate, epipolar_agreement
from pipeline.geometry.viewing import convergence_point
from pipeline.rig.observations import Observations
from pipeline.rig.offsets import estimate_frame_offsets, person_or_surest
from pipeline.rig.plausibility import check_person_height
from pipeline.skeleton import Skeleton, get
from pipeline.target import boxes, keypoints, raw
from pipeline.target.recordings import Recording, Timing, calibrated_from_image

Section = TypeVar("Section")

# Persons of the published splits, and pictures of Human3.6M: its own module has the sentence.
PUBLISHED = {
    ("mpii", "train"): 22246,
    ("mpii", "valid"): 2958,
    ("coco", "train"): 149813,
    ("coco", "valid"): 6352,
}
_LOOKED_INTO = 400  # pictures of a set, unless --pictures says otherwise
_SHOWN, _TILE = 18, 220  # persons of a labelled set on the sheet, and px of one
_ROWS = 30  # of the sheet, spread over all there are
_SKIN_PX, _SKIN_PLACES = 2, 30  # half a patch's side, and how many of them are needed to tell
_SIDES = {"left": (255, 120, 0), "right": (0, 140, 255)}  # BGR


@dataclass
class Told:
    """What was found: sentences as they come, and how many of them are problems."""

    problems: int = 0

    def say(self, sentence: str) -> None:
        print(sentence)

    def problem(self, sentence: str) -> None:
        self.problems += 1
        print(f"PROBLEM: {' '.join(sentence.split())}")


def main(
    *,
    params: Path,
    source: Path | None = None,
    target: Path | None = None,
    calibration: Path | None = None,
    detections: Path | None = None,
    sheet: Path | None = None,
    layout: str | None = None,
    pictures: str | None = None,
) -> None:
    """`layout` is the source's, by default found by its files; `pictures` is how many of a set are decoded, or `all`."""
    read = params_file.read(params)
    most = _how_many(pictures)
    told = Told()
    rows: list[np.ndarray] = []
    if source is None and target is None and calibration is None:
        for name, values in read.get("sources", {}).items():
            labelled = params_file.build(LabelledSet, values, f"sources.{name}")
            rows += _source(Path(labelled.path), labelled, most, told)
        data = read.get("data", {})
        target, calibration, detections = (Path(data[key]) for key in ("target", "calibration", "detections"))
    elif source is not None:
        rows += _source(source, _labelled(source, layout, read), most, told)
    if target is not None and calibration is not None:
        rows += _target(target, calibration, detections, read.get("target", {}), most, told)
    elif target is not None or calibration is not None:
        raise ValueError("expected --target with --calibration; one alone cannot be checked")
    if sheet is not None:
        _write_sheet(sheet, rows)
        print(f"{sheet}: look at it")
    if told.problems:
        raise ValueError(f"{told.problems} problems, see above")
    print("nothing is wrong that could be seen")


def _how_many(pictures: str | None) -> int | None:
    if pictures is None:
        return _LOOKED_INTO
    if pictures != "all" and not (pictures.isdecimal() and int(pictures) > 0):
        raise ValueError(f"--pictures: expected a number or all, got '{pictures}'")
    return None if pictures == "all" else int(pictures)


# --- a labelled set -------------------------------------------------------------------------------------------------


def _labelled(folder: Path, layout: str | None, read: dict[str, Any]) -> LabelledSet:
    """As params.yaml has it, where it has it; else by its files."""
    for name, values in read.get("sources", {}).items():
        found = params_file.build(LabelledSet, values, f"sources.{name}")
        if Path(found.path).resolve() == folder.resolve() and layout in (None, found.layout):
            return found
    return params_file.build(LabelledSet, {"path": str(folder), "layout": layout or _layout(folder)}, "sources")


def _layout(folder: Path) -> str:
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected the folder of a labelled set")
    if challenge.is_here(folder):
        return "h36m_challenge"
    if layouts.is_here(folder):
        return "h36m"
    names = ("annotations", "annot")
    if any(path.name.startswith("person_keypoints") for name in names for path in (folder / name).glob("*.json")):
        return "coco"
    return "mpii"


def _source(folder: Path, labelled: LabelledSet, most: int | None, told: Told) -> list[np.ndarray]:
    told.say(f"{folder}: a labelled set, read as {labelled.layout}")
    try:
        records = labelled.read(folder)
    except ValueError as error:
        told.problem(str(error))
        return []
    for note in records.notes:
        told.say(note)
    counted = census(records)
    for split, persons in counted.persons.items():
        joints = counted.labelled[split]
        rare = ", ".join(name for name, times in joints.items() if times == 0)
        published = PUBLISHED.get((labelled.layout, split))
        beside = ""
        if published is not None:
            beside = ", as published" if persons == published else f"; the published split has {published:,}"
        told.say(
            f"{split}: {persons:,} persons in {counted.images[split]:,} pictures{beside}"
            + (f"; never labelled: {rare}" if rare else "")
        )
        if counted.absent_images[split]:
            told.problem(f"{split}: {counted.absent_images[split]:,} of its pictures are not there")
    if counted.shared_images:
        told.say(
            f"{counted.shared_images} pictures show persons of both splits: what is measured on was partly learned"
        )
    if labelled.layout.startswith("h36m"):
        for sentence in selection.PUBLISHED:
            told.say(sentence)
    if labelled.layout == "h36m":
        with layouts.open_takes(folder, None, labelled.h36m.subjects) as (takes, _):
            for sentence in selection.facts(takes):
                if sentence not in selection.PUBLISHED:
                    told.say(sentence)
    return _look_into(records, most, told)


def _look_into(records: Records, most: int | None, told: Told) -> list[np.ndarray]:
    """Decode pictures, spread over the set; rows of the sheet."""
    _, first = np.unique(records.image_name, return_index=True)
    first = np.sort(first)
    some = first if most is None else first[np.unique(np.linspace(0, len(first) - 1, most).astype(int))]
    shown = set(some[np.unique(np.linspace(0, len(some) - 1, _SHOWN).astype(int))].tolist())
    damaged, redder, tiles = [], [], []

    def look(row: int) -> tuple[int, np.ndarray | None, str, np.ndarray | None]:
        try:
            picture = records.read_image(row)
        except ValueError as error:
            return row, None, str(error), None
        red = _redder(picture, records.keypoints[row], records.skeleton)
        tile = _tile(picture, records.box[row], records.keypoints[row], records.skeleton, str(records.key[row]))
        return row, red, "", tile if row in shown else None

    for _, red, error, tile in tqdm(
        parallel.in_order(look, some.tolist()), total=len(some), unit="picture", disable=None
    ):
        if error:
            damaged.append(error)
        else:
            redder.append(red)
        tiles += [tile] if tile is not None else []
    told.say(
        f"{len(some):,} of {len(first):,} pictures were decoded"
        + ("" if most is None else " (--pictures all: every one)")
    )
    for error in damaged[:5]:
        told.problem(error)
    if len(damaged) > 5:
        told.problem(f"and {len(damaged) - 5} more pictures like these")
    _say_colours(np.concatenate([red for red in redder if red is not None] or [np.zeros(0)]), told)
    return _rows(tiles)


def _redder(picture: np.ndarray, joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(places,) how much more red than blue is at wrists and face, where skin shows; grey values."""
    names = [name for name in ("left_wrist", "right_wrist", "nose") if name in skeleton.joint_names]
    places = [joints[skeleton.index(name)] for name in names]
    if {"upper_neck", "head_top"} <= set(skeleton.joint_names):  # the middle of the head, which shows hair or a face
        places.append((joints[skeleton.index("upper_neck")] + joints[skeleton.index("head_top")]) / 2)
    found = []
    for x, y in places:
        if np.isfinite(x + y) and 0 <= x < picture.shape[1] and 0 <= y < picture.shape[0]:
            column, row = round(float(x)), round(float(y))
            patch = picture[
                max(row - _SKIN_PX, 0) : row + _SKIN_PX + 1, max(column - _SKIN_PX, 0) : column + _SKIN_PX + 1
            ]
            blue, _, red = np.median(patch.reshape(-1, 3).astype(float), axis=0) if patch.size else (0, 0, 0)
            found.append(red - blue)
    return np.array(found, dtype=float)


def _say_colours(redder: np.ndarray, told: Told) -> None:
    """Skin of every colour is redder than it is blue; where most wrists and faces are bluer, two channels are swapped."""
    clear = redder[np.abs(redder) > 3]
    if len(clear) < _SKIN_PLACES:
        told.say("colours: too few wrists and faces with a colour to tell whether red and blue are swapped")
    elif (clear > 0).mean() < 0.35:
        told.problem(
            f"red and blue seem to be swapped: {(clear > 0).mean():.0%} of {len(clear)} wrists and faces are redder than blue"
        )
    else:
        told.say(f"colours: {(clear > 0).mean():.0%} of {len(clear)} wrists and faces are redder than blue, as skin is")


# --- a rig ----------------------------------------------------------------------------------------------------------


def _target(
    folder: Path, calibration: Path, detections: Path | None, values: dict[str, Any], most: int | None, told: Told
) -> list[np.ndarray]:
    if values.get("layout", "rig") == "h36m":
        return _human36m(calibration, folder, told)
    told.say(f"{folder}: a rig's recordings, calibrated by {calibration}")
    try:
        rigs, recordings = raw.open_rig(
            calibration,
            folder,
            tuple(values.get("views", ())),
            _part(Settings, values.get("rig", {})),
            _part(Timing, values.get("rig", {})),
        )
    except ValueError as error:
        told.problem(str(error))
        return []
    for found in rigs.values():
        for note in found.notes:
            told.say(note)
        for doubt in found.doubts:
            told.problem(doubt)
        _say_cameras(found, told)
    rows = []
    for recording in recordings:
        _look_into_views(recording, most, told)
        found = rigs[""] if "" in rigs else rigs[recording.name]
        told.say(
            f"{recording.name}: {len(recording.numbers)} moments, {recording.numbers[0]} to {recording.numbers[-1]}, in "
            f"{len(recording.views)} views"
        )
        for note in recording.notes:
            told.say(note)
        if told.problems:
            continue  # what is shown needs whole pictures
        try:
            rows += _recording(recording, found, detections, values, told)
        except ValueError as error:
            told.problem(str(error))
    if any(view.is_video for recording in recordings for view in recording.views):
        told.say(f"videos are decoded by {videos.decoder()}")
    return rows


def _look_into_views(recording: Recording, most: int | None, told: Told) -> None:
    """Decode pictures of folders, spread over the recording. Videos have been decoded to count their frames."""
    count = len(recording.numbers)
    some = (
        range(count)
        if most is None
        else np.unique(np.linspace(0, count - 1, most // len(recording.views) + 1).astype(int))
    )
    numbers = recording.frame_numbers()
    files = [
        view.path / view.files[int(numbers[at, column])]
        for column, view in enumerate(recording.views)
        if view.files is not None
        for at in some
    ]

    def look(path: Path) -> str:
        try:
            images.read(path)
        except ValueError as error:
            return str(error)
        return ""

    errors = [
        error for error in tqdm(parallel.in_order(look, files), total=len(files), unit="picture", disable=None) if error
    ]
    if files:
        told.say(f"{recording.name}: {len(files):,} of {numbers.size:,} pictures were decoded")
    for error in errors[:5]:
        told.problem(error)
    if len(errors) > 5:
        told.problem(f"and {len(errors) - 5} more pictures like these")


def _human36m(annotations: Path, place: Path, told: Told) -> list[np.ndarray]:
    """Its records are checked against their own reprojection while they are read."""
    told.say(f"{annotations}: Human3.6M, pictures in {place}")
    try:
        with layouts.open_takes(annotations, place, selection.TRAIN_SUBJECTS + selection.TEST_SUBJECTS) as (
            takes,
            notes,
        ):
            for sentence in (*notes, *selection.facts(takes)):
                told.say(sentence)
    except ValueError as error:
        told.problem(str(error))
    return []


def _part(section: type[Section], values: dict[str, Any]) -> Section:
    """Return the part of `target.rig` that a library dataclass has."""
    names = {field.name for field in dataclasses.fields(section)}  # type: ignore[arg-type]
    return params_file.build(section, {key: value for key, value in values.items() if key in names}, "target.rig")


def _say_cameras(found: Calibration, told: Told) -> None:
    place, seen = convergence_point(found.cameras)
    for camera in found.cameras:
        x, y, z = camera.centre / 1000
        told.say(
            f"  {camera.name}: {camera.size[0]}x{camera.size[1]} px, at ({x:.2f}, {y:.2f}, {z:.2f}) m"
            + (f", {np.linalg.norm(camera.centre - place) / 1000:.2f} m from what it looks at" if seen.any() else "")
        )
        if z < 0:
            told.say(
                f"  {camera.name} stands below the floor, z = 0: give target.volume_mm if boxes come from a volume"
            )


def _recording(
    recording: Recording, found: Calibration, detections: Path | None, values: dict[str, Any], told: Told
) -> list[np.ndarray]:
    """Pictures of the first, middle and last moment in every view; who is seen there."""
    count = len(recording.numbers)
    name = np.full(count, recording.name)
    keys = FrameKeys(name, np.array(recording.numbers), np.full(count, "train"), name)
    numbers = recording.frame_numbers() - int(values.get("detections_offset", 0))
    views = [view.camera.name for view in recording.views]
    points, box, skeleton = None, None, None
    detections_format = values.get("detections_format", "none")
    if detections is not None and detections_format != "none":
        skeleton = get(str(detections_format).removeprefix("openpose_"))
        points, scores = keypoints.read(detections, keys, numbers, views, skeleton)
        points, box = _person(points, scores, recording, found, detections, told, skeleton=skeleton)
    elif detections is not None and (detections / "boxes.json").is_file():
        people, _ = boxes.read_coco(
            detections / "boxes.json", keys, views, float(values.get("min_box_score", 0)), numbers
        )
        box = people[:, :, 0]
        told.say(f"{detections}: {np.isfinite(box[..., 0]).mean():.0%} of the views of a moment have a box")
    if box is not None and np.isfinite(box).any():
        tall = check_person_height(box, found.cameras, detections or recording.views[0].path)
        told.say(f"{detections}: by their boxes the person is {tall / 1000:.2f} m tall (median)")
    rows, redder = [], []
    some = sorted({0, count // 2, count - 1})
    for at, decoders in zip(some, recording.decoders([recording.numbers[at] for at in some]), strict=True):
        tiles = []
        for view, decode in enumerate(decoders):
            picture = decode()
            undistortion = found.undistortions.get(views[view])
            size = undistortion.lens.size if undistortion else found.cameras[view].size
            affine, note = calibrated_from_image(picture, size, recording.views[view].path)
            if note and at == 0:
                told.say(note)
            whole = np.array([-0.5, -0.5, found.cameras[view].size[0] - 0.5, found.cameras[view].size[1] - 0.5])
            shown = box[at, view] if box is not None and np.isfinite(box[at, view]).all() else whole
            joints = points[at, view] if points is not None else np.full((1, 2), np.nan)
            square = crops.square(shown, 0.3 if shown is not whole else 0.0)
            to_tile = crops.crop_from_image(square, _TILE)
            tile = (
                undistortion.cut(picture, to_tile, affine, _TILE)
                if undistortion
                else crops.warp(picture, crops.compose(to_tile, affine), _TILE)
            )
            tiles.append(
                _drawn(
                    tile,
                    to_tile,
                    joints,
                    skeleton,
                    f"{views[view]} {recording.views[view].frame_number(recording.numbers[at])}",
                )
            )
            if points is not None and skeleton is not None:
                own = crops.transform(crops.inverse(affine), joints)
                redder.append(_redder(picture, own, skeleton))
        rows.append(np.hstack(tiles))
    if redder:
        _say_colours(np.concatenate(redder), told)
    return rows


def _person(
    points: np.ndarray,
    scores: np.ndarray,
    recording: Recording,
    found: Calibration,
    detections: Path,
    told: Told,
    *,
    skeleton: Skeleton,
) -> tuple[np.ndarray, np.ndarray]:
    """The person of interest: (frames, views, joints, 2) and (frames, views, 4) px; tells how well the views agree."""
    names = [view.camera.name for view in recording.views]
    for column, name in enumerate(names):
        if name in found.undistortions:
            points[:, column] = found.undistortions[name].undistorted_from_image(points[:, column])
    person = associate(points, scores, found.cameras)
    index = np.maximum(person, 0)[..., None, None, None]
    chosen = np.take_along_axis(points, index, axis=2)[:, :, 0]
    chosen[person < 0] = np.nan
    seen = (person >= 0).mean(axis=0)
    shares = ", ".join(f"{name} {share:.0%}" for name, share in zip(names, seen, strict=True))
    told.say(f"{detections}: the same person is found in {shares} of the moments")
    some = np.unique(np.linspace(0, len(points) - 1, 60).astype(int))
    agrees = epipolar_agreement(points[some], scores[some], found.cameras)
    told.say(f"{detections}: what the views see agrees at {agrees:.0%} with the calibration (100 %: to the pixel)")
    if agrees < 0.2:
        told.problem(f"{detections}: the views hardly agree: is it this rig's calibration, and are the views in step?")
    surest, surest_scores = person_or_surest(points, scores, person)
    observations = Observations(
        keypoints=surest,
        scores=surest_scores,
        sequence=np.full(len(points), recording.name),
        number=np.array(recording.numbers),
        skeleton=skeleton,
    )
    estimate = estimate_frame_offsets(observations, found.cameras)
    for sentence in estimate.sentences(found.cameras):
        told.problem(f"{recording.name}: {sentence}")
    if np.isfinite(estimate.epipolar_px) and not estimate.frames.any():
        told.say(
            f"{recording.name}: the views are in step; joints are {estimate.epipolar_px:.1f} px off each other's epipolar lines"
        )
    return chosen, boxes.around(chosen)


# --- the sheet ------------------------------------------------------------------------------------------------------


def _tile(picture: np.ndarray, box: np.ndarray, joints: np.ndarray, skeleton: Skeleton, title: str) -> np.ndarray:
    to_tile = crops.crop_from_image(crops.square(box, 0.2), _TILE)
    return _drawn(crops.warp(picture, to_tile, _TILE), to_tile, joints, skeleton, title)


def _drawn(
    tile: np.ndarray, to_tile: np.ndarray, joints: np.ndarray, skeleton: Skeleton | None, title: str
) -> np.ndarray:
    """The person's joints and limbs on their crop: left blue, right orange."""
    tile = np.ascontiguousarray(tile)
    if skeleton is not None:
        shown = crops.transform(to_tile, joints)
        known = np.isfinite(shown).all(axis=-1) & (np.abs(shown) < 10 * _TILE).all(axis=-1)
        colours = [_SIDES.get(name.split("_")[0], (80, 200, 80)) for name in skeleton.joint_names]
        for parent, child in skeleton.limbs:
            if known[parent] and known[child]:
                ends = np.rint(shown[[parent, child]]).astype(int).tolist()
                cv2.line(tile, ends[0], ends[1], colours[child], 2, cv2.LINE_AA)
        for (x, y), colour, there in zip(shown, colours, known, strict=True):
            if there:
                cv2.circle(tile, (round(float(x)), round(float(y))), 3, colour, -1, cv2.LINE_AA)
    text = title if len(title) <= 32 else f"...{title[-29:]}"
    cv2.putText(tile, text, (4, _TILE - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(tile, text, (4, _TILE - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (255, 255, 255), 1, cv2.LINE_AA)
    return tile


def _rows(tiles: Sequence[np.ndarray], across: int = 6) -> list[np.ndarray]:
    def rows() -> Iterator[np.ndarray]:
        for start in range(0, len(tiles), across):
            yield np.hstack(tiles[start : start + across])

    return list(rows())


def _write_sheet(path: Path, rows: Sequence[np.ndarray]) -> None:
    if not rows:
        raise ValueError(f"{path}: there is nothing to show")
    rows = [rows[at] for at in np.unique(np.linspace(0, len(rows) - 1, _ROWS).astype(int))]
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, [(0, 0), (0, width - row.shape[1]), (0, 0)], constant_values=255) for row in rows]
    done, data = cv2.imencode(".png", np.vstack(padded))
    if not done:
        raise ValueError(f"{path}: the sheet of {len(rows)} rows could not be written")
    with atomic.replacing(path) as scratch:
        scratch.write_bytes(bytes(data))


if __name__ == "__main__":
    cli.run(main)
