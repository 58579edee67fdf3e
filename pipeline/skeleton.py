"""Skeletons: the names of a data set's joints, their tree, and their left and right pairs."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Skeleton:
    """A joint vocabulary and its tree.

    Names are snake case, sides spelled out (`left_knee`). Vocabularies are mapped by name; see `mapping` for the few points
    of one name that are not the same, and of other names that some take for the same.
    """

    name: str
    joint_names: tuple[str, ...]
    parent_names: tuple[str, ...]  # "" at a root

    def index(self, joint: str) -> int:
        if joint not in self.joint_names:
            raise ValueError(f"the skeleton {self.name} has no joint '{joint}'; it has {', '.join(self.joint_names)}")
        return self.joint_names.index(joint)

    def __len__(self) -> int:
        return len(self.joint_names)

    @cached_property
    def parents(self) -> tuple[int, ...]:
        """Return the index of each joint's parent; -1 at a root."""
        return tuple(self.index(parent) if parent else -1 for parent in self.parent_names)

    @cached_property
    def root(self) -> int:
        return self.parents.index(-1)

    @cached_property
    def limbs(self) -> tuple[tuple[int, int], ...]:
        """Return (parent, child) index pairs, in the order of the children."""
        return tuple((parent, child) for child, parent in enumerate(self.parents) if parent >= 0)

    @cached_property
    def flipped(self) -> tuple[int, ...]:
        """Return the index of each joint's mirror image (itself if it has no side)."""
        return tuple(self.index(mirrored(joint)) for joint in self.joint_names)


def mirrored(joint: str) -> str:
    """Return the name of the joint on the other side (`left_knee`: `right_knee`); other names are unchanged."""
    if joint.startswith("left_"):
        return "right_" + joint.removeprefix("left_")
    if joint.startswith("right_"):
        return "left_" + joint.removeprefix("right_")
    return joint


def mapping(target: Skeleton, source: Skeleton) -> np.ndarray:
    """Return the index of each target joint in the source, (joints,) int; -1 if the source lacks that point.

    Points are the same where they have the same name, but for the table `_NOT_THE_SAME`: those are kept apart. The one
    vocabulary that takes different points for the same is compatible_16, which says so by its name: `_MERGED`.
    """
    merged = _MERGED.get((target.name, source.name), {})
    found = []
    for joint in target.joint_names:
        name = merged.get(joint, joint)
        same = name in source.joint_names and (joint in merged or not _apart(joint, target, source))
        found.append(source.joint_names.index(name) if same else -1)
    return np.array(found)


def differences(target: Skeleton, source: Skeleton) -> list[str]:
    """Return one sentence per pair of similar joints that are different points, with its treatment in `mapping`."""
    merged = _MERGED.get((target.name, source.name), {})
    found = [
        f"{target.name}'s {joint} is learned from {source.name}'s {name}, another point: expect a systematic offset"
        for joint, name in merged.items()
    ]
    for joint in target.joint_names:
        if joint in merged:
            continue
        if joint in source.joint_names and _apart(joint, target, source):
            found.append(f"{target.name}'s {joint} and {source.name}'s are different points, and are kept apart")
        if joint not in source.joint_names:
            alike = [
                name for name in _ALIKE.get(joint, ()) if name in source.joint_names and name not in target.joint_names
            ]
            found += [
                f"{target.name}'s {joint} is not {source.name}'s {name}: kept apart (compatible_16 would merge them)"
                for name in alike
            ]
    return found


def reorder(values: np.ndarray, target: Skeleton, source: Skeleton) -> np.ndarray:
    """Return (..., joints, k) values in the target's order, of (..., source joints, k); NaN if the source lacks a joint."""
    index = mapping(target, source)
    found = values[..., index, :].astype(float)
    found[..., index < 0, :] = np.nan
    return found


def get(name: str) -> Skeleton:
    if name not in SKELETONS:
        raise ValueError(f"no skeleton is called '{name}'; known ones are {', '.join(sorted(SKELETONS))}")
    return SKELETONS[name]


def _apart(joint: str, target: Skeleton, source: Skeleton) -> bool:
    """Return whether two vocabularies use one name for two points."""
    points = _NOT_THE_SAME.get(joint, {})
    return points.get(target.name) != points.get(source.name)


def _skeleton(name: str, tree: str) -> Skeleton:
    """Return the skeleton of a text with one `joint<parent` per word, in the data set's joint order."""
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
        # Human3.6M's 17 and the middle of the shoulders, with the tree of integral regression's code.
        _skeleton(
            "h36m_18",
            "pelvis< right_hip<pelvis right_knee<right_hip right_ankle<right_knee left_hip<pelvis left_knee<left_hip"
            " left_ankle<left_knee spine<pelvis neck<thorax nose<thorax head<neck left_shoulder<thorax"
            " left_elbow<left_shoulder left_wrist<left_elbow right_shoulder<thorax right_elbow<right_shoulder"
            " right_wrist<right_elbow thorax<pelvis",
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
        # Halpe's, of AlphaPose and RTMLib: its "head" is the top of the head, its "hip" the pelvis.
        _skeleton(
            "halpe_26",
            "nose<neck left_eye<nose right_eye<nose left_ear<left_eye right_ear<right_eye left_shoulder<neck"
            " right_shoulder<neck left_elbow<left_shoulder right_elbow<right_shoulder left_wrist<left_elbow"
            " right_wrist<right_elbow left_hip<pelvis right_hip<pelvis left_knee<left_hip right_knee<right_hip"
            " left_ankle<left_knee right_ankle<right_knee head_top<neck neck<pelvis pelvis< left_big_toe<left_ankle"
            " right_big_toe<right_ankle left_small_toe<left_big_toe right_small_toe<right_big_toe left_heel<left_ankle"
            " right_heel<right_ankle",
        ),
        # COCO's body and the feet of its whole-body set, the first 23 of its 133.
        _skeleton(
            "wholebody_23",
            "nose< left_eye<nose right_eye<nose left_ear<left_eye right_ear<right_eye left_shoulder<nose"
            " right_shoulder<nose left_elbow<left_shoulder right_elbow<right_shoulder left_wrist<left_elbow"
            " right_wrist<right_elbow left_hip<left_shoulder right_hip<right_shoulder left_knee<left_hip"
            " right_knee<right_hip left_ankle<left_knee right_ankle<right_knee left_big_toe<left_ankle"
            " left_small_toe<left_big_toe left_heel<left_ankle right_big_toe<right_ankle"
            " right_small_toe<right_big_toe right_heel<right_ankle",
        ),
        # The joints of Human3.6M and MPII together, as the published mixed training has them: each by its own name, and what
        # a data set lacks has no label. The tree is ours, so that all hang together.
        _skeleton(
            "union_20",
            "pelvis< right_hip<pelvis right_knee<right_hip right_ankle<right_knee left_hip<pelvis left_knee<left_hip"
            " left_ankle<left_knee spine<pelvis thorax<spine neck<thorax upper_neck<neck nose<upper_neck head<nose"
            " head_top<head left_shoulder<thorax left_elbow<left_shoulder left_wrist<left_elbow right_shoulder<thorax"
            " right_elbow<right_shoulder right_wrist<right_elbow",
        ),
        # MPII's joints, which Human3.6M's neck, nose and head are forced onto: see _MERGED.
        _skeleton(
            "compatible_16",
            "right_ankle<right_knee right_knee<right_hip right_hip<pelvis left_hip<pelvis left_knee<left_hip"
            " left_ankle<left_knee pelvis< thorax<pelvis upper_neck<thorax head_top<upper_neck"
            " right_wrist<right_elbow right_elbow<right_shoulder right_shoulder<thorax left_shoulder<thorax"
            " left_elbow<left_shoulder left_wrist<left_elbow",
        ),
    )
}

# One name, different points. OpenPose's neck is the middle of the shoulders, Human3.6M's lies at the top of the spine.
_NOT_THE_SAME = {"neck": {"body_25": "middle of the shoulders", "halpe_26": "as its annotators saw it"}}

# What the published "compatible" training takes for the same: target joint -> source joint. It costs accuracy, which is why
# its scores are also given without the head.
_FROM_H36M = {"thorax": "neck", "upper_neck": "nose", "head_top": "head"}
_MERGED = {
    ("compatible_16", "h36m_17"): _FROM_H36M,
    ("h36m_17", "compatible_16"): {other: joint for joint, other in _FROM_H36M.items()},
}

# Other names for nearby points, which users may expect to be mapped.
_ALIKE = {
    "thorax": ("neck",),
    "neck": ("thorax", "upper_neck"),
    "upper_neck": ("neck",),
    "head_top": ("head",),
    "head": ("head_top",),
}
