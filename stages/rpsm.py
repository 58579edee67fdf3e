"""RPSM: the heatmaps of all views + limb lengths -> 3D poses, all joints of a body together.

Limb lengths are measured in the rig's own triangulated poses, one set per person. Everything is read and written in blocks of
frames, so memory does not grow with the recording.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Gt
from tqdm import tqdm

from pipeline import cli, crops
from pipeline.files import heatmaps as heatmap_file
from pipeline.files import poses as pose_file
from pipeline.files.atomic import write_json
from pipeline.files.cameras import read_rigs
from pipeline.files.heatmaps import Heatmaps
from pipeline.files.poses import JointStatus
from pipeline.geometry import agreement, pictorial
from pipeline.geometry.camera import Camera
from pipeline.geometry.limbs import Limbs, limb_lengths, sample_evenly
from pipeline.pseudo.held_out import HeldOut
from pipeline.skeleton import Skeleton

_BLOCK = 512  # frames; a GPU searches so many at once
_MEASURED = 5000  # frames of each person in which limbs are measured, at most


@dataclass(frozen=True, kw_only=True)
class Rpsm(pictorial.Search):
    """Section `rpsm` of params.yaml: the keys of `Search`, and

    Attributes:
        reproj_threshold_px: px of the full image; a view is recorded as agreeing when its keypoint is nearer than this to the
            projected joint. It changes no position.
        device: the device that searches; "auto" is a GPU if there is one. Positions are the same to 1e-3 mm.
    """

    reproj_threshold_px: Annotated[float, Gt(0)]
    device: Literal["cpu", "cuda", "auto"] = "cpu"


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
    """Write the poses of RPSM.

    Args:
        heatmaps: the model's heatmaps and keypoints.
        cameras: the target's rigs.
        poses: the triangulated poses, which limb lengths and roots are taken from.
        out: the poses, written as HDF5.
        metrics: coverage and agreement, written as JSON.
        limbs: the limb lengths of each person, written as JSON.
    """
    keys, views, skeleton = heatmap_file.read_header(heatmaps)
    keys.require_same(pose_file.read_header(poses)[0], str(poses))
    rigs = read_rigs(cameras)
    held_out.mask(views, str(heatmaps))  # these two refuse mistakes now, not after an hour
    rigs.groups(keys, views, str(heatmaps))
    people = _limbs(poses, keys.person, skeleton)
    search, render = _search(config.device)

    errors, statuses, agreeing = [np.empty(0, dtype=np.float32)], np.zeros(len(JointStatus), dtype=int), 0
    blocks = zip(heatmap_file.blocks(heatmaps, _BLOCK), pose_file.joint_blocks(poses, _BLOCK), strict=True)
    with (
        pose_file.writing(out, keys, views, skeleton) as writer,
        tqdm(total=len(keys), desc="rpsm", disable=None) as bar,
    ):
        for (rows, seen), (_, triangulated, _) in blocks:
            held_out.hide(views, seen.image_from_map, seen.keypoints)
            bodies = pictorial.Bodies(
                centres=pictorial.roots(triangulated, skeleton.root),
                limb_mm=np.array([people[person].length_mm for person in seen.keys.person.tolist()]),
                parents=skeleton.parents,
            )
            joints, status, error_px = rigs.map_by_rig(
                seen.keys,
                views,
                str(heatmaps),
                partial(_search_rig, seen=seen, bodies=bodies, config=config, search=search, render=render),
                np.arange(len(seen.keys)),
            )
            agree = error_px < config.reproj_threshold_px  # (frames, views, joints)
            number = agree.sum(axis=1)
            error = np.where(number > 0, np.where(agree, error_px, 0).sum(axis=1) / np.maximum(number, 1), np.nan)
            writer.put(rows, joints, agree, error, status)
            errors.append(error[np.isfinite(error)].astype(np.float32))
            statuses += np.bincount(status.ravel(), minlength=len(JointStatus))
            agreeing += int(number.sum())
            bar.update(len(joints))

    if limbs is not None:
        write_json(limbs, _limbs_table(people, skeleton))
    error, count = np.concatenate(errors), max(statuses.sum(), 1)
    values = {
        "coverage": 100 * statuses[JointStatus.KNOWN] / count,
        "reproj_px_median": np.median(error) if error.size else np.nan,
        "views_mean": agreeing / statuses[JointStatus.KNOWN] if statuses[JointStatus.KNOWN] else np.nan,
        "refused": {
            each.name.lower(): 100 * statuses[each] / count for each in (JointStatus.NO_ROOT, JointStatus.NO_SUPPORT)
        },
    }
    write_json(metrics, values)
    print(f"{out}: {values['coverage']:.1f} % of the joints known, with {values['views_mean']:.1f} agreeing views each")


SearchFunction = Callable[..., tuple[np.ndarray, np.ndarray]]
Render = Callable[[Heatmaps, np.ndarray], Any]


def _search(device: str) -> tuple[SearchFunction, Render]:
    """Return `pictorial.search` and the function that renders its maps, or both for a GPU.

    torch is imported only when a GPU is requested.
    """
    if device != "cpu":
        from pipeline.geometry import pictorial_torch

        def render_on_gpu(seen: Heatmaps, rows: np.ndarray) -> Any:
            return pictorial_torch.whole(
                seen.peak_patches[rows],
                seen.patch_corners[rows],
                seen.coarse_map[rows],
                seen.coarse_scale[rows],
                seen.map_size,
            )

        if pictorial_torch.has_gpu():
            return pictorial_torch.search, render_on_gpu
        if device == "cuda":
            raise ValueError("rpsm.device: cuda was requested, and torch finds no GPU; cpu and auto work without one")
    return pictorial.search, Heatmaps.maps


def _search_rig(
    cameras: tuple[Camera, ...],
    rows: np.ndarray,
    *,
    seen: Heatmaps,
    bodies: pictorial.Bodies,
    config: Rpsm,
    search: SearchFunction,
    render: Render,
) -> tuple[np.ndarray, ...]:
    """Return the joints and statuses of some frames of one rig, and the errors in px of each view's keypoints."""
    joints, status = search(
        lambda some: render(seen, rows[some]),
        crops.inverse(seen.image_from_map[rows]),
        cameras,
        bodies.take(rows),
        config,
    )
    return joints, status, agreement.reprojection_errors(joints, seen.keypoints[rows], cameras)


def _limbs(poses: Path, person: np.ndarray, skeleton: Skeleton) -> dict[str, Limbs]:
    """Return the limbs of every person, measured in some of their triangulated poses."""
    sampled = sample_evenly(person, _MEASURED)
    parts = [
        (joints[sampled[rows]], inliers[sampled[rows]].sum(axis=1))
        for rows, joints, inliers in pose_file.joint_blocks(poses)
    ]
    if not parts:
        return {}
    joints, num_views = (np.concatenate(column) for column in zip(*parts, strict=True))
    return limb_lengths(joints, num_views, person[sampled], skeleton)


def _limbs_table(people: dict[str, Limbs], skeleton: Skeleton) -> dict[str, Any]:
    """Return the content of limbs.json: each limb's length for each person, and its source."""
    names = skeleton.joint_names
    return {
        "about": "Medians over this rig's own triangulated poses, both sides of the body together. No label was read.",
        "people": {
            person: {
                f"{names[parent]}-{names[child]}": {
                    "length_mm": limbs.length_mm[child],
                    "spread_mm": limbs.spread_mm[child],
                    "measurements": limbs.measurements[child],
                    "source": limbs.source[child] or "never measured",
                }
                for parent, child in skeleton.limbs
            }
            for person, limbs in people.items()
        },
    }


if __name__ == "__main__":
    cli.run(main, Rpsm)
