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
        pictures: (batch, height, width, 3) uint8 BGR.
        flipped: (joints,) index of each joint's mirror image: the maps of the mirrored pictures, mirrored back, are
            averaged in (the "flip test"). None: they are not.
        shift: move the mirrored maps one pixel to the right first, as networks of stride-2 convolutions need.

    Returns:
        (batch, joints, height, width) float32.
    """
    tensor = as_input(pictures, device, getattr(model, "preprocessing", "centred"))
    maps = model(tensor).float()
    if flipped is not None:
        mirrored = model(tensor.flip(-1)).float().flip(-1)[:, list(flipped)]
        if shift:
            mirrored = torch.cat([mirrored[..., :1], mirrored[..., :-1]], -1)
        maps = (maps + mirrored) / 2
    return maps.cpu().numpy()


def as_input(pictures: np.ndarray, device: torch.device, preprocessing: str = "centred") -> torch.Tensor:
    """(batch, height, width, 3) uint8 BGR -> (batch, 3, height, width) float32 around 0; channels-last in memory."""
    tensor = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float()
    if preprocessing == "centred":
        return tensor.sub_(127.5).div_(64.0)
    order, mean, deviation = PREPROCESSING[preprocessing]
    if order == "rgb":
        tensor = tensor.flip(1)
    return tensor.sub_(tensor.new_tensor(mean)[:, None, None]).div_(tensor.new_tensor(deviation)[:, None, None])
