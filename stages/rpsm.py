"""RPSM: the heatmaps of all views + limb lengths -> 3D poses, the whole body at once.

Limb lengths come from the rig's own triangulated poses, one set a person. Maps are read in blocks of frames, so memory does
not grow with the recording.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline import cli, crops
from pipeline.files.atomic import write_json
from pipeline.files.cameras import of_views, read_cameras
from pipeline.files.heatmaps import Heatmaps, map_blocks
from pipeline.files.poses import Poses, Status
from pipeline.geometry import agreement, pictorial
from pipeline.geometry.limbs import limb_lengths

_BLOCK = 16  # frames


@dataclass(frozen=True)
class Rpsm:
    """Section `rpsm` of params.yaml.

    Attributes:
        space_mm: side of the cube around the root in which the body is searched.
        first_bins: places along a side of the first grid.
        next_bins: the same of the later grids.
        depth: how many later grids.
        limb_tolerance_mm: how much longer or shorter than its median a limb may be.
        floor: heat, summed over the views, that counts as none.
        reproj_threshold_px: px of the full picture; a view is recorded as agreeing when the joint is shown nearer than this
            to its peak. Changes no position.
    """

    space_mm: float
    first_bins: int
    next_bins: int
    depth: int
    limb_tolerance_mm: float
    floor: float
    reproj_threshold_px: float

    def __post_init__(self) -> None:
        for name in ("space_mm", "limb_tolerance_mm", "floor", "reproj_threshold_px"):
            if getattr(self, name) <= 0:
                raise ValueError(f"rpsm.{name}: expected more than 0, got {getattr(self, name)}")
        for name in ("first_bins", "next_bins"):
            if getattr(self, name) < 2:
                raise ValueError(f"rpsm.{name}: a grid has two ends, got {getattr(self, name)}")
        if self.depth < 0:
            raise ValueError(f"rpsm.depth: expected 0 or more, got {self.depth}")


def main(
    heatmaps: Path,
    cameras: Path,
    poses: Path,
    out: Path,
    metrics: Path,
    config: Rpsm,
    limbs: Path | None = None,
) -> None:
    seen = Heatmaps.read(heatmaps, windows=False)
    triangulated = Poses.read(poses)
    seen.keys.require_same(triangulated.keys, str(poses))
    rig = of_views(read_cameras(cameras), seen.views, str(heatmaps))
    lengths = limb_lengths(triangulated.joints, triangulated.inliers.sum(axis=1), seen.keys.person, seen.skeleton)
    limb_mm = np.array([lengths[person] for person in seen.keys.person.tolist()])  # (frames, joints)
    centres = pictorial.roots(triangulated.joints, seen.skeleton.root)
    map_from_image = crops.inverse(seen.image_from_map)
    settings = pictorial.Search(
        config.space_mm, config.first_bins, config.next_bins, config.depth, config.limb_tolerance_mm, config.floor
    )

    joints = np.full(triangulated.joints.shape, np.nan)
    status = np.full(joints.shape[:-1], Status.NO_ROOT, dtype=np.uint8)
    with tqdm(total=len(joints), desc="rpsm", disable=None) as progress:
        for rows, maps in map_blocks(heatmaps, _BLOCK):
            joints[rows], status[rows] = pictorial.search(
                maps, map_from_image[rows], rig, centres[rows], limb_mm[rows], seen.skeleton.parents, settings
            )
            progress.update(len(maps))
    errors = agreement.reprojection_errors(joints, seen.points, rig)  # (frames, views, joints)
    agree = errors < config.reproj_threshold_px
    number = agree.sum(axis=1)
    error = np.where(number > 0, np.where(agree, errors, 0).sum(axis=1) / np.maximum(number, 1), np.nan)
    found = Poses(seen.keys, seen.views, seen.skeleton, joints, agree, error, status)
    found.write(out)

    if limbs is not None:
        names = seen.skeleton.joints
        write_json(
            limbs,
            {
                person: {f"{names[parent]}-{names[child]}": each[child] for parent, child in seen.skeleton.limbs}
                for person, each in lengths.items()
            },
        )
    known = found.known
    count = max(known.size, 1)
    values = {
        "coverage": 100 * known.sum() / count,
        "reproj_px_median": np.median(error[np.isfinite(error)]) if np.isfinite(error).any() else np.nan,
        "views_mean": number[known].mean() if known.any() else np.nan,
        "refused": {
            each.name.lower(): 100 * (status == each).sum() / count for each in (Status.NO_ROOT, Status.NO_SUPPORT)
        },
    }
    write_json(metrics, values)
    print(f"{out}: {values['coverage']:.1f} % of the joints known, {values['views_mean']:.1f} views agree with one")


if __name__ == "__main__":
    cli.run(main, Rpsm)
