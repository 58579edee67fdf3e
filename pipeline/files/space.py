"""The 3D joints of labelled persons, in camera coordinates, for sets measured by several cameras."""

from dataclasses import dataclass

import h5py
import numpy as np

from pipeline.geometry.camera import Camera, Convention

_GROUP = "space"
_COLUMNS = ("joints", "K", "distortion", "h36m_lens", "frame_group", "view", "rig")


@dataclass(frozen=True, eq=False, kw_only=True)
class Space:
    """3D joints and cameras, one row per sample.

    Attributes:
        joints: (samples, joints, 3) mm in the camera's frame; NaN where not known.
        K: (samples, 3, 3) image_from_camera, px of the full image.
        distortion: (samples, 5) k1 k2 p1 p2 k3.
        h36m_lens: (samples,) bool; the distortion is in Human3.6M's own formula, not in OpenCV's, see geometry/camera.py.
        frame_group: (samples,) int, the same for the views of one person at one time.
        view: (samples,) int, which camera of the rig; cameras of the same name have the same number in all rigs.
        rig: (samples,) int, which rig; Human3.6M has one per subject.
    """

    joints: np.ndarray
    K: np.ndarray
    distortion: np.ndarray
    h36m_lens: np.ndarray
    frame_group: np.ndarray
    view: np.ndarray
    rig: np.ndarray

    @staticmethod
    def of(joints: np.ndarray, camera: Camera, frame_group: np.ndarray, *, view: int, rig: int) -> "Space":
        """Return the rows of (samples, joints, 3) world mm in one camera, the `view`-th of a rig."""
        count = len(joints)
        K, distortion = np.tile(camera.K, (count, 1, 1)), np.tile(camera.distortion, (count, 1))
        h36m_lens = np.full(count, camera.convention == "h36m")
        return Space(
            joints=camera.camera_from_world(joints),
            K=K,
            distortion=distortion,
            h36m_lens=h36m_lens,
            frame_group=frame_group,
            view=np.full(count, view),
            rig=np.full(count, rig),
        )

    @staticmethod
    def concatenated(parts: "list[Space]") -> "Space":
        """Return the rows of all parts, one after the other."""
        return Space(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS})

    def take(self, chosen: np.ndarray) -> "Space":
        """Return some of the samples."""
        return Space(**{name: getattr(self, name)[chosen] for name in _COLUMNS})

    def mm_per_px(self, root: int) -> np.ndarray:
        """Return (samples,) mm per px of the full image at the root's depth; NaN without a root."""
        return self.joints[:, root, 2] / ((self.K[:, 0, 0] + self.K[:, 1, 1]) / 2)

    def depth_px(self, root: int) -> np.ndarray:
        """Return (samples, joints) depths behind the root, in px of the full image at the root's depth; NaN if unknown.

        Depth then has the same unit as x and y, as integral regression (Sun 2018) learns it.
        """
        depth: np.ndarray = self.joints[..., 2] - self.joints[:, root, None, 2]
        return depth / self.mm_per_px(root)[:, None]

    def lift(self, points: np.ndarray, depth_px: np.ndarray, root: int) -> np.ndarray:
        """Return joints in the camera's frame, from keypoints, relative depths and the known depth of the root.

        Args:
            points: (samples, joints, 2) px of the full image.
            depth_px: (samples, joints) px, as `depth_px` returns them.

        Returns:
            (samples, joints, 3) mm.
        """
        depth = self.joints[:, root, None, 2] + depth_px * self.mm_per_px(root)[:, None]
        found = np.full((*points.shape[:-1], 3), np.nan)
        lenses = np.concatenate([self.K.reshape(-1, 9), self.distortion, self.h36m_lens[:, None]], axis=-1)
        for lens in np.unique(lenses, axis=0):
            own = (lenses == lens).all(axis=-1)
            K = lens[:9].reshape(3, 3)
            formula: Convention = "h36m" if lens[14] else "opencv"
            camera = Camera(
                name="lens",
                size=(0, 0),
                K=K,
                R=np.eye(3),
                centre=np.zeros(3),
                distortion=lens[9:14],
                convention=formula,
            )
            px = camera.undistort(points[own])
            rays = np.concatenate([px, np.ones_like(px[..., :1])], axis=-1) @ np.linalg.inv(K).T
            found[own] = rays * depth[own, :, None]
        return found

    def write(self, file: h5py.Group) -> None:
        group = file.create_group(_GROUP)
        for name in _COLUMNS:
            group.create_dataset(name, data=getattr(self, name))

    @staticmethod
    def read(file: h5py.Group) -> "Space | None":
        """Return the 3D part of a samples file; None if the set has 2D labels only."""
        return Space(**{name: file[_GROUP][name][...] for name in _COLUMNS}) if _GROUP in file else None
