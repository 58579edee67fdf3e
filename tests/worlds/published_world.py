"""The tiny world as if it were Human3.6M: its ground truth has the 17 joints, and the models predict the compatible 16.

All keypoints are exact but two. The left wrist is 14.6 px off in the first view: 0.41 to 0.49 of a tenth of the box. The top of
the head is 100 px off everywhere. The triangulated pelvis is 32 mm off, RPSM's left knee 48 mm. The labels of the train split
are exact; those of the first view are refused.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.files import heatmaps as heatmaps_file
from pipeline.files.heatmaps import Heatmaps
from pipeline.files.labels import Labels, Reason
from pipeline.files.poses import Poses
from pipeline.files.truth import Truth
from pipeline.skeleton import get, reorder
from tests.worlds import tiny_world

HUMAN36M, COMPATIBLE = get("h36m_17"), get("compatible_16")


def build(root: Path) -> tiny_world.World:
    world = tiny_world.build(root, rounds=1)
    joints = reorder(world.joints, HUMAN36M, COMPATIBLE)
    joints[:, HUMAN36M.index("spine")] = joints[:, [HUMAN36M.index("pelvis"), HUMAN36M.index("neck")]].mean(axis=1)
    Truth(
        keys=world.keys,
        skeleton=HUMAN36M,
        joints=joints,
        head=np.full(len(joints), 200.0),
        origin="truth",
        recipe="damaged_included",
    ).write(world.truth)
    exact = np.stack([camera.project(world.joints) for camera in world.cameras], axis=1)
    for model in world.rounds:
        keypoints = exact.copy()
        keypoints[:, 0, COMPATIBLE.index("left_wrist"), 0] += 14.6
        keypoints[:, :, COMPATIBLE.index("head_top"), 1] += 100
        seen = Heatmaps.read(world.data(model) / "heatmaps.h5")
        file = world.data(model) / "heatmaps.h5"
        with heatmaps_file.writing(file, seen.keys, seen.views, COMPATIBLE, seen.map_size) as writer:
            writer.append(keypoints, seen.scores, seen.image_from_map, (seen.peak_patches, seen.patch_corners))
        for name, joint, shift in (("poses.h5", "pelvis", 32.0), ("rpsm.h5", "left_knee", 48.0)):
            poses = Poses.read(world.data(model) / name)
            moved = world.joints.copy()
            moved[:, COMPATIBLE.index(joint), 2] += shift
            replace(poses, skeleton=COMPATIBLE, joints=moved).write(world.data(model) / name)
    labels = Labels.read(world.data("r1") / "labels.h5")
    reason = np.full(labels.reason.shape, Reason.ACCEPTED)
    reason[:, 0] = Reason.TOO_FEW_INLIERS
    reason[world.keys.split == "test"] = Reason.TEST_SPLIT
    accepted = reason == Reason.ACCEPTED
    replace(
        labels,
        skeleton=COMPATIBLE,
        keypoints=np.where(accepted[..., None], exact, np.nan),
        weights=accepted.astype(float),
        reason=reason,
    ).write(world.data("r1") / "labels.h5")
    return world
