"""The epipolar loss: what two cameras see of one joint must lie on each other's epipolar lines. It needs no label.

The published one (multi-view self-training, "fund5") takes |x_b^T F x_a| with F from OpenCV, whose scale differs from pair
to pair: five pixels of noise weigh up to 18 times more in one pair of cameras than in another. Here F comes from the
calibration, points are undistorted, and the distance is Sampson's, in px of the full picture, the same for all pairs.
"""

import numpy as np
import torch

from pipeline.geometry import epipolar
from pipeline.geometry.camera import Camera
from pipeline.training import ranks
from pipeline.training.batches import Batch

_UNDISTORTING_STEPS = 8  # of the fixed point, which gains about a digit a step on ordinary lenses
_RADIUS, _BETA = 3, 10.0  # of the soft-argmax, as in `decode_soft`


def soft_argmax(maps: torch.Tensor, radius: int = _RADIUS, beta: float = _BETA) -> torch.Tensor:
    """The differentiable peak: the mean position under softmax(beta * map) in a window around the highest pixel.

    The torch twin of `decode_soft`. The window moves with the peak and carries no gradient.

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
    """The mean Sampson distance between the views of the moments in a batch, made robust (Huber 1964).

    Args:
        cameras: of the rig, in the order of `Batch.view`.
        flipped: (joints,) index of each joint's mirror image.
        huber_px: distances below it count squared, divided by twice itself; above it linearly.
        labelled_only: a joint counts where both views have a label, by the product of their weights; else every joint
            counts the same, those that selection refused as well.
    """

    def __init__(
        self, cameras: tuple[Camera, ...], flipped: tuple[int, ...], huber_px: float, labelled_only: bool
    ) -> None:
        self.flipped, self.huber_px, self.labelled_only = list(flipped), huber_px, labelled_only
        self.K = torch.from_numpy(np.stack([camera.K for camera in cameras]))
        self.distortion = torch.from_numpy(np.stack([camera.distortion for camera in cameras]))
        self.tangential = torch.tensor([2.0 if c.convention == "opencv" else 1.0 for c in cameras], dtype=torch.float64)
        count = len(cameras)
        fundamental = np.zeros((count, count, 3, 3))
        for a in range(count):
            for b in range(count):
                if a != b:
                    fundamental[a, b] = epipolar.fundamental_matrix(cameras[a], cameras[b])
        self.fundamental = torch.from_numpy(fundamental)  # x_b^T F[a, b] x_a = 0

    def __call__(self, maps: torch.Tensor, batch: Batch) -> torch.Tensor:
        """(batch, joints, height, width) maps of the network -> a scalar, px; 0 where no two views can be compared."""
        rows, first, second = _pairs(batch)
        device, view = maps.device, batch.view[rows]
        points = soft_argmax(maps[torch.from_numpy(rows).to(device)]).double()  # (pictures, joints, 2)
        weights = batch.weights[rows] if self.labelled_only else np.ones_like(batch.weights[rows])
        # A mirrored picture shows the person's right wrist in the map of the left one.
        mirrored = batch.mirrored[rows]
        points = torch.where(torch.from_numpy(mirrored).to(device)[:, None, None], points[:, self.flipped], points)
        weights = np.where(mirrored[:, None], weights[:, self.flipped], weights)
        image_from_map = torch.from_numpy(batch.image_from_map[rows]).to(device)
        points = points @ image_from_map[:, :, :2].transpose(1, 2) + image_from_map[:, None, :, 2]
        points = self._undistort(points, torch.from_numpy(view))
        distance = self._sampson(points[first], points[second], view[first], view[second])  # (pairs, joints)
        robust = torch.where(distance < self.huber_px, distance**2 / (2 * self.huber_px), distance - self.huber_px / 2)
        both = torch.from_numpy(weights[first] * weights[second]).to(device)
        return (robust * both).sum() / ranks.mean(both.sum()).clamp(min=1e-6)

    def _undistort(self, points: torch.Tensor, view: torch.Tensor) -> torch.Tensor:
        """(pictures, joints, 2) px as the lens shows them -> undistorted px; see geometry/camera.py."""
        device = points.device
        K = self.K[view].to(device)
        k1, k2, p1, p2, k3 = self.distortion[view].to(device).T[:, :, None]
        factor = self.tangential[view].to(device)[:, None]
        y = (points[..., 1] - K[:, 1, 2, None]) / K[:, 1, 1, None]
        x = (points[..., 0] - K[:, 0, 2, None] - K[:, 0, 1, None] * y) / K[:, 0, 0, None]
        seen = torch.stack([x, y], dim=-1)
        found = seen
        for _ in range(_UNDISTORTING_STEPS):
            x, y = found.unbind(dim=-1)
            squared = x * x + y * y
            scale = 1 + squared * (k1 + squared * (k2 + squared * k3)) + factor * (p1 * y + p2 * x)
            shift = torch.stack([p2 * squared, p1 * squared], dim=-1)
            found = (seen - shift) / scale[..., None]
        return found @ K[:, :2, :2].transpose(1, 2) + K[:, None, :2, 2]

    def _sampson(self, a: torch.Tensor, b: torch.Tensor, view_a: np.ndarray, view_b: np.ndarray) -> torch.Tensor:
        """(pairs, joints, 2) undistorted px of two views -> (pairs, joints) px, as epipolar.sampson_distance."""
        F = self.fundamental[torch.from_numpy(view_a), torch.from_numpy(view_b)].to(a.device)
        a, b = (torch.cat([points, torch.ones_like(points[..., :1])], dim=-1) for points in (a, b))
        line_b, line_a = a @ F.transpose(1, 2), b @ F
        residual = (b * line_b).sum(dim=-1)
        slope = (line_b[..., :2] ** 2).sum(dim=-1) + (line_a[..., :2] ** 2).sum(dim=-1)
        return torch.sqrt(residual**2 / slope + 1e-12)  # the root of 0 has no gradient


def _pairs(batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pictures that belong to a moment, (pictures,) rows of the batch, and all pairs among them that share theirs."""
    rows = np.flatnonzero(batch.moment >= 0)
    first, second = np.triu_indices(len(rows), k=1)
    same = batch.moment[rows[first]] == batch.moment[rows[second]]
    return rows, first[same], second[same]
