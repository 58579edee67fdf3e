"""Run a network over many pictures."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

# What networks were trained on: the pictures' colour order, and the mean and deviation of each channel *in that order*.
# The ResNet family was trained on BGR with the numbers of RGB: wrong, and its weights need just that.
_MEAN, _DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
PREPROCESSING = {
    "centred": ("bgr", (127.5,) * 3, (64.0,) * 3),
    "imagenet_bgr": ("bgr", _MEAN, _DEVIATION),
    "imagenet_rgb": ("rgb", _MEAN, _DEVIATION),
}
# Of the maps that are drawn for coordinates: input px of a map's px, map px of a Gaussian, and of the square whose mass counts.
_STRIDE, _SIGMA, _AROUND = 4, 1.5, 3.0


@torch.inference_mode()
def predict(
    model: nn.Module,
    pictures: np.ndarray,
    device: torch.device,
    flipped: Sequence[int] | None = None,
    shift: bool = False,
) -> np.ndarray:
    """Heatmaps of a batch of pictures.

    Args:
        model: in evaluation mode, on `device`; `build.build` leaves in its attribute `preprocessing` how it sees pictures.
            Of one that fuses views, the maps without fusion; see `predict_views`.
        pictures: (batch, height, width, 3) uint8 BGR.
        flipped: (joints,) index of each joint's mirror image: the maps of the mirrored pictures, mirrored back, are
            averaged in (the "flip test"). None: they are not.
        shift: move the mirrored maps one pixel to the right first, as networks of stride-2 convolutions need.

    Returns:
        (batch, joints, height, width) float32. Of a network that gives coordinates, Gaussians at these: as high as the mass
        that integral regression has around them, 1 by direct regression, which says nothing of how sure it is.

    Raises:
        ValueError: kinematic regression, whose joints have no place in the picture.
    """
    tensor = as_input(pictures, device, getattr(model, "preprocessing", "centred"))
    if hasattr(model, "aggre_layer"):
        model = model.resnet  # type: ignore[assignment]
    if hasattr(model, "relative"):
        raise ValueError("network.name: kinematic regression gives joints around the pelvis, whose place is not known")
    maps = model(tensor).float()
    if maps.dim() == 3:
        return _drawn(model, tensor, flipped).cpu().numpy()
    if flipped is not None:
        mirrored = model(tensor.flip(-1)).float().flip(-1)[:, list(flipped)]
        if shift:
            mirrored = torch.cat([mirrored[..., :1], mirrored[..., :-1]], -1)
        maps = (maps + mirrored) / 2
    return maps.cpu().numpy()


@torch.inference_mode()
def predict_views(model: nn.Module, pictures: np.ndarray, device: torch.device, whole: np.ndarray) -> np.ndarray:
    """Heatmaps of a network that fuses views, of all views of some frames together.

    Args:
        model: a `models.fusion.CrossViewFusion` in evaluation mode, on `device`.
        pictures: (frames, views, height, width, 3) uint8 BGR, the views in the order of the training.
        whole: (frames,) bool, whether all views are there; the maps of a frame that lacks some are not fused.

    Returns:
        (frames, views, joints, map height, map width) float32.
    """
    frames, views = pictures.shape[:2]
    flat = as_input(pictures.reshape(-1, *pictures.shape[2:]), device, getattr(model, "preprocessing", "centred"))
    _, fused = model(flat.unflatten(0, (frames, views)), torch.from_numpy(whole).to(device))
    return fused.float().cpu().numpy()


@torch.inference_mode()
def predict_places(
    model: nn.Module, pictures: np.ndarray, device: torch.device, flipped: Sequence[int] | None = None
) -> np.ndarray:
    """Coordinates of a network that gives these: (batch, joints, 3) px of the heatmap, x, y and the depth from the root on.

    Args:
        model, pictures, flipped: as of `predict`; coordinates of mirrored pictures are averaged in.

    Returns:
        Of kinematic regression, x and y count from the pelvis on; depth is NaN where a network has none.
    """
    tensor = as_input(pictures, device, getattr(model, "preprocessing", "centred"))
    width, height = (side // _STRIDE for side in (tensor.shape[-1], tensor.shape[-2]))
    relative = hasattr(model, "relative")
    points = model(tensor).float()
    if flipped is not None:
        mirrored = model(tensor.flip(-1)).float()[:, list(flipped)]
        mirrored[..., 0] = -mirrored[..., 0] - (0 if relative else 1 / width)
        points = (points + mirrored) / 2
    places = torch.full((*points.shape[:-1], 3), torch.nan, device=points.device)
    places[..., : points.shape[-1]] = points + (
        0 if relative else points.new_tensor([0.5, 0.5, 0.0])[: points.shape[-1]]
    )
    return (places * places.new_tensor([width, width if relative else height, width])).cpu().numpy()


def _drawn(model: nn.Module, tensor: torch.Tensor, flipped: Sequence[int] | None) -> torch.Tensor:
    """Heatmaps of a network that gives coordinates. The flip test averages these, not maps, as published."""
    height, width = tensor.shape[-2] // _STRIDE, tensor.shape[-1] // _STRIDE
    points, heights = _coordinates(model, tensor)
    if flipped is not None:
        mirrored, others = _coordinates(model, tensor.flip(-1))
        mirrored = torch.stack([-mirrored[..., 0] - 1 / width, mirrored[..., 1]], -1)
        points, heights = (points + mirrored[:, list(flipped)]) / 2, (heights + others[:, list(flipped)]) / 2
    x, y = ((points + 0.5) * points.new_tensor([width, height])).unbind(-1)  # (batch, joints) px of the map
    column, row = torch.arange(width, device=x.device), torch.arange(height, device=x.device)
    squared = (column - x[..., None]).square()[..., None, :] + (row - y[..., None]).square()[..., None]
    return heights[..., None, None] * torch.exp(-squared / (2 * _SIGMA**2))


def _coordinates(model: nn.Module, tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(batch, joints, 2) in [-0.5, 0.5) of the picture's sides, and (batch, joints), how much is to be said for them."""
    from pipeline.models.integral import IntegralPose, masses, soft_argmax

    if not isinstance(model, IntegralPose):
        points = model(tensor).float()[..., :2]
        return points, torch.ones_like(points[..., 0])
    volume = model.volume(tensor).float()
    points = soft_argmax(volume, model.joints, model.depth_bins)[..., :2]
    mass = masses(volume, model.joints, model.depth_bins).sum(2)  # (batch, joints, height, width)
    height, width = mass.shape[-2:]
    x, y = ((points + 0.5) * points.new_tensor([width, height])).unbind(-1)
    column, row = torch.arange(width, device=x.device), torch.arange(height, device=x.device)
    near = ((column - x[..., None]).abs() <= _AROUND)[..., None, :] & ((row - y[..., None]).abs() <= _AROUND)[..., None]
    return points, (mass * near).sum((-2, -1))


def as_input(pictures: np.ndarray, device: torch.device, preprocessing: str = "centred") -> torch.Tensor:
    """(batch, height, width, 3) uint8 BGR -> (batch, 3, height, width) float32 around 0; channels-last in memory."""
    tensor = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float()
    if preprocessing == "centred":
        return tensor.sub_(127.5).div_(64.0)
    order, mean, deviation = PREPROCESSING[preprocessing]
    if order == "rgb":
        tensor = tensor.flip(1)
    return tensor.sub_(tensor.new_tensor(mean)[:, None, None]).div_(tensor.new_tensor(deviation)[:, None, None])
