"""Joints have names: what a data set's joints are called, how they hang together, which are left and right."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Skeleton:
    """A joint vocabulary and its tree.

    Names are snake case, sides spelled out (`left_knee`). Two vocabularies mean the same point where, and only where,
    they use the same name: mpii's `thorax` and body_25's `neck` are different points and stay so.
    """

    name: str
    joints: tuple[str, ...]
    parent_names: tuple[str, ...]  # "" at a root

    def index(self, joint: str) -> int:
        if joint not in self.joints:
            raise ValueError(f"the skeleton {self.name} has no joint '{joint}'; it has {', '.join(self.joints)}")
        return self.joints.index(joint)

    def __len__(self) -> int:
        return len(self.joints)

    @cached_property
    def parents(self) -> tuple[int, ...]:
        """Index of each joint's parent; -1 at a root."""
        return tuple(self.index(parent) if parent else -1 for parent in self.parent_names)

    @cached_property
    def root(self) -> int:
        return self.parents.index(-1)

    @cached_property
    def limbs(self) -> tuple[tuple[int, int], ...]:
        """(parent, child) index pairs, in the order of the children."""
        return tuple((parent, child) for child, parent in enumerate(self.parents) if parent >= 0)

    @cached_property
    def flipped(self) -> tuple[int, ...]:
        """For each joint, the index of its mirror image (itself when it has no side)."""
        return tuple(self.index(mirrored(joint)) for joint in self.joints)


def mirrored(joint: str) -> str:
    """`left_knee` -> `right_knee` and back; other names unchanged."""
    if joint.startswith("left_"):
        return "right_" + joint.removeprefix("left_")
    if joint.startswith("right_"):
        return "left_" + joint.removeprefix("right_")
    return joint


def mapping(target: Skeleton, source: Skeleton) -> np.ndarray:
    """For each target joint, the index of the source joint of the same name, -1 where there is none: (joints,) int."""
    return np.array([source.joints.index(joint) if joint in source.joints else -1 for joint in target.joints])


def reorder(values: np.ndarray, target: Skeleton, source: Skeleton) -> np.ndarray:
    """Bring (..., source joints, k) values into the target's order; joints that the source lacks become NaN."""
    index = mapping(target, source)
    found = values[..., index, :].astype(float)
    found[..., index < 0, :] = np.nan
    return found


def get(name: str) -> Skeleton:
    if name not in SKELETONS:
        raise ValueError(f"no skeleton is called '{name}'; known ones are {', '.join(sorted(SKELETONS))}")
    return SKELETONS[name]


def _skeleton(name: str, tree: str) -> Skeleton:
    """A tree as text: one `joint<parent` per word, in the data set's joint order."""
    pairs = [word.split("<") for word in tree.split()]
    return Skeleton(name, tuple(joint for joint, _ in pairs), tuple(parent for _, parent in pairs))


SKELETONS = {
    skeleton.name: skeleton
    for skeleton in (
        _skeleton(
            "mpii_16",
            "right_ankle<right_knee right_knee<right_hip right_hip<pelvis left_hip<pelvis left_knee<left_hip"
            " left_ankle<left_knee pelvis< thorax<pelvis upper_neck<thorax head_top<upper_neck"
            " right_wrist<right_elbow right_elbow<right_shoulder right_shoulder<thorax left_shoulder<thorax"
            " left_elbow<left_shoulder left_wrist<left_elbow",
        ),
        _skeleton(
            "h36m_17",
            "pelvis< right_hip<pelvis right_knee<right_hip right_ankle<right_knee left_hip<pelvis left_knee<left_hip"
            " left_ankle<left_knee spine<pelvis neck<spine nose<neck head<nose left_shoulder<neck"
            " left_elbow<left_shoulder left_wrist<left_elbow right_shoulder<neck right_elbow<right_shoulder"
            " right_wrist<right_elbow",
        ),
        _skeleton(
            "coco_17",
            "nose< left_eye<nose right_eye<nose left_ear<left_eye right_ear<right_eye left_shoulder<nose"
            " right_shoulder<nose left_elbow<left_shoulder right_elbow<right_shoulder left_wrist<left_elbow"
            " right_wrist<right_elbow left_hip<left_shoulder right_hip<right_shoulder left_knee<left_hip"
            " right_knee<right_hip left_ankle<left_knee right_ankle<right_knee",
        ),
        _skeleton(
            "body_25",
            "nose<neck neck<pelvis right_shoulder<neck right_elbow<right_shoulder right_wrist<right_elbow"
            " left_shoulder<neck left_elbow<left_shoulder left_wrist<left_elbow pelvis< right_hip<pelvis"
            " right_knee<right_hip right_ankle<right_knee left_hip<pelvis left_knee<left_hip left_ankle<left_knee"
            " right_eye<nose left_eye<nose right_ear<right_eye left_ear<left_eye left_big_toe<left_ankle"
            " left_small_toe<left_big_toe left_heel<left_ankle right_big_toe<right_ankle"
            " right_small_toe<right_big_toe right_heel<right_ankle",
        ),
        _skeleton(
            "body_25b",
            "nose<upper_neck left_eye<nose right_eye<nose left_ear<left_eye right_ear<right_eye"
            " left_shoulder<upper_neck right_shoulder<upper_neck left_elbow<left_shoulder"
            " right_elbow<right_shoulder left_wrist<left_elbow right_wrist<right_elbow left_hip<left_shoulder"
            " right_hip<right_shoulder left_knee<left_hip right_knee<right_hip left_ankle<left_knee"
            " right_ankle<right_knee upper_neck< head_top<upper_neck left_big_toe<left_ankle"
            " left_small_toe<left_big_toe left_heel<left_ankle right_big_toe<right_ankle"
            " right_small_toe<right_big_toe right_heel<right_ankle",
        ),
    )
}
