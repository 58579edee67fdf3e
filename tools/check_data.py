"""Check data: report what is there and what is wrong, before anything is prepared. This tool is not part of the pipeline's graph.

    python -m tools.check_data                                    # all that params.yaml names
    python -m tools.check_data --source data/raw/mpii --sheet sheet.png
    python -m tools.check_data --target data/raw/rig/views --calibration Calib.toml --detections data/raw/rig/openpose

A labelled set: its counts beside the published ones, absent and damaged images, swapped colours. A rig: what its calibration
means, views that are out of step, the person of interest. The contact sheet shows persons with their keypoints. The exit
status is 1 if something cannot be used.
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

# Persons of the published splits; Human3.6M's module has its own sentences.
PUBLISHED = {
    ("mpii", "train"): 22246,
    ("mpii", "valid"): 2958,
    ("coco", "train"): 149813,
    ("coco", "valid"): 6352,
}
_DECODED = 400  # images of a set, unless --images says otherwise
_SHEET_PERSONS, _TILE = 18, 220  # persons of a labelled set on the sheet, and px of one
_ROWS = 30  # of the sheet, spread over all there are
_SKIN_PX, _MIN_SKIN_SPOTS = 2, 30  # half a patch's side, and how many patches a judgement needs
_SIDES = {"left": (255, 120, 0), "right": (0, 140, 255)}  # BGR


@dataclass
class Findings:
    """Prints sentences as they come, and counts those that are problems."""

    problems: int = 0

    def note(self, sentence: str) -> None:
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
    images: str | None = None,
) -> None:
    """Check a labelled set, a rig, or all that params.yaml names.

    Args:
        params: params.yaml.
        source: the folder of a labelled set.
        target: the folder of a rig's recordings; needs `calibration`.
        calibration: the rig's calibration.
        detections: the folder of a detector's files.
        sheet: the contact sheet to write, PNG.
        layout: of the labelled set; by default recognised by its files.
        images: how many of a set are decoded, or `all`.
    """
    read = params_file.read(params)
    max_images = _max_images(images)
    findings = Findings()
    rows: list[np.ndarray] = []
    if source is None and target is None and calibration is None:
        for name, values in read.get("sources", {}).items():
            labelled = params_file.build(LabelledSet, values, f"sources.{name}")
            rows += _source(Path(labelled.path), labelled, max_images, findings)
        data = read.get("data", {})
        target, calibration, detections = (Path(data[key]) for key in ("target", "calibration", "detections"))
    elif source is not None:
        rows += _source(source, _labelled(source, layout, read), max_images, findings)
    if target is not None and calibration is not None:
        rows += _target(target, calibration, detections, read, max_images=max_images, findings=findings)
    elif target is not None or calibration is not None:
        raise ValueError("expected --target with --calibration; one alone cannot be checked")
    if sheet is not None:
        _write_sheet(sheet, rows)
        print(f"{sheet}: the contact sheet")
    if findings.problems:
        raise ValueError(f"{findings.problems} problems, see above")
    print("no problem was found")


def _max_images(images: str | None) -> int | None:
    if images is None:
        return _DECODED
    if images != "all" and not (images.isdecimal() and int(images) > 0):
        raise ValueError(f"--images: expected a number or all, got '{images}'")
    return None if images == "all" else int(images)


# --- a labelled set -------------------------------------------------------------------------------------------------


def _labelled(folder: Path, layout: str | None, read: dict[str, Any]) -> LabelledSet:
    """Return the set as params.yaml describes it; else by its files."""
    for name, values in read.get("sources", {}).items():
        labelled = params_file.build(LabelledSet, values, f"sources.{name}")
        if Path(labelled.path).resolve() == folder.resolve() and layout in (None, labelled.layout):
            return labelled
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


def _source(folder: Path, labelled: LabelledSet, max_images: int | None, findings: Findings) -> list[np.ndarray]:
    findings.note(f"{folder}: a labelled set, read as {labelled.layout}")
    try:
        records = labelled.read(folder)
    except ValueError as error:
        findings.problem(str(error))
        return []
    for note in records.notes:
        findings.note(note)
    counted = census(records)
    for split, persons in counted.persons.items():
        joints = counted.labelled[split]
        rare = ", ".join(name for name, times in joints.items() if times == 0)
        published = PUBLISHED.get((labelled.layout, split))
        beside = ""
        if published is not None:
            beside = ", as published" if persons == published else f"; the published split has {published:,}"
        findings.note(
            f"{split}: {persons:,} persons in {counted.images[split]:,} images{beside}"
            + (f"; never labelled: {rare}" if rare else "")
        )
        if counted.absent_images[split]:
            findings.problem(f"{split}: {counted.absent_images[split]:,} of its images are absent")
    if counted.shared_images:
        findings.note(
            f"{counted.shared_images} images show persons of both splits: training has seen part of what is measured"
        )
    if labelled.layout.startswith("h36m"):
        for sentence in selection.PUBLISHED:
            findings.note(sentence)
    if labelled.layout == "h36m":
        with layouts.open_takes(folder, None, labelled.h36m.subjects) as (takes, _):
            for sentence in selection.facts(takes):
                if sentence not in selection.PUBLISHED:
                    findings.note(sentence)
    return _check_images(records, max_images, findings)


def _check_images(records: Records, max_images: int | None, findings: Findings) -> list[np.ndarray]:
    """Decode images spread over the set, and return rows of the sheet."""
    _, first = np.unique(records.image_name, return_index=True)
    first = np.sort(first)
    some = first if max_images is None else first[np.unique(np.linspace(0, len(first) - 1, max_images).astype(int))]
    on_sheet = set(some[np.unique(np.linspace(0, len(some) - 1, _SHEET_PERSONS).astype(int))].tolist())
    damaged, red_minus_blue, tiles = [], [], []

    def decode_one(row: int) -> tuple[int, np.ndarray | None, str, np.ndarray | None]:
        try:
            image = records.read_image(row)
        except ValueError as error:
            return row, None, str(error), None
        red = _red_minus_blue(image, records.keypoints[row], records.skeleton)
        tile = _tile(image, records.box[row], records.keypoints[row], records.skeleton, str(records.key[row]))
        return row, red, "", tile if row in on_sheet else None

    for _, red, error, tile in tqdm(
        parallel.in_order(decode_one, some.tolist()), total=len(some), unit="image", disable=None
    ):
        if error:
            damaged.append(error)
        else:
            red_minus_blue.append(red)
        tiles += [tile] if tile is not None else []
    findings.note(
        f"{len(some):,} of {len(first):,} images were decoded"
        + ("" if max_images is None else " (--images all: every one)")
    )
    for error in damaged[:5]:
        findings.problem(error)
    if len(damaged) > 5:
        findings.problem(f"and {len(damaged) - 5} more images like these")
    _check_colours(np.concatenate([red for red in red_minus_blue if red is not None] or [np.zeros(0)]), findings)
    return _rows(tiles)


def _red_minus_blue(image: np.ndarray, keypoints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Return (spots,) red minus blue, grey values, at wrists and face, where skin shows."""
    names = [name for name in ("left_wrist", "right_wrist", "nose") if name in skeleton.joint_names]
    spots = [keypoints[skeleton.index(name)] for name in names]
    if {"upper_neck", "head_top"} <= set(skeleton.joint_names):  # the middle of the head, which shows hair or a face
        spots.append((keypoints[skeleton.index("upper_neck")] + keypoints[skeleton.index("head_top")]) / 2)
    differences = []
    for x, y in spots:
        if np.isfinite(x + y) and 0 <= x < image.shape[1] and 0 <= y < image.shape[0]:
            column, row = round(float(x)), round(float(y))
            patch = image[
                max(row - _SKIN_PX, 0) : row + _SKIN_PX + 1, max(column - _SKIN_PX, 0) : column + _SKIN_PX + 1
            ]
            blue, _, red = np.median(patch.reshape(-1, 3).astype(float), axis=0) if patch.size else (0, 0, 0)
            differences.append(red - blue)
    return np.array(differences, dtype=float)


def _check_colours(red_minus_blue: np.ndarray, findings: Findings) -> None:
    """Skin of every colour is redder than it is blue; where most wrists and faces are bluer, two channels are swapped."""
    clear = red_minus_blue[np.abs(red_minus_blue) > 3]
    if len(clear) < _MIN_SKIN_SPOTS:
        findings.note("colours: too few wrists and faces with a clear colour to judge whether red and blue are swapped")
    elif (clear > 0).mean() < 0.35:
        findings.problem(
            f"red and blue seem to be swapped: {(clear > 0).mean():.0%} of {len(clear)} wrists and faces are redder than blue"
        )
    else:
        findings.note(
            f"colours: {(clear > 0).mean():.0%} of {len(clear)} wrists and faces are redder than blue, as skin is"
        )


# --- a rig ----------------------------------------------------------------------------------------------------------


def _target(
    folder: Path,
    calibration: Path,
    detections: Path | None,
    read: dict[str, Any],
    *,
    max_images: int | None,
    findings: Findings,
) -> list[np.ndarray]:
    values = read.get("target", {})
    if values.get("layout", "rig") == "h36m":
        return _human36m(calibration, folder, read, findings)
    findings.note(f"{folder}: a rig's recordings, calibrated by {calibration}")
    try:
        rigs, recordings = raw.open_rig(
            calibration,
            folder,
            tuple(values.get("views", ())),
            _part(Settings, values.get("rig", {})),
            _part(Timing, values.get("rig", {})),
        )
    except ValueError as error:
        findings.problem(str(error))
        return []
    for calibrated in rigs.values():
        for note in calibrated.notes:
            findings.note(note)
        for doubt in calibrated.doubts:
            findings.problem(doubt)
        _note_cameras(calibrated, findings)
    _check_fusion({recording.name: len(recording.views) for recording in recordings}, read, findings)
    rows = []
    for recording in recordings:
        _check_views(recording, max_images, findings)
        calibrated = rigs[""] if "" in rigs else rigs[recording.name]
        findings.note(
            f"{recording.name}: {len(recording.numbers)} frame groups, {recording.numbers[0]} to {recording.numbers[-1]}, in "
            f"{len(recording.views)} views"
        )
        for note in recording.notes:
            findings.note(note)
        if findings.problems:
            continue  # the sheet needs whole images
        try:
            rows += _recording(recording, calibrated, detections, values, findings)
        except ValueError as error:
            findings.problem(str(error))
    if any(view.is_video for recording in recordings for view in recording.views):
        findings.note(f"videos are decoded by {videos.decoder()}")
    return rows


def _check_views(recording: Recording, max_images: int | None, findings: Findings) -> None:
    """Decode images of folders, spread over the recording; videos are decoded when their frames are counted."""
    count = len(recording.numbers)
    some = (
        range(count)
        if max_images is None
        else np.unique(np.linspace(0, count - 1, max_images // len(recording.views) + 1).astype(int))
    )
    numbers = recording.frame_numbers()
    files = [
        view.path / view.files[int(numbers[at, column])]
        for column, view in enumerate(recording.views)
        if view.files is not None
        for at in some
    ]

    def decode_one(path: Path) -> str:
        try:
            images.read(path)
        except ValueError as error:
            return str(error)
        return ""

    errors = [
        error
        for error in tqdm(parallel.in_order(decode_one, files), total=len(files), unit="image", disable=None)
        if error
    ]
    if files:
        findings.note(f"{recording.name}: {len(files):,} of {numbers.size:,} images were decoded")
    for error in errors[:5]:
        findings.problem(error)
    if len(errors) > 5:
        findings.problem(f"and {len(errors) - 5} more images like these")


def _human36m(annotations: Path, place: Path, read: dict[str, Any], findings: Findings) -> list[np.ndarray]:
    """Report on Human3.6M; its records are checked against their own reprojection while they are read."""
    findings.note(f"{annotations}: Human3.6M, images in {place}")
    try:
        with layouts.open_takes(annotations, place, selection.TRAIN_SUBJECTS + selection.TEST_SUBJECTS) as (
            takes,
            notes,
        ):
            for sentence in (*notes, *selection.facts(takes)):
                findings.note(sentence)
            chosen = set(read.get("target", {}).get("views", ()))
            used = {take.person: [camera.name for camera in take.cameras] for take in takes}
            views = {person: len(chosen & set(names) if chosen else names) for person, names in used.items()}
            _check_fusion(views, read, findings)
    except ValueError as error:
        findings.problem(str(error))
    return []


def _check_fusion(views: dict[str, int], read: dict[str, Any], findings: Findings) -> None:
    """Compare the number of views that the network fuses with that of each rig, before anything is trained.

    Args:
        views: how many, by recording or subject.
        read: the values of params.yaml.
    """
    fused = read.get("network", {}).get("fusion_views", 0)
    others = [f"{name} has {count}" for name, count in views.items() if count != fused]
    if fused and others:
        findings.problem(f"network.fusion_views: the network fuses {fused} views, and {others[0]}")


def _part(section: type[Section], values: dict[str, Any]) -> Section:
    """Return the part of `target.rig` that a library dataclass has."""
    names = {field.name for field in dataclasses.fields(section)}  # type: ignore[arg-type]
    return params_file.build(section, {key: value for key, value in values.items() if key in names}, "target.rig")


def _note_cameras(calibrated: Calibration, findings: Findings) -> None:
    place, seen = convergence_point(calibrated.cameras)
    for camera in calibrated.cameras:
        x, y, z = camera.centre / 1000
        findings.note(
            f"  {camera.name}: {camera.size[0]}x{camera.size[1]} px, at ({x:.2f}, {y:.2f}, {z:.2f}) m"
            + (
                f", {np.linalg.norm(camera.centre - place) / 1000:.2f} m from the point that the cameras look at"
                if seen.any()
                else ""
            )
        )
        if z < 0:
            findings.note(
                f"  {camera.name} stands below the floor, z = 0: give target.volume_mm if boxes come from a volume"
            )


def _recording(
    recording: Recording, calibrated: Calibration, detections: Path | None, values: dict[str, Any], findings: Findings
) -> list[np.ndarray]:
    """Return rows of the sheet: the first, middle and last frame group in every view."""
    count = len(recording.numbers)
    name = np.full(count, recording.name)
    keys = FrameKeys(name, np.array(recording.numbers), np.full(count, "train"), name)
    numbers = recording.frame_numbers() - int(values.get("detections_offset", 0))
    views = [view.camera.name for view in recording.views]
    person_keypoints, box, skeleton = None, None, None
    detections_format = values.get("detections_format", "none")
    if detections is not None and detections_format != "none":
        skeleton = get(str(detections_format).removeprefix("openpose_"))
        person_keypoints, scores = keypoints.read(detections, keys, numbers, views, skeleton)
        person_keypoints, box = _person(
            person_keypoints, scores, recording, calibrated, detections=detections, findings=findings, skeleton=skeleton
        )
    elif detections is not None and (detections / "boxes.json").is_file():
        people, _ = boxes.read_coco(
            detections / "boxes.json", keys, views, float(values.get("min_box_score", 0)), numbers
        )
        box = people[:, :, 0]
        findings.note(f"{detections}: {np.isfinite(box[..., 0]).mean():.0%} of the views have a box (all frames)")
    if box is not None and np.isfinite(box).any():
        tall = check_person_height(box, calibrated.cameras, detections or recording.views[0].path)
        findings.note(f"{detections}: by their boxes the person is {tall / 1000:.2f} m tall (median)")
    rows, red_minus_blue = [], []
    some = sorted({0, count // 2, count - 1})
    for at, decoders in zip(some, recording.decoders([recording.numbers[at] for at in some]), strict=True):
        tiles = []
        for view, decode in enumerate(decoders):
            image = decode()
            undistortion = calibrated.undistortions.get(views[view])
            size = undistortion.lens.size if undistortion else calibrated.cameras[view].size
            affine, note = calibrated_from_image(image, size, recording.views[view].path)
            if note and at == 0:
                findings.note(note)
            whole = np.array(
                [-0.5, -0.5, calibrated.cameras[view].size[0] - 0.5, calibrated.cameras[view].size[1] - 0.5]
            )
            person_box = box[at, view] if box is not None and np.isfinite(box[at, view]).all() else whole
            frame_keypoints = person_keypoints[at, view] if person_keypoints is not None else np.full((1, 2), np.nan)
            square = crops.square(person_box, 0.3 if person_box is not whole else 0.0)
            tile_from_image = crops.crop_from_image(square, _TILE)
            tile = (
                undistortion.cut(image, tile_from_image, affine, _TILE)
                if undistortion
                else crops.warp(image, crops.compose(tile_from_image, affine), _TILE)
            )
            tiles.append(
                _draw(
                    tile,
                    tile_from_image,
                    frame_keypoints,
                    skeleton,
                    f"{views[view]} {recording.views[view].frame_number(recording.numbers[at])}",
                )
            )
            if person_keypoints is not None and skeleton is not None:
                own = crops.transform(crops.inverse(affine), frame_keypoints)
                red_minus_blue.append(_red_minus_blue(image, own, skeleton))
        rows.append(np.hstack(tiles))
    if red_minus_blue:
        _check_colours(np.concatenate(red_minus_blue), findings)
    return rows


def _person(
    person_keypoints: np.ndarray,
    scores: np.ndarray,
    recording: Recording,
    calibrated: Calibration,
    *,
    detections: Path,
    findings: Findings,
    skeleton: Skeleton,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the person of interest's keypoints, (frames, views, joints, 2) px, and boxes, (frames, views, 4) px.

    Reports how well the views agree.
    """
    names = [view.camera.name for view in recording.views]
    for column, name in enumerate(names):
        if name in calibrated.undistortions:
            person_keypoints[:, column] = calibrated.undistortions[name].undistorted_from_image(
                person_keypoints[:, column]
            )
    person = associate(person_keypoints, scores, calibrated.cameras)
    index = np.maximum(person, 0)[..., None, None, None]
    chosen = np.take_along_axis(person_keypoints, index, axis=2)[:, :, 0]
    chosen[person < 0] = np.nan
    seen = (person >= 0).mean(axis=0)
    percents = ", ".join(f"{name} {share:.0%}" for name, share in zip(names, seen, strict=True))
    findings.note(f"{detections}: the same person is visible in {percents} of the frames")
    some = np.unique(np.linspace(0, len(person_keypoints) - 1, 60).astype(int))
    agreement = epipolar_agreement(person_keypoints[some], scores[some], calibrated.cameras)
    findings.note(f"{detections}: the views agree at {agreement:.0%} with the calibration (100 %: to the pixel)")
    if agreement < 0.2:
        findings.problem(
            f"{detections}: the views hardly agree: is it this rig's calibration, and are the views in step?"
        )
    surest, surest_scores = person_or_surest(person_keypoints, scores, person)
    observations = Observations(
        keypoints=surest,
        scores=surest_scores,
        sequence=np.full(len(person_keypoints), recording.name),
        number=np.array(recording.numbers),
        skeleton=skeleton,
    )
    estimate = estimate_frame_offsets(observations, calibrated.cameras)
    for sentence in estimate.sentences(calibrated.cameras):
        findings.problem(f"{recording.name}: {sentence}")
    if np.isfinite(estimate.epipolar_px) and not estimate.frames.any():
        findings.note(
            f"{recording.name}: the views are in step; keypoints are "
            f"{estimate.epipolar_px:.1f} px from each other's epipolar lines"
        )
    return chosen, boxes.around(chosen)


# --- the sheet ------------------------------------------------------------------------------------------------------


def _tile(image: np.ndarray, box: np.ndarray, keypoints: np.ndarray, skeleton: Skeleton, title: str) -> np.ndarray:
    tile_from_image = crops.crop_from_image(crops.square(box, 0.2), _TILE)
    return _draw(crops.warp(image, tile_from_image, _TILE), tile_from_image, keypoints, skeleton, title)


def _draw(
    tile: np.ndarray, tile_from_image: np.ndarray, keypoints: np.ndarray, skeleton: Skeleton | None, title: str
) -> np.ndarray:
    """Return the crop with the person's keypoints and limbs: left blue, right orange."""
    tile = np.ascontiguousarray(tile)
    if skeleton is not None:
        in_tile = crops.transform(tile_from_image, keypoints)
        visible = np.isfinite(in_tile).all(axis=-1) & (np.abs(in_tile) < 10 * _TILE).all(axis=-1)
        colours = [_SIDES.get(name.split("_")[0], (80, 200, 80)) for name in skeleton.joint_names]
        for parent, child in skeleton.limbs:
            if visible[parent] and visible[child]:
                ends = np.rint(in_tile[[parent, child]]).astype(int).tolist()
                cv2.line(tile, ends[0], ends[1], colours[child], 2, cv2.LINE_AA)
        for (x, y), colour, drawn in zip(in_tile, colours, visible, strict=True):
            if drawn:
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
        raise ValueError(f"{path}: there is nothing to draw")
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
