"""The epipolar loss: the keypoints of one joint in two views must lie on each other's epipolar lines. It needs no label.

The published loss (multi-view self-training, "fund5") is |x_b^T F x_a| with F from OpenCV, whose scale differs between pairs
of cameras: five pixels of noise weigh up to 18 times more in one pair than in another. Here F comes from the calibration,
keypoints are undistorted, and the residual is Sampson's distance, in px of the full image, equal for all pairs. The published
loss is an option.
"""

from typing import Literal

import numpy as np
import torch

from pipeline.geometry import epipolar
from pipeline.geometry.camera import Camera
from pipeline.training import ranks
from pipeline.training.batches import Batch

_UNDISTORTING_STEPS = 8  # of a fixed-point iteration that gains about a digit per step on ordinary lenses
_RADIUS, _BETA = 3, 10.0  # of the soft-argmax, as in `decode_soft`
_PUBLISHED_BETA = 100.0  # of the published soft-argmax, over the whole map


def soft_argmax(maps: torch.Tensor, radius: int = _RADIUS, beta: float = _BETA) -> torch.Tensor:
    """Return the differentiable peak: the mean position under softmax(beta * map) in a window around the highest pixel.

    It equals `heatmaps.decode.decode_soft`. The window moves with the peak and carries no gradient.

    Args:
        maps: (..., height, width).

    Returns:
        (..., 2) map px, x y. Meaningless where a map has no peak.
    """
    *_, height, width = maps.shape
    flat = maps.flatten(-2)  # (..., pixels)
    highest = flat.argmax(dim=-1, keepdim=True)
    pixel = torch.arange(height * width, device=maps.device)
    x, y = pixel % width, pixel // width
    near = ((x - highest % width).abs() <= radius) & ((y - highest // width).abs() <= radius)
    weights = torch.softmax((beta * flat).masked_fill(~near, -torch.inf), dim=-1)
    return torch.stack([(weights * x).sum(dim=-1), (weights * y).sum(dim=-1)], dim=-1)


class EpipolarLoss:
    """The mean Sampson distance between the views of the frame groups in a batch, made robust (Huber 1964).

    Args:
        cameras: of the rig, in the order of `Batch.view`.
        flipped: (joints,) index of each joint's mirror image.
        huber_px: a distance below it counts squared, divided by twice `huber_px`; above it linearly.
        labelled_only: a joint counts where both views have a label, by the product of their weights; else all joints count
            equally, including those whose pseudo labels were refused.
        residual: "sampson"; or "algebraic", the published loss: |x_b^T F x_a| of F scaled to F[2, 2] = 1 as OpenCV does, not
            made robust, of keypoints that are means over the whole map under softmax(100 map). The mean is over all pairs and
            joints; with `labelled_only` those without a label add 0 to it.

    Raises:
        ValueError: algebraic, and F[2, 2] of two cameras is 0.
    """

    def __init__(
        self,
        cameras: tuple[Camera, ...],
        flipped: tuple[int, ...],
        *,
        huber_px: float,
        labelled_only: bool,
        residual: Literal["sampson", "algebraic"] = "sampson",
    ) -> None:
        self.flipped, self.huber_px, self.labelled_only = list(flipped), huber_px, labelled_only
        self.residual = residual
        self.K = torch.from_numpy(np.stack([camera.K for camera in cameras]))
        self.distortion = torch.from_numpy(np.stack([camera.distortion for camera in cameras]))
        self.tangential = torch.tensor([2.0 if c.convention == "opencv" else 1.0 for c in cameras], dtype=torch.float64)
        count = len(cameras)
        fundamental = np.zeros((count, count, 3, 3))
        for a in range(count):
            for b in range(count):
                if a != b:
                    fundamental[a, b] = epipolar.fundamental_matrix(cameras[a], cameras[b])
                    if residual == "algebraic":
                        fundamental[a, b] /= _last_element(fundamental[a, b], cameras[a], cameras[b])
        self.fundamental = torch.from_numpy(fundamental)  # x_b^T F[a, b] x_a = 0

    def __call__(self, maps: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the loss of (batch, joints, height, width) maps, a scalar; 0 where no two views can be compared.

        In px; without a unit if the residual is algebraic.
        """
        rows, first, second = _pairs(batch)
        device, view = maps.device, batch.view[rows]
        shown = maps[torch.from_numpy(rows).to(device)]
        if self.residual == "algebraic":
            keypoints = soft_argmax(shown, radius=max(maps.shape[-2:]), beta=_PUBLISHED_BETA).double()
        else:
            keypoints = soft_argmax(shown).double()  # (images, joints, 2)
        weights = batch.weights[rows] if self.labelled_only else np.ones_like(batch.weights[rows])
        # In a mirrored image the person's right wrist is in the map of the left wrist.
        mirrored = batch.mirrored[rows]
        keypoints = torch.where(
            torch.from_numpy(mirrored).to(device)[:, None, None], keypoints[:, self.flipped], keypoints
        )
        weights = np.where(mirrored[:, None], weights[:, self.flipped], weights)
        image_from_map = torch.from_numpy(batch.image_from_map[rows]).to(device)
        keypoints = keypoints @ image_from_map[:, :, :2].transpose(1, 2) + image_from_map[:, None, :, 2]
        keypoints = self._undistort(keypoints, torch.from_numpy(view))
        both = torch.from_numpy(weights[first] * weights[second]).to(device)
        if self.residual == "algebraic":
            algebraic = self._algebraic(keypoints[first], keypoints[second], view[first], view[second])
            return (algebraic * both).sum() / ranks.mean(torch.ones_like(both).sum()).clamp(min=1)
        distance = self._sampson(keypoints[first], keypoints[second], view[first], view[second])  # (pairs, joints)
        robust = torch.where(distance < self.huber_px, distance**2 / (2 * self.huber_px), distance - self.huber_px / 2)
        return (robust * both).sum() / ranks.mean(both.sum()).clamp(min=1e-6)

    def _undistort(self, keypoints: torch.Tensor, view: torch.Tensor) -> torch.Tensor:
        """Return (images, joints, 2) undistorted px from distorted px; see geometry/camera.py."""
        device = keypoints.device
        K = self.K[view].to(device)
        k1, k2, p1, p2, k3 = self.distortion[view].to(device).T[:, :, None]
        factor = self.tangential[view].to(device)[:, None]
        y = (keypoints[..., 1] - K[:, 1, 2, None]) / K[:, 1, 1, None]
        x = (keypoints[..., 0] - K[:, 0, 2, None] - K[:, 0, 1, None] * y) / K[:, 0, 0, None]
        distorted = torch.stack([x, y], dim=-1)
        undistorted = distorted
        for _ in range(_UNDISTORTING_STEPS):
            x, y = undistorted.unbind(dim=-1)
            squared = x * x + y * y
            scale = 1 + squared * (k1 + squared * (k2 + squared * k3)) + factor * (p1 * y + p2 * x)
            shift = torch.stack([p2 * squared, p1 * squared], dim=-1)
            undistorted = (distorted - shift) / scale[..., None]
        return undistorted @ K[:, :2, :2].transpose(1, 2) + K[:, None, :2, 2]

    def _algebraic(self, a: torch.Tensor, b: torch.Tensor, view_a: np.ndarray, view_b: np.ndarray) -> torch.Tensor:
        """Return (pairs, joints) |x_b^T F x_a| from (pairs, joints, 2) undistorted px of two views."""
        F = self.fundamental[torch.from_numpy(view_a), torch.from_numpy(view_b)].to(a.device)
        a, b = (torch.cat([keypoints, torch.ones_like(keypoints[..., :1])], dim=-1) for keypoints in (a, b))
        return (b * (a @ F.transpose(1, 2))).sum(dim=-1).abs()

    def _sampson(self, a: torch.Tensor, b: torch.Tensor, view_a: np.ndarray, view_b: np.ndarray) -> torch.Tensor:
        """Return (pairs, joints) px from (pairs, joints, 2) undistorted px of two views, as epipolar.sampson_distance."""
        F = self.fundamental[torch.from_numpy(view_a), torch.from_numpy(view_b)].to(a.device)
        a, b = (torch.cat([keypoints, torch.ones_like(keypoints[..., :1])], dim=-1) for keypoints in (a, b))
        line_b, line_a = a @ F.transpose(1, 2), b @ F
        residual = (b * line_b).sum(dim=-1)
        slope = (line_b[..., :2] ** 2).sum(dim=-1) + (line_a[..., :2] ** 2).sum(dim=-1)
        return torch.sqrt(residual**2 / slope + 1e-12)  # the root of 0 has no gradient


def _last_element(F: np.ndarray, a: Camera, b: Camera) -> float:
    """Return F[2, 2], by which OpenCV scales; F has unit norm.

    Raises:
        ValueError: it is 0, so that there is no such scale.
    """
    if abs(F[2, 2]) < 1e-9:
        raise ValueError(
            f"retrain.epipolar_residual: algebraic divides F by its last element, which is 0 for the cameras {a.name} and"
            f" {b.name}; sampson needs no such scale"
        )
    return float(F[2, 2])


def _pairs(batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows of the batch that belong to frame groups, (images,), and all pairs of them within a group."""
    rows = np.flatnonzero(batch.frame_group >= 0)
    first, second = np.triu_indices(len(rows), k=1)
    same = batch.frame_group[rows[first]] == batch.frame_group[rows[second]]
    return rows, first[same], second[same]
