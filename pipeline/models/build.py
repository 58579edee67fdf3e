"""From the section `network` of params.yaml to a network, and from a model file back to it."""

import dataclasses
import sys
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
        name: the architecture; integral, direct and kinematic give coordinates, the others heatmaps.
        block, layers: of a ResNet trunk, see models/resnet.py.
        width: channels of a ResNet's first stage (64 in the published ones), or of HRNet's finest branch (32 or 48).
        deconv_channels: of each deconvolution, 256 in the published ones.
        input_size: px, width of the picture that the network sees; its height too, unless input_height is given.
        skeleton: what its heatmaps are called, in order.
        input_height: px.
        style: where bottlenecks stride, see models/resnet.py.
        deconv_kernels, final_kernel, deconv_bias: of PoseResNet's head.
        stacks: hourglasses.
        depth_bins: of integral regression's volumes; 0 for two dimensions.
        right_shoulder, learn_bones: of kinematic regression.
        fusion_views: how many views are fused, see models/fusion.py; 0: none.
        preprocessing: how pictures become numbers, see models/inference.py.
    """

    name: Literal[
        "poseresnet",
        "mrheat1",
        "mrheat2",
        "mrfea1",
        "mrfea2",
        "hrnet",
        "hourglass",
        "mobilenetv2",
        "integral",
        "direct",
        "kinematic",
    ]
    block: Literal["basic", "bottleneck"]
    layers: tuple[int, int, int, int]
    width: int
    deconv_channels: int
    input_size: int
    skeleton: str
    input_height: int | None = None
    style: Literal["pytorch", "caffe"] = "pytorch"
    deconv_kernels: tuple[int, ...] = (4, 4, 4)
    final_kernel: Literal[1, 3] = 1
    deconv_bias: bool = False
    stacks: int = 8
    depth_bins: int = 64
    right_shoulder: Literal["neck", "torso"] = "neck"
    learn_bones: bool = False
    fusion_views: int = 0
    preprocessing: Literal["centred", "imagenet_bgr", "imagenet_rgb"] = "centred"

    def __post_init__(self) -> None:
        for key in ("width", "deconv_channels", "stacks"):
            if getattr(self, key) < 1:
                raise ValueError(f"network.{key}: expected at least 1, got {getattr(self, key)}")
        if min(self.layers) < 1:
            raise ValueError(f"network.layers: expected at least 1 block a stage, got {list(self.layers)}")
        multiple = 64 if self.name == "hourglass" else 32
        for key, size in (("input_size", self.input_size), ("input_height", self.picture_size[1])):
            if size < multiple or size % multiple:
                raise ValueError(f"network.{key}: expected a multiple of {multiple} px, got {size}")
        if not set(self.deconv_kernels) <= {2, 3, 4}:
            raise ValueError(f"network.deconv_kernels: expected 2, 3 or 4 each, got {list(self.deconv_kernels)}")
        if not 1 <= len(self.deconv_kernels) <= 5:
            raise ValueError(
                "network.deconv_kernels: expected one to five, which make maps as large as the picture, got"
                f" {list(self.deconv_kernels)}"
            )
        if self.depth_bins < 0:
            raise ValueError(f"network.depth_bins: expected 0 or more, got {self.depth_bins}")
        if self.fusion_views == 1 or self.fusion_views < 0:
            raise ValueError(f"network.fusion_views: expected 0 or at least 2, got {self.fusion_views}")
        if self.fusion_views and self.name in REGRESSORS:
            raise ValueError(f"network.fusion_views: heatmaps are fused, and {self.name} gives coordinates")
        if self.fusion_views and self.name == "hourglass":
            raise ValueError("network.fusion_views: one map a joint is fused, and an hourglass learns by several")
        if self.style == "caffe" and self.block == "basic":
            raise ValueError(
                "network.style: caffe differs from pytorch in bottlenecks only, and network.block is basic"
            )
        if self.name.startswith("mrfea") and self.block == "basic":
            raise ValueError(
                "network.block: MRFeaNet adds up features of bottlenecks; basic ones have too few channels"
            )
        if self.name == "kinematic" and self.skeleton != "h36m_18":
            raise ValueError(f"network.skeleton: the kinematic chain is that of h36m_18, got {self.skeleton}")
        skeleton.get(self.skeleton)

    @property
    def picture_size(self) -> tuple[int, int]:
        """(width, height) px of the network's input."""
        return self.input_size, self.input_height or self.input_size

    @property
    def stride(self) -> int:
        """Input px of a heatmap's px."""
        return int(32 // 2 ** len(self.deconv_kernels)) if self.name == "poseresnet" else 4

    @property
    def map_size(self) -> int:
        """px, width of a heatmap; its height too, if the picture is square."""
        return self.input_size // self.stride


REGRESSORS = ("integral", "direct", "kinematic")


def build(network: Network) -> nn.Module:
    """A freshly initialised network; draws from torch's global generator.

    Its attribute `preprocessing` says what `inference.as_input` must do. With fusion, the memory is said before it is taken.
    """
    model = _heatmap_network(network)
    model.preprocessing = network.preprocessing  # type: ignore[assignment]
    return with_fusion(network, model) if network.fusion_views else model


def with_fusion(network: Network, model: nn.Module) -> nn.Module:
    """Put freshly initialised fusion of `network.fusion_views` views around a network that sees one, if there is none."""
    from pipeline.models.fusion import CrossViewFusion, memory

    if isinstance(model, CrossViewFusion):
        return model
    width, height = network.picture_size
    map_size = (width // network.stride, height // network.stride)
    print(memory(network.fusion_views, map_size), file=sys.stderr)
    fused = CrossViewFusion(model, network.fusion_views, map_size)
    fused.preprocessing = network.preprocessing  # type: ignore[assignment]
    return fused


def single_view(model: nn.Module) -> nn.Module:
    """The network that sees one view: the model itself, or what is in its fusion."""
    inner = getattr(model, "resnet", model)
    assert isinstance(inner, nn.Module)
    return inner


def _heatmap_network(n: Network) -> nn.Module:
    joints = len(skeleton.get(n.skeleton))
    match n.name:
        case "poseresnet":
            from pipeline.models.poseresnet import PoseResNet

            head = (n.style, n.deconv_kernels, n.final_kernel, n.deconv_bias)
            return PoseResNet(joints, n.block, n.layers, n.width, n.deconv_channels, *head)
        case "mrheat1" | "mrheat2":
            from pipeline.models.mrheat import MRHeatNet

            return MRHeatNet(int(n.name[-1]), joints, n.block, n.layers, n.width, n.deconv_channels, n.style)
        case "mrfea1" | "mrfea2":
            from pipeline.models.mrfea import MRFeaNet

            return MRFeaNet(int(n.name[-1]), joints, n.block, n.layers, n.width, n.style)
        case "hrnet":
            from pipeline.models.hrnet import HRNet

            return HRNet(joints, n.width)
        case "hourglass":
            from pipeline.models.hourglass import StackedHourglass

            return StackedHourglass(joints, n.stacks)
        case "mobilenetv2":
            from pipeline.models.mobilenetv2 import PoseMobileNetV2

            return PoseMobileNetV2(joints, n.deconv_channels)
        case "integral":
            from pipeline.models.integral import IntegralPose

            return IntegralPose(joints, n.depth_bins, n.block, n.layers, n.width, n.deconv_channels)
        case "direct":
            from pipeline.models.direct import DirectPose

            return DirectPose(joints, n.block, n.layers, n.width)
        case "kinematic":
            from pipeline.models.kinematic import KinematicPose

            return KinematicPose(n.block, n.layers, n.width, n.right_shoulder, n.learn_bones)


def save(path: Path, network: Network, weights: dict[str, torch.Tensor]) -> None:
    """Write weights and architecture; loads with `weights_only=True`. The same weights give the same bytes."""
    content = {
        "kind": KIND,
        "network": _plain(_told(network)),
        "colour_order": "rgb" if network.preprocessing.endswith("rgb") else "bgr",
        "weights": {key: value.detach().cpu().contiguous() for key, value in weights.items()},
    }
    with replacing(path) as scratch, scratch.open("wb") as file:
        torch.save(content, file)  # to an open file: torch writes a path's stem into the bytes


def load(path: Path) -> tuple[Network, nn.Module]:
    """Read a model file.

    Returns:
        Its `network` section, and the network in evaluation mode: without fusion while that has not been learned.

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
    weights = content["weights"]
    fused = any(key.startswith("aggre_layer.") for key in weights)
    model = build(network if fused else dataclasses.replace(network, fusion_views=0))
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"{path}: weights do not fit the architecture ({str(error).splitlines()[-1].strip()})"
        ) from None
    return network, model.eval()


def _told(network: Network) -> dict[str, Any]:
    """Fields that are not as by default: a file stays the same when an architecture gets an option."""
    values = {field.name: (getattr(network, field.name), field.default) for field in dataclasses.fields(network)}
    return {key: value for key, (value, default) in values.items() if value != default}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
