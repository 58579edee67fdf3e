"""Human3.6M in whatever layout it is there, and which of its frames are used.

Layouts, told apart by what is there: the record files of the multiview code (h36m_records.py), the official download
(h36m_release.py), folders with matlab_meta.txt (h36m_matlab.py). The challenge's set has no cameras (h36m_challenge.py).
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.datasets import h36m_challenge, h36m_matlab, h36m_pictures, h36m_records, h36m_release, videos
from pipeline.datasets.archives import Pictures
from pipeline.datasets.h36m_takes import (
    DAMAGED,
    HEAD_MM,
    NO_VIDEO,
    SKELETON,
    TEST_SUBJECTS,
    TRAIN_SUBJECTS,
    Film,
    Labels,
    Take,
    published_box,
    take_name,
)
from pipeline.datasets.records import Records
from pipeline.files.keys import FrameKeys
from pipeline.files.space import Space


@dataclass(frozen=True)
class H36m:
    """The nested section `h36m` of `target` and `source`: which part of Human3.6M is used."""

    train_subjects: tuple[int, ...] = TRAIN_SUBJECTS
    test_subjects: tuple[int, ...] = TEST_SUBJECTS
    train_every: int = 5  # every so many moments, counted through all takes of the train subjects
    test_every: int = 64  # the same of the test subjects
    damaged: Literal["excluded", "included"] = "excluded"  # S9's takes with shifted poses, S11's with a missing video
    leave_out: tuple[str, ...] = ()  # more takes to do without, "s_01_act_02_subact_01"

    def __post_init__(self) -> None:
        both = sorted(set(self.train_subjects) & set(self.test_subjects))
        if both:
            raise ValueError(f"h36m: S{both[0]} is in train_subjects and in test_subjects")
        if not self.subjects or not set(self.subjects) <= set(TRAIN_SUBJECTS + TEST_SUBJECTS):
            known = ", ".join(map(str, TRAIN_SUBJECTS + TEST_SUBJECTS))
            raise ValueError(f"h36m: expected subjects among {known}, got {list(self.subjects)}")
        for name in ("train_every", "test_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"h36m.{name}: expected at least 1, got {getattr(self, name)}")

    @property
    def subjects(self) -> tuple[int, ...]:
        return self.train_subjects + self.test_subjects


@dataclass(frozen=True, eq=False)
class Chosen:
    """The frames of one take that are used: rows are places in `take.numbers`."""

    take: Take
    split: str
    rows: np.ndarray

    @property
    def numbers(self) -> np.ndarray:
        return self.take.numbers[self.rows]

    def labels(self) -> Labels:
        found = self.take.labels()
        return Labels(found.points[self.rows], found.joints[self.rows])


def is_here(annotations: Path) -> bool:
    """Whether there are annotations of Human3.6M in one of the layouts with cameras."""
    return bool(h36m_records.find(annotations) or h36m_release.find(annotations) or h36m_matlab.find(annotations))


@contextmanager
def opened(annotations: Path, place: Path | None, subjects: Sequence[int]) -> Iterator[tuple[list[Take], list[str]]]:
    """The takes of some subjects, ordered by subject, action and subaction, and sentences on what was mended.

    Args:
        annotations: the record files' folder or one of them; metadata.xml or the folder that it is in; the folder of the
            matlab_meta.txt folders.
        place: the folder or zip of the pictures, the folder of the videos; None where only labels are asked for.
        subjects: whose.

    Raises:
        ValueError: nothing of Human3.6M is there, or it is not what it should be.
    """
    if h36m_records.find(annotations):
        yield h36m_records.read(annotations, place, subjects)
        return
    metadata = h36m_release.find(annotations)
    if metadata is not None:
        files = place or (metadata.parent if annotations.is_file() else annotations)
        with tempfile.TemporaryDirectory(prefix="rigpose-h36m-") as scratch:
            yield h36m_release.read(metadata, files, subjects, Path(scratch), place is not None)
        return
    if h36m_matlab.find(annotations):
        yield h36m_matlab.read(annotations, place, subjects)
        return
    if h36m_challenge.is_here(annotations):
        raise ValueError(
            f"{annotations}: the challenge's set has no cameras, so that nothing can be triangulated; it is read by "
            "prepare_source (source.layout: h36m_challenge)"
        )
    raise ValueError(
        f"{annotations}: expected {' or '.join(h36m_records.FILES)}, metadata.xml of the official download, or folders such "
        f"as {take_name(1, 2, 1)}_ca_01/{h36m_matlab.FILE}"
    )


def choose(takes: Sequence[Take], config: H36m) -> tuple[list[Chosen], list[str]]:
    """The frames to use, as published: every so many of a split's moments, counted through all of its takes.

    A moment is counted when all views have it. Takes with a missing video are left out before counting, as they are in the
    published lists; S9's damaged ones and `leave_out` after it, so that the other frames stay the same ones.

    Returns:
        One entry a take that has frames left, and sentences on what was left out.
    """
    names = {take.name for take in takes}
    unknown = sorted(set(config.leave_out) - names)
    if unknown:
        raise ValueError(f"h36m.leave_out: there is no take '{unknown[0]}'; there are {', '.join(sorted(names))}")
    chosen, notes = [], []
    for split, subjects, every in (
        ("train", config.train_subjects, config.train_every),
        ("test", config.test_subjects, config.test_every),
    ):
        counted = 0
        for take in sorted((take for take in takes if take.subject in subjects), key=lambda take: take.key):
            if config.damaged == "excluded" and take.key in NO_VIDEO:
                notes.append(f"{take.name}: {len(take.numbers)} moments left out (h36m.damaged: excluded)")
                continue
            rows = np.arange(-counted % every, len(take.numbers), every)
            counted += len(take.numbers)
            if config.damaged == "excluded" and take.key in DAMAGED:
                notes.append(f"{take.name}: {len(rows)} of the chosen moments left out (h36m.damaged: excluded)")
            elif take.name in config.leave_out:
                notes.append(f"{take.name}: {len(rows)} of the chosen moments left out (h36m.leave_out)")
            elif len(rows):
                chosen.append(Chosen(take, split, rows))
    if not chosen:
        raise ValueError("h36m: no moment is left by the subjects, train_every, test_every, damaged and leave_out")
    return chosen, notes


def keys(chosen: Sequence[Chosen]) -> FrameKeys:
    """The frames' keys: the take's name, the number in it (from 1), the split, and the subject."""
    lengths = [len(each.rows) for each in chosen]
    columns = [(each.take.name, each.split, each.take.person) for each in chosen]
    sequence, split, person = (np.repeat(np.array(column), lengths) for column in zip(*columns, strict=True))
    return FrameKeys(sequence, np.concatenate([each.numbers for each in chosen]).astype(np.int32), split, person)


def subject_of(person: str) -> int:
    """9 from "S9", as `keys` names people.

    Raises:
        ValueError: the frames are not of Human3.6M.
    """
    if not (person.startswith("S") and person[1:].isdecimal()):
        raise ValueError(f"the target's person '{person}' is none of Human3.6M (S1 to S11)")
    return int(person[1:])


def recipe_of(wanted: FrameKeys) -> str:
    """What the names of metrics say of the frames that they are about: see `H36m.damaged`."""
    damaged = {take_name(*key) for key in DAMAGED + NO_VIDEO}
    return "damaged_included" if damaged & set(wanted.sequence.tolist()) else "damaged_excluded"


def boxes(chosen: Sequence[Chosen]) -> np.ndarray:
    """(frames, views, 4) px: the published boxes, about the pelvis of the 3D labels."""
    found = []
    for each in chosen:
        roots = each.labels().joints[:, SKELETON.root]
        found.append(np.stack([published_box(camera, roots) for camera in each.take.cameras], axis=1))
    return np.concatenate(found)


def truth(takes: Sequence[Take], wanted: FrameKeys) -> tuple[np.ndarray, np.ndarray]:
    """Where the joints of some frames were.

    Returns:
        (frames, 17, 3) world mm, NaN where no take has the frame, and (frames,) mm head sizes.
    """
    joints = np.full((len(wanted), len(SKELETON), 3), np.nan)
    by_name = {take.name: take for take in takes}
    for name in sorted(set(wanted.sequence.tolist()) & by_name.keys()):
        rows = np.flatnonzero(wanted.sequence == name)
        take = by_name[name]
        place = {number: at for at, number in enumerate(take.numbers.tolist())}
        at = np.array([place.get(number, -1) for number in wanted.number[rows].tolist()])
        labels = take.labels()
        joints[rows[at >= 0]] = labels.joints[at[at >= 0]]
    known = np.isfinite(joints).all(axis=(1, 2))
    return joints, np.where(known, HEAD_MM, np.nan)


def read_labelled(folder: Path, config: H36m) -> Records:
    """Human3.6M as labelled persons, every (frame, view) one, for training with labels; annotations and pictures in one folder.

    Raises:
        ValueError: see `opened` and `choose`.
    """
    stack = ExitStack()  # what is unpacked is needed as long as the pictures are: they keep it
    takes, notes = stack.enter_context(opened(folder, folder, config.subjects))
    chosen, left = choose(takes, config)
    return labelled(chosen, annotation_files(folder), (*notes, *left), stack)


def annotation_files(annotations: Path) -> list[Path]:
    """The files that labels are read from."""
    metadata = h36m_release.find(annotations)
    if found := h36m_records.find(annotations):
        return found
    if metadata is not None:
        root = metadata.parent if annotations.is_file() else annotations
        endings = (".cdf", *h36m_release.ARCHIVES)
        return [metadata, *sorted(path for path in root.rglob("*") if path.name.lower().endswith(endings))]
    return [path for views in h36m_matlab.find(annotations).values() for path in views.values()]


def labelled(chosen: Sequence[Chosen], files: Sequence[Path], notes: Sequence[str], keep: object = None) -> Records:
    """Every (frame, view) as a labelled person, view after view of a take.

    `split` is "train" for the train subjects and "valid" for the others; the head size is a tenth of the published box.
    `keep` lives as long as the pictures.
    """
    image, split, joints, box = [], [], [], []
    space: list[Space] = []
    moments = 0
    wanted: dict[str, list[int]] = {}
    paths: dict[str, Path] = {}
    stills: Pictures | None = None
    for each in chosen:
        labels = each.labels()
        roots = labels.joints[:, SKELETON.root]
        for view, (camera, footage) in enumerate(zip(each.take.cameras, each.take.footage, strict=True)):
            numbers = each.numbers.tolist()
            if isinstance(footage, Film):
                name = f"{each.take.name}_ca_{view + 1:02}"
                wanted[name], paths[name] = numbers, footage.path
                image += [f"{name}#{number}" for number in numbers]
            else:
                stills = footage.pictures
                image += [footage.names[number] for number in numbers]
            joints.append(labels.points[:, view])
            box.append(published_box(camera, roots))
            space.append(Space.of(labels.joints, camera, moments + np.arange(len(numbers)), view))
            split += ["train" if each.split == "train" else "valid"] * len(numbers)
        moments += len(each.rows)
    boxes_px, points = np.concatenate(box), np.concatenate(joints)
    known = np.isfinite(boxes_px).all(axis=1)
    rows = np.flatnonzero(known)
    return Records(
        skeleton=SKELETON,
        image=np.array(image)[rows],
        key=np.array(image)[rows],
        split=np.array(split)[rows],
        joints=points[rows],
        box=boxes_px[rows],
        head=(boxes_px[rows, 2] - boxes_px[rows, 0]) / 10,
        score=np.ones(len(rows)),
        pictures=stills if stills is not None else h36m_pictures.Films(wanted, paths, keep),  # type: ignore[arg-type]
        files=tuple(files),
        notes=tuple(notes),
        decoder=videos.decoder() if wanted else "",
        space=Space.joined(space).rows(rows),
    )


def facts(takes: Sequence[Take]) -> list[str]:
    """What is there, in sentences, beside what is published."""
    sentences = []
    for split, subjects, every in (("train", TRAIN_SUBJECTS, 5), ("test", TEST_SUBJECTS, 64)):
        own = [take for take in takes if take.subject in subjects]
        moments = sum(len(take.numbers) for take in own if take.key not in NO_VIDEO)
        groups = -(-moments // every)
        people = ", ".join(sorted({take.person for take in own})) or "nobody"
        sentences.append(
            f"{split}: {len(own)} takes of {people}, {moments:,} moments that all views have; every {every}th: {groups:,} view "
            "groups"
        )
        if split == "test" and own:
            damaged = [take for take in own if take.key in DAMAGED]
            shifted = sum(len(take.numbers) for take in damaged)
            sentences.append(f"test: {shifted:,} of these moments are in S9's {len(damaged)} damaged takes")
    missing = [take_name(*key) for key in NO_VIDEO if key not in {take.key for take in takes}]
    sentences += [f"{name}: not there, or without a video that can be read, as in many copies" for name in missing]
    return [*sentences, *PUBLISHED]


PUBLISHED = (
    "published: 1,559,752 pictures of the train subjects (77,988 view groups at every 5th), 550,644 of the test subjects",
    "published: 2,151 test groups are every 64th of 137,661 moments, what today's pose files give; 2,215 are 8,860 records / 4 "
    "of the older record files, made from pose files that were longer (it is reported of S9's damaged Greeting, which has 1,447 "
    "poses now). Neither leaves the damaged takes out. Errors on the two are not the same measurement.",
)
