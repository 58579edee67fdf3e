"""The selected frames of Human3.6M, their keys, boxes and ground truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge

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


@dataclass(frozen=True, kw_only=True)
class H36m:
    """Nested section `h36m` of `target` and `sources.<name>`: the part of Human3.6M that is used.

    Attributes:
        train_subjects, test_subjects: their numbers.
        train_every: every how many frame groups one is used, counted through all takes of the train subjects.
        test_every: the same of the test subjects.
        damaged: S9's takes with shifted poses, S11's with a missing video.
        leave_out: more takes to leave out, "s_01_act_02_subact_01".
    """

    train_subjects: tuple[int, ...] = TRAIN_SUBJECTS
    test_subjects: tuple[int, ...] = TEST_SUBJECTS
    train_every: Annotated[int, Ge(1)] = 5
    test_every: Annotated[int, Ge(1)] = 64
    damaged: Literal["excluded", "included"] = "excluded"
    leave_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        both = sorted(set(self.train_subjects) & set(self.test_subjects))
        if both:
            raise ValueError(f"h36m: S{both[0]} is in train_subjects and in test_subjects")
        if not self.subjects or not set(self.subjects) <= set(TRAIN_SUBJECTS + TEST_SUBJECTS):
            known = ", ".join(map(str, TRAIN_SUBJECTS + TEST_SUBJECTS))
            raise ValueError(f"h36m: expected subjects among {known}, got {list(self.subjects)}")

    @property
    def subjects(self) -> tuple[int, ...]:
        return self.train_subjects + self.test_subjects


@dataclass(frozen=True, eq=False)
class SelectedTake:
    """The selected frames of one take; `rows` are indices into `take.numbers`."""

    take: Take
    split: str
    rows: np.ndarray

    @property
    def numbers(self) -> np.ndarray:
        return self.take.numbers[self.rows]

    def labels(self) -> Labels:
        labels = self.take.labels()
        return Labels(labels.keypoints[self.rows], labels.joints[self.rows])


def select_frames(takes: Sequence[Take], config: H36m) -> tuple[list[SelectedTake], list[str]]:
    """Return the frames to use, as published: every n-th of a split's frame groups, counted through all of its takes.

    Only frame groups that all views have are counted. Takes with a missing video are left out before counting, as in the
    published lists. S9's damaged takes and `leave_out` are left out after counting, so that the other frames do not change.

    Returns:
        One entry per take with selected frames, and sentences on omissions.
    """
    names = {take.name for take in takes}
    unknown = sorted(set(config.leave_out) - names)
    if unknown:
        raise ValueError(f"h36m.leave_out: there is no take '{unknown[0]}'; there are {', '.join(sorted(names))}")
    selected, notes = [], []
    for split, subjects, every in (
        ("train", config.train_subjects, config.train_every),
        ("test", config.test_subjects, config.test_every),
    ):
        counted = 0
        for take in sorted((take for take in takes if take.subject in subjects), key=lambda take: take.key):
            if config.damaged == "excluded" and take.key in NO_VIDEO:
                notes.append(f"{take.name}: {len(take.numbers)} frame groups left out (h36m.damaged: excluded)")
                continue
            rows = np.arange(-counted % every, len(take.numbers), every)
            counted += len(take.numbers)
            if config.damaged == "excluded" and take.key in DAMAGED:
                notes.append(f"{take.name}: {len(rows)} of the selected frame groups left out (h36m.damaged: excluded)")
            elif take.name in config.leave_out:
                notes.append(f"{take.name}: {len(rows)} of the selected frame groups left out (h36m.leave_out)")
            elif len(rows):
                selected.append(SelectedTake(take, split, rows))
    if not selected:
        raise ValueError("h36m: no frame group is left by the subjects, train_every, test_every, damaged and leave_out")
    return selected, notes


def frame_keys(selected: Sequence[SelectedTake]) -> FrameKeys:
    """Return the frames' keys: the take's name, the number in it (from 1), the split, and the subject."""
    lengths = [len(each.rows) for each in selected]
    columns = [(each.take.name, each.split, each.take.person) for each in selected]
    sequence, split, person = (np.repeat(np.array(column), lengths) for column in zip(*columns, strict=True))
    return FrameKeys(sequence, np.concatenate([each.numbers for each in selected]).astype(np.int32), split, person)


def subject_of(person: str) -> int:
    """Return 9 from "S9", the form of `frame_keys`.

    Raises:
        ValueError: the frames are not of Human3.6M.
    """
    if not (person.startswith("S") and person[1:].isdecimal()):
        raise ValueError(f"the target's person '{person}' is none of Human3.6M (S1 to S11)")
    return int(person[1:])


def recipe_of(keys: FrameKeys) -> str:
    """Return the part of metrics' names that states whether damaged takes are included, see `H36m.damaged`."""
    damaged = {take_name(*key) for key in DAMAGED + NO_VIDEO}
    return "damaged_included" if damaged & set(keys.sequence.tolist()) else "damaged_excluded"


def boxes(selected: Sequence[SelectedTake]) -> np.ndarray:
    """Return (frames, views, 4) px: the published boxes, about the pelvis of the 3D labels."""
    boxes_px = []
    for each in selected:
        roots = each.labels().joints[:, SKELETON.root]
        boxes_px.append(np.stack([published_box(camera, roots) for camera in each.take.cameras], axis=1))
    return np.concatenate(boxes_px)


def ground_truth(takes: Sequence[Take], keys: FrameKeys) -> tuple[np.ndarray, np.ndarray]:
    """Return the joints of some frames.

    Returns:
        (frames, 17, 3) world mm, NaN if no take has the frame, and (frames,) mm head sizes.
    """
    joints = np.full((len(keys), len(SKELETON), 3), np.nan)
    by_name = {take.name: take for take in takes}
    for name in sorted(set(keys.sequence.tolist()) & by_name.keys()):
        rows = np.flatnonzero(keys.sequence == name)
        take = by_name[name]
        place = {number: at for at, number in enumerate(take.numbers.tolist())}
        at = np.array([place.get(number, -1) for number in keys.number[rows].tolist()])
        labels = take.labels()
        joints[rows[at >= 0]] = labels.joints[at[at >= 0]]
    known = np.isfinite(joints).all(axis=(1, 2))
    return joints, np.where(known, HEAD_MM, np.nan)


def facts(takes: Sequence[Take]) -> list[str]:
    """Return sentences on the takes, and on the published numbers."""
    sentences = []
    for split, subjects, every in (("train", TRAIN_SUBJECTS, 5), ("test", TEST_SUBJECTS, 64)):
        own = [take for take in takes if take.subject in subjects]
        frame_groups = sum(len(take.numbers) for take in own if take.key not in NO_VIDEO)
        used = -(-frame_groups // every)
        people = ", ".join(sorted({take.person for take in own})) or "no subject"
        sentences.append(
            f"{split}: {len(own)} takes of {people}, {frame_groups:,} frame groups that all views have; every {every}th: "
            f"{used:,} frame groups"
        )
        if split == "test" and own:
            damaged = [take for take in own if take.key in DAMAGED]
            shifted = sum(len(take.numbers) for take in damaged)
            sentences.append(f"test: {shifted:,} of these frame groups are in S9's {len(damaged)} damaged takes")
    missing = [take_name(*key) for key in NO_VIDEO if key not in {take.key for take in takes}]
    sentences += [f"{name}: not there, or without a video that can be read, as in many copies" for name in missing]
    return [*sentences, *PUBLISHED]


PUBLISHED = (
    "published: 1,559,752 images of the train subjects (77,988 frame groups at every 5th), 550,644 of the test subjects",
    "published: 2,151 test groups are every 64th of the 137,661 frame groups in today's pose files; 2,215 are 8,860 records / 4 "
    "of the older record files, made from longer pose files (reported for S9's damaged Greeting, which has 1,447 poses now). "
    "Both include the damaged takes. Errors on the two are not comparable.",
)
