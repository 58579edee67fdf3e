"""Refuse a calibration that cannot be right, before any frame is prepared with it.

These checks need no 3D joints: camera orientations, the agreement of 2D detections, and the height of the person's boxes.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.geometry.viewing import inside_image, transposed

# Median height of a person's boxes: the lower limit allows for lying down, the upper one for raised arms.
_PERSON_MM = (350.0, 3500.0)
_ADVICE = "expected the camera's axes from the world's, x_camera = R x_world + translation"


def check_person_height(box: np.ndarray, cameras: Sequence[Camera], path: Path) -> float:
    """Return the person's median height, and refuse a calibration that makes the person a dwarf or a giant.

    Args:
        box: (frames, views, 4) px, x1 y1 x2 y2 around the person; NaN where missing.
        cameras: (views,) of the boxes.
        path: the calibration, for error messages.

    Returns:
        mm; NaN if no frame group has boxes in two views.

    Raises:
        ValueError: the height is outside of 0.35 to 3.5 m.
    """
    frames = np.flatnonzero(np.isfinite(box).all(axis=-1).sum(axis=1) >= 2)
    if not len(frames):
        return float("nan")
    some = frames[np.unique(np.linspace(0, len(frames) - 1, 200).astype(int))]
    middle = (box[some, :, :2] + box[some, :, 2:]) / 2
    across, offset = np.zeros((len(some), 3, 3)), np.zeros((len(some), 3))
    for view, camera in enumerate(cameras):
        rays = np.concatenate([camera.undistort(middle[:, view]), np.ones((len(some), 1))], axis=-1)
        rays = rays @ np.linalg.inv(camera.K).T @ camera.R  # world
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        projector = (
            np.nan_to_num(np.eye(3) - rays[:, :, None] * rays[:, None, :])
            * np.isfinite(rays).all(axis=-1)[:, None, None]
        )
        across, offset = across + projector, offset + projector @ camera.centre
    solvable = np.linalg.cond(across) < 1e6
    if not solvable.any():
        return float("nan")
    position = np.linalg.solve(across[solvable], offset[solvable][..., None])[..., 0]
    heights = [
        camera.camera_from_world(position)[:, 2]
        / camera.K[1, 1]
        * (box[some][solvable][:, view, 3] - box[some][solvable][:, view, 1])
        for view, camera in enumerate(cameras)
    ]
    height = float(np.nanmedian(heights))
    low, high = _PERSON_MM
    if not low <= height <= high:
        factor = 10.0 ** np.round(np.log10(1700.0 / max(abs(height), 1e-9)))
        hint = f"; if its units were {factor:g} times as large, {height * factor / 1000:.2g} m" if height > 0 else ""
        raise ValueError(
            f"{path}: by their boxes the person is {height / 1000:.3g} m tall, expected {low / 1000:g} to {high / 1000:g}"
            f"{hint}; see target.rig.units"
        )
    return height


def check_orientations(cameras: Sequence[Camera], path: Path) -> None:
    """Refuse a rig with a camera that shares its view with no other, or that only a transposed rotation makes upright.

    A rotation written the wrong way round (world axes from camera axes) is a proper rotation, and the world's origin stays
    in the image with it. But the camera then leans by its compass direction.

    Args:
        cameras: (views,).
        path: the calibration, for error messages.

    Raises:
        ValueError: names the cameras.
    """
    other_way = [transposed(camera) for camera in cameras]
    blind = _views_without_overlap(cameras)
    if blind:
        hint = "; with every rotation transposed, all do" if not _views_without_overlap(other_way) else ""
        raise ValueError(
            f"{path}: camera {cameras[blind[0]].name} sees nothing that another camera sees{hint}; {_ADVICE}; "
            "target.views chooses among cameras"
        )
    suspects = [i for i, camera in enumerate(cameras) if _lean_deg(camera) > 45 and _lean_deg(other_way[i]) < 30]
    corrected = [other_way[i] if i in suspects else camera for i, camera in enumerate(cameras)]
    if suspects and all(_lean_deg(camera) < 45 for camera in corrected):
        raise ValueError(_refusal(cameras, suspects, path, "they stand upright with the rotation transposed"))


def check_agreement(cameras: Sequence[Camera], path: Path, agreement: Callable[[Sequence[Camera]], float]) -> None:
    """Refuse a rig that agrees much better with its detections when some rotations are transposed.

    Args:
        cameras: (views,).
        path: the calibration, for error messages.
        agreement: returns how well a rig agrees with the detections: the mean over its pairs of views, 0 to 1
            (geometry/association.py).

    Raises:
        ValueError: names the cameras.
    """
    other_way = [transposed(camera) for camera in cameras]
    given = agreement(cameras)
    none, every = frozenset[int](), frozenset(range(len(cameras)))
    best, changed = max(_transpose_greedily(cameras, other_way, start, agreement) for start in (none, every))
    # Only pairs with a transposed camera change: these must gain, and the cameras must not fall over.
    views, kept = len(cameras), len(cameras) - len(changed)
    share = 1 - kept * (kept - 1) / (views * (views - 1))
    upright = all(_lean_deg(other_way[i]) <= max(_lean_deg(cameras[i]), 30) for i in changed)
    if changed and upright and best - given > 0.25 * share:
        why = f"the detections then agree at {best:.0%}, now at {given:.0%}"
        raise ValueError(_refusal(cameras, changed, path, why))


def _transpose_greedily(
    cameras: Sequence[Camera],
    other_way: Sequence[Camera],
    start: frozenset[int],
    agreement: Callable[[Sequence[Camera]], float],
) -> tuple[float, list[int]]:
    """Return the agreement and the indices of the transposed cameras.

    From `start` on, the camera that helps most is transposed, as long as one helps.
    """

    def of(indices: frozenset[int]) -> float:
        return agreement([other_way[i] if i in indices else camera for i, camera in enumerate(cameras)])

    indices, best = start, of(start)
    while True:
        trials = [(of(indices ^ {i}), indices ^ {i}) for i in range(len(cameras))]
        score, trial = max(trials, key=lambda pair: pair[0])
        if score <= best:
            return best, sorted(indices)
        indices, best = trial, score


def _views_without_overlap(cameras: Sequence[Camera]) -> list[int]:
    """Return the cameras that share no position between 0.3 and 30 m ahead with any other camera."""
    depths = np.geomspace(300.0, 30000.0, 24)
    grid = np.stack(np.meshgrid([0.1, 0.5, 0.9], [0.1, 0.5, 0.9]), axis=-1).reshape(-1, 2)
    alone = []
    for i, camera in enumerate(cameras):
        pixels = np.concatenate([grid * camera.size, np.ones((len(grid), 1))], axis=-1)
        rays = pixels @ np.linalg.inv(camera.K).T
        ahead = (rays[:, None] * depths[:, None]).reshape(-1, 3) @ camera.R + camera.centre  # world mm
        if not any(inside_image(other, ahead).any() for k, other in enumerate(cameras) if k != i):
            alone.append(i)
    return alone


def _refusal(cameras: Sequence[Camera], indices: Sequence[int], path: Path, why: str) -> str:
    names = ", ".join(cameras[i].name for i in indices)
    subject = f"the rotation of camera {names} seems" if len(indices) == 1 else f"the rotations of cameras {names} seem"
    return f"{path}: {subject} to be transposed ({why}); {_ADVICE}"


def _lean_deg(camera: Camera) -> float:
    """Return the degrees between the image's up and the world's, seen along the optical axis: 0 for a level camera."""
    return float(np.degrees(np.abs(np.arctan2(camera.R[0, 2], -camera.R[1, 2]))))
