"""Predict with a network: heatmaps or coordinates of many images."""

from collections.abc import Sequence

import numpy as np
import torch

from pipeline.models.network import PoseNetwork

# The colour order of the images that networks were trained on, and the mean and deviation of each channel *in that order*.
# The ResNet family was trained on BGR with the numbers of RGB, by mistake; its weights need the same.
_MEAN, _DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
PREPROCESSING = {
    "centred": ("bgr", (127.5,) * 3, (64.0,) * 3),
    "imagenet_bgr": ("bgr", _MEAN, _DEVIATION),
    "imagenet_rgb": ("rgb", _MEAN, _DEVIATION),
}
# Maps that are rendered at coordinates: input px of a map's px, and map px of a Gaussian.
_STRIDE, _SIGMA = 4, 1.5


@torch.inference_mode()
def predict(
    model: PoseNetwork,
    images: np.ndarray,
    device: torch.device,
    flipped: Sequence[int] | None = None,
    shift: bool = False,
) -> np.ndarray:
    """Return the heatmaps of a batch of images.

    Args:
        model: in evaluation mode, on `device`. A network that fuses views gives its maps without fusion; see
            `predict_views`.
        images: (batch, height, width, 3) uint8 BGR.
        flipped: (joints,) index of each joint's mirror image: the maps of the mirrored images, mirrored back, are
            averaged with the others (the "flip test"). None: they are not.
        shift: move the mirrored maps one pixel to the right first, as networks of stride-2 convolutions need.

    Returns:
        (batch, joints, height, width) float32. For a network that gives coordinates, Gaussians at these: as high as the mass
        of integral regression around them, or 1 for direct regression, which does not estimate how sure it is.

    Raises:
        ValueError: the network's coordinates are relative to the root (kinematic regression).
    """
    tensor = as_input(images, device, model.preprocessing)
    model = model.single_view
    if model.outputs.relative:
        raise ValueError("network.name: kinematic regression gives joints around the pelvis, whose place is not known")
    if model.outputs.coordinates:
        return _rendered(model, tensor, flipped).cpu().numpy()
    maps = model(tensor).float()
    if flipped is not None:
        mirrored = model(tensor.flip(-1)).float().flip(-1)[:, list(flipped)]
        if shift:
            mirrored = torch.cat([mirrored[..., :1], mirrored[..., :-1]], -1)
        maps = (maps + mirrored) / 2
    return maps.cpu().numpy()


@torch.inference_mode()
def predict_views(model: PoseNetwork, images: np.ndarray, device: torch.device, complete: np.ndarray) -> np.ndarray:
    """Return the heatmaps of a network that fuses views, of all views of some frames together.

    Args:
        model: in evaluation mode, on `device`.
        images: (frames, views, height, width, 3) uint8 BGR, the views in the order of the training.
        complete: (frames,) bool, whether all views are present; the maps of an incomplete frame are not fused.

    Returns:
        (frames, views, joints, map height, map width) float32.
    """
    frames, views = images.shape[:2]
    flat = as_input(images.reshape(-1, *images.shape[2:]), device, model.preprocessing)
    _, fused = model(flat.unflatten(0, (frames, views)), torch.from_numpy(complete).to(device))
    return fused.float().cpu().numpy()


@torch.inference_mode()
def predict_coordinates(
    model: PoseNetwork, images: np.ndarray, device: torch.device, flipped: Sequence[int] | None = None
) -> np.ndarray:
    """Return coordinates of a network that gives them: (batch, joints, 3) px of the heatmap, x, y and depth from the root.

    Args:
        model, images, flipped: as of `predict`; coordinates of mirrored images are averaged with the others.

    Returns:
        For kinematic regression x and y are relative to the pelvis; depth is NaN if the network has none.
    """
    tensor = as_input(images, device, model.preprocessing)
    width, height = (side // _STRIDE for side in (tensor.shape[-1], tensor.shape[-2]))
    relative = model.outputs.relative
    coordinates = model(tensor).float()
    if flipped is not None:
        mirrored = model(tensor.flip(-1)).float()[:, list(flipped)]
        mirrored[..., 0] = -mirrored[..., 0] - (0 if relative else 1 / width)
        coordinates = (coordinates + mirrored) / 2
    heatmap_px = torch.full((*coordinates.shape[:-1], 3), torch.nan, device=coordinates.device)
    heatmap_px[..., : coordinates.shape[-1]] = coordinates + (
        0 if relative else coordinates.new_tensor([0.5, 0.5, 0.0])[: coordinates.shape[-1]]
    )
    return (heatmap_px * heatmap_px.new_tensor([width, width if relative else height, width])).cpu().numpy()


def _rendered(model: PoseNetwork, tensor: torch.Tensor, flipped: Sequence[int] | None) -> torch.Tensor:
    """Return heatmaps at a network's coordinates. The flip test averages coordinates, not maps, as published."""
    height, width = tensor.shape[-2] // _STRIDE, tensor.shape[-1] // _STRIDE
    coordinates, heights = model.coordinates_and_scores(tensor)
    if flipped is not None:
        mirrored, others = model.coordinates_and_scores(tensor.flip(-1))
        mirrored = torch.stack([-mirrored[..., 0] - 1 / width, mirrored[..., 1]], -1)
        coordinates, heights = (coordinates + mirrored[:, list(flipped)]) / 2, (heights + others[:, list(flipped)]) / 2
    x, y = ((coordinates + 0.5) * coordinates.new_tensor([width, height])).unbind(-1)  # (batch, joints) px of the map
    column, row = torch.arange(width, device=x.device), torch.arange(height, device=x.device)
    squared = (column - x[..., None]).square()[..., None, :] + (row - y[..., None]).square()[..., None]
    return heights[..., None, None] * torch.exp(-squared / (2 * _SIGMA**2))


def as_input(images: np.ndarray, device: torch.device, preprocessing: str = "centred") -> torch.Tensor:
    """Return (batch, 3, height, width) float32 around 0 from (batch, height, width, 3) uint8 BGR; channels-last in memory."""
    tensor = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float()
    if preprocessing == "centred":
        return tensor.sub_(127.5).div_(64.0)
    order, mean, deviation = PREPROCESSING[preprocessing]
    if order == "rgb":
        tensor = tensor.flip(1)
    return tensor.sub_(tensor.new_tensor(mean)[:, None, None]).div_(tensor.new_tensor(deviation)[:, None, None])
