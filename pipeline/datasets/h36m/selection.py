"""Which frames of Human3.6M are used, their keys, boxes and ground truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.datasets.h36m.takes import (
    DAMAGED,
    HEAD_MM,
    NO_VIDEO,
    SKELETON,
    TEST_SUBJECTS,
    TRAIN_SUBJECTS,
    Labels,
    Take,
    published_box,
    take_name,
)
from pipeline.files.keys import FrameKeys


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
class SelectedTake:
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


def select_frames(takes: Sequence[Take], config: H36m) -> tuple[list[SelectedTake], list[str]]:
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
                chosen.append(SelectedTake(take, split, rows))
    if not chosen:
        raise ValueError("h36m: no moment is left by the subjects, train_every, test_every, damaged and leave_out")
    return chosen, notes


def frame_keys(chosen: Sequence[SelectedTake]) -> FrameKeys:
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


def boxes(chosen: Sequence[SelectedTake]) -> np.ndarray:
    """(frames, views, 4) px: the published boxes, about the pelvis of the 3D labels."""
    found = []
    for each in chosen:
        roots = each.labels().joints[:, SKELETON.root]
        found.append(np.stack([published_box(camera, roots) for camera in each.take.cameras], axis=1))
    return np.concatenate(found)


def ground_truth(takes: Sequence[Take], wanted: FrameKeys) -> tuple[np.ndarray, np.ndarray]:
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
