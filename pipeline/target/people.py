"""The person of interest among the people that a detector found in every view, and their keypoints."""

from pathlib import Path

import numpy as np

from pipeline.files.detections import Detections
from pipeline.geometry.association import associate, epipolar_agreement
from pipeline.rig.observations import Observations
from pipeline.rig.offsets import estimate_frame_offsets, person_or_surest
from pipeline.rig.plausibility import check_agreement
from pipeline.skeleton import get
from pipeline.target import keypoints as keypoint_files
from pipeline.target.raw import RawTarget

_KEYPOINT_SLACK = 0.04  # distance from the epipolar line of one person's keypoints, as a fraction of the person's size
_SAMPLED_VIEWS = 200  # (frame, view)s, spread over all, that the calibration is compared with


def no_detections(target: RawTarget) -> Detections:
    """Return detections that are all NaN, for a target without a detector."""
    skeleton = get("mpii_16")
    shape = (len(target.keys), len(target.view_names), len(skeleton))
    return Detections(
        keys=target.keys,
        views=target.view_names,
        skeleton=skeleton,
        keypoints=np.full((*shape, 2), np.nan),
        scores=np.zeros(shape),
    )


def read_detections(
    folder: Path, target: RawTarget, frame_numbers: np.ndarray, skeleton_name: str, calibration: Path
) -> tuple[Detections, list[str]]:
    """Return the keypoints of the person of interest in the px of the cameras, and sentences about them.

    Args:
        folder: of the detector's files.
        target: the frames and cameras.
        frame_numbers: (frames, views) int, the detector's numbers of the frames.
        skeleton_name: the detector's.
        calibration: the cameras' file, for messages.

    Raises:
        ValueError: a detector's file is missing or damaged, or the calibration contradicts the detections.
    """
    skeleton, names = get(skeleton_name), target.view_names
    keypoints, scores = keypoint_files.read(folder, target.keys, frame_numbers, names, skeleton)
    for rows, rig in target.groups:
        for view, name in enumerate(names):
            if name in rig.undistortions:
                keypoints[rows, view] = rig.undistortions[name].undistorted_from_image(keypoints[rows, view])
    scores = np.where(np.isfinite(keypoints[..., 0]), scores, 0.0)
    person = person_of_interest(keypoints, scores, target, (_KEYPOINT_SLACK, _KEYPOINT_SLACK), calibration)
    notes = [
        f"{folder}: the same person found in {(person >= 0).sum(axis=1).mean():.2f} of {len(names)} views on average"
    ]
    surest, surest_scores = person_or_surest(keypoints, scores, person)
    observations = Observations(
        keypoints=surest,
        scores=surest_scores,
        sequence=target.keys.sequence,
        number=target.keys.number,
        skeleton=skeleton,
    )
    notes += _frame_offset_notes(observations, target)
    detections = Detections(
        keys=target.keys,
        views=names,
        skeleton=skeleton,
        keypoints=of_person(person, keypoints, np.nan),
        scores=of_person(person, scores, 0.0),
    )
    return detections, notes


def person_of_interest(
    keypoints: np.ndarray, scores: np.ndarray, target: RawTarget, slacks: tuple[float, float], calibration: Path
) -> np.ndarray:
    """Return the index of the detected person that the views agree on.

    Args:
        keypoints: (frames, views, people, joints, 2) px; NaN where not visible.
        scores: (frames, views, people, joints) in [0, 1].
        target: the frames and cameras.
        slacks: distances from the epipolar line of one person's keypoints, as a fraction of the person's size: to
            associate detections with, and to compare the calibration with.
        calibration: the cameras' file, for messages.

    Returns:
        (frames, views) int; -1 where no detected person agrees with other views.

    Raises:
        ValueError: the views agree much better with other rotations of the calibration.
    """
    slack, agreement_slack = slacks
    person = np.full(keypoints.shape[:2], -1)
    for rows, rig in target.groups:
        count = max(_SAMPLED_VIEWS // len(rig.cameras), 8)
        sample = rows[np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int))]
        some_keypoints, some_scores = keypoints[sample], scores[sample]
        check_agreement(
            rig.cameras,
            calibration,
            lambda cameras, k=some_keypoints, s=some_scores: epipolar_agreement(k, s, cameras, agreement_slack),  # type: ignore[misc]
        )
        for sequence in np.unique(target.keys.sequence[rows]):
            own = rows[target.keys.sequence[rows] == sequence]  # in the order of their numbers
            person[own] = associate(keypoints[own], scores[own], rig.cameras, slack)
    return person


def of_person(person: np.ndarray, values: np.ndarray, missing: float) -> np.ndarray:
    """Return (frames, views, ...) values of one person per view, from (frames, views, people, ...) values of all.

    Args:
        person: (frames, views) int; -1 for no person.
        values: of all people.
        missing: the value for no person.
    """
    index = np.maximum(person, 0).reshape(*person.shape, *[1] * (values.ndim - 2))
    own = np.take_along_axis(values, index, axis=2)[:, :, 0]
    own[person < 0] = missing
    return own


def _frame_offset_notes(observations: Observations, target: RawTarget) -> list[str]:
    """Return a sentence per view that seems to be early or late. Nothing is shifted; target.rig.start_offsets does that."""
    notes = []
    for rows, rig in target.groups:
        for sequence in np.unique(target.keys.sequence[rows]).tolist():
            own = observations.take(rows[target.keys.sequence[rows] == sequence])
            sentences = estimate_frame_offsets(own, rig.cameras).sentences(rig.cameras)
            notes += [f"{sequence}: {sentence}. Nothing was shifted" for sentence in sentences]
    return notes
