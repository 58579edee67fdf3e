"""What may be wrong with a rig: a small class for each kind of fault, all with the same interface.

A hypothesis proposes itself where its correction would lower the residual, and can apply that correction. Which of the proposed
ones is right is decided in search.py.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, permutations

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from pipeline.geometry.camera import Camera
from pipeline.geometry.viewing import transposed
from pipeline.rig.observations import Observations
from pipeline.rig.report import Finding
from pipeline.rig.residuals import MIN_KEYPOINTS, TOLERATED, finite_median, median_residual
from pipeline.rig.sentences import finding

Cameras = tuple[Camera, ...]
Change = Callable[[np.ndarray], np.ndarray]  # (..., 2) px -> (..., 2) px

_SIZES = (1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 4 / 3, 3 / 2, 2, 3, 4)
_CORRECTED = 0.6  # the share of a view's residual that the right correction leaves, at most
_CORRECTED_IN_TIME = 0.9  # the same for frame offsets: a person who moves slowly is hardly displaced
_SHIFTED = 0.4  # of the noise, by which a camera's move has to shift its keypoints
_LOST = 0.02  # of the diagonal; cameras taken for others, or whole rigs in other axes, have a larger residual
_FITTED = 3000  # keypoints that a camera is fitted to


@dataclass(frozen=True, eq=False, kw_only=True)
class ViewEvidence:
    """One view against the joints that the other views agree on.

    Attributes:
        observations: of the rig.
        cameras: (views,).
        view: the index of the view.
        joints: (frames, joints, 3) world mm that the other views agree on; NaN if unknown.
        residual_px: median of the view; NaN for too few keypoints, infinite if the camera cannot see most joints.
        diagonal_px: of the usual image.
        max_offset_frames: largest frame offset to try, in rows.
    """

    observations: Observations
    cameras: Cameras
    view: int
    joints: np.ndarray
    residual_px: float
    diagonal_px: float
    max_offset_frames: int

    @property
    def camera(self) -> Camera:
        return self.cameras[self.view]

    @property
    def keypoints(self) -> np.ndarray:
        """Return (frames, joints, 2) px."""
        return self.observations.keypoints[:, self.view]

    @property
    def needs_correction(self) -> bool:
        return self.residual_px > TOLERATED * self.diagonal_px

    @cached_property
    def fitted(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return (n, 3) world mm and the (n, 2) px that show them, for fits; None if there are too few."""
        both = np.flatnonzero(np.isfinite(self.joints[..., 0]) & np.isfinite(self.keypoints[..., 0]))
        if len(both) < MIN_KEYPOINTS:
            return None
        some = both[np.linspace(0, len(both) - 1, min(len(both), _FITTED)).astype(int)]
        return self.joints.reshape(-1, 3)[some], self.keypoints.reshape(-1, 2)[some]

    def share_left(self, camera: Camera, keypoints: np.ndarray) -> float:
        """Return the share of the residual that other keypoints in another camera leave."""
        return median_residual(camera, self.joints, keypoints) / self.residual_px

    def with_camera(self, camera: Camera) -> Cameras:
        """Return the rig with another camera in the view."""
        return (*self.cameras[: self.view], camera, *self.cameras[self.view + 1 :])


@dataclass(frozen=True, eq=False, kw_only=True)
class RigEvidence:
    """The whole rig.

    Attributes:
        cameras: (views,).
        lost: views whose residual is too large for a small fault.
    """

    cameras: Cameras
    lost: tuple[int, ...]

    @classmethod
    def of(cls, views: Sequence[ViewEvidence]) -> "RigEvidence":
        """Return the evidence of all views together."""
        lost = tuple(each.view for each in views if not each.residual_px < _LOST * each.diagonal_px)
        return cls(cameras=views[0].cameras, lost=lost)


@dataclass(frozen=True, eq=False, kw_only=True)
class Hypothesis(ABC):
    """A fault with its correction.

    Attributes:
        finding: the fault.
        freedom: number of fitted values; of two hypotheses that correct equally well the simpler one is right.
        max_share_left: the share of the whole rig's residual that the correction may leave, at most.
    """

    finding: Finding
    freedom: int = 0
    max_share_left: float = 0.85

    @abstractmethod
    def correct(self, observations: Observations, cameras: Cameras) -> tuple[Observations, Cameras]:
        """Return the observations of any frames, and the cameras, without the fault."""


class ViewHypothesis(Hypothesis):
    """A fault of one view."""

    @classmethod
    @abstractmethod
    def propose(cls, evidence: ViewEvidence) -> Iterator["ViewHypothesis"]:
        """Yield the hypotheses that lower the view's own residual."""


class RigHypothesis(Hypothesis):
    """A fault of several cameras, or of all."""

    @classmethod
    @abstractmethod
    def propose(cls, evidence: RigEvidence) -> Iterator["RigHypothesis"]:
        """Yield the hypotheses that may explain the views' residuals."""


# --- one view: its keypoints ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class FrameOffset(ViewHypothesis):
    """The view began earlier or later than the others; `rows` > 0 means earlier."""

    view: int
    rows: int

    @classmethod
    def propose(cls, evidence: ViewEvidence) -> Iterator["FrameOffset"]:
        residuals_px = {}
        for rows in range(-evidence.max_offset_frames, evidence.max_offset_frames + 1):
            keypoints = evidence.observations.shifted(evidence.view, rows).keypoints[:, evidence.view]
            if np.isfinite(keypoints[..., 0]).sum() >= 0.5 * np.isfinite(evidence.keypoints[..., 0]).sum():
                residuals_px[rows] = median_residual(evidence.camera, evidence.joints, keypoints)
        finite = {rows: each for rows, each in residuals_px.items() if np.isfinite(each)}
        if not finite or not np.isfinite(evidence.residual_px):
            return
        rows = min(finite, key=lambda each: (finite[each], abs(each)))
        if rows == 0 or finite[rows] > _CORRECTED_IN_TIME * evidence.residual_px:
            return
        frames = rows * evidence.observations.frame_step
        found = finding(
            "late",
            evidence.camera.name,
            {"rows": rows, "frames": frames, "off_px": evidence.residual_px, "off_px_then": finite[rows]},
            count=abs(frames),
            word="early" if rows > 0 else "late",
        )
        yield cls(finding=found, freedom=1, max_share_left=0.97, view=evidence.view, rows=rows)

    def correct(self, observations: Observations, cameras: Cameras) -> tuple[Observations, Cameras]:
        return observations.shifted(self.view, self.rows), cameras


@dataclass(frozen=True, eq=False, kw_only=True)
class OtherImages(ViewHypothesis):
    """The view's images are mirrored, turned or of another size; `change` maps their keypoints to the calibrated images."""

    view: int
    change: Change

    @classmethod
    def propose(cls, evidence: ViewEvidence) -> Iterator["OtherImages"]:
        if not evidence.needs_correction:
            return
        for found, change in _image_changes(evidence.camera):
            if evidence.share_left(evidence.camera, change(evidence.keypoints)) < _CORRECTED:
                yield cls(finding=found, max_share_left=0.9, view=evidence.view, change=change)

    def correct(self, observations: Observations, cameras: Cameras) -> tuple[Observations, Cameras]:
        return observations.with_view(self.view, self.change(observations.keypoints[:, self.view])), cameras


# --- one view: its camera ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class OtherCamera(ViewHypothesis):
    """The view's camera is another one than calibrated; `cameras` are the rig's with the right one."""

    cameras: Cameras

    def correct(self, observations: Observations, cameras: Cameras) -> tuple[Observations, Cameras]:
        return observations, self.cameras


class TransposedRotation(OtherCamera):
    """The camera's rotation is the inverse one."""

    @classmethod
    def propose(cls, evidence: ViewEvidence) -> Iterator["TransposedRotation"]:
        changed = transposed(evidence.camera)
        if evidence.needs_correction and evidence.share_left(changed, evidence.keypoints) < _CORRECTED:
            found = finding("transposed", evidence.camera.name)
            yield cls(finding=found, max_share_left=0.98, cameras=evidence.with_camera(changed))


class WrongDistortion(OtherCamera):
    """The lens's distortion does worse than none."""

    @classmethod
    def propose(cls, evidence: ViewEvidence) -> Iterator["WrongDistortion"]:
        camera = evidence.camera
        if not evidence.needs_correction or not camera.distortion.any():
            return
        changed = replace(camera, distortion=np.zeros(5))
        if evidence.share_left(changed, evidence.keypoints) < _CORRECTED:
            found = finding("distortion_worse", camera.name, distortion=np.round(camera.distortion, 3).tolist())
            yield cls(finding=found, max_share_left=0.98, cameras=evidence.with_camera(changed))


class OtherFocalLength(OtherCamera):
    """The camera was zoomed after its calibration."""

    @classmethod
    def propose(cls, evidence: ViewEvidence) -> Iterator["OtherFocalLength"]:
        if not evidence.needs_correction or evidence.fitted is None:
            return
        camera, (joints, keypoints) = evidence.camera, evidence.fitted
        zoomed = [_zoomed(camera, factor) for factor in np.geomspace(0.5, 2.0, 57)]
        changed = min(zoomed, key=lambda each: median_residual(each, joints, keypoints))
        times = changed.K[0, 0] / camera.K[0, 0]
        if abs(times - 1) <= 0.02:
            return
        shift_px = _median_shift(camera, changed, joints)
        if _exceeds_noise(evidence, changed, shift_px):
            found = finding("zoomed", camera.name, {"times": times, "shift_px": shift_px})
            yield cls(finding=found, freedom=1, max_share_left=0.98, cameras=evidence.with_camera(changed))


class MovedCamera(OtherCamera):
    """The camera was turned, or turned and moved, after its calibration."""

    @classmethod
    def propose(cls, evidence: ViewEvidence) -> Iterator["MovedCamera"]:
        if not evidence.needs_correction or evidence.fitted is None:
            return
        camera, (joints, keypoints) = evidence.camera, evidence.fitted
        off_px = median_residual(camera, joints, keypoints)
        for name, parameters, freedom in (("turned", 3, 1), ("moved", 6, 4)):
            changed = _fit_pose(camera, joints, keypoints, parameters)
            shift_px = _median_shift(camera, changed, joints)
            if not _exceeds_noise(evidence, changed, shift_px):
                continue
            figures = {
                "mm": float(np.linalg.norm(changed.centre - camera.centre)),
                "degrees": float(np.degrees(Rotation.from_matrix(changed.R @ camera.R.T).magnitude())),
                "off_px": off_px,
                "shift_px": shift_px,
            }
            found = finding(name, camera.name, figures, corrected_px=median_residual(changed, joints, keypoints))
            yield cls(
                finding=found,
                freedom=freedom,
                max_share_left=0.98 if freedom <= 1 else 0.95,
                cameras=evidence.with_camera(changed),
            )


# --- several cameras --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class Exchanged(RigHypothesis):
    """Two cameras stand in each other's place, or three in a ring: the first one's keypoints fit the second's calibration."""

    cameras: Cameras

    @classmethod
    def propose(cls, evidence: RigEvidence) -> Iterator["Exchanged"]:
        for pair in combinations(evidence.lost, 2):
            yield cls.of(evidence.cameras, pair)
        if len(evidence.lost) <= 5:
            for first, *others in permutations(evidence.lost, 3):
                if first < min(others):
                    yield cls.of(evidence.cameras, (first, *others))

    @classmethod
    def of(cls, cameras: Cameras, ring: Sequence[int]) -> "Exchanged":
        """Return the hypothesis that each camera of the ring has the calibration of the next one."""
        swapped = list(cameras)
        following = (*ring[1:], ring[0])
        for here, there in zip(ring, following, strict=True):
            swapped[here] = replace(cameras[there], name=cameras[here].name)
        name = cameras[ring[0]].name
        if len(ring) == 2:
            found = finding("exchanged", name, other=cameras[ring[1]].name)
        else:
            fits = [f"{cameras[a].name} {cameras[b].name}'s" for a, b in zip(ring, following, strict=True)]
            found = finding("exchanged_ring", name, fits=", ".join(fits))
        return cls(finding=found, cameras=tuple(swapped))

    def correct(self, observations: Observations, cameras: Cameras) -> tuple[Observations, Cameras]:
        return observations, self.cameras


@dataclass(frozen=True, eq=False, kw_only=True)
class AllImages(RigHypothesis):
    """The images of all views are mirrored, turned or of another size."""

    change: Change

    @classmethod
    def propose(cls, evidence: RigEvidence) -> Iterator["AllImages"]:
        if len(evidence.lost) <= len(evidence.cameras) / 2:
            return
        last = np.array([camera.size for camera in evidence.cameras])[:, None] - 1  # (views, 1, 2) px
        yield cls(finding=finding("all_mirrored"), change=lambda keypoints: keypoints * [-1, 1] + last * [1, 0])
        yield cls(finding=finding("all_turned"), change=lambda keypoints: last - keypoints)
        for size in _SIZES:
            yield cls(finding=finding("all_resized", figures={"times": 1 / size}), change=_Resize(size))

    def correct(self, observations: Observations, cameras: Cameras) -> tuple[Observations, Cameras]:
        return replace(observations, keypoints=self.change(observations.keypoints)), cameras


class AllTransposed(RigHypothesis):
    """The rotations of all cameras are the inverse ones."""

    @classmethod
    def propose(cls, evidence: RigEvidence) -> Iterator["AllTransposed"]:
        if len(evidence.lost) > len(evidence.cameras) / 2:
            yield cls(finding=finding("all_transposed"))

    def correct(self, observations: Observations, cameras: Cameras) -> tuple[Observations, Cameras]:
        return observations, tuple(transposed(camera) for camera in cameras)


# Of two that correct equally well, the earlier one is taken.
VIEW_HYPOTHESES: tuple[type[ViewHypothesis], ...] = (
    FrameOffset,
    OtherImages,
    TransposedRotation,
    WrongDistortion,
    OtherFocalLength,
    MovedCamera,
)
RIG_HYPOTHESES: tuple[type[RigHypothesis], ...] = (Exchanged, AllImages, AllTransposed)


@dataclass(frozen=True)
class _Resize:
    """(..., 2) px of an image -> px of the image at another size."""

    times: float

    def __call__(self, keypoints: np.ndarray) -> np.ndarray:
        return np.asarray((keypoints + 0.5) * self.times - 0.5)


def _image_changes(camera: Camera) -> Iterator[tuple[Finding, Change]]:
    """Yield faults of a camera's images, each with the change of (..., 2) px that corrects it."""
    last = np.array(camera.size) - 1
    changes: list[tuple[str, str, Change]] = [
        ("image_mirrored", "mirrored left to right", lambda keypoints: keypoints * [-1, 1] + last * [1, 0]),
        ("image_mirrored", "mirrored top to bottom", lambda keypoints: keypoints * [1, -1] + last * [0, 1]),
        ("image_turned", "turned by 180 degrees", lambda keypoints: last - keypoints),
        (
            "image_turned",
            "turned by 90 degrees",
            lambda keypoints: np.stack([keypoints[..., 1], last[1] - keypoints[..., 0]], axis=-1),
        ),
        (
            "image_turned",
            "turned by 270 degrees",
            lambda keypoints: np.stack([last[0] - keypoints[..., 1], keypoints[..., 0]], axis=-1),
        ),
    ]
    for name, how, change in changes:
        yield finding(name, camera.name, how=how), change
    for size in _SIZES:
        yield finding("image_resized", camera.name, {"times": 1 / size}), _Resize(size)


def _exceeds_noise(evidence: ViewEvidence, changed: Camera, shift_px: float) -> bool:
    """Return whether a camera's change shifts its keypoints by enough; the detector's noise stays in the residual."""
    left = evidence.share_left(changed, evidence.keypoints)
    return shift_px > max(TOLERATED * evidence.diagonal_px, _SHIFTED * left * evidence.residual_px)


def _median_shift(camera: Camera, other: Camera, joints: np.ndarray) -> float:
    """Return the median distance between the projections of the same joints by two cameras, px."""
    return finite_median(np.linalg.norm(camera.project(joints) - other.project(joints), axis=-1))


def _zoomed(camera: Camera, factor: float) -> Camera:
    K = camera.K.copy()
    K[0, :2] *= factor
    K[1, 1] *= factor
    return replace(camera, K=K)


def _fit_pose(camera: Camera, joints: np.ndarray, keypoints: np.ndarray, parameters: int) -> Camera:
    """Return the camera in the pose that fits best, found robustly from where it stands.

    People fill only a part of the space, where turning and moving look nearly alike: a slight preference for small changes
    decides between them.

    Args:
        camera: as calibrated.
        joints: (n, 3) world mm.
        keypoints: (n, 2) px.
        parameters: 3 to fit the rotation, 6 to fit rotation and centre.
    """
    spread_px = 0.005 * float(np.hypot(*camera.size))

    def at(numbers: np.ndarray) -> Camera:
        R = Rotation.from_rotvec(numbers[:3]).as_matrix() @ camera.R
        return replace(camera, R=R, centre=camera.centre + (1000 * numbers[3:] if parameters > 3 else 0))

    def residuals(numbers: np.ndarray) -> np.ndarray:
        error_px = at(numbers).project(joints) - keypoints
        error_px = np.where(np.isfinite(error_px), error_px, 100 * spread_px).ravel()
        return np.concatenate([error_px, 0.1 * np.sqrt(len(error_px)) * spread_px * numbers])

    fit = least_squares(residuals, np.zeros(parameters), loss="soft_l1", f_scale=spread_px, max_nfev=60)
    return at(fit.x)
