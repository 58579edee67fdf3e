"""Is this the calibration of these pictures? Told from 2D joints alone: no label, no picture.

A person seen by all cameras is a calibration target that is always there. What is wrong with one camera shows in how far its
joints are from what the *others* agree on, and what would mend it says what is wrong: joints that fall into place when they
are taken from other frames are late, those that do when the camera is turned and shifted are of a camera that has moved.
What is wrong with all cameras together, units and axes, shows in the body only: its size, its stance, which way its knees bend.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations, permutations

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from pipeline.geometry.camera import Camera
from pipeline.metrics import labelfree
from pipeline.skeleton import Skeleton

# Medians of adults, mm; children and giants are 0.4 to 1.4 of them, other units are not.
_ADULT_MM = {"knee": ("hip", 430.0), "ankle": ("knee", 420.0), "elbow": ("shoulder", 290.0), "wrist": ("elbow", 255.0)}
_BODY_SCALES = 0.4, 1.5
_UNITS = {1000.0: "m", 10.0: "cm", 25.4: "inches", 304.8: "feet", 0.1: "a tenth of a mm", 0.001: "µm"}
_SIZES = (1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 4 / 3, 3 / 2, 2, 3, 4)
_FRAMES = 600  # that hypotheses are tried on
_LEAST = 60  # joints; of fewer nothing is concluded
_FLOOR = 0.006  # of the picture's diagonal; what is nearer to the others than this needs no mending
_LOOSE = 0.003  # of the diagonal; a shift of all joints by more is the calibration's, not the detector's
_MENDED = 0.6  # of the error is left, at most, by what is really wrong
_SHIFTED = 0.4  # of the noise, that a camera's move has to shift its joints by
_LOST = 0.02  # of the diagonal; cameras that were taken for others, or whole rigs in other axes, are off by more
_WORST = 0.1  # of the diagonal, what a joint counts at most, and one that the other views say nothing of
_LATE = 0.9  # the same for frames: who moves slowly is hardly displaced
_PUSHED = 4.0  # times the scatter from one part of a recording to the next, by which a camera that was pushed jumps
_PARTS = 24


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or may be.

    Attributes:
        kind: "lens", "picture_size", "placement", "units", "up", "mirrored", "exchanged", "transposed", "time", "moved",
            "pushed", "focal_length", "disagreement", "loose", "unknown".
        camera: whose; "" for the rig's as a whole.
        sentence: what is seen, and what to do.
        figures: by name.
        serious: not only a doubt: labels that are made with this rig would be wrong.
    """

    kind: str
    camera: str
    sentence: str
    figures: dict[str, float] = field(default_factory=dict)
    serious: bool = True


@dataclass(frozen=True)
class Rules:
    """When views agree, as in geometry/ransac.py, and how many frames (as numbered in rows) a view may be out of step."""

    confidence_threshold: float
    reproj_threshold_px: float
    min_ray_angle_deg: float
    most_shift: int


@dataclass(frozen=True, eq=False)
class Sight:
    """What a rig saw of one person.

    Attributes:
        points: (frames, views, joints, 2) px of the full picture; NaN where not seen.
        scores: (frames, views, joints).
        sequence: (frames,) text; frames are in order within a sequence.
        number: (frames,) int, the frames' numbers in their sequence.
        skeleton: what the joints are called.
    """

    points: np.ndarray
    scores: np.ndarray
    sequence: np.ndarray
    number: np.ndarray
    skeleton: Skeleton

    def take(self, rows: np.ndarray) -> "Sight":
        return Sight(self.points[rows], self.scores[rows], self.sequence[rows], self.number[rows], self.skeleton)

    def moved(self, view: int, points: np.ndarray) -> "Sight":
        """With other points in one view."""
        changed = self.points.copy()
        changed[:, view] = points
        return replace(self, points=changed)

    @property
    def step(self) -> int:
        """From one frame's number to the next one's."""
        steps = np.diff(self.number)[self.sequence[1:] == self.sequence[:-1]]
        return int(np.median(steps)) if len(steps) else 1


@dataclass(frozen=True)
class Checked:
    """What was found, and figures by camera: `off_px`, how far from what the others say (median), its share of all such
    errors, `bias_px`, how far all its joints together are aside; and `apart_px`, the median distance of each pair of cameras
    from each other's epipolar lines."""

    findings: tuple[Finding, ...]
    by_camera: dict[str, dict[str, float]]
    apart_px: dict[str, float]
    body_scale: float
    coverage: float


def check(sight: Sight, cameras: tuple[Camera, ...], rules: Rules) -> Checked:
    """Everything that can be said of a rig from what it saw.

    Args:
        cameras: one a view.
    """
    seen = np.isfinite(sight.points).all(axis=-1) & (sight.scores > rules.confidence_threshold)
    sight = replace(
        sight, points=np.where(seen[..., None], sight.points, np.nan), scores=np.where(seen, sight.scores, 0.0)
    )
    findings = [*_of_lenses(cameras), *_outside(sight, cameras)]
    if any(finding.kind == "placement" for finding in findings):
        return Checked(tuple(findings), {}, {}, float("nan"), float("nan"))
    apart = labelfree.pair_distances(sight.points, seen, cameras)
    pairs = list(combinations(range(len(cameras)), 2))
    apart_px = {f"{cameras[a].name}/{cameras[b].name}": _median(apart[:, i]) for i, (a, b) in enumerate(pairs)}
    by_camera = _figures(sight, cameras, rules)
    if len(cameras) > 2:
        pushed, sight = _pushed(sight, cameras, rules)
        found, sight, cameras = _mend(sight, cameras, rules)
        findings += [*pushed, *found, *_loose(sight, cameras, rules)]
    elif len(cameras) == 2:
        findings += _of_two(sight, cameras, rules)
    joints = _triangulated(sight, cameras, rules)
    scale = _body_scale(joints, sight.skeleton)
    known = float(np.isfinite(joints[..., 0]).mean()) if joints.size else 0.0
    findings += _of_the_body(joints, sight.skeleton, scale)
    if seen.sum() < _LEAST or not np.isfinite(scale):
        findings.append(
            Finding(
                "unknown",
                "",
                "hardly any joint is seen by two cameras that agree: the rig could not be checked against a person; let "
                "somebody walk through it, and give detections (target.detector) or a network that knows people",
                serious=False,
            )
        )
    return Checked(tuple(findings), by_camera, apart_px, scale, 100 * known)


# --- what a calibration says of itself ------------------------------------------------------------------------------


def _of_lenses(cameras: Sequence[Camera]) -> Iterator[Finding]:
    for camera in cameras:
        width, height = camera.size
        fx, fy, (cx, cy) = camera.K[0, 0], camera.K[1, 1], camera.K[:2, 2]
        off = max(abs(cx - (width - 1) / 2) / width, abs(cy - (height - 1) / 2) / height)
        if off > 0.15:
            turned = max(abs(cx - (height - 1) / 2) / height, abs(cy - (width - 1) / 2) / width) < 0.1
            why = (
                "as of a picture that was turned by 90 degrees"
                if turned
                else "as of a picture of another size, or a part"
            )
            yield Finding(
                "picture_size",
                camera.name,
                f"its lens's centre ({cx:.0f}, {cy:.0f}) is far from the middle of its {width}x{height} picture, {why}: "
                "calibrate with pictures of the size and stance that are recorded, or state their size in the calibration",
                {"centre_off": off},
            )
        angle = float(np.degrees(2 * np.arctan(width / 2 / fx)))
        if not 8 < angle < 150:
            yield Finding(
                "lens",
                camera.name,
                f"by its focal length of {fx:.0f} px it would see {angle:.0f} degrees across: is that px, and of this "
                "picture's size?",
                {"degrees": angle},
            )
        if abs(fx / fy - 1) > 0.05:
            yield Finding(
                "lens",
                camera.name,
                f"its focal lengths differ, {fx:.0f} and {fy:.0f} px, as if its pixels were no squares: was the picture "
                "stretched after it was calibrated?",
                {"ratio": fx / fy},
                serious=False,
            )
        rim = _rim(width, height)
        straight = camera.undistort(rim)
        lost = ~np.isfinite(straight).all(axis=-1)
        moved = np.linalg.norm(straight - rim, axis=-1) / (np.hypot(width, height) / 2)
        if lost.mean() > 0.02:
            yield Finding(
                "lens",
                camera.name,
                f"its distortion {np.round(camera.distortion, 3).tolist()} turns back inside the picture, at "
                f"{lost.mean():.0%} of its rim: coefficients in another order, of a fisheye (target.lens), or from too few "
                "calibration pictures near the rim",
                {"rim_lost": float(lost.mean())},
            )
        elif np.nanmax(moved) > 0.5:
            yield Finding(
                "lens",
                camera.name,
                f"its distortion {np.round(camera.distortion, 3).tolist()} moves the picture's corners by "
                f"{np.nanmax(moved):.0%} of half the diagonal: coefficients in another order, or of another lens?",
                {"corner_moved": float(np.nanmax(moved))},
            )
    between = {(a.name, b.name): float(np.linalg.norm(a.centre - b.centre)) for a, b in combinations(cameras, 2)}
    usual = float(np.median(list(between.values()))) if between else 0.0
    for a, b in combinations(cameras, 2):
        if between[a.name, b.name] < min(10.0, 0.02 * usual):
            yield Finding(
                "placement",
                a.name,
                f"stands where {b.name} stands: is one of them in the calibration twice? Leave it out by target.views",
            )


def _rim(width: int, height: int) -> np.ndarray:
    """(points, 2) px around a picture."""
    along = np.linspace(0, 1, 25)
    x, y = along * (width - 1), along * (height - 1)
    sides = [
        np.stack([x, np.zeros(25)], axis=-1),
        np.stack([x, np.full(25, height - 1.0)], axis=-1),
        np.stack([np.zeros(25), y], axis=-1),
        np.stack([np.full(25, width - 1.0), y], axis=-1),
    ]
    return np.concatenate(sides)


def _outside(sight: Sight, cameras: Sequence[Camera]) -> Iterator[Finding]:
    for view, camera in enumerate(cameras):
        own = sight.points[:, view]
        own = own[np.isfinite(own).all(axis=-1)]
        if len(own) < _LEAST:
            continue
        beyond = ((own < -1) | (own > np.array(camera.size))).any(axis=-1).mean()
        if beyond > 0.05:
            yield Finding(
                "picture_size",
                camera.name,
                f"{beyond:.0%} of the joints seen in it lie outside of its {camera.size[0]}x{camera.size[1]} picture: the "
                "detector saw pictures of another size; detect on the pictures that are given as data.target",
                {"outside": float(beyond)},
            )


# --- what cameras say of one another ---------------------------------------------------------------------------------


def _triangulated(sight: Sight, cameras: tuple[Camera, ...], rules: Rules, without: int | None = None) -> np.ndarray:
    """(frames, joints, 3) world mm by the views that agree, one left out or none; NaN where too few do."""
    return labelfree.consensus_joints(
        sight.points,
        sight.scores,
        cameras,
        without=without,
        confidence_threshold=rules.confidence_threshold,
        reproj_threshold_px=rules.reproj_threshold_px,
        min_ray_angle_deg=rules.min_ray_angle_deg,
    )


def _aside(sight: Sight, cameras: tuple[Camera, ...], rules: Rules, view: int) -> np.ndarray:
    """(frames, joints, 2) px from where a view sees the joints to where the other views say that they are."""
    return cameras[view].project(_triangulated(sight, cameras, rules, view)) - sight.points[:, view]


def _figures(sight: Sight, cameras: tuple[Camera, ...], rules: Rules) -> dict[str, dict[str, float]]:
    if len(cameras) < 3:
        return {camera.name: {} for camera in cameras}
    limit = _WORST * _diagonal(cameras)
    found, cost = {}, np.full(len(cameras), limit)
    for view, camera in enumerate(cameras):
        aside = _aside(sight, cameras, rules, view)
        off = np.linalg.norm(aside, axis=-1)
        found[camera.name] = {
            "off_px": _median(off),
            "bias_px": float(np.linalg.norm(_middle(aside))),
            "known": 100 * float(np.isfinite(off).mean()),
        }
        seen = np.isfinite(sight.points[:, view, :, 0])
        if seen.any():
            cost[view] = _bounded(off, limit)[seen].mean()
    for camera, each in zip(cameras, cost / max(cost.sum(), 1e-9), strict=True):
        found[camera.name]["share"] = 100 * float(each)
    return found


def _diagonal(cameras: Sequence[Camera]) -> float:
    """px, of the usual picture."""
    return float(np.median([np.hypot(*camera.size) for camera in cameras]))


def _bounded(off: np.ndarray, limit: float) -> np.ndarray:
    """px, at most `limit`, which is also what counts where nothing is known."""
    return np.minimum(np.where(np.isfinite(off), off, limit), limit)


def _cost(sight: Sight, cameras: tuple[Camera, ...], rules: Rules, limit: float) -> float:
    """px, the mean distance of joints from what the other views say; what these do not know counts `limit`."""
    total, count = 0.0, 0
    for view in range(len(cameras)):
        seen = np.isfinite(sight.points[:, view, :, 0])
        off = np.linalg.norm(_aside(sight, cameras, rules, view), axis=-1)
        total += float(_bounded(off, limit)[seen].sum())
        count += int(seen.sum())
    return total / count if count else np.inf


def _as_they_are(sight: Sight) -> Sight:
    return sight


@dataclass(frozen=True, eq=False)
class _Remedy:
    """What would put a camera, or the rig, right: then `cameras` are what they should have been, and what they saw, changed.

    Attributes:
        freedom: how many numbers it may choose; of two that do as well the plainer is right.
        enough: what it must leave of the whole rig's error, at most, as a share.
        change: of any frames.
    """

    finding: Finding
    cameras: tuple[Camera, ...]
    freedom: int
    enough: float
    change: Callable[[Sight], Sight] = _as_they_are


def _mend(sight: Sight, cameras: tuple[Camera, ...], rules: Rules) -> tuple[list[Finding], Sight, tuple[Camera, ...]]:
    """Find what is wrong by what puts it right, the gravest first, until nothing more is clearly wrong."""
    whole, sight = sight, sight.take(_some(sight))
    diagonal = _diagonal(cameras)
    limit, findings = _WORST * diagonal, list[Finding]()
    for _ in range(2 * len(cameras)):
        before = _cost(sight, cameras, rules, limit)
        if not np.isfinite(before) or before < 0.25 * _FLOOR * diagonal:
            break
        good = []
        for remedy in _remedies(sight, cameras, rules, diagonal):
            after = _cost(remedy.change(sight), remedy.cameras, rules, limit) / before
            if after < remedy.enough:
                good.append((after * 1.05**remedy.freedom, remedy))
        if not good:
            break
        _, best = min(good, key=lambda pair: pair[0])
        findings.append(best.finding)
        sight, whole, cameras = best.change(sight), best.change(whole), best.cameras
    left = _cost(sight, cameras, rules, limit)
    if np.isfinite(left) and left > 0.75 * limit:
        share = 100 * float(np.isfinite(_triangulated(sight, cameras, rules)[..., 0]).mean())
        findings.append(
            Finding(
                "disagreement",
                "",
                f"the cameras contradict one another everywhere ({share:.0f} % of the joints are seen alike by two of them): "
                "is this the calibration of this recording, do its names belong to these videos, are its rotations "
                "camera-from-world (target.extrinsics), and does the detector know such people?",
                {"known": share},
            )
        )
    return findings, whole, cameras


def _some(sight: Sight) -> np.ndarray:
    """Rows of runs of frames, equally long ones of each sequence, _FRAMES together at most."""
    names = list(dict.fromkeys(sight.sequence.tolist()))
    each = max(_FRAMES // max(len(names), 1), 8)
    rows = [np.flatnonzero(sight.sequence == name)[:each] for name in names]
    return np.concatenate(rows)[: 4 * _FRAMES] if rows else np.empty(0, dtype=int)


def _remedies(sight: Sight, cameras: tuple[Camera, ...], rules: Rules, diagonal: float) -> Iterator[_Remedy]:
    """All that may be wrong and would explain what is seen, of single cameras and of the rig."""
    others = [_triangulated(sight, cameras, rules, view) for view in range(len(cameras))]
    base = np.array([_off(camera, others[v], sight.points[:, v]) for v, camera in enumerate(cameras)])
    for view, camera in enumerate(cameras):
        own, joints = sight.points[:, view], others[view]
        if not np.isfinite(base[view]) and not np.isinf(base[view]):
            continue
        yield from _late(sight, cameras, rules, view, joints, base[view])
        if not base[view] > _FLOOR * diagonal:
            continue
        for finding, change in _other_pictures(camera):
            if _off(camera, joints, change(own)) / base[view] < _MENDED:
                yield _Remedy(finding, cameras, 0, 0.9, partial(_changed, view=view, change=change))
        for finding, changed, freedom in _other_cameras(camera, joints, own):
            left = _off(changed, joints, own) / base[view]
            if _is_mended(finding, left, base[view], diagonal):
                changed_rig = (*cameras[:view], changed, *cameras[view + 1 :])
                yield _Remedy(finding, changed_rig, freedom, 0.98 if freedom <= 1 else 0.95)
    lost = [view for view in range(len(cameras)) if not base[view] < _LOST * diagonal]
    for pair in combinations(lost, 2):
        yield _exchanged(cameras, pair)
    if len(lost) <= 5:
        for first, *others_of_ring in permutations(lost, 3):
            if first < min(others_of_ring):
                yield _exchanged(cameras, (first, *others_of_ring))
    if len(lost) > len(cameras) / 2:
        yield from _whole_rig(cameras)


def _changed(sight: Sight, view: int, change: Callable[[np.ndarray], np.ndarray]) -> Sight:
    return sight.moved(view, change(sight.points[:, view]))


def _late_by(sight: Sight, view: int, shift: int) -> Sight:
    return sight.moved(view, _shifted(sight, view, shift))


def _is_mended(finding: Finding, left: float, base: float, diagonal: float) -> bool:
    """A camera that has moved shifts its joints by more than a share of the detector's noise, which stays."""
    if finding.kind in ("moved", "focal_length"):
        return finding.figures["shift_px"] > max(_FLOOR * diagonal, _SHIFTED * left * base)
    return left < _MENDED


def _off(camera: Camera, joints: np.ndarray, points: np.ndarray) -> float:
    """px, the median distance; a joint that the camera cannot see counts as infinitely far. NaN where too few are known."""
    both = np.isfinite(joints[..., 0]) & np.isfinite(points[..., 0])
    if both.sum() < _LEAST:
        return float("nan")
    off = np.linalg.norm(camera.project(joints[both]) - points[both], axis=-1)
    return float(np.median(np.where(np.isfinite(off), off, np.inf)))


def _late(
    sight: Sight, cameras: tuple[Camera, ...], rules: Rules, view: int, joints: np.ndarray, base: float
) -> Iterator[_Remedy]:
    off = {}
    for shift in range(-rules.most_shift, rules.most_shift + 1):
        points = _shifted(sight, view, shift)
        if np.isfinite(points[..., 0]).sum() >= 0.5 * np.isfinite(sight.points[:, view, :, 0]).sum():
            off[shift] = _off(cameras[view], joints, points)
    known = {shift: each for shift, each in off.items() if np.isfinite(each)}
    if not known or not np.isfinite(base):
        return
    shift = min(known, key=lambda each: (known[each], abs(each)))
    if shift == 0 or known[shift] > _LATE * base:
        return
    step = sight.step
    word = "early" if shift > 0 else "late"
    finding = Finding(
        "time",
        cameras[view].name,
        f"seems to have begun {abs(shift) * step} frames {word}: {base:.1f} px from what the other cameras say as it is, "
        f"{known[shift]:.1f} px then; set target.offsets to {cameras[view].name}: {shift * step:+d}, or synchronise the cameras",
        {"rows": shift, "frames": shift * step, "off_px": base, "off_px_then": known[shift]},
    )
    yield _Remedy(finding, cameras, 1, 0.97, partial(_late_by, view=view, shift=shift))


def _shifted(sight: Sight, view: int, shift: int) -> np.ndarray:
    """What a view showed `shift` rows later in the same sequence; NaN where there is none, or numbers are missing."""
    points = sight.points[:, view]
    count = len(points)
    rows = np.arange(count) + shift
    inside = (rows >= 0) & (rows < count)
    rows = np.clip(rows, 0, max(count - 1, 0))
    same = inside & (sight.sequence[rows] == sight.sequence) & (sight.number[rows] - sight.number == shift * sight.step)
    return np.where(same[:, None, None], points[rows], np.nan)


def _other_pictures(camera: Camera) -> Iterator[tuple[Finding, Callable[[np.ndarray], np.ndarray]]]:
    """What would happen to joints, (..., 2) px, had the pictures been mirrored, turned or of another size."""
    far = np.array(camera.size) - 1
    turns: list[tuple[str, Callable[[np.ndarray], np.ndarray]]] = [
        ("mirrored left to right", lambda points: points * [-1, 1] + far * [1, 0]),
        ("mirrored top to bottom", lambda points: points * [1, -1] + far * [0, 1]),
        ("turned by 180 degrees", lambda points: far - points),
        ("turned by 90 degrees", lambda points: np.stack([points[..., 1], far[1] - points[..., 0]], axis=-1)),
        ("turned by 270 degrees", lambda points: np.stack([far[0] - points[..., 1], points[..., 0]], axis=-1)),
    ]
    for how, change in turns:
        kind = "mirrored" if how.startswith("mirrored") else "picture_size"
        sentence = (
            f"its pictures seem to be {how} against the calibration: record and calibrate with the same settings of the "
            "camera, or turn the pictures back"
        )
        yield Finding(kind, camera.name, sentence), change
    for size in _SIZES:
        sentence = (
            f"its pictures seem to be {1 / size:.3g} times as large as those that it was calibrated with: state the "
            f"calibrated size, or multiply its matrix's first two rows by {1 / size:.3g}"
        )
        yield Finding("picture_size", camera.name, sentence, {"times": 1 / size}), partial(_resized, times=size)


def _other_cameras(camera: Camera, joints: np.ndarray, points: np.ndarray) -> Iterator[tuple[Finding, Camera, int]]:
    """The camera if its rotation is the inverse, its lens another one, or if it has moved; with the numbers fitted."""
    sentence = (
        "its rotation seems to be transposed (world-from-camera): write camera-from-world, or see target.extrinsics"
    )
    yield Finding("transposed", camera.name, sentence), _transposed(camera), 0
    if camera.distortion.any():
        sentence = (
            f"its distortion {np.round(camera.distortion, 3).tolist()} does worse than none: coefficients in another order, or "
            "pictures that were straightened already"
        )
        yield Finding("lens", camera.name, sentence), replace(camera, distortion=np.zeros(5)), 0
    both = np.flatnonzero(np.isfinite(joints[..., 0]) & np.isfinite(points[..., 0]))
    if len(both) < _LEAST:
        return
    some = both[np.linspace(0, len(both) - 1, min(len(both), 3000)).astype(int)]
    world, seen = joints.reshape(-1, 3)[some], points.reshape(-1, 2)[some]
    zoomed = [_zoomed(camera, factor) for factor in np.geomspace(0.5, 2.0, 57)]
    best = min(zoomed, key=lambda each: _off(each, world, seen))
    factor = best.K[0, 0] / camera.K[0, 0]
    if abs(factor - 1) > 0.02:
        sentence = (
            f"its focal length seems to be {factor:.2f} times the calibrated one: was it zoomed, or its picture cut, after it "
            "was calibrated? Calibrate it again"
        )
        yield (
            Finding("focal_length", camera.name, sentence, {"times": factor, "shift_px": _shift(camera, best, world)}),
            best,
            1,
        )
    before = _off(camera, world, seen)
    for free, freedom in ((3, 1), (6, 4)):
        placed = _placed(camera, world, seen, free)
        away = float(np.linalg.norm(placed.centre - camera.centre))
        turned = float(np.degrees(Rotation.from_matrix(placed.R @ camera.R.T).magnitude()))
        moved = f"turned by {turned:.1f} degrees" + (f" and moved by {away:.0f} mm" if free > 3 else "")
        sentence = (
            f"does not stand as calibrated: {before:.1f} px from what the other cameras say, and "
            f"{_off(placed, world, seen):.1f} px if it had been {moved}; calibrate it again, or leave it out by target.views"
        )
        figures = {"mm": away, "degrees": turned, "off_px": before, "shift_px": _shift(camera, placed, world)}
        yield Finding("moved", camera.name, sentence, figures), placed, freedom


def _shift(camera: Camera, other: Camera, world: np.ndarray) -> float:
    """px, by how much two cameras show the same joints apart (median)."""
    return _median(np.linalg.norm(camera.project(world) - other.project(world), axis=-1))


def _zoomed(camera: Camera, factor: float) -> Camera:
    K = camera.K.copy()
    K[0, :2] *= factor
    K[1, 1] *= factor
    return replace(camera, K=K)


def _placed(camera: Camera, world: np.ndarray, seen: np.ndarray, free: int) -> Camera:
    """Where the camera would see these joints: (n, 3) world mm at (n, 2) px; a robust fit from where it stands.

    Of 6 free numbers 3 are of its rotation, all that is fitted if only 3 are free. People fill a part of the space only, where
    turning and moving look nearly alike: a slight preference for small changes decides between them.
    """
    spread = 0.005 * float(np.hypot(*camera.size))

    def at(numbers: np.ndarray) -> Camera:
        R = Rotation.from_rotvec(numbers[:3]).as_matrix() @ camera.R
        return replace(camera, R=R, centre=camera.centre + (1000 * numbers[3:] if free > 3 else 0))

    def residuals(numbers: np.ndarray) -> np.ndarray:
        off = at(numbers).project(world) - seen
        off = np.where(np.isfinite(off), off, 100 * spread).ravel()
        return np.concatenate([off, 0.1 * np.sqrt(len(off)) * spread * numbers])

    fitted = least_squares(residuals, np.zeros(free), loss="soft_l1", f_scale=spread, max_nfev=60)
    return at(fitted.x)


def _exchanged(cameras: tuple[Camera, ...], ring: Sequence[int]) -> _Remedy:
    """Two cameras in each other's place, or three in a ring: what the first sees fits the second's calibration, and so on."""
    swapped = list(cameras)
    for here, there in zip(ring, (*ring[1:], ring[0]), strict=True):
        swapped[here] = replace(cameras[there], name=cameras[here].name)
    first, second = cameras[ring[0]], cameras[ring[1]]
    if len(ring) == 2:
        sentence = f"seems to have changed places with {second.name}: what each sees fits the other's calibration"
    else:
        fits = [f"{cameras[a].name} {cameras[b].name}'s" for a, b in zip(ring, (*ring[1:], ring[0]), strict=True)]
        sentence = (
            f"seems to have changed places with two others: what they see fits other calibrations, {', '.join(fits)}"
        )
    finding = Finding("exchanged", first.name, f"{sentence}; exchange their names, or their videos")
    return _Remedy(finding, tuple(swapped), 0, 0.85)


def _whole_rig(cameras: tuple[Camera, ...]) -> Iterator[_Remedy]:
    """What is wrong with all cameras alike."""
    far = np.array([camera.size for camera in cameras])[:, None] - 1  # (views, 1, 2) px
    changes: list[tuple[Finding, Callable[[np.ndarray], np.ndarray]]] = [
        (
            Finding(
                "mirrored",
                "",
                "the cameras agree only if every picture is mirrored left to right: either the pictures are (a setting of the "
                "cameras, or of the conversion), or the calibration's world is left-handed; mend what is mirrored",
            ),
            lambda points: points * [-1, 1] + far * [1, 0],
        ),
        (
            Finding(
                "picture_size", "", "the cameras agree only if every picture is turned by 180 degrees: turn them back"
            ),
            lambda points: far - points,
        ),
    ]
    for size in _SIZES:
        sentence = (
            f"the cameras agree only if every picture is {1 / size:.3g} times as large as those that were calibrated: state "
            "the calibrated sizes, or calibrate at this size"
        )
        changes.append((Finding("picture_size", "", sentence, {"times": 1 / size}), partial(_resized, times=size)))
    for finding, change in changes:
        yield _Remedy(finding, cameras, 0, 0.85, partial(_changed_everywhere, change=change))
    sentence = (
        "the cameras agree only if every rotation is transposed: the calibration holds world-from-camera rotations; set "
        "target.extrinsics"
    )
    yield _Remedy(Finding("transposed", "", sentence), tuple(_transposed(camera) for camera in cameras), 0, 0.85)


def _changed_everywhere(sight: Sight, change: Callable[[np.ndarray], np.ndarray]) -> Sight:
    return replace(sight, points=change(sight.points))


def _resized(points: np.ndarray, times: float) -> np.ndarray:
    """(..., 2) px of a picture -> of it at another size."""
    return (points + 0.5) * times - 0.5


def _transposed(camera: Camera) -> Camera:
    """The camera if its file meant the inverse rotation, with the same translation."""
    return replace(camera, R=camera.R.T, centre=-camera.R @ camera.translation)


def _of_two(sight: Sight, cameras: tuple[Camera, ...], rules: Rules) -> Iterator[Finding]:
    """Of two cameras nobody can say which is wrong, and only what leads off the other's epipolar lines is seen at all."""
    diagonal = _diagonal(cameras)
    apart: dict[int, float] = {}
    for shift in range(-rules.most_shift, rules.most_shift + 1):
        points = _late_by(sight, 1, shift).points
        distance = labelfree.pair_distances(points, np.isfinite(points).all(axis=-1), cameras)
        if np.isfinite(distance).sum() >= _LEAST:
            apart[shift] = _median(distance)
    if 0 not in apart:
        return
    best = min(apart, key=lambda each: (apart[each], abs(each)))
    a, b = cameras
    if best and apart[best] < 0.8 * apart[0] and apart[0] > 0.5 * _FLOOR * diagonal:
        yield Finding(
            "time",
            b.name,
            f"seems to have begun {abs(best)} frames of the target {'early' if best > 0 else 'late'} against {a.name}: "
            f"{apart[0]:.1f} px from its epipolar lines as it is, {apart[best]:.1f} px then; see target.offsets",
            {"rows": best, "off_px": apart[0], "off_px_then": apart[best]},
        )
    elif apart[0] > 2 * _FLOOR * diagonal:
        yield Finding(
            "disagreement",
            "",
            f"what {a.name} and {b.name} see is {apart[0]:.1f} px off each other's epipolar lines (median): one of them does not "
            "stand as calibrated, or shows other frames; a third camera would tell which",
            {"off_px": apart[0]},
        )


def _pushed(sight: Sight, cameras: tuple[Camera, ...], rules: Rules) -> tuple[list[Finding], Sight]:
    """Cameras whose joints jump aside at a moment, and stay there; and what would have been seen without the jump."""
    findings: list[Finding] = []
    count = len(sight.number)
    parts = min(_PARTS, count // 8)
    if parts < 6:
        return findings, sight
    part = np.arange(count) * parts // count
    limit = _WORST * _diagonal(cameras)
    before = _cost(sight, cameras, rules, limit)
    for _ in cameras:
        jumps = []
        for view in range(len(cameras)):
            aside = _aside(sight, cameras, rules, view)
            jumps.append(_jump(np.array([_middle(aside[part == each]) for each in range(parts)])))
        trials = []
        for view, (split, step, scatter) in enumerate(jumps):
            size = float(np.linalg.norm(step))
            if size > max(_FLOOR * float(np.hypot(*cameras[view].size)), _PUSHED * scatter):
                back = sight.moved(
                    view, sight.points[:, view] + np.where(part >= split, 1.0, 0.0)[:, None, None] * step
                )
                trials.append((_cost(back, cameras, rules, limit), view, split, size, back))
        if not trials:
            break
        cost, view, split, size, back = min(trials, key=lambda trial: trial[0])
        if cost > 0.95 * before:
            break
        camera, sight, before = cameras[view], back, cost
        row = int(np.flatnonzero(part == split)[0])
        findings.append(
            Finding(
                "pushed",
                camera.name,
                f"seems to have been moved during the recording: from about {sight.sequence[row]}, frame {sight.number[row]}, "
                f"on its joints are {size:.0f} px aside of where they were, against what the other cameras say; give "
                "the parts calibrations of their own, or leave one out (target.first_frame, target.last_frame)",
                {"row": row, "jump_px": size},
            )
        )
    return findings, sight


def _jump(aside: np.ndarray) -> tuple[int, np.ndarray, float]:
    """The clearest step in (parts, 2) px: the part that it comes with, (2,) px, and how much the parts scatter, px."""
    best: tuple[int, np.ndarray, float] = (0, np.zeros(2), np.inf)
    gain = 0.0
    for split in range(2, len(aside) - 1):
        before, after = _middle(aside[:split]), _middle(aside[split:])
        if not np.isfinite([before, after]).all():
            continue
        off = np.concatenate([aside[:split] - before, aside[split:] - after])
        scatter = _median(np.linalg.norm(off, axis=-1))
        step = after - before
        weight = np.sqrt(split * (len(aside) - split))
        if np.linalg.norm(step) * weight / max(scatter, 0.1) > gain:
            gain, best = float(np.linalg.norm(step) * weight / max(scatter, 0.1)), (split, step, scatter)
    return best


def _middle(vectors: np.ndarray) -> np.ndarray:
    """(..., 2) -> (2,) the median of those that are known; NaN where none is."""
    flat = vectors.reshape(-1, 2)
    known = flat[np.isfinite(flat).all(axis=-1)]
    return np.median(known, axis=0) if len(known) else np.full(2, np.nan)


def _loose(sight: Sight, cameras: tuple[Camera, ...], rules: Rules) -> Iterator[Finding]:
    """Cameras whose joints are all aside by the same: not the detector's noise, and not enough to be called moved."""
    for view, camera in enumerate(cameras):
        aside = _aside(sight, cameras, rules, view)
        if np.isfinite(aside[..., 0]).sum() < _LEAST:
            continue
        bias = _middle(aside)
        noise = _median(np.linalg.norm(aside - bias, axis=-1))
        length = float(np.linalg.norm(bias))
        if length > _LOOSE * np.hypot(*camera.size) and length > 0.5 * noise:
            yield Finding(
                "loose",
                camera.name,
                f"its joints are all about {length:.0f} px aside ({bias[0]:+.0f}, {bias[1]:+.0f}) of what the other cameras "
                f"say, and {noise:.0f} px around that: the calibration is loose; calibrate anew, or keep thresholds in px well "
                "above that",
                {"bias_px": length, "noise_px": noise},
                serious=False,
            )


# --- what the body says of the world ----------------------------------------------------------------------------------


def _body_scale(joints: np.ndarray, skeleton: Skeleton) -> float:
    """How large the person is, an adult being 1: the median over arms' and legs' bones; NaN where none is known."""
    ratios = []
    for side in ("left", "right"):
        for child, (parent, usual) in _ADULT_MM.items():
            names = f"{side}_{parent}", f"{side}_{child}"
            if all(name in skeleton.joints for name in names):
                length = np.linalg.norm(
                    joints[:, skeleton.index(names[0])] - joints[:, skeleton.index(names[1])], axis=-1
                )
                if np.isfinite(length).sum() >= 5:
                    ratios.append(_median(length) / usual)
    return float(np.median(ratios)) if ratios else float("nan")


def _of_the_body(joints: np.ndarray, skeleton: Skeleton, scale: float) -> Iterator[Finding]:
    low, high = _BODY_SCALES
    if np.isfinite(scale) and not low <= scale <= high:
        unit = min(_UNITS, key=lambda each: abs(np.log(scale * each)))
        fits = low <= scale * unit <= high
        hint = f"; they would be {scale * unit:.2g} if the calibration is in {_UNITS[unit]}" if fits else ""
        yield Finding(
            "units",
            "",
            f"the person's arms and legs are {scale:.3g} times an adult's{hint}: see target.units",
            {"body_scale": scale},
        )
    up = _upward(joints, skeleton)
    if np.isfinite(up).all() and up[2] < 0.5:
        axis = int(np.abs(up).argmax())
        name = f"{'-' if up[axis] < 0 else ''}{'xyz'[axis]}"
        stance = "stands on their head" if up[2] < -0.5 else "lies on their side"
        yield Finding(
            "up",
            "",
            f"the person {stance} most of the time: the world's upward axis seems to be {name}; set target.up to what it is in "
            "the calibration's own axes",
            {"up_x": float(up[0]), "up_y": float(up[1]), "up_z": float(up[2])},
        )
    backwards, frames = _backwards(joints, skeleton)
    if frames >= 40 and backwards > 0.75:
        yield Finding(
            "mirrored",
            "",
            f"in {backwards:.0%} of the frames knees and elbows bend the wrong way for which side is left and which is right: "
            "the world is mirrored (a left-handed calibration, or mirrored pictures), or the detector's left is right",
            {"backwards": backwards},
        )


def _joint(joints: np.ndarray, skeleton: Skeleton, *names: str) -> np.ndarray:
    """(frames, 3), the mean of those joints that there are; NaN where none is."""
    chosen = [joints[:, skeleton.index(name)] for name in names if name in skeleton.joints]
    if not chosen:
        return np.full((len(joints), 3), np.nan)
    stacked = np.stack(chosen)
    known = np.isfinite(stacked).all(axis=-1, keepdims=True)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, stacked, 0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _upward(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(3,) the median direction from the ankles to the shoulders; NaN where not known."""
    body = _joint(joints, skeleton, "left_shoulder", "right_shoulder") - _joint(
        joints, skeleton, "left_ankle", "right_ankle"
    )
    body = body[np.isfinite(body).all(axis=-1)]
    if len(body) < 5:
        return np.full(3, np.nan)
    median = np.median(body / np.linalg.norm(body, axis=-1, keepdims=True), axis=0)
    return np.asarray(median / max(np.linalg.norm(median), 1e-9))


def _backwards(joints: np.ndarray, skeleton: Skeleton) -> tuple[float, int]:
    """In how many frames the body's front, by its joints' bending, is its back by its sides; and of how many that is."""
    up = _upward(joints, skeleton)
    sides = _joint(joints, skeleton, "left_hip", "left_shoulder") - _joint(
        joints, skeleton, "right_hip", "right_shoulder"
    )
    front = np.zeros((len(joints), 3))
    for side in ("left", "right"):
        for first, bend, last, sign in (("hip", "knee", "ankle", 1.0), ("shoulder", "elbow", "wrist", -1.0)):
            a, b, c = (_joint(joints, skeleton, f"{side}_{name}") for name in (first, bend, last))
            front += np.nan_to_num(sign * (b - (a + c) / 2))
        toe = _joint(joints, skeleton, f"{side}_big_toe", f"{side}_toe", f"{side}_small_toe")
        front += np.nan_to_num(toe - _joint(joints, skeleton, f"{side}_ankle", f"{side}_heel"))
    face = _joint(joints, skeleton, "nose") - _joint(joints, skeleton, "left_ear", "right_ear")
    front += np.nan_to_num(face)
    ahead = np.cross(sides, up)  # left x up: in a right-handed world a person looks this way
    length = np.linalg.norm(ahead, axis=-1)
    along = (front * ahead).sum(axis=-1) / np.where(length > 0, length, np.nan)
    clear = np.isfinite(along) & (np.abs(along) > 50)
    return (float((along[clear] < 0).mean()) if clear.any() else float("nan")), int(clear.sum())


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")
