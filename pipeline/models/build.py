"""From the section `network` of params.yaml to a network, and from a model file back to it."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from pipeline import params, skeleton
from pipeline.files.atomic import replacing

KIND = "pose network"


@dataclass(frozen=True)
class Network:
    """Section `network` of params.yaml: everything that is needed to make the network again.

    Attributes:
        name: the architecture.
        block, layers, width, deconv_channels: of a PoseResNet, see models/poseresnet.py.
        input_size: px, side of the square picture that the network sees.
        skeleton: what its heatmaps are called, in order.
    """

    name: Literal["poseresnet"]
    block: Literal["basic", "bottleneck"]
    layers: tuple[int, int, int, int]
    width: int
    deconv_channels: int
    input_size: int
    skeleton: str

    def __post_init__(self) -> None:
        for key in ("width", "deconv_channels"):
            if getattr(self, key) < 1:
                raise ValueError(f"network.{key}: expected at least 1, got {getattr(self, key)}")
        if min(self.layers) < 1:
            raise ValueError(f"network.layers: expected at least 1 block a stage, got {list(self.layers)}")
        if self.input_size < 32 or self.input_size % 32:
            raise ValueError(f"network.input_size: expected a multiple of 32 px, got {self.input_size}")
        skeleton.get(self.skeleton)

    @property
    def map_size(self) -> int:
        """px, side of a heatmap."""
        return self.input_size // 4


def build(network: Network) -> nn.Module:
    """A freshly initialised network; draws from torch's global generator."""
    joints = len(skeleton.get(network.skeleton))
    match network.name:
        case "poseresnet":
            from pipeline.models.poseresnet import PoseResNet

            return PoseResNet(joints, network.block, network.layers, network.width, network.deconv_channels)


def save(path: Path, network: Network, weights: dict[str, torch.Tensor]) -> None:
    """Write weights and architecture; loads with `weights_only=True`. The same weights give the same bytes."""
    content = {
        "kind": KIND,
        "network": _plain(dataclasses.asdict(network)),
        "colour_order": "bgr",
        "weights": {key: value.detach().cpu().contiguous() for key, value in weights.items()},
    }
    with replacing(path) as scratch, scratch.open("wb") as file:
        torch.save(content, file)  # to an open file: torch writes a path's stem into the bytes


def load(path: Path) -> tuple[Network, nn.Module]:
    """Read a model file.

    Returns:
        Its `network` section, and the network in evaluation mode.

    Raises:
        ValueError: absent, not a model file of ours, or weights that do not fit the architecture exactly.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; expected a model")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - torch raises many kinds; to the user all mean the same
        raise ValueError(f"{path}: not a model file ({str(error).splitlines()[0][:200]})") from None
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise ValueError(f"{path}: not a model file of this project")
    network = params.build(Network, content["network"], f"{path}: network")
    model = build(network)
    try:
        model.load_state_dict(content["weights"])
    except RuntimeError as error:
        raise ValueError(
            f"{path}: weights do not fit the architecture ({str(error).splitlines()[-1].strip()})"
        ) from None
    return network, model.eval()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
