"""RPSM: the heatmaps of all views + limb lengths -> 3D poses, the whole body at once.

Limb lengths come from the rig's own triangulated poses, one set a person. Everything is read and written in blocks of frames,
so memory does not grow with the recording.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from pipeline import cli, crops
from pipeline.files import heatmaps as heatmap_file
from pipeline.files import poses as pose_file
from pipeline.files.atomic import write_json
from pipeline.files.cameras import read_rigs
from pipeline.files.heatmaps import Heatmaps
from pipeline.files.poses import Status
from pipeline.geometry import agreement, pictorial
from pipeline.geometry.camera import Camera
from pipeline.geometry.limbs import Limbs, limb_lengths, sample_evenly
from pipeline.pseudo.held_out import HeldOut
from pipeline.skeleton import Skeleton

_BLOCK = 512  # frames; a GPU searches so many at once
_MEASURED = 5000  # frames of each person that limbs are measured in, at most


@dataclass(frozen=True)
class Rpsm(pictorial.Search):
    """Section `rpsm` of params.yaml: where to look (`Search`), and beside it

    Attributes:
        reproj_threshold_px: px of the full picture; a view is recorded as agreeing when the joint is shown nearer than this
            to its peak. Changes no position.
        device: that searches; "auto" is a GPU where there is one. Positions are the same to 1e-3 mm.
    """

    reproj_threshold_px: float
    device: Literal["cpu", "cuda", "auto"] = "cpu"

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
    *,
    heatmaps: Path,
    cameras: Path,
    poses: Path,
    out: Path,
    metrics: Path,
    config: Rpsm,
    held_out: HeldOut,
    limbs: Path | None = None,
) -> None:
    keys, views, skeleton = heatmap_file.read_header(heatmaps)
    keys.require_same(pose_file.read_header(poses)[0], str(poses))
    rigs, unused = read_rigs(cameras), held_out.among(views, str(heatmaps))
    rigs.groups(keys, views, str(heatmaps))  # now, not after an hour: does every sequence have its cameras?
    people = _limbs(poses, keys.person, skeleton)
    bodies = partial(_bodies, *_search(config.device), config=config)

    errors, statuses, agreeing = [np.empty(0, dtype=np.float32)], np.zeros(len(Status), dtype=int), 0
    blocks = zip(heatmap_file.blocks(heatmaps, _BLOCK), pose_file.joint_blocks(poses, _BLOCK), strict=True)
    with (
        pose_file.writing(out, keys, views, skeleton) as found,
        tqdm(total=len(keys), desc="rpsm", disable=None) as bar,
    ):
        for (rows, seen), (_, triangulated, _) in blocks:
            for array in (seen.image_from_map, seen.points):
                array[:, unused] = np.nan
            joints, status, off = rigs.map_by_rig(
                seen.keys,
                views,
                str(heatmaps),
                partial(bodies, seen),
                np.arange(len(seen.keys)),
                crops.inverse(seen.image_from_map),
                pictorial.roots(triangulated, skeleton.root),
                np.array([people[person].length_mm for person in seen.keys.person.tolist()]),
                seen.points,
            )
            agree = off < config.reproj_threshold_px  # (frames, views, joints)
            number = agree.sum(axis=1)
            error = np.where(number > 0, np.where(agree, off, 0).sum(axis=1) / np.maximum(number, 1), np.nan)
            found.put(rows, joints, agree, error, status)
            errors.append(error[np.isfinite(error)].astype(np.float32))
            statuses += np.bincount(status.ravel(), minlength=len(Status))
            agreeing += int(number.sum())
            bar.update(len(joints))

    if limbs is not None:
        write_json(limbs, _written(people, skeleton))
    error, count = np.concatenate(errors), max(statuses.sum(), 1)
    values = {
        "coverage": 100 * statuses[Status.KNOWN] / count,
        "reproj_px_median": np.median(error) if error.size else np.nan,
        "views_mean": agreeing / statuses[Status.KNOWN] if statuses[Status.KNOWN] else np.nan,
        "refused": {each.name.lower(): 100 * statuses[each] / count for each in (Status.NO_ROOT, Status.NO_SUPPORT)},
    }
    write_json(metrics, values)
    print(f"{out}: {values['coverage']:.1f} % of the joints known, {values['views_mean']:.1f} views agree with one")


def _search(device: str) -> tuple[Callable[..., tuple[np.ndarray, np.ndarray]], Callable[[Heatmaps, np.ndarray], Any]]:
    """`pictorial.search`, or the same on a GPU, and what makes the maps for it. Only who asks for a GPU waits for torch."""
    if device != "cpu":
        from pipeline.geometry import pictorial_torch

        def on_the_gpu(seen: Heatmaps, rows: np.ndarray) -> Any:
            return pictorial_torch.whole(
                seen.windows[rows],
                seen.corners[rows],
                seen.background[rows],
                seen.background_scale[rows],
                seen.map_size,
            )

        if pictorial_torch.has_gpu():
            return pictorial_torch.search, on_the_gpu
        if device == "cuda":
            raise ValueError("rpsm.device: cuda was asked for, and torch finds no GPU; cpu and auto do without")
    return pictorial.search, Heatmaps.maps


def _bodies(
    search: Callable[..., tuple[np.ndarray, np.ndarray]],
    maps_of: Callable[[Heatmaps, np.ndarray], Any],
    seen: Heatmaps,
    cameras: tuple[Camera, ...],
    rows: np.ndarray,
    map_from_image: np.ndarray,
    centres: np.ndarray,
    limb_mm: np.ndarray,
    points: np.ndarray,
    config: Rpsm,
) -> tuple[np.ndarray, ...]:
    """Joints and their status, as of `pictorial.search`, and how far from each view's peaks they are shown."""

    def maps(some: slice) -> Any:
        return maps_of(seen, rows[some])

    joints, status = search(maps, map_from_image, cameras, centres, limb_mm, seen.skeleton.parents, config)
    return joints, status, agreement.reprojection_errors(joints, points, cameras)


def _limbs(poses: Path, person: np.ndarray, skeleton: Skeleton) -> dict[str, Limbs]:
    """The limbs of every person, measured in some of their triangulated poses."""
    wanted = sample_evenly(person, _MEASURED)
    parts = [
        (joints[wanted[rows]], inliers[wanted[rows]].sum(axis=1))
        for rows, joints, inliers in pose_file.joint_blocks(poses)
    ]
    if not parts:
        return {}
    joints, views = (np.concatenate(column) for column in zip(*parts, strict=True))
    return limb_lengths(joints, views, person[wanted], skeleton)


def _written(people: dict[str, Limbs], skeleton: Skeleton) -> dict[str, Any]:
    """limbs.json: for each person and limb how long it is, and where that is from."""
    names = skeleton.joints
    return {
        "about": "Medians over this rig's own triangulated poses, both sides of the body together. No label was read.",
        "people": {
            person: {
                f"{names[parent]}-{names[child]}": {
                    "length_mm": limbs.length_mm[child],
                    "spread_mm": limbs.spread_mm[child],
                    "measurements": limbs.measurements[child],
                    "source": limbs.source[child] or "nobody showed it",
                }
                for parent, child in skeleton.limbs
            }
            for person, limbs in people.items()
        },
    }


if __name__ == "__main__":
    cli.run(main, Rpsm)
