"""Build a network from the section `network` of params.yaml, write it into a model file, and read it back."""

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge

from pipeline import params, skeleton
from pipeline.files.atomic import replacing
from pipeline.models.network import Outputs, PoseNetwork

KIND = "pose network"


@dataclass(frozen=True, kw_only=True)
class Network:
    """Section `network` of params.yaml: all that is needed to build the network again.

    Attributes:
        name: the architecture; integral, direct and kinematic give coordinates, the others heatmaps.
        block: of a ResNet trunk, see models/resnet.py.
        layers: blocks in each of the four stages of a ResNet trunk.
        width: channels of a ResNet's first stage (64 in the published ones), or of HRNet's finest branch (32 or 48).
        deconv_channels: of each deconvolution, 256 in the published ones.
        input_size: px, width of the network's input; its height too, unless input_height is given.
        skeleton: the joints of its outputs, in order.
        input_height: px.
        style: where bottlenecks stride, see models/resnet.py.
        deconv_kernels: 4, 3 or 2, of each deconvolution of PoseResNet; each doubles the size of the heatmap.
        final_kernel: of PoseResNet's last convolution.
        deconv_bias: whether PoseResNet's deconvolutions have a bias.
        stacks: hourglasses.
        depth_bins: of integral regression's volumes; 0 for two dimensions.
        right_shoulder: of kinematic regression; "torso" as in the published code.
        learn_bones: whether kinematic regression learns the lengths of the bones.
        kinematic_scale: how kinematic regression's last output becomes a scale: "exponential", which learns, or "linear" as in
            the published code; a model file without this key is linear.
        fusion_views: number of views that are fused, see models/fusion.py; 0: none.
        preprocessing: how images become numbers, see models/inference.py.
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
    width: Annotated[int, Ge(1)]
    deconv_channels: Annotated[int, Ge(1)]
    input_size: int
    skeleton: str
    input_height: int | None = None
    style: Literal["pytorch", "caffe"] = "pytorch"
    deconv_kernels: tuple[int, ...] = (4, 4, 4)
    final_kernel: Literal[1, 3] = 1
    deconv_bias: bool = False
    stacks: Annotated[int, Ge(1)] = 8
    depth_bins: Annotated[int, Ge(0)] = 64
    right_shoulder: Literal["neck", "torso"] = "neck"
    learn_bones: bool = False
    kinematic_scale: Literal["exponential", "linear"] = "linear"
    fusion_views: int = 0
    preprocessing: Literal["centred", "imagenet_bgr", "imagenet_rgb"] = "centred"

    def __post_init__(self) -> None:
        if min(self.layers) < 1:
            raise ValueError(f"network.layers: expected at least 1 block a stage, got {list(self.layers)}")
        multiple = 64 if self.name == "hourglass" else 32
        for key, size in (("input_size", self.input_size), ("input_height", self.image_size[1])):
            if size < multiple or size % multiple:
                raise ValueError(f"network.{key}: expected a multiple of {multiple} px, got {size}")
        if not set(self.deconv_kernels) <= {2, 3, 4}:
            raise ValueError(f"network.deconv_kernels: expected 2, 3 or 4 each, got {list(self.deconv_kernels)}")
        if not 1 <= len(self.deconv_kernels) <= 5:
            raise ValueError(
                "network.deconv_kernels: expected one to five, which make maps as large as the image, got"
                f" {list(self.deconv_kernels)}"
            )
        if self.fusion_views == 1 or self.fusion_views < 0:
            raise ValueError(f"network.fusion_views: expected 0 or at least 2, got {self.fusion_views}")
        if self.fusion_views and outputs(self.name).coordinates:
            raise ValueError(f"network.fusion_views: heatmaps are fused, and {self.name} gives coordinates")
        if self.fusion_views and self.name == "hourglass":
            raise ValueError("network.fusion_views: fuses one map per joint, and an hourglass learns with several")
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
    def image_size(self) -> tuple[int, int]:
        """(width, height) px of the network's input."""
        return self.input_size, self.input_height or self.input_size

    @property
    def stride(self) -> int:
        """Input px of a heatmap's px."""
        return int(32 // 2 ** len(self.deconv_kernels)) if self.name == "poseresnet" else 4

    @property
    def map_size(self) -> int:
        """px, width of a heatmap; its height too, if the image is square."""
        return self.input_size // self.stride


def outputs(name: str) -> Outputs:
    """Return what the networks of an architecture return."""
    match name:
        case "integral":
            from pipeline.models.integral import IntegralPose

            return IntegralPose.outputs
        case "direct":
            from pipeline.models.direct import DirectPose

            return DirectPose.outputs
        case "kinematic":
            from pipeline.models.kinematic import KinematicPose

            return KinematicPose.outputs
    return PoseNetwork.outputs


def build(network: Network) -> PoseNetwork:
    """Return a freshly initialised network, drawn from torch's global generator.

    The memory of fusion layers is printed before it is allocated.
    """
    model = _architecture(network)
    model.preprocessing = network.preprocessing
    return with_fusion(network, model) if network.fusion_views else model


def with_fusion(network: Network, model: PoseNetwork) -> PoseNetwork:
    """Return the network with freshly initialised fusion of `network.fusion_views` views, or itself if it fuses already."""
    from pipeline.models.fusion import CrossViewFusion, memory

    if isinstance(model, CrossViewFusion):
        return model
    width, height = network.image_size
    map_size = (width // network.stride, height // network.stride)
    print(memory(network.fusion_views, map_size), file=sys.stderr)
    fused = CrossViewFusion(model, network.fusion_views, map_size)
    fused.preprocessing = network.preprocessing
    return fused


def _architecture(n: Network) -> PoseNetwork:
    num_joints = len(skeleton.get(n.skeleton))
    match n.name:
        case "poseresnet":
            from pipeline.models.poseresnet import PoseResNet

            return PoseResNet(
                num_joints,
                n.block,
                n.layers,
                width=n.width,
                deconv_channels=n.deconv_channels,
                style=n.style,
                deconv_kernels=n.deconv_kernels,
                final_kernel=n.final_kernel,
                deconv_bias=n.deconv_bias,
            )
        case "mrheat1" | "mrheat2":
            from pipeline.models.mrheat import MRHeatNet

            return MRHeatNet(
                int(n.name[-1]),
                num_joints,
                n.block,
                n.layers,
                width=n.width,
                deconv_channels=n.deconv_channels,
                style=n.style,
            )
        case "mrfea1" | "mrfea2":
            from pipeline.models.mrfea import MRFeaNet

            return MRFeaNet(int(n.name[-1]), num_joints, n.block, n.layers, width=n.width, style=n.style)
        case "hrnet":
            from pipeline.models.hrnet import HRNet

            return HRNet(num_joints, n.width)
        case "hourglass":
            from pipeline.models.hourglass import StackedHourglass

            return StackedHourglass(num_joints, n.stacks)
        case "mobilenetv2":
            from pipeline.models.mobilenetv2 import PoseMobileNetV2

            return PoseMobileNetV2(num_joints, n.deconv_channels)
        case "integral":
            from pipeline.models.integral import IntegralPose

            return IntegralPose(
                num_joints, n.depth_bins, n.block, n.layers, width=n.width, deconv_channels=n.deconv_channels
            )
        case "direct":
            from pipeline.models.direct import DirectPose

            return DirectPose(num_joints, n.block, n.layers, width=n.width)
        case "kinematic":
            from pipeline.models.kinematic import KinematicPose

            return KinematicPose(
                n.block,
                n.layers,
                width=n.width,
                right_shoulder=n.right_shoulder,
                learn_bones=n.learn_bones,
                scale=n.kinematic_scale,
            )


def save(path: Path, network: Network, weights: dict[str, torch.Tensor]) -> None:
    """Write weights and architecture into a file for `weights_only=True`. The same weights give the same bytes."""
    content = {
        "kind": KIND,
        "network": _plain(_non_default(network)),
        "colour_order": "rgb" if network.preprocessing.endswith("rgb") else "bgr",
        "weights": {key: value.detach().cpu().contiguous() for key, value in weights.items()},
    }
    with replacing(path) as scratch, scratch.open("wb") as file:
        torch.save(content, file)  # to an open file: torch writes a path's stem into the bytes


def load(path: Path) -> tuple[Network, PoseNetwork]:
    """Read a model file.

    Returns:
        Its `network` section, and the network in evaluation mode, without fusion if the file has no layers for it.

    Raises:
        ValueError: the file is absent, is no model file of this project, or has weights that do not fit the architecture exactly.
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


def _non_default(network: Network) -> dict[str, Any]:
    """Return the fields that differ from their defaults: a file stays the same when an architecture gets an option."""
    values = {field.name: (getattr(network, field.name), field.default) for field in dataclasses.fields(network)}
    return {key: value for key, (value, default) in values.items() if value != default}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
